//! The commands that ask a language model.

use serde_json::json;
use sessionlog::{Engine, Message, Metrics, SummaryWritten, limits};

use crate::support::model_server::{ModelServer, Reply, openai_answer};
use crate::support::program::*;
use crate::support::scripted::summary;

/// The options that name a server's model.
fn with_model<'a>(args: &[&'a str], url: &'a str) -> Vec<&'a str> {
    [args, &["--model", "m-1", "--base-url", url]].concat()
}

#[test]
fn a_session_is_summarized_shown_and_taken_back() {
    let db = Db::with_samples();
    let server = ModelServer::start(|number, _| {
        Reply::json(&openai_answer(&summary(&format!("Summary {number}."))))
    });
    let url = server.url();
    let planned = db.json(&["summarize", "--all", "--dry-run"]);
    assert_eq!(planned["sessions"][0]["plan"]["calls"], 1, "{planned}");
    let done = db.json(&with_model(&["summarize", "demo-parcel"], &url));
    let one = &done["sessions"][0];
    assert_eq!(
        (&one["outcome"], &one["summary"]["summary"]),
        (&"written".into(), &"Summary 0.".into())
    );
    assert_eq!(
        (&one["summary"]["model"], &done["total"]["metrics"]["total_tokens"]),
        (&"m-1".into(), &110.into())
    );
    let sent = server.sent()[0].body.to_string();
    assert!(sent.contains("<conversation>") && !sent.contains("You help customers"), "{sent}");
    let again = db.json(&with_model(&["summarize", "demo-parcel"], &url));
    assert_eq!(again["sessions"][0]["outcome"], "unchanged");
    assert_eq!(db.json(&["show", "demo-parcel"])["summary"]["summary"], "Summary 0.");

    db.fine(&["rewind", "demo-parcel", "--to", "run:1"]);
    assert_eq!(
        db.json(&["summarize", "demo-parcel", "--show"])["sessions"][0]["summary"],
        json!(null)
    );
    let all = db.fine(&with_model(&["summarize", "--all"], &url));
    assert!(
        all.contains("Summary 1.") && all.contains("2 written, 0 unchanged; 220 tokens"),
        "{all}"
    );
    let shown = db.fine(&["summarize", "demo-parcel", "demo-menu", "--show"]);
    assert!(shown.contains("topics: tea") && shown.contains("by m-1"), "{shown}");
    let history = db.json(&["summarize", "demo-menu", "--history"]);
    assert_eq!(history["sessions"][0]["summaries"].as_array().unwrap().len(), 1);
    let seq = &history["sessions"][0]["summaries"][0]["seq"];
    assert_eq!(
        db.json(&["summarize", "demo-menu", "--withdraw"])["sessions"][0]["withdrawn"],
        *seq
    );
    assert!(db.fine(&["summarize", "demo-menu", "--withdraw"]).contains("no summary to take back"));
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn a_history_of_summaries_says_how_many_are_older() {
    let db = Db::empty();
    let kept = limits::VIEW_SUMMARIES_MAX as u64;
    {
        let engine = Engine::open(db.path()).unwrap();
        let session = engine.session("s").open().unwrap();
        session.record_run([Message::user("Hi")], Metrics::default()).unwrap();
        let write = || {
            let (summary, topics) = (String::from("Said."), Vec::new());
            let (first_seq, last_seq, model, metrics) = (1, 3, None, None);
            let written = SummaryWritten { summary, topics, first_seq, last_seq, model, metrics };
            session.write_summary(written).unwrap().wait().unwrap().last_seq
        };
        let seqs: Vec<u64> = (0..kept + 4).map(|_| write()).collect();
        assert_eq!(session.older_summaries().unwrap(), seqs[..4]);
        // One that is too old to be shown can be taken back too.
        session.withdraw_summary(seqs[1]).unwrap().wait().unwrap();
        assert_eq!(session.older_summaries().unwrap(), [seqs[0], seqs[2], seqs[3]]);
    }
    let history = db.json(&["summarize", "s", "--history"]);
    let one = &history["sessions"][0];
    assert_eq!(one["summaries"].as_array().unwrap().len() as u64, kept);
    assert_eq!(one["older"].as_array().unwrap().len(), 3);
    (0..kept).for_each(|_| drop(db.fine(&["summarize", "s", "--withdraw"])));
    let history = db.fine(&["summarize", "s", "--history"]);
    assert!(history.contains("s: 3 more that are older"), "{history}");
    assert!(history.contains("s: no summary"), "{history}");
}

#[test]
fn a_summary_follows_a_prompt_from_a_file_and_waits_for_so_many_runs() {
    let db = Db::with_samples();
    let server = ModelServer::saying(&summary("Kurz."));
    let url = server.url();
    let prompt = db.directory.path().join("prompt.txt");
    std::fs::write(&prompt, "Fasse zusammen.").unwrap();
    let prompt = prompt.to_str().unwrap();
    let late = db.json(&with_model(&["summarize", "demo-menu", "--min-runs", "50"], &url));
    assert_eq!((&late["sessions"][0]["outcome"], server.sent().len()), (&"unchanged".into(), 0));
    db.fine(&with_model(&["summarize", "demo-menu", "--prompt", prompt], &url));
    let system = server.sent()[0].body["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(system.starts_with("Fasse zusammen."), "{system}");
    let words =
        db.refused(1, &with_model(&["summarize", "demo-menu", "--prompt", "/nowhere"], &url));
    assert!(words.contains("/nowhere"), "{words}");
    std::fs::write(prompt, "x".repeat(100_000)).unwrap();
    let words = db.refused(1, &with_model(&["summarize", "demo-menu", "--prompt", prompt], &url));
    assert!(words.contains("over the limit"), "{words}");
}

#[test]
fn what_all_summaries_of_a_long_session_took_is_told() {
    let db = Db::empty();
    let answer = json!({"role": "assistant", "content": "Here you are."});
    let turn = format!("{}{answer}\n", user_line(&"Tea, please. ".repeat(1_250)));
    let lines = turn.repeat(60);
    db.run_with(&["record", "long"], lines.as_bytes());
    let server = ModelServer::saying(&summary("Tea."));
    let report = db.json(&with_model(&["summarize", "long"], &server.url()));
    let spent = 110 * server.sent().len() as u64;
    let one = &report["sessions"][0];
    assert!(one["summary"]["metrics"]["total_tokens"].as_u64().unwrap() < spent, "{report}");
    assert_eq!((&one["summaries"], &one["metrics"]["total_tokens"]), (&2.into(), &spent.into()));
    assert_eq!(report["total"]["metrics"]["total_tokens"], spent);
    // What was written before the server went away is told beside the error.
    db.run_with(&["record", "long"], lines.as_bytes());
    let server = ModelServer::start(|number, _| match number {
        0..16 => Reply::json(&openai_answer(&summary("More tea."))),
        _ => Reply::status(401, "go away"),
    });
    let output = db.run(&with_model(&["summarize", "long", "--json"], &server.url()));
    let words = stderr(&output);
    assert!(code(&output) == 1 && words.contains("401"), "{words}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let one = &report["sessions"][0];
    assert_eq!((&one["outcome"], &one["summaries"]), (&"failed".into(), &1.into()), "{report}");
    assert_eq!(report["total"]["metrics"]["total_tokens"], 16 * 110);
}

#[test]
fn a_session_is_named_by_a_model_unless_it_was_named_by_hand() {
    let db = Db::with_samples();
    let server = ModelServer::saying("Title: \"Dinner for Two\".");
    let url = server.url();
    // The sample has a name of its own.
    let kept = db.json(&with_model(&["rename", "demo-parcel", "--generate"], &url));
    assert_eq!((&kept["outcome"], &kept["session_name"]), (&"kept".into(), &"Lost parcel".into()));
    let forced = db.json(&with_model(&["rename", "demo-parcel", "--generate", "--force"], &url));
    assert_eq!(
        (&forced["outcome"], &forced["session_name"]),
        (&"named".into(), &"Dinner for Two".into())
    );
    assert_eq!(forced["is_by_model"], true);
    let event = db.json(&["log", "demo-parcel", "--from", &forced["seq"].to_string()]).to_string();
    assert!(event.contains(r#""is_generated":true"#), "{event}");
    db.fine(&["rename", "demo-parcel", "Mine"]);
    assert!(
        db.fine(&with_model(&["rename", "demo-parcel", "--generate"], &url)).contains("--force")
    );
}

#[test]
fn all_sessions_without_a_name_are_named() {
    let db = Db::with_samples();
    for (id, text) in [("one", "How do I boil an egg?"), ("two", "FAIL"), ("three", "Hello there")]
    {
        db.run_with(&["record", id], user_line(text).as_bytes());
    }
    let server = ModelServer::start(|_, sent| {
        if sent.body.to_string().contains("FAIL") {
            Reply::status(400, "no")
        } else {
            Reply::json(&openai_answer("A Name"))
        }
    });
    let url = server.url();
    let args = with_model(&["rename", "--all", "--generate", "--jobs", "2", "--json"], &url);
    let output = db.run(&args);
    assert_eq!((code(&output), stderr(&output).as_str()), (1, ""));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes = report["sessions"].as_array().unwrap().iter();
    let outcomes: Vec<_> = outcomes
        .map(|one| (one["session_id"].as_str().unwrap(), one["outcome"].as_str().unwrap()))
        .collect();
    let menu = db.json(&["show", "demo-menu"])["session_data"]["session_name"].clone();
    let named = [("one", "named"), ("three", "named"), ("two", "failed")];
    assert!(outcomes.ends_with(&named) && outcomes.len() <= 4, "{outcomes:?}");
    assert_eq!(report["failed"], 1);
    assert!(menu.is_string());
    assert_eq!(db.json(&["show", "demo-parcel"])["session_data"]["session_name"], "Lost parcel");
}

#[test]
fn a_batch_ends_with_the_first_refusal_that_every_session_would_get() {
    let db = Db::empty();
    for id in ["one", "two", "three", "four"] {
        db.run_with(&["record", id], user_line(&format!("This is {id}")).as_bytes());
    }
    let start = |status: u16| {
        ModelServer::start(move |_, sent| match sent.body.to_string() {
            body if body.contains("This is one") => Reply::json(&openai_answer(&summary("One."))),
            body if body.contains("This is two") => Reply::status(400, "no"),
            _ => Reply::status(status, "go away"),
        })
    };
    for (status, args) in [
        (401, &["summarize", "--all"][..]),
        (403, &["summarize", "one", "two", "three", "four"]),
        (404, &["rename", "--all", "--generate", "--force", "--jobs", "1"]),
    ] {
        let server = start(status);
        let url = server.url();
        let args = [args, &["--model", "m-1", "--base-url", &url]].concat();
        let output = db.run(&[&args[..], &["--json"]].concat());
        let words = stderr(&output);
        assert_eq!((code(&output), words.lines().count()), (1, 1), "{words}");
        assert!(
            words.contains("2 sessions done, 2 not done") && words.contains("go away"),
            "{words}"
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["sessions"].as_array().unwrap().len(), 2, "{report}");
        let counts = if report["total"].is_object() { &report["total"] } else { &report };
        assert_eq!((&counts["not_done"], &counts["failed"]), (&2.into(), &1.into()), "{report}");
        // A shape that is refused is left out once, and so the 400 is asked for again.
        assert!(server.sent().len() <= 4, "{}", server.sent().len());
    }
    let server = ModelServer::start(|_, _| Reply::status(401, "go away"));
    let words = db.run(&with_model(&["rename", "--all", "--generate", "--force"], &server.url()));
    let words = only_complaint(&words, 1);
    assert!(words.contains("0 sessions done, 4 not done") && words.contains("401"), "{words}");
}

#[test]
fn a_batch_does_not_wait_for_a_server_that_is_down_session_by_session() {
    let db = Db::empty();
    for number in 0..6 {
        let line = user_line(&format!("This is {number}"));
        db.run_with(&["record", &format!("s{number}"), "--user", "alice"], line.as_bytes());
    }
    for args in [
        &["summarize", "--all"][..],
        &["rename", "--all", "--generate", "--jobs", "1"],
        &["memory", "extract", "--user", "alice"],
    ] {
        // It asks for no patience, so that the test needs none.
        let busy = || Reply::Http(503, vec![("retry-after-ms", "0")], b"try later".to_vec());
        let server = ModelServer::start(move |_, _| busy());
        let output = db.run(&[&with_model(args, &server.url())[..], &["--json"]].concat());
        let words = stderr(&output);
        assert_eq!((code(&output), words.lines().count()), (1, 1), "{words}");
        assert!(words.contains("2 ") && words.contains("done, 4 not done"), "{words}");
        assert!(words.contains("try later") && words.contains("one after the other"), "{words}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = if report["total"].is_object() { &report["total"] } else { &report };
        assert_eq!((&counts["not_done"], &counts["failed"]), (&4.into(), &2.into()), "{report}");
        // What ended it is in the document too.
        let why = report["error"].as_str().unwrap();
        assert!(words.contains(why), "{report}");
        // Each of three is sent four times.
        assert_eq!(server.sent().len(), 12);
    }
}

#[test]
fn a_model_is_found_through_the_environment_and_its_key_is_never_shown() {
    let db = Db::with_samples();
    let server = ModelServer::start(|number, sent| match number {
        0 => Reply::status(401, &format!("bad {}", sent.header("authorization").unwrap())),
        _ => Reply::json(&openai_answer(&summary("Fine."))),
    });
    let mut command = db.command(&["summarize", "demo-menu"]);
    command
        .env("SESSIONLOG_MODEL", "m-2")
        .env("SESSIONLOG_BASE_URL", server.url())
        .env("SESSIONLOG_PROVIDER", "openai")
        .env("OPENAI_API_KEY", "sk-hidden");
    let words = only_complaint(&command.output().unwrap(), 1);
    assert!(words.contains("401") && words.contains("demo-menu"), "{words}");
    assert!(!words.contains("sk-hidden"), "{words}");
    assert!(command.output().unwrap().status.success());
    assert_eq!(server.sent()[1].body["model"], "m-2");
    assert_eq!(server.sent()[1].header("authorization"), Some("Bearer sk-hidden"));
}

#[test]
fn what_cannot_be_asked_is_said_in_one_line() {
    let db = Db::with_samples();
    let server = ModelServer::saying("x");
    let url = server.url();
    assert!(db.refused(2, &["summarize", "demo-menu"]).contains("--model"));
    assert!(db.refused(2, &["rename", "demo-menu", "--generate"]).contains("--model"));
    db.refused(2, &["summarize", "--model", "m"]);
    db.refused(2, &["summarize", "demo-menu", "--show", "--withdraw"]);
    db.refused(2, &["rename", "demo-menu"]);
    db.refused(2, &["rename", "demo-menu", "Name", "--generate"]);
    db.refused(2, &with_model(&["rename", "--all", "--generate", "--jobs", "0"], &url));
    let words = db.refused(1, &["summarize", "demo-menu", "--model", "m"]);
    assert!(words.contains("OPENAI_API_KEY"), "{words}");
    let words =
        db.refused(1, &["summarize", "demo-menu", "--model", "m", "--provider", "anthropic"]);
    assert!(words.contains("ANTHROPIC_API_KEY"), "{words}");
    db.refused(1, &with_model(&["summarize", "demo-menu", "nowhere"], &url));
    let words = db.refused(1, &with_model(&["summarize", "demo-menu"], &url));
    assert!(words.contains("no summary in 3 answers"), "{words}");
    assert!(db.fine(&["summarize", "demo-menu", "--show"]).contains("no summary"));
}
