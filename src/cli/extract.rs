//! Memories that a model makes of what users said.

use std::io::Write;

use serde::Serialize;
use serde_json::{Value, json};
use sessionlog::{
    Access, Cancel, Engine, Error, MemoryInput, MemoryManager, MemoryUpdate, Metrics, ModelOutage,
    Session,
};

use super::args::MemoryExtractArgs;
use super::compact::without_repeats;
use super::failure::{Failure, Outcome, Result};
use super::output::{BAD, FAINT, LABEL, Output, bar_of};
use super::{database, models, text};

/// A message that is to be read, and where it stands.
struct Input {
    session: Session,
    message: MemoryInput,
}

/// What became of one message.
#[derive(Serialize)]
struct Done {
    session_id: String,
    seq: u64,
    /// `learned`, `nothing` or `failed`.
    outcome: &'static str,
    /// The memories that were added, changed or deleted.
    memory_ids: Vec<String>,
    /// What the model asked for and did not get.
    refused: Vec<String>,
    metrics: Metrics,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// What the memories say that are there afterwards.
    #[serde(skip)]
    texts: Vec<String>,
}

pub(super) fn run(engine: &Engine, args: &MemoryExtractArgs, out: &mut Output) -> Result<Outcome> {
    let (inputs, has_more) = inputs(engine, args)?;
    if args.dry_run {
        return plan(&inputs, has_more, out);
    }
    let manager = MemoryManager::new(models::connect(&args.model)?);
    let bar = bar_of(inputs.len() as u64, "messages");
    let (mut done, mut ended) = (Vec::new(), None);
    let outage = ModelOutage::default();
    for input in &inputs {
        let seq = input.message.seq;
        let update = manager.update_memory_from(&input.session, seq, &Cancel::never());
        if update.is_ok() {
            outage.answered();
        }
        match update.map_err(|error| outage.failed(error)) {
            Err(error) if error.is_model_unavailable() => {
                ended = Some(error);
                break;
            }
            update => done.push(Done::of(input, update)),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    let not_done = inputs.len() - done.len();
    let outcome = report(&done, not_done, has_more, ended.as_ref(), out)?;
    match ended {
        Some(error) => Err(Failure::ended("message", done.len(), not_done, error)),
        None => Ok(outcome),
    }
}

/// The messages that were not read yet, as many as are asked for, and whether there are more.
fn inputs(engine: &Engine, args: &MemoryExtractArgs) -> Result<(Vec<Input>, bool)> {
    let sessions = match &args.user {
        Some(user) => database::session_ids_of(engine, Access::User(user.clone()))?,
        None => without_repeats(&args.sessions).into_iter().cloned().collect(),
    };
    // Nothing is done where one of them is not there.
    let sessions = sessions.iter().map(|id| database::session(engine, id));
    let mut inputs = Vec::new();
    for session in sessions.collect::<Result<Vec<Session>>>()? {
        // One more than is asked for tells whether there are more.
        let room = (args.limit + 1).saturating_sub(inputs.len());
        let messages = session.memory_inputs(room)?.into_iter();
        inputs.extend(messages.map(|message| Input { session: session.clone(), message }));
        if inputs.len() > args.limit {
            break;
        }
    }
    let has_more = inputs.len() > args.limit;
    inputs.truncate(args.limit);
    Ok((inputs, has_more))
}

fn plan(inputs: &[Input], has_more: bool, out: &mut Output) -> Result<Outcome> {
    if out.is_json() {
        let messages = inputs.iter().map(|input| {
            let MemoryInput { seq, text, .. } = &input.message;
            json!({ "session_id": input.session.id(), "seq": seq, "text": text })
        });
        let messages: Vec<Value> = messages.collect();
        out.json(&json!({ "dry_run": true, "messages": messages, "has_more": has_more }))?;
        return Ok(Outcome::Fine);
    }
    let rows = inputs.iter().map(|input| {
        let MemoryInput { seq, text, .. } = &input.message;
        vec![input.session.id().to_owned(), seq.to_string(), text.clone()]
    });
    if !inputs.is_empty() {
        out.table(&["SESSION", "SEQ", "MESSAGE"], 1..2, 2..3, rows)?;
    }
    writeln!(out, "would read {}", text::count(inputs.len() as u64, "message"))?;
    write_more(has_more, out)?;
    Ok(Outcome::Fine)
}

impl Done {
    fn of(input: &Input, update: sessionlog::Result<MemoryUpdate>) -> Self {
        let (update, error) = match update {
            Ok(update) => (update, None),
            Err(error) => (MemoryUpdate::default(), Some(error.to_string())),
        };
        let outcome = match &error {
            Some(_) => "failed",
            None if update.memory_ids.is_empty() => "nothing",
            None => "learned",
        };
        let memories = input.session.memories();
        let text = |id: &String| Some(memories.as_ref().ok()?.get(id).ok()?.memory);
        Self {
            session_id: input.session.id().to_owned(),
            seq: input.message.seq,
            outcome,
            texts: update.memory_ids.iter().filter_map(text).collect(),
            memory_ids: update.memory_ids,
            refused: update.refused,
            metrics: update.metrics,
            error,
        }
    }
}

fn report(
    done: &[Done],
    not_done: usize,
    has_more: bool,
    ended: Option<&Error>,
    out: &mut Output,
) -> Result<Outcome> {
    let failed = done.iter().filter(|one| one.error.is_some()).count();
    let mut spent = Metrics::default();
    for one in done {
        spent.add(&one.metrics);
    }
    let outcome = if failed > 0 { Outcome::Troubled } else { Outcome::Fine };
    if out.is_json() {
        out.json(&json!({
            "messages": done, "failed": failed, "not_done": not_done, "has_more": has_more,
            "error": ended.map(ToString::to_string), "metrics": spent,
        }))?;
        return Ok(outcome);
    }
    if done.is_empty() && not_done > 0 {
        return Ok(outcome);
    }
    for one in done {
        write_one(one, out)?;
    }
    let changed: usize = done.iter().map(|one| one.memory_ids.len()).sum();
    let read = text::count(done.len() as u64, "message");
    let (changed, tokens) =
        (text::count(changed as u64, "change"), text::count(spent.total_tokens, "token"));
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    writeln!(out, "{FAINT}{read} read{failed}, {changed} of memories; {tokens}{FAINT:#}")?;
    write_more(has_more, out)?;
    Ok(outcome)
}

fn write_one(one: &Done, out: &mut Output) -> Result<()> {
    if let Some(error) = &one.error {
        return out.line_in(BAD, &format!("failed: {error}"));
    }
    if one.memory_ids.is_empty() && one.refused.is_empty() {
        return Ok(());
    }
    writeln!(out, "{LABEL}{} seq {}{LABEL:#}", text::one_line(&one.session_id), one.seq)?;
    for memory in &one.texts {
        out.line(&format!("  {memory}"))?;
    }
    if let Some(gone @ 1..) = one.memory_ids.len().checked_sub(one.texts.len()) {
        writeln!(out, "  {FAINT}{gone} deleted{FAINT:#}")?;
    }
    for reason in &one.refused {
        out.line_in(FAINT, &format!("  refused to the model: {reason}"))?;
    }
    Ok(())
}

fn write_more(has_more: bool, out: &mut Output) -> Result<()> {
    if has_more {
        writeln!(out, "{FAINT}more are left: asked again, it goes on{FAINT:#}")?;
    }
    Ok(())
}
