//! A whole log as it was first released: every record of it, frames and indexes alike.

use std::fmt::Write;
use std::fs;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use sessionlog::{
    Access, Batch, Engine, Log, MemoryLog, Message, Metrics, Order, PageLimit, Point, Range,
    SessionQuery,
};

use crate::support::{record_tool_turn, record_turn};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<_> =
        hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap()).collect();
    digits.iter().map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// Everything that is read back, as one value.
fn content(engine: &Engine) -> Value {
    let page = engine.sessions(&SessionQuery::new(Access::Admin)).unwrap();
    let sessions = page.sessions.iter().map(|view| {
        let session = engine.session(&*view.session_id).admin().open_existing().unwrap();
        let past = session.at(Point::run(1)).unwrap().to_record().unwrap();
        json!({
            "now": session.at(Point::Head).unwrap().to_record().unwrap(),
            "past": past,
            "window": session.window().openai().unwrap(),
        })
    });
    sessions.collect()
}

fn write_golden() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
    let session = engine
        .session("golden")
        .user("alice")
        .agent("helper")
        .metadata(json!({"n": 1}))
        .open()
        .unwrap();
    session
        .record_run([Message::system("Be brief."), Message::user("Hi")], Metrics::tokens(5, 1))
        .unwrap();
    record_tool_turn(&session, "call_1");
    session.rename("Golden").unwrap();
    session.merge_state(json!({"a": {"b": [1, 2.5, null]}})).unwrap();
    for number in 0..60 {
        record_turn(&session, &format!("q{number}"), "a");
    }
    record_turn(&engine.session("other").team("crew").open().unwrap(), "q", &"long ".repeat(2_000));
    session.fork(Point::run(2)).id("fork").open().unwrap().rename("Forked").unwrap();
    session.rewind(Point::run(40)).unwrap().wait().unwrap();
    record_turn(&session, "after the rewind", "a");
    let expected = serde_json::to_string_pretty(&content(&engine)).unwrap();
    drop((session, engine));
    let whole = Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending };
    let records = log.page(&whole, PageLimit { records: usize::MAX, bytes: usize::MAX }).unwrap();
    let lines: Vec<_> =
        records.iter().map(|r| format!("{} {}", hex(&r.key), hex(&r.value))).collect();
    fs::write(path("log.txt"), lines.join("\n") + "\n").unwrap();
    fs::write(path("log.json"), expected + "\n").unwrap();
}

#[test]
fn a_log_of_the_first_format_reads_as_it_did() {
    if !path("log.txt").exists() && std::env::var_os("SESSIONLOG_BLESS").is_some() {
        write_golden();
    }
    let mut batch = Batch::new();
    for line in fs::read_to_string(path("log.txt")).unwrap().lines() {
        let (key, value) = line.split_once(' ').unwrap();
        batch.insert(bytes(key), bytes(value));
    }
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    log.apply(&batch).unwrap();
    let engine = Engine::builder().open_log(log).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    let expected = fs::read_to_string(path("log.json")).unwrap();
    assert_eq!(content(&engine), serde_json::from_str::<Value>(&expected).unwrap());
    // What is appended to it joins its chain.
    record_turn(&engine.session("golden").user("alice").open().unwrap(), "new", "answer");
    assert!(engine.verify().unwrap().ok);
}
