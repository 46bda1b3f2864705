//! What an import is told, and what it tells.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::PathBuf;

use serde::Serialize;

use super::format::Format;
use super::source::Broken;
use crate::message::{Message, Role};

/// What an import is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportOptions {
    /// The format of every file; `None` tells it by each file's content.
    pub format: Option<Format>,
    /// Whose the new sessions are, whatever the files say.
    pub user_id: Option<String>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Sessions. Of what was recorded: those that are new or have grown.
    pub sessions: u64,
    /// Runs.
    pub runs: u64,
    /// Messages.
    pub messages: u64,
    /// Tool calls in the messages.
    pub tool_calls: u64,
    /// Messages that are the result of a tool.
    pub tool_results: u64,
    /// Users whose memories a dump holds.
    pub memory_users: u64,
}

impl Counts {
    pub(super) fn add_message(&mut self, message: &Message) {
        self.messages += 1;
        self.tool_calls += message.tool_calls.len() as u64;
        self.tool_results += u64::from(message.role == Role::Tool);
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.runs += other.runs;
        self.messages += other.messages;
        self.tool_calls += other.tool_calls;
        self.tool_results += other.tool_results;
        self.memory_users += other.memory_users;
    }
}

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file's path, or the name that was given with the text.
    pub file: String,
    /// The line, from 1, where the file has a record a line.
    pub line: Option<u64>,
    /// What is wrong. Where lines do not count it says which record: `[2].messages[0]: ...`.
    pub reason: String,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ImportReport {
    /// Files that were looked at.
    pub files: u64,
    /// What this import wrote.
    #[serde(flatten)]
    pub recorded: Counts,
    /// What the files hold, written now, before, or not at all.
    pub found: Counts,
    /// Sessions that were there already, whole.
    pub unchanged: u64,
    /// Users whose memories were there already, whole.
    pub unchanged_memory_users: u64,
    /// Records that are no messages, by their type.
    pub ignored: BTreeMap<String, u64>,
    /// What was left out: broken records, broken files, conversations that do not fit.
    pub skipped: Vec<Skipped>,
}

impl ImportReport {
    pub(super) fn skip(&mut self, file: &str, line: Option<u64>, reason: impl Into<String>) {
        self.skipped.push(Skipped { file: file.to_owned(), line, reason: reason.into() });
    }

    /// Names the broken records of one file, and counts the rest where they are too many.
    pub(super) fn skip_broken(&mut self, file: &str, broken: Vec<Broken>) {
        let rest = broken.len().saturating_sub(BROKEN_NAMED_MAX);
        for broken in broken.into_iter().take(BROKEN_NAMED_MAX) {
            self.skip(file, broken.line, broken.reason);
        }
        if rest > 0 {
            self.skip(file, None, format!("and {rest} more broken records"));
        }
    }

    /// Counts records that are no messages. The types are the file's own words, so long ones
    /// and ever new ones are counted together.
    pub(super) fn ignore(&mut self, types: BTreeMap<String, u64>) {
        for (name, count) in types {
            let is_plain = name.len() <= TYPE_BYTES_MAX
                && (self.ignored.len() < TYPES_MAX || self.ignored.contains_key(&name));
            let name = if is_plain { name } else { String::from("other") };
            *self.ignored.entry(name).or_default() += count;
        }
    }
}

/// Broken records of one file that are named one by one.
const BROKEN_NAMED_MAX: usize = 1_000;

/// Bytes of a record's type that is counted under its own name.
const TYPE_BYTES_MAX: usize = 64;

/// Types of records that are counted under their own names.
const TYPES_MAX: usize = 256;

/// How far an import has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImportProgress {
    /// Files that are done.
    pub files_done: u64,
    /// Files in all.
    pub files: u64,
    /// Bytes of the files that are done.
    pub bytes_done: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// The file that comes next, or the last one when all are done.
    pub file: PathBuf,
}
