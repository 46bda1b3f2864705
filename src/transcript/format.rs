//! The formats that transcripts come in, and how one is told from another.

use std::fmt;
use std::str::FromStr;

use super::source::Source;
use crate::error::{Error, Result};
use crate::json::JsonObject;

/// A format that transcripts come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Messages of `OpenAI`'s chat completions, in objects with `messages`, or bare.
    OpenAi,
    /// The trials of a tau-bench result file.
    TauBench,
    /// The session files of Claude Code: one record a line.
    ClaudeCode,
}

impl Format {
    /// Every format.
    pub const ALL: &'static [Self] = &[Self::OpenAi, Self::TauBench, Self::ClaudeCode];

    /// `openai`, `tau-bench` or `claude-code`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::TauBench => "tau-bench",
            Self::ClaudeCode => "claude-code",
        }
    }

    /// What a source looks like: its first record that says so decides, and a source that says
    /// nothing is read as `OpenAI`'s.
    pub(super) fn detect(source: &Source<'_>) -> Self {
        let mut records = source.records.iter().take(DETECT_RECORDS_MAX);
        records.find_map(|record| Self::of_record(record.text)).unwrap_or(Self::OpenAi)
    }

    fn of_record(text: &str) -> Option<Self> {
        let record = JsonObject::parse(text).ok()?;
        let has = |name: &str| record.get(name).is_some();
        let is_claude_code =
            || ["sessionId", "uuid", "snapshot", "leafUuid"].into_iter().any(has) && has("type");
        if has("traj") {
            Some(Self::TauBench)
        } else if has("role") || has("messages") {
            Some(Self::OpenAi)
        } else {
            is_claude_code().then_some(Self::ClaudeCode)
        }
    }
}

/// Records that are looked at to tell the format.
const DETECT_RECORDS_MAX: usize = 1_000;

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let named = Self::ALL.iter().find(|format| format.as_str() == text);
        named.copied().ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is no transcript format: use openai, tau-bench or claude-code"
            ))
        })
    }
}
