//! What commands take that ask a language model.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgGroup, Args};
use sessionlog::limits;

/// Groups the options that say which model.
const MODEL: &str = "The model";

/// Which model, and where it is.
#[derive(Debug, Args)]
pub(in crate::cli) struct ModelArgs {
    /// The model, by its provider's name for it
    #[arg(long, value_name = "NAME", env = "SESSIONLOG_MODEL", help_heading = MODEL)]
    pub(in crate::cli) model: Option<String>,
    /// Whose protocol its server speaks
    #[arg(long, env = "SESSIONLOG_PROVIDER", default_value = "openai", help_heading = MODEL)]
    #[arg(value_parser = ["openai", "anthropic"])]
    pub(in crate::cli) provider: String,
    /// Where its server is, if not at OpenAI or Anthropic
    #[arg(long, value_name = "URL", env = "SESSIONLOG_BASE_URL", help_heading = MODEL)]
    #[arg(hide_env_values = true)]
    pub(in crate::cli) base_url: Option<String>,
    /// The environment variable that holds the key, if not the provider's own (`OPENAI_API_KEY`,
    /// `ANTHROPIC_API_KEY`)
    #[arg(long, value_name = "VARIABLE", help_heading = MODEL)]
    pub(in crate::cli) api_key_env: Option<String>,
    /// How long an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "120", help_heading = MODEL)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) timeout: u64,
}

impl ModelArgs {
    /// A model that nobody named, where the program could ask one.
    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        let is_nameless = cfg!(feature = "models") && self.model.is_none();
        let words = "which model? name one with --model or SESSIONLOG_MODEL";
        is_nameless.then_some((ErrorKind::MissingRequiredArgument, words))
    }
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["sessions", "all"]).required(true)))]
#[command(group(ArgGroup::new("instead").args(["show", "history", "withdraw", "dry_run"])))]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(in crate::cli) struct SummarizeArgs {
    /// The sessions
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) sessions: Vec<String>,
    /// Every session of the database
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Ask in the words of this file what to write
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) prompt: Option<PathBuf>,
    /// Leave out sessions in which fewer runs began since their last summary
    #[arg(long, value_name = "N", default_value = "1")]
    pub(in crate::cli) min_runs: u64,
    /// Show the summary that is there, and ask no model
    #[arg(long)]
    pub(in crate::cli) show: bool,
    /// Show the earlier ones too, oldest first; of more than 16 the last, and how many are older
    #[arg(long)]
    pub(in crate::cli) history: bool,
    /// Take the summary back; the one before it holds again, if it is among the last 16
    #[arg(long, conflicts_with = "all")]
    pub(in crate::cli) withdraw: bool,
    /// Only say what a model would be shown
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
}

impl SummarizeArgs {
    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        let asks = !(self.show || self.history || self.withdraw || self.dry_run);
        asks.then(|| self.model.misuse()).flatten()
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RenameArgs {
    /// The session
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(in crate::cli) session: Option<String>,
    /// Its new name
    #[arg(required_unless_present = "generate", conflicts_with = "generate")]
    pub(in crate::cli) name: Option<String>,
    /// Let a model make the name, in at most five words; one that was given by hand stays
    #[arg(long)]
    pub(in crate::cli) generate: bool,
    /// Every session that has no name yet
    #[arg(long, requires = "generate")]
    pub(in crate::cli) all: bool,
    /// Names that are there give way, also those that were given by hand
    #[arg(long, requires = "generate")]
    pub(in crate::cli) force: bool,
    /// How many sessions are named at the same time
    #[arg(long, value_name = "N", requires = "all", value_parser = jobs)]
    pub(in crate::cli) jobs: Option<usize>,
    #[command(flatten)]
    pub(in crate::cli) model: ModelArgs,
}

impl RenameArgs {
    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        self.generate.then(|| self.model.misuse()).flatten()
    }
}

fn jobs(text: &str) -> Result<usize, String> {
    let max = limits::NAME_JOBS_MAX;
    let jobs = text.parse().ok().filter(|jobs| (1..=max).contains(jobs));
    jobs.ok_or_else(|| format!("use a number from 1 to {max}"))
}
