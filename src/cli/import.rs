//! Transcripts recorded as sessions.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use sessionlog::transcript::{
    Counts, ImportOptions, ImportProgress, ImportReport, import_paths, import_text,
};
use sessionlog::{Engine, EventId};

use super::args::{Global, ImportArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

/// Skipped records that people are shown.
const SKIPPED_SHOWN_MAX: usize = 20;
/// How standard input is called among the files.
const STDIN_NAME: &str = "-";

pub(super) fn run(global: &Global, args: &ImportArgs, out: &mut Output) -> Result<Outcome> {
    let (stdin, paths): (Vec<_>, Vec<_>) =
        args.paths.iter().cloned().partition(|path| path == Path::new(STDIN_NAME));
    // Nothing is made for a path that is mistyped, or for a pipe that brings nothing.
    paths.iter().try_for_each(|path| check_path(path))?;
    let input = if stdin.is_empty() { None } else { Some(read_stdin()?) };
    let engine = global.create()?;
    let options = ImportOptions { format: args.format.0, user_id: args.user.clone() };
    let mut report = ImportReport::default();
    if !paths.is_empty() {
        report = with_progress(&engine, &paths, &options)?;
    }
    if let Some(input) = input {
        add(&mut report, import_stdin(&engine, &input, &options)?);
    }
    if out.is_json() {
        out.json(&report)?;
    } else {
        write_report(&report, out)?;
    }
    out.flush()?;
    outcome(&report)
}

/// Something was recorded, or is there already; or what stood in the way is said.
fn outcome(report: &ImportReport) -> Result<Outcome> {
    let reason = match report.skipped.first() {
        _ if report.recorded.sessions + report.unchanged > 0 => return Ok(Outcome::Fine),
        Some(skipped) => format!("{}: {}", skipped.file, skipped.reason),
        None => String::from("no conversation was found"),
    };
    Err(Failure::words(format!("nothing was imported: {reason}")))
}

fn check_path(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(Failure::words(format!("{}: no such file or folder", path.display())))
        }
        Err(error) => Err(Failure::words(format!("{}: {error}", path.display()))),
    }
}

fn read_stdin() -> Result<Vec<u8>> {
    let mut input = Vec::new();
    let read = io::stdin().lock().read_to_end(&mut input);
    read.map_err(|error| Failure::words(format!("standard input: {error}")))?;
    if input.trim_ascii().is_empty() {
        return Err(Failure::words("standard input is empty: nothing to import"));
    }
    Ok(input)
}

/// Imports text without a name. A conversation that has no id gets one of the text's own: the
/// same text is the same session, and another one does not run into it.
fn import_stdin(engine: &Engine, input: &[u8], options: &ImportOptions) -> Result<ImportReport> {
    let name = format!("stdin-{}", EventId::derive(&[input]));
    let mut report = import_text(engine, &name, input, options)?;
    report.skipped.iter_mut().for_each(|skipped| STDIN_NAME.clone_into(&mut skipped.file));
    Ok(report)
}

/// Imports files, with a bar where standard error is a terminal.
fn with_progress(
    engine: &Engine,
    paths: &[PathBuf],
    options: &ImportOptions,
) -> Result<ImportReport> {
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
    let report = import_paths(engine, paths, options, &mut show);
    bar.finish_and_clear();
    Ok(report?)
}

fn add(total: &mut ImportReport, more: ImportReport) {
    total.recorded += more.recorded;
    total.found += more.found;
    total.files += more.files;
    total.unchanged += more.unchanged;
    for (kind, count) in more.ignored {
        *total.ignored.entry(kind).or_default() += count;
    }
    total.skipped.extend(more.skipped);
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
    format!("{sessions}, {runs}, {messages}, {calls}, {results}")
}
