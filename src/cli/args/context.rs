//! What `context` takes.

use clap::Args;
use sessionlog::{Point, Role};

use super::Provider;
use super::value::named_run;

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(in crate::cli) struct ContextArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// History of the last N runs
    #[arg(long, value_name = "N")]
    pub(in crate::cli) runs: Option<usize>,
    /// At most the last N messages of the history
    #[arg(long, value_name = "N")]
    pub(in crate::cli) messages: Option<usize>,
    /// The results of at most the last N tool calls of the history
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_tool_calls: Option<usize>,
    /// No message of this role; for several, once each
    #[arg(long, value_name = "ROLE", value_parser = role)]
    pub(in crate::cli) skip_role: Vec<Role>,
    /// No history
    #[arg(long, conflicts_with_all = ["runs", "messages", "max_tool_calls"])]
    pub(in crate::cli) no_history: bool,
    /// At most N tokens, in either format; alone, it decides how far the history goes back
    #[arg(long, value_name = "TOKENS")]
    pub(in crate::cli) budget: Option<u64>,
    /// Count with this tokenizer of OpenAI's, not by an estimate
    #[arg(long, value_name = "NAME", value_parser = ["o200k", "cl100k"])]
    pub(in crate::cli) tokenizer: Option<String>,
    /// With the session's summary
    #[arg(long)]
    pub(in crate::cli) summary: bool,
    /// With the session's summary, and history only from behind what it covers
    #[arg(long, conflicts_with = "no_history")]
    pub(in crate::cli) after_summary: bool,
    /// With what is remembered of the session's owner
    #[arg(long)]
    pub(in crate::cli) memories: bool,
    /// With the session's state
    #[arg(long)]
    pub(in crate::cli) state: bool,
    /// With these instructions, behind the session's system message
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) instructions: Option<String>,
    /// What was recorded for this run instead: its number, or its id
    #[arg(long, value_name = "RUN", value_parser = named_run, conflicts_with_all = [
        "runs", "messages", "max_tool_calls", "skip_role", "no_history", "budget", "tokenizer",
        "summary",
        "after_summary", "memories", "state", "instructions",
    ])]
    pub(in crate::cli) run: Option<Point>,
    /// Which model call of the run, from 1; the last one, if it is not said
    #[arg(long, value_name = "N", requires = "run")]
    pub(in crate::cli) call: Option<usize>,
    /// Whose request format --json prints; of what was recorded, the one that was sent, if it is
    /// not said
    #[arg(long, value_enum)]
    pub(in crate::cli) format: Option<Provider>,
}

fn role(text: &str) -> Result<Role, String> {
    match Role::from(text) {
        Role::Other(_) => Err(String::from("roles are system, developer, user, assistant, tool")),
        role => Ok(role),
    }
}
