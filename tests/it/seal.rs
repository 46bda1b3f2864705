//! Engines over a log that seals.

use std::fs;
use std::sync::Arc;

use sessionlog::testing::{seal_in_memory, seal_on_disk};
use sessionlog::{
    Access, Batch, Engine, KeyProvider, Log, MemoryLog, Order, PageLimit, Range, Record,
    SessionQuery, StatePatch, StaticKey,
};

use crate::support::{Disk, record_tool_turn, record_turn};

fn provider() -> Arc<dyn KeyProvider> {
    Arc::new(StaticKey::new([1; 32]))
}

fn engine(log: &Arc<dyn Log>) -> Engine {
    Engine::builder().open_log(Arc::clone(log)).unwrap()
}

/// All that a log holds, as it holds it.
fn records(log: &dyn Log, prefix: &[u8]) -> Vec<Record> {
    let range = Range::prefix(prefix, Order::Ascending);
    log.page(&range, PageLimit { records: usize::MAX, bytes: usize::MAX }).unwrap()
}

/// Words that only a person could have said or chosen.
const WORDS: [&str; 6] = ["parcel-7", "blue parcel", "Ellinor", "ellinor@", "My parcels", "Lisbon"];

fn converse(engine: &Engine) {
    let session = engine.session("parcel-7").user("ellinor@example.org").open().unwrap();
    record_turn(&session, "Where is my blue parcel?", "It is in Lisbon, Ellinor.");
    record_tool_turn(&session, "call");
    session.rename("My parcels").unwrap().wait().unwrap();
    let patch = StatePatch::new().set(["city"], serde_json::json!("Lisbon"));
    session.patch_state(patch).unwrap().wait().unwrap();
    // Far enough for a snapshot.
    for _ in 0..80 {
        record_turn(&session, "And the blue parcel now?", "Still in Lisbon.");
    }
}

fn check(engine: &Engine) {
    let session = engine.session("parcel-7").user("ellinor@example.org").open().unwrap();
    let texts = crate::support::texts(&session.window().runs(200).messages().unwrap());
    assert_eq!(texts[1], "It is in Lisbon, Ellinor.");
    let page = engine.sessions(&SessionQuery::new(Access::Admin)).unwrap();
    assert_eq!(page.sessions[0].name.as_deref(), Some("My parcels"));
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
}

fn finds(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

#[test]
fn nothing_that_was_said_or_chosen_is_found_in_what_is_stored() {
    let inner: Arc<dyn Log> = Arc::new(MemoryLog::new());
    converse(&engine(&inner));
    // Without sealing it is there.
    for word in WORDS {
        assert!(records(&*inner, b"").iter().any(|record| finds(&record.value, word)), "{word}");
    }
    let inner: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let sealed = seal_in_memory(Arc::clone(&inner), provider()).unwrap();
    converse(&engine(&sealed));
    check(&engine(&sealed));
    for Record { key, value } in records(&*inner, b"") {
        for word in WORDS {
            assert!(!finds(&key, word) && !finds(&value, word), "{word} in {key:?}");
        }
    }
}

#[test]
fn a_sealed_database_on_disk_opens_again_and_its_files_say_nothing() {
    let disk = Disk::new();
    let open = || {
        let inner = sessionlog::log::open_sled(&disk.path()).unwrap();
        seal_on_disk(inner, provider(), &disk.path()).unwrap()
    };
    converse(&engine(&open()));
    check(&engine(&open()));
    let mut files = 0;
    for entry in fs::read_dir(disk.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            assert!(!WORDS.iter().any(|word| finds(&bytes, word)), "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 4, "only {files} files were looked at");
    let wrong: Arc<dyn KeyProvider> = Arc::new(StaticKey::new([2; 32]));
    let inner = sessionlog::log::open_sled(&disk.path()).unwrap();
    let error = seal_on_disk(inner, wrong, &disk.path()).unwrap_err();
    assert!(error.to_string().contains("the key is wrong"), "{error}");
}

#[test]
fn a_database_can_be_sealed_from_some_day_on() {
    let inner: Arc<dyn Log> = Arc::new(MemoryLog::new());
    converse(&engine(&inner));
    let sealed = seal_in_memory(inner, provider()).unwrap();
    check(&engine(&sealed));
    let session = engine(&sealed).session("parcel-7").user("ellinor@example.org").open().unwrap();
    record_turn(&session, "Thank you.", "You are welcome.");
    drop(session);
    check(&engine(&sealed));
}

#[test]
fn any_flipped_bit_of_a_sealed_event_is_found_and_located() {
    for place in 0..40 {
        let inner: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let sealed = seal_in_memory(Arc::clone(&inner), provider()).unwrap();
        let session = engine(&sealed).session("victim").open().unwrap();
        record_tool_turn(&session, "call");
        drop(session);
        let mut frame = records(&*inner, b"f").swap_remove(2);
        let at = frame.value.len() * place / 40;
        frame.value[at] ^= 1 << (place % 8);
        let mut batch = Batch::new();
        batch.replace(frame.key, frame.value);
        inner.apply(&batch).unwrap();
        let report = engine(&sealed).verify().unwrap();
        let is_named = report.problems.iter().any(|problem| problem.to_string().contains("seq 3:"));
        assert!(!report.ok && is_named, "byte {at}: {:?}", report.problems);
    }
}
