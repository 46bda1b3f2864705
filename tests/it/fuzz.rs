//! Every input that a fuzzer ever failed on, and some to begin with, through the same checks.

#[path = "../../fuzz/checks/mod.rs"]
#[expect(clippy::expect_used, clippy::unreachable, unreachable_pub, reason = "tests")]
mod checks;

use std::fs;
use std::path::Path;

use proptest::prelude::*;

/// Puts every stored input of a target through its check, and says which one it is.
fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let inputs: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!inputs.is_empty(), "{target} has no inputs");
    for input in inputs {
        let bytes = fs::read(&input).unwrap();
        let outcome = std::panic::catch_unwind(|| check(&bytes));
        assert!(outcome.is_ok(), "{} fails", input.display());
    }
}

#[test]
fn stored_frames_are_events_or_errors() {
    replay("frame", checks::frame);
}

#[test]
fn stored_bodies_are_events_or_errors() {
    replay("body", checks::body);
}

#[test]
fn stored_points_print_as_they_are_read() {
    replay("point", checks::point);
}

#[test]
fn stored_queries_find_words_where_they_are_or_are_refused() {
    replay("query", checks::query);
}

#[test]
fn stored_messages_come_back_and_are_legal_together() {
    replay("message", checks::message);
}

#[test]
fn stored_transcripts_are_imported_once_or_refused() {
    replay("import", checks::import);
}

#[test]
fn stored_operations_keep_every_promise() {
    replay("operations", checks::operations);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_operations_keep_every_promise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        checks::operations(&bytes);
    }
}
