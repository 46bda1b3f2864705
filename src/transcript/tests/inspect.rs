//! Inspect's eval logs.

use serde_json::json;

use super::*;

const ROSE: &str = "RUN1-TASK1-samplerose-epoch1";
const ROSE_AGAIN: &str = "RUN1-TASK1-samplerose-epoch2";

#[test]
fn every_sample_of_a_log_is_a_session() {
    let engine = engine();
    let report = import(&engine, "log", INSPECT);
    assert_eq!((report.recorded.sessions, report.recorded.messages), (2, 8));
    assert_eq!((report.recorded.tool_calls, report.recorded.tool_results), (2, 4));
    assert_eq!(reasons(&report), [(None, "samples[2]: a sample without messages")]);
    let ignored: Vec<_> = report.ignored.iter().map(|(kind, n)| (kind.as_str(), *n)).collect();
    assert_eq!(ignored, [("model", 2), ("sample_init", 1), ("tool", 1)]);
    let again = import(&engine, "log", INSPECT);
    assert_eq!((again.unchanged, again.recorded.messages), (2, 0));
}

#[test]
fn attachments_are_put_back_and_missing_ones_stay_named() {
    let engine = engine();
    import(&engine, "log", INSPECT);
    let out = exported(&engine, ROSE, Format::OpenAi);
    let messages = &out[0]["messages"];
    let text = json!({"type": "text", "text": "What ails it? attachment://aaaa1111"});
    let image = json!({
        "type": "image", "image": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto",
    });
    assert_eq!(messages[1]["content"], json!([text, image]));
    assert_eq!(messages[3]["content"], "attachment://missing0");
}

#[test]
fn calls_of_a_log_become_openais_and_keep_what_else_they_say() {
    let engine = engine();
    import(&engine, "log", INSPECT);
    let out = exported(&engine, ROSE, Format::OpenAi);
    let calls = out[0]["messages"][2]["tool_calls"].as_array().unwrap().clone();
    let look = json!({"name": "look", "arguments": "{\"at\": \"leaves\", \"depth\": 1.50}"});
    assert_eq!(calls[0], json!({"id": "call_1", "type": "function", "function": look}));
    assert_eq!(calls[1]["function"], json!({"name": "smell", "arguments": "{}"}));
    assert_eq!(calls[1]["parse_error"], "no nose");
    let failed = &out[0]["messages"][4];
    assert_eq!((&failed["content"], &failed["name"]), (&json!("No nose."), &json!("smell")));
    assert_eq!(failed["error"], json!({"type": "parsing", "message": "No nose."}));
    assert_eq!(failed["is_error"], true);
}

#[test]
fn results_without_calls_are_kept_and_left_out_of_windows() {
    let engine = engine();
    import(&engine, "log", INSPECT);
    let again = session(&engine, ROSE_AGAIN);
    assert_eq!(again.view().unwrap().message_count, 2);
    assert!(again.window().all_runs().openai().unwrap().is_empty());
    let window = session(&engine, ROSE).window().all_runs();
    let prompt = window.openai().unwrap();
    assert_eq!((prompt.len(), crate::check_openai(&prompt)), (6, Ok(())));
    assert_eq!(prompt[1]["content"][1]["type"], "image_url");
    assert_eq!(crate::check_anthropic(&window.anthropic().unwrap()), Ok(()));
}

#[test]
fn what_a_log_says_about_a_sample_is_kept_without_what_is_about_all() {
    let engine = engine();
    import(&engine, "log", INSPECT);
    let view = session(&engine, ROSE).view().unwrap();
    let mut spent = crate::Metrics::tokens(110, 10);
    (spent.cache_read_tokens, spent.reasoning_tokens) = (40, 1);
    assert_eq!(view.metrics, spent);
    let data = session(&engine, &view.session_id)
        .import_data(&view.imports[0])
        .unwrap()
        .unwrap()
        .to_value();
    let given = json(INSPECT);
    for member in ["id", "epoch", "input", "target", "output", "scores", "metadata", "store"] {
        assert_eq!(data["sample"][member], given["samples"][0][member]);
    }
    // What its input names is not in the messages under that name.
    let kept = data["sample"]["attachments"].as_object().unwrap();
    assert_eq!(kept.keys().collect::<Vec<_>>(), ["aaaa1111"]);
    assert_eq!(data["eval"]["dataset"], json!({"name": "plants", "samples": 2}));
    assert_eq!((data.get("samples"), data.get("results")), (None, None));
}

#[test]
fn broken_messages_of_a_sample_are_named() {
    let text = r#"{"version":2,"status":"error","eval":{},"samples":[
        {"messages":[{"role":"user","content":"x"},{"content":"y"}]},7,{"messages":3}]}"#;
    let engine = engine();
    let report = import(&engine, "log", text);
    let reasons = reasons(&report);
    assert_eq!(reasons[0], (None, "samples[0].messages[1]: a message without a role"));
    assert_eq!(reasons[1], (None, "samples[1]: no sample: no object"));
    assert_eq!(reasons[2], (None, "samples[2]: its messages are no list"));
    session(&engine, "log-sample1-epoch1");
    let report = import(&engine, "logs", r#"[{"eval":{},"samples":[{"messages":[7]}]}]"#);
    let reasons = super::reasons(&report);
    assert!(reasons[0].1.starts_with("[0].samples[0].messages[0]: not JSON"), "{reasons:?}");
    assert_eq!(reasons[1], (None, "[0].samples[0]: none of its messages can be read"));
}

#[test]
fn a_sample_that_grew_adds_what_is_new() {
    let engine = engine();
    let mut part = json(INSPECT);
    part["samples"][0]["messages"].as_array_mut().unwrap().truncate(2);
    import(&engine, "log", &part.to_string());
    let report = import(&engine, "log", INSPECT);
    assert_eq!((report.recorded.messages, report.unchanged), (4, 1));
}

#[test]
fn a_log_without_samples_has_no_conversation() {
    let report = import(&engine(), "log", r#"{"version":2,"status":"started","eval":{}}"#);
    assert_eq!(reasons(&report), [(None, "no conversation in it")]);
}
