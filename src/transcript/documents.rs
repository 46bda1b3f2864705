//! Files of conversations as providers of models have them: objects with `messages`, bare lists
//! of messages, or one message a line.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::conversation::{Conversation, Parsed, ReadMessage};
use super::format::Format;
use super::source::{Broken, Layout, Place, Record, Source, members, text_of};
use crate::json::{Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;

/// What one provider's files have of their own.
#[derive(Debug)]
pub(super) struct Dialect {
    pub(super) format: Format,
    /// Reads what an object says beside its messages. What is left of it is kept as it is.
    pub(super) describe: fn(&mut Conversation, &mut JsonObject),
    pub(super) read_message: ReadMessage,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Message,
    Conversation,
    /// A bare list, to be read as messages.
    Messages,
}

impl Shape {
    fn of(text: &str) -> Option<Self> {
        if text.starts_with('[') {
            return Some(Self::Messages);
        }
        let record = members(text)?;
        if record.get("messages").is_some() {
            return Some(Self::Conversation);
        }
        record.get("role").map(|_| Self::Message)
    }
}

/// Reads a file. The first record that is one decides whether its records are the messages of
/// one conversation, or conversations.
pub(super) fn read(source: &Source<'_>, stem: &str, dialect: &Dialect) -> Parsed {
    let mut parsed = Parsed::default();
    let shape = source.records.iter().find_map(|record| Shape::of(record.text));
    if shape == Some(Shape::Message) {
        let mut conversation = Conversation::new(dialect.format, stem.to_owned(), Place::Whole);
        // Lines that are no JSON are messages too, which nobody can read.
        let mut unread: BTreeSet<usize> = (0..source.records.len() + source.broken.len()).collect();
        for record in &source.records {
            match (dialect.read_message)(&mut conversation, record.text) {
                Ok(()) => drop(unread.remove(&record.place.ordinal().saturating_sub(1))),
                Err(reason) => parsed.broken.push(record.place.broken(reason)),
            }
        }
        conversation.unread = unread.into_iter().collect();
        parsed.conversations.extend(Some(conversation).filter(|read| !read.entries.is_empty()));
    } else if shape.is_some() {
        for record in &source.records {
            let name = name(source, stem, record.place);
            match conversation(record, name, dialect, &mut parsed.broken) {
                Ok(conversation) => parsed.conversations.push(conversation),
                Err(broken) => parsed.broken.push(broken),
            }
        }
    }
    parsed
}

/// The session id of a conversation that has none of its own.
pub(super) fn name(source: &Source<'_>, stem: &str, place: Place) -> String {
    let is_one = source.layout == Layout::Object || source.records.len() + source.broken.len() == 1;
    if is_one { stem.to_owned() } else { format!("{stem}-{}", place.ordinal()) }
}

fn conversation(
    record: &Record<'_>,
    name: String,
    dialect: &Dialect,
    broken: &mut Vec<Broken>,
) -> Result<Conversation, Broken> {
    let read = dialect.read_message;
    let mut conversation = Conversation::new(dialect.format, name, record.place);
    match Shape::of(record.text) {
        Some(Shape::Messages) => {
            conversation.read_list_with(record.text, (record.place, ""), read, broken)?;
        }
        Some(Shape::Conversation) => {
            let mut object = members(record.text).unwrap_or_default();
            let messages = object.take("messages").unwrap_or_else(|| Json::from(Value::Null));
            check_depth(object.to_json().as_str(), STATE_DEPTH_MAX)
                .map_err(|reason| record.place.broken(reason))?;
            (dialect.describe)(&mut conversation, &mut object);
            conversation.data = (!object.0.is_empty()).then(|| object.to_json());
            let place = (record.place, "messages");
            conversation.read_list_with(messages.as_str(), place, read, broken)?;
        }
        Some(Shape::Message) | None => {
            let reason = "no conversation: an object with messages, or a list of them, is expected";
            return Err(record.place.broken(reason));
        }
    }
    Ok(conversation)
}

/// A conversation's own id, where it can name a session.
pub(super) fn id_of(json: &Json) -> Option<String> {
    let id = match json.to_value() {
        Value::String(id) => id,
        Value::Number(id) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return None,
    };
    (!id.is_empty()).then_some(id)
}

/// A user's id in a member, where it is one.
pub(super) fn user_of(json: &Json) -> Option<String> {
    text_of(json).filter(|user| !user.is_empty())
}

pub(super) fn is_object(json: &Json) -> bool {
    json.as_str().starts_with('{')
}

/// Puts the session's id into a document, unless the document's own means the same.
pub(super) fn keep_id(document: &mut JsonObject, session_id: &str) {
    let is_as_it_came =
        document.get("id").is_some_and(|id| id_of(id).is_none_or(|id| id == session_id));
    if !is_as_it_came {
        document.set("id", Json::string(session_id));
    }
}

/// Puts the session's metadata into a document that has others.
pub(super) fn keep_metadata(document: &mut JsonObject, metadata: &Map<String, Value>) {
    let imported = document.get("metadata").map(Json::to_value);
    let imported = imported.and_then(|json| json.as_object().cloned()).unwrap_or_default();
    if *metadata != imported {
        let metadata = Some(metadata).filter(|metadata| !metadata.is_empty());
        replace(document, "metadata", metadata.map(|map| Value::Object(map.clone()).into()));
    }
}

/// Sets a member, or takes it out.
pub(super) fn replace(document: &mut JsonObject, name: &str, value: Option<Json>) {
    match value {
        Some(value) => document.set(name, value),
        None => drop(document.take(name)),
    }
}

/// A JSON list whose elements keep their text.
pub(super) fn list(elements: &[Json]) -> Json {
    let raw = serde_json::value::to_raw_value(elements);
    raw.map_or_else(|_| Json::from(Value::Array(Vec::new())), |raw| Json::from(raw.as_ref()))
}
