//! One immutable fact of a session: who, when, where in the session, and what.

mod context;
mod json;
mod kind;
mod policy;
mod references;
mod state;
mod touch;

pub use self::context::{ContextRecorded, Instructions, MemoryRef, PromptFormat, SeqSpan};
pub use self::kind::{
    Compacted, Created, Custom, Deleted, Erased, ErasureTarget, EventBody, EventKind, ForkedFrom,
    ImportedFrom, MemoryDeleted, MemorySource, MemoryUpserted, MessageAdded, MetadataChanged,
    NothingLearned, OwnerChanged, PolicySet, Removed, Renamed, RewoundTo, RunFinished, RunPaused,
    RunResumed, RunStarted, RunStatus, SessionType, StateChanged, SummaryWithdrawn, SummaryWritten,
    ToolExecuted,
};
pub use self::policy::{KeepRuns, OlderRuns, Policy};
pub(crate) use self::references::references;
pub(crate) use self::state::check_ops;
pub use self::state::{StateOp, StatePatch, apply_ops};
pub(crate) use self::touch::Touch;

use crate::id::{Digest, EventId};

/// One immutable fact of a session, as read back from the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in its session: 1, 2, 3, without gaps.
    pub seq: u64,
    /// Its place in the whole log: 1, 2, 3, without gaps.
    pub position: u64,
    /// Its name for ever.
    pub id: EventId,
    /// When it was recorded, in microseconds since 1970; never earlier than the one before it.
    pub recorded_at_us: i64,
    /// The digest of the run it belongs to, or [`Digest::NONE`].
    pub run: Digest,
    /// The digest of the user who acted, or [`Digest::NONE`].
    pub actor: Digest,
    /// Its place in its commit, from 0.
    pub commit_index: u32,
    /// How many events its commit has.
    pub commit_len: u32,
    /// What happened.
    pub body: EventBody,
}

/// One event to be appended: what happened, and in which run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub body: EventBody,
    /// The run it belongs to.
    pub run_id: Option<String>,
    /// The caller's own id for it, which makes a retry harmless. Without one the engine makes
    /// an id that sorts by time.
    pub id: Option<EventId>,
}

impl NewEvent {
    /// An event outside any run.
    pub fn new(body: impl Into<EventBody>) -> Self {
        Self { body: body.into(), run_id: None, id: None }
    }

    /// An event of a run.
    pub fn in_run(run_id: impl Into<String>, body: impl Into<EventBody>) -> Self {
        Self { body: body.into(), run_id: Some(run_id.into()), id: None }
    }

    /// The same event under the caller's own id.
    #[must_use]
    pub fn with_id(mut self, id: EventId) -> Self {
        self.id = Some(id);
        self
    }
}
