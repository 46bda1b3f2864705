//! `OpenHands`' event streams.

use serde_json::json;

use super::*;

fn history() -> Vec<Value> {
    let line = json(OPENHANDS.lines().next().unwrap());
    line["history"].as_array().unwrap().clone()
}

/// The session whose id begins so.
fn session_id(engine: &Engine, name: &str) -> String {
    let query = crate::SessionQuery::new(crate::Access::Admin);
    let page = engine.sessions(&query).unwrap();
    let ids = page.sessions.into_iter().map(|view| view.session_id);
    ids.into_iter().find(|id| id.starts_with(name)).unwrap()
}

fn messages(engine: &Engine, name: &str) -> Vec<Value> {
    let out = exported(engine, &session_id(engine, name), Format::OpenAi);
    out[0]["messages"].as_array().unwrap().clone()
}

#[test]
fn events_become_messages_and_bookkeeping_is_counted() {
    let engine = engine();
    let report = import(&engine, "output", OPENHANDS);
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.sessions, report.recorded.messages), (2, 12 + 8));
    assert_eq!((report.recorded.tool_calls, report.recorded.tool_results), (4, 3));
    let ignored: Vec<_> = report.ignored.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!(ignored, [("agent_state_changed", 1), ("null", 1), ("recall", 1)]);
    let roles: Vec<_> = messages(&engine, "garden-12")
        .iter()
        .map(|message| message["role"].as_str().unwrap().to_owned())
        .collect();
    let work = ["assistant", "tool", "assistant", "tool", "assistant", "tool", "assistant"];
    let expected = [&["system", "user", "user"][..], &work, &["user", "assistant"]].concat();
    assert_eq!(roles, expected);
    assert_eq!(runs(&engine, &session_id(&engine, "garden-12")).len(), 2);
    assert_eq!(import(&engine, "output", OPENHANDS).unchanged, 2);
}

#[test]
fn an_event_can_be_had_back_from_its_message() {
    let engine = engine();
    import(&engine, "output", OPENHANDS);
    let ignored = ["recall", "null", "agent_state_changed"];
    let is_said = |event: &Value| {
        let is_action = event["action"].is_string();
        let kind = if is_action { &event["action"] } else { &event["observation"] };
        !ignored.contains(&kind.as_str().unwrap()) || (kind == "recall" && !is_action)
    };
    let events = history().into_iter().filter(is_said);
    for (message, mut event) in messages(&engine, "garden-12").iter().zip(events) {
        if event["observation"].is_string() {
            let event = event.as_object_mut().unwrap();
            assert_eq!(event.remove("content").unwrap(), message["content"]);
            // The action in front of it has the same.
            event.remove("tool_call_metadata");
        }
        assert_eq!(message["openhands"], event);
    }
}

#[test]
fn parallel_calls_are_one_message_in_a_window() {
    let engine = engine();
    import(&engine, "output", OPENHANDS);
    let window = session(&engine, &session_id(&engine, "garden-12")).window().all_runs();
    let prompt = window.openai().unwrap();
    assert_eq!(crate::check_openai(&prompt), Ok(()));
    assert_eq!(crate::check_anthropic(&window.anthropic().unwrap()), Ok(()));
    let calls = prompt[3]["tool_calls"].as_array().unwrap();
    assert_eq!((calls.len(), &prompt[3]["content"]), (2, &json!("I look around.")));
    assert_eq!(
        calls[1]["function"],
        json!({"name": "execute_bash", "arguments": "{\"command\": \"pwd\"}"})
    );
    assert_eq!(prompt[4]["content"], "\u{1b}[1mrose\u{1b}[0m\r\n");
    // An id is used again, and what nobody answers is said without the call.
    assert_eq!(prompt[6]["tool_calls"][0]["id"], "toolu_01");
    let last = prompt.last().unwrap();
    assert_eq!((&last["content"], last.get("tool_calls")), (&json!("Watered."), None));
    assert_eq!(prompt[1]["content"][1]["type"], "image_url");
}

#[test]
fn older_streams_that_name_no_calls_become_text() {
    let engine = engine();
    import(&engine, "output", OPENHANDS);
    let name = "mira-garden-3";
    let said: Vec<_> = messages(&engine, name)
        .iter()
        .map(|message| (message["role"].clone(), message["content"].clone()))
        .collect();
    let look = "I look.\n\n{\"action\":\"run\",\"command\":\"ls\",\"keep_prompt\":true}";
    let expected = [
        ("user", json!("Fix the hose.")),
        ("assistant", json!(look)),
        ("user", json!("hose\r\n")),
        ("assistant", json!(r#"{"action":"run_ipython","code":"patch()"}"#)),
        ("user", Value::Null),
        ("assistant", json!("Like this?")),
        ("user", json!("Yes.")),
        ("assistant", json!("Fixed.")),
    ];
    assert_eq!(said, expected.map(|(role, content)| (json!(role), content)));
    // The person speaks twice; what the agent is told in between begins no run.
    assert_eq!(runs(&engine, &session_id(&engine, name)).len(), 2);
    let window = session(&engine, &session_id(&engine, name)).window().all_runs();
    assert_eq!(crate::check_openai(&window.openai().unwrap()), Ok(()));
    assert_eq!(crate::check_anthropic(&window.anthropic().unwrap()), Ok(()));
}

#[test]
fn what_an_output_says_is_spent_counts_and_else_what_each_response_says() {
    let engine = engine();
    import(&engine, "output", OPENHANDS);
    let view = session(&engine, &session_id(&engine, "garden-12")).view().unwrap();
    let mut spent = crate::Metrics::tokens(900, 90);
    (spent.cache_read_tokens, spent.cache_write_tokens) = (5, 6);
    spent.cost = Some(0.5);
    assert_eq!(view.metrics, spent);
    let data = session(&engine, &view.session_id)
        .import_data(&view.imports[0])
        .unwrap()
        .unwrap()
        .to_value();
    assert_eq!((&data["instruction"], data.get("history")), (&json!("Water it."), None));

    import(&engine, "stream", OPENHANDS_EVENTS);
    let view = session(&engine, &session_id(&engine, "stream")).view().unwrap();
    // Two calls of one response spent what it spent once.
    let mut spent = crate::Metrics::tokens(300, 30);
    spent.cache_read_tokens = 120;
    assert_eq!(view.metrics, spent);
}

#[test]
fn times_without_a_zone_are_utc() {
    let engine = engine();
    import(&engine, "stream", OPENHANDS_EVENTS);
    let first = &messages(&engine, "stream")[0];
    let at_us = crate::clock::parse_rfc3339("2026-01-05T10:00:00.25Z").unwrap();
    assert_eq!(first["created_at_us"], at_us);
}

#[test]
fn a_stream_may_be_a_list_or_lines_and_may_grow() {
    let engine = engine();
    let ends = OPENHANDS_EVENTS.match_indices('\n').map(|(end, _)| end + 1);
    let grown = ends.map(|end| import(&engine, "stream", &OPENHANDS_EVENTS[..end]));
    assert_eq!(grown.map(|report| report.recorded.messages).sum::<u64>(), 12);
    let list = Value::Array(history()).to_string();
    assert_eq!(import(&engine, "stream", &list).unchanged, 1);
    let whole = super::engine();
    import(&whole, "stream", &list);
    assert_eq!(messages(&engine, "stream"), messages(&whole, "stream"));
    let id = session_id(&engine, "stream");
    assert_eq!(runs(&engine, &id), runs(&whole, &id));
    let metrics = |engine| session(engine, &id).view().unwrap().metrics;
    assert_eq!(metrics(&engine), metrics(&whole));
}

#[test]
fn the_oldest_outputs_have_pairs_of_events() {
    let engine = engine();
    let text = r#"{"instance_id":"a","history":[
        [{"action":"message","source":"user","args":{"content":"x"}},{"observation":"null"}],
        [{"action":"run","source":"agent","args":{"command":"ls"}},{"content":"y"}]]}"#;
    let report = import(&engine, "f", text);
    let reason = "history[1][1]: an event that is no action and no observation";
    assert_eq!(reasons(&report), [(None, reason)]);
    assert_eq!((report.recorded.messages, report.ignored["null"]), (2, 1));
}

#[test]
fn broken_events_are_named() {
    let text = format!("{OPENHANDS_EVENTS}{{\"action\":7}}\n[1]\n{{\"id\":3}}\n{{\"act");
    let report = import(&engine(), "stream", &text);
    let reasons = reasons(&report);
    assert_eq!(reasons[0], (Some(16), "an event whose kind is no string"));
    assert!(reasons[1].1.starts_with("not JSON: invalid type"), "{reasons:?}");
    assert_eq!(reasons[2], (Some(18), "an event that is no action and no observation"));
    assert_eq!((reasons[3].0, report.recorded.messages), (Some(19), 12));
    let text = r#"{"instance_id":"a","history":[]}"#;
    let report = import(&engine(), "f", text);
    assert_eq!(super::reasons(&report), [(None, "no message in its history")]);
}
