//! What can happen in a session. The ordinals are stored, so they are never used again for
//! something else.

use std::fmt;
use std::str::FromStr;

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as JsonIn, Serialize as JsonOut};

use super::{ContextRecorded, OlderRuns, Policy, StateOp};
use crate::error::{Error, Result};
use crate::id::StreamName;
use crate::json::{Field, Json};
use crate::message::{Message, Metrics};

/// What a session is a conversation with.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Default,
    Archive,
    Serialize,
    Deserialize,
    JsonIn,
    JsonOut,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum SessionType {
    /// One agent.
    #[default]
    Agent = 0,
    /// A team of agents.
    Team = 1,
    /// A workflow.
    Workflow = 2,
    /// No conversation: the memories of a user, which
    /// [`Engine::memories`](crate::Engine::memories) opens and no list of sessions shows.
    Memories = 3,
}

impl SessionType {
    /// `agent`, `team` or `workflow`; `memories` for what is no session.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Team => "team",
            Self::Workflow => "workflow",
            Self::Memories => "memories",
        }
    }

    /// The stream of a session of that type and id; of memories the id is the user's.
    pub(crate) fn stream(self, id: &str) -> StreamName<'_> {
        match self {
            Self::Memories => StreamName::Memories(id),
            Self::Agent | Self::Team | Self::Workflow => StreamName::Session(id),
        }
    }
}

impl fmt::Display for SessionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "agent" => Ok(Self::Agent),
            "team" => Ok(Self::Team),
            "workflow" => Ok(Self::Workflow),
            _ => Err(Error::invalid(format!(
                "{text:?} is no session type: use agent, team or workflow"
            ))),
        }
    }
}

/// How a run stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Archive, Serialize, Deserialize, JsonIn, JsonOut,
)]
#[serde(rename_all = "UPPERCASE")]
#[repr(u8)]
pub enum RunStatus {
    /// Under way.
    Running = 0,
    /// Waiting for someone: a confirmation, an input, a tool run elsewhere.
    Paused = 1,
    /// Ended well.
    Completed = 2,
    /// Stopped on request.
    Cancelled = 3,
    /// Ended in an error.
    Error = 4,
    /// Replaced by a later run.
    Regenerated = 5,
    /// The process ended in the middle of it; what had happened is kept.
    Interrupted = 6,
}

impl RunStatus {
    /// The word as it goes into JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Completed => "COMPLETED",
            Self::Cancelled => "CANCELLED",
            Self::Error => "ERROR",
            Self::Regenerated => "REGENERATED",
            Self::Interrupted => "INTERRUPTED",
        }
    }

    /// Whether the run has ended.
    pub const fn is_terminal(self) -> bool {
        !matches!(self, Self::Running | Self::Paused)
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The session begins.
#[derive(Debug, Clone, PartialEq, Default, Archive, Serialize, Deserialize)]
pub struct Created {
    /// The session's id.
    pub session_id: String,
    /// What it is a conversation with.
    pub session_type: SessionType,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The agent, in an agent's session.
    pub agent_id: Option<String>,
    /// The team, in a team's session.
    pub team_id: Option<String>,
    /// The workflow, in a workflow's session.
    pub workflow_id: Option<String>,
    /// The agent's, team's or workflow's configuration, as a JSON object.
    pub component_data: Option<Json>,
    /// The application's own data about the session, as a JSON object.
    pub metadata: Option<Json>,
    /// The state it begins with, as a JSON object.
    pub state: Option<Json>,
}

/// The session has a new name.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Renamed {
    /// The name; `None` takes it away.
    pub name: Option<String>,
    /// Whether a model made it.
    pub is_generated: bool,
}

/// The session's metadata changed.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct MetadataChanged {
    /// The changes, in order.
    pub ops: Vec<StateOp>,
}

/// The session belongs to someone else now.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct OwnerChanged {
    /// The new owner.
    pub user_id: Option<String>,
}

/// The session was deleted: the receipt for it. From here on nothing before it is part of a
/// session; a session that begins behind it is another, under the same id.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Deleted {
    /// Whether what forks share went too.
    pub is_erased: bool,
    /// On whose word or under which rule. It stays for good, and is not sealed: better a ticket's
    /// number than a name.
    pub authority: Option<String>,
    /// The digest of the user whose it was, so that an erasure of that user finds what forks keep
    /// of it, and whoever asks for the user's receipts finds this one. `None` where it was
    /// nobody's.
    pub owner: Option<[u8; 16]>,
}

/// The session begins with what another had up to a seq, and goes on from there.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ForkedFrom {
    /// The session's own id.
    pub session_id: String,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The session it was forked from.
    pub parent_session_id: String,
    /// The last shared seq.
    pub seq: u64,
    /// The link of that event, from which this session's chain goes on.
    pub link: [u8; 32],
}

/// The session went back; what came after the seq is no longer part of the conversation.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct RewoundTo {
    /// The last seq that still counts.
    pub seq: u64,
    /// The link of that event, so that a reader who goes from here to there sees that both
    /// belong together.
    pub link: [u8; 32],
    /// Whose the session is: going back does not give it back to an earlier owner.
    pub user_id: Option<String>,
    /// What the runs that no longer count had spent, those of earlier rewinds included.
    pub left_behind: Option<Metrics>,
}

/// Events that follow were imported.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ImportedFrom {
    /// The transcript format.
    pub format: String,
    /// Where it came from: a file's name.
    pub source: String,
    /// The source's data about the whole conversation, as JSON.
    pub data: Option<Json>,
    /// Where the messages begin in the source's own count, from 0.
    pub first_record: u64,
}

/// A run begins.
#[derive(Debug, Clone, PartialEq, Default, Archive, Serialize, Deserialize)]
pub struct RunStarted {
    /// The run's id.
    pub run_id: String,
    /// The run this one is a part of: a team member's.
    pub parent_run_id: Option<String>,
    /// The agent that runs.
    pub agent_id: Option<String>,
    /// The team that runs.
    pub team_id: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Who makes the model available.
    pub model_provider: Option<String>,
    /// What the run was given, as JSON, where that is more than its user message.
    pub input: Option<Json>,
    /// The source's other data about the run.
    pub extra: Vec<Field>,
    /// What was made of the run since, where it is not kept whole.
    pub reduced: Option<OlderRuns>,
}

/// A message joins the run.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct MessageAdded {
    /// The message.
    pub message: Message,
}

/// A tool ran.
#[derive(Debug, Clone, PartialEq, Default, Archive, Serialize, Deserialize)]
pub struct ToolExecuted {
    /// The call it answers.
    pub tool_call_id: Option<String>,
    /// The tool.
    pub tool_name: String,
    /// Its arguments, as JSON.
    pub tool_args: Option<Json>,
    /// What it gave back.
    pub result: Option<String>,
    /// Whether it failed.
    pub tool_call_error: bool,
    /// How long it took, in microseconds.
    pub duration_us: Option<u64>,
    /// The run that it started.
    pub child_run_id: Option<String>,
}

/// The run waits for someone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub struct RunPaused {
    /// What for.
    pub reason: Option<String>,
}

/// The run goes on.
#[derive(Debug, Clone, PartialEq, Default, Archive, Serialize, Deserialize)]
pub struct RunResumed {
    /// The run's id: a view may begin after the run had ended.
    pub run_id: String,
    /// What the session's metrics already count for it, so that nothing is counted twice.
    pub counted: Option<Metrics>,
}

/// The run ends.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct RunFinished {
    /// How: never [`RunStatus::Running`] or [`RunStatus::Paused`].
    pub status: RunStatus,
    /// What the whole run spent.
    pub metrics: Option<Metrics>,
    /// The error, or why it was cancelled.
    pub reason: Option<String>,
}

impl RunFinished {
    /// Nobody goes on with the run where it is.
    pub(crate) const fn interrupted() -> Self {
        Self { status: RunStatus::Interrupted, metrics: None, reason: None }
    }
}

/// The session's state changed.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct StateChanged {
    /// The changes, in order.
    pub ops: Vec<StateOp>,
}

/// A summary was written.
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct SummaryWritten {
    /// The text.
    pub summary: String,
    /// What it is about.
    pub topics: Vec<String>,
    /// The first seq it covers.
    pub first_seq: u64,
    /// The last seq it covers.
    pub last_seq: u64,
    /// The model that wrote it.
    pub model: Option<String>,
    /// What it took to write it, where that is known. The session's metrics count it.
    pub metrics: Option<Metrics>,
}

/// A summary no longer holds; the one before it does again.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SummaryWithdrawn {
    /// The seq of the summary.
    pub seq: u64,
}

/// What is kept from now on: of the session, or of the run that the event belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct PolicySet {
    /// What it says takes the place of all that was said before.
    pub policy: Policy,
}

/// One body that was removed or replaced.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Removed {
    /// Whose body.
    pub seq: u64,
    /// The commitment to what stands there now; `None` where nothing does.
    pub replacement: Option<[u8; 32]>,
}

/// A policy was applied to what was stored.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Compacted {
    /// The policy.
    pub policy: Policy,
    /// What was replaced, in order of seq. The first and the last say how far it reached.
    pub removed: Vec<Removed>,
}

/// Bodies were erased for good: the receipt for it.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Erased {
    /// What was to be erased.
    pub target: ErasureTarget,
    /// What was removed or replaced, in order of seq, what was derived from it included.
    pub removed: Vec<Removed>,
    /// The seqs among them of what was only derived: summaries and generated names.
    pub derived: Vec<u64>,
    /// The digests of the blobs that nothing refers to any more.
    pub blobs: Vec<[u8; 32]>,
    /// On whose word or under which rule. It stays for good, and is not sealed: better a ticket's
    /// number than a name.
    pub authority: Option<String>,
}

/// What an erasure was asked for. Names are digests: a receipt says nothing of what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum ErasureTarget {
    /// The message of a seq.
    Message {
        /// Which.
        seq: u64,
    } = 0,
    /// A run.
    Run {
        /// The run's digest.
        run: [u8; 16],
    } = 1,
    /// Everything up to a seq: the part of an erased session that its forks share.
    Shared {
        /// The last of it.
        last_seq: u64,
    } = 3,
    /// What was derived here from what was erased elsewhere: in the session that this one was
    /// forked from, or of memories in the session that they came from.
    Derived {
        /// The other session's digest.
        session: [u8; 16],
        /// The last seq of its receipt; of memories the first seq that is erased there.
        seq: u64,
    } = 2,
    /// A memory, in all its texts.
    Memory {
        /// The digest of its id.
        memory: [u8; 16],
    } = 4,
}

/// Where something was learned: a message of a session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize, JsonIn, JsonOut)]
pub struct MemorySource {
    /// The session.
    pub session_id: String,
    /// The message's seq in it.
    pub seq: u64,
}

/// A fact about a user, in the user's own stream: a new one, or what takes the place of an
/// earlier text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub struct MemoryUpserted {
    /// The memory's id.
    pub memory_id: String,
    /// The fact.
    pub memory: String,
    /// What it is about.
    pub topics: Vec<String>,
    /// What it was learned from, in words.
    pub input: Option<String>,
    /// The agent that keeps it.
    pub agent_id: Option<String>,
    /// The message that this text came from.
    pub source: Option<MemorySource>,
    /// The digest of the stream that holds that message, which for the shared part of a fork is
    /// another session's; zeros where there is none.
    pub source_stream: [u8; 16],
}

/// A memory is gone.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct MemoryDeleted {
    /// Which.
    pub memory_id: String,
}

/// A message of the user's was read, and nothing of it is to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct NothingLearned {
    /// The digest of the stream that holds the message.
    pub source_stream: [u8; 16],
    /// The message's seq there.
    pub seq: u64,
}

/// Something of the application's own.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct Custom {
    /// The application's name for it.
    pub kind: String,
    /// Its data.
    pub data: Json,
}

/// Ties each kind to its ordinal, its name and its body. One line a kind: what reads or writes
/// bodies is generated from here, so no kind can be forgotten in one place.
macro_rules! event_kinds {
    ($($ordinal:literal $name:literal $kind:ident),* $(,)?) => {
        /// What happened in an event, without its data.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        #[non_exhaustive]
        pub enum EventKind {
            $(#[doc = concat!("`", $name, "`, see [`", stringify!($kind), "`].")] $kind = $ordinal,)*
        }

        /// What happened in an event, with its data.
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum EventBody {
            $(#[doc = concat!("`", $name, "`.")] $kind($kind),)*
            /// The body is gone: it was erased, or its session was deleted.
            Gone(EventKind),
        }

        impl EventKind {
            /// Every kind, by ordinal.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The kind of a stored ordinal.
            pub const fn from_ordinal(ordinal: u16) -> Option<Self> {
                match ordinal {
                    $($ordinal => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// The name in JSON and on the command line.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }

        impl EventBody {
            /// Which kind it is.
            pub const fn kind(&self) -> EventKind {
                match self {
                    $(Self::$kind(_) => EventKind::$kind,)*
                    Self::Gone(kind) => *kind,
                }
            }

            /// The archive of the current schema version.
            pub(crate) fn archive(&self) -> Result<rkyv::util::AlignedVec> {
                let archived = match self {
                    $(Self::$kind(body) => rkyv::to_bytes::<rkyv::rancor::Error>(body),)*
                    Self::Gone(_) => return Err(Error::invalid("its body is gone")),
                };
                archived.map_err(|error| Error::invalid(format!("cannot be stored: {error}")))
            }

            /// Reads an archive of the current schema version, checking every byte of it.
            pub(crate) fn unarchive(kind: EventKind, bytes: &[u8]) -> Result<Self> {
                match kind {
                    $(EventKind::$kind => {
                        rkyv::from_bytes::<$kind, rkyv::rancor::Error>(bytes).map(Self::$kind)
                    })*
                }
                .map_err(|error| Error::corrupt(format!("body of {}: {error}", kind.as_str())))
            }
        }

        $(impl From<$kind> for EventBody {
            fn from(body: $kind) -> Self {
                Self::$kind(body)
            }
        })*
    };
}

event_kinds! {
    1 "session_created" Created,
    2 "session_renamed" Renamed,
    3 "metadata_changed" MetadataChanged,
    4 "owner_changed" OwnerChanged,
    5 "session_deleted" Deleted,
    6 "forked_from" ForkedFrom,
    7 "rewound_to" RewoundTo,
    8 "imported_from" ImportedFrom,
    16 "run_started" RunStarted,
    17 "message_added" MessageAdded,
    18 "tool_executed" ToolExecuted,
    19 "run_paused" RunPaused,
    20 "run_resumed" RunResumed,
    21 "run_finished" RunFinished,
    32 "state_changed" StateChanged,
    40 "summary_written" SummaryWritten,
    41 "summary_withdrawn" SummaryWithdrawn,
    48 "policy_set" PolicySet,
    49 "compacted" Compacted,
    50 "erased" Erased,
    56 "context_recorded" ContextRecorded,
    64 "memory_upserted" MemoryUpserted,
    65 "memory_deleted" MemoryDeleted,
    66 "nothing_learned" NothingLearned,
    255 "custom" Custom,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
