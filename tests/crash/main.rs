//! Kills, power cuts and failing disks: whatever was acknowledged is there afterwards.
//!
//! `SESSIONLOG_ROUNDS=200` kills and cuts that often; an ordinary run does a few of each.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr, reason = "tests")]

mod assisting;
mod disk;
mod failure;
mod keeping;
mod kill;
mod power_cut;
#[cfg(feature = "search")]
mod searching;
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

/// A number below another that nobody chose.
fn random_number(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// Lets a time pass that nobody chose, and returns it. The one place where a test lets time pass:
/// the moment is the test, or another process has what is needed.
fn random_moment(micros_max: u64) -> Duration {
    let moment = Duration::from_micros(random_number(micros_max));
    std::thread::sleep(moment);
    moment
}
