//! The one error type: a kind to match on, with the place it happened.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, and where.
///
/// `Clone`, because one failed sync answers every writer that waited for it.
/// Match on [`Error::kind`]; print it for one line that names the path, the session and the
/// seq as far as they are known.
///
/// ```
/// use sessionlog::{Engine, ErrorKind};
///
/// let engine = Engine::in_memory()?;
/// let error = engine.session("nowhere").open_existing().unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::NotFound { .. }));
/// assert_eq!(error.to_string(), "session nowhere: no such session");
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    /// Innermost first: each caller adds what it knows.
    context: Vec<String>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of failure a caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The writer insisted on a version and was late. Read again, then decide.
    #[error("{}", conflict_words(*expected, *actual))]
    Conflict {
        /// The seq the writer insisted on. The same as `actual` where that is not what changed: a
        /// body was replaced, another session shares it since, it was given to somebody else.
        expected: u64,
        /// The seq the session is at.
        actual: u64,
    },
    /// A run is not in the state that the call needs; nothing was written. One that has ended, is
    /// paused or was interrupted goes on after [`Run::resume`](crate::Run::resume); where one has
    /// started already or was left behind by a rewind, another is started.
    #[error("run {run_id} {reason}")]
    RunState {
        /// Which run.
        run_id: String,
        /// How it stands, in the word of [`RunStatus::as_str`](crate::RunStatus::as_str). `None`
        /// where a rewind left it behind.
        status: Option<&'static str>,
        /// What is in the way, and what would help.
        reason: String,
    },
    /// The session belongs to another user, or to none while a user was given.
    #[error("belongs to another user")]
    Forbidden,
    /// There is no such session, run, event, point or database.
    #[error("no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// Stored bytes are not what was written.
    #[error("corrupt: {reason}")]
    Corrupt {
        /// What does not hold.
        reason: String,
    },
    /// The database was written by a newer version of this crate.
    #[error(
        "written in format {found}, and this version reads up to {supported}: use a newer sessionlog"
    )]
    NewerFormat {
        /// The version found.
        found: u32,
        /// The newest version this crate reads.
        supported: u32,
    },
    /// The path holds something else.
    #[error("not a sessionlog database: {reason}")]
    NotADatabase {
        /// What was found there.
        reason: String,
    },
    /// A key is wrong, missing or destroyed, or could not be had.
    #[error("{reason}")]
    Key {
        /// Which key, and what is the matter with it.
        reason: String,
    },
    /// Another process, or another engine of this one, has the database open.
    #[error(
        "in use by another process, or by another engine or session of this one: close it there first"
    )]
    Locked,
    /// The database was opened for reading only.
    #[error("opened for reading only")]
    ReadOnly,
    /// The operating system refused.
    #[error("{reason}")]
    Io {
        /// What it said.
        reason: String,
    },
    /// A sync failed, so what is on disk is not known. Open the database again.
    #[error("closed for writing after a failed write ({reason}): open the database again")]
    Poisoned {
        /// The failure that closed it.
        reason: String,
    },
    /// The commit queue stayed full for as long as an append may wait.
    #[error("the commit queue is full: the disk does not keep up")]
    QueueFull,
    /// The engine is shutting down.
    #[error("the engine is closed")]
    Closed,
    /// Something is larger than its limit; nothing was written.
    #[error("{what} of {actual} is over the limit of {max}")]
    Limit {
        /// What was measured.
        what: &'static str,
        /// How large it was.
        actual: u64,
        /// How large it may be.
        max: u64,
    },
    /// A model gave no answer, or none that can be used.
    #[error("{reason}")]
    Model {
        /// What happened, and what the provider said of it.
        reason: String,
        /// Whether asking again may help: it was busy, slow or cut off.
        is_transient: bool,
        /// Whether it cannot be asked at all, so that any other request would fail as well: its
        /// server is out of reach, the key is refused, there is no such model.
        is_unavailable: bool,
    },
    /// It was told to stop before it was done.
    #[error("cancelled")]
    Cancelled,
    /// What was asked for makes no sense as it stands; nothing was written.
    #[error("{reason}")]
    Invalid {
        /// What is wrong, and what would be right.
        reason: String,
    },
}

impl Error {
    /// An error of a kind, without context yet.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Arc::new(Inner { kind, context: Vec::new(), source: None }))
    }

    pub(crate) fn corrupt(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt { reason: reason.into() })
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid { reason: reason.into() })
    }

    /// A run that is not in the state that a call needs.
    pub(crate) fn run_state(
        run_id: &str,
        status: Option<&'static str>,
        reason: impl Into<String>,
    ) -> Self {
        let (run_id, reason) = (run_id.to_owned(), reason.into());
        Self::new(ErrorKind::RunState { run_id, status, reason })
    }

    /// What was read was changed by somebody else meanwhile, whatever the session's seq says.
    pub(crate) fn changed_at(seq: u64) -> Self {
        Self::new(ErrorKind::Conflict { expected: seq, actual: seq })
    }

    /// An error about a key: what a provider of keys of one's own answers with.
    pub fn key(reason: impl Into<String>) -> Self {
        Self::new(ErrorKind::Key { reason: reason.into() })
    }

    /// An error about a model: what a [`Model`](crate::Model) of one's own answers with.
    pub fn model(reason: impl Into<String>, is_transient: bool) -> Self {
        let (reason, is_unavailable) = (reason.into(), false);
        Self::new(ErrorKind::Model { reason, is_transient, is_unavailable })
    }

    /// An error about a model that cannot be asked at all: whoever asks for many things stops.
    pub fn model_unavailable(reason: impl Into<String>, is_transient: bool) -> Self {
        let (reason, is_unavailable) = (reason.into(), true);
        Self::new(ErrorKind::Model { reason, is_transient, is_unavailable })
    }

    /// The same error of a model, which every further request would get as well.
    pub(crate) fn of_unavailable_model(mut self, why: &str) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        if let ErrorKind::Model { reason, is_unavailable, .. } = &mut inner.kind {
            *reason = format!("{reason} ({why})");
            *is_unavailable = true;
        }
        self
    }

    /// Stopped by a [`Cancel`](crate::Cancel).
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled)
    }

    pub(crate) fn not_found(what: &'static str) -> Self {
        Self::new(ErrorKind::NotFound { what })
    }

    pub(crate) fn io(source: std::io::Error) -> Self {
        let kind = ErrorKind::Io { reason: io_words(&source) };
        Self(Arc::new(Inner { kind, context: Vec::new(), source: Some(Arc::new(source)) }))
    }

    /// Adds where it happened: `session alice-1`, `seq 7`, a path. The outermost prints first.
    #[must_use]
    pub(crate) fn context(mut self, place: impl Into<String>) -> Self {
        let place = place.into();
        // Who opens a database names its path, and so does the log: once is enough.
        if !self.0.context.contains(&place) {
            Arc::make_mut(&mut self.0).context.push(place);
        }
        self
    }

    /// The kind, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Whether the same call may succeed later without anything being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::QueueFull | ErrorKind::Locked | ErrorKind::Model { is_transient: true, .. }
        )
    }

    /// Whether a model cannot be asked at all, whatever it is asked.
    pub fn is_model_unavailable(&self) -> bool {
        matches!(self.kind(), ErrorKind::Model { is_unavailable: true, .. })
    }

    /// Whether stored bytes are damaged.
    pub fn is_corrupt(&self) -> bool {
        matches!(self.kind(), ErrorKind::Corrupt { .. })
    }

    /// Whether stored bytes were written by a later version.
    #[cfg(feature = "sled")]
    pub(crate) fn is_newer_format(&self) -> bool {
        matches!(self.kind(), ErrorKind::NewerFormat { .. })
    }

    /// Whether the operating system refused.
    pub(crate) fn is_io(&self) -> bool {
        matches!(self.kind(), ErrorKind::Io { .. })
    }

    /// Whether what was stored of one session is to blame, so that others must not be its
    /// hostages.
    pub(crate) fn concerns_one_session(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::Corrupt { .. }
                | ErrorKind::Key { .. }
                | ErrorKind::NotFound { .. }
                | ErrorKind::Invalid { .. }
                | ErrorKind::RunState { .. }
        )
    }
}

/// Refuses what is over its limit.
pub(crate) fn check_limit(what: &'static str, actual: usize, max: usize) -> Result<()> {
    if actual <= max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Limit { what, actual: actual as u64, max: max as u64 }))
}

/// Adds the place to an error on its way up.
pub(crate) trait Context<T> {
    fn context(self, place: impl Into<String>) -> Result<T>;
    fn with_context<P: Into<String>>(self, place: impl FnOnce() -> P) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, place: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.context(place))
    }

    fn with_context<P: Into<String>>(self, place: impl FnOnce() -> P) -> Result<T> {
        self.map_err(|error| error.context(place()))
    }
}

fn conflict_words(expected: u64, actual: u64) -> String {
    if expected == actual {
        return format!("the session is at seq {actual} still, but not what was read of it");
    }
    format!("expected the session to be at seq {expected}, but it is at {actual}")
}

/// The operating system's words without Rust's "(os error 2)".
fn io_words(error: &std::io::Error) -> String {
    let words = error.to_string();
    // An error that was cloned by way of its debug form.
    if words.starts_with("Os {") {
        return error.kind().to_string();
    }
    let Some((before, code)) = words.split_once(" (os error ") else { return words };
    let behind = code.split_once(')').map_or("", |(_, behind)| behind);
    format!("{before}{behind}").to_lowercase()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.0.context.iter().rev() {
            write!(f, "{place}: ")?;
        }
        write!(f, "{}", self.0.kind)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} [{:?}]", self.0.kind)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

const _: () = {
    const fn is_send_sync<T: Send + Sync + 'static>() {}
    is_send_sync::<Error>();
    assert!(size_of::<Error>() == size_of::<usize>());
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_at_the_same_seq_says_that_something_else_changed() {
        let words = Error::changed_at(7).to_string();
        assert_eq!(words, "the session is at seq 7 still, but not what was read of it");
        let late = Error::new(ErrorKind::Conflict { expected: 6, actual: 7 });
        assert_eq!(late.to_string(), "expected the session to be at seq 6, but it is at 7");
    }
}
