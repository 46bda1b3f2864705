//! The whole command line: every command, option and example.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sessionlog::transcript::Format;
use sessionlog::{Point, SessionType, limits};

use super::state::Assignment;

/// Groups the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

const INTRO: &str = "\
Keeps the sessions of AI agents as events on an append-only log: browse them, see them as they
were at any earlier point, check them, feed them.";

const EXAMPLES: &str = "\
Examples:
  sessionlog demo                           a tour in a few seconds; keeps nothing
  sessionlog import ~/.claude/projects      records transcripts as sessions
  sessionlog ls                             lists them
  sessionlog history SESSION --runs 5       what the next model call would be given
  sessionlog show SESSION --at run:3        the session as it was after its third run

A POINT is head, start, a seq (42), run:3 (after the third run), run:<id>, event:<uuid>, or a
time (2026-01-31T12:00:00Z).

Exit status: 0 fine, 1 failed or `verify` found something, 2 wrong usage.";

/// Browse, replay, check and feed a database of agent sessions.
#[derive(Debug, Parser)]
#[command(name = "sessionlog", version, about = INTRO, after_help = EXAMPLES)]
#[command(disable_help_subcommand = true, max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// The database
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    #[arg(value_name = "PATH", env = "SESSIONLOG_DB", default_value = "./sessionlog.db")]
    pub(super) db: PathBuf,
    /// Print one JSON document, and nothing else, on standard output (record, export and log
    /// --follow print one a line)
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,
    /// Read what is left of a damaged database, in a private copy of it; it stays untouched
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) salvage: bool,
    /// Whether the command line itself says which database.
    #[arg(skip)]
    pub(super) is_db_named: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A tour: records sample sessions and shows what can be done with them
    #[command(after_help = "\
Without --db it uses a temporary database, which is removed at the end.

Examples:
  sessionlog demo
  sessionlog demo --db demo.db              keeps the samples, to look at on your own")]
    Demo,
    /// Record transcripts as sessions; importing the same again adds nothing
    #[command(after_help = "\
In a folder every *.json, *.jsonl and *.traj is read, and no other file. What of these is no
transcript, and each record that cannot be read, is named with the reason and left out.

Examples:
  sessionlog import ~/.claude/projects
  sessionlog import --format tau-bench --user alice results.json
  curl -s https://example.com/chat.json | sessionlog import -")]
    Import(ImportArgs),
    /// Append messages from standard input, one JSON object a line, as they arrive
    #[command(after_help = "\
Prints {\"seq\":N} for each message once it is on disk. A user message begins a new run.

Examples:
  echo '{\"role\":\"user\",\"content\":\"Hi\"}' | sessionlog record chat-1 --user alice
  my-agent --messages-as-json | sessionlog record chat-1")]
    Record(RecordArgs),
    /// Write sessions as transcripts, one JSON document a line
    #[command(after_help = "\
Examples:
  sessionlog export chat-1 > chat-1.jsonl
  sessionlog export --all --format claude-code > everything.jsonl")]
    Export(ExportArgs),
    /// List sessions, the newest first
    #[command(after_help = "\
Examples:
  sessionlog ls --user alice --sort updated_at
  sessionlog ls --since 2026-01-01 --name invoice
  sessionlog ls --limit 100 --page 2 --json")]
    Ls(LsArgs),
    /// Show a session, now or as it was
    #[command(after_help = "\
Examples:
  sessionlog show chat-1
  sessionlog show chat-1 --at run:2
  sessionlog show chat-1 --at 2026-01-31T12:00:00Z --json")]
    Show(ShowArgs),
    /// Show the messages that the next model call would be given
    #[command(after_help = "\
The last three runs, unless --runs or --messages says otherwise. Runs that were cancelled, failed,
paused or replaced are left out, and tool calls keep their results: what comes out can be sent.

Examples:
  sessionlog history chat-1
  sessionlog history chat-1 --runs 10 --max-tool-calls 5
  sessionlog history chat-1 --format anthropic --json")]
    History(HistoryArgs),
    /// Show the events themselves
    #[command(after_help = "\
Examples:
  sessionlog log chat-1
  sessionlog log chat-1 --from 100 --to 120 --json
  sessionlog log chat-1 --follow            beside the process that writes it")]
    Log(LogArgs),
    /// Step through a session: what each event changed, and what it came to
    #[command(after_help = "\
Examples:
  sessionlog replay chat-1
  sessionlog replay chat-1 --to run:2")]
    Replay(ReplayArgs),
    /// Compare two points of a session, or of two sessions
    #[command(after_help = "\
Examples:
  sessionlog diff chat-1 run:2 head
  sessionlog diff chat-1 head head --with chat-2")]
    Diff(DiffArgs),
    /// Begin a new session with what another was at a point
    #[command(after_help = "\
The past is shared, not copied. A run that was under way at the point is interrupted in the fork.

Examples:
  sessionlog fork chat-1
  sessionlog fork chat-1 --at run:2 --id chat-1-again")]
    Fork(ForkArgs),
    /// Show the tree of sessions that were forked from one another
    #[command(after_help = "\
Examples:
  sessionlog forks chat-1")]
    Forks(ForksArgs),
    /// Go back inside a session; what came after stays readable
    #[command(after_help = "\
Nothing is removed: going back is an event, and going back to before it undoes it.

Examples:
  sessionlog rewind chat-1 --to run:2
  sessionlog rewind chat-1 --to 42")]
    Rewind(RewindArgs),
    /// Name a session
    #[command(after_help = "\
Examples:
  sessionlog rename chat-1 'Lost parcel'")]
    Rename(RenameArgs),
    /// Show a session's state, or change it
    #[command(after_help = "\
KEY=JSON sets, KEY= removes; dots lead into nested objects. Text takes quotes of its own.

Examples:
  sessionlog state chat-1
  sessionlog state chat-1 'name=\"Alice\"' cart.items='[\"tea\"]' cart.coupon=")]
    State(StateArgs),
    /// Check what is stored: hash chain, gaps, snapshots, indexes, catalog
    #[command(after_help = "\
Examples:
  sessionlog verify
  sessionlog verify chat-1 chat-2 --json")]
    Verify(VerifyArgs),
    /// Count what the database holds, and its bytes
    #[command(after_help = "\
Examples:
  sessionlog stats
  sessionlog stats --json")]
    Stats,
    /// Print a script that completes commands and options in a shell
    #[command(after_help = "\
Examples:
  sessionlog completions bash > ~/.local/share/bash-completion/completions/sessionlog
  sessionlog completions fish > ~/.config/fish/completions/sessionlog.fish")]
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What the files are; auto looks at each
    #[arg(long, default_value = "auto", value_parser = import_format())]
    pub(super) format: ImportFormat,
    /// The owner of the sessions that are new
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// Files or folders; - is standard input
    #[arg(value_name = "PATH", required = true)]
    pub(super) paths: Vec<PathBuf>,
}

/// A transcript format, or none in particular.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImportFormat(pub(super) Option<Format>);

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// The session, continued or begun
    pub(super) session: String,
    /// Act as this user, who owns the session if it is new; without one, act as nobody, who
    /// reaches only sessions without an owner
    #[arg(long, value_name = "USER")]
    pub(super) user: Option<String>,
    /// What the messages look like
    #[arg(long, default_value = "openai", value_parser = ["openai"])]
    pub(super) format: String,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// What to write
    #[arg(long, default_value = "openai", value_parser = export_format())]
    pub(super) format: Format,
    /// Every session of the database
    #[arg(long, conflicts_with = "sessions")]
    pub(super) all: bool,
    /// The sessions
    #[arg(value_name = "SESSION", required_unless_present = "all")]
    pub(super) sessions: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct LsArgs {
    /// Only this user's
    #[arg(long)]
    pub(super) user: Option<String>,
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = session_type())]
    pub(super) session_type: Option<SessionType>,
    /// Only with this agent, team or workflow
    #[arg(long, value_name = "ID")]
    pub(super) component: Option<String>,
    /// Only with this in their name, in upper or lower case
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Only created at or after this time: RFC 3339, or YYYY-MM-DD in UTC
    #[arg(long, value_name = "TIME", value_parser = first_us)]
    pub(super) since: Option<i64>,
    /// Only created at or before this time, or on this day
    #[arg(long, value_name = "TIME", value_parser = last_us)]
    pub(super) until: Option<i64>,
    /// What to sort by
    #[arg(long, value_enum, default_value = "created_at")]
    pub(super) sort: Sort,
    /// Which end comes first
    #[arg(long, value_enum, default_value = "desc")]
    pub(super) order: Order,
    /// Sessions on a page
    #[arg(long, value_name = "N", default_value = "20", value_parser = page_limit)]
    pub(super) limit: usize,
    /// Which page, from 1
    #[arg(long, value_name = "N", default_value = "1")]
    pub(super) page: NonZeroUsize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Sort {
    CreatedAt,
    UpdatedAt,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Order {
    Asc,
    Desc,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// The session
    pub(super) session: String,
    /// When
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(super) at: Point,
}

#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// The session
    pub(super) session: String,
    /// The last N runs
    #[arg(long, value_name = "N")]
    pub(super) runs: Option<usize>,
    /// At most the last N messages
    #[arg(long, value_name = "N")]
    pub(super) messages: Option<usize>,
    /// The results of at most the last N tool calls
    #[arg(long, value_name = "N")]
    pub(super) max_tool_calls: Option<usize>,
    /// When
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(super) at: Point,
    /// Whose request format --json prints
    #[arg(long, value_enum, default_value = "openai")]
    pub(super) format: Provider,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Provider {
    Openai,
    Anthropic,
}

#[derive(Debug, Args)]
pub(super) struct LogArgs {
    /// The session
    pub(super) session: String,
    /// The first event
    #[arg(long, value_name = "SEQ", default_value = "1")]
    pub(super) from: u64,
    /// The last event
    #[arg(long, value_name = "SEQ")]
    pub(super) to: Option<u64>,
    /// Go on with what other processes append, until interrupted; --json prints one event a line
    #[arg(long, short, conflicts_with = "to")]
    pub(super) follow: bool,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The session
    pub(super) session: String,
    /// Where to stop
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(super) to: Point,
}

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The session
    pub(super) session: String,
    /// The point to compare
    #[arg(value_name = "A")]
    pub(super) from: Point,
    /// The point to compare it with
    #[arg(value_name = "B")]
    pub(super) to: Point,
    /// The session that B is a point of, if it is another
    #[arg(long, value_name = "SESSION")]
    pub(super) with: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ForkArgs {
    /// The session
    pub(super) session: String,
    /// Where
    #[arg(long, value_name = "POINT", default_value = "head")]
    pub(super) at: Point,
    /// The id of the fork; a new one is made up if none is given
    #[arg(long, value_name = "NEW")]
    pub(super) id: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ForksArgs {
    /// The session
    pub(super) session: String,
}

#[derive(Debug, Args)]
pub(super) struct RewindArgs {
    /// The session
    pub(super) session: String,
    /// Where to
    #[arg(long, value_name = "POINT")]
    pub(super) to: Point,
}

#[derive(Debug, Args)]
pub(super) struct RenameArgs {
    /// The session
    pub(super) session: String,
    /// Its new name
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct StateArgs {
    /// The session
    pub(super) session: String,
    /// What to change
    #[arg(value_name = "KEY=JSON")]
    pub(super) assignments: Vec<Assignment>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The sessions; all of them, and the log as a whole, if none is given
    #[arg(value_name = "SESSION")]
    pub(super) sessions: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    pub(super) shell: Shell,
}

impl Cli {
    pub(super) fn from_command_line() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches)?;
        cli.global.is_db_named = matches.value_source("db") == Some(ValueSource::CommandLine);
        Ok(cli)
    }
}

/// What is shown to someone who names no command, if that is what the error is about.
pub(super) fn help_instead(error: &clap::Error) -> Option<String> {
    // Which of the two it is depends on the environment.
    let is_missing = matches!(
        error.kind(),
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    is_missing.then(|| Cli::command().render_help().ansi().to_string())
}

/// What clap says in a paragraph, on one line.
pub(super) fn one_line_of(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let is_said = |line: &&str| !line.starts_with("Usage:") && !line.starts_with("For more");
    let lines: Vec<&str> =
        text.lines().map(str::trim).take_while(is_said).filter(|line| !line.is_empty()).collect();
    let words = lines.join(" ").replace(" tip: ", "; ");
    format!("{} (--help says more)", words.strip_prefix("error: ").unwrap_or(&words))
}

fn import_format() -> impl TypedValueParser<Value = ImportFormat> {
    let auto = PossibleValue::new("auto").help("What each file looks like");
    let names = Format::ALL.iter().map(|format| format_value(*format));
    PossibleValuesParser::new(std::iter::once(auto).chain(names)).try_map(|name| match &*name {
        "auto" => Ok(ImportFormat(None)),
        name => name.parse().map(|format| ImportFormat(Some(format))),
    })
}

fn export_format() -> impl TypedValueParser<Value = Format> {
    let written = Format::ALL.iter().filter(|format| format.is_written());
    let names = written.map(|format| format_value(*format));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}

fn format_value(format: Format) -> PossibleValue {
    PossibleValue::new(format.as_str()).help(format.about())
}

fn session_type() -> impl TypedValueParser<Value = SessionType> {
    let types = [SessionType::Agent, SessionType::Team, SessionType::Workflow];
    PossibleValuesParser::new(types.map(SessionType::as_str))
        .try_map(|name| name.parse::<SessionType>())
}

fn page_limit(text: &str) -> Result<usize, String> {
    let max = limits::LIST_PAGE_MAX;
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("a page holds 1 to {max} sessions"))
}

/// The first microsecond of a time or day.
fn first_us(text: &str) -> Result<i64, String> {
    instant(text, false)
}

/// The last microsecond of a time or day.
fn last_us(text: &str) -> Result<i64, String> {
    instant(text, true)
}

fn instant(text: &str, is_end: bool) -> Result<i64, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_microsecond());
    }
    let is_date = text.len() == "2026-01-31".len();
    let date = text.parse::<Date>().ok().filter(|_| is_date);
    let day = date.and_then(|date| if is_end { date.tomorrow().ok() } else { Some(date) });
    let start = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    start
        .map(|start| start.timestamp().as_microsecond() - i64::from(is_end))
        .ok_or_else(|| String::from("use 2026-01-31 or 2026-01-31T12:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault_with_the_command_line() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_day_reaches_from_its_first_microsecond_to_its_last() {
        let (first, last) = (first_us("2026-01-31").unwrap(), last_us("2026-01-31").unwrap());
        assert_eq!(last - first, 86_400_000_000 - 1);
        assert_eq!(first_us("2026-01-31T00:00:00Z").unwrap(), first);
        assert!(first_us("yesterday").is_err());
    }
}
