//! The command line: what it takes is in [`args`], what it does is in one file per command.

mod args;
mod blobs;
mod compact;
mod completions;
mod context;
mod database;
mod delete;
mod demo;
mod diff;
mod erase;
mod event_text;
mod export;
mod extract;
mod failure;
mod follow;
mod fork;
mod forks;
mod history;
mod import;
mod key;
mod log;
mod ls;
mod memory;
mod models;
mod near;
mod output;
mod policy;
mod receipt;
mod record;
mod rename;
mod replay;
mod rewind;
mod search;
mod sheet;
mod show;
mod state;
mod stats;
mod summarize;
mod text;
mod validate;
mod verify;

use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;

use self::args::{Cli, Command};
use self::failure::{Failure, Outcome, Result};
use self::output::Output;

/// Runs the program.
pub(crate) fn main() -> ExitCode {
    hush_quiet_panics();
    let cli = match Cli::from_command_line() {
        Ok(cli) => cli,
        Err(error) => return report_usage(&error),
    };
    let mut out = Output::new(cli.global.json);
    let done = dispatch(&cli, &mut out);
    // What was found before a failure is shown before it.
    let flushed = Failure::or_seen(out.flush().map_err(Failure::from));
    match done.and_then(|outcome| flushed.map(|()| outcome)) {
        Ok(outcome) => outcome.into(),
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: &Cli, out: &mut Output) -> Result<Outcome> {
    let global = &cli.global;
    match &cli.command {
        Command::Demo => demo::run(global, out),
        Command::Import(args) => import::run(global, args, out),
        Command::Record(args) => record::run(global, args, out),
        Command::Export(args) => export::run(global, args, out),
        Command::Ls(args) => ls::run(global, args, out),
        Command::Show(args) => show::run(global, args, out),
        Command::History(args) => history::run(global, args, out),
        Command::Context(args) => context::run(global, args, out),
        Command::Search(args) => search::run(global, args, out),
        Command::Log(args) => log::run(global, args, out),
        Command::Replay(args) => replay::run(global, args, out),
        Command::Diff(args) => diff::run(global, args, out),
        Command::Fork(args) => fork::run(global, args, out),
        Command::Forks(args) => forks::run(global, args, out),
        Command::Rewind(args) => rewind::run(global, args, out),
        Command::Rename(args) => rename::run(global, args, out),
        Command::Summarize(args) => summarize::run(global, args, out),
        Command::State(args) => state::run(global, args, out),
        Command::Policy(args) => policy::run(global, args, out),
        Command::Compact(args) => compact::run(global, args, out),
        Command::Memory { command } => memory::run(global, command, out),
        Command::Delete(args) => delete::run(global, args, out),
        Command::Erase(args) => erase::run(global, args, out),
        Command::Blobs(args) => blobs::run(global, args, out),
        Command::Key { command } => key::run(command, out),
        Command::Verify(args) => verify::run(global, args, out),
        Command::Validate(args) => validate::run(args, out),
        Command::Stats => stats::run(global, out),
        Command::Completions(args) => completions::run(args, out),
    }
}

/// One line on standard error. There is nobody left to tell when that fails.
fn complain(words: &str) {
    let _ = writeln!(io::stderr(), "sessionlog: {}", text::one_line(words));
}

/// Help and version go out as they are; a mistake becomes one line.
fn report_usage(error: &clap::Error) -> ExitCode {
    if let Some(help) = args::help_instead(error) {
        let _ = anstream::stderr().write_all(help.as_bytes());
    } else if error.use_stderr() {
        complain(&args::one_line_of(error));
    } else if let Err(error) = error.print()
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        complain(&Failure::Output(error).to_string());
        return ExitCode::FAILURE;
    }
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// A panic that the library turns into an error says so once, as that error.
fn hush_quiet_panics() {
    let default = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !sessionlog::is_quiet_panic() {
            default(info);
        }
    }));
}
