//! An embeddable, event-sourced session engine for AI agents.
//!
//! Everything that happens in a session is an immutable event on an append-only log; everything
//! that is read back is a fold of those events, as of now or of any earlier point.
//!
//! ```
//! use sessionlog::{Engine, Message, Metrics, Point};
//!
//! let engine = Engine::in_memory()?; // or Engine::open("chat.db")?
//! let session = engine.session("user_123_session").user("alice").open()?;
//!
//! let run = session.start_run()?;
//! run.push(Message::user("Hi, my name is Alice"))?;
//! run.push(Message::assistant("Hello Alice!"))?;
//! run.complete(Metrics::tokens(12, 5))?.wait()?; // on disk
//!
//! let prompt = session.window().runs(3).openai()?; // legal to send
//! let before = session.at(Point::seq(3))?; // as it was
//! assert_eq!((prompt.len(), before.view().message_count), (2, 1));
//! # Ok::<(), sessionlog::Error>(())
//! ```
//!
//! What it is not: an agent framework, a vector database, a general event store.
//!
//! # The types one meets
//!
//! - [`Engine`]: a database, opened once per process and cloned freely.
//! - [`Session`]: one conversation, opened under a user's [`Access`].
//! - [`Run`]: one interaction, written as it happens. Every write returns a [`Ticket`].
//! - [`SessionWindow`]: the part of the history that goes to the model, always legal to send.
//! - [`SessionAt`] and [`Replay`]: the past, at a [`Point`] or step by step.
//! - [`Memories`]: facts about a user, the same in all sessions of that user.
//! - [`Subscription`]: events as they come, after those that are there.
//! - [`Error`]: what went wrong and where, with an [`ErrorKind`] to match on.
//!
//! # Durability
//!
//! | [`Durability`] | an acknowledged append survives |
//! |---|---|
//! | [`PowerLoss`](Durability::PowerLoss) (the default) | a power cut |
//! | [`ProcessCrash`](Durability::ProcessCrash) | a killed process, not a power cut |
//! | [`Volatile`](Durability::Volatile) | nothing beyond the process |
//!
//! # Features
//!
//! - `sled` (default): the log on disk. Without it only [`Engine::in_memory`] and logs of one's
//!   own, through [`EngineBuilder::open_log`].
//! - `cli` (default): the `sessionlog` program. A library user turns it off:
//!   `default-features = false, features = ["sled"]`.
//! - `search` (default, with `cli`): full text search over messages, names and summaries.
//! - `seal` (default): keys for encryption at rest, one per session.
//! - `tokio`: `Engine::blocking`, which awaits a read, and subscriptions as async streams. Writes
//!   await without it.
//! - `models`: `ModelClient`, language models of OpenAI-compatible servers and of Anthropic.
//! - `tokens`: real tokenizers that count for a token budget (`Tokenizer`).
//! - `testing`: the contracts of a log and of a blob store as suites to run against a backend of
//!   one's own, and a log that fails when it is told to.
//!
//! # Limits
//!
//! Every bound that a caller can meet is a constant in [`limits`]. What is over one is refused
//! before anything is written.

#[cfg(all(feature = "sled", not(unix)))]
compile_error!("the log on disk syncs directories, which only Unix does: turn feature `sled` off");

mod access;
mod assist;
#[cfg(feature = "testing")]
pub mod blob;
#[cfg(not(feature = "testing"))]
mod blob;
mod bytes;
mod catalog;
mod clock;
mod codec;
mod commit;
mod compact;
mod context;
mod engine;
mod error;
mod event;
mod id;
mod index;
mod json;
pub mod limits;
#[cfg(feature = "testing")]
pub mod log;
#[cfg(not(feature = "testing"))]
mod log;
mod media;
mod message;
mod model;
#[cfg(any(feature = "sled", feature = "search"))]
mod panics;
mod policy;
mod projection;
mod replay;
#[cfg(feature = "seal")]
mod seal;
#[cfg(feature = "search")]
mod search;
mod snapshot;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transcript;
mod verify;

pub use access::Access;
pub use assist::{
    AutoSummaries, AutoSummarizer, MemoryInput, MemoryManager, MemoryUpdate, NameBatch,
    NameGenerator, Naming, SessionTools, Summarizer, SummaryPlan, ToolAnswer,
};
#[cfg(feature = "sled")]
pub use blob::FileBlobs;
pub use blob::{BlobName, BlobStore, BlobWriter, MemoryBlobs};
pub use catalog::{SessionPage, SessionQuery, SortBy, SortOrder};
pub use clock::{Clock, HeldClock, SystemClock};
pub use commit::{Expected, Receipt, Ticket};
pub use compact::CompactionPlan;
#[cfg(feature = "tokens")]
pub use context::Tokenizer;
pub use context::{
    ContextMemory, ContextTokens, EstimatedTokens, IMAGE_TOKENS, MESSAGE_TOKENS, TokenCounter,
};
#[cfg(feature = "tokio")]
pub use engine::SubscriptionStream;
pub use engine::{
    AutoCompaction, BlobUse, Compaction, Context, ContextBuilder, ContextChange, Delivery, Engine,
    EngineBuilder, ErasureReceipt, ErasureRecord, Fork, ForkBuilder, FormerSession, KindStats,
    LoggedEvent, Memories, MemoryChange, MemoryPatch, MemoryQuery, NewMemory, RebuiltContext,
    RecordedContext, Run, RunBuilder, Session, SessionAt, SessionBuilder, SessionWindow, Stats,
    StoredMedia, Subscription,
};
pub use error::{Error, ErrorKind, Result};
pub use event::{
    Compacted, ContextRecorded, Created, Custom, Deleted, Erased, ErasureTarget, Event, EventBody,
    EventKind, ForkedFrom, ImportedFrom, Instructions, KeepRuns, MemoryDeleted, MemoryRef,
    MemorySource, MemoryUpserted, MessageAdded, MetadataChanged, NewEvent, NothingLearned,
    OlderRuns, OwnerChanged, Policy, PolicySet, PromptFormat, Removed, Renamed, RewoundTo,
    RunFinished, RunPaused, RunResumed, RunStarted, RunStatus, SeqSpan, SessionType, StateChanged,
    StateOp, StatePatch, SummaryWithdrawn, SummaryWritten, ToolExecuted, apply_ops,
};
pub use id::{Digest, EventId};
pub use json::{Field, Json, JsonObject};
#[cfg(feature = "sled")]
pub use log::Rewritten;
pub use log::{Batch, Durability, Log, MemoryLog, Op, Order, PageLimit, Range, Record};
pub use message::{
    Anthropic, Content, LEFT_OUT_IN_FRONT, Media, MediaForm, MediaRef, Message, Metrics, Omitted,
    Part, Place, Repair, Role, Rule, ToolCall, Violation, check_anthropic, check_openai,
    left_out_of_anthropic, left_out_of_openai, legalize, to_anthropic, to_openai, validate,
    validate_anthropic, validate_openai,
};
pub use model::{
    AnswerSchema, Cancel, Model, ModelAnswer, ModelOutage, ModelRequest, ToolDefinition,
};
#[cfg(feature = "models")]
pub use model::{ModelClient, ModelClientBuilder, ModelProvider};
#[cfg(any(feature = "sled", feature = "search"))]
pub use panics::is_quiet_panic;
pub use projection::{
    Change, Diff, DiffEnd, ForkPoint, Import, Memory, MessageChange, OpenRun, Projection, RunView,
    Runs, SessionView, Side, Summary, ValueChange, run_record, session_record,
};
pub use replay::{Point, Replay, Step};
#[cfg(feature = "seal")]
pub use seal::{EnvKey, FileKey, KeyProvider, StaticKey};
#[cfg(feature = "search")]
pub use search::{SearchHit, SearchKind, SearchPage, SearchProgress, SearchQuery};
pub use stream::Events;
pub use verify::{HeadFound, LogHead, Problem, Progress, Report};

/// The README's example is run like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
