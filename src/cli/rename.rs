//! A session's name, given by hand or by a model.

use std::io::Write;
use std::sync::Arc;

use serde_json::{Value, json};
use sessionlog::{Access, Engine, Error, Metrics, Model, Naming};

use super::args::{Global, RenameArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::{BAD, FAINT, Output, sessions_bar};
use super::{models, text};

pub(super) fn run(global: &Global, args: &RenameArgs, out: &mut Output) -> Result<Outcome> {
    match (&args.session, &args.name) {
        (Some(session_id), Some(name)) => by_hand(global, session_id, name, out),
        (Some(session_id), None) => {
            let session = global.session(session_id)?;
            let model = models::connect(&args.model)?;
            let named = session.name_generator(model).replace_given(args.force).run()?;
            write_one(session_id, &named, out)?;
            Ok(Outcome::Fine)
        }
        (None, _) => {
            let engine = global.open()?;
            let model = models::connect(&args.model)?;
            all(&engine, model, args, out)
        }
    }
}

fn by_hand(global: &Global, session_id: &str, name: &str, out: &mut Output) -> Result<Outcome> {
    let session = global.session(session_id)?;
    let before = session.name()?;
    let seq = session.rename(name)?.wait()?.last_seq;
    if out.is_json() {
        let id = session.id();
        out.json(&json!({ "session_id": id, "session_name": name, "seq": seq }))?;
        return Ok(Outcome::Fine);
    }
    let name = text::one_line(name);
    match before {
        Some(before) => writeln!(out, "{} is now {name:?}, was {before:?}", session.id())?,
        None => writeln!(out, "{} is now {name:?}", session.id())?,
    }
    Ok(Outcome::Fine)
}

fn record(session_id: &str, naming: &Naming) -> Value {
    match naming {
        Naming::Named { name, seq, is_by_model, metrics } => json!({
            "session_id": session_id, "outcome": "named", "session_name": name, "seq": seq,
            "is_by_model": is_by_model, "metrics": metrics,
        }),
        Naming::Kept { name } => {
            json!({ "session_id": session_id, "outcome": "kept", "session_name": name })
        }
        _ => json!({ "session_id": session_id, "outcome": "nothing", "session_name": null }),
    }
}

fn words(session_id: &str, naming: &Naming) -> String {
    let id = text::one_line(session_id);
    match naming {
        Naming::Named { name, is_by_model: true, .. } => format!("{id} is now {name:?}"),
        Naming::Named { name, .. } => {
            format!("{id} is now {name:?}, in the user's words: the model gave no name")
        }
        Naming::Kept { name } => {
            let name = text::one_line(name);
            format!("{id} stays {name:?}, which was given by hand (--force replaces it)")
        }
        _ => format!("{id} stays without a name: nothing was said in it"),
    }
}

fn write_one(session_id: &str, naming: &Naming, out: &mut Output) -> Result<()> {
    if out.is_json() {
        out.json(&record(session_id, naming))
    } else {
        Ok(writeln!(out, "{}", words(session_id, naming))?)
    }
}

fn all(
    engine: &Engine,
    model: Arc<dyn Model>,
    args: &RenameArgs,
    out: &mut Output,
) -> Result<Outcome> {
    let batch = engine.name_batch(Access::Admin, model);
    let mut batch = batch.replace_generated(args.force).replace_given(args.force);
    if let Some(jobs) = args.jobs {
        batch = batch.jobs(jobs);
    }
    let ids = batch.session_ids()?;
    let count = ids.len();
    let bar = sessions_bar(count as u64);
    let mut outcomes = Vec::new();
    let ended = batch.run_for(ids, &mut |session_id, outcome| {
        bar.inc(1);
        outcomes.push((session_id.to_owned(), outcome));
    });
    bar.finish_and_clear();
    outcomes.sort_by(|(one, _), (other, _)| one.cmp(other));
    let not_done = count - outcomes.len();
    let error = ended.as_ref().err();
    let failed = report(&outcomes, not_done, error, out)?;
    match ended {
        Err(error) => Err(Failure::ended("session", outcomes.len(), not_done, error)),
        Ok(()) if failed > 0 => Ok(Outcome::Troubled),
        Ok(()) => Ok(Outcome::Fine),
    }
}

/// Says what became of sessions, and returns how many failed.
fn report(
    outcomes: &[(String, sessionlog::Result<Naming>)],
    not_done: usize,
    ended: Option<&Error>,
    out: &mut Output,
) -> Result<usize> {
    let failed = outcomes.iter().filter(|(_, outcome)| outcome.is_err()).count();
    let mut spent = Metrics::default();
    for (_, outcome) in outcomes {
        if let Ok(Naming::Named { metrics, .. }) = outcome {
            spent.add(metrics);
        }
    }
    if out.is_json() {
        let sessions = outcomes.iter().map(|(session_id, outcome)| match outcome {
            Ok(naming) => record(session_id, naming),
            Err(error) => {
                let words = error.to_string();
                json!({ "session_id": session_id, "outcome": "failed", "error": words })
            }
        });
        let sessions: Vec<Value> = sessions.collect();
        out.json(&json!({
            "sessions": sessions, "failed": failed, "not_done": not_done,
            "error": ended.map(ToString::to_string), "metrics": spent,
        }))?;
        return Ok(failed);
    }
    for (session_id, outcome) in outcomes {
        match outcome {
            Ok(naming) => out.line(&words(session_id, naming))?,
            Err(error) => out.line_in(BAD, &format!("failed: {error}"))?,
        }
    }
    // Of a batch that ended at once there is nothing to tell but why.
    if not_done == 0 || !outcomes.is_empty() {
        let sessions = text::count(outcomes.len() as u64, "session");
        let tokens = text::count(spent.total_tokens, "token");
        writeln!(out, "{FAINT}{sessions}, {failed} failed; {tokens}{FAINT:#}")?;
    }
    Ok(failed)
}
