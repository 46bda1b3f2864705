//! A session step by step: what each event changed, and what it came to.

use std::io::Write;

use serde_json::{Value, json};
use sessionlog::{EventBody, Session, SessionView, Step};

use super::args::{Global, ReplayArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::Output;
use super::{event_text, sheet, text};

pub(super) fn run(global: &Global, args: &ReplayArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    let end = session.at(args.to.clone())?;
    let steps = steps(&session, end.seq())?;
    if out.is_json() {
        out.json_list("steps", steps.map(|step| step.map(|step| step_json(&step))))?;
        return Ok(Outcome::Fine);
    }
    let mut seen = Seen::default();
    for step in steps {
        let Step { event, view, .. } = step?;
        let changed = seen.change_to(Seen::of(&view), &event.body);
        let kind = event.body.kind().as_str();
        let line = format!("{:>6}  {kind:<16}  {changed}", event.seq);
        out.line_in(event_text::style(&event.body), line.trim_end())?;
    }
    writeln!(out)?;
    sheet::write_view(end.view(), out)?;
    Ok(Outcome::Fine)
}

/// The steps up to a seq.
fn steps(session: &Session, last_seq: u64) -> Result<impl Iterator<Item = Result<Step>>> {
    // A session may begin behind one that was deleted, so a step's place is not its seq.
    let is_before = move |step: &sessionlog::Result<Step>| {
        step.as_ref().map_or(true, |step| step.event.seq <= last_seq)
    };
    let steps = session.replay()?.take_while(is_before);
    Ok(steps.map(|step| step.map_err(Failure::from)))
}

fn step_json(step: &Step) -> Value {
    let (event, view) = (&step.event, &step.view);
    json!({
        "seq": event.seq,
        "kind": event.body.kind().as_str(),
        "recorded_at": text::rfc3339(event.recorded_at_us),
        "view": {
            "run_count": view.run_count,
            "message_count": view.message_count,
            "tool_call_count": view.tool_call_count,
            "open_run_count": view.open_runs.len(),
            "user_id": view.user_id,
            "name": view.name,
            "state": view.state,
            "metadata": view.metadata,
            "metrics": view.metrics,
            "summary": view.summary().map(|summary| &summary.summary),
        },
    })
}

/// What of a view is watched from step to step. Small, so that no step copies a view.
#[derive(Default)]
struct Seen {
    counts: [(&'static str, u64); 4],
}

impl Seen {
    fn of(view: &SessionView) -> Self {
        let counts = [
            ("runs", view.run_count),
            ("messages", view.message_count),
            ("tool calls", view.tool_call_count),
            ("tokens", view.metrics.total_tokens),
        ];
        Self { counts }
    }

    /// Says what is different, and remembers it.
    fn change_to(&mut self, now: Self, body: &EventBody) -> String {
        let counts = now.counts.iter().zip(&self.counts).filter(|(now, before)| now.1 != before.1);
        let mut changed: Vec<String> =
            counts.map(|(now, before)| format!("{} {} -> {}", now.0, before.1, now.1)).collect();
        let words = match body {
            EventBody::StateChanged(state) => Some(event_text::changes(&state.ops)),
            EventBody::RunFinished(finished) => Some(finished.status.to_string()),
            EventBody::RunStarted(_) => None,
            body => Some(event_text::words(body)),
        };
        changed.extend(words.filter(|words| !words.is_empty()));
        *self = now;
        changed.join(", ")
    }
}
