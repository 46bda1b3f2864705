//! Memories whose records were tampered with.

use std::ops::Bound;
use std::sync::Arc;

use sessionlog::{Batch, Engine, Log, MemoryLog, MemoryPatch, NewMemory, Order, PageLimit, Range};

use super::{assert_sound, remember};
use crate::support::record_turn;

const EVERYTHING: Range =
    Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending };

/// A database with memories of a class of records each.
fn filled() -> Arc<dyn Log> {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
    record_turn(&engine.session("s").user("alice").open().unwrap(), "I like tea", "Noted.");
    let memories = engine.memories("alice").unwrap();
    let new = NewMemory::new("Likes tea.").from_message("s", 3);
    memories.add(new).unwrap().1.wait().unwrap();
    let other = remember(&memories, "Lives in Oslo.");
    for number in 0..260 {
        memories.update(&other, &MemoryPatch::new().memory(number.to_string())).unwrap();
    }
    memories.delete(&other).unwrap().wait().unwrap();
    assert_sound(&engine);
    log
}

/// The first byte of the keys of memories' sources, both ways, of frames, snapshots and the
/// catalog.
#[test]
fn a_record_of_memories_that_is_missing_or_changed_is_found() {
    for class in *b"jvfsc" {
        let log = filled();
        let limit = PageLimit { records: usize::MAX, bytes: usize::MAX };
        let mut records = log.page(&EVERYTHING, limit).unwrap();
        // Those of the session are for other tests.
        let session = sessionlog::Digest::of_session("s").to_bytes();
        records.retain(|record| {
            record.key[0] == class && (class == b'v' || record.key[1..17] != session)
        });
        assert!(!records.is_empty(), "{}", class as char);
        for record in records.iter().take(20) {
            for is_removed in [true, false] {
                if class == b's' && is_removed || class == b'v' && !is_removed {
                    continue;
                }
                let mut batch = Batch::new();
                if is_removed {
                    batch.remove(record.key.clone());
                } else {
                    let mut value = record.value.clone();
                    *value.last_mut().unwrap() ^= 1;
                    batch.replace(record.key.clone(), value);
                }
                log.apply(&batch).unwrap();
                let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
                let report = engine.verify().unwrap();
                assert!(!report.ok, "{} {is_removed}", class as char);
                drop(engine);
                let mut mended = Batch::new();
                mended.replace(record.key.clone(), record.value.clone());
                log.apply(&mended).unwrap();
            }
        }
        assert_sound(&Engine::builder().open_log(log).unwrap());
    }
}
