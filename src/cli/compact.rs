//! What policies do not keep, removed from what is stored already.

use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use sessionlog::{Access, Compaction, CompactionPlan, Engine, Rewritten, SessionQuery};

use super::args::{CompactArgs, Global};
use super::database;
use super::failure::{Failure, Outcome, Result};
use super::output::{FAINT, LABEL, Output, sessions_bar};
use super::text;

const REDRAW: Duration = Duration::from_millis(100);
const HEADER: [&str; 9] =
    ["SESSION", "MESSAGES", "CALLS", "MEDIA", "RUNS", "BEFORE", "AFTER", "SAVED", "FORKS KEEP"];

/// What was done, or would be.
#[derive(Serialize)]
struct Report {
    dry_run: bool,
    sessions: Vec<CompactionPlan>,
    total: Total,
    #[serde(skip_serializing_if = "Option::is_none")]
    rewritten: Option<Rewritten>,
}

/// All sessions together.
#[derive(Default, Serialize)]
pub(super) struct Total {
    /// Those that change.
    sessions: u64,
    events: u64,
    messages: u64,
    tool_calls: u64,
    media: u64,
    runs_reduced: u64,
    runs_dropped: u64,
    bytes_before: u64,
    bytes_after: u64,
    blob_bytes: u64,
    bytes_saved: u64,
    kept_for_forks: u64,
}

pub(super) fn run(global: &Global, args: &CompactArgs, out: &mut Output) -> Result<Outcome> {
    if args.rewrite && global.salvage {
        return Err(Failure::words("--rewrite: with --salvage a database is only read"));
    }
    let mut sessions = Vec::new();
    let mut done = Ok(());
    if args.has_sessions() {
        // Closed behind it, as a rewrite needs it.
        done = compact(&global.open()?, args, &mut sessions);
        if sessions.is_empty() {
            // Nothing was done that could be told.
            done?;
            done = Ok(());
        }
        if !out.is_json() {
            write_plans(&sessions, args.dry_run, out)?;
        }
    }
    let rewritten = match done {
        Ok(()) if args.rewrite => rewrite(global).map(Some),
        other => other.map(|()| None),
    };
    if out.is_json() {
        let rewritten = rewritten.as_ref().ok().copied().flatten();
        let total = Total::of(&sessions);
        out.json(&Report { dry_run: args.dry_run, sessions, total, rewritten })?;
    } else if let Ok(Some(rewritten)) = &rewritten {
        write_rewritten(rewritten, out)?;
    }
    rewritten.map(|_| Outcome::Fine)
}

/// Plans or does it. What was done before a failure stands in the list all the same.
fn compact(engine: &Engine, args: &CompactArgs, done: &mut Vec<CompactionPlan>) -> Result<()> {
    for session_id in &args.sessions {
        database::session(engine, session_id)?;
    }
    let mut compaction = engine.compaction().policy(args.policy());
    if !args.all {
        compaction = compaction.sessions(without_repeats(&args.sessions));
    }
    if args.dry_run {
        *done = compaction.plan()?;
        return Ok(());
    }
    let sessions = if args.all {
        engine.sessions(&SessionQuery::new(Access::Admin).limit(1))?.total
    } else {
        args.sessions.len() as u64
    };
    run_with_progress(&compaction, sessions, done)
}

/// The ids, each once, in their order.
pub(super) fn without_repeats(ids: &[String]) -> Vec<&String> {
    let mut seen = std::collections::HashSet::new();
    ids.iter().filter(|id| seen.insert(*id)).collect()
}

fn run_with_progress(
    compaction: &Compaction,
    sessions: u64,
    done: &mut Vec<CompactionPlan>,
) -> Result<()> {
    let bar = sessions_bar(sessions);
    let compacted = compaction.run_with(&mut |one| {
        bar.inc(1);
        done.push(one.clone());
    });
    bar.finish_and_clear();
    Ok(compacted?)
}

fn rewrite(global: &Global) -> Result<Rewritten> {
    let builder = database::sealed(Engine::builder(), global)?;
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {human_pos} records rewritten") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(REDRAW);
    let rewritten = builder.rewrite_with(&global.db, &mut |records| bar.set_position(records));
    bar.finish_and_clear();
    Ok(rewritten?)
}

/// A table of the sessions that change, and what that comes to.
pub(super) fn write_plans(
    plans: &[CompactionPlan],
    is_planned: bool,
    out: &mut Output,
) -> Result<()> {
    let total = Total::of(plans);
    let concerned = |plan: &&CompactionPlan| !plan.is_empty() || plan.kept_for_forks > 0;
    let mut rows: Vec<Vec<String>> = plans
        .iter()
        .filter(concerned)
        .map(|plan| Total::default().add(plan).row(&plan.session_id))
        .collect();
    if rows.len() > 1 {
        rows.push(total.row("all of them"));
    }
    // Most sessions have no forks: a line is short enough for most terminals without them.
    let columns = if total.kept_for_forks > 0 { HEADER.len() } else { HEADER.len() - 1 };
    let header: Vec<&str> = HEADER.into_iter().take(columns).collect();
    for row in &mut rows {
        row.truncate(columns);
    }
    if !rows.is_empty() {
        out.table(&header, 1..columns, 0..1, rows)?;
    }
    let looked_at = text::count(plans.len() as u64, "session");
    if total.sessions == 0 {
        return Ok(writeln!(out, "nothing to remove in {looked_at}")?);
    }
    let saved = text::bytes(total.bytes_saved);
    let word = if is_planned { "would save" } else { "saved" };
    let events = text::count(total.events, "event");
    let changed = text::grouped(total.sessions);
    Ok(writeln!(out, "{word} {saved}: {events} in {changed} of {looked_at}")?)
}

impl Total {
    pub(super) fn of(plans: &[CompactionPlan]) -> Self {
        plans.iter().fold(Self::default(), Self::add)
    }

    fn add(self, plan: &CompactionPlan) -> Self {
        Self {
            sessions: self.sessions + u64::from(!plan.is_empty()),
            events: self.events + plan.events,
            messages: self.messages + plan.messages,
            tool_calls: self.tool_calls + plan.tool_calls,
            media: self.media + plan.media,
            runs_reduced: self.runs_reduced + plan.runs_reduced,
            runs_dropped: self.runs_dropped + plan.runs_dropped,
            bytes_before: self.bytes_before + plan.bytes_before,
            bytes_after: self.bytes_after + plan.bytes_after,
            blob_bytes: self.blob_bytes + plan.blob_bytes,
            bytes_saved: self.bytes_saved + plan.bytes_saved(),
            kept_for_forks: self.kept_for_forks + plan.kept_for_forks,
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        vec![
            name.to_owned(),
            text::grouped(self.messages),
            text::grouped(self.tool_calls),
            text::grouped(self.media),
            text::grouped(self.runs_reduced + self.runs_dropped),
            text::bytes(self.bytes_before.saturating_add(self.blob_bytes)),
            text::bytes(self.bytes_after),
            text::bytes(self.bytes_saved),
            text::grouped(self.kept_for_forks),
        ]
    }
}

fn write_rewritten(rewritten: &Rewritten, out: &mut Output) -> Result<()> {
    let (before, after) = (text::bytes(rewritten.before_bytes), text::bytes(rewritten.after_bytes));
    let records = text::count(rewritten.records, "record");
    let label = format!("{LABEL}rewritten{LABEL:#}");
    Ok(writeln!(out, "{label} from {before} to {after} {FAINT}({records}){FAINT:#}")?)
}
