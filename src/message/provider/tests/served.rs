//! What Anthropic's own servers carry out: which calls and results go back to it.
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::Json;
use crate::message::legal::tests::any_messages;
use crate::message::{
    Anthropic, Content, LEFT_OUT_IN_FRONT, Message, Part, Role, Rule, check_anthropic,
    left_out_of_anthropic, legalize, to_anthropic,
};

fn says(role: Role, blocks: &[Value]) -> Message {
    let part = |block: &Value| match block["text"].as_str().filter(|_| block["type"] == "text") {
        Some(text) => Part::Text(text.to_owned()),
        None => Part::Json(Json::from(block.clone())),
    };
    Message::new(role, Content::Parts(blocks.iter().map(part).collect()))
}

fn said(blocks: &[Value]) -> Message {
    says(Role::Assistant, blocks)
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn search(number: u32) -> Value {
    json!({"type": "server_tool_use", "id": format!("srvtoolu_{number}"), "name": "web_search",
        "input": {"query": "x"}})
}

fn found(number: u32) -> Value {
    json!({"type": "web_search_tool_result", "tool_use_id": format!("srvtoolu_{number}"),
        "content": []})
}

fn remote(id: &str) -> Value {
    json!({"type": "mcp_tool_use", "id": id, "name": "read", "server_name": "files", "input": {}})
}

fn remote_result(id: &str) -> Value {
    json!({"type": "mcp_tool_result", "tool_use_id": id, "is_error": false,
        "content": [text("Seen.")]})
}

/// What is sent of the messages and, by type, what is not.
fn sent(messages: &[Message]) -> (Vec<Value>, Vec<(String, u64)>) {
    let prompt = to_anthropic(messages);
    assert_eq!(check_anthropic(&prompt), Ok(()), "{:?}", prompt.messages);
    let content = prompt.messages.iter().map(|message| message["content"].clone());
    (content.collect(), left_out_of_anthropic(messages).into_iter().collect())
}

fn counted(kind: &str, count: u64) -> Vec<(String, u64)> {
    vec![(kind.to_owned(), count)]
}

#[test]
fn a_call_that_was_never_answered_is_left_out_when_the_user_goes_on_and_stays_at_the_end() {
    let hi = Message::user("Hi");
    let cut = said(&[text("Let me look."), search(1)]);
    let (all, left_out) = sent(&[hi.clone(), cut.clone(), Message::user("Go on.")]);
    assert_eq!(all[1], json!([text("Let me look.")]));
    assert_eq!(left_out, counted("server_tool_use", 1));
    let (all, left_out) = sent(&[hi.clone(), cut]);
    assert_eq!((&all[1][1], left_out), (&search(1), Vec::new()));
    // The model went on without.
    let passed = said(&[search(1), text("I know it."), search(2)]);
    let (all, left_out) = sent(&[hi.clone(), passed]);
    assert_eq!(all[1], json!([text("I know it."), search(2)]));
    assert_eq!(left_out, counted("server_tool_use", 1));
    // Nothing else was said: the user's words are one message then.
    let (all, _) = sent(&[hi, said(&[search(1)]), Message::user("Go on.")]);
    assert_eq!(all, [json!([text("Hi"), text("Go on.")])]);
}

#[test]
fn an_answer_that_came_in_two_responses_is_whole() {
    let halves = [
        Message::user("Hi"),
        said(&[text("Let me look."), search(1), remote("m-1")]),
        said(&[found(1), remote_result("m-1"), text("There.")]),
        Message::user("Thanks"),
    ];
    let (all, left_out) = sent(&halves);
    let whole = json!([
        text("Let me look."),
        search(1),
        remote("m-1"),
        found(1),
        remote_result("m-1"),
        text("There."),
    ]);
    assert_eq!((&all[1], left_out), (&whole, Vec::new()));
}

#[test]
fn a_search_beside_a_call_of_the_users_is_answered_when_the_results_are_back() {
    let asks = said(&[search(1)]).with_call("t", "look", "{}");
    let hi = Message::user("Hi");
    let back = Message::tool("t", "Seen.");
    let mixed = [hi.clone(), asks.clone(), back.clone(), said(&[found(1), text("There.")])];
    let (all, left_out) = sent(&mixed);
    assert_eq!((&all[1][0], &all[3][0], left_out), (&search(1), &found(1), Vec::new()));
    // The API looks for it while results alone come back.
    let (all, left_out) = sent(&mixed[..3]);
    assert_eq!((&all[1][0], left_out), (&search(1), Vec::new()));
    let asked = [hi.clone(), asks.clone(), back.clone(), Message::user("Well?")];
    let (all, left_out) = sent(&asked);
    assert_eq!((&all[1][0]["type"], left_out), (&json!("tool_use"), counted("server_tool_use", 1)));
    let late = [&mixed[..3], &[said(&[text("Hm.")]).with_call("u", "look", "{}")]].concat();
    let late = [&late[..], &[Message::tool("u", ""), said(&[found(1), text("There.")])]].concat();
    let (_, left_out) = sent(&late);
    let both = [counted("server_tool_use", 1), counted("web_search_tool_result", 1)].concat();
    assert_eq!(left_out, both);
    // A thought alone is no turn of the model's.
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let (all, left_out) = sent(&[&mixed[..3], &[said(&[thought])]].concat());
    assert_eq!((all.len(), &all[1][0], left_out), (3, &search(1), counted("thinking", 1)));
}

#[test]
fn code_that_may_have_called_the_users_tools_is_not_run_again() {
    let code = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution",
        "input": {"code": "look()"}});
    let error = json!({"type": "code_execution_tool_result_error", "error_code": "unavailable"});
    let ran = json!({"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1",
        "content": error});
    let turn = [
        Message::user("Hi"),
        said(std::slice::from_ref(&code)).with_call("t", "look", "{}"),
        Message::tool("t", "Seen."),
        said(&[ran.clone(), text("There.")]),
    ];
    let (all, left_out) = sent(&turn);
    assert_eq!((&all[1][0]["type"], &all[3]), (&json!("tool_use"), &json!([text("There.")])));
    assert_eq!(left_out.len(), 2);
    let (all, left_out) = sent(&turn[..3]);
    assert_eq!((&all[1][0]["type"], left_out.len()), (&json!("tool_use"), 1));
    // Within one turn it called none.
    let (all, _) = sent(&[Message::user("Hi"), said(&[code, ran])]);
    assert_eq!(all[1].as_array().unwrap().len(), 2);
}

#[test]
fn what_the_model_searched_in_front_of_the_user_is_counted_as_a_message() {
    let (all, left_out) = sent(&[said(&[search(1), found(1)]), Message::user("Hi")]);
    assert_eq!((all.len(), left_out), (1, counted(LEFT_OUT_IN_FRONT, 1)));
}

#[test]
fn calls_and_results_that_do_not_fit_each_other_are_left_out() {
    let with = |block: Value, name: &str, value: Value| {
        let mut block = block;
        block[name] = value;
        block
    };
    let page = json!({"type": "web_search_result", "url": "https://x", "title": "X"});
    let opaque = json!({"type": "server_tool_use", "id": "call_1", "name": "web_search",
        "input": {}});
    for pair in [
        // Another vendor's id, and another vendor's tool.
        [opaque, with(found(1), "tool_use_id", json!("call_1"))],
        [
            with(search(1), "id", json!("srvtoolu_a-b")),
            with(found(1), "tool_use_id", json!("srvtoolu_a-b")),
        ],
        [
            with(search(1), "name", json!("analyze_image")),
            with(found(1), "type", json!("analyze_image_tool_result")),
        ],
        [search(1), with(found(1), "type", json!("web_fetch_tool_result"))],
        [search(1), with(found(1), "content", json!("found"))],
        [search(1), with(found(1), "content", json!([page]))],
        [search(1), with(found(1), "content", json!({"type": "web_fetch_tool_result_error"}))],
        [search(1), with(found(1), "content", json!({"type": "web_search_tool_result_error"}))],
        [search(1), json!({"type": "mcp_tool_result", "tool_use_id": "srvtoolu_1"})],
        [with(remote("m"), "server_name", Value::Null), remote_result("m")],
        [remote("m"), with(remote_result("m"), "content", json!([page]))],
        [remote("m"), with(found(1), "tool_use_id", json!("m"))],
        [
            with(search(1), "name", json!("code_execution")),
            json!({"type": "code_execution_tool_result", "tool_use_id": "srvtoolu_1", "content": {
                "type": "code_execution_result", "stdout": 5, "stderr": "", "return_code": 0,
                "content": []}}),
        ],
        [
            with(search(1), "name", json!("web_fetch")),
            json!({"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": {
                "type": "web_fetch_result", "url": "https://x", "content": {"type": "document"}}}),
        ],
        [found(1), search(1)],
    ] {
        let messages = [Message::user("Hi"), said(&pair), Message::user("Well?")];
        let (all, left_out) = sent(&messages);
        assert_eq!(all.len(), 1, "{pair:?}");
        assert_eq!(left_out.iter().map(|(_, count)| count).sum::<u64>(), 2, "{pair:?}");
    }
}

#[test]
fn one_id_has_one_call_and_one_result() {
    let twice = [
        Message::user("Hi"),
        said(&[search(1), found(1), found(1), search(1), found(1)]),
        Message::user("Again."),
        said(&[search(1), found(1)]).with_call("srvtoolu_1", "look", "{}"),
        Message::tool("srvtoolu_1", "Seen."),
    ];
    let (all, left_out) = sent(&twice);
    assert_eq!(all[1], json!([search(1), found(1)]));
    assert_eq!(all[3][0]["id"], "srvtoolu_1-2");
    let gone = [counted("server_tool_use", 2), counted("web_search_tool_result", 3)].concat();
    assert_eq!(left_out, gone);
    // One that never had a result leaves its id to another.
    let again = [
        Message::user("Hi"),
        said(&[search(1)]),
        Message::user("Again."),
        said(&[search(1), found(1), text("There.")]),
    ];
    let (all, left_out) = sent(&again);
    assert_eq!(all[1], json!([search(1), found(1), text("There.")]));
    assert_eq!(left_out, counted("server_tool_use", 1));
    let taken = [
        Message::user("Hi"),
        Message::assistant("").with_call("m", "look", "{}"),
        Message::tool("m", "Seen."),
        said(&[remote("m"), remote_result("m"), text("There.")]),
    ];
    let (all, left_out) = sent(&taken);
    assert_eq!((&all[3], left_out.len()), (&json!([text("There.")]), 2));
}

#[test]
fn what_the_api_found_goes_back_as_it_came_without_what_it_does_not_take() {
    let error = |kind: &str| json!({"type": format!("{kind}_error"), "error_code": "unavailable"});
    for (name, kind, content) in [
        (
            "web_search",
            "web_search_tool_result",
            json!([{"type": "web_search_result",
            "url": "https://x", "title": "X", "encrypted_content": "E", "page_age": null}]),
        ),
        ("web_search", "web_search_tool_result", error("web_search_tool_result")),
        (
            "web_fetch",
            "web_fetch_tool_result",
            json!({"type": "web_fetch_result",
            "url": "https://x", "content": {"type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "Page"}}}),
        ),
        (
            "code_execution",
            "code_execution_tool_result",
            json!({"type": "code_execution_result",
            "stdout": "", "stderr": "", "return_code": 0, "content": []}),
        ),
        (
            "bash_code_execution",
            "bash_code_execution_tool_result",
            error("bash_code_execution_tool_result"),
        ),
        (
            "text_editor_code_execution",
            "text_editor_code_execution_tool_result",
            json!({"type": "text_editor_code_execution_create_result", "is_file_update": false}),
        ),
        (
            "tool_search_tool_bm25",
            "tool_search_tool_result",
            json!({"type": "tool_search_tool_search_result", "tool_references": []}),
        ),
        ("advisor", "advisor_tool_result", json!({"type": "advisor_result", "text": "Do."})),
    ] {
        let call = json!({"type": "server_tool_use", "id": "srvtoolu_a", "name": name,
            "input": {}});
        let result = json!({"type": kind, "tool_use_id": "srvtoolu_a", "content": content});
        let (mut noted, mut marked) = (call.clone(), result.clone());
        noted["server_name"] = Value::Null;
        noted["caller"] = json!({"type": "direct"});
        marked["cache_control"] = json!({"type": "ephemeral"});
        let (all, left_out) = sent(&[Message::user("Hi"), said(&[call.clone(), marked])]);
        assert_eq!((&all[1], left_out), (&json!([call, result]), Vec::new()));
        let (all, left_out) = sent(&[Message::user("Hi"), said(&[noted, result.clone()])]);
        assert_eq!((&all[1], left_out), (&json!([call, result]), Vec::new()));
    }
    // What somebody wants cached goes with the request that said it.
    let mark = json!({"type": "x"});
    let mut read = remote_result("m");
    read["content"][0]["cache_control"] = mark.clone();
    let mut fetch = search(1);
    fetch["name"] = "web_fetch".into();
    let source = json!({"type": "url", "url": "https://x/y.pdf"});
    let fetched = json!({"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": {
        "type": "web_fetch_result", "url": "https://x/y.pdf",
        "content": {"type": "document", "source": source, "cache_control": mark}}});
    let (all, left_out) =
        sent(&[Message::user("Hi"), said(&[remote("m"), read, fetch.clone(), fetched])]);
    assert_eq!((all[1].as_array().unwrap().len(), left_out), (4, Vec::new()));
    assert!(!all[1].to_string().contains("cache_control"), "{}", all[1]);
    let empty = json!({"type": "mcp_tool_result", "tool_use_id": "m", "content": [text(" ")]});
    let (all, _) = sent(&[Message::user("Hi"), said(&[remote("m"), empty])]);
    assert_eq!(all[1][1]["content"], json!([]));
}

#[test]
fn what_is_nested_deeper_than_a_request_can_be_read_is_left_out() {
    let mut deep = json!({});
    for _ in 0..120 {
        deep = json!([deep]);
    }
    let mut call = search(1);
    call["input"] = json!({"query": deep});
    let read = call.to_string();
    let (_, left_out) = sent(&[Message::user("Hi"), said(&[call, found(1)])]);
    assert_eq!(left_out.len(), 2);
    let arguments = format!("{{\"call\":{read}}}");
    let calling = Message::assistant("").with_call("t", "look", arguments.clone());
    let (all, _) = sent(&[Message::user("Hi"), calling, Message::tool("t", "")]);
    assert_eq!(all[1][0]["input"], json!({"arguments": arguments}));
    let request = json!({"messages": [{"role": "assistant", "content": all[1]}]}).to_string();
    assert!(serde_json::from_str::<Value>(&request).is_ok());
}

#[test]
fn prompts_that_break_a_rule_of_the_apis_own_tools_are_named() {
    let user = json!({"role": "user", "content": "Hi"});
    let says = |blocks: Value| json!({"role": "assistant", "content": blocks});
    let asks = json!({"type": "tool_use", "id": "t", "name": "look", "input": {},
        "caller": {"type": "direct"}});
    let back = json!({"type": "tool_result", "tool_use_id": "t"});
    let results = json!({"role": "user", "content": [back]});
    let more = json!({"role": "user", "content": [back, text("Well?")]});
    let again = json!({"type": "tool_use", "id": "u", "name": "look", "input": {}});
    let also = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u"}]});
    let mut other = search(1);
    other["name"] = "analyze_image".into();
    let mut wrong = found(1);
    wrong["type"] = "web_fetch_tool_result".into();
    let mut foreign = search(1);
    foreign["id"] = "call_1".into();
    let mut homeless = remote("m");
    homeless.as_object_mut().unwrap().remove("server_name");
    let mut told = found(1);
    told["content"] = "found".into();
    for (messages, place, rule) in [
        (json!([user, says(json!([search(1)])), user]), "message 2", Rule::AnsweredCall),
        (json!([user, says(json!([search(1), text("Hm.")]))]), "message 1", Rule::AnsweredCall),
        (json!([user, says(json!([search(1), asks])), more]), "message 2", Rule::AnsweredCall),
        (
            json!([user, says(json!([search(1), asks])), results, says(json!([text("Hm.")]))]),
            "message 3",
            Rule::AnsweredCall,
        ),
        (
            json!([user, says(json!([search(1), asks])), results, says(json!([again])), also]),
            "message 3",
            Rule::AnsweredCall,
        ),
        (json!([user, says(json!([search(1), search(1)]))]), "message 1", Rule::UniqueCallId),
        (
            json!([user, says(json!([search(1), found(1), found(1)]))]),
            "message 1",
            Rule::AnsweringResult,
        ),
        (json!([user, says(json!([search(1), wrong]))]), "message 1", Rule::AnsweringResult),
        (json!([user, says(json!([found(1), search(1)]))]), "message 1", Rule::AnsweringResult),
        (json!([user, says(json!([other]))]), "message 1", Rule::FunctionName),
        (json!([user, says(json!([foreign]))]), "message 1", Rule::CallId),
        (json!([user, says(json!([homeless]))]), "message 1", Rule::Shape),
        (json!([user, says(json!([search(1), told]))]), "message 1", Rule::Shape),
    ] {
        let prompt = Anthropic { system: None, messages: messages.as_array().unwrap().clone() };
        let broken = check_anthropic(&prompt).unwrap_err();
        assert_eq!((&*broken.place.to_string(), broken.rule), (place, rule), "{messages}");
    }
    for messages in [
        json!([user, says(json!([search(1)]))]),
        json!([user, says(json!([search(1), asks])), results]),
        json!([user, says(json!([search(1), asks])), results, says(json!([found(1)])), user]),
        // Code of the model's that calls the user's tools, one after the other.
        json!([user, says(json!([search(1), asks])), results,
            says(json!([{"type": "tool_use", "id": "u", "name": "look", "input": {},
                "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}}])),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u"}]},
            says(json!([found(1)]))]),
    ] {
        let prompt = Anthropic { system: None, messages: messages.as_array().unwrap().clone() };
        assert_eq!(check_anthropic(&prompt), Ok(()), "{messages}");
    }
}

/// How many blocks of a type a list of messages has.
fn count_of<'a>(blocks: impl Iterator<Item = &'a Value>, kind: &str) -> u64 {
    blocks.filter(|block| block["type"] == kind).count() as u64
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_block_of_the_model_is_sent_or_counted(messages in any_messages()) {
        let messages = [vec![Message::user("Hi")], messages].concat();
        let (legal, _) = legalize(messages.clone());
        let said = legal.iter().filter(|message| message.role == Role::Assistant);
        let parts: Vec<Value> = said
            .filter_map(|message| match &message.content {
                Content::Parts(parts) => Some(parts.iter()),
                _ => None,
            })
            .flatten()
            .filter_map(|part| match part {
                Part::Json(json) => Some(json.to_value()),
                Part::Text(_) => None,
            })
            .collect();
        let left_out = left_out_of_anthropic(&messages);
        let prompt = to_anthropic(&messages);
        let sent: Vec<Value> = prompt.messages.iter()
            .flat_map(|message| message["content"].as_array().unwrap().clone())
            .collect();
        for kind in ["server_tool_use", "web_search_tool_result", "mcp_tool_use",
            "mcp_tool_result", "thinking", "redacted_thinking"]
        {
            let others: u64 = legal.iter()
                .filter(|message| message.role != Role::Assistant)
                .map(|message| match &message.content {
                    Content::Parts(parts) => {
                        parts.iter().filter(|part| part.kind() == kind).count() as u64
                    }
                    _ => 0,
                })
                .sum();
            let gone = left_out.get(kind).copied().unwrap_or(0);
            prop_assert_eq!(
                count_of(parts.iter(), kind) + others,
                count_of(sent.iter(), kind) + gone,
                "{}", kind
            );
        }
    }
}
