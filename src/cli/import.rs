//! Transcripts recorded as sessions.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use sessionlog::limits::TRANSCRIPT_BYTES_MAX;
use sessionlog::transcript::{Counts, ImportOptions, ImportProgress, ImportReport, Importer};
use sessionlog::{Engine, EventId};

use super::args::{Global, ImportArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

/// Skipped records that people are shown.
const SKIPPED_SHOWN_MAX: usize = 20;
/// How standard input is called among the files.
pub(super) const STDIN_NAME: &str = "-";
/// What its name in the engine begins with.
const STDIN_PREFIX: &str = "stdin-";

pub(super) fn run(global: &Global, args: &ImportArgs, out: &mut Output) -> Result<Outcome> {
    let (stdin, paths): (Vec<_>, Vec<_>) =
        args.paths.iter().cloned().partition(|path| path == Path::new(STDIN_NAME));
    // Nothing is made for a path that is mistyped, or for a pipe that brings nothing.
    paths.iter().try_for_each(|path| check_path(path))?;
    let input = if stdin.is_empty() { None } else { Some(read_stdin()?) };
    let options = ImportOptions { format: args.format.0, user_id: args.user.clone() };
    // What is there is opened before anything is read; what is not, once there is something for it.
    let mut there = if global.db.exists() { Some(create(global, args)?) } else { None };
    let open = || there.take().map_or_else(|| create(global, args), Ok);
    let mut importer = Importer::opening(open, &options);
    let done = import(&mut importer, &paths, input.as_deref());
    let mut report = importer.into_report();
    if input.is_some() {
        let from_stdin = report.skipped.iter_mut().filter(|it| it.file.starts_with(STDIN_PREFIX));
        from_stdin.for_each(|skipped| STDIN_NAME.clone_into(&mut skipped.file));
    }
    if done.is_ok() || report.recorded != Counts::default() {
        if out.is_json() {
            out.json(&report)?;
        } else {
            write_report(&report, out)?;
        }
        out.flush()?;
    }
    match done {
        Err(error) if report.recorded != Counts::default() => {
            Err(Failure::At(String::from("importing again goes on from here"), error))
        }
        Err(error) => Err(error.into()),
        Ok(()) => outcome(&report),
    }
}

fn create(global: &Global, args: &ImportArgs) -> sessionlog::Result<Engine> {
    global.create(args.keep.policy())
}

/// Files and folders first, then standard input.
fn import(
    importer: &mut Importer<'_>,
    paths: &[PathBuf],
    input: Option<&[u8]>,
) -> sessionlog::Result<()> {
    if !paths.is_empty() {
        with_progress(importer, paths)?;
    }
    // A conversation that has no id gets one of the text's own: the same text is the same
    // session, and another one does not run into it.
    let name = |input| format!("{STDIN_PREFIX}{}", EventId::derive(&[input]));
    input.map_or(Ok(()), |input| importer.text(&name(input), input))
}

/// Something was recorded, or is there already; or what stood in the way is said.
fn outcome(report: &ImportReport) -> Result<Outcome> {
    let Counts { sessions, memory_users, .. } = report.recorded;
    let recorded = sessions + memory_users + report.unchanged + report.unchanged_memory_users;
    let reason = match report.skipped.first() {
        _ if recorded > 0 => return Ok(Outcome::Fine),
        Some(skipped) => format!("{}: {}", skipped.file, skipped.reason),
        None => String::from("no conversation was found"),
    };
    Err(Failure::words(format!("nothing was imported: {reason}")))
}

pub(super) fn check_path(path: &Path) -> Result<()> {
    let found = fs::metadata(path).map(drop);
    found.map_err(|error| Failure::io(path.display(), &error))
}

/// The bytes of a file that is read as a whole. One that is too large is cut where the importer
/// sees that it is.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = fs::File::open(path)
        .and_then(|file| file.take(TRANSCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| Failure::io(path.display(), &error))?;
    Ok(bytes)
}

pub(super) fn read_stdin() -> Result<Vec<u8>> {
    let mut input = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut input);
    read.map_err(|error| Failure::io("standard input", &error))?;
    if input.trim_ascii().is_empty() {
        return Err(Failure::words("standard input is empty"));
    }
    Ok(input)
}

/// Imports files, with a bar where standard error is a terminal.
fn with_progress(importer: &mut Importer<'_>, paths: &[PathBuf]) -> sessionlog::Result<()> {
    let bar = ProgressBar::new(0);
    if let Ok(style) =
        ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {eta} left  {wide_msg}")
    {
        bar.set_style(style);
    }
    let mut show = |progress: ImportProgress| {
        bar.set_length(progress.bytes);
        bar.set_position(progress.bytes_done);
        bar.set_message(text::flat(&progress.file.display().to_string()));
    };
    let done = importer.paths(paths, &mut show);
    bar.finish_and_clear();
    done
}

fn write_report(report: &ImportReport, out: &mut Output) -> Result<()> {
    let files = text::count(report.files, "file");
    writeln!(out, "found     {} in {files}", counts(&report.found))?;
    writeln!(out, "recorded  {}", counts(&report.recorded))?;
    if report.files == 0 {
        writeln!(out, "no transcript there: folders are searched for *.json, *.jsonl and *.traj")?;
    }
    if report.unchanged > 0 {
        let sessions = text::count(report.unchanged, "session");
        writeln!(out, "unchanged {sessions}: nothing in them was new")?;
    }
    if report.unchanged_memory_users > 0 {
        let users = text::count(report.unchanged_memory_users, "user");
        writeln!(out, "unchanged memories of {users}")?;
    }
    if !report.ignored.is_empty() {
        let kinds = report.ignored.iter();
        let kinds: Vec<String> =
            kinds.map(|(kind, count)| format!("{} {kind}", text::grouped(*count))).collect();
        writeln!(out, "ignored   {}", text::one_line(&kinds.join(", ")))?;
    }
    write_skipped(report, out)
}

fn write_skipped(report: &ImportReport, out: &mut Output) -> Result<()> {
    let total = report.skipped.len();
    if total > 0 {
        writeln!(out, "skipped   {}", text::count(total as u64, "record"))?;
    }
    for skipped in report.skipped.iter().take(SKIPPED_SHOWN_MAX) {
        let line = skipped.line.map(|line| format!(" line {line}")).unwrap_or_default();
        out.line(&format!("  {}{line}: {}", skipped.file, skipped.reason))?;
    }
    if let Some(more @ 1..) = total.checked_sub(SKIPPED_SHOWN_MAX) {
        writeln!(out, "{FAINT}  ... and {more} more (use --json){FAINT:#}")?;
    }
    Ok(())
}

fn counts(counts: &Counts) -> String {
    let (sessions, runs) =
        (text::count(counts.sessions, "session"), text::count(counts.runs, "run"));
    let messages = text::count(counts.messages, "message");
    let calls = text::count(counts.tool_calls, "tool call");
    let results = text::count(counts.tool_results, "result");
    let memories = match counts.memory_users {
        0 => String::new(),
        users => format!(", memories of {}", text::count(users, "user")),
    };
    format!("{sessions}, {runs}, {messages}, {calls}, {results}{memories}")
}
