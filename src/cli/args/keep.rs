//! What commands take that decide what is kept.

use clap::error::ErrorKind;
use clap::{ArgGroup, Args};
use sessionlog::{KeepRuns, OlderRuns, Point, Policy};

use super::value::{keep_runs, named_run};

/// What goes, where a command is told to let it go.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct KeepArgs {
    /// Without images, audio, videos and files
    #[arg(long)]
    no_media: bool,
    /// Without tool calls and their results; what a message says besides a call stays
    #[arg(long)]
    no_tool_messages: bool,
    /// Without copies of earlier runs' messages
    #[arg(long)]
    no_history_messages: bool,
}

impl KeepArgs {
    /// What is not mentioned is left to the session.
    pub(in crate::cli) fn policy(self) -> Policy {
        Policy {
            store_media: self.no_media.then_some(false),
            store_tool_messages: self.no_tool_messages.then_some(false),
            store_history_messages: self.no_history_messages.then_some(false),
            keep_runs: None,
        }
    }
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what").args(["sessions", "all", "rewrite"]).required(true).multiple(true)
))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct CompactArgs {
    /// The sessions
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) sessions: Vec<String>,
    /// Every session of the database
    #[arg(long, conflicts_with = "sessions")]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    keep: KeepArgs,
    /// Keep the last N runs whole, and of older ones what they spent
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    keep_runs: Option<u64>,
    /// Show older runs no more at all
    #[arg(long, requires = "keep_runs")]
    drop: bool,
    /// Only say what would go
    #[arg(long, conflicts_with = "rewrite")]
    pub(in crate::cli) dry_run: bool,
    /// Afterwards write the database anew: its files get smaller in no other way
    #[arg(long)]
    pub(in crate::cli) rewrite: bool,
}

impl CompactArgs {
    /// Whether any session is meant.
    pub(in crate::cli) fn has_sessions(&self) -> bool {
        self.all || !self.sessions.is_empty()
    }

    /// What goes besides what the policies in force say.
    pub(in crate::cli) fn policy(&self) -> Policy {
        let older = older(self.drop);
        let keep_runs = self.keep_runs.map(|runs| KeepRuns::Last { runs, older });
        Policy { keep_runs, ..self.keep.policy() }
    }

    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        let is_aimless = !self.has_sessions() && !self.policy().is_empty();
        let words = "name the sessions that these options are for, or --all";
        is_aimless.then_some((ErrorKind::MissingRequiredArgument, words))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeleteArgs {
    /// The sessions
    #[arg(value_name = "SESSION", required = true)]
    pub(in crate::cli) sessions: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) removal: RemovalArgs,
}

/// How something is removed for good.
#[derive(Debug, Args)]
pub(in crate::cli) struct RemovalArgs {
    /// Only say what would go
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// On whose word or under which rule; it stays in the receipt for good, and is not sealed
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("whose").args(["session", "user", "receipts"]).required(true).multiple(true)
))]
pub(in crate::cli) struct EraseArgs {
    /// The session: all of it, unless --message or --run says which part; of one that was deleted,
    /// what its forks share
    pub(in crate::cli) session: Option<String>,
    /// All sessions and memories of this user, and what forks share of those that were deleted
    #[arg(long, conflicts_with = "session")]
    pub(in crate::cli) user: Option<String>,
    /// Only the message of this seq; the result of a tool call is a message of its own
    #[arg(long, value_name = "SEQ", conflicts_with_all = ["run", "user", "receipts"])]
    pub(in crate::cli) message: Option<u64>,
    /// Only this run: its number, or its id
    #[arg(long, value_name = "RUN", value_parser = named_run)]
    #[arg(conflicts_with_all = ["user", "receipts"])]
    pub(in crate::cli) run: Option<Point>,
    /// List the receipts for all that was ever deleted or erased; with a session id, those under
    /// it; with --user, those of sessions and memories that are or were this user's
    #[arg(long, conflicts_with_all = ["dry_run", "reason"])]
    pub(in crate::cli) receipts: bool,
    #[command(flatten)]
    pub(in crate::cli) removal: RemovalArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct PolicyArgs {
    /// The session; without one, all that say something themselves
    pub(in crate::cli) session: Option<String>,
    /// Whether images, audio, videos and files are kept
    #[arg(long, value_name = "BOOL", requires = "session")]
    store_media: Option<bool>,
    /// Whether tool calls and their results are kept
    #[arg(long, value_name = "BOOL", requires = "session")]
    store_tool_messages: Option<bool>,
    /// Whether copies of earlier runs' messages are kept
    #[arg(long, value_name = "BOOL", requires = "session")]
    store_history_messages: Option<bool>,
    /// How many runs a compaction keeps whole
    #[arg(long, value_name = "N|all", value_parser = keep_runs, requires = "session")]
    keep_runs: Option<KeepRuns>,
    /// Older runs are not shown any more, instead of reduced to what they spent
    #[arg(long, requires = "keep_runs")]
    drop: bool,
    /// The session says nothing itself any more
    #[arg(long, requires = "session", conflicts_with_all = [
        "store_media", "store_tool_messages", "store_history_messages", "keep_runs",
    ])]
    inherit: bool,
}

impl PolicyArgs {
    /// What the session is to say itself, if it is to be changed.
    pub(in crate::cli) fn changed(&self, own: Policy) -> Option<Policy> {
        if self.inherit {
            return Some(Policy::new());
        }
        let said = Policy {
            store_media: self.store_media,
            store_tool_messages: self.store_tool_messages,
            store_history_messages: self.store_history_messages,
            keep_runs: self.keep_runs.map(|keep| match keep {
                KeepRuns::Last { runs, .. } => KeepRuns::Last { runs, older: older(self.drop) },
                KeepRuns::All => KeepRuns::All,
            }),
        };
        (!said.is_empty()).then(|| said.or(own))
    }

    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        let is_idle = self.drop && self.keep_runs == Some(KeepRuns::All);
        let words = "no run is dropped where all are kept: give --keep-runs a number";
        is_idle.then_some((ErrorKind::ArgumentConflict, words))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct BlobsArgs {
    /// Remove those that nothing refers to
    #[arg(long)]
    pub(in crate::cli) collect: bool,
    /// Only say what would go
    #[arg(long, requires = "collect")]
    pub(in crate::cli) dry_run: bool,
}

const fn older(is_dropped: bool) -> OlderRuns {
    if is_dropped { OlderRuns::Dropped } else { OlderRuns::Reduced }
}
