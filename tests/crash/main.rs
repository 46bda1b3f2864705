//! Kills and power cuts: whatever was acknowledged is there afterwards.
//!
//! `SESSIONLOG_ROUNDS=200` kills and cuts that often; an ordinary run does a few of each.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod kill;
mod power_cut;
mod writer;

/// How many rounds to do, unless the environment says otherwise.
fn rounds(ordinary: usize) -> usize {
    std::env::var("SESSIONLOG_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ordinary)
}
