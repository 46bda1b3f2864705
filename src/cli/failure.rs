//! How a command ends.

use std::io;
use std::process::ExitCode;

use sessionlog::{Error, ErrorKind};

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

    /// Whether it may come of reading what somebody writes to at the same time.
    pub(super) fn may_pass(&self) -> bool {
        let (Self::Engine(error) | Self::At(_, error)) = self else { return false };
        matches!(error.kind(), ErrorKind::Corrupt { .. } | ErrorKind::Io { .. })
    }

    pub(super) fn words(words: impl Into<String>) -> Self {
        Self::Words(words.into())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Engine(error) => {
                write!(f, "{error}")?;
                match error.kind() {
                    ErrorKind::NotFound { what: "database" } => {
                        f.write_str(" (import, record or demo makes one)")
                    }
                    _ => Ok(()),
                }
            }
            Self::At(place, error) => write!(f, "{place}: {error}"),
            Self::Output(error) => write!(f, "standard output: {error}"),
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
