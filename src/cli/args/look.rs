//! What commands take that read.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, ValueEnum};
use clap_complete::Shell;
use sessionlog::transcript::Format;
use sessionlog::{Point, SearchKind, SessionType};

use super::value::{
    export_format, first_us, head, hits_limit, import_format, last_us, page, page_limit,
    search_kind, session_type, shown,
};
use super::write::ImportFormat;

#[derive(Debug, Args)]
pub(in crate::cli) struct LsArgs {
    /// Only this user's
    #[arg(long)]
    pub(in crate::cli) user: Option<String>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = session_type())]
    pub(in crate::cli) session_type: Option<SessionType>,
    /// Only with this agent, team or workflow
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) component: Option<String>,
    /// Only with this in their name, in upper or lower case
    #[arg(long)]
    pub(in crate::cli) name: Option<String>,
    /// Only created at or after this time: RFC 3339, YYYY-MM-DD in UTC, or 2h or 3d ago
    #[arg(long, value_name = "TIME", value_parser = first_us)]
    pub(in crate::cli) since: Option<i64>,
    /// Only created at or before this time, or on this day
    #[arg(long, value_name = "TIME", value_parser = last_us)]
    pub(in crate::cli) until: Option<i64>,
    /// What to sort by
    #[arg(long, value_enum, default_value = "created_at")]
    pub(in crate::cli) sort: Sort,
    /// Which end comes first
    #[arg(long, value_enum, default_value = "desc")]
    pub(in crate::cli) order: Order,
    /// Sessions on a page
    #[arg(long, value_name = "N", default_value = "20", value_parser = page_limit)]
    pub(in crate::cli) limit: usize,
    /// Which page, from 1
    #[arg(long, value_name = "N", default_value = "1", value_parser = page)]
    pub(in crate::cli) page: usize,
    /// Only the ids, one a line, of all pages
    #[arg(long, conflicts_with_all = ["limit", "page"])]
    pub(in crate::cli) ids: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(in crate::cli) enum Sort {
    CreatedAt,
    UpdatedAt,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum Order {
    Asc,
    Desc,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// When
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(in crate::cli) at: Point,
    /// The newest N runs, or all; --json has all of them unless this says otherwise
    #[arg(long, value_name = "N|all", value_parser = shown)]
    pub(in crate::cli) runs: Option<usize>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// The last N runs
    #[arg(long, value_name = "N")]
    pub(in crate::cli) runs: Option<usize>,
    /// At most the last N messages
    #[arg(long, value_name = "N")]
    pub(in crate::cli) messages: Option<usize>,
    /// The results of at most the last N tool calls
    #[arg(long, value_name = "N")]
    pub(in crate::cli) max_tool_calls: Option<usize>,
    /// When
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(in crate::cli) at: Point,
    /// Whose request format --json prints
    #[arg(long, value_enum, default_value = "openai")]
    pub(in crate::cli) format: Provider,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Provider {
    Openai,
    Anthropic,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ValidateArgs {
    /// What the files are; auto looks at each
    #[arg(long, default_value = "auto", value_parser = import_format())]
    pub(in crate::cli) format: ImportFormat,
    /// Print the conversations made legal to send
    #[arg(long)]
    pub(in crate::cli) repair: bool,
    /// Whose requests --repair prints; else the file's own, or OpenAI's
    #[arg(long = "as", value_name = "PROVIDER", value_enum, requires = "repair")]
    pub(in crate::cli) provider: Option<Provider>,
    /// Files; - is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(in crate::cli) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct SearchArgs {
    /// The words: all must be there; "in quotes" together, -word not, word* as a beginning
    #[arg(required_unless_present = "rebuild", allow_hyphen_values = true)]
    pub(in crate::cli) query: Option<String>,
    /// Only in this session; may be given more than once
    #[arg(long = "session", value_name = "SESSION")]
    pub(in crate::cli) sessions: Vec<String>,
    /// Only in this user's
    #[arg(long)]
    pub(in crate::cli) user: Option<String>,
    /// Only messages of this role; may be given more than once
    #[arg(long = "role", value_enum, value_name = "ROLE")]
    pub(in crate::cli) roles: Vec<Speaker>,
    /// Only this kind; may be given more than once
    #[arg(long = "kind", value_name = "KIND", value_parser = search_kind())]
    pub(in crate::cli) kinds: Vec<SearchKind>,
    /// Only recorded at or after this time: RFC 3339, YYYY-MM-DD in UTC, or 2h or 3d ago
    #[arg(long, value_name = "TIME", value_parser = first_us)]
    pub(in crate::cli) since: Option<i64>,
    /// Only recorded at or before this time, or on this day
    #[arg(long, value_name = "TIME", value_parser = last_us)]
    pub(in crate::cli) until: Option<i64>,
    /// Only in the last N sessions
    #[arg(long = "sessions", value_name = "N", value_parser = page_limit)]
    pub(in crate::cli) num_history_sessions: Option<usize>,
    /// The best N hits
    #[arg(long, value_name = "N", default_value = "10", value_parser = hits_limit)]
    pub(in crate::cli) limit: usize,
    /// Make the index anew first
    #[arg(long)]
    pub(in crate::cli) rebuild: bool,
}

/// Whose messages are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Speaker {
    User,
    Assistant,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LogArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// The first event
    #[arg(long, value_name = "SEQ", default_value = "1")]
    pub(in crate::cli) from: u64,
    /// The last event
    #[arg(long, value_name = "SEQ")]
    pub(in crate::cli) to: Option<u64>,
    /// Go on with what other processes append, until interrupted; --json prints one event a line
    #[arg(long, short, conflicts_with = "to")]
    pub(in crate::cli) follow: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ReplayArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// Where to stop
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(in crate::cli) to: Point,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The session
    pub(in crate::cli) session: String,
    /// The point to compare
    #[arg(value_name = "A")]
    pub(in crate::cli) from: Point,
    /// The point to compare it with
    #[arg(value_name = "B")]
    pub(in crate::cli) to: Point,
    /// The session that B is a point of, if it is another
    #[arg(long, value_name = "SESSION")]
    pub(in crate::cli) with: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ForksArgs {
    /// The session
    pub(in crate::cli) session: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The sessions; all of them, and the log as a whole, if none is given
    #[arg(value_name = "SESSION")]
    pub(in crate::cli) sessions: Vec<String>,
    /// A head that was kept: of the session, if one is named, and of the log otherwise
    #[arg(long, value_name = "HASH", value_parser = head)]
    pub(in crate::cli) head: Option<String>,
}

impl VerifyArgs {
    pub(super) fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        let is_ambiguous = self.head.is_some() && self.sessions.len() > 1;
        let words = "a head is of one session: name no other beside it";
        is_ambiguous.then_some((ErrorKind::TooManyValues, words))
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    /// What to write
    #[arg(long, default_value = "openai", value_parser = export_format())]
    pub(in crate::cli) format: Format,
    /// Every session of the database
    #[arg(long, conflicts_with = "sessions")]
    pub(in crate::cli) all: bool,
    /// The sessions
    #[arg(value_name = "SESSION", required_unless_present = "all")]
    pub(in crate::cli) sessions: Vec<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CompletionsArgs {
    /// The shell
    pub(in crate::cli) shell: Shell,
}
