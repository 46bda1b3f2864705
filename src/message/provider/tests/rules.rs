//! What the rules of this folder must hold, on lists as bad as real ones.
use serde_json::{Value, json};

use crate::message::{Anthropic, check_anthropic, check_openai};

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
    ] {
        let told = check_openai(messages.as_array().unwrap()).unwrap_err();
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
    ] {
        let messages = messages.as_array().unwrap().clone();
        let told = check_anthropic(&Anthropic { system: None, messages }).unwrap_err();
        assert!(told.starts_with(broken), "{told}");
    }
    let answered = says("user", json!([result, text]));
    let legal = Anthropic { system: None, messages: vec![user, calls, answered] };
    assert_eq!(check_anthropic(&legal), Ok(()));
    let blank = Anthropic { system: Some(String::new()), messages: Vec::new() };
    assert_eq!(check_anthropic(&blank).unwrap_err(), "system: text without a word");
}
