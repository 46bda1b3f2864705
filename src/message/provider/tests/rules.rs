//! What the rules of this folder must hold, on lists as bad as real ones.
use serde_json::{Value, json};

use std::collections::BTreeSet;

use crate::message::{
    Anthropic, Message, Place, Rule, Violation, check_anthropic, check_openai, validate,
    validate_anthropic, validate_openai,
};

fn calling(id: &str) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}}]})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": ""})
}

#[test]
fn openai_prompts_that_break_a_rule_are_named() {
    let user = json!({"role": "user", "content": "Hi"});
    let mut named = calling("a");
    named["tool_calls"][0]["function"]["name"] = "a b".into();
    let long = "x".repeat(41);
    for (messages, broken) in [
        (json!([user, {"role": "user", "content": null}]), "message 1: content is neither"),
        (json!([{"role": "user", "content": "", "id": 1}]), "message 0: the member \"id\""),
        (json!([{"role": "critic", "content": ""}]), "message 0: \"critic\" is no role"),
        (json!([calling("a"), user]), "message 1: the call \"a\" has not been answered"),
        (json!([calling("a")]), "at the end: the call \"a\" has not been answered"),
        (json!([result("a")]), "message 0: answers \"a\""),
        (json!([calling("a"), result("a"), result("a")]), "message 2: answers \"a\""),
        (json!([{"role": "assistant", "content": ""}]), "message 0: says nothing"),
        (json!([{"role": "assistant", "content": "", "tool_calls": []}]), "message 0: tool_c"),
        (json!([named]), "message 0: the name \"a b\" does not match"),
        (json!([calling(&long)]), "message 0: the call id"),
        (json!([7]), "message 0: the message is no object"),
        (json!([]), "at the end: there is no message to send"),
    ] {
        let told = check_openai(messages.as_array().unwrap()).unwrap_err().to_string();
        assert!(told.starts_with(broken), "{told}");
    }
    let legal = [user, calling("a"), result("a"), calling("a"), result("a")];
    assert_eq!(check_openai(&legal), Ok(()));
}

#[test]
fn anthropic_prompts_that_break_a_rule_are_named() {
    let says = |role: &str, blocks: Value| json!({"role": role, "content": blocks});
    let user = says("user", json!("Hi"));
    let call = json!({"type": "tool_use", "id": "a", "name": "look", "input": {}});
    let calls = says("assistant", json!([call]));
    let result = json!({"type": "tool_result", "tool_use_id": "a"});
    let results = says("user", json!([result]));
    let text = json!({"type": "text", "text": "Well."});
    let thought = json!({"type": "thinking", "thinking": "", "signature": "s"});
    let mut listed = call.clone();
    listed["input"] = json!([]);
    for (messages, broken) in [
        (json!([says("assistant", json!("Hi"))]), "message 0: role \"assistant\""),
        (json!([user, user]), "message 1: role \"user\" where \"assistant\""),
        (json!([says("user", json!(" "))]), "message 0: text without a word"),
        (json!([says("user", json!([]))]), "message 0: content is neither"),
        (json!([user, calls]), "at the end: the call \"a\""),
        (json!([user, calls, user]), "message 2: the call \"a\""),
        (json!([user, calls, says("user", json!([text, result]))]), "message 2: the call"),
        (json!([says("user", json!([result]))]), "message 0: answers \"a\""),
        (json!([user, calls, results, calls]), "message 3: the call id \"a\" was used"),
        (json!([user, says("assistant", json!([listed]))]), "message 1: input is no object"),
        (json!([user, says("assistant", json!([text, thought]))]), "message 1: ends in a th"),
        (json!([user, says("assistant", json!("Yes "))]), "message 1: is the last message"),
        (json!([user, says("assistant", json!([result]))]), "message 1: a block of type"),
        (json!([]), "at the end: there is no message to send"),
    ] {
        let messages = messages.as_array().unwrap().clone();
        let told = check_anthropic(&Anthropic { system: None, messages }).unwrap_err().to_string();
        assert!(told.starts_with(broken), "{told}");
    }
    let answered = says("user", json!([result, text]));
    let legal = Anthropic { system: None, messages: vec![user, calls, answered] };
    assert_eq!(check_anthropic(&legal), Ok(()));
    let blank = Anthropic { system: Some(String::new()), messages: Vec::new() };
    assert_eq!(check_anthropic(&blank).unwrap_err().to_string(), "system: text without a word");
}

#[test]
fn images_and_documents_have_a_source_that_can_be_read() {
    let of = |kind: &str, source: &Value| {
        let block = json!({"type": kind, "source": source});
        let messages = vec![json!({"role": "user", "content": [block]})];
        check_anthropic(&Anthropic { system: None, messages }).map_err(|violation| violation.rule)
    };
    let data = |media_type: &str, data: &str| json!({"type": "base64", "media_type": media_type, "data": data});
    let reference = "sessionlog:blake3:";
    let text = json!({"type": "text", "text": "Page 1"});
    for (image, expected) in [
        (data("image/png", "AAAA"), Ok(())),
        (data("image/png", "AA=="), Ok(())),
        (json!({"type": "url", "url": "https://x/y.png"}), Ok(())),
        (json!({"type": "file", "file_id": "f"}), Ok(())),
        (data("image/png", "AAAAA"), Err(Rule::Media)),
        (data("image/png", "AA"), Err(Rule::Media)),
        (data("image/png", "A A="), Err(Rule::Media)),
        (data("image/png", ""), Err(Rule::Media)),
        (data("image/png", reference), Err(Rule::Media)),
        (data("image/bmp", "AAAA"), Err(Rule::Media)),
        (json!({"type": "url", "url": "http://x/y.png"}), Err(Rule::Media)),
        (json!({"type": "path", "path": "/x"}), Err(Rule::Media)),
        (json!({"type": "file", "file_id": ""}), Err(Rule::Content)),
    ] {
        assert_eq!(of("image", &image), expected, "{image}");
    }
    for (document, expected) in [
        (data("application/pdf", "AAAA"), Ok(())),
        (json!({"type": "text", "media_type": "text/plain", "data": "Page 1"}), Ok(())),
        (json!({"type": "url", "url": "https://x/y.pdf"}), Ok(())),
        (json!({"type": "file", "file_id": "f"}), Ok(())),
        (json!({"type": "content", "content": "Page 1"}), Ok(())),
        (json!({"type": "content", "content": [text]}), Ok(())),
        (data("image/png", "AAAA"), Err(Rule::Media)),
        (data("application/pdf", "AAAAA"), Err(Rule::Media)),
        (json!({"type": "path", "path": "/x"}), Err(Rule::Media)),
        (json!({"type": "text", "media_type": "text/html", "data": "x"}), Err(Rule::Media)),
        (json!({"type": "content", "content": [{"type": "video"}]}), Err(Rule::KnownPart)),
        (json!({"type": "content"}), Err(Rule::Content)),
        (json!(7), Err(Rule::Shape)),
    ] {
        assert_eq!(of("document", &document), expected, "{document}");
    }
}

#[test]
fn what_openai_refuses_beside_words_is_named() {
    let says = |extra: &Value| {
        let mut message = json!({"role": "assistant", "content": "Hi"});
        message.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        check_openai(&[message]).map_err(|violation| violation.rule)
    };
    let image = json!([{"type": "image_url", "image_url": {"url": "https://x"}}]);
    for (extra, expected) in [
        (json!({"refusal": "No."}), Ok(())),
        (json!({"refusal": null, "audio": null}), Ok(())),
        (json!({"content": null, "audio": {"id": "a"}}), Ok(())),
        (json!({"content": "", "refusal": "No."}), Ok(())),
        (json!({"refusal": 5}), Err(Rule::Shape)),
        (json!({"audio": {}}), Err(Rule::Shape)),
        (json!({"content": 5, "refusal": "No."}), Err(Rule::Content)),
        (json!({"content": [], "refusal": "No."}), Err(Rule::Content)),
        (json!({"content": image, "audio": {"id": "a"}}), Err(Rule::KnownPart)),
    ] {
        assert_eq!(says(&extra), expected, "{extra}");
    }
    let asks = |part: &Value| {
        check_openai(&[json!({"role": "user", "content": [part]})]).map_err(|found| found.rule)
    };
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    for (part, expected) in [
        (json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}), Ok(())),
        (json!({"type": "file", "file": {"file_id": "f"}}), Ok(())),
        (json!({"type": "file", "file": {"file_data": "AAAA", "filename": "x"}}), Ok(())),
        (image("data:image/png;base64,AAAA"), Ok(())),
        (image("http://x/y.png?z"), Ok(())),
        (json!({"type": "input_audio", "input_audio": {}}), Err(Rule::Shape)),
        (json!({"type": "file", "file": {}}), Err(Rule::Shape)),
        (image("data:image/bmp;base64,AAAA"), Err(Rule::Media)),
        (image("data:image/png;base64,AAAAA"), Err(Rule::Media)),
        (image("https://"), Err(Rule::Media)),
        (image("https:///y.png"), Err(Rule::Media)),
        (image("https://a b"), Err(Rule::Media)),
        (image("https://a@:80/y"), Err(Rule::Media)),
        (image("https://a@[::1]:80/y"), Ok(())),
        (
            json!({"type": "input_audio", "input_audio": {"data": "#", "format": "wav"}}),
            Err(Rule::Media),
        ),
        (
            json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "ogg"}}),
            Err(Rule::Media),
        ),
    ] {
        assert_eq!(asks(&part), expected, "{part}");
    }
    let calls = |count: usize| {
        let call = |id: usize| {
            json!({"id": format!("c{id}"), "type": "function",
                "function": {"name": "look", "arguments": ""}})
        };
        let calls: Vec<Value> = (0..count).map(call).collect();
        let mut messages = vec![json!({"role": "assistant", "tool_calls": calls})];
        messages.extend((0..count).map(|id| result(&format!("c{id}"))));
        check_openai(&messages).map_err(|found| found.rule)
    };
    assert_eq!((calls(128), calls(129)), (Ok(()), Err(Rule::Shape)));
}

#[test]
fn what_is_cached_is_marked_as_documented_and_counted_wherever_it_stands() {
    let text = |mark: &Value| json!({"type": "text", "text": "Hi", "cache_control": mark});
    let short = json!({"type": "ephemeral"});
    let asks = |blocks: Vec<Value>| {
        let messages = vec![json!({"role": "user", "content": blocks})];
        check_anthropic(&Anthropic { system: None, messages }).map_err(|found| found.rule)
    };
    let long = json!({"type": "ephemeral", "ttl": "1h"});
    assert_eq!(asks(vec![text(&short), text(&long), text(&Value::Null)]), Ok(()));
    for mark in [json!({"type": "x"}), json!({"type": "ephemeral", "ttl": "2h"})] {
        assert_eq!(asks(vec![text(&mark)]), Err(Rule::Caching), "{mark}");
    }
    assert_eq!(asks(vec![text(&json!("ephemeral"))]), Err(Rule::Shape));
    let inside = json!({"type": "search_result", "source": "x", "title": "X",
        "content": [text(&short), text(&short)], "cache_control": short});
    assert_eq!(asks(vec![inside.clone(), text(&short)]), Ok(()));
    assert_eq!(asks(vec![inside, text(&short), text(&short)]), Err(Rule::Caching));
    let fetched = json!({"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": {
        "type": "web_fetch_result", "url": "https://x", "content": {"type": "document",
            "source": {"type": "url", "url": "https://x"}, "cache_control": short}}});
    let fetch = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_fetch",
        "input": {"cache_control": {"type": "x"}}});
    let marked = vec![text(&short), text(&short), text(&short)];
    let asks_after = |count: usize| {
        let user = json!({"role": "user", "content": vec![text(&short); count]});
        let messages = vec![user, json!({"role": "assistant", "content": [fetch, fetched]})];
        check_anthropic(&Anthropic { system: None, messages }).map_err(|found| found.rule)
    };
    assert_eq!(asks(marked), Ok(()));
    assert_eq!((asks_after(3), asks_after(4)), (Ok(()), Err(Rule::Caching)));
    let cited = json!({"type": "text", "text": "Hi", "citations": "x"});
    assert_eq!(asks(vec![cited]), Err(Rule::Shape));
}

#[test]
fn a_tool_that_failed_says_so_in_words() {
    let user = json!({"role": "user", "content": "Hi"});
    let call = json!({"type": "tool_use", "id": "t", "name": "look", "input": {}});
    let text = |text: &str| json!([{"type": "text", "text": text}]);
    let document = json!([{"type": "document", "source": {"type": "file", "file_id": "f"}}]);
    for (content, expected) in [
        (json!("No such city."), Ok(())),
        (text("No such city."), Ok(())),
        (json!(null), Err(Rule::Content)),
        (json!(" "), Err(Rule::Content)),
        (json!([]), Err(Rule::Content)),
        (text(" "), Err(Rule::Content)),
        (document, Err(Rule::KnownPart)),
    ] {
        let mut result = json!({"type": "tool_result", "tool_use_id": "t", "is_error": true});
        if !content.is_null() {
            result["content"] = content.clone();
        }
        let mut messages = vec![user.clone(), json!({"role": "assistant", "content": [call]})];
        messages.push(json!({"role": "user", "content": [result]}));
        let found = check_anthropic(&Anthropic { system: None, messages });
        assert_eq!(found.map_err(|found| found.rule), expected, "{content}");
    }
}

#[test]
fn every_message_that_breaks_a_rule_is_found_and_nothing_is_blamed_for_another() {
    let mut odd = calling("a");
    odd["tool_calls"][0]["function"]["name"] = "a b".into();
    let image = json!({"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "ftp://x"}}]});
    let video = json!({"role": "user", "content": [{"type": "video", "video": "x"}]});
    let prompt = [
        json!({"role": "critic", "content": "Hm"}),
        odd,
        result("a"),
        calling(""),
        result(""),
        image,
        video,
        json!({"role": "user", "content": "Hi", "id": 7}),
        calling("b"),
        json!({"role": "user", "content": null}),
        result("b"),
    ];
    let found: Vec<_> = validate_openai(&prompt).iter().map(|v| (v.place, v.rule)).collect();
    let at = |at: usize, rule| (Place::Message(at), rule);
    assert_eq!(
        found,
        [
            at(0, Rule::KnownRole),
            at(1, Rule::FunctionName),
            at(3, Rule::CallId),
            at(5, Rule::Media),
            at(6, Rule::KnownPart),
            at(7, Rule::UnknownMember),
            at(9, Rule::AnsweredCall),
            at(10, Rule::AnsweringResult),
        ],
    );
}

#[test]
fn results_are_not_blamed_for_what_is_wrong_with_their_call() {
    let user = json!({"role": "user", "content": "Hi"});
    let call = json!({"type": "tool_use", "id": "t", "name": "look", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "t"});
    for (name, value, rule) in [
        ("zzz", json!(1), Rule::UnknownMember),
        ("name", json!("a b"), Rule::FunctionName),
        ("input", json!([]), Rule::Shape),
    ] {
        let mut call = call.clone();
        call[name] = value;
        let messages = vec![
            user.clone(),
            json!({"role": "assistant", "content": [call]}),
            json!({"role": "user", "content": [result]}),
        ];
        let found = validate_anthropic(&Anthropic { system: None, messages });
        let found: Vec<_> = found.iter().map(|found| (found.place, found.rule)).collect();
        assert_eq!(found, [(Place::Message(1), rule)]);
    }
    // Nor are calls for what is wrong with their results, nor either for their message.
    let (mut odd, mut noted) = (result.clone(), json!({"role": "assistant", "content": [call]}));
    odd["zzz"] = 1.into();
    noted["id"] = 1.into();
    let messages = vec![user, noted, json!({"role": "user", "content": [odd]})];
    let found = validate_anthropic(&Anthropic { system: None, messages });
    let found: Vec<_> = found.iter().map(|found| (found.place, found.rule)).collect();
    let unknown = |at: usize| (Place::Message(at), Rule::UnknownMember);
    assert_eq!(found, [unknown(1), unknown(2)]);
    let mut odd = self::result("a");
    odd["zzz"] = 1.into();
    let found = validate_openai(&[calling("a"), odd]);
    let found: Vec<_> = found.iter().map(|found| (found.place, found.rule)).collect();
    assert_eq!(found, [unknown(1)]);
}

#[test]
fn every_rule_has_a_prompt_that_breaks_it() {
    let says = |role: &str, content: Value| json!({"role": role, "content": content});
    let call = |id: &str| json!({"type": "tool_use", "id": id, "name": "look", "input": {}});
    let openai = [
        json!([]),
        json!([7]),
        json!([{"role": "user", "content": "", "id": 1}]),
        json!([says("critic", json!(""))]),
        json!([says("user", json!([{"type": "video"}]))]),
        json!([says("user", json!(null))]),
        json!([{"role": "user", "content": "", "name": "a b"}]),
        json!([calling("")]),
        json!([calling("a")]),
        json!([result("a")]),
        json!([says("user", json!([{"type": "image_url", "image_url": {"url": ""}}]))]),
    ];
    let cached = json!({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}});
    let anthropic = [
        json!([says("user", json!([cached, cached, cached, cached, cached]))]),
        json!([says("user", json!("Hi")), says("assistant", json!([call("a"), call("a")]))]),
        json!([says("assistant", json!("Hi"))]),
        json!([says("user", json!("Hi")), says("assistant", json!("Yes "))]),
    ];
    let caller = Message::user("Hi").with_call("a", "look", "{}");
    let mut part = Message::assistant("One");
    part.response_id = Some(String::from("r"));
    let call = Message::assistant("").with_call("a", "look", "{}");
    assert_eq!(validate(Vec::new())[0].rule, Rule::NotEmpty);
    let plain = [
        vec![caller],
        vec![part.clone(), part],
        vec![call, Message::user("Wait"), Message::tool("a", "4")],
    ];
    let list = |value: Value| value.as_array().unwrap().clone();
    let mut found: Vec<Violation> = Vec::new();
    found.extend(openai.into_iter().flat_map(|prompt| validate_openai(&list(prompt))));
    found.extend(anthropic.into_iter().flat_map(|messages| {
        validate_anthropic(&Anthropic { system: None, messages: list(messages) })
    }));
    found.extend(plain.into_iter().flat_map(validate));
    let rules: BTreeSet<Rule> = found.iter().map(|violation| violation.rule).collect();
    assert_eq!(rules.into_iter().collect::<Vec<_>>(), Rule::ALL);
}
