//! Imports into sessions that went back, and exports of forks.

use serde_json::json;

use super::agno::AGNO;
use super::anthropic::ANTHROPIC;
use super::*;
use crate::{Metrics, Point};

const FIXTURES: [(&str, &str); 7] = [
    ("chats", OPENAI),
    ("any", ANTHROPIC),
    ("any", CLAUDE_CODE),
    ("any", AGNO),
    ("airline", TAU_BENCH),
    ("roses", SWE_AGENT),
    ("output", OPENHANDS),
];

fn session_ids(engine: &Engine) -> Vec<String> {
    let page = engine.sessions(&crate::SessionQuery::new(crate::Access::Admin)).unwrap();
    page.sessions.into_iter().map(|view| view.session_id).collect()
}

fn contents(engine: &Engine, session_id: &str) -> Vec<String> {
    let runs = session(engine, session_id).at(Point::Head).unwrap().runs().unwrap();
    let messages = runs.into_iter().flat_map(|run| run.messages);
    messages.map(|(_, message)| message.content.text()).collect()
}

#[test]
fn what_was_left_behind_does_not_come_back_with_the_same_file() {
    for (name, text) in FIXTURES {
        let engine = engine();
        let first = import(&engine, name, text);
        for session_id in session_ids(&engine) {
            let session = session(&engine, &session_id);
            for seq in 1..=session.seq().unwrap() {
                session.rewind(Point::seq(seq)).unwrap().wait().unwrap();
                let before = engine.stats().unwrap().events;
                let again = import(&engine, name, text);
                assert_eq!(again.recorded, super::super::Counts::default(), "{session_id} {seq}");
                assert_eq!(again.unchanged, first.recorded.sessions, "{session_id} {seq}");
                assert_eq!(again.skipped, first.skipped);
                assert_eq!(engine.stats().unwrap().events, before);
            }
        }
        assert!(engine.verify().unwrap().ok);
    }
}

#[test]
fn what_a_file_has_more_goes_on_with_what_counts_now() {
    let lines: Vec<&str> = MESSAGE_LINES.split_inclusive('\n').collect();
    for known in 1..lines.len() {
        let head = {
            let engine = engine();
            import(&engine, "count", &lines[..known].concat());
            events(&engine, "count")
        };
        for seq in 1..=head {
            let engine = engine();
            import(&engine, "count", &lines[..known].concat());
            let session = session(&engine, "count");
            session.rewind(Point::seq(seq)).unwrap().wait().unwrap();
            let mut expected = contents(&engine, "count");
            let report = import(&engine, "count", MESSAGE_LINES);
            assert_eq!(report.skipped, [], "{known} {seq}");
            assert_eq!(report.recorded.messages, (lines.len() - known) as u64);
            let new = lines[known..].iter().map(|line| json(line)["content"].clone());
            expected.extend(new.map(|content| content.as_str().unwrap().to_owned()));
            assert_eq!(contents(&engine, "count"), expected, "{known} {seq}");
            // Nothing is left open, and nothing comes twice.
            assert!(session.view().unwrap().open_runs.is_empty());
            assert_eq!(import(&engine, "count", MESSAGE_LINES).unchanged, 1);
            assert!(engine.verify().unwrap().ok);
        }
    }
}

#[test]
fn a_run_that_goes_on_after_a_rewind_counts_what_counts() {
    let line = |role: &str, text: &str, tokens: u64| {
        let message = json!({"role": role, "content": text, "metrics": {"input_tokens": tokens}});
        format!("{message}\n")
    };
    let known = [line("user", "a", 1), line("assistant", "b", 2), line("assistant", "c", 4)];
    for (back, counted) in [(4, 1), (5, 3), (6, 7), (2, 0)] {
        let engine = engine();
        import(&engine, "s", &known.concat());
        let session = session(&engine, "s");
        session.rewind(Point::seq(back)).unwrap().wait().unwrap();
        import(&engine, "s", &format!("{}{}", known.concat(), line("assistant", "d", 8)));
        let view = session.view().unwrap();
        assert_eq!((view.metrics.input_tokens, view.run_count), (counted + 8, 1), "{back}");
        assert_eq!(view.left_behind.input_tokens, 7);
    }
}

/// A session of Agno's: a run with its status for each list of messages.
fn agno(runs: &[(&str, &[&str])]) -> String {
    let runs = runs.iter().enumerate().map(|(index, (status, texts))| {
        let messages = texts.iter().map(|text| json!({"role": "user", "content": text}));
        let messages: Vec<_> = messages.collect();
        json!({"run_id": format!("r{index}"), "status": status, "messages": messages})
    });
    let runs: Vec<_> = runs.collect();
    json!({"session_id": "s", "agent_id": "a", "runs": runs}).to_string()
}

#[test]
fn runs_of_agnos_that_were_left_behind_begin_anew_with_what_is_new() {
    let engine = engine();
    import(&engine, "any", &agno(&[("COMPLETED", &["a"]), ("PAUSED", &["b"])]));
    let session = session(&engine, "s");
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    // That it ended is no reason to bring it back.
    let ended = agno(&[("COMPLETED", &["a"]), ("COMPLETED", &["b"])]);
    assert_eq!(import(&engine, "any", &ended).unchanged, 1);
    let grown = agno(&[("COMPLETED", &["a"]), ("COMPLETED", &["b", "c"]), ("COMPLETED", &["d"])]);
    let report = import(&engine, "any", &grown);
    assert_eq!((report.skipped.len(), report.recorded.messages), (0, 2));
    assert_eq!(contents(&engine, "s"), ["a", "c", "d"]);
    assert_eq!(runs(&engine, "s").len(), 3);
    assert_eq!(import(&engine, "any", &grown).unchanged, 1);
    let grown = grown.replace("\"d\"", "\"d\",\"x\":1");
    assert_eq!(reasons(&import(&engine, "any", &grown)).len(), 1);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn a_run_of_agnos_that_a_rewind_interrupted_ends_as_its_source_says() {
    let engine = engine();
    import(&engine, "any", &agno(&[("RUNNING", &["a", "b"])]));
    let session = session(&engine, "s");
    let head = session.seq().unwrap();
    session.rewind(Point::seq(head - 1)).unwrap().wait().unwrap();
    assert_eq!(import(&engine, "any", &agno(&[("RUNNING", &["a", "b"])])).unchanged, 1);
    import(&engine, "any", &agno(&[("COMPLETED", &["a", "b", "c"])]));
    assert_eq!(contents(&engine, "s"), ["a", "c"]);
    assert_eq!(runs(&engine, "s").len(), 1);
}

#[test]
fn nothing_is_imported_into_a_fork() {
    let engine = engine();
    import(&engine, "count", MESSAGE_LINES);
    session(&engine, "count").fork(Point::run(1)).id("fork").open().unwrap();
    let report = import(&engine, "fork", MESSAGE_LINES);
    let reason = "session fork: exists already, and was forked from count";
    assert_eq!(reasons(&report), [(None, reason)]);
}

/// A session as it goes out, without what names it and says when it was.
fn out(engine: &Engine, session_id: &str, format: Format) -> Vec<Value> {
    let mut out = exported(engine, session_id, format);
    for record in out.iter_mut().filter_map(Value::as_object_mut) {
        for name in ["id", "session_id", "sessionId", "task_id", "forked_from"] {
            record.remove(name);
        }
        for name in ["uuid", "parentUuid", "timestamp", "created_at", "updated_at"] {
            record.remove(name);
        }
        for run in record.get_mut("runs").and_then(Value::as_array_mut).into_iter().flatten() {
            run.as_object_mut().unwrap().remove("session_id");
        }
    }
    out
}

#[test]
fn a_fork_goes_out_with_the_messages_that_count() {
    // A dump has all events, of a fork also that it is one.
    let is_meant = |format: &Format| format.is_written() && *format != Format::Jsonl;
    let formats = Format::ALL.iter().copied().filter(is_meant);
    for (format, (name, text)) in formats.flat_map(|f| FIXTURES.map(|fixture| (f, fixture))) {
        let engine = engine();
        import(&engine, name, text);
        for session_id in session_ids(&engine) {
            let parent = session(&engine, &session_id);
            let fork = parent.fork(Point::Head).open().unwrap();
            let whole = out(&engine, fork.id(), format);
            if parent.view().unwrap().open_runs.is_empty() {
                assert_eq!(whole, out(&engine, &session_id, format), "{session_id} as {format}");
            }
            if parent.view().unwrap().run_count == 0 {
                continue;
            }
            // Going back in the fork leaves what a fork at that point has.
            let before = parent.fork(Point::run(1)).open().unwrap();
            let message = crate::Message::user("And now?");
            fork.record_run([message], Metrics::default()).unwrap().wait().unwrap();
            fork.rewind(Point::run(1)).unwrap().wait().unwrap();
            assert_eq!(contents(&engine, fork.id()), contents(&engine, before.id()));
            assert_eq!(
                exported(&engine, fork.id(), format).len(),
                exported(&engine, before.id(), format).len()
            );
        }
        assert!(engine.verify().unwrap().ok);
    }
}

#[test]
fn a_fork_of_a_claude_code_session_is_read_back_as_one_session() {
    let engine = engine();
    import(&engine, "any", CLAUDE_CODE);
    let fork = session(&engine, CLAUDE_CODE_SESSION).fork(Point::Head).id("fork").open().unwrap();
    let message = crate::Message::user("And now?");
    fork.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    let out = exported(&engine, "fork", Format::ClaudeCode);
    assert!(out.iter().all(|record| record["sessionId"] == "fork"));
    let given = exported(&engine, CLAUDE_CODE_SESSION, Format::ClaudeCode);
    assert_eq!(out.len(), given.len() + 1);
    assert_eq!(out[0]["message"], given[0]["message"]);
}
