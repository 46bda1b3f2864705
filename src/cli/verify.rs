//! Whether everything that is stored still holds together.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sessionlog::{Engine, Report};

use super::args::{Global, VerifyArgs};
use super::failure::{Outcome, Result};
use super::output::{BAD, GOOD, Output};
use super::text;

const REDRAW: Duration = Duration::from_millis(100);

pub(super) fn run(global: &Global, args: &VerifyArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let report = if args.sessions.is_empty() {
        check_all(&engine)?
    } else {
        engine.verify_sessions(&args.sessions)?
    };
    if out.is_json() {
        out.json(&report)?;
    } else {
        write_report(&report, out)?;
    }
    Ok(if report.ok { Outcome::Fine } else { Outcome::Troubled })
}

/// Checks everything, with a progress line where standard error is a terminal.
fn check_all(engine: &Engine) -> Result<Report> {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} events checked") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    let report = engine.verify_with(&mut |events| bar.set_position(events));
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
