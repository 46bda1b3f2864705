//! What users of the engine rely on, one binary.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod assist;
mod branches;
mod cli;
mod commit;
mod context;
mod contract;
mod damage;
mod fuzz;
mod golden;
mod heads;
mod history;
mod isolation;
mod keeping;
mod kept_damage;
mod listing;
mod memory;
mod model;
mod models;
mod seal;
mod search;
mod sessions;
mod space;
mod subscribe;
mod support;
mod tidy;
mod time_travel;
mod writers;
