//! Importing again, after the file has grown, and after it has changed.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::transcript::import_paths;

#[test]
fn importing_again_adds_nothing() {
    let engine = engine();
    let files = [
        ("chats", OPENAI),
        ("airline", TAU_BENCH),
        ("any", CLAUDE_CODE),
        ("roses", SWE_AGENT),
        ("log", INSPECT),
        ("output", OPENHANDS),
        ("stream", OPENHANDS_EVENTS),
    ];
    let first = files.map(|(name, text)| import(&engine, name, text));
    let before = engine.stats().unwrap().events;
    for ((name, text), first) in files.into_iter().zip(first) {
        let again = import(&engine, name, text);
        assert_eq!(again.recorded, super::super::Counts::default());
        assert_eq!((again.unchanged, again.found), (first.recorded.sessions, first.recorded));
    }
    assert_eq!(engine.stats().unwrap().events, before);
}

#[test]
fn spacing_escapes_and_order_make_no_other_message() {
    let engine = engine();
    import(&engine, "x", r#"[{"role":"user","content":"\u00e9","a":[1.0]}]"#);
    let again =
        import(&engine, "x", "[ {\"a\": [1.0], \"content\":\"é\" ,\r\n\"role\":\"user\"} ]");
    assert_eq!(again.unchanged, 1);
}

/// What a session looks like after a file was imported as it grew, record by record.
fn grown(text: &str, session_id: &str) -> (Engine, u64) {
    let engine = engine();
    let ends = text.match_indices('\n').map(|(end, _)| end + 1);
    let mut messages = 0;
    for end in ends {
        messages += import(&engine, "file", &text[..end]).recorded.messages;
    }
    assert_eq!(session(&engine, session_id).view().unwrap().message_count, messages);
    (engine, messages)
}

#[test]
fn a_file_that_grew_adds_only_what_is_new() {
    let claude_code = (CLAUDE_CODE, CLAUDE_CODE_SESSION, Format::ClaudeCode);
    for (text, session_id, format) in [claude_code, (MESSAGE_LINES, "file", Format::OpenAi)] {
        let (piecewise, messages) = grown(text, session_id);
        let whole = engine();
        let report = import(&whole, "file", text);
        assert_eq!(messages, report.recorded.messages);
        for format in [format, Format::OpenAi] {
            let out = exported(&piecewise, session_id, format);
            assert_eq!(out, exported(&whole, session_id, format));
        }
        assert_eq!(runs(&piecewise, session_id), runs(&whole, session_id));
        let metrics = |engine| session(engine, session_id).view().unwrap().metrics;
        assert_eq!(metrics(&piecewise), metrics(&whole));
        assert!(piecewise.verify().unwrap().ok);
    }
}

#[test]
fn a_file_that_shrank_changes_nothing() {
    let engine = engine();
    import(&engine, "count", MESSAGE_LINES);
    let shorter = MESSAGE_LINES.lines().next().unwrap();
    assert_eq!(import(&engine, "count", shorter).unchanged, 1);
}

#[test]
fn a_changed_file_is_refused_whole() {
    for (from, to, at) in [("Count.", "Do not.", 1), ("two", "deux", 3), ("three", "trois", 4)] {
        let engine = engine();
        import(&engine, "count", MESSAGE_LINES);
        let before = events(&engine, "count");
        let more = "{\"role\":\"assistant\",\"content\":\"four\"}\n";
        let changed = format!("{}{more}", MESSAGE_LINES.replace(from, to));
        let report = import(&engine, "count", &changed);
        let reason = format!("session count: differs from what was recorded at message {at}");
        assert_eq!(reasons(&report), [(None, reason.as_str())]);
        assert_eq!((report.recorded.messages, events(&engine, "count")), (0, before));
    }
}

#[test]
fn metadata_that_changed_with_the_file_is_followed() {
    let engine = engine();
    let text = |metadata: &str, more: &str| {
        let messages = format!(r#"[{{"role":"user","content":"a"}}{more}]"#);
        format!(r#"{{"id":"s","metadata":{metadata},"messages":{messages}}}"#)
    };
    import(&engine, "f", &text(r#"{"a":1,"b":2}"#, ""));
    let grown = text(r#"{"a":3,"c":4}"#, r#",{"role":"assistant","content":"b"}"#);
    assert_eq!(import(&engine, "f", &grown).recorded.messages, 1);
    let view = session(&engine, "s").view().unwrap();
    assert_eq!(serde_json::Value::Object(view.metadata), json!({"a": 3, "c": 4}));
    assert_eq!(exported(&engine, "s", Format::OpenAi), [json(&grown)]);
}

#[test]
fn a_name_given_by_hand_stays() {
    let engine = engine();
    let first = CLAUDE_CODE.lines().take(3).collect::<Vec<_>>().join("\n");
    import(&engine, "any", &first);
    session(&engine, CLAUDE_CODE_SESSION).rename("Roses").unwrap().wait().unwrap();
    let report = import(&engine, "any", CLAUDE_CODE);
    assert!(report.recorded.messages > 0);
    assert_eq!(session(&engine, CLAUDE_CODE_SESSION).name().unwrap().as_deref(), Some("Roses"));
}

#[test]
fn sessions_that_are_something_else_are_left_alone() {
    let engine = engine();
    engine.session("count").open().unwrap();
    let report = import(&engine, "count", MESSAGE_LINES);
    assert_eq!(reasons(&report), [(None, "session count: exists already, and was not imported")]);

    import(&engine, "chats", OPENAI);
    let options = ImportOptions { user_id: Some("noor".into()), ..ImportOptions::default() };
    let report = import_text(&engine, "chats", OPENAI.as_bytes(), &options).unwrap();
    assert_eq!(reasons(&report)[0].1, "session lighthouse-1: belongs to another user");

    let trial = r#"[{"task_id":1,"trial":0,"traj":[{"role":"user","content":"x"}]}]"#;
    import(&engine, "t", trial);
    let report = import(&engine, "t-task1-trial0", r#"[{"role":"user","content":"x"}]"#);
    assert!(reasons(&report)[0].1.ends_with("was imported from tau-bench"));
}

#[test]
fn one_session_twice_in_a_file_is_compared() {
    let engine = engine();
    let line = r#"{"id":"s","messages":[{"role":"user","content":"a"}]}"#;
    let other = r#"{"id":"s","messages":[{"role":"user","content":"b"}]}"#;
    let report = import(&engine, "f", &format!("{line}\n{line}\n{other}\n"));
    assert_eq!((report.recorded.sessions, report.unchanged, report.found.sessions), (1, 1, 3));
    let reason = "session s: differs from what was recorded at message 1";
    assert_eq!(reasons(&report), [(Some(3), reason)]);
}

#[test]
fn imports_at_the_same_time_write_everything_once() {
    let engine = engine();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || import(&engine, "any", CLAUDE_CODE))
        })
        .collect();
    let reports: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(reports.iter().map(|report| report.recorded.sessions).sum::<u64>(), 1);
    assert_eq!(reports.iter().map(|report| report.unchanged).sum::<u64>(), 3);
    assert!(reports.iter().all(|report| report.skipped.is_empty()));
}

#[test]
fn a_session_may_go_on_by_itself_between_two_imports() {
    let engine = engine();
    let three: Vec<&str> = MESSAGE_LINES.lines().take(3).collect();
    import(&engine, "count", &three.join("\n"));
    let own = [crate::Message::user("mine"), crate::Message::assistant("own")];
    let count = session(&engine, "count");
    count.record_run(own, crate::Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(import(&engine, "count", MESSAGE_LINES).recorded.messages, 1);
    assert_eq!(import(&engine, "count", MESSAGE_LINES).unchanged, 1);
    assert_eq!(count.view().unwrap().message_count, 6);
}

#[test]
fn a_run_that_somebody_goes_on_with_is_not_ended_by_an_import() {
    let engine = engine();
    let lines: Vec<&str> = MESSAGE_LINES.lines().collect();
    import(&engine, "count", &lines[..2].join("\n"));
    let run = session(&engine, "count").existing_run("count/1");
    run.resume().unwrap().wait().unwrap();
    import(&engine, "count", &lines[..3].join("\n"));
    assert_eq!(session(&engine, "count").view().unwrap().open_runs.len(), 1);
    run.complete(crate::Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(runs(&engine, "count"), [["system", "user", "assistant"]]);
}

#[test]
fn folders_are_read_in_order_without_what_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    };
    write("b/count.jsonl", MESSAGE_LINES);
    write("a.json", TAU_BENCH);
    write("b/notes.txt", "no transcript");
    write(".hidden/x.json", OPENAI);
    write("b/.x.json", OPENAI);
    let given = write("c/chat.log", r#"[{"role":"user","content":"x"}]"#);
    let engine = engine();
    let (mut seen, paths) = (Vec::new(), [dir.path().to_owned(), given.clone()]);
    let mut progress = |at: crate::transcript::ImportProgress| seen.push(at);
    let report = import_paths(&engine, &paths, &ImportOptions::default(), &mut progress).unwrap();
    assert_eq!((report.files, report.recorded.sessions), (3, 4));
    let names: Vec<PathBuf> = seen.iter().map(|at| at.file.clone()).collect();
    let [a, b] = ["a.json", "b/count.jsonl"].map(|name| dir.path().join(name));
    assert_eq!(names, [a, b, given.clone(), given]);
    let last = seen.last().unwrap();
    assert_eq!((last.files_done, last.bytes_done), (last.files, last.bytes));
}

#[test]
fn a_path_that_is_not_there_stops_the_import_before_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("count.jsonl");
    fs::write(&file, MESSAGE_LINES).unwrap();
    let engine = engine();
    let paths = [file, dir.path().join("missing.json")];
    let options = ImportOptions::default();
    let error = import_paths(&engine, &paths, &options, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("missing.json"), "{error}");
    assert_eq!(engine.stats().unwrap().sessions, 0);
}
