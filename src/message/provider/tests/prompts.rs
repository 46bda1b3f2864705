//! What the rules of this folder must hold, on lists as bad as real ones.
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{Field, Json};
use crate::message::legal::tests::any_messages;
use crate::message::{
    Content, LEFT_OUT_IN_FRONT, Message, Part, Role, Rule, Violation, check_anthropic,
    check_openai, left_out_of_anthropic, left_out_of_openai, legalize, to_anthropic, to_openai,
};

fn part(value: Value) -> Part {
    Part::Json(Json::from(value))
}

fn of_parts(role: Role, parts: Vec<Part>) -> Message {
    Message::new(role, Content::Parts(parts))
}

fn png() -> Value {
    json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}})
}

#[test]
fn openai_gets_only_the_members_it_knows() {
    let mut user = Message::user("Hi");
    user.name = Some("anna".into());
    user.from_history = true;
    let mut calling = Message::new(Role::Assistant, Content::Absent);
    calling.reasoning = Some("hm".into());
    calling.name = Some("not a name".into());
    let calling = calling.with_call("a", "web.search", "{");
    let mut result = Message::tool("a", "found");
    result.name = Some("web_search".into());
    let expected = json!([
        {"role": "user", "content": "Hi", "name": "anna"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "a", "type": "function",
            "function": {"name": "web_search", "arguments": "{"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "found"},
    ]);
    let prompt = to_openai(&[user, calling, result]);
    assert_eq!(Value::from(prompt.clone()), expected);
    assert_eq!(check_openai(&prompt), Ok(()));
}

#[test]
fn openai_gets_images_of_every_shape() {
    let source = |source| part(json!({"type": "image", "source": source}));
    let message = of_parts(
        Role::User,
        vec![
            Part::Text("Look:".into()),
            part(json!({"type": "image_url", "x": 1,
                "image_url": {"url": "https://a/b.png", "detail": "low"}})),
            source(json!({"type": "base64", "media_type": "image/jpg", "data": "AAAA"})),
            source(json!({"type": "url", "url": "https://a/c.png"})),
            part(json!({"type": "image", "image": "data:image/png;base64,AAA="})),
            part(json!({"type": "image", "image": "data:image/png;base64,AAA"})),
            part(json!({"type": "image", "image": "data:image/png;base64,AAAAA"})),
            part(json!({"type": "image", "image": "attachment://1"})),
            part(json!({"type": "audio"})),
        ],
    );
    let image = |url: &str| json!({"type": "image_url", "image_url": {"url": url}});
    let expected = json!([
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
        image("data:image/jpeg;base64,AAAA"),
        image("https://a/c.png"),
        image("data:image/png;base64,AAA="),
        image("data:image/png;base64,AAA="),
    ]);
    assert_eq!(to_openai(&[message])[0]["content"], expected);
}

#[test]
fn openai_gets_nothing_for_what_cannot_be_shown() {
    let calling = Message::assistant("").with_call("a", "look", "{}");
    let messages = [
        of_parts(Role::User, vec![part(json!({"type": "audio"}))]),
        of_parts(Role::Assistant, vec![part(json!({"type": "thinking", "thinking": "hm"}))]),
        calling,
        Message { tool_call_id: Some("a".into()), ..of_parts(Role::Tool, vec![part(png())]) },
    ];
    let prompt = to_openai(&messages);
    assert_eq!(prompt.len(), 2);
    assert_eq!(prompt[1]["content"], "");
}

#[test]
fn more_calls_than_openai_takes_in_a_message_become_several() {
    let mut calling = Message::assistant("Let me look.");
    let mut results = Vec::new();
    for number in 0..257 {
        calling = calling.with_call(format!("c{number}"), "look", "{}");
        results.push(Message::tool(format!("c{number}"), format!("{number}")));
    }
    let prompt = to_openai(&[vec![Message::user("Hi"), calling], results].concat());
    assert_eq!(check_openai(&prompt), Ok(()));
    let callers: Vec<_> = prompt.iter().filter(|message| message["role"] == "assistant").collect();
    let calls = callers.iter().map(|message| message["tool_calls"].as_array().unwrap().len());
    assert_eq!(calls.collect::<Vec<_>>(), [128, 128, 1]);
    let said = callers.iter().map(|message| message["content"].as_str());
    assert_eq!(said.collect::<Vec<_>>(), [Some("Let me look."), None, None]);
    let found =
        prompt.iter().filter_map(|message| message["content"].as_str()?.parse::<u32>().ok());
    assert!(found.eq(0..257));
}

#[test]
fn ids_too_long_for_openai_are_cut_and_stay_different() {
    let long = |end: &str| format!("{}{end}", "x".repeat(40));
    let calling = Message::assistant("").with_call(long("1"), "look", "{}").with_call(
        long("2"),
        "look",
        "{}",
    );
    let prompt =
        to_openai(&[calling, Message::tool(long("1"), "1"), Message::tool(long("2"), "2")]);
    assert_eq!(prompt[1]["tool_call_id"], "x".repeat(40));
    assert_eq!(prompt[2]["tool_call_id"], format!("{}-2", "x".repeat(38)));
    assert_eq!(check_openai(&prompt), Ok(()));
}

#[test]
fn anthropic_gets_speakers_by_turns_and_results_directly_behind_calls() {
    let mut failed = Message::tool("a.b", "no such city");
    let value = Json::from(json!(true));
    failed.extra.push(Field { name: "is_error".into(), value });
    let prompt = to_anthropic(&[
        Message::system("Be brief."),
        Message::assistant("Hello, how can I help?"),
        Message::user("Is it raining?"),
        Message::assistant("Let me look.").with_call("a.b", "weather", r#"{"city":"Oslo"}"#),
        failed,
        Message::user("And?"),
        Message::new(Role::Developer, Content::Text("Be kind.".into())),
        Message::assistant("").with_call("a.b", "weather", "[1]"),
        Message::tool("a.b", ""),
        Message::assistant("Yes. \n"),
    ]);
    assert_eq!(prompt.system.as_deref(), Some("Be brief.\n\nBe kind."));
    let expected = json!([
        {"role": "user", "content": [{"type": "text", "text": "Is it raining?"}]},
        {"role": "assistant", "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "a_b", "name": "weather", "input": {"city": "Oslo"}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a_b", "content": "no such city",
                "is_error": true},
            {"type": "text", "text": "And?"},
        ]},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "a_b-2", "name": "weather",
                "input": {"arguments": [1]}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a_b-2"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Yes."}]},
    ]);
    assert_eq!(Value::from(prompt.messages.clone()), expected);
    assert_eq!(check_anthropic(&prompt), Ok(()));
}

#[test]
fn a_refusal_and_a_spoken_answer_are_something_said() {
    let read = |value: Value| Message::from_json(&value.to_string()).unwrap();
    let inside = json!([{"type": "refusal", "refusal": "Nor this."}]);
    let messages = [
        Message::user("Do it."),
        read(json!({"role": "assistant", "content": null, "refusal": "I cannot."})),
        Message::user("And this?"),
        read(json!({"role": "assistant", "content": inside})),
        Message::user("Say it."),
        read(json!({"role": "assistant", "content": null,
            "audio": {"id": "a", "data": "AAAA", "transcript": "It."}})),
        Message::user("Well?"),
        read(json!({"role": "assistant", "content": "", "refusal": null})),
    ];
    let (legal, repairs) = legalize(messages.to_vec());
    assert_eq!((legal.len(), repairs.len()), (7, 1), "{repairs:?}");
    let prompt = to_openai(&messages);
    assert_eq!(prompt[1], json!({"role": "assistant", "content": null, "refusal": "I cannot."}));
    assert_eq!(prompt[3]["refusal"], "Nor this.");
    assert_eq!(prompt[5]["content"], "It.");
    assert_eq!(check_openai(&prompt), Ok(()));
    let prompt = to_anthropic(&messages);
    let said = [1, 3, 5].map(|at: usize| prompt.messages[at]["content"][0]["text"].clone());
    assert_eq!(said, ["I cannot.", "Nor this.", "It."]);
    assert_eq!(check_anthropic(&prompt), Ok(()));
    assert!(left_out_of_openai(&messages).is_empty());
    assert!(left_out_of_anthropic(&messages).is_empty());
}

#[test]
fn what_the_model_says_in_front_of_the_user_is_counted() {
    let image = || part(json!({"type": "audio"}));
    let called = Message::assistant("").with_call("a", "look", "{}");
    let greeting = [Message::assistant("Hi"), called, Message::tool("a", "seen")];
    let nobody = [of_parts(Role::User, vec![image()]), Message::assistant(" ")];
    let talk = [Message::user("Hello"), Message::assistant("Well?")];
    let all = [&greeting[..], &nobody, &talk].concat();
    assert_eq!(left_out_of_anthropic(&all)[LEFT_OUT_IN_FRONT], 3);
    assert_eq!(to_anthropic(&all).messages.len(), 2);
    assert!(left_out_of_anthropic(&talk).is_empty());
    assert!(!left_out_of_openai(&all).contains_key(LEFT_OUT_IN_FRONT));
}

#[test]
fn anthropic_gets_no_thought_that_is_unsigned_or_last() {
    let signed = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let unsigned = part(json!({"type": "thinking", "thinking": "hm"}));
    let thought =
        |end: Part| of_parts(Role::Assistant, vec![part(signed.clone()), unsigned.clone(), end]);
    let prompt = to_anthropic(&[
        Message::user("Hi"),
        thought(Part::Text("Hello".into())),
        Message::user("Well?"),
        thought(part(signed.clone())),
        Message::user("Are you there?"),
    ]);
    assert_eq!(prompt.messages.len(), 3);
    assert_eq!(prompt.messages[1]["content"], json!([signed, {"type": "text", "text": "Hello"}]));
    assert_eq!(prompt.messages[2]["content"].as_array().unwrap().len(), 2);
}

#[test]
fn anthropic_gets_images_also_in_results_but_not_in_errors() {
    let result = |id: &str| Message {
        tool_call_id: Some(id.into()),
        ..of_parts(Role::Tool, vec![part(png()), Part::Text(" ".into())])
    };
    let mut failed = result("b");
    let value = Json::from(json!(true));
    failed.extra.push(Field { name: "is_error".into(), value });
    let calling = Message::assistant("").with_call("a", "look", "").with_call("b", "look", "oops");
    let prompt = to_anthropic(&[Message::user("Hi"), calling, result("a"), failed]);
    let image = json!({"type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}});
    let results = json!([
        {"type": "tool_result", "tool_use_id": "a", "content": [image]},
        {"type": "tool_result", "tool_use_id": "b", "is_error": true, "content": "error"},
    ]);
    assert_eq!(prompt.messages[2]["content"], results);
    assert_eq!(prompt.messages[1]["content"][0]["input"], json!({}));
    assert_eq!(prompt.messages[1]["content"][1]["input"], json!({"arguments": "oops"}));
}

#[test]
fn a_longer_list_does_not_change_how_its_beginning_is_sent() {
    let mut messages = Vec::new();
    let mut before: Vec<Value> = Vec::new();
    for id in ["a", "a", "a-2", "a.", "a_"] {
        messages.push(Message::user("Again."));
        messages.push(Message::assistant("").with_call(id, "look", "{}"));
        messages.push(Message::tool(id, "seen"));
        let prompt = to_anthropic(&messages).messages;
        let shared = before.len().saturating_sub(1);
        assert_eq!(prompt[..shared], before[..shared]);
        before = prompt;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_rendered_keeps_the_rules(messages in any_messages()) {
        let (legal, _) = legalize(messages.clone());
        let (openai, anthropic) = (to_openai(&legal), to_anthropic(&legal));
        let is_wordless = |checked: Result<(), Violation>| {
            checked.is_err_and(|violation| violation.rule == Rule::NotEmpty)
        };
        let checked = check_openai(&openai);
        prop_assert!(checked == Ok(()) || openai.is_empty() && is_wordless(checked));
        let checked = check_anthropic(&anthropic);
        prop_assert!(checked == Ok(()) || anthropic.messages.is_empty() && is_wordless(checked));
        prop_assert_eq!(to_openai(&messages), to_openai(&legal));
        prop_assert_eq!(to_anthropic(&messages), to_anthropic(&legal));
    }
}
