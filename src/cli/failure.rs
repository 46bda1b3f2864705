//! How a command ends.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::process::ExitCode;

use sessionlog::{Error, ErrorKind};

use super::text;

pub(super) type Result<T> = std::result::Result<T, Failure>;

/// How a command ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All is well.
    Fine,
    /// It was done, and what came of it is not well.
    Troubled,
}

/// Why a command could not do its work.
#[derive(Debug)]
pub(super) enum Failure {
    /// The engine refused.
    Engine(Error),
    /// The database could not be opened as it lies there, and a copy of it may be.
    Opening(Error),
    /// There is no such session, and these ids look like its.
    Unknown(Error, Vec<String>),
    /// The engine refused, at a place that its error does not name.
    At(String, Error),
    /// Standard output could not be written.
    Output(io::Error),
    /// The command's own words.
    Words(String),
}

impl Failure {
    /// Whether whoever read our output has seen enough.
    pub(super) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What was shown to a reader who may have seen enough: what was found stays what it is.
    pub(super) fn or_seen(shown: Result<()>) -> Result<()> {
        shown.or_else(|failure| if failure.is_closed_pipe() { Ok(()) } else { Err(failure) })
    }

    /// Whether it may come of reading what somebody writes to at the same time.
    pub(super) fn may_pass(&self) -> bool {
        let (Self::Engine(error) | Self::Opening(error) | Self::At(_, error)) = self else {
            return false;
        };
        matches!(error.kind(), ErrorKind::Corrupt { .. } | ErrorKind::Io { .. })
    }

    /// A batch that ended before its end.
    pub(super) fn ended(what: &str, done: usize, not_done: usize, error: Error) -> Self {
        let done = text::count(done as u64, what);
        Self::At(format!("{done} done, {} not done", text::grouped(not_done as u64)), error)
    }

    /// A file, or standard input, that cannot be read or written.
    pub(super) fn io(place: impl fmt::Display, error: &io::Error) -> Self {
        Self::Words(format!("{place}: {}", io_words(error)))
    }

    pub(super) fn words(words: impl Into<String>) -> Self {
        Self::Words(words.into())
    }
}

/// The operating system's words without its number.
fn io_words(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return String::from("no such file or folder");
    }
    let words = error.to_string();
    match words.split_once(" (os error ") {
        Some((words, _)) => words.to_lowercase(),
        None => words,
    }
}

/// How to go on after a refusal.
fn hint(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound { what: "database" } => " (import, record or demo makes one)",
        // Where it is the file of the sessions' keys that is at fault, no other key helps.
        ErrorKind::Key { reason } if reason.contains("sessionlog.keys") => "",
        ErrorKind::Key { .. } => " (--key-file says where the key is)",
        ErrorKind::Forbidden => " (--user says in whose name)",
        _ => "",
    }
}

/// The same where a database could not be opened. What cannot be written can often be copied.
fn opening_hint(error: &Error) -> &'static str {
    let os = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let is_unwritable = os.is_some_and(|os| {
        matches!(
            os.kind(),
            io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::StorageFull
        )
    });
    if is_unwritable || *error.kind() == ErrorKind::Locked {
        " (--salvage reads a copy of it)"
    } else {
        hint(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => write!(f, "{error}{}", hint(error)),
            Self::Opening(error) => write!(f, "{error}{}", opening_hint(error)),
            Self::Unknown(error, near) if near.is_empty() => write!(f, "{error}"),
            Self::Unknown(error, near) => write!(f, "{error}: is it {}?", near.join(" or ")),
            Self::At(place, error) => write!(f, "{place}: {error}"),
            Self::Output(error) => write!(f, "standard output: {}", io_words(error)),
            Self::Words(words) => f.write_str(words),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Fine => Self::SUCCESS,
            Outcome::Troubled => Self::FAILURE,
        }
    }
}
