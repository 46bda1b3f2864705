//! What goes from what is stored: planned from a session's events, then done in bounded commits,
//! each of which is there whole or not at all.

mod plan;
mod replace;
mod settle;

pub use self::plan::CompactionPlan;
pub(crate) use self::plan::{Subject, plan};
pub(crate) use self::replace::{Batches, frame_of, read_blobs};
pub(crate) use self::settle::settle;
