//! Databases and conversations that tests share.

pub(crate) mod program;

use std::sync::Arc;

use sessionlog::{Engine, HeldClock, Message, Metrics, Session};
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

/// An engine whose clock a test moves.
pub(crate) fn engine_at(now_us: i64) -> (Engine, Arc<HeldClock>) {
    let clock = Arc::new(HeldClock::at(now_us));
    let engine =
        Engine::builder().clock(clock.clone()).open_log(Arc::new(sessionlog::MemoryLog::new()));
    (engine.unwrap(), clock)
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
