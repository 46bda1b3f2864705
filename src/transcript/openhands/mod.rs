//! `OpenHands`' event streams: a list of actions and observations, alone or as the `history` of
//! an evaluation's output.
//!
//! An action becomes a message of whoever acts, an observation a tool's result where it answers
//! a call. Older streams name no calls: there an action is text of the model's, what it did as
//! JSON behind what it thought, and an observation is text of the user's that the person did
//! not say. Each message keeps its event under `openhands`. Times have no zone and are read as
//! UTC. Bookkeeping, a change of the agent's state for one, is counted by kind and left out.

mod event;
mod message;
mod stream;

use self::event::Event;
use self::stream::Stream;
use super::conversation::{Conversation, Parsed, digest};
use super::format::{Format, FormatSpec, Sign};
use super::source::{Broken, Place, Record, Source, elements, label_of, members, text_of};
use crate::json::{JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;

pub(super) const FORMAT: FormatSpec =
    FormatSpec { name: "openhands", recognise, read, write: None, reserved: None };

/// An event's members are common words, so a bare one is no proof.
fn recognise(record: &JsonObject) -> Sign {
    match () {
        () if record.get("messages").is_some() => Sign::None,
        () if is_output(record) => Sign::Certain,
        () if Event::is_one(record) => Sign::Likely,
        () => Sign::None,
    }
}

/// Whether a record is an output with a history of events.
fn is_output(record: &JsonObject) -> bool {
    let has = |name: &str| record.get(name).is_some();
    let history = record.get("history").and_then(|history| elements(history.as_str()));
    history.is_some_and(|history| match first(&history).and_then(members) {
        None => has("instance_id") || has("issue"),
        Some(event) => Event::is_one(&event),
    })
}

/// Reads a file: outputs with a conversation each, or the events of one.
fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let is_output = |record: &Record<'_>| {
        members(record.text).is_some_and(|record| record.get("history").is_some())
    };
    if source.records.iter().any(is_output) {
        for record in &source.records {
            match output(record, stem, &mut parsed) {
                Ok(conversation) => parsed.conversations.push(conversation),
                Err(broken) => parsed.broken.push(broken),
            }
        }
    } else {
        let mut stream = Stream::new(new(source, stem), true);
        for record in &source.records {
            if let Err(reason) = stream.add(record.text) {
                parsed.broken.push(record.place.broken(reason));
            }
        }
        parsed.conversations.extend(stream.finish(&mut parsed.ignored));
    }
    parsed
}

/// The conversation of a bare stream.
fn new(source: &Source<'_>, stem: &str) -> Conversation {
    let first = source.records.first().map(|record| record.text);
    Conversation::new(Format::OpenHands, unique(stem, first), Place::Whole)
}

/// Files and instances have the same names in every run. The first event, whose time is in it,
/// tells one from another and stays when the stream grows.
fn unique(name: &str, first: Option<&str>) -> String {
    let Some(first) = first else { return name.to_owned() };
    let hex = blake3::Hash::from_bytes(digest(first)).to_hex();
    let short: String = hex.chars().take(DIGEST_CHARS).collect();
    format!("{name}-{short}")
}

/// Characters of the first event's digest in a session id.
const DIGEST_CHARS: usize = 12;

/// A line of an evaluation's output, or of the resolver's, which is older.
fn output(record: &Record<'_>, stem: &str, parsed: &mut Parsed) -> Result<Conversation, Broken> {
    let place = record.place;
    let mut object = members(record.text).unwrap_or_default();
    let history = object.take("history");
    let history = history.ok_or_else(|| place.broken("no output: no history in it"))?;
    let events = elements(history.as_str());
    let events = events.ok_or_else(|| place.broken("its history is no list"))?;
    let data = object.to_json();
    check_depth(data.as_str(), STATE_DEPTH_MAX).map_err(|reason| place.broken(reason))?;
    let name = instance(&object);
    let session_id = unique(name.as_deref().unwrap_or(stem), first(&events));
    let mut conversation = Conversation::new(Format::OpenHands, session_id, place);
    conversation.data = Some(data);
    let spent = event::accumulated(&object);
    let mut stream = Stream::new(conversation, spent.is_none());
    for (index, text) in events.into_iter().enumerate() {
        let (member, events) = in_turn(index, text);
        for (at, text) in events {
            if let Err(reason) = stream.add(text) {
                parsed.broken.push(place.broken_in(&member, at, reason));
            }
        }
    }
    let conversation = stream.finish(&mut parsed.ignored);
    let mut conversation = conversation.ok_or_else(|| place.broken("no message in its history"))?;
    if let Some(spent) = spent {
        conversation.spend(spent);
    }
    Ok(conversation)
}

/// The events of an element of a history, each with its index in what is named. The oldest
/// outputs have a pair there, an action and its observation.
fn in_turn(index: usize, text: &str) -> (String, Vec<(usize, &str)>) {
    match elements(text) {
        Some(pair) => (format!("history[{index}]"), pair.into_iter().enumerate().collect()),
        None => (String::from("history"), vec![(index, text)]),
    }
}

/// The first event of a history.
fn first<'a>(history: &[&'a str]) -> Option<&'a str> {
    let first = history.first().copied()?;
    elements(first).map_or(Some(first), |pair| pair.first().copied())
}

/// What an output is about: an instance of a benchmark, or an issue.
fn instance(output: &JsonObject) -> Option<String> {
    let named = output.get("instance_id").and_then(label_of).filter(|name| !name.is_empty());
    named.or_else(|| {
        let issue = members(output.get("issue")?.as_str())?;
        let (owner, repo) = (text_of(issue.get("owner")?)?, text_of(issue.get("repo")?)?);
        Some(format!("{owner}-{repo}-{}", label_of(issue.get("number")?)?))
    })
}
