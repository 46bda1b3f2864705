//! What must hold for any input. The fuzz targets call these, and so does an ordinary test, with
//! every input in `fuzz/seeds`: those that once failed, and some to begin with.

mod operations;

use std::hint::black_box;

use sessionlog::transcript::{Format, ImportOptions, import_text};
use sessionlog::{
    Digest, Engine, EventKind, JsonObject, Message, Point, check_anthropic, check_openai, legalize,
    testing, to_anthropic, to_openai,
};

/// Any bytes as a frame or another record of a log: an event or an error, never a panic.
pub fn frame(bytes: &[u8]) {
    let session = Digest::of_session("golden");
    let _ = black_box(testing::read_frame(bytes, session, 42));
    testing::read_records(bytes);
}

/// Any bytes as the body of any kind of event.
pub fn body(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = EventKind::ALL[usize::from(*kind) % EventKind::ALL.len()];
    let _ = black_box(testing::read_body(kind as u16, bytes));
}

/// Any text as a point: what is taken for one prints as one that is the same.
pub fn point(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(point) = text.parse::<Point>() {
        let again: Point = point.to_string().parse().expect("a printed point is a point");
        assert_eq!(again, point);
    }
}

/// Any text as a query, up to the first line break, and what follows as what is searched: it is
/// read or refused, and what it finds lies between characters, in order and apart.
pub fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (query, text) = text.split_once('\n').unwrap_or((text, text));
    let Ok(Some(found)) = testing::find_words(query, text) else { return };
    assert!(!found.is_empty() && found.iter().all(|range| !text[range.clone()].is_empty()));
    assert!(found.is_sorted_by(|a, b| a.end <= b.start));
}

/// Any JSON lines as messages: each comes back equal, its media too, and together they are
/// legal to send.
pub fn message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut messages = Vec::new();
    for line in text.lines() {
        let Ok(message) = Message::from_json(line) else { continue };
        let before = JsonObject::parse(line).expect("it was read").to_json().to_value();
        assert_eq!(message.to_json().to_value(), before);
        assert_eq!(testing::move_media(message.clone()).unwrap(), message);
        messages.push(message);
    }
    let (legal, _) = legalize(messages);
    let (again, repairs) = legalize(legal.clone());
    assert!(again == legal && repairs.is_empty());
    assert_sendable(&legal);
}

/// Any bytes as a transcript: imported or refused, and importing again adds nothing.
pub fn import(bytes: &[u8]) {
    for format in Format::ALL.iter().copied().map(Some).chain([None]) {
        let engine = Engine::in_memory().unwrap();
        let options = ImportOptions { format, ..ImportOptions::default() };
        let Ok(_) = import_text(&engine, "fuzz", bytes, &options) else { continue };
        let events = engine.stats().unwrap().events;
        import_text(&engine, "fuzz", bytes, &options).unwrap();
        assert_eq!(engine.stats().unwrap().events, events);
        let report = engine.verify().unwrap();
        assert!(report.ok, "{:?}", report.problems);
    }
}

/// Any bytes as operations on a few sessions, with reopening between them.
pub fn operations(bytes: &[u8]) {
    operations::run(bytes);
}

/// What is handed out is legal for both providers, and reads as what it is. It may be empty: see
/// `Rule::NotEmpty`.
fn assert_sendable(messages: &[Message]) {
    let (openai, anthropic) = (to_openai(messages), to_anthropic(messages));
    assert!(openai.is_empty() || check_openai(&openai) == Ok(()), "{openai:?}");
    let is_legal = anthropic.messages.is_empty() || check_anthropic(&anthropic) == Ok(());
    assert!(is_legal, "{anthropic:?}");
    let request = serde_json::json!({"messages": [openai, anthropic]});
    assert!(serde_json::from_str::<serde_json::Value>(&request.to_string()).unwrap() == request);
}
