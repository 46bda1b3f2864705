//! What users of the engine rely on, one binary.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod branches;
mod cli;
mod commit;
mod contract;
mod damage;
mod fuzz;
mod golden;
mod history;
mod listing;
mod model;
mod sessions;
mod subscribe;
mod support;
mod tidy;
mod time_travel;
mod writers;
