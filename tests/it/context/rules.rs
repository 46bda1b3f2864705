//! The rules of providers once more, written from their published documents and not from
//! the engine's own checks.

use std::collections::BTreeSet;

use serde_json::Value;
use sessionlog::Anthropic;

/// OpenAI, Chat Completions: "An assistant message with `tool_calls` must be followed by tool
/// messages responding to each `tool_call_id`", and a tool message must follow such a message.
pub(super) fn openai(messages: &[Value]) {
    let mut at = 0;
    while at < messages.len() {
        let message = &messages[at];
        at += 1;
        let role = message["role"].as_str().unwrap();
        assert!(["system", "developer", "user", "assistant"].contains(&role), "{at}: {message}");
        let calls: Vec<&str> = message["tool_calls"]
            .as_array()
            .map(|calls| calls.iter().map(|call| call["id"].as_str().unwrap()).collect())
            .unwrap_or_default();
        assert!(calls.is_empty() || role == "assistant", "{at}: {message}");
        assert!(calls.len() <= 128, "{at}: too many calls for a message");
        let wanted: BTreeSet<&str> = calls.iter().copied().collect();
        assert_eq!(wanted.len(), calls.len(), "{at}: one id twice");
        let results = messages[at..].iter().take_while(|message| message["role"] == "tool");
        let given: Vec<&str> =
            results.map(|result| result["tool_call_id"].as_str().unwrap()).collect();
        assert_eq!(given.len(), calls.len(), "{at}: as many results as calls");
        assert_eq!(given.iter().copied().collect::<BTreeSet<_>>(), wanted, "{at}");
        at += given.len();
        let says = message["content"].is_array()
            || message["content"].is_string()
            || message["refusal"].is_string();
        assert!(says || !calls.is_empty(), "{at}: says nothing");
    }
}

/// Anthropic, Messages: the first message is the user's, roles alternate, text is not blank, and
/// each `tool_use` has its `tool_result` at the beginning of the next message.
pub(super) fn anthropic(prompt: &Anthropic) {
    assert!(prompt.system.as_ref().is_none_or(|system| !system.trim().is_empty()));
    let mut called: Vec<&str> = Vec::new();
    let mut searching: Vec<(&str, &str)> = Vec::new();
    let mut used = BTreeSet::new();
    for (at, message) in prompt.messages.iter().enumerate() {
        let role = if at % 2 == 0 { "user" } else { "assistant" };
        assert_eq!(message["role"], role, "message {at}");
        let blocks = message["content"].as_array().unwrap();
        assert!(!blocks.is_empty());
        let kind = |block: &Value| block["type"].as_str().unwrap().to_owned();
        let results = blocks.iter().take_while(|block| kind(block) == "tool_result");
        let answered: Vec<&str> =
            results.map(|result| result["tool_use_id"].as_str().unwrap()).collect();
        called.sort_unstable();
        let mut sorted = answered.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, called, "message {at}: calls and results");
        for failed in blocks.iter().filter(|block| block["is_error"] == true) {
            let words = failed["content"].as_str().or(failed["content"][0]["text"].as_str());
            assert!(words.is_some_and(|words| !words.trim().is_empty()), "{failed}");
        }
        let others = &blocks[answered.len()..];
        assert!(others.iter().all(|block| kind(block) != "tool_result"), "message {at}");
        for text in blocks.iter().filter_map(|block| block["text"].as_str()) {
            assert!(!text.trim().is_empty(), "message {at}: blank text");
        }
        if role == "user" && !others.is_empty() {
            assert!(searching.is_empty(), "message {at}: {searching:?} without what was found");
        }
        let before = searching.clone();
        for block in others {
            searches(block, role, &mut searching, &mut used);
            let is_last = at + 1 == prompt.messages.len();
            let has_gone_on = is_last && ["text", "thinking"].contains(&&*kind(block));
            assert!(!has_gone_on || searching.is_empty(), "{searching:?} before words");
        }
        let is_late = |open| role == "assistant" && searching.contains(open);
        assert!(!before.iter().any(is_late), "message {at}: {before:?} found too late");
        let calls = others.iter().filter(|block| kind(block) == "tool_use");
        called = calls.map(|call| call["id"].as_str().unwrap()).collect();
        assert!(called.is_empty() || role == "assistant");
        assert!(called.iter().all(|id| used.insert(*id)), "message {at}: an id used again");
    }
    assert!(called.is_empty(), "calls at the end are not answered");
}

/// Anthropic, "Server tools": the calls have ids of their own kind, what was found comes behind
/// the call in one turn of the model, and may be missing only while the turn goes on, that is
/// until the user says something that is no result of a tool.
fn searches<'a>(
    block: &'a Value,
    role: &str,
    searching: &mut Vec<(&'a str, &'static str)>,
    used: &mut BTreeSet<&'a str>,
) {
    let text = |name: &str| block[name].as_str().unwrap();
    let kind = text("type");
    let found = match (kind, block["name"].as_str()) {
        ("server_tool_use", Some("web_search")) => "web_search_tool_result",
        ("mcp_tool_use", Some(_)) => "mcp_tool_result",
        ("web_search_tool_result" | "mcp_tool_result", _) => {
            let call = (text("tool_use_id"), kind);
            assert!(searching.contains(&call), "{call:?} answers nothing");
            searching.retain(|open| *open != call);
            return;
        }
        _ => {
            assert!(!kind.ends_with("_tool_result") && !kind.contains("_tool_use"), "{kind}");
            return;
        }
    };
    let id = text("id");
    assert!(role == "assistant" && used.insert(id), "{id} by {role}, or again");
    assert!(block["input"].is_object());
    let own = id.strip_prefix("srvtoolu_").is_some_and(|own| !own.is_empty());
    assert!(own || kind == "mcp_tool_use" && !text("server_name").is_empty(), "{id}");
    searching.push((id, found));
}
