//! Whether everything that is stored still holds together.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sessionlog::{Engine, LogHead, Report};

use super::args::{Global, VerifyArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::{BAD, GOOD, Output};
use super::text;

const REDRAW: Duration = Duration::from_millis(100);

pub(super) fn run(global: &Global, args: &VerifyArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let report = match (args.sessions.as_slice(), &args.head) {
        ([], head) => check_all(&engine, head.as_deref())?,
        ([session_id], Some(head)) => engine.verify_session_head(session_id, head)?,
        (sessions, _) => engine.verify_sessions(sessions)?,
    };
    let shown = if out.is_json() {
        out.json(&report)
    } else {
        write_report(&report, out).and_then(|()| write_heads(&report, out))
    };
    Failure::or_seen(shown)?;
    Ok(if report.ok { Outcome::Fine } else { Outcome::Troubled })
}

/// Checks everything, with a progress line where standard error is a terminal.
fn check_all(engine: &Engine, head: Option<&str>) -> Result<Report> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} events checked") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    let progress = &mut |events| bar.set_position(events);
    let report = match head {
        Some(head) => engine.verify_head_with(head, progress),
        None => engine.verify_with(progress),
    };
    bar.finish_and_clear();
    Ok(report?)
}

/// One line a problem, and one that sums it up.
pub(super) fn write_report(report: &Report, out: &mut Output) -> Result<()> {
    let sessions = text::count(report.sessions, "session");
    let events = text::count(report.events, "event");
    for problem in &report.problems {
        writeln!(out, "{}", text::one_line(&problem.to_string()))?;
    }
    if report.ok {
        writeln!(out, "{GOOD}ok{GOOD:#}: {sessions}, {events}")?;
    } else {
        let problems = text::count(report.problems.len() as u64, "problem");
        writeln!(out, "{BAD}{problems}{BAD:#} in {sessions}, {events}")?;
    }
    Ok(())
}

/// Where the head stands that was asked for, and what to keep for the next time.
fn write_heads(report: &Report, out: &mut Output) -> Result<()> {
    if let Some(found) = report.head.filter(|_| report.ok) {
        writeln!(out, "the head stands at {found}: nothing up to there was changed")?;
    }
    if let Some(LogHead { position, link, .. }) = &report.log_head {
        writeln!(out, "head of the log, at position {position}: {link}")?;
    }
    for (session_id, link) in &report.heads {
        writeln!(out, "head of {}: {link}", text::one_line(session_id))?;
    }
    Ok(())
}
