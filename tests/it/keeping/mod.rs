//! What is kept: policies, compaction, deletion, erasure.

mod again;
mod auto;
mod compaction;
mod deletion;
mod erasure;
mod forks;
mod former;
mod media;
mod policy;
mod property;
mod sealing;
mod sharing;
