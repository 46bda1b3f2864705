//! What `memory` takes.

use clap::error::ErrorKind;
use clap::{ArgGroup, Args, Subcommand};
use sessionlog::limits;

use super::ModelArgs;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum MemoryCommand {
    /// List a user's memories, the one that was changed last first
    List(MemoryListArgs),
    /// Remember a fact
    #[command(after_help = "\
Examples:
  sessionlog memory add --user alice 'Likes tea.' --topic drinks --topic likes
  sessionlog memory add --user alice 'Lives in Oslo.' --input 'I moved to Oslo'")]
    Add(MemoryAddArgs),
    /// Change what a memory says
    Update(MemoryUpdateArgs),
    /// Delete memories; what they said stays in their history
    #[command(after_help = "\
Nothing is deleted if any of them is not there. With --erase nobody can read what they said any
more; deleted memories can be erased later.

Examples:
  sessionlog memory delete --user alice ID
  sessionlog memory delete --user alice ID --erase --reason 'asked by alice'")]
    Delete(MemoryForgetArgs),
    /// Find the memories that hold all of some words
    Search {
        /// Whose memories
        #[arg(long, value_name = "USER_ID")]
        user: String,
        /// The words, in any case and order
        #[arg(required = true)]
        words: Vec<String>,
    },
    /// Delete all memories of a user; what they said stays in their history
    Clear {
        /// Whose memories
        #[arg(long, value_name = "USER_ID")]
        user: String,
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Let a model make memories of what users said
    #[command(after_help = "\
The model is shown each message of the user with the user's memories, the oldest message first, and
may add, change and delete memories. What was read before, whatever came of it, is not read again.

Examples:
  sessionlog memory extract chat-1 --model gpt-4o-mini
  sessionlog memory extract --user alice --limit 50 --dry-run")]
    Extract(MemoryExtractArgs),
    /// Write memories as a dump, one event a line; `import` takes them over
    #[command(after_help = "\
They come with all that they ever said and was not erased, with their ids and the messages that they
came from, and go to the user of the same id, who must have none yet, or the beginning of the same.
`export --all --format jsonl` writes them behind the sessions.

Examples:
  sessionlog memory export --user alice > alice.jsonl
  sessionlog --db other.db import alice.jsonl")]
    Export {
        /// Whose memories
        #[arg(long, value_name = "USER_ID", required_unless_present = "all")]
        user: Option<String>,
        /// Those of every user
        #[arg(long, conflicts_with = "user")]
        all: bool,
    },
    /// Show what became of a memory, the oldest first
    History {
        /// Whose memory
        #[arg(long, value_name = "USER_ID")]
        user: String,
        /// The memory's id
        id: String,
    },
}

impl MemoryCommand {
    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        match self {
            Self::Extract(args) if !args.dry_run => args.model.misuse(),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["sessions", "user"]).required(true)))]
pub(in crate::cli) struct MemoryExtractArgs {
    /// The sessions; the memories are those of their users
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) sessions: Vec<String>,
    /// Every session of this user
    #[arg(long, value_name = "USER_ID")]
    pub(in crate::cli) user: Option<String>,
    /// Read so many messages at most; asked again, it goes on
    #[arg(long, value_name = "N", default_value_t = limits::MEMORY_BATCH_MESSAGES)]
    #[arg(value_parser = batch_limit)]
    pub(in crate::cli) limit: usize,
    /// Only say which messages would be read
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
}

fn batch_limit(text: &str) -> Result<usize, String> {
    let max = limits::MEMORY_BATCH_MESSAGES;
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("a number from 1 to {max}"))
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MemoryListArgs {
    /// Whose memories
    #[arg(long, value_name = "USER_ID")]
    pub(in crate::cli) user: String,
    /// Only those about this; of several, those about all of them
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(in crate::cli) topics: Vec<String>,
    /// No more than so many
    #[arg(long, value_name = "N", value_parser = memory_limit)]
    pub(in crate::cli) limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MemoryAddArgs {
    /// Whose memory
    #[arg(long, value_name = "USER_ID")]
    pub(in crate::cli) user: String,
    /// The fact
    pub(in crate::cli) text: String,
    /// What it is about
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(in crate::cli) topics: Vec<String>,
    /// What it was learned from, in words
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) input: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MemoryUpdateArgs {
    /// Whose memory
    #[arg(long, value_name = "USER_ID")]
    pub(in crate::cli) user: String,
    /// The memory's id
    pub(in crate::cli) id: String,
    /// What it says from now on
    pub(in crate::cli) text: String,
    /// What it is about, in place of all that it was about
    #[arg(long = "topic", value_name = "TOPIC")]
    pub(in crate::cli) topics: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct MemoryForgetArgs {
    /// Whose memories
    #[arg(long, value_name = "USER_ID")]
    pub(in crate::cli) user: String,
    /// The ids of the memories
    #[arg(value_name = "ID", required = true)]
    pub(in crate::cli) ids: Vec<String>,
    /// For good, with all that they ever said
    #[arg(long)]
    pub(in crate::cli) erase: bool,
    /// Only say what would go
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// On whose word or under which rule; it stays in the receipt for good, and is not sealed
    #[arg(long, value_name = "TEXT", requires = "erase")]
    pub(in crate::cli) reason: Option<String>,
}

fn memory_limit(text: &str) -> Result<usize, String> {
    let max = limits::MEMORIES_MAX;
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("a number from 1 to {max}"))
}
