//! What a model does for sessions, and what it must never do to them.

mod agent;
mod auto;
mod name;
mod property;
mod summary;
mod tools;
