//! What is kept of a session, as it was set somewhere.

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as JsonIn, Serialize as JsonOut};

/// What is kept: on an engine, a session or a run. What one of them leaves open, the next wider
/// one says; what nobody says is kept.
///
/// The first three are those of Agno, and act on what is written from then on; all of them act
/// on what is stored already when the session is compacted.
///
/// ```
/// use sessionlog::{Content, Engine, Message, Metrics, Policy};
///
/// let policy = Policy::new().store_tool_messages(false);
/// let engine = Engine::builder().policy(policy).open_log(std::sync::Arc::new(sessionlog::MemoryLog::new()))?;
/// let session = engine.session("s1").open()?;
/// session.record_run([
///     Message::user("How warm is it in Oslo?"),
///     Message::assistant("Let me look.").with_call("call_1", "weather", "{}"),
///     Message::tool("call_1", "4 degrees"),
///     Message::assistant("4 degrees."),
/// ], Metrics::tokens(80, 20))?.wait()?;
/// let history = session.window().messages()?;
/// assert_eq!(history.len(), 3);
/// assert!(history[1].tool_calls.is_empty());
/// assert_eq!(session.view()?.metrics.total_tokens, 100); // what was spent is still counted
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize, Deserialize, JsonIn, JsonOut,
)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Whether images, audio, videos and files are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_media: Option<bool>,
    /// Whether tool calls and their results are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_tool_messages: Option<bool>,
    /// Whether copies of earlier runs' messages are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_history_messages: Option<bool>,
    /// How many runs are kept whole. Acts when a session is compacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_runs: Option<KeepRuns>,
}

/// How many runs a session keeps whole.
///
/// From older runs go their messages, their input, what tools were asked and said, and the reasons
/// of pauses and ends. What the application says for itself stays: state, its own events
/// ([`Custom`](crate::Custom)), and the instructions in manifests of contexts, which manifests of
/// later runs may name instead of saying them again. [`Session::erase_run`](crate::Session::erase_run)
/// takes the events and manifests of a run.
///
/// Where a call of an older run is answered in one that is kept, the call goes, and windows leave
/// its result out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize, JsonIn, JsonOut)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum KeepRuns {
    /// Every run.
    All = 0,
    /// The last so many top-level runs, and what began after the first of them.
    Last {
        /// How many.
        runs: u64,
        /// What becomes of those before them.
        older: OlderRuns,
    } = 1,
}

/// What becomes of a run that is not kept whole. What it spent is counted either way, its number
/// and its id stay taken, and the summaries of the session stay.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Archive,
    Serialize,
    Deserialize,
    JsonIn,
    JsonOut,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum OlderRuns {
    /// Its status, its metrics, and who ran with which model; no messages.
    #[default]
    Reduced = 0,
    /// It is not shown any more.
    Dropped = 1,
}

impl Policy {
    /// Says nothing yet.
    pub const fn new() -> Self {
        Self {
            store_media: None,
            store_tool_messages: None,
            store_history_messages: None,
            keep_runs: None,
        }
    }

    /// Whether images, audio, videos and files are kept.
    #[must_use]
    pub const fn store_media(mut self, keep: bool) -> Self {
        self.store_media = Some(keep);
        self
    }

    /// Whether tool calls and their results are kept.
    #[must_use]
    pub const fn store_tool_messages(mut self, keep: bool) -> Self {
        self.store_tool_messages = Some(keep);
        self
    }

    /// Whether copies of earlier runs' messages are kept.
    #[must_use]
    pub const fn store_history_messages(mut self, keep: bool) -> Self {
        self.store_history_messages = Some(keep);
        self
    }

    /// How many runs are kept whole.
    #[must_use]
    pub const fn keep_runs(mut self, keep: KeepRuns) -> Self {
        self.keep_runs = Some(keep);
        self
    }

    /// This one, and where it says nothing, a wider one.
    #[must_use]
    pub fn or(self, wider: Self) -> Self {
        Self {
            store_media: self.store_media.or(wider.store_media),
            store_tool_messages: self.store_tool_messages.or(wider.store_tool_messages),
            store_history_messages: self.store_history_messages.or(wider.store_history_messages),
            keep_runs: self.keep_runs.or(wider.keep_runs),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
