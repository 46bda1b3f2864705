//! SWE-agent's trajectory files.

use std::fs;

use serde_json::json;

use super::*;
use crate::transcript::import_paths;

fn history() -> Vec<Value> {
    json(SWE_AGENT)["history"].as_array().unwrap().clone()
}

#[test]
fn a_trajectory_comes_back_equal_but_for_the_ids_that_openai_wants() {
    let engine = engine();
    let report = import(&engine, "roses", SWE_AGENT);
    assert_eq!(report.skipped, []);
    // One message answers two calls: the second answer is a message without words.
    assert_eq!((report.recorded.messages, report.recorded.tool_calls), (11, 3));
    assert_eq!((report.recorded.tool_results, report.recorded.runs), (3, 1));
    let out = exported(&engine, "roses", Format::OpenAi);
    let mut messages = out[0]["messages"].as_array().unwrap().clone();
    let part = messages.remove(6);
    assert_eq!((&part["content"], &part["tool_call_id"]), (&json!(""), &json!("call_2")));
    for (message, given) in messages.iter_mut().zip(history()) {
        if let Some(id) = message.as_object_mut().unwrap().remove("tool_call_id") {
            assert_eq!(id, given["tool_call_ids"][0]);
        }
        assert_eq!(*message, given);
    }
    assert_eq!(messages.len(), history().len());
}

#[test]
fn one_message_that_answers_several_calls_answers_each_in_a_window() {
    let engine = engine();
    import(&engine, "roses", SWE_AGENT);
    let window = session(&engine, "roses").window().all_runs();
    let prompt = window.openai().unwrap();
    assert_eq!(crate::check_openai(&prompt), Ok(()));
    let results: Vec<_> = prompt.iter().filter(|message| message["role"] == "tool").collect();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0]["content"], "\u{1b}[31ma.py\u{1b}[0m\r\nprint(1)\r\n");
    assert_eq!(crate::check_anthropic(&window.anthropic().unwrap()), Ok(()));
}

#[test]
fn observations_and_demonstrations_begin_no_run() {
    let engine = engine();
    let text = r#"{"trajectory":[],"history":[{"role":"system","content":"s"},
        {"role":"user","content":"demo","is_demo":true},{"role":"user","content":"task"},
        {"role":"assistant","content":"ls"},{"role":"user","content":"a.py"},
        {"role":"assistant","content":"submit"},{"role":"user","content":""}]}"#;
    import(&engine, "old", text);
    let roles = ["system", "user", "user", "assistant", "user", "assistant", "user"];
    assert_eq!(runs(&engine, "old"), [roles]);
}

#[test]
fn what_a_trajectory_says_beside_its_messages_is_kept() {
    let engine = engine();
    import(&engine, "roses", SWE_AGENT);
    let view = session(&engine, "roses").view().unwrap();
    let mut spent = crate::Metrics::tokens(700, 30);
    spent.cost = Some(0.5);
    assert_eq!(view.metrics, spent);
    let data = session(&engine, &view.session_id)
        .import_data(&view.imports[0])
        .unwrap()
        .unwrap()
        .to_value();
    let given = json(SWE_AGENT);
    for member in ["environment", "info", "replay_config"] {
        assert_eq!(data[member], given[member]);
    }
    assert_eq!(data.get("history"), None);
    let state = json!({"working_dir": "/garden"});
    assert_eq!(data["trajectory"][0], json!({"execution_time": 0.25, "state": state}));
}

#[test]
fn broken_messages_of_a_trajectory_are_named() {
    let text = r#"{"trajectory":[{"action":"a"},7],"history":[{"role":"user","content":"x"},7,
        {"content":"y"}]}"#;
    let engine = engine();
    let report = import(&engine, "f", text);
    let reasons = reasons(&report);
    assert!(reasons[0].1.starts_with("history[1]: not JSON: invalid type"), "{reasons:?}");
    assert_eq!(reasons[1], (None, "history[2]: a message without a role"));
    assert_eq!(report.recorded.messages, 1);
    let data = {
        let session = session(&engine, "f");
        session.import_data(&session.view().unwrap().imports[0]).unwrap().unwrap()
    };
    assert_eq!(data.to_value(), json!({"trajectory": [{}, 7]}));
}

#[test]
fn a_trajectory_that_grew_goes_on_with_its_run() {
    let engine = engine();
    let mut part = json(SWE_AGENT);
    part["history"].as_array_mut().unwrap().truncate(6);
    part["info"]["model_stats"]["tokens_sent"] = json!(300);
    let first = import(&engine, "roses", &part.to_string()).recorded.messages;
    let rest = import(&engine, "roses", SWE_AGENT).recorded.messages;
    assert_eq!((first, rest), (7, 4));
    let view = session(&engine, "roses").view().unwrap();
    assert_eq!((view.run_count, view.metrics.input_tokens), (1, 700));
    assert_eq!(import(&engine, "roses", SWE_AGENT).unchanged, 1);
}

#[test]
fn files_of_one_name_in_several_folders_are_several_sessions() {
    let dir = tempfile::tempdir().unwrap();
    // Newer versions put each instance into a folder of its own.
    for path in ["run-1/rose.traj", "run-2/rose/rose.traj"] {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, SWE_AGENT).unwrap();
    }
    fs::write(dir.path().join("LICENSE"), "no transcript").unwrap();
    fs::write(dir.path().join("config.json"), r#"{"agent":"default"}"#).unwrap();
    let (engine, options) = (engine(), ImportOptions::default());
    let paths = [dir.path().to_owned()];
    let report = import_paths(&engine, &paths, &options, &mut |_| ()).unwrap();
    assert_eq!((report.files, report.recorded.sessions), (3, 2));
    assert_eq!(reasons(&report), [(None, "no conversation in it")]);
    session(&engine, "run-1-rose");
    session(&engine, "run-2-rose");
}
