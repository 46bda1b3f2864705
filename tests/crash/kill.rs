//! A writing process is killed at random moments.

use crate::writer::{Acknowledged, Writer, check};
use crate::{VALUE_BYTES, random_moment, rounds};

/// Kills of one database; then another one begins, so that a check stays quick.
const KILLS: usize = 10;

#[test]
fn every_acknowledged_append_survives_a_killed_process() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Acknowledged::new();
    for round in 0..rounds(12) {
        let database = directory.path().join(format!("killed {}.db", round / KILLS));
        if round % KILLS == 0 {
            acknowledged.clear();
        }
        let value_bytes = VALUE_BYTES[round % VALUE_BYTES.len()];
        let mut writer = Writer::start(&database, value_bytes, &directory.path().join("notes"));
        // Now and then before it has acknowledged anything, while it opens the database.
        if round % 4 != 3 {
            writer.wait_for(1, &mut acknowledged);
        }
        let moment = random_moment(60_000);
        writer.kill(&mut acknowledged);
        eprintln!("round {round}: {value_bytes} bytes, killed after {moment:?}");
        check(&database, &acknowledged);
        if round % KILLS == KILLS - 1 {
            assert!(!acknowledged.is_empty());
            std::fs::remove_dir_all(&database).unwrap();
        }
    }
}
