//! A complete dump of a session, or of a user's memories: one event a line, to be read, and the
//! stored bytes of it, to be taken over into another database with the same links.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::conversation::Parsed;
use super::export::Recorded;
use super::format::{FormatSpec, Sign};
use super::report::Counts;
use super::source::Source;
use crate::clock::rfc3339;
use crate::engine::{Holder, Memories, StoredEvent};
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::json::{Field, Json, JsonObject};
use crate::message::MediaRef;

pub(super) const FORMAT: FormatSpec =
    FormatSpec { name: "jsonl", recognise, read, write: Some(write), reserved: None };

fn recognise(record: &JsonObject) -> Sign {
    let has = |names: &[&str]| names.iter().all(|name| record.get(name).is_some());
    let is_event = has(&["seq", "link", "frame"]);
    if is_event && HOLDERS.iter().any(|name| has(&[name])) || has(&["blob", "size", "data"]) {
        Sign::Certain
    } else {
        Sign::None
    }
}

/// The members that say what an event lies in: a session's id, or a user's.
const HOLDERS: [&str; 2] = ["session_id", "memories_of"];

/// The events of a user's memories, none where there are none.
pub(super) fn write_memories(memories: &Memories) -> Result<Vec<Json>> {
    memories.stored_events()?.map(|event| Ok(line(&event?))).collect()
}

fn write(recorded: &Recorded) -> Result<Vec<Json>> {
    let session = recorded.now.session();
    let streams = session.media_streams()?;
    let (mut lines, mut written) = (Vec::new(), HashSet::new());
    for event in session.stored_events()? {
        let event = event?;
        for reference in event.references() {
            if written.insert(reference.digest()) {
                lines.push(blob_line(&reference, &session.read_media(&streams, &reference)?));
            }
        }
        lines.push(line(&event));
    }
    Ok(lines)
}

/// The media that an event refers to come in front of it.
fn blob_line(reference: &MediaRef, bytes: &[u8]) -> Json {
    let digest = blake3::Hash::from_bytes(reference.digest()).to_hex().to_string();
    let members = [
        ("blob", json!(digest).into()),
        ("size", json!(reference.size()).into()),
        ("data", json!(BASE64_STANDARD.encode(bytes)).into()),
    ];
    let fields = members.map(|(name, value)| Field { name: name.to_owned(), value });
    JsonObject(fields.into()).to_json()
}

/// A line that holds a medium: its digest and its bytes.
fn blob(text: &str) -> Option<Result<([u8; 32], Vec<u8>)>> {
    let record = JsonObject::parse(text).ok()?;
    let name = record.get("blob")?.to_value();
    let data = record.get("data").map(Json::to_value).unwrap_or_default();
    let read = || {
        let bytes = BASE64_STANDARD
            .decode(data.as_str().unwrap_or_default())
            .map_err(|error| Error::invalid(format!("its data is no base64: {error}")))?;
        let digest = blake3::hash(&bytes);
        if name.as_str() != Some(digest.to_hex().as_str()) {
            return Err(Error::invalid("its bytes are not those of its digest"));
        }
        Ok((*digest.as_bytes(), bytes))
    };
    Some(read())
}

fn line(stored: &StoredEvent) -> Json {
    let event = &stored.event;
    let holder = match &stored.holder {
        Holder::Session(session_id) => ("session_id", session_id),
        Holder::Memories(user_id) => ("memories_of", user_id),
    };
    let members = [
        (holder.0, json!(holder.1).into()),
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
    let (mut events, mut blobs) = (Vec::new(), HashMap::new());
    for record in &source.records {
        if let Some(blob) = blob(record.text) {
            match blob {
                Ok((digest, bytes)) => drop(blobs.insert(digest, bytes)),
                Err(error) => parsed.broken.push(record.place.broken(error.to_string())),
            }
            continue;
        }
        match event(record.text) {
            Ok(event) => events.push((record.place.line(), event)),
            Err(error) => parsed.broken.push(record.place.broken(error.to_string())),
        }
    }
    parsed.dumped = streams(events);
    let blobs = Arc::new(blobs);
    parsed.dumped.iter_mut().for_each(|dumped| dumped.blobs = Arc::clone(&blobs));
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
    let holder = match record.get("memories_of") {
        Some(_) => Holder::Memories(text_of("memories_of")?),
        None => Holder::Session(text_of("session_id")?),
    };
    let stored = StoredEvent::parse(&holder, &frame)?;
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
    /// The media of the whole file, by digest.
    pub(super) blobs: Arc<HashMap<[u8; 32], Vec<u8>>>,
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
            forked_at.insert((holder.holder.clone(), forked.seq));
        }
        match streams.last_mut() {
            Some(stream) if stream.goes_on_with(&event) => stream.events.push(event),
            _ => streams.push(Dumped { line, events: vec![event], blobs: Arc::default(), cut: 0 }),
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
        let is_memories =
            self.events.first().is_some_and(|it| matches!(it.holder, Holder::Memories(_)));
        let [sessions, memory_users] = [!is_memories, is_memories].map(u64::from);
        let mut counts = Counts { sessions, memory_users, ..Counts::default() };
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
            last.holder == next.holder && next.event.seq.checked_sub(1) == Some(last.event.seq)
        })
    }

    /// A commit is there whole or not at all, also where a file was cut. Only what a fork shares
    /// may end anywhere.
    fn leave_out_half_a_commit(&mut self, forked_at: &HashSet<(Holder, u64)>) {
        while let Some(last) = self.events.last() {
            let end = (last.holder.clone(), last.event.seq);
            if last.ends_commit() || forked_at.contains(&end) {
                return;
            }
            self.events.pop();
            self.cut += 1;
        }
    }
}
