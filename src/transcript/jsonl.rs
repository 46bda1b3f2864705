//! A complete dump of a session: one event a line, to be read, and the stored bytes of it, to be
//! taken over into another database with the same links.

use std::collections::HashSet;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::conversation::Parsed;
use super::export::Recorded;
use super::format::{FormatSpec, Sign};
use super::report::Counts;
use super::source::Source;
use crate::clock::rfc3339;
use crate::engine::StoredEvent;
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::json::{Field, Json, JsonObject};

pub(super) const FORMAT: FormatSpec =
    FormatSpec { name: "jsonl", recognise, read, write: Some(write), reserved: None };

fn recognise(record: &JsonObject) -> Sign {
    let is_event =
        ["session_id", "seq", "link", "frame"].iter().all(|name| record.get(name).is_some());
    if is_event { Sign::Certain } else { Sign::None }
}

fn write(recorded: &Recorded) -> Result<Vec<Json>> {
    recorded.now.session().stored_events()?.map(|event| event.map(|event| line(&event))).collect()
}

fn line(stored: &StoredEvent) -> Json {
    let event = &stored.event;
    let members = [
        ("session_id", json!(stored.session_id).into()),
        ("seq", json!(event.seq).into()),
        ("kind", json!(event.body.kind().as_str()).into()),
        ("recorded_at", json!(rfc3339(event.recorded_at_us)).into()),
        ("event_id", json!(event.id.to_string()).into()),
        ("link", json!(stored.link).into()),
        ("body", event.body.to_json()),
        ("frame", json!(BASE64_STANDARD.encode(&stored.frame)).into()),
    ];
    let fields = members.map(|(name, value)| Field { name: name.to_owned(), value });
    JsonObject(fields.into()).to_json()
}

fn read(source: &Source<'_>, _stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut events = Vec::new();
    for record in &source.records {
        match event(record.text) {
            Ok(event) => events.push((record.place.line(), event)),
            Err(error) => parsed.broken.push(record.place.broken(error.to_string())),
        }
    }
    parsed.dumped = streams(events);
    parsed
}

fn event(text: &str) -> Result<StoredEvent> {
    let record = JsonObject::parse(text)?;
    let text_of = |name: &str| {
        let value = record.get(name).map(Json::to_value);
        value
            .and_then(|value| value.as_str().map(str::to_owned))
            .ok_or_else(|| Error::invalid(format!("it has no {name}")))
    };
    let frame = BASE64_STANDARD
        .decode(text_of("frame")?)
        .map_err(|error| Error::invalid(format!("its frame is no base64: {error}")))?;
    let stored = StoredEvent::parse(&text_of("session_id")?, &frame)?;
    // Whoever edited what can be read has not edited the event.
    let says = |name: &str, is: Json| match record.get(name) {
        Some(said) if said.to_value() != is.to_value() => {
            Err(Error::invalid(format!("its {name} is not what its frame holds")))
        }
        _ => Ok(()),
    };
    says("seq", json!(stored.event.seq).into())?;
    says("link", json!(stored.link).into())?;
    says("kind", json!(stored.event.body.kind().as_str()).into())?;
    says("event_id", json!(stored.event.id.to_string()).into())?;
    says("recorded_at", json!(rfc3339(stored.event.recorded_at_us)).into())?;
    says("body", stored.event.body.to_json())?;
    Ok(stored)
}

/// Events of one session, in a row.
#[derive(Debug)]
pub(super) struct Dumped {
    /// The line of the first.
    pub(super) line: Option<u64>,
    pub(super) events: Vec<StoredEvent>,
    /// How many events at the end were left out, because the rest of their commit is missing.
    pub(super) cut: usize,
}

/// Puts together what belongs to one session, in the order of the file: a fork comes behind
/// what it shares.
fn streams(events: Vec<(Option<u64>, StoredEvent)>) -> Vec<Dumped> {
    // The session that what is shared lies in, and where it ends.
    let mut forked_at = HashSet::new();
    let mut streams: Vec<Dumped> = Vec::new();
    for (line, event) in events {
        if let EventBody::ForkedFrom(forked) = &event.event.body
            && let Some(holder) = streams.last().and_then(|stream| stream.events.last())
        {
            forked_at.insert((holder.session_id.clone(), forked.seq));
        }
        match streams.last_mut() {
            Some(stream) if stream.goes_on_with(&event) => stream.events.push(event),
            _ => streams.push(Dumped { line, events: vec![event], cut: 0 }),
        }
    }
    for stream in &mut streams {
        stream.leave_out_half_a_commit(&forked_at);
    }
    streams
}

impl Dumped {
    /// What the last so many of its events are.
    pub(super) fn counts(&self, events: usize) -> Counts {
        let mut counts = Counts { sessions: 1, ..Counts::default() };
        for stored in self.events.iter().rev().take(events) {
            match &stored.event.body {
                EventBody::RunStarted(_) => counts.runs += 1,
                EventBody::MessageAdded(added) => counts.add_message(&added.message),
                _ => {}
            }
        }
        counts
    }

    fn goes_on_with(&self, next: &StoredEvent) -> bool {
        self.events.last().is_some_and(|last| {
            last.session_id == next.session_id
                && next.event.seq.checked_sub(1) == Some(last.event.seq)
        })
    }

    /// A commit is there whole or not at all, also where a file was cut. Only what a fork shares
    /// may end anywhere.
    fn leave_out_half_a_commit(&mut self, forked_at: &HashSet<(String, u64)>) {
        while let Some(last) = self.events.last() {
            let end = (last.session_id.clone(), last.event.seq);
            if last.ends_commit() || forked_at.contains(&end) {
                return;
            }
            self.events.pop();
            self.cut += 1;
        }
    }
}
