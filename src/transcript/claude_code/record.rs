//! One `user` or `assistant` record as messages, and the record back out of them.
//!
//! The text, the calls and the results go where every message has them. What is left of the
//! record stays beside them under reserved names: the envelope, and the inner message with a
//! skeleton of its content that says what stands in which place.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::clock::parse_rfc3339;
use crate::error::{Error, Result};
use crate::json::{Field, Json, JsonObject};
use crate::message::{Content, Message, Role, ToolCall};
use crate::transcript::openai::list;
use crate::transcript::source::{elements, members, text_of};

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
    let role = inner.get("role").ok_or_else(|| Error::invalid("a message without a role"))?.clone();
    let content = inner.take("content");
    let blocks = content.as_ref().and_then(|content| elements(content.as_str()));
    let mut messages = match (blocks, content.clone()) {
        (Some(blocks), _) => {
            let mut split = Split::default();
            for block in blocks {
                split.add(block);
            }
            inner.set("content", list(&split.skeleton));
            split.into_messages(&role)?
        }
        (None, content) => vec![message(&role, content)?],
    };
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

/// Equal as JSON. What cannot be compared counts as different.
fn is_equal(one: &Json, other: &Json) -> bool {
    let parsed = |json: &Json| serde_json::from_str::<Value>(json.as_str()).ok();
    parsed(one).is_some_and(|one| Some(one) == parsed(other))
}

/// A message of `OpenAI`'s members, read the way every such message is.
fn message(role: &Json, content: Option<Json>) -> Result<Message> {
    let mut record = JsonObject::default();
    record.set("role", role.clone());
    if let Some(content) = content {
        record.set("content", content);
    }
    Message::from_json(record.to_json().as_str())
}

/// The blocks of a content, sorted by where they go.
#[derive(Default)]
struct Split {
    /// For each block what its place does not say: null for a part, else what is left of it.
    skeleton: Vec<Json>,
    parts: Vec<Json>,
    calls: Vec<ToolCall>,
    results: Vec<JsonObject>,
}

impl Split {
    fn add(&mut self, block: &str) {
        let left = members(block).and_then(|mut block| {
            let is_taken = match block.get("type").and_then(text_of)?.as_str() {
                "tool_use" => self.add_call(&mut block),
                "tool_result" => self.add_result(&mut block),
                _ => None,
            };
            is_taken.map(|()| block.to_json())
        });
        let raw = || serde_json::from_str::<&RawValue>(block).ok().map(Json::from);
        let part = if left.is_none() { raw() } else { None };
        self.parts.extend(part);
        self.skeleton.push(left.unwrap_or_else(|| Json::from(Value::Null)));
    }

    fn add_call(&mut self, block: &mut JsonObject) -> Option<()> {
        let (id, name) = (text_of(block.get("id")?)?, text_of(block.get("name")?)?);
        let arguments = block.take("input")?.as_str().to_owned();
        drop((block.take("id"), block.take("name")));
        self.calls.push(ToolCall { id: Some(id), name, arguments, source: None });
        Some(())
    }

    fn add_result(&mut self, block: &mut JsonObject) -> Option<()> {
        text_of(block.get("tool_use_id")?)?;
        let mut record = JsonObject::default();
        record.set("role", Json::string(Role::Tool.as_str()));
        for (theirs, ours) in RESULT_MEMBERS {
            if let Some(value) = block.take(theirs) {
                record.set(ours, value);
            }
        }
        self.results.push(record);
        Some(())
    }

    /// Results first: they answer the message before this record, and what else the record
    /// says comes after them.
    fn into_messages(self, role: &Json) -> Result<Vec<Message>> {
        let mut messages = Vec::with_capacity(self.results.len() + 1);
        for result in &self.results {
            messages.push(Message::from_json(result.to_json().as_str())?);
        }
        if messages.is_empty() || !self.parts.is_empty() || !self.calls.is_empty() {
            let mut main = message(role, Some(list(&self.parts)))?;
            if self.parts.is_empty() && !self.calls.is_empty() {
                main.content = Content::Null;
            }
            main.tool_calls = self.calls;
            messages.push(main);
        }
        Ok(messages)
    }
}

/// Members of a `tool_result` block, and what they are called in a message of a tool.
const RESULT_MEMBERS: [(&str, &str); 3] =
    [("tool_use_id", "tool_call_id"), ("content", "content"), ("is_error", "is_error")];

/// The record that the messages come from, or `None` where they come from none.
pub(super) fn record_of(messages: &[Message]) -> Option<Json> {
    let first = messages.first()?;
    if let Some(record) = first.extra(VERBATIM) {
        return Some(record.clone());
    }
    let mut record = members(first.extra(RECORD)?.as_str())?;
    let mut inner = members(first.extra(MESSAGE)?.as_str())?;
    let skeleton = inner.take("content");
    let content = match &skeleton {
        Some(skeleton) => Some(Join::new(messages).fill(skeleton)?),
        None => openai_member(first, "content"),
    };
    if let Some(content) = content {
        inner.set("content", content);
    }
    record.set("message", inner.to_json());
    Some(record.to_json())
}

/// A member of the message's record as `OpenAI` has it.
fn openai_member(message: &Message, name: &str) -> Option<Json> {
    members(message.to_json().as_str())?.take(name)
}

/// The blocks of a content, put back in their places.
struct Join<'a> {
    parts: std::vec::IntoIter<Json>,
    calls: std::slice::Iter<'a, ToolCall>,
    results: std::slice::Iter<'a, Message>,
}

impl<'a> Join<'a> {
    fn new(messages: &'a [Message]) -> Self {
        let results = messages.iter().take_while(|message| message.role == Role::Tool).count();
        let (results, main) = messages.split_at_checked(results).unwrap_or((messages, &[]));
        let main = main.first();
        let content = main.and_then(|main| openai_member(main, "content"));
        let parts = content.and_then(|content| {
            let elements: Vec<Json> = serde_json::from_str(content.as_str()).ok()?;
            Some(elements)
        });
        let calls = main.map_or(&[][..], |main| &main.tool_calls);
        Self {
            parts: parts.unwrap_or_default().into_iter(),
            calls: calls.iter(),
            results: results.iter(),
        }
    }

    fn fill(mut self, skeleton: &Json) -> Option<Json> {
        let blocks: Option<Vec<Json>> =
            elements(skeleton.as_str())?.into_iter().map(|left| self.block(left)).collect();
        blocks.map(|blocks| list(&blocks))
    }

    fn block(&mut self, left: &str) -> Option<Json> {
        let Some(mut block) = members(left) else { return self.parts.next() };
        if text_of(block.get("type")?)? == "tool_use" {
            let call = self.calls.next()?;
            block.set("id", Json::string(call.id.as_deref()?));
            block.set("name", Json::string(&call.name));
            block.set("input", Json::parse(&call.arguments).ok()?);
        } else {
            let result = members(self.results.next()?.to_json().as_str())?;
            for (theirs, ours) in RESULT_MEMBERS {
                if let Some(value) = result.get(ours) {
                    block.set(theirs, value.clone());
                }
            }
        }
        Some(block.to_json())
    }
}
