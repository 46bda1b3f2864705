//! Anthropic's messages in and out.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::message::{Message, Role, check_anthropic, check_openai};

pub(super) const ANTHROPIC: &str = include_str!("../../../tests/fixtures/anthropic.json");
pub(super) const ANTHROPIC_LINES: &str = include_str!("../../../tests/fixtures/anthropic.jsonl");

fn check_window(engine: &Engine, session_id: &str) {
    let window = session(engine, session_id).window().all_runs();
    let (openai, anthropic) = (window.openai().unwrap(), window.anthropic().unwrap());
    // Where nobody said anything that can be sent, nothing is.
    assert!(openai.is_empty() || check_openai(&openai) == Ok(()), "{openai:?}");
    let is_legal = anthropic.messages.is_empty() || check_anthropic(&anthropic) == Ok(());
    assert!(is_legal, "{anthropic:?}");
}

#[test]
fn an_anthropic_request_comes_back_equal() {
    let engine = engine();
    let report = import(&engine, "any", ANTHROPIC);
    assert_eq!(report.skipped, []);
    // The system prompt is a message here, and so is each of the two results.
    assert_eq!((report.recorded.messages, report.recorded.runs), (9, 2));
    assert_eq!((report.recorded.tool_calls, report.recorded.tool_results), (2, 2));
    assert_eq!(exported(&engine, "harbour", Format::Anthropic), [json(ANTHROPIC)]);
    assert_eq!(import(&engine, "any", ANTHROPIC).unchanged, 1);
    check_window(&engine, "harbour");
}

#[test]
fn what_an_anthropic_request_says_is_the_sessions() {
    let engine = engine();
    import(&engine, "any", ANTHROPIC);
    let view = session(&engine, "harbour").view().unwrap();
    assert_eq!(view.user_id.as_deref(), Some("mira"));
    assert_eq!(view.metadata["channel"], "pier");
    assert_eq!((view.metrics.input_tokens, view.metrics.cache_read_tokens), (40, 7));
    assert_eq!(view.imports[0].format, "anthropic");
}

#[test]
fn an_anthropic_request_is_a_plain_list_in_openais_format() {
    let engine = engine();
    import(&engine, "any", ANTHROPIC);
    let out = exported(&engine, "harbour", Format::OpenAi).remove(0);
    assert!(!out.to_string().contains("\"anthropic."), "{out}");
    let roles: Vec<_> =
        out["messages"].as_array().unwrap().iter().map(|message| &message["role"]).collect();
    let expected =
        ["system", "user", "assistant", "tool", "tool", "user", "assistant", "user", "assistant"];
    assert_eq!(roles, expected);
    assert_eq!(out["messages"][2]["tool_calls"][1]["id"], "toolu_b");
    assert_eq!(out["messages"][3]["tool_call_id"], "toolu_a");
    assert_eq!(out["messages"][4]["is_error"], true);
}

#[test]
fn lines_of_anthropic_messages_are_one_conversation() {
    let engine = engine();
    let report = import(&engine, "lines", ANTHROPIC_LINES);
    assert_eq!((report.recorded.sessions, report.recorded.messages), (1, 4));
    let messages: Vec<Value> = ANTHROPIC_LINES.lines().map(json).collect();
    let out = exported(&engine, "lines", Format::Anthropic);
    assert_eq!(out, [json!({"id": "lines", "messages": messages})]);
    check_window(&engine, "lines");
}

#[test]
fn anthropics_messages_are_told_from_openais() {
    let own = [
        r#"{"system":"s","messages":[{"role":"user","content":"x"}]}"#,
        r#"[{"messages":[]},{"system":[],"messages":[]}]"#,
        r#"[[{"role":"user","content":[{"type":"tool_result","tool_use_id":"t"}]}]]"#,
        r#"{"type":"message","role":"assistant","content":"x"}"#,
    ];
    let others = [
        r#"{"messages":[{"role":"user","content":"x"}]}"#,
        // A thought that was carried over into a list of OpenAI's.
        r#"{"messages":[{"role":"assistant","content":[{"type":"thinking"}]},{"role":"tool"}]}"#,
        r#"{"system":7,"messages":[{"role":"user","content":"x"}]}"#,
    ];
    let format = |text: &str| {
        let engine = engine();
        import(&engine, "f", text);
        let id = if text.starts_with('[') { "f-1" } else { "f" };
        let first = engine.session(id).admin().open_existing();
        let first = first.unwrap_or_else(|_| session(&engine, "f"));
        first.view().unwrap().imports[0].format.clone()
    };
    for text in own {
        assert_eq!(format(text), "anthropic", "{text}");
    }
    for text in others {
        assert_eq!(format(text), "openai", "{text}");
    }
}

#[test]
fn a_request_that_has_grown_adds_what_is_new() {
    let engine = engine();
    let whole = json(ANTHROPIC);
    for count in 1..=6 {
        let mut part = whole.clone();
        part["messages"].as_array_mut().unwrap().truncate(count);
        let report = import(&engine, "any", &part.to_string());
        assert_eq!((report.recorded.sessions, report.skipped), (1, vec![]), "{count}");
        assert_eq!(exported(&engine, "harbour", Format::Anthropic), [part]);
    }
    assert_eq!(session(&engine, "harbour").view().unwrap().metrics.input_tokens, 40);
}

#[test]
fn what_was_added_since_is_in_anthropics_manner() {
    let engine = engine();
    import(&engine, "lines", ANTHROPIC_LINES);
    let calls = Message::assistant("").with_call("a", "f", "{}").with_call("b", "f", "nonsense");
    let added = [Message::user("more"), calls, Message::tool("a", "1"), Message::tool("b", "2")];
    let lines = session(&engine, "lines");
    lines.record_run(added, crate::Metrics::default()).unwrap().wait().unwrap();
    let out = exported(&engine, "lines", Format::Anthropic).remove(0);
    assert_eq!(out["messages"].as_array().unwrap().len(), 7);
    assert_eq!(out["messages"][4], json!({"role": "user", "content": "more"}));
    assert_eq!(out["messages"][5]["content"][1]["input"], "nonsense");
    assert_eq!(out["messages"][6]["content"][1]["tool_use_id"], "b");
}

#[test]
fn a_session_of_another_format_is_made_into_a_prompt() {
    let engine = engine();
    import(&engine, "any", CLAUDE_CODE);
    import(&engine, "airline", TAU_BENCH);
    for session_id in [CLAUDE_CODE_SESSION, "airline-task3-trial0"] {
        let out = exported(&engine, session_id, Format::Anthropic).remove(0);
        assert_eq!(out["id"], session_id);
        let system = out.get("system").map(|system| system.as_str().unwrap().to_owned());
        let messages = out["messages"].as_array().unwrap().clone();
        assert_eq!(check_anthropic(&crate::Anthropic { system, messages }), Ok(()));
        assert!(!out.to_string().contains("claude_code."), "{out}");
    }
}

#[test]
fn instructions_that_every_run_repeats_are_written_once() {
    let engine = engine();
    let open = engine.session("s").open().unwrap();
    for _ in 0..2 {
        let run = [Message::system("Be brief."), Message::user("x"), Message::assistant("y")];
        open.record_run(run, crate::Metrics::default()).unwrap().wait().unwrap();
    }
    let out = exported(&engine, "s", Format::Anthropic).remove(0);
    assert_eq!(out["system"], "Be brief.");
    assert_eq!(out["messages"].as_array().unwrap().len(), 4);
}

#[test]
fn broken_messages_of_anthropics_are_named_with_their_place() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let text = format!(
        r#"[{{"system":"s","messages":[{{"role":"user","content":null}},7,{{"content":"x"}},
        {{"role":1}},{{"role":"user","content":{deep}}},{{"role":"user","content":[]}}]}},
        {{"system":"s","messages":"x"}},{{"system":"s","messages":[8]}}]"#
    );
    let engine = engine();
    let report = import(&engine, "f", &text);
    let reasons: Vec<_> = reasons(&report).into_iter().map(|(_, reason)| reason).collect();
    assert!(reasons[0].starts_with("[0].messages[1]: not JSON"), "{reasons:?}");
    assert_eq!(reasons[1], "[0].messages[2]: a message without a role");
    assert_eq!(reasons[2], "[0].messages[3]: a message whose role is no string");
    assert_eq!(reasons[3], "[0].messages[4]: JSON nested deeper than 128");
    assert_eq!(reasons[4], "[1]: its messages are no list");
    assert_eq!(reasons.last().unwrap(), &"[2]: none of its messages can be read");
    assert_eq!((report.recorded.sessions, report.recorded.messages), (1, 3));
    check_window(&engine, "f-1");
}

#[test]
fn odd_calls_and_results_come_back_equal_and_make_legal_prompts() {
    let odd = [
        // A result without a call, calls without a result, one id twice, wrong types.
        r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"none","content":null}]}]"#,
        r#"[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}},
            {"type":"tool_use","id":"t","name":"f","input":[]}]}]"#,
        r#"[{"role":"user","content":[{"type":"tool_use","id":1,"name":"f","input":{}}]}]"#,
        r#"[{"role":"user","content":[{"type":"tool_result"},{"type":7},null,3]}]"#,
        r#"[{"role":"tool","content":"x"},{"role":"user"},{"role":"x","content":{}}]"#,
    ];
    for messages in odd {
        let text = format!(r#"{{"id":"s","system":"","messages":{messages}}}"#);
        let engine = engine();
        let options = ImportOptions { format: Some(Format::Anthropic), ..Default::default() };
        let report = import_text(&engine, "f", text.as_bytes(), &options).unwrap();
        assert_eq!(report.skipped, [], "{text}");
        assert_eq!(exported(&engine, "s", Format::Anthropic), [json(&text)]);
        check_window(&engine, "s");
    }
}

#[test]
fn results_in_a_message_each_stay_so() {
    let engine = engine();
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": id});
    let message = |id| json!({"role": "user", "content": [result(id)]});
    let request = json!({"id": "s", "messages": [message("a"), message("b")]});
    import(&engine, "f", &request.to_string());
    assert_eq!(exported(&engine, "s", Format::Anthropic), [request]);
    assert_eq!(runs(&engine, "s"), [[Role::Tool.as_str(), "tool"]]);
}

/// Any member a message may have beside its content, meant or not.
fn any_extra() -> impl Strategy<Value = (String, Value)> {
    let names = ["id", "type", "usage", "stop_reason", "metadata", "extra", "tool_calls"];
    let value = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
        Just(json!({"input_tokens": 1, "x": [1.5]})),
    ];
    (prop::sample::select(names.to_vec()).prop_map(String::from), value)
}

fn any_block() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(vec!["a", "b", "c"]);
    prop_oneof![
        ".{0,6}".prop_map(|text| json!({"type": "text", "text": text})),
        id().prop_map(|id| json!({"type": "tool_use", "id": id, "name": "f", "input": {"x": id}})),
        id().prop_map(|id| json!({"type": "tool_result", "tool_use_id": id, "content": id})),
        id().prop_map(|id| json!({"type": "tool_result", "tool_use_id": id, "is_error": true,
            "content": [{"type": "text", "text": "x", "cache_control": null}]})),
        Just(json!({"type": "thinking", "thinking": "hm", "signature": "s"})),
        Just(json!({"type": "image", "source": {"type": "url", "url": "https://x.y/z.png"}})),
        any_extra().prop_map(|(name, value)| json!({ name: value })),
        any_extra().prop_map(|(_, value)| value),
    ]
}

fn any_message() -> impl Strategy<Value = Value> {
    let content = prop_oneof![
        3 => prop::collection::vec(any_block(), 0..5).prop_map(Value::from),
        1 => ".{0,6}".prop_map(Value::from),
        1 => any_extra().prop_map(|(_, value)| value),
    ];
    let role = prop::sample::select(vec!["user", "assistant", "system", "tool"]);
    let extra = prop::collection::vec(any_extra(), 0..2);
    (role, prop::option::of(content), extra).prop_map(|(role, content, extra)| {
        let mut message: serde_json::Map<String, Value> = extra.into_iter().collect();
        message.insert("role".into(), role.into());
        message.extend(content.map(|content| (String::from("content"), content)));
        Value::Object(message)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_request_comes_back_equal_and_is_read_once(
        messages in prop::collection::vec(any_message(), 0..8),
        system in prop::option::of(any_block()),
        other in prop::collection::vec(any_extra(), 0..3),
    ) {
        let mut request: serde_json::Map<String, Value> = other.into_iter().collect();
        request.insert("id".into(), "s".into());
        request.insert("messages".into(), messages.into());
        request.extend(system.map(|block| (String::from("system"), json!([block]))));
        let request = Value::Object(request);
        let engine = engine();
        let options = ImportOptions { format: Some(Format::Anthropic), ..Default::default() };
        let text = request.to_string();
        let report = import_text(&engine, "f", text.as_bytes(), &options).unwrap();
        prop_assert_eq!(report.skipped, []);
        prop_assert_eq!(exported(&engine, "s", Format::Anthropic), vec![request]);
        let again = import_text(&engine, "f", text.as_bytes(), &options).unwrap();
        prop_assert_eq!(again.unchanged, 1);
        check_window(&engine, "s");
    }
}
