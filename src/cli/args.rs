//! The whole command line: every command with its examples, and in the folder what each takes.

mod assist;
mod context;
mod keep;
mod key;
mod look;
mod memory;
mod value;
mod write;

use std::path::PathBuf;

use clap::error::{ContextKind, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(super) use self::assist::{ModelArgs, RenameArgs, SummarizeArgs};
pub(super) use self::context::ContextArgs;
pub(super) use self::keep::{
    BlobsArgs, CompactArgs, DeleteArgs, EraseArgs, PolicyArgs, RemovalArgs,
};
pub(super) use self::key::KeyCommand;
pub(super) use self::look::{
    CompletionsArgs, DiffArgs, ExportArgs, ForksArgs, HistoryArgs, LogArgs, LsArgs, Order,
    Provider, ReplayArgs, SearchArgs, ShowArgs, Sort, Speaker, ValidateArgs, VerifyArgs,
};
pub(super) use self::memory::{
    MemoryAddArgs, MemoryCommand, MemoryExtractArgs, MemoryForgetArgs, MemoryListArgs,
    MemoryUpdateArgs,
};
use self::value::path;
pub(super) use self::write::{
    ForkArgs, ImportArgs, ImportFormat, RecordArgs, RewindArgs, StateArgs,
};

/// Groups the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// The database, where nothing says which.
const DB: &str = "./sessionlog.db";

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

A POINT is head, start, a seq (42), run:3 (after the third run), run:<id>, event:<uuid>, a time
(2026-01-31T12:00:00Z), or a day (2026-01-31: its beginning, in UTC).

Exit status: 0 fine, 1 failed, or `verify` or `validate` found something, 2 wrong usage.";

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

#[derive(Debug, Clone, Args)]
pub(super) struct Global {
    /// The database
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    #[arg(value_name = "PATH", env = "SESSIONLOG_DB", default_value = DB, value_parser = path())]
    pub(super) db: PathBuf,
    /// Print one JSON document, and nothing else, on standard output (record, export and log
    /// --follow print one a line)
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) json: bool,
    /// Read a private copy of the database: of any, also one in use, or what is left of a damaged
    /// one. It stays untouched
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    pub(super) salvage: bool,
    /// Seal what is stored under the key in this file: 32 bytes, or 64 hexadecimal digits
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    #[arg(value_name = "PATH", env = "SESSIONLOG_KEY_FILE", value_parser = path())]
    pub(super) key_file: Option<PathBuf>,
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
  sessionlog export --all --format claude-code > everything.jsonl
  sessionlog export --all --format jsonl > dump.jsonl       with users' memories, to be imported")]
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
    /// Show the context of the next model call, or what was recorded of an earlier one
    #[command(after_help = "\
The history, as `history` chooses it, behind one system message: the session's, then instructions,
summary, memories and state. With a budget it is cut from the oldest, and can still be sent:
where not even the last turn fits, the last words of the person stay. With --run it is what that
run's model saw, made again from the manifest that was recorded, and whether it is the same to the
byte.

Examples:
  sessionlog context chat-1
  sessionlog context chat-1 --budget 8000 --after-summary --memories --state
  sessionlog context chat-1 --tokenizer o200k
  sessionlog context chat-1 --instructions 'Be brief.' --format anthropic --json
  sessionlog context chat-1 --run 3         what was recorded for the third run")]
    Context(ContextArgs),
    /// Search messages, names and summaries
    #[command(after_help = "\
All words must be there, in any order; case and accents make no difference. \"Words in quotes\" must
stand together, -word must not be there, and word* may go on. Of Chinese, Japanese, Korean and Thai
any part of a text is found. The first search builds an index beside the log.

Examples:
  sessionlog search 'lost parcel'
  sessionlog search '\"lost parcel\" -found' --user alice --role user
  sessionlog search invoic* --kind name --kind summary --since 2026-01-01
  sessionlog search parcel --sessions 5 --json
  sessionlog search --rebuild               makes the index anew")]
    Search(SearchArgs),
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
    /// Name a session, or let a model name it
    #[command(after_help = "\
A model is shown what was said in the first runs. A name that was given by hand stays, unless
--force says otherwise; --all leaves every session alone that has a name, and ends where the model
cannot be asked at all.

Examples:
  sessionlog rename chat-1 'Lost parcel'
  sessionlog rename chat-1 --generate --model gpt-4o-mini
  sessionlog rename --all --generate --jobs 8 --provider anthropic --model claude-haiku-4-5")]
    Rename(RenameArgs),
    /// Sum sessions up by a model, or show the summaries that are there
    #[command(after_help = "\
A model is shown what user and assistant said since the last summary, together with that summary.
Tools and instructions are not shown. What was written stays in the log, with what it covers.
Where the model cannot be asked at all, it ends; one bad answer leaves out only its session.

Examples:
  sessionlog summarize chat-1 --model gpt-4o-mini
  sessionlog summarize --all --min-runs 10 --dry-run
  sessionlog summarize chat-1 --base-url http://localhost:11434/v1 --model llama3.2
  sessionlog summarize chat-1 --history     asks no model, and neither do --show and --withdraw")]
    Summarize(SummarizeArgs),
    /// Show a session's state, or change it
    #[command(after_help = "\
KEY=JSON sets, KEY= removes; dots lead into nested objects. Text takes quotes of its own.

Examples:
  sessionlog state chat-1
  sessionlog state chat-1 'name=\"Alice\"' cart.items='[\"tea\"]' cart.coupon=")]
    State(StateArgs),
    /// Show what is kept of a session, or say it
    #[command(after_help = "\
What a session does not say itself, the program that writes it says, and else all is kept. It acts
on what is written from then on; `compact` does the same to what is stored already.

Examples:
  sessionlog policy chat-1
  sessionlog policy chat-1 --store-tool-messages false --keep-runs 50
  sessionlog policy chat-1 --inherit        it says nothing itself any more")]
    Policy(PolicyArgs),
    /// Remove from sessions what their policies, or these options, do not keep
    #[command(after_help = "\
Tool calls and their results go together, what was spent is still counted, and `verify` still
holds. What a fork shares and keeps stays. Without options the policies in force are applied.

Examples:
  sessionlog compact chat-1 --no-tool-messages --dry-run
  sessionlog compact --all --keep-runs 20
  sessionlog compact --all --rewrite        and give the room back that it no longer needs")]
    Compact(CompactArgs),
    /// Show what is remembered of a user, or change it
    #[command(
        arg_required_else_help = true,
        after_help = "\
Memories are facts about a user, the same in all sessions of that user. They are in no session:
lists, transcripts and searches of sessions do not show them, a dump of everything has them behind
the sessions, and `erase --user` erases them.

Examples:
  sessionlog memory add --user alice 'Likes tea.' --topic drinks
  sessionlog memory list --user alice --topic drinks
  sessionlog memory search --user alice tea
  sessionlog memory extract --user alice --model gpt-4o-mini
  sessionlog memory history --user alice ID"
    )]
    Memory {
        #[command(subcommand)]
        command: MemoryCommand,
    },
    /// Delete sessions; their forks keep what they share
    #[command(after_help = "\
Prints a receipt for each. Nothing is deleted if any of them is not there.

Examples:
  sessionlog delete chat-1 --dry-run
  sessionlog delete chat-1 chat-2 --reason 'ticket 4711'")]
    Delete(DeleteArgs),
    /// Erase a user, a session, a run or a message for good, in forks and summaries too
    #[command(after_help = "\
What was derived goes too: copies in later runs, the summaries that cover it, generated names,
memories. The receipt names seqs and digests, and stays in the log. Of a session that was deleted
before, what its forks share is erased. Runs that a run started, as of a team's members, are runs
of their own: erase each that says what is to go.

Examples:
  sessionlog erase --user alice --dry-run
  sessionlog erase --user alice --reason 'GDPR art. 17'
  sessionlog erase chat-1 --message 42
  sessionlog erase chat-1 --run 3
  sessionlog erase --receipts
  sessionlog erase --receipts chat-1        what of chat-1 went, also when it is gone itself")]
    Erase(EraseArgs),
    /// List the media that are stored, and remove those that nothing refers to
    #[command(after_help = "\
Examples:
  sessionlog blobs
  sessionlog blobs --collect --dry-run")]
    Blobs(BlobsArgs),
    /// Make keys to seal databases with
    #[command(after_help = "\
Examples:
  sessionlog key new ~/.sessionlog.key
  sessionlog record chat-1 --key-file ~/.sessionlog.key")]
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Check what is stored: hash chain, gaps, snapshots, indexes, catalog
    #[command(after_help = "\
It ends with a head: a hash over all that comes before it, of the log, or of each session that was
named. Whoever can write all of a database can make it look whole, but not find another past for a
head that was kept elsewhere: --head checks that it still stands where it was taken from.

Examples:
  sessionlog verify
  sessionlog verify chat-1 chat-2 --json
  sessionlog verify --head HASH             nothing in the log was changed up to there
  sessionlog verify chat-1 --head HASH      nothing in the session was")]
    Verify(VerifyArgs),
    /// Check whether the conversations of transcripts can be sent to a provider, and mend them
    #[command(after_help = "\
Requests of OpenAI and Anthropic are checked against all rules of that provider; in other formats
that calls and results belong together. No database is needed, and none is touched. --repair prints
each conversation mended, a line each and nothing but its messages, and says on standard error what
it took. Parts that are neither text nor images are left out of what is mended, and counted there.
What cannot be mended, as a request without messages, exits with 1.

Examples:
  sessionlog validate request.json
  sessionlog validate --repair request.json > mended.json
  my-agent --dump | sessionlog validate --format anthropic -")]
    Validate(ValidateArgs),
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

impl Cli {
    pub(super) fn from_command_line() -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches()?;
        let mut cli = Self::from_arg_matches(&matches)?;
        if let Some((kind, words)) = cli.command.misuse() {
            return Err(Self::command().error(kind, words));
        }
        cli.global.is_db_named = matches.value_source("db") == Some(ValueSource::CommandLine);
        cli.global.settle(&matches)?;
        Ok(cli)
    }
}

impl Global {
    /// A variable of the environment that is empty counts as one that is not set.
    fn settle(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        let check_unnamed = |name: &str| {
            if matches.value_source(name) != Some(ValueSource::CommandLine) {
                return Ok(());
            }
            let words = format!("--{} is empty: name a path", name.replace('_', "-"));
            Err(Cli::command().error(ErrorKind::InvalidValue, words))
        };
        if self.db.as_os_str().is_empty() {
            check_unnamed("db")?;
            self.db = PathBuf::from(DB);
        }
        if self.key_file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            check_unnamed("key_file")?;
            self.key_file = None;
        }
        Ok(())
    }
}

impl Command {
    /// What clap has no rule for.
    fn misuse(&self) -> Option<(ErrorKind, &'static str)> {
        match self {
            Self::Verify(args) => args.misuse(),
            Self::Compact(args) => args.misuse(),
            Self::Policy(args) => args.misuse(),
            Self::Rename(args) => args.misuse(),
            Self::Summarize(args) => args.misuse(),
            Self::Memory { command } => command.misuse(),
            _ => None,
        }
    }
}

/// What is shown to someone who names no command, or no command of one, if that is what the error
/// is about: the help of what was named.
pub(super) fn help_instead(error: &clap::Error) -> Option<String> {
    // Which of the two it is depends on the environment.
    match error.kind() {
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Some(error.render().ansi().to_string())
        }
        ErrorKind::MissingSubcommand => {
            let mut command = &mut Cli::command();
            command.build();
            let named = error.get(ContextKind::InvalidSubcommand).map(ToString::to_string);
            for name in named.unwrap_or_default().split_whitespace().skip(1) {
                command = command.find_subcommand_mut(name)?;
            }
            Some(command.render_help().ansi().to_string())
        }
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clap_finds_no_fault_with_the_command_line() {
        Cli::command().debug_assert();
    }
}
