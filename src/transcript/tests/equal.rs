//! What comes in goes out equal as JSON.

use serde_json::{Value, json};

use super::*;

#[test]
fn openai_conversations_come_back_equal() {
    let engine = engine();
    let report = import(&engine, "chats", OPENAI);
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.sessions, report.recorded.messages), (3, 12));
    let Value::Array(given) = json(OPENAI) else { unreachable!() };
    assert_eq!(exported(&engine, "lighthouse-1", Format::OpenAi), given[..1]);
    assert_eq!(exported(&engine, "17", Format::OpenAi), given[2..]);
    // The one without an id is named by its file, and says so.
    let mut second = given[1].clone();
    second["id"] = json!("chats-2");
    assert_eq!(exported(&engine, "chats-2", Format::OpenAi), [second]);
}

#[test]
fn what_openai_says_about_a_conversation_is_the_sessions() {
    let engine = engine();
    import(&engine, "chats", OPENAI);
    let view = session(&engine, "lighthouse-1").view().unwrap();
    assert_eq!(view.user_id.as_deref(), Some("mira"));
    assert_eq!(view.metadata["channel"], "web");
    assert_eq!(view.tool_call_count, 2);
    assert_eq!(session(&engine, "chats-2").view().unwrap().user_id, None);
}

#[test]
fn the_users_word_is_over_the_files() {
    let engine = engine();
    let options = ImportOptions { user_id: Some("noor".into()), ..ImportOptions::default() };
    import_text(&engine, "chats", OPENAI.as_bytes(), &options).unwrap();
    let out = exported(&engine, "lighthouse-1", Format::OpenAi);
    assert_eq!(out[0]["user"], "noor");
    assert_eq!(exported(&engine, "chats-2", Format::OpenAi)[0]["user"], "noor");
}

#[test]
fn what_changed_since_the_import_is_what_is_written() {
    let engine = engine();
    import(&engine, "chats", OPENAI);
    let lighthouse = session(&engine, "lighthouse-1");
    let patch = crate::StatePatch::new().set(["score"], json!(2));
    lighthouse.patch_metadata(patch).unwrap().wait().unwrap();
    lighthouse.change_owner(None).unwrap().wait().unwrap();
    let out = exported(&engine, "lighthouse-1", Format::OpenAi);
    assert_eq!(out[0]["metadata"], json!({"channel": "web", "score": 2, "tags": []}));
    assert_eq!(out[0].get("user"), None);
    assert_eq!(out[0]["model"], "small-model");
}

#[test]
fn lines_of_messages_are_one_conversation() {
    let engine = engine();
    let report = import(&engine, "count", MESSAGE_LINES);
    assert_eq!((report.recorded.sessions, report.recorded.runs), (1, 2));
    let messages: Vec<Value> = MESSAGE_LINES.lines().map(json).collect();
    let out = exported(&engine, "count", Format::OpenAi);
    assert_eq!(out, [json!({"id": "count", "messages": messages})]);
    assert_eq!(runs(&engine, "count"), [vec!["system", "user", "assistant"], vec!["user"]]);
    assert_eq!(session(&engine, "count").view().unwrap().metrics, crate::Metrics::tokens(5, 1));
}

#[test]
fn lists_of_messages_are_conversations_too() {
    let engine = engine();
    let hello = r#"[{"role":"user","content":"Hello"}]"#;
    import(&engine, "bare", hello);
    import(&engine, "two", &format!("[{hello},{hello}]"));
    for session_id in ["bare", "two-1", "two-2"] {
        let out = exported(&engine, session_id, Format::OpenAi);
        assert_eq!(out, [json!({"id": session_id, "messages": json(hello)})]);
    }
}

#[test]
fn users_in_a_row_begin_one_run_and_what_is_before_them_is_in_it() {
    let engine = engine();
    import(&engine, "chats", OPENAI);
    assert_eq!(runs(&engine, "chats-2"), [["assistant", "user", "user", "critic"]]);
}

#[test]
fn tau_bench_trials_come_back_equal() {
    let engine = engine();
    let report = import(&engine, "airline", TAU_BENCH);
    assert_eq!((report.recorded.tool_calls, report.recorded.tool_results), (2, 2));
    let Value::Array(trials) = json(TAU_BENCH) else { unreachable!() };
    for (trial, number) in trials.iter().zip(0..) {
        let session_id = format!("airline-task3-trial{number}");
        assert_eq!(exported(&engine, &session_id, Format::TauBench)[0], *trial);
        let plain = json!({"id": session_id, "messages": trial["traj"]});
        assert_eq!(exported(&engine, &session_id, Format::OpenAi), [plain]);
    }
}

fn records(text: &str) -> Vec<Value> {
    let records = text.lines().map(json);
    records.filter(|record| record["type"] == "user" || record["type"] == "assistant").collect()
}

#[test]
fn claude_code_records_come_back_equal() {
    let engine = engine();
    let report = import(&engine, "any", CLAUDE_CODE);
    assert_eq!(report.skipped, []);
    let ignored: Vec<_> =
        report.ignored.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let types = ["file-history-snapshot", "progress", "queue-operation", "summary", "system"];
    assert_eq!(ignored, types.map(|name| (name, 1)));
    assert_eq!((report.recorded.tool_calls, report.recorded.tool_results), (4, 4));
    let out = exported(&engine, CLAUDE_CODE_SESSION, Format::ClaudeCode);
    assert_eq!(out, records(CLAUDE_CODE));
}

#[test]
fn a_claude_code_session_has_a_title_runs_and_what_it_spent() {
    let engine = engine();
    import(&engine, "any", CLAUDE_CODE);
    let view = session(&engine, CLAUDE_CODE_SESSION).view().unwrap();
    assert_eq!(view.name.as_deref(), Some("Watering the garden"));
    // Each response once, by its last record.
    let mut spent = crate::Metrics::tokens(10 + 20 + 7, 30 + 8 + 5);
    (spent.cache_write_tokens, spent.cache_read_tokens) = (3 * 40, 3 * 300);
    assert_eq!(view.metrics, spent);
    let runs = runs(&engine, CLAUDE_CODE_SESSION);
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[1], ["user", "assistant"]);
}

#[test]
fn a_claude_code_session_is_plain_in_openais_format() {
    let engine = engine();
    import(&engine, "any", CLAUDE_CODE);
    let out = exported(&engine, CLAUDE_CODE_SESSION, Format::OpenAi);
    assert!(!out[0].to_string().contains("\"claude_code."));
    let failed = &out[0]["messages"][6];
    assert_eq!((&failed["role"], &failed["is_error"]), (&json!("tool"), &json!(true)));
    assert_eq!(failed["tool_call_id"], "toolu_2");
    let call = &out[0]["messages"][3];
    assert_eq!(call["content"], Value::Null);
    assert_eq!(call["tool_calls"][0]["function"]["name"], "Read");
    let prompt = session(&engine, CLAUDE_CODE_SESSION).window().all_runs().openai().unwrap();
    assert_eq!(crate::check_openai(&prompt), Ok(()));
}

#[test]
fn a_sub_agent_has_a_session_of_its_own() {
    let engine = engine();
    import(&engine, "both", &format!("{CLAUDE_CODE}{CLAUDE_CODE_AGENT}"));
    let agent = format!("{CLAUDE_CODE_SESSION}-agent-a77");
    assert_eq!(exported(&engine, &agent, Format::ClaudeCode), records(CLAUDE_CODE_AGENT));
    assert_eq!(runs(&engine, CLAUDE_CODE_SESSION).len(), 2);
}

#[test]
fn messages_of_any_session_become_records_that_read_in_again() {
    let engine = engine();
    import(&engine, "airline", TAU_BENCH);
    let out = exported(&engine, "airline-task3-trial0", Format::ClaudeCode);
    let lines: Vec<String> = out.iter().map(Value::to_string).collect();
    let other = super::engine();
    let report = import(&other, "again", &lines.join("\n"));
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.messages, report.recorded.tool_results), (7, 2));
    assert_eq!(report.ignored["system"], 1);
    assert_eq!(exported(&other, "airline-task3-trial0", Format::ClaudeCode), out[1..]);
}

#[test]
fn any_session_can_be_written_as_a_trial() {
    let engine = engine();
    import(&engine, "count", MESSAGE_LINES);
    let out = exported(&engine, "count", Format::TauBench);
    assert_eq!((&out[0]["task_id"], &out[0]["trial"]), (&json!("count"), &json!(0)));
    assert_eq!(out[0]["traj"].as_array().unwrap().len(), 4);
}
