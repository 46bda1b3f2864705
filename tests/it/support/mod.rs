//! Databases and conversations that tests share.

pub(crate) mod counting;
pub(crate) mod model_server;
pub(crate) mod program;
pub(crate) mod scripted;
pub(crate) mod shapes;

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sessionlog::{
    Clock, Engine, HeldClock, Message, Metrics, Session, check_anthropic, check_openai,
    to_anthropic, to_openai,
};
use tempfile::TempDir;

/// A database on disk that goes with the test.
pub(crate) struct Disk {
    directory: TempDir,
}

impl Disk {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("test.db")
    }

    pub(crate) fn open(&self) -> Engine {
        Engine::open(self.path()).unwrap()
    }
}

/// Whether bytes lie anywhere in the files of a database.
pub(crate) fn lies_in(directory: &Path, needle: &[u8]) -> bool {
    fs::read_dir(directory).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return lies_in(&path, needle);
        }
        let bytes = fs::read(path).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

/// An engine whose clock a test moves.
pub(crate) fn engine_at(now_us: i64) -> (Engine, Arc<HeldClock>) {
    let clock = Arc::new(HeldClock::at(now_us));
    let engine =
        Engine::builder().clock(clock.clone()).open_log(Arc::new(sessionlog::MemoryLog::new()));
    (engine.unwrap(), clock)
}

/// A clock that lets nobody see the time while a test holds it: a group begins with its time, so
/// the commit thread waits.
#[derive(Debug, Default)]
pub(crate) struct HeldByTest(pub(crate) Mutex<()>);

impl Clock for HeldByTest {
    fn now_us(&self) -> i64 {
        drop(self.0.lock().unwrap());
        1_000_000
    }
}

/// A run of a question and an answer.
pub(crate) fn record_turn(session: &Session, question: &str, answer: &str) {
    let messages = [Message::user(question), Message::assistant(answer)];
    session.record_run(messages, Metrics::tokens(10, 5)).unwrap().wait().unwrap();
}

/// A run with one tool call in it.
pub(crate) fn record_tool_turn(session: &Session, call_id: &str) {
    let messages = [
        Message::user("How warm is it in Oslo?"),
        Message::assistant("Let me look.").with_call(call_id, "weather", r#"{"city":"Oslo"}"#),
        Message::tool(call_id, "4 degrees"),
        Message::assistant("4 degrees."),
    ];
    session.record_run(messages, Metrics::tokens(20, 10)).unwrap().wait().unwrap();
}

/// The texts of messages, for comparing at a glance.
pub(crate) fn texts(messages: &[Message]) -> Vec<String> {
    messages.iter().map(|message| message.content.text()).collect()
}

/// What is handed out is legal for both providers. It may be empty: see `Rule::NotEmpty`.
pub(crate) fn assert_sendable(messages: &[Message]) {
    let (openai, anthropic) = (to_openai(messages), to_anthropic(messages));
    assert!(openai.is_empty() || check_openai(&openai) == Ok(()), "{openai:?}");
    let is_legal = anthropic.messages.is_empty() || check_anthropic(&anthropic) == Ok(());
    assert!(is_legal, "{anthropic:?}");
}
