//! What commands take that write.

use std::path::PathBuf;

use clap::Args;
use sessionlog::Point;
use sessionlog::transcript::Format;

use super::keep::KeepArgs;
use super::value::import_format;
use crate::cli::state::Assignment;

#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArgs {
    /// What the files are; auto looks at each
    #[arg(long, default_value = "auto", value_parser = import_format())]
    pub(in crate::cli) format: ImportFormat,
    /// The owner of the sessions that are new
    #[arg(long, value_name = "USER")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) keep: KeepArgs,
    /// Files or folders; - is standard input
    #[arg(value_name = "PATH", required = true)]
    pub(in crate::cli) paths: Vec<PathBuf>,
}

/// A transcript format, or none in particular.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct ImportFormat(pub(in crate::cli) Option<Format>);

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RecordArgs {
    /// The session, continued or begun
    pub(in crate::cli) session: String,
    /// Act as this user, who owns the session if it is new; without one, act as nobody, who
    /// reaches only sessions without an owner
    #[arg(long, value_name = "USER")]
    pub(in crate::cli) user: Option<String>,
    /// What the messages look like
    #[arg(long, default_value = "openai", value_parser = ["openai"])]
    pub(in crate::cli) format: String,
    #[command(flatten)]
    pub(in crate::cli) keep: KeepArgs,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ForkArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// Where
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(in crate::cli) at: Point,
    /// The id of the fork; a new one is made up if none is given
    #[arg(long, value_name = "NEW")]
    pub(in crate::cli) id: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct RewindArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// Where to
    #[arg(long, value_name = "POINT")]
    pub(in crate::cli) to: Point,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct StateArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// What to change
    #[arg(value_name = "KEY=JSON")]
    pub(in crate::cli) assignments: Vec<Assignment>,
}
