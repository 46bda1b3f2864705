//! `context`: what the next model call would be given, and what earlier ones were.

use sessionlog::{Message, Metrics, TokenCounter, Tokenizer};

use crate::support::program::*;

#[test]
fn the_next_call_is_shown_as_a_provider_takes_it() {
    let db = Db::with_samples();
    let whole = db.json(&["context", "demo-parcel", "--instructions", "Be kind.", "--state"]);
    let system = whole["messages"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("You help customers of a tea shop. Be brief.\n\nBe kind.\n\n"));
    assert!(system.ends_with("</session_state>"));
    assert_eq!(whole["messages"].as_array().unwrap().len(), 10);
    assert!(whole["tokens"]["history"].as_u64().unwrap() > 0);
    assert_eq!(whole["manifest"]["instructions"]["text"], "Be kind.");
    let some = db.json(&["context", "demo-parcel", "--budget", "100", "--format", "anthropic"]);
    assert_eq!(some["system"], "You help customers of a tea shop. Be brief.");
    assert_eq!(some["messages"][0]["role"], "user");
    assert!(some["tokens"]["anthropic"].as_u64().unwrap() <= 100);
    assert!(some["messages"].as_array().unwrap().len() < 9);
    let none = db.json(&["context", "demo-parcel", "--no-history", "--skip-role", "system"]);
    assert_eq!(none["messages"].as_array().unwrap().len(), 0);
    let shown = db.fine(&["context", "demo-parcel", "--runs", "1", "--summary"]);
    assert!(shown.contains("tokens by estimate-2: system message"), "{shown}");
    let words = db.refused(1, &["context", "demo-parcel", "--budget", "3"]);
    assert!(words.contains("is over the limit of 3"), "{words}");
    db.refused(2, &["context", "demo-parcel", "--skip-role", "nobody"]);
    db.refused(2, &["context", "demo-parcel", "--run", "1", "--budget", "100"]);
    db.refused(2, &["context", "demo-parcel", "--call", "1"]);
}

#[test]
fn tokens_are_counted_by_the_tokenizer_that_was_asked_for() {
    let db = Db::empty();
    db.run_with(&["record", "s"], user_line("unbelievable internationalization").as_bytes());
    let count = |args: &[&str]| {
        let told = db.json(&[&["context", "s"], args].concat());
        let history = told["tokens"]["history"].as_u64().unwrap();
        (told["counter"].as_str().unwrap().to_owned(), history, told["manifest"]["counter"].clone())
    };
    let text = "unbelievable internationalization";
    for (name, tokenizer) in [("o200k", Tokenizer::o200k()), ("cl100k", Tokenizer::cl100k())] {
        let expected = tokenizer.count(text) as u64 + sessionlog::MESSAGE_TOKENS;
        assert_eq!(count(&["--tokenizer", name]), (name.to_owned(), expected, name.into()));
        let shown = db.fine(&["context", "s", "--tokenizer", name]);
        assert!(shown.contains(&format!("tokens by {name}: ")), "{shown}");
    }
    assert_eq!(count(&[]).0, "estimate-2");
    db.refused(2, &["context", "s", "--tokenizer", "p50k"]);
    db.refused(2, &["context", "s", "--run", "1", "--tokenizer", "o200k"]);
}

#[test]
fn what_was_recorded_for_a_run_is_shown_exactly() {
    let db = Db::empty();
    let sent = {
        let engine = sessionlog::Engine::open(db.path()).unwrap();
        let session = engine.session("chat").open().unwrap();
        crate::support::record_turn(&session, "before", "yes");
        let run = session.run().id("asked").start().unwrap();
        run.push(Message::user("now")).unwrap();
        let first = run.context().build().unwrap();
        first.record(&run).unwrap();
        run.push(Message::assistant("Let me think.")).unwrap();
        let context = run.context().instructions("Be brief.").build().unwrap();
        context.record(&run).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        [first.openai(), context.openai()]
    };
    let last = db.json(&["context", "chat", "--run", "2"]);
    assert_eq!(last["messages"].as_array(), Some(&sent[1]));
    assert_eq!(
        (&last["is_exact"], &last["call"], &last["calls"]),
        (&true.into(), &2.into(), &2.into())
    );
    let first = db.json(&["context", "chat", "--run", "asked", "--call", "1"]);
    assert_eq!(first["messages"].as_array(), Some(&sent[0]));
    assert!(db.fine(&["context", "chat", "--run", "2"]).contains("exactly what was sent"));
    let words = db.refused(1, &["context", "chat", "--run", "1"]);
    assert!(words.contains("run:1: no context was recorded"), "{words}");
    let words = db.refused(1, &["context", "chat", "--run", "2", "--call", "3"]);
    assert!(words.contains("no call 3: 2 contexts recorded"), "{words}");
    assert!(db.refused(1, &["context", "chat", "--run", "9"]).contains("no such run"));
    let erased = first["manifest"]["run_seqs"][0][0].to_string();
    db.fine(&["erase", "chat", "--message", &erased]);
    let after = db.json(&["context", "chat", "--run", "2"]);
    assert_eq!(after["is_exact"], false);
    assert!(after["changes"][0].as_str().unwrap().ends_with(&format!("seq {erased}")));
    assert!(db.fine(&["context", "chat", "--run", "2"]).contains("not what was sent"));
}
