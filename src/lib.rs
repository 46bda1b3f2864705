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
//! - `tokio`: `Engine::blocking`, which awaits a read, and subscriptions as async streams. Writes
//!   await without it.
//! - `testing`: the contract of a log as a suite to run against a backend of one's own, and
//!   a log that fails when it is told to.
//!
//! # Limits
//!
//! Every bound is a constant in [`limits`]. What is over one is refused before anything is
//! written.

#[cfg(all(feature = "sled", not(unix)))]
compile_error!("the log on disk syncs directories, which only Unix does: turn feature `sled` off");

mod access;
mod bytes;
mod catalog;
mod clock;
mod codec;
mod commit;
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
mod message;
#[cfg(feature = "sled")]
mod panics;
mod projection;
mod replay;
mod snapshot;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
pub mod transcript;
mod verify;

pub use access::Access;
pub use catalog::{SessionPage, SessionQuery, SortBy, SortOrder};
pub use clock::{Clock, HeldClock, SystemClock};
pub use commit::{Expected, Receipt, Ticket};
#[cfg(feature = "tokio")]
pub use engine::SubscriptionStream;
pub use engine::{
    Delivery, Engine, EngineBuilder, Fork, ForkBuilder, KindStats, LoggedEvent, Run, RunBuilder,
    Session, SessionAt, SessionBuilder, SessionWindow, Stats, Subscription,
};
pub use error::{Error, ErrorKind, Result};
pub use event::{
    Compacted, ContextRecorded, Created, Custom, Deleted, Erased, Event, EventBody, EventKind,
    ForkedFrom, ImportedFrom, MemoryDeleted, MemoryUpserted, MessageAdded, MetadataChanged,
    NewEvent, OwnerChanged, PolicySet, Removed, Renamed, RewoundTo, RunFinished, RunPaused,
    RunResumed, RunStarted, RunStatus, SessionType, StateChanged, StateOp, StatePatch,
    SummaryWithdrawn, SummaryWritten, ToolExecuted, apply_ops,
};
pub use id::{Digest, EventId};
pub use json::{Field, Json, JsonObject};
pub use log::{Batch, Durability, Log, MemoryLog, Op, Order, PageLimit, Range, Record};
pub use message::{
    Anthropic, Content, Message, Metrics, Part, Repair, Role, ToolCall, check_anthropic,
    check_openai, legalize, to_anthropic, to_openai,
};
#[cfg(feature = "sled")]
pub use panics::is_quiet_panic;
pub use projection::{
    Change, Diff, DiffEnd, ForkPoint, Import, MessageChange, OpenRun, Projection, RunView, Runs,
    SessionView, Side, Summary, ValueChange, run_record, session_record,
};
pub use replay::{Point, Replay, Step};
pub use stream::Events;
pub use verify::{Problem, Progress, Report};

/// The README's example is run like any other.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
