//! `OpenAI`'s chat format: conversations as objects with `messages`, or bare lists of messages.

use serde_json::Value;

use super::conversation::{Conversation, Parsed};
use super::export::Recorded;
use super::format::{Format, FormatSpec, Sign};
use super::source::{Broken, Layout, Place, Record, Source, elements, members, text_of};
use crate::error::Result;
use crate::json::{Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;

pub(super) const FORMAT: FormatSpec = FormatSpec {
    name: "openai",
    recognise,
    read,
    write: Some(|recorded| Ok(vec![document(recorded)?])),
    reserved: None,
};

fn recognise(record: &JsonObject) -> Sign {
    let messages = record.get("messages").map(|json| elements(json.as_str()).unwrap_or_default());
    let is_own = match &messages {
        Some(messages) => messages
            .iter()
            .take(SIGN_MESSAGES_MAX)
            .filter_map(|text| members(text))
            .any(|message| is_own(&message)),
        None if record.get("role").is_some() => is_own(record),
        None => return Sign::None,
    };
    if is_own { Sign::Likely } else { Sign::Possible }
}

/// Whether a message has what other providers put elsewhere or call otherwise.
fn is_own(message: &JsonObject) -> bool {
    let role = message.get("role").and_then(text_of).unwrap_or_default();
    ["system", "developer", "tool"].contains(&role.as_str())
        || ["tool_calls", "tool_call_id"].into_iter().any(|name| message.get(name).is_some())
}

/// Messages of a conversation that are looked at to tell the format.
pub(super) const SIGN_MESSAGES_MAX: usize = 1_000;

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
fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let shape = source.records.iter().find_map(|record| Shape::of(record.text));
    if shape == Some(Shape::Message) {
        let mut conversation = Conversation::new(Format::OpenAi, stem.to_owned(), Place::Whole);
        for record in &source.records {
            if let Err(reason) = conversation.read_message(record.text) {
                parsed.broken.push(record.place.broken(reason));
            }
        }
        parsed.conversations.extend(Some(conversation).filter(|read| !read.entries.is_empty()));
    } else if shape.is_some() {
        for record in &source.records {
            let name = name(source, stem, record.place);
            match conversation(record, name, &mut parsed.broken) {
                Ok(conversation) => parsed.conversations.push(conversation),
                Err(broken) => parsed.broken.push(broken),
            }
        }
    }
    parsed
}

/// The session id of a conversation that has none of its own.
fn name(source: &Source<'_>, stem: &str, place: Place) -> String {
    let is_one = source.layout == Layout::Object || source.records.len() + source.broken.len() == 1;
    if is_one { stem.to_owned() } else { format!("{stem}-{}", place.ordinal()) }
}

fn conversation(
    record: &Record<'_>,
    name: String,
    broken: &mut Vec<Broken>,
) -> Result<Conversation, Broken> {
    let mut conversation = Conversation::new(Format::OpenAi, name, record.place);
    match Shape::of(record.text) {
        Some(Shape::Messages) => {
            conversation.read_list(record.text, (record.place, ""), broken)?;
        }
        Some(Shape::Conversation) => {
            let mut object = members(record.text).unwrap_or_default();
            let messages = object.take("messages").unwrap_or_else(|| Json::from(Value::Null));
            let data = (!object.0.is_empty()).then(|| object.to_json());
            if let Some(data) = &data {
                check_depth(data.as_str(), STATE_DEPTH_MAX)
                    .map_err(|reason| record.place.broken(reason))?;
            }
            if let Some(id) = object.get("id").and_then(id_of) {
                conversation.session_id = id;
            }
            conversation.user_id = object.get("user").and_then(user_of);
            conversation.metadata = object.get("metadata").filter(|json| is_object(json)).cloned();
            conversation.data = data;
            conversation.read_list(messages.as_str(), (record.place, "messages"), broken)?;
        }
        Some(Shape::Message) | None => {
            let reason = "no conversation: an object with messages, or a list of them, is expected";
            return Err(record.place.broken(reason));
        }
    }
    Ok(conversation)
}

/// A conversation's own id, where it can name a session.
fn id_of(json: &Json) -> Option<String> {
    let id = match json.to_value() {
        Value::String(id) => id,
        Value::Number(id) if id.is_i64() || id.is_u64() => id.to_string(),
        _ => return None,
    };
    (!id.is_empty()).then_some(id)
}

fn user_of(json: &Json) -> Option<String> {
    text_of(json).filter(|user| !user.is_empty())
}

fn is_object(json: &Json) -> bool {
    json.as_str().starts_with('{')
}

/// Writes a session: what its source said about it, as far as that still holds, and the
/// messages, each as it came.
fn document(recorded: &Recorded) -> Result<Json> {
    let view = recorded.view();
    let mut document = recorded.data(Format::OpenAi).unwrap_or_default();
    let is_as_it_came =
        document.get("id").is_some_and(|id| id_of(id).is_none_or(|id| id == view.session_id));
    if !is_as_it_came {
        document.set("id", Json::string(&view.session_id));
    }
    // What was imported stays as it came, odd types and all, unless it was changed since.
    if view.user_id != document.get("user").and_then(user_of) {
        replace(&mut document, "user", view.user_id.as_deref().map(Json::string));
    }
    let imported = document.get("metadata").map(Json::to_value);
    let imported = imported.and_then(|json| json.as_object().cloned()).unwrap_or_default();
    if view.metadata != imported {
        let metadata = Some(&view.metadata).filter(|metadata| !metadata.is_empty());
        replace(&mut document, "metadata", metadata.map(|map| Value::Object(map.clone()).into()));
    }
    document.set("messages", list(&recorded.plain()?));
    Ok(document.to_json())
}

fn replace(document: &mut JsonObject, name: &str, value: Option<Json>) {
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
