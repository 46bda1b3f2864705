//! What sessions are about, written by a model or read back.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use sessionlog::{Engine, Error, Metrics, ModelOutage, Session, Summary, SummaryPlan, limits};

use super::args::{Global, SummarizeArgs};
use super::compact::without_repeats;
use super::failure::{Failure, Outcome, Result};
use super::output::{BAD, FAINT, LABEL, Output, sessions_bar};
use super::{database, models, text};

/// What became of one session.
#[derive(Serialize)]
struct Done {
    session_id: String,
    /// `written`, `unchanged` or `failed`.
    outcome: &'static str,
    /// The last of those that were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Summary>,
    /// How many were written: of a long session several, one after the other.
    summaries: u64,
    /// What all of them took.
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Done {
    /// Sums up one session. What was written before a failure is told beside it.
    fn summarize(
        engine: &Engine,
        session_id: &str,
        summarize: impl FnOnce(Session, &mut dyn FnMut(&Summary)) -> sessionlog::Result<()>,
    ) -> (Self, sessionlog::Result<()>) {
        let (mut summary, mut summaries, mut metrics) = (None, 0, Metrics::default());
        let mut note = |written: &Summary| {
            summaries += 1;
            metrics.add(&written.metrics.unwrap_or_default());
            summary = Some(written.clone());
        };
        let session = engine.session(session_id).admin().open_existing();
        let ended = session.and_then(|session| summarize(session, &mut note));
        let outcome = match &ended {
            Err(_) => "failed",
            Ok(()) if summaries > 0 => "written",
            Ok(()) => "unchanged",
        };
        let error = ended.as_ref().err().map(ToString::to_string);
        let session_id = session_id.to_owned();
        (Self { session_id, outcome, summary, summaries, metrics, error }, ended)
    }
}

/// All of them together.
#[derive(Serialize, Default)]
struct Total {
    written: u64,
    unchanged: u64,
    failed: u64,
    /// Those that were left, because the model cannot be asked at all.
    not_done: usize,
    /// What all that was written took.
    metrics: Metrics,
}

pub(super) fn run(global: &Global, args: &SummarizeArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let ids = if args.all {
        database::session_ids(&engine)?
    } else {
        without_repeats(&args.sessions).into_iter().cloned().collect()
    };
    // Nothing is done where one of them is not there.
    if !args.all {
        ids.iter().try_for_each(|id| database::session(&engine, id).map(drop))?;
    }
    if args.show || args.history {
        return show(&engine, &ids, args.history, out);
    }
    if args.withdraw {
        return withdraw(&engine, &ids, out);
    }
    if args.dry_run {
        return plan(&engine, &ids, args.min_runs, out);
    }
    write(&engine, &ids, args, out)
}

fn show(engine: &Engine, ids: &[String], has_history: bool, out: &mut Output) -> Result<Outcome> {
    let summaries = ids.iter().map(|id| -> Result<_> {
        let session = database::session(engine, id)?;
        let (mut summaries, mut older) = (session.summaries()?, Vec::new());
        if has_history {
            older = session.older_summaries()?;
        } else {
            summaries.drain(..summaries.len().saturating_sub(1));
        }
        Ok((id, summaries, older))
    });
    if out.is_json() {
        let sessions = summaries.map(|found| {
            let (id, mut summaries, older) = found?;
            Ok(if has_history {
                json!({ "session_id": id, "summaries": summaries, "older": older })
            } else {
                json!({ "session_id": id, "summary": summaries.pop() })
            })
        });
        out.json_list("sessions", sessions)?;
        return Ok(Outcome::Fine);
    }
    for found in summaries {
        let (id, summaries, older) = found?;
        if !older.is_empty() {
            let (id, count) = (text::one_line(id), older.len());
            writeln!(out, "{LABEL}{id}{LABEL:#}: {count} more that are older, in its log only")?;
        }
        if summaries.is_empty() {
            writeln!(out, "{LABEL}{}{LABEL:#}: no summary", text::one_line(id))?;
        }
        for summary in &summaries {
            write_summary(id, summary, out)?;
        }
    }
    Ok(Outcome::Fine)
}

fn withdraw(engine: &Engine, ids: &[String], out: &mut Output) -> Result<Outcome> {
    let mut withdrawn = Vec::new();
    for id in ids {
        let session = database::session(engine, id)?;
        let seq = session.summary()?.map(|summary| summary.seq);
        if let Some(seq) = seq {
            session.withdraw_summary(seq)?.wait()?;
        }
        withdrawn.push((id, seq, session.summary()?));
    }
    if out.is_json() {
        let sessions = withdrawn
            .iter()
            .map(|(id, seq, left)| json!({ "session_id": id, "withdrawn": seq, "summary": left }));
        out.json(&json!({ "sessions": sessions.collect::<Vec<_>>() }))?;
        return Ok(Outcome::Fine);
    }
    for (id, seq, left) in &withdrawn {
        let id = text::one_line(id);
        let words = match (seq, left) {
            (None, _) => String::from("no summary to take back"),
            (Some(seq), None) => format!("took back the one of seq {seq}, none is left"),
            (Some(seq), Some(left)) => {
                format!("took back the one of seq {seq}, now that of seq {} holds", left.seq)
            }
        };
        writeln!(out, "{id}: {words}")?;
    }
    Ok(Outcome::Fine)
}

fn plan(engine: &Engine, ids: &[String], min_runs: u64, out: &mut Output) -> Result<Outcome> {
    let mut plans: Vec<(&String, Option<SummaryPlan>)> = Vec::new();
    for id in ids {
        let plan = database::session(engine, id)?.summary_plan()?;
        plans.push((id, plan.filter(|plan| plan.runs >= min_runs)));
    }
    if out.is_json() {
        let sessions = plans.iter().map(|(id, plan)| {
            let plan = plan.map(|plan| {
                json!({
                    "first_seq": plan.first_seq, "last_seq": plan.last_seq, "runs": plan.runs,
                    "messages": plan.messages, "bytes": plan.bytes, "calls": plan.calls,
                })
            });
            json!({ "session_id": id, "plan": plan })
        });
        out.json(&json!({ "dry_run": true, "sessions": sessions.collect::<Vec<_>>() }))?;
        return Ok(Outcome::Fine);
    }
    let due: Vec<_> = plans.iter().filter_map(|(id, plan)| Some((*id, (*plan)?))).collect();
    let rows = due.iter().map(|(id, plan)| {
        let counts = [plan.runs, plan.messages].map(text::grouped);
        let [runs, messages] = counts;
        let seqs = format!("{}-{}", plan.first_seq, plan.last_seq);
        vec![
            (*id).clone(),
            seqs,
            runs,
            messages,
            text::bytes(plan.bytes),
            text::grouped(plan.calls),
        ]
    });
    if !due.is_empty() {
        out.table(&["SESSION", "SEQS", "RUNS", "MESSAGES", "TEXT", "CALLS"], 1..6, 0..1, rows)?;
    }
    let sessions = text::count(plans.len() as u64, "session");
    writeln!(out, "would summarize {} of {sessions}", text::grouped(due.len() as u64))?;
    Ok(Outcome::Fine)
}

fn write(
    engine: &Engine,
    ids: &[String],
    args: &SummarizeArgs,
    out: &mut Output,
) -> Result<Outcome> {
    let prompt = args.prompt.as_deref().map(read_prompt).transpose()?;
    let model = models::connect(&args.model)?;
    let bar = sessions_bar(ids.len() as u64);
    let (mut done, mut ended) = (Vec::new(), None);
    let outage = ModelOutage::default();
    for id in ids {
        let (one, summarized) = Done::summarize(engine, id, |session, told| {
            let mut summarizer = session.summarizer(Arc::clone(&model)).min_runs(args.min_runs);
            if let Some(prompt) = &prompt {
                summarizer = summarizer.prompt(prompt);
            }
            summarizer.run_telling(told).map(drop)
        });
        if one.summaries > 0 {
            outage.answered();
        }
        match summarized.map_err(|error| outage.failed(error)) {
            // Of one session of which nothing was written there is nothing else to tell.
            Err(error) if ids.len() == 1 && one.summaries == 0 => {
                bar.finish_and_clear();
                return Err(error.into());
            }
            Err(error) if error.is_model_unavailable() => {
                if one.summaries > 0 {
                    done.push(one);
                }
                ended = Some(error);
                break;
            }
            _ => done.push(one),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let not_done = ids.len() - done.len();
    let outcome = report(&done, not_done, ended.as_ref(), out)?;
    match ended {
        Some(error) => Err(Failure::ended("session", done.len(), not_done, error)),
        None => Ok(outcome),
    }
}

/// The file's text; of one that is too long so much that it is refused.
fn read_prompt(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(limits::PROMPT_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| Failure::io(path.display(), &error))?;
    if text.trim().is_empty() {
        return Err(Failure::words(format!("{}: an empty prompt", path.display())));
    }
    Ok(text)
}

fn report(
    done: &[Done],
    not_done: usize,
    ended: Option<&Error>,
    out: &mut Output,
) -> Result<Outcome> {
    let mut total = Total { not_done, ..Total::default() };
    for one in done {
        match one.outcome {
            "written" => total.written += 1,
            "failed" => total.failed += 1,
            _ => total.unchanged += 1,
        }
        total.metrics.add(&one.metrics);
    }
    let outcome = if total.failed > 0 { Outcome::Troubled } else { Outcome::Fine };
    if out.is_json() {
        let error = ended.map(ToString::to_string);
        out.json(&json!({ "sessions": done, "total": total, "error": error }))?;
        return Ok(outcome);
    }
    for one in done {
        if let Some(summary) = &one.summary {
            write_summary(&one.session_id, summary, out)?;
        }
        if let Some(error) = &one.error {
            out.line_in(BAD, &format!("failed: {error}"))?;
        }
    }
    if done.is_empty() && not_done > 0 {
        return Ok(outcome);
    }
    let Total { written, unchanged, failed, metrics, .. } = total;
    let tokens = text::count(metrics.total_tokens, "token");
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    writeln!(out, "{FAINT}{written} written, {unchanged} unchanged{failed}; {tokens}{FAINT:#}")?;
    Ok(outcome)
}

fn write_summary(session_id: &str, summary: &Summary, out: &mut Output) -> Result<()> {
    let by = summary.model.as_deref().map(|model| format!(", by {}", text::one_line(model)));
    let (first, last) = (summary.first_seq, summary.last_seq);
    let at = text::time(summary.updated_at_us);
    let id = text::one_line(session_id);
    let by = by.unwrap_or_default();
    writeln!(out, "{LABEL}{id}{LABEL:#} {FAINT}seq {first} to {last}, {at}{by}{FAINT:#}")?;
    writeln!(out, "{}", text::printable(&summary.summary))?;
    if !summary.topics.is_empty() {
        writeln!(out, "{FAINT}topics: {}{FAINT:#}", text::one_line(&summary.topics.join(", ")))?;
    }
    Ok(())
}
