//! Kills, power cuts and failing disks: whatever was acknowledged is there afterwards.
//!
//! `SESSIONLOG_ROUNDS=200` kills and cuts that often; an ordinary run does a few of each.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

mod disk;
mod failure;
mod kill;
mod power_cut;
mod writer;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// Bytes of one message: far below a page, over one of sled's chunks, a full leaf, a segment's
/// share, and more than is written between two syncs.
const VALUE_BYTES: [usize; 5] = [100, 5_000, 16_000, 300_000, 3_000_000];

/// How many rounds to do, unless the environment says otherwise.
fn rounds(ordinary: usize) -> usize {
    std::env::var("SESSIONLOG_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}

/// Lets a time pass that nobody chose, and returns it. The one place where a test lets time pass:
/// the moment is the test.
fn random_moment(micros_max: u64) -> Duration {
    let moment = Duration::from_micros(RandomState::new().build_hasher().finish() % micros_max);
    std::thread::sleep(moment);
    moment
}
