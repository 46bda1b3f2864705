//! A writing process is killed at random moments.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use crate::rounds;
use crate::writer::{Acknowledged, Writer, check};

/// A number nobody chose, printed so that a failure can be told from another.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[test]
fn every_acknowledged_append_survives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("killed.db");
    let mut acknowledged = Acknowledged::new();
    for round in 0..rounds(12) {
        let value_bytes = [100, 5_000, 16_000, 300_000][round % 4];
        let writer = Writer::start(&database, value_bytes);
        // Now and then before it has acknowledged anything, while it opens the database.
        if round % 5 != 4 {
            writer.wait_for(1, &mut acknowledged);
        }
        let moment = Duration::from_micros(random() % 60_000);
        // The one place where a test lets time pass: the moment of the kill is the test.
        std::thread::sleep(moment);
        writer.kill(&mut acknowledged);
        eprintln!("round {round}: {value_bytes} bytes, killed after {moment:?}");
        check(&database, &acknowledged);
    }
    assert!(!acknowledged.is_empty());
}
