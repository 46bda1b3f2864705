//! Claude Code's session files: one record a line, messages among notices of many types.

mod read;
mod record;
#[cfg(test)]
mod tests;
mod write;

pub(super) use self::read::read;
pub(super) use self::write::{records, without_reserved};
