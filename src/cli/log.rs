//! The events themselves.

use std::collections::HashMap;

use serde::Serialize;
use sessionlog::{
    Digest, ErrorKind, Event, EventBody, Json, Point, RunResumed, RunStarted, Session,
};

use super::args::{Global, LogArgs};
use super::event_text;
use super::failure::{Failure, Outcome, Result};
use super::follow::follow;
use super::output::Output;
use super::text;

pub(super) fn run(global: &Global, args: &LogArgs, out: &mut Output) -> Result<Outcome> {
    if args.follow {
        return follow_events(global, args, out);
    }
    let session = global.session(&args.session)?;
    let head = session.seq()?;
    let last_seq = args.to.map_or(head, |to| to.min(head));
    let events = session.events_from(args.from, Point::seq(last_seq))?;
    let events = events.map(|event| event.map_err(Failure::from));
    if out.is_json() {
        let mut runs = RunNames::before(&session, args.from.min(head))?;
        out.json_list("events", events.map(|event| event.map(|event| runs.entry(&event))))?;
        return Ok(Outcome::Fine);
    }
    for event in events {
        write_event(&event?, out)?;
    }
    Ok(Outcome::Fine)
}

fn follow_events(global: &Global, args: &LogArgs, out: &mut Output) -> Result<Outcome> {
    let mut runs = None;
    follow(global, &args.session, args.from, out, |session, event, out| {
        if !out.is_json() {
            return write_event(event, out);
        }
        let runs = match &mut runs {
            Some(runs) => runs,
            none => none.insert(RunNames::before(session, event.seq)?),
        };
        out.json(&runs.entry(event))
    })?;
    Ok(Outcome::Fine)
}

fn write_event(event: &Event, out: &mut Output) -> Result<()> {
    let (seq, kind) = (event.seq, event.body.kind().as_str());
    let (at, words) = (text::time(event.recorded_at_us), event_text::words(&event.body));
    let line = format!("{seq:>6}  {at}  {kind:<16}  {words}");
    out.line_in(event_text::style(&event.body), line.trim_end())
}

/// An event as JSON.
#[derive(Serialize)]
struct LogEntry {
    seq: u64,
    position: u64,
    event_id: String,
    recorded_at: String,
    kind: &'static str,
    /// The run's digest where its name is out of sight.
    run_id: Option<String>,
    body: Json,
}

/// Which run a digest stands for. Only its start and its resumption say its name.
struct RunNames(HashMap<Digest, String>);

impl RunNames {
    /// The runs that are under way before a seq.
    fn before(session: &Session, seq: u64) -> Result<Self> {
        let view = match session.at(Point::seq(seq.saturating_sub(1))) {
            Ok(at) => at.into_view(),
            // The session begins behind one that was deleted.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                return Ok(Self(HashMap::new()));
            }
            Err(error) => return Err(error.into()),
        };
        let open = view.open_runs.into_values();
        Ok(Self(open.map(|run| (Digest::of_run(&run.run_id), run.run_id)).collect()))
    }

    fn entry(&mut self, event: &Event) -> LogEntry {
        match &event.body {
            EventBody::RunStarted(RunStarted { run_id, .. })
            | EventBody::RunResumed(RunResumed { run_id, .. }) => {
                self.0.insert(event.run, run_id.clone());
            }
            _ => {}
        }
        let name = || self.0.get(&event.run).cloned().unwrap_or_else(|| event.run.to_string());
        LogEntry {
            seq: event.seq,
            position: event.position,
            event_id: event.id.to_string(),
            recorded_at: text::rfc3339(event.recorded_at_us),
            kind: event.body.kind().as_str(),
            run_id: (!event.run.is_none()).then(name),
            body: event.body.to_json(),
        }
    }
}
