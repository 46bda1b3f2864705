//! Messages as OpenAI's Chat Completions API takes them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

mod rules;

pub use self::rules::{check_openai, validate_openai};
use super::image::Image;
use super::{is_speaker_name, left_out, to_function_name, turns};
use crate::json::Json;
use crate::message::legal::{UniqueIds, legalize};
use crate::message::{Content, Message, Part, Role, ToolCall};

/// Characters of a call's id: the API refuses longer ones, and other providers make them.
const ID_CHARS_MAX: usize = 40;

/// Calls in one message: the API refuses more, and other providers take them.
const CALLS_MAX: usize = 128;

/// Renders messages for OpenAI's Chat Completions API.
///
/// The list is made legal first, so any list will do; [`check_openai`]
/// finds nothing to say about what comes out. Members and parts that the API does not take are
/// left out: reasoning, images in a tool's result, anything of the source's own. A message with
/// more calls than the API takes becomes several.
///
/// ```
/// use sessionlog::{Message, check_openai, to_openai};
///
/// let prompt = to_openai(&[Message::system("Be brief."), Message::user("Hello")]);
/// assert_eq!(prompt[1]["content"], "Hello");
/// assert_eq!(check_openai(&prompt), Ok(()));
/// ```
pub fn to_openai(messages: &[Message]) -> Vec<Value> {
    let (messages, _) = legalize(messages.to_vec());
    let mut rendered = Vec::with_capacity(messages.len());
    for (message, results) in turns(&messages) {
        let ids = short_ids(&message.tool_calls);
        let calls: Vec<Value> =
            message.tool_calls.iter().zip(&ids).map(|(call, id)| render_call(call, id)).collect();
        let mut steps = calls.chunks(CALLS_MAX);
        rendered.extend(render(message, steps.next().unwrap_or_default()));
        for (ids, results) in ids.chunks(CALLS_MAX).zip(results.chunks(CALLS_MAX)) {
            for (id, result) in ids.iter().zip(results) {
                let content = result.content.text();
                rendered.push(json!({"role": "tool", "tool_call_id": id, "content": content}));
            }
            let more = steps
                .next()
                .map(|calls| json!({"role": "assistant", "content": null, "tool_calls": calls}));
            rendered.extend(more);
        }
    }
    rendered
}

/// How many parts of messages [`to_openai`] leaves out, by their type; text is never left out.
///
/// ```
/// use sessionlog::{Message, left_out_of_openai};
///
/// let text = r#"{"role":"user","content":[
///     {"type":"text","text":"Read this."}, {"type":"file","file":{"file_id":"f"}}]}"#;
/// let messages = [Message::from_json(text)?];
/// assert_eq!(left_out_of_openai(&messages)["file"], 1);
/// # Ok::<(), sessionlog::Error>(())
/// ```
pub fn left_out_of_openai(messages: &[Message]) -> BTreeMap<String, u64> {
    left_out(messages, |message, part| match (&message.role, part) {
        (Role::User, part) => user_part(part).is_some(),
        (Role::Assistant, Part::Json(json)) => refusal_part(&json.to_value()).is_some(),
        _ => false,
    })
}

/// Ids that the API takes, different in one message.
fn short_ids(calls: &[ToolCall]) -> Vec<String> {
    let mut unique = UniqueIds::new(ID_CHARS_MAX);
    let ids: Vec<&str> = calls.iter().filter_map(|call| call.id.as_deref()).collect();
    let is_short = |id: &str| id.chars().count() <= ID_CHARS_MAX;
    for id in ids.iter().filter(|id| is_short(id)) {
        unique.reserve(id);
    }
    ids.iter().map(|id| if is_short(id) { (*id).to_owned() } else { unique.claim(id) }).collect()
}

/// `None` where nothing is left that the API takes.
fn render(message: &Message, calls: &[Value]) -> Option<Value> {
    let refusal = refusal(message).filter(|_| message.role == Role::Assistant);
    let content = match message.role {
        Role::User => user_content(&message.content)?,
        Role::System | Role::Developer => plain_content(&message.content)?,
        Role::Assistant => {
            let text = spoken(message);
            match (text.is_empty(), calls.is_empty() && refusal.is_none()) {
                (true, true) => return None,
                (true, false) => Value::Null,
                (false, _) => Value::from(text),
            }
        }
        Role::Tool | Role::Other(_) => return None,
    };
    let mut rendered = Map::new();
    rendered.insert("role".into(), message.role.as_str().into());
    rendered.insert("content".into(), content);
    if let Some(name) = message.name.as_deref().filter(|name| is_speaker_name(name)) {
        rendered.insert("name".into(), name.into());
    }
    if let Some(refusal) = refusal {
        rendered.insert("refusal".into(), refusal.into());
    }
    if !calls.is_empty() {
        rendered.insert("tool_calls".into(), calls.into());
    }
    Some(Value::Object(rendered))
}

/// What the model says. A spoken answer is given as its words: its sound can be named for an hour.
fn spoken(message: &Message) -> String {
    let text = message.content.text();
    if text.is_empty() { message.transcript().unwrap_or_default() } else { text }
}

/// A refusal, which stands beside the content or in parts of it.
fn refusal(message: &Message) -> Option<String> {
    let parts = match &message.content {
        Content::Parts(parts) => parts.as_slice(),
        Content::Absent | Content::Null | Content::Text(_) => &[],
    };
    let parts = parts.iter().filter_map(|part| match part {
        Part::Json(json) => refusal_part(&json.to_value()),
        Part::Text(_) => None,
    });
    let refusals: Vec<String> = parts.chain(message.refusal()).collect();
    (!refusals.is_empty()).then(|| refusals.join("\n"))
}

/// What a part of type `refusal` says.
pub(super) fn refusal_part(part: &Value) -> Option<String> {
    let refusal = part.get("refusal")?.as_str()?;
    let is_refusal = part.get("type").is_some_and(|kind| kind == "refusal");
    (is_refusal && !refusal.is_empty()).then(|| refusal.to_owned())
}

fn render_call(call: &ToolCall, id: &str) -> Value {
    if is_custom(call) {
        let custom = json!({"name": to_function_name(&call.name), "input": call.arguments});
        return json!({"id": id, "type": "custom", "custom": custom});
    }
    let function = json!({"name": to_function_name(&call.name), "arguments": call.arguments});
    json!({"id": id, "type": "function", "function": function})
}

/// Whether a tool was called that takes text, and no JSON.
fn is_custom(call: &ToolCall) -> bool {
    let source = call.source.as_ref().map(Json::to_value);
    source.is_some_and(|source| source.get("type").is_some_and(|kind| kind == "custom"))
}

fn plain_content(content: &Content) -> Option<Value> {
    let text = content.text();
    let is_something = !text.is_empty() || matches!(content, Content::Text(_));
    is_something.then(|| Value::from(text))
}

fn user_content(content: &Content) -> Option<Value> {
    let Content::Parts(parts) = content else { return plain_content(content) };
    let parts: Vec<Value> = parts.iter().filter_map(user_part).collect();
    (!parts.is_empty()).then_some(Value::Array(parts))
}

fn user_part(part: &Part) -> Option<Value> {
    if let Some(text) = part.text() {
        return (!text.is_empty()).then(|| json!({"type": "text", "text": text}));
    }
    let Part::Json(json) = part else { return None };
    let part = json.to_value();
    let mut image_url = json!({"url": Image::from_part(&part)?.into_url()});
    let detail = part.get("image_url").and_then(|image| image.get("detail")?.as_str());
    if let (Some(detail @ ("auto" | "low" | "high")), Some(members)) =
        (detail, image_url.as_object_mut())
    {
        members.insert("detail".into(), detail.into());
    }
    Some(json!({"type": "image_url", "image_url": image_url}))
}
