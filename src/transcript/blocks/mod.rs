//! Anthropic's content blocks as messages, and the blocks back out of them.
//!
//! The text, the calls and the results go where every message has them. What is left of the
//! source's message is a skeleton of its content that says what stands in which place.

mod native;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub(super) use self::native::{blocks, native};
use super::conversation::Spent;
use super::documents::list;
use super::source::{elements, members, text_of};
use crate::error::{Error, Result};
use crate::json::{Json, JsonObject};
use crate::message::{Content, Message, Metrics, Role, ToolCall};

/// The messages of one of Anthropic's: at least one, results first. Of `source` only what they
/// do not say is left, for [`join`] to give an equal one back.
pub(super) fn split(source: &mut JsonObject) -> Result<Vec<Message>> {
    let role = source.get("role").cloned();
    let role = role.ok_or_else(|| Error::invalid("a message without a role"))?;
    let content = source.take("content");
    let blocks = content.as_ref().and_then(|content| elements(content.as_str()));
    let Some(blocks) = blocks else { return Ok(vec![message(&role, content)?]) };
    let mut split = Split::default();
    for block in blocks {
        split.add(block);
    }
    source.set("content", list(&split.skeleton));
    split.into_messages(&role)
}

/// What [`split`] was given, from what it left and the messages it made.
pub(super) fn join(mut left: JsonObject, messages: &[Message]) -> Option<JsonObject> {
    let content = match left.take("content") {
        Some(skeleton) => Some(Join::new(messages).fill(&skeleton)?),
        None => openai_member(messages.first()?, "content"),
    };
    if let Some(content) = content {
        left.set("content", content);
    }
    Some(left)
}

/// What a response spent, as its message says it.
pub(super) fn usage(message: &JsonObject) -> Option<Spent> {
    let usage = members(message.get("usage")?.as_str())?;
    let tokens = |name: &str| {
        let count = |json: &Json| u64::deserialize(&json.to_value()).ok();
        usage.get(name).and_then(count).unwrap_or(0)
    };
    let mut metrics = Metrics::tokens(tokens("input_tokens"), tokens("output_tokens"));
    metrics.cache_write_tokens = tokens("cache_creation_input_tokens");
    metrics.cache_read_tokens = tokens("cache_read_input_tokens");
    Some(Spent { response_id: message.get("id").and_then(text_of), metrics })
}

/// Equal as JSON. What cannot be compared counts as different.
pub(super) fn is_equal(one: &Json, other: &Json) -> bool {
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
