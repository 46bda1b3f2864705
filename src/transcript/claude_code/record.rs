//! One `user` or `assistant` record as messages, and the record back out of them.
//!
//! What the messages do not say stays beside them under reserved names: the envelope, and what
//! `blocks` leaves of the inner message.

use serde_json::Value;

use crate::clock::parse_rfc3339;
use crate::error::{Error, Result};
use crate::json::{Field, Json, JsonObject};
use crate::message::Message;
use crate::transcript::blocks::{is_equal, join, split};
use crate::transcript::source::{members, text_of};

/// What all reserved names begin with.
pub(super) const RESERVED: &str = "claude_code.";

/// The record without its message.
const RECORD: &str = "claude_code.record";

/// The inner message, with the skeleton of its content where that is a list.
const MESSAGE: &str = "claude_code.message";

/// The whole record, where the messages alone would not give it back.
const VERBATIM: &str = "claude_code.verbatim";

/// Marks a message that comes from the same record as the one before it.
const PART: &str = "claude_code.part";

/// Whether a record of Claude Code begins with this message.
pub(super) fn begins_record(message: &Message) -> bool {
    message.extra(RECORD).is_some() || message.extra(VERBATIM).is_some()
}

/// Whether the message belongs to the record of the one before it.
pub(super) fn continues_record(message: &Message) -> bool {
    message.extra(PART).is_some()
}

/// The messages of a record: at least one. [`record_of`] gives an equal record back.
pub(super) fn messages_of(record: &JsonObject) -> Result<Vec<Message>> {
    let inner = record.get("message").and_then(|json| members(json.as_str()));
    let mut inner = inner.ok_or_else(|| Error::invalid("a record without a message"))?;
    let mut messages = split(&mut inner)?;
    stamp(&mut messages, record, &inner);
    let text = record.to_json();
    if !record_of(&messages).is_some_and(|rebuilt| is_equal(&rebuilt, &text))
        && let Some(first) = messages.first_mut()
    {
        first.extra.retain(|field| field.name != RECORD && field.name != MESSAGE);
        first.extra.push(Field { name: VERBATIM.to_owned(), value: text });
    }
    Ok(messages)
}

/// Puts what the record says beside its content into its messages.
fn stamp(messages: &mut [Message], record: &JsonObject, inner: &JsonObject) {
    let response_id = inner.get("id").and_then(text_of);
    let timestamp = record.get("timestamp").and_then(text_of);
    let created_at_us = timestamp.and_then(|timestamp| parse_rfc3339(&timestamp));
    for (part, message) in messages.iter_mut().enumerate() {
        message.response_id.clone_from(&response_id);
        message.created_at_us = created_at_us;
        if part == 0 {
            let mut envelope = record.clone();
            drop(envelope.take("message"));
            let kept = [(RECORD, &envelope), (MESSAGE, inner)];
            message.extra.extend(
                kept.map(|(name, object)| Field { name: name.to_owned(), value: object.to_json() }),
            );
        } else {
            let value = Json::from(Value::from(part));
            message.extra.push(Field { name: PART.to_owned(), value });
        }
    }
}

/// The record that the messages come from, or `None` where they come from none.
pub(super) fn record_of(messages: &[Message]) -> Option<Json> {
    let first = messages.first()?;
    if let Some(record) = first.extra(VERBATIM) {
        return Some(record.clone());
    }
    let mut record = members(first.extra(RECORD)?.as_str())?;
    let inner = join(members(first.extra(MESSAGE)?.as_str())?, messages)?;
    record.set("message", inner.to_json());
    Some(record.to_json())
}
