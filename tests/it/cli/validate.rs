//! `validate`: what can be sent, and what it is when mended.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::program::{Db, code, only_complaint, stderr, stdout};

const BROKEN: &str = r#"{"model":"m","messages":[
    {"role":"user","content":"Is it raining?"},
    {"role":"assistant","content":"Let me look.","tool_calls":[
        {"id":"call_1","type":"function","function":{"name":"weather","arguments":"{}"}}]},
    {"role":"user","content":"Never mind."},
    {"role":"tool","tool_call_id":"call_2","content":"4 degrees"}]}"#;

fn validate(args: &[&str], input: &str) -> std::process::Output {
    Db::empty().run_with(&[&["validate"], args].concat(), input.as_bytes())
}

#[test]
fn what_breaks_a_rule_is_named_with_its_place_and_its_rule() {
    let output = validate(&["--json", "-"], BROKEN);
    assert_eq!(code(&output), 1);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["ok"], false);
    let violations = told["conversations"][0]["violations"].as_array().unwrap();
    let rules: Vec<_> = violations.iter().map(|v| (&v["message"], &v["rule"])).collect();
    assert_eq!(
        rules,
        [(&json!(2), &json!("answered-call")), (&json!(3), &json!("answering-result"))],
    );
    let words = stdout(&validate(&["-"], BROKEN));
    assert!(words.contains("message 3: answers \"call_2\""), "{words}");
}

#[test]
fn messages_are_numbered_as_in_the_file_whatever_of_it_cannot_be_read() {
    let said = json!({"role": "user", "content": "Hi"});
    let orphan = json!({"role": "tool", "tool_call_id": "c", "content": "4 degrees"});
    let whole = json!({"messages": [7, said, {"content": 1}, said, orphan, 8, orphan]}).to_string();
    let lines = format!("{said}\n{{\n{said}\n7\n{orphan}\n{{\n{orphan}\n");
    let block =
        |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id}]});
    let blocks = json!({"system": "s", "messages": [said, 7, block("a"), 8, block("b")]});
    for (text, format, expected) in [
        (whole, "openai", [4, 6]),
        (lines, "openai", [4, 6]),
        (blocks.to_string(), "anthropic", [2, 4]),
    ] {
        let output = validate(&["--json", "--format", format, "-"], &text);
        let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let violations = told["conversations"][0]["violations"].as_array().unwrap();
        let places = violations.iter().map(|it| it["message"].as_u64().unwrap());
        let places: BTreeSet<u64> = places.collect();
        assert_eq!(places, expected.into(), "{told}");
    }
}

#[test]
fn parts_that_no_request_has_a_place_for_are_counted_by_type() {
    let file = json!({"type": "file", "file": {"file_id": "f"}});
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let image = json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}});
    let text = json!({"type": "text", "text": "Hi"});
    let request = json!({"messages": [
        {"role": "user", "content": [text, file, image, file]},
        {"role": "user", "content": [audio, text]}]})
    .to_string();
    for provider in ["openai", "anthropic"] {
        let output = validate(&["--repair", "--as", provider, "-"], &request);
        let words = stderr(&output);
        assert!(words.contains("left out 2 parts of type file"), "{words}");
        assert!(words.contains("left out 1 part of type input_audio"), "{words}");
        assert!(!words.contains("image") && stdout(&output).contains("y.png"), "{words}");
        let output = validate(&["--repair", "--as", provider, "--json", "-"], &request);
        let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let expected = json!({"file": 2, "input_audio": 1});
        assert_eq!(told["conversations"][0]["left_out"], expected);
    }
    // The same of a context.
    let db = Db::empty();
    db.run_with(&["import", "-"], request.as_bytes());
    let id = db.json(&["ls"])["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    let told = db.json(&["context", &id]);
    assert_eq!(told["left_out"], json!({"file": 2, "input_audio": 1}));
    let shown = db.fine(&["context", &id]);
    assert!(shown.contains("left out 1 part of type input_audio"), "{shown}");
}

#[test]
fn what_is_repaired_is_legal_for_the_provider_that_was_asked_for() {
    for provider in ["openai", "anthropic"] {
        let output = validate(&["--repair", "--as", provider, "-"], BROKEN);
        assert_eq!(code(&output), 0);
        assert!(stderr(&output).contains("left out the call"), "{}", stderr(&output));
        let again = validate(&["--format", provider, "-"], &stdout(&output));
        assert_eq!((code(&again), stdout(&again)), (0, "legal to send: 1 conversation\n".into()));
    }
}

#[test]
fn what_is_repaired_can_be_read_and_checked_again() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(122), "]".repeat(122));
    let calls: Vec<Value> = [&*deep, r#"{"id":12345678901234567890123}"#]
        .iter()
        .enumerate()
        .map(|(at, arguments)| {
            json!({"id": format!("c{at}"), "type": "function",
                "function": {"name": "look", "arguments": arguments}})
        })
        .collect();
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
        "input": {"query": "x"}});
    let request = json!({"messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hm."}, search]},
        {"role": "user", "content": "Go on."},
        {"role": "assistant", "content": null, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c0", "content": ""},
        {"role": "tool", "tool_call_id": "c1", "content": ""}]});
    let output = validate(&["--repair", "--as", "anthropic", "-"], &request.to_string());
    assert_eq!(code(&output), 0);
    let told = stderr(&output);
    assert!(told.contains("left out 1 part of type server_tool_use"), "{told}");
    let mended = stdout(&output);
    assert!(mended.contains("12345678901234567890123"), "{mended}");
    let again = validate(&["--format", "anthropic", "-"], &mended);
    assert_eq!((code(&again), stdout(&again)), (0, "legal to send: 1 conversation\n".into()));
}

#[test]
fn what_no_request_can_say_is_named_where_it_stands_and_hides_nothing_else() {
    let anthropic = r#"{"system":"\ud83d","messages":[
        {"role":"user","content":"hi"},
        {"role":"assistant","content":[
            {"type":"tool_use","id":"a","name":"f","input":{"v":1e999}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},
        {"role":"assistant","content":[{"type":"tool_use","id":"b","name":"a b","input":{}}]}]}"#;
    let openai = r#"[{"role":"user","content":"\ud83d"},{"role":"user","content":"hi","x":1}]"#;
    for (format, request, found) in [
        (
            "anthropic",
            anthropic,
            &[
                ("system", r"\ud83d is half a character"),
                ("message 1", "no number is as large as 1e999"),
                ("message 3", "the name \"a b\" does not match ^[a-zA-Z0-9_-]{1,64}$"),
                ("at the end", "the call \"b\" is not answered in the next message"),
            ][..],
        ),
        (
            "openai",
            openai,
            &[
                ("message 0", r"\ud83d is half a character"),
                ("message 1", "the member \"x\" is unknown here"),
            ],
        ),
    ] {
        let output = validate(&["--format", format, "--json", "-"], request);
        let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let told = told["conversations"][0]["violations"].as_array().unwrap();
        let told =
            told.iter().map(|it| (it["place"].as_str().unwrap(), it["detail"].as_str().unwrap()));
        assert_eq!(told.collect::<Vec<_>>(), found);
    }
}

#[test]
fn instructions_are_text_or_blocks_of_text() {
    let messages = json!([{"role": "user", "content": "Hi"}]);
    let text = |text: &str| json!({"type": "text", "text": text});
    let image = json!({"type": "image", "source": {"type": "url", "url": "https://x"}});
    for (system, rule) in [
        (json!("Be brief."), None),
        (json!([text("Be brief."), {"type": "text", "text": "Hm.", "cache_control": null}]), None),
        (json!([]), None),
        (json!(7), Some("shape")),
        (json!(null), Some("shape")),
        (json!({"type": "text", "text": "Be brief."}), Some("shape")),
        (json!(["Be brief."]), Some("shape")),
        (json!([text("Be brief."), text(" ")]), Some("content")),
        (json!([image]), Some("known-part")),
        (json!([{"type": "text", "text": "Hm.", "id": 1}]), Some("unknown-member")),
    ] {
        let request = json!({"system": system, "messages": messages}).to_string();
        let output = validate(&["--format", "anthropic", "--json", "-"], &request);
        let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
        let found = &told["conversations"][0]["violations"];
        let named = found[0]["rule"].as_str();
        assert_eq!((named, found[0]["place"].as_str()), (rule, rule.map(|_| "system")), "{told}");
    }
}

#[test]
fn transcripts_that_are_no_requests_are_checked_for_what_belongs_together() {
    let record = |kind: &str, message: Value| {
        json!({"type": kind, "sessionId": "s", "uuid": kind, "message": message}).to_string()
    };
    let call = json!([{"type": "tool_use", "id": "t", "name": "look", "input": {}}]);
    let text = [
        record("user", json!({"role": "user", "content": "Look"})),
        record("assistant", json!({"role": "assistant", "id": "m", "content": call})),
    ];
    let output = validate(&["--json", "-"], &text.join("\n"));
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let conversation = &told["conversations"][0];
    assert_eq!(conversation["format"], "claude-code");
    assert_eq!(conversation["violations"][0]["rule"], "answered-call");
}

#[test]
fn what_cannot_be_read_is_no_success() {
    for (input, words) in [("{\"a\":", "not JSON"), ("[]", "no conversation"), ("7", "left out")] {
        let output = validate(&["-"], input);
        assert_eq!(code(&output), 1);
        assert!(stdout(&output).contains(words), "{}", stdout(&output));
    }
    let output = validate(&["-"], "");
    assert_eq!(only_complaint(&output, 1), "sessionlog: standard input is empty");
    let output = validate(&["nowhere.json"], "");
    assert!(only_complaint(&output, 1).contains("nowhere.json: no such file"));
    assert!(only_complaint(&validate(&[], ""), 2).contains("<FILE>"));
}

#[test]
fn a_database_is_neither_needed_nor_made() {
    let database = Db::empty();
    let fine = r#"[{"role":"user","content":"Hi"}]"#;
    assert_eq!(code(&database.run_with(&["validate", "-"], fine.as_bytes())), 0);
    assert!(!database.path().exists());
}

#[test]
fn conversations_come_in_the_order_of_the_file_and_with_their_images() {
    let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(3_000));
    let lines: Vec<String> = (0..12)
        .map(|number| {
            let parts = json!([
                {"type": "text", "text": format!("m{number}")},
                {"type": "image_url", "image_url": {"url": image}},
            ]);
            json!({"messages": [{"role": "user", "content": parts}]}).to_string()
        })
        .collect();
    let output = validate(&["--repair", "-"], &lines.join("\n"));
    let mended: Vec<Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let given: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(mended, given);
}

#[test]
fn conversations_of_one_id_are_checked_each_by_itself() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let asked = json!({"role": "user", "content": "Hi"});
    let called = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "4"});
    let orphan = json!({"role": "tool", "tool_call_id": "d", "content": "4"});
    let lines = [
        json!({"id": "s", "messages": [asked, called]}),
        json!({"id": "s", "messages": [asked, called, result]}),
        json!({"id": "s", "messages": [asked, orphan]}),
    ];
    let lines = lines.map(|line| line.to_string()).join("\n");
    let output = validate(&["--json", "-"], &lines);
    assert_eq!(code(&output), 1);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(told["skipped"], json!([]));
    let found = told["conversations"].as_array().unwrap();
    let found = found.iter().map(|it| (&it["line"], &it["violations"][0]["rule"]));
    let expected = [
        (&json!(1), &json!("answered-call")),
        (&json!(2), &Value::Null),
        (&json!(3), &json!("answering-result")),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let words = stdout(&validate(&["-"], &lines));
    assert!(words.contains("(s, openai, line 3, 2 messages)"), "{words}");
    assert!(words.contains("2 violations in 3 conversations"), "{words}");
}

#[test]
fn what_is_more_than_a_commit_takes_can_still_be_sent() {
    let turns = r#"{"role":"user","content":"a"},{"role":"assistant","content":"b"}"#;
    let text = format!(r#"{{"messages":[{}]}}"#, vec![turns; 30_000].join(","));
    let output = validate(&["-"], &text);
    assert_eq!((code(&output), &*stdout(&output)), (0, "legal to send: 1 conversation\n"));
}

#[test]
fn a_conversation_whose_media_are_elsewhere_cannot_be_sent() {
    let url = format!("sessionlog:blob/{}/3/data-url/image/png", "0".repeat(64));
    let image = json!({"type": "image_url", "image_url": {"url": url}});
    let text = json!({"messages": [{"role": "user", "content": [image]}]}).to_string();
    let output = validate(&["-"], &text);
    assert_eq!(code(&output), 1);
    assert!(stdout(&output).contains("whose bytes are not in the file"), "{}", stdout(&output));
}

#[test]
fn what_providers_document_is_legal_and_stays_when_it_is_mended() {
    let call = json!({"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls -l"}});
    let openai = json!({"messages": [
        {"role": "user", "name": "alice.b", "content": "Hi"},
        {"role": "user", "name": "José", "content": "Hi"},
        {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "nothing"},
        {"role": "assistant", "content": null, "refusal": "I cannot."}]});
    let text = json!({"type": "text", "text": "Found."});
    let result = json!({"type": "search_result", "source": "https://x", "title": "X",
        "content": [text], "citations": {"enabled": true}});
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search",
        "input": {"query": "x"}});
    let found = json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "https://x", "title": "X",
            "encrypted_content": "E"}]});
    let read = json!({"type": "tool_use", "id": "t", "name": "read", "input": {}});
    let answer = json!({"type": "tool_result", "tool_use_id": "t", "content": [result]});
    let anthropic = json!({"messages": [
        {"role": "user", "content": [text, result]},
        {"role": "assistant", "content": [text, search, found, text, read]},
        {"role": "user", "content": [answer]}]});
    for (format, request) in [("openai", openai), ("anthropic", anthropic)] {
        let output = validate(&["--format", format, "-"], &request.to_string());
        assert_eq!(code(&output), 0, "{}", stdout(&output));
        let output = validate(&["--format", format, "--repair", "-"], &request.to_string());
        assert_eq!((code(&output), &*stderr(&output)), (0, ""));
        let mended: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(mended, request);
    }
}

#[test]
fn what_no_provider_documents_is_named() {
    let orphan = json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []});
    let bare = json!({"type": "search_result", "source": "x", "title": "X", "content": []});
    let call = json!({"id": "c", "type": "custom", "custom": {"name": "sh"}});
    let hi = json!({"role": "user", "content": "Hi"});
    for (format, messages, rule) in [
        ("anthropic", json!([hi, {"role": "assistant", "content": [orphan]}]), "answering-result"),
        ("anthropic", json!([{"role": "user", "content": [bare]}]), "content"),
        ("anthropic", json!([{"role": "user", "content": [orphan]}]), "known-part"),
        ("openai", json!([{"role": "user", "name": "a|b", "content": "Hi"}]), "function-name"),
        (
            "openai",
            json!([{"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": ""}]),
            "shape",
        ),
    ] {
        let request = json!({"messages": messages}).to_string();
        let output = validate(&["--format", format, "--json", "-"], &request);
        let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(told["conversations"][0]["violations"][0]["rule"], rule, "{told}");
    }
}

#[test]
fn what_is_left_out_in_front_is_told() {
    let request = r#"{"messages":[
        {"role":"assistant","content":"Hi!"},{"role":"user","content":"b"}]}"#;
    let output = validate(&["--repair", "--as", "anthropic", "-"], request);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("left out 1 message in front"), "{}", stderr(&output));
    let output = validate(&["--repair", "--as", "anthropic", "--json", "-"], request);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let conversation = &told["conversations"][0];
    assert_eq!(conversation["left_out"], json!({"message-before-user": 1}));
    assert_eq!((&told["ok"], &conversation["unmended"]), (&json!(true), &json!([])));
}

#[test]
fn what_cannot_be_mended_is_no_success() {
    let request = r#"{"system":"s","messages":[{"role":"assistant","content":"x"}]}"#;
    let output = validate(&["--repair", "-"], request);
    assert_eq!(code(&output), 1);
    let words = stderr(&output);
    assert!(words.contains("cannot be mended: at the end: there is no message"), "{words}");
    let output = validate(&["-"], request);
    assert!(stdout(&output).ends_with("; --repair mends what can be mended\n"));
    let output = validate(&["--repair", "--json", "-"], request);
    assert_eq!(code(&output), 1);
    let told: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let conversation = &told["conversations"][0];
    assert_eq!(
        (&told["ok"], &conversation["unmended"][0]["rule"]),
        (&json!(false), &json!("not-empty"))
    );
    assert_eq!(conversation["left_out"], json!({"message-before-user": 1}));
}

#[test]
fn what_a_provider_takes_is_no_violation_and_what_it_refuses_is_one() {
    let cached = json!({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}});
    let document = json!({"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}});
    let fine = [
        json!({"system": "s", "messages": [{"role": "user", "content": [cached, document]}]}),
        json!({"messages": [
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            {"role": "assistant", "content": null, "refusal": "No.", "annotations": []}]}),
    ];
    let wrong = [
        json!({"system": [{"type": "text", "text": ""}], "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}),
        json!({"messages": [
            {"role": "user", "content": [{"type": "file", "file": 7}]}]}),
    ];
    for (requests, expected, formats) in
        [(fine, 0, ["anthropic", "openai"]), (wrong, 1, ["anthropic", "openai"])]
    {
        for (request, format) in requests.iter().zip(formats) {
            let output = validate(&["--format", format, "-"], &request.to_string());
            assert_eq!(code(&output), expected, "{}", stdout(&output));
        }
    }
}
