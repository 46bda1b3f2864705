//! One message of a sample in `OpenAI`'s shape, with what was stored apart put back.

use std::collections::HashMap;

use serde_json::Value;

use crate::error::Result;
use crate::json::{Field, Json, JsonObject};
use crate::message::{Content, Message, Role};
use crate::transcript::conversation::{Conversation, Spent, digest};
use crate::transcript::documents;
use crate::transcript::source::{elements, members, text_of};

/// What stands for a text that is stored apart begins with this.
pub(super) const ATTACHMENT: &str = "attachment://";

/// Reads a message. Its own shape of a call becomes `OpenAI`'s.
pub(super) fn read_message(
    conversation: &mut Conversation,
    text: &str,
    attachments: &HashMap<String, String>,
) -> Result<()> {
    let mut record = JsonObject::parse(text)?;
    if let Some(content) = record.get("content") {
        let content = resolved(content, attachments);
        record.set("content", content);
    }
    let calls = record.get("tool_calls").and_then(|calls| elements(calls.as_str()));
    if let Some(calls) = calls.filter(|calls| !calls.is_empty()) {
        let calls: Vec<Json> =
            calls.into_iter().map(|call| openai_call(call, attachments)).collect::<Result<_>>()?;
        record.set("tool_calls", documents::list(&calls));
    }
    let mut message = Message::from_json(record.to_json().as_str())?;
    if message.role == Role::Tool {
        describe_result(&mut message);
    }
    let spent = message.metrics.map(|metrics| Spent { response_id: None, metrics });
    let is_user = message.role == Role::User;
    conversation.push(message, digest(text), is_user, spent);
    Ok(())
}

/// A call in OpenAI's shape: the name and the arguments, as text, in `function`. Whatever else
/// is in it stays beside them.
fn openai_call(text: &str, attachments: &HashMap<String, String>) -> Result<Json> {
    let mut call = JsonObject::parse(text)?;
    let Some(name) = call.get("function").and_then(text_of) else {
        return Ok(call.to_json());
    };
    let mut function = JsonObject::default();
    function.set("name", Json::string(&name));
    if let Some(arguments) = call.take("arguments") {
        let arguments = resolved(&arguments, attachments);
        let text = text_of(&arguments).unwrap_or_else(|| arguments.as_str().to_owned());
        function.set("arguments", Json::string(&text));
    }
    call.set("function", function.to_json());
    if call.get("type").is_none() {
        call.set("type", Json::string("function"));
    }
    Ok(call.to_json())
}

/// What the model was told of a call that failed is the error, where the result says nothing.
fn describe_result(message: &mut Message) {
    message.name = message.name.take().or_else(|| message.extra("function").and_then(text_of));
    let error = message.extra("error").and_then(|error| members(error.as_str()));
    let Some(error) = error else { return };
    if message.content.is_empty()
        && let Some(words) = error.get("message").and_then(text_of)
    {
        message.content = Content::Text(words);
    }
    if message.extra("is_error").is_none() {
        let value = Json::from(Value::Bool(true));
        message.extra.push(Field { name: String::from("is_error"), value });
    }
}

/// The value with its attachments put back; one that is not there stays what it is.
fn resolved(json: &Json, attachments: &HashMap<String, String>) -> Json {
    if attachments.is_empty() || !json.as_str().contains("attachment:") {
        return json.clone();
    }
    let Ok(mut value) = serde_json::from_str(json.as_str()) else { return json.clone() };
    if resolve(&mut value, attachments) > 0 { Json::from(value) } else { json.clone() }
}

/// Puts attachments back and says how many. Recursive, but no deeper than `serde_json` lets a
/// value become.
fn resolve(value: &mut Value, attachments: &HashMap<String, String>) -> usize {
    match value {
        Value::String(text) => {
            let found = text.strip_prefix(ATTACHMENT).and_then(|id| attachments.get(id));
            found.map_or(0, |found| {
                text.clone_from(found);
                1
            })
        }
        Value::Array(elements) => {
            elements.iter_mut().map(|element| resolve(element, attachments)).sum()
        }
        Value::Object(members) => {
            members.values_mut().map(|member| resolve(member, attachments)).sum()
        }
        _ => 0,
    }
}
