//! The formats that transcripts come in: the table of them, and how one is told from another.

use std::fmt;
use std::str::FromStr;

use super::conversation::Parsed;
use super::export::Recorded;
use super::source::Source;
use super::{
    agno, anthropic, claude_code, inspect, jsonl, openai, openhands, swe_agent, tau_bench,
};
use crate::error::{Error, Result};
use crate::json::{Json, JsonObject};

/// What a format's own file says about it. What else there is to say, a row of the table does.
#[derive(Debug)]
pub(super) struct FormatSpec {
    /// Its name on the command line and in the log.
    pub(super) name: &'static str,
    /// How far a record speaks for the format. A bare list is looked at as its `messages`.
    pub(super) recognise: fn(&JsonObject) -> Sign,
    /// Reads a file. The second argument is the file's name, for sessions without an id.
    pub(super) read: fn(&Source<'_>, &str) -> Parsed,
    /// Writes a session, where the format can be written.
    pub(super) write: Option<Write>,
    /// What the names of the members begin with that only this format's writer understands.
    pub(super) reserved: Option<&'static str>,
}

/// Writes a session as documents or records of a format.
pub(super) type Write = fn(&Recorded) -> Result<Vec<Json>>;

/// How far a record speaks for a format, from not at all to beyond doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sign {
    /// It does not.
    None,
    /// It may be one, and may as well be another's.
    Possible,
    /// It has something that this format's messages have and others' do not.
    Likely,
    /// It has an envelope that nothing else has.
    Certain,
}

/// The table of formats. A row names the variant, the module that holds its `FORMAT`, and says
/// what it is; everything that lists formats or looks one up is made from here.
macro_rules! formats {
    ($($variant:ident $module:ident $about:literal),* $(,)?) => {
        /// A format that transcripts come in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Format {
            $(#[doc = $about] $variant,)*
        }

        impl Format {
            /// Every format. Where a record speaks for two alike, the first one reads it.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            const fn spec(self) -> &'static FormatSpec {
                match self {
                    $(Self::$variant => &$module::FORMAT,)*
                }
            }

            /// What it is, in a line.
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$variant => $about,)*
                }
            }
        }
    };
}

formats! {
    OpenAi openai "Messages of OpenAI's chat completions, in objects with `messages` or bare",
    Anthropic anthropic "Messages of Anthropic's Messages API, in objects with `messages` or bare",
    ClaudeCode claude_code "Session files of Claude Code, one record a line",
    Agno agno "Sessions of Agno: with their runs inside (2.x), or sessions and runs as rows (3.x)",
    TauBench tau_bench "Result files of tau-bench, one conversation a trial",
    SweAgent swe_agent "Trajectory files of SWE-agent, one conversation a file; read only",
    Inspect inspect "Eval logs of Inspect as JSON, one conversation a sample; read only",
    OpenHands openhands "Event streams and evaluation outputs of `OpenHands`; read only",
    Jsonl jsonl "A dump of all events, to be taken over into another database with the same links",
}

impl Format {
    /// Its name: `openai`, `claude-code`, ...
    pub const fn as_str(self) -> &'static str {
        self.spec().name
    }

    /// Whether a session can be written in it.
    pub const fn is_written(self) -> bool {
        self.spec().write.is_some()
    }

    pub(super) fn read(self, source: &Source<'_>, stem: &str) -> Parsed {
        (self.spec().read)(source, stem)
    }

    pub(super) fn write(self) -> Result<Write> {
        self.spec().write.ok_or_else(|| {
            let choice = choice(Self::is_written);
            Error::invalid(format!("a session is not written as {self}: use {choice}"))
        })
    }

    pub(super) fn reserved(self) -> Option<&'static str> {
        self.spec().reserved
    }

    /// What a source looks like: the first record that has something of one format's own
    /// decides. Without such a record the first that may be some format's does, and a source
    /// that says nothing is read as `OpenAI`'s.
    pub(super) fn detect(source: &Source<'_>) -> Self {
        let mut possible = None;
        for record in source.records.iter().take(DETECT_RECORDS_MAX) {
            match Self::of_record(record.text) {
                Some((Sign::Possible, format)) => possible = possible.or(Some(format)),
                Some((_, format)) => return format,
                None => {}
            }
        }
        possible.unwrap_or(Self::OpenAi)
    }

    fn of_record(text: &str) -> Option<(Sign, Self)> {
        let record = if text.starts_with('[') {
            let mut record = JsonObject::default();
            record.set("messages", Json::parse(text).ok()?);
            record
        } else {
            JsonObject::parse(text).ok()?
        };
        let mut best = None;
        for format in Self::ALL {
            let sign = (format.spec().recognise)(&record);
            if sign > best.map_or(Sign::None, |(sign, _)| sign) {
                best = Some((sign, *format));
            }
        }
        best
    }
}

/// Records that are looked at to tell the format.
const DETECT_RECORDS_MAX: usize = 1_000;

/// Messages of one record that are looked at to tell the format.
pub(super) const SIGN_MESSAGES_MAX: usize = 1_000;

/// The names of some formats as a sentence has them: `a, b or c`.
fn choice(is_meant: impl Fn(Format) -> bool) -> String {
    let mut names: Vec<&str> = Format::ALL
        .iter()
        .filter(|format| is_meant(**format))
        .map(|format| format.as_str())
        .collect();
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last.to_owned() } else { format!("{} or {last}", names.join(", ")) }
}

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
            let choice = choice(|_| true);
            Error::invalid(format!("{text:?} is no transcript format: use {choice}"))
        })
    }
}
