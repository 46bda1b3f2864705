//! Anthropic's Messages API: requests with `system` and `messages`, or bare messages.
//!
//! One message may hold the results of several tools, which are a message each here. What these
//! do not say of the source's message stays beside the first of them under reserved names.

use serde_json::Value;

use super::blocks::{is_equal, join, native, split, usage};
use super::conversation::{Conversation, Parsed, digest};
use super::documents::{self, Dialect, id_of, is_object, keep_id, keep_metadata, list, user_of};
use super::export::Recorded;
use super::format::{Format, FormatSpec, SIGN_MESSAGES_MAX, Sign};
use super::source::{Source, elements, members, text_of};
use crate::error::Result;
use crate::json::{Field, Json, JsonObject};
use crate::message::{Message, Role, to_anthropic};

pub(super) const FORMAT: FormatSpec = FormatSpec {
    name: "anthropic",
    recognise,
    read,
    write: Some(|recorded| Ok(vec![document(recorded)?])),
    reserved: Some("anthropic."),
};

const DIALECT: Dialect = Dialect { format: Format::Anthropic, describe, read_message };

/// What is left of the source's message, where the messages alone would not give it back.
const MESSAGE: &str = "anthropic.message";

/// The whole of the source's message, where that is not enough either.
const VERBATIM: &str = "anthropic.verbatim";

/// Marks a message that comes from the same one of the source as the one before it.
const PART: &str = "anthropic.part";

/// Marks the instructions, which the source has beside its messages.
const SYSTEM: &str = "anthropic.system";

/// `OpenAI`'s messages come first: where one says something only they can, a block of
/// Anthropic's among them is one that was carried over.
fn recognise(record: &JsonObject) -> Sign {
    let Some(messages) = record.get("messages") else {
        return if is_own(record) { Sign::Likely } else { Sign::None };
    };
    let messages = elements(messages.as_str()).unwrap_or_default();
    let mut messages = messages.iter().take(SIGN_MESSAGES_MAX).filter_map(|text| members(text));
    let has_system = record.get("system").is_some_and(is_prompt);
    if has_system || messages.any(|message| is_own(&message)) { Sign::Likely } else { Sign::None }
}

/// Whether a message has what other providers put elsewhere or call otherwise.
fn is_own(message: &JsonObject) -> bool {
    if message.get("role").is_none() {
        return false;
    }
    let is_response = message.get("type").and_then(text_of).is_some_and(|kind| kind == "message");
    let kind = |block: &str| text_of(members(block)?.get("type")?);
    let is_own = |block: &&str| kind(block).is_some_and(|kind| OWN_BLOCKS.contains(&kind.as_str()));
    let blocks = message.get("content").and_then(|content| elements(content.as_str()));
    is_response
        || message.get("stop_reason").is_some()
        || blocks.is_some_and(|blocks| blocks.iter().any(is_own))
}

/// Types of blocks that no other provider has.
const OWN_BLOCKS: [&str; 6] = [
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "server_tool_use",
    "search_result",
];

fn is_prompt(system: &Json) -> bool {
    text_of(system).is_some() || elements(system.as_str()).is_some()
}

fn read(source: &Source<'_>, stem: &str) -> Parsed {
    documents::read(source, stem, &DIALECT)
}

fn describe(conversation: &mut Conversation, object: &mut JsonObject) {
    let id = ["id", "session_id"].into_iter().find_map(|name| id_of(object.get(name)?));
    if let Some(id) = id {
        conversation.session_id = id;
    }
    conversation.metadata = object.get("metadata").filter(|json| is_object(json)).cloned();
    conversation.user_id = user(object);
    if let Some(system) = object.get("system").filter(|json| is_prompt(json)).cloned() {
        let id = digest(system.as_str());
        let mut record = JsonObject::default();
        record.set("role", Json::string(Role::System.as_str()));
        record.set("content", system);
        let Ok(mut message) = Message::from_json(record.to_json().as_str()) else { return };
        message.extra.push(mark(SYSTEM));
        drop(object.take("system"));
        conversation.push(message, id, false, None);
    }
}

/// Whom a request was made for.
fn user(object: &JsonObject) -> Option<String> {
    members(object.get("metadata")?.as_str())?.get("user_id").and_then(user_of)
}

fn mark(name: &str) -> Field {
    Field { name: name.to_owned(), value: Json::from(Value::from(true)) }
}

fn read_message(conversation: &mut Conversation, text: &str) -> Result<()> {
    let source = JsonObject::parse(text)?;
    let messages = messages_of(&source)?;
    // The results of tools come in messages of the user's, but nobody speaks in them.
    let is_user = messages.iter().all(|message| message.role == Role::User);
    let mut spent = usage(&source);
    for message in messages {
        conversation.push(message, digest(text), is_user, spent.take());
    }
    Ok(())
}

/// The messages of one of the source's: at least one. [`source_of`] gives an equal one back.
fn messages_of(source: &JsonObject) -> Result<Vec<Message>> {
    let mut left = source.clone();
    let mut messages = split(&mut left)?;
    let text = source.to_json();
    let is_given_back =
        |messages: &[Message]| source_of(messages).is_some_and(|json| is_equal(&json, &text));
    let is_result = messages.iter().any(|message| message.role == Role::Tool);
    if !is_result && is_given_back(&messages) {
        return Ok(messages);
    }
    let is_response = source.get("type").and_then(text_of).is_some_and(|kind| kind == "message");
    let response_id = source.get("id").filter(|_| is_response).and_then(text_of);
    for message in &mut messages {
        message.response_id.clone_from(&response_id);
    }
    messages.iter_mut().skip(1).for_each(|message| message.extra.push(mark(PART)));
    keep(&mut messages, MESSAGE, left.to_json());
    if !is_given_back(&messages) {
        keep(&mut messages, VERBATIM, text);
    }
    Ok(messages)
}

/// Keeps something of the source beside the first message, and nothing else of it.
fn keep(messages: &mut [Message], name: &str, value: Json) {
    if let Some(first) = messages.first_mut() {
        first.extra.retain(|field| field.name != MESSAGE);
        first.extra.push(Field { name: name.to_owned(), value });
    }
}

/// What the source had for these messages.
fn source_of(messages: &[Message]) -> Option<Json> {
    let first = messages.first()?;
    if let Some(text) = first.extra(VERBATIM) {
        return Some(text.clone());
    }
    match first.extra(MESSAGE) {
        Some(left) => Some(join(members(left.as_str())?, messages)?.to_json()),
        None => Some(Json::from(native(first))),
    }
}

/// Writes a session as a request: as its source had it, or converted.
fn document(recorded: &Recorded) -> Result<Json> {
    let mut document = recorded.data(Format::Anthropic)?.unwrap_or_default();
    let view = recorded.view();
    keep_id(&mut document, &view.session_id);
    keep_metadata(&mut document, &view.metadata);
    if view.user_id != user(&document) {
        set_user(&mut document, view.user_id.as_deref());
    }
    let is_as_it_came = recorded.import(Format::Anthropic).is_some();
    // What team members said among themselves is no part of a prompt.
    let messages = recorded.messages_of(|run| is_as_it_came || !run.is_member_run())?;
    let messages: Vec<Message> = messages.into_iter().map(|(_, _, message)| message).collect();
    if is_as_it_came {
        write_as_it_came(&mut document, &messages);
    } else {
        convert(&mut document, messages);
    }
    Ok(document.to_json())
}

fn set_user(document: &mut JsonObject, user_id: Option<&str>) {
    let metadata = document.get("metadata").and_then(|json| members(json.as_str()));
    let mut metadata = metadata.unwrap_or_default();
    documents::replace(&mut metadata, "user_id", user_id.map(Json::string));
    let metadata = (!metadata.0.is_empty()).then(|| metadata.to_json());
    documents::replace(document, "metadata", metadata);
}

/// Writes messages that were read from a request as that request.
pub(super) fn write_as_it_came(document: &mut JsonObject, messages: &[Message]) {
    let mut records = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while let Some((first, behind)) = rest.split_first() {
        // Results of parallel calls that were added since go into one message, as the API wants.
        let is_added = first.role == Role::Tool && is_plain(first);
        let begins = [MESSAGE, VERBATIM].into_iter().any(|name| first.extra(name).is_some());
        let belongs = |message: &&Message| {
            begins && message.extra(PART).is_some()
                || is_added && message.role == Role::Tool && is_plain(message)
        };
        let count = 1 + behind.iter().take_while(belongs).count();
        let (group, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
        rest = after;
        if first.extra(SYSTEM).is_some() {
            let system = members(first.to_json().as_str()).and_then(|mut it| it.take("content"));
            documents::replace(document, "system", system);
        } else if is_added {
            records.push(results(group));
        } else {
            records.extend(source_of(group));
        }
    }
    document.set("messages", list(&records));
}

/// Whether nothing of a source stands beside the message.
fn is_plain(message: &Message) -> bool {
    [MESSAGE, VERBATIM, PART, SYSTEM].into_iter().all(|name| message.extra(name).is_none())
}

fn results(messages: &[Message]) -> Json {
    let blocks = messages.iter().flat_map(|message| {
        let content = native(message).get_mut("content").map(Value::take);
        content.and_then(|content| content.as_array().cloned()).unwrap_or_default()
    });
    let blocks: Vec<Value> = blocks.collect();
    Json::from(serde_json::json!({"role": "user", "content": blocks}))
}

/// Makes a prompt of messages that have another shape. Copies of earlier history would say
/// everything twice, and so would instructions that every run repeats.
fn convert(document: &mut JsonObject, mut messages: Vec<Message>) {
    let mut instructions = Vec::new();
    messages.retain(|message| {
        let is_instruction = matches!(message.role, Role::System | Role::Developer);
        let is_said = is_instruction && instructions.contains(&message.content);
        if is_instruction && !is_said {
            instructions.push(message.content.clone());
        }
        !message.from_history && !is_said
    });
    let prompt = to_anthropic(&messages);
    documents::replace(document, "system", prompt.system.as_deref().map(Json::string));
    document.set("messages", Json::from(Value::Array(prompt.messages)));
}
