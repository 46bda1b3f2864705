//! An event as a message.

use serde_json::json;

use super::event::{Call, Event};
use crate::error::Result;
use crate::json::{Field, Json, JsonObject};
use crate::message::{Content, Message, Role, ToolCall};
use crate::transcript::documents::list;

/// The event in a message's extra members, without the content that the message has.
const EVENT: &str = "openhands";

/// Members of an action that are not what it does.
const NOT_DONE: [&str; 7] =
    ["thought", "id", "timestamp", "source", "message", "action", "llm_metrics"];

/// Who an event is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    System,
    Person,
    Agent,
    /// What the agent is told without that the person says it.
    Environment,
}

/// Makes a message of an event. `has_words` says whether what the model says around a call is
/// said here: of several calls in one response only the first does.
pub(super) fn message_of(mut event: Event, speaker: Speaker, has_words: bool) -> Result<Message> {
    let call = event.call.take();
    let mut message = match (&call, event.is_action) {
        (Some(call), true) => calling(&event, call, has_words)?,
        (Some(call), false) => result(&event, call)?,
        (None, true) => plain(&speaker.role(), action_content(&event))?,
        (None, false) => plain(&speaker.role(), event.record.get("content").cloned())?,
    };
    message.created_at_us = event.at_us();
    if !event.is_action {
        drop(event.record.take("content"));
    }
    message.extra.push(Field { name: EVENT.to_owned(), value: event.record.to_json() });
    Ok(message)
}

fn plain(role: &Role, content: Option<Json>) -> Result<Message> {
    let mut record = JsonObject::default();
    record.set("role", Json::string(role.as_str()));
    if let Some(content) = content {
        record.set("content", content);
    }
    Message::from_json(record.to_json().as_str())
}

/// What the model said with the call, else what it thought.
fn calling(event: &Event, call: &Call, has_words: bool) -> Result<Message> {
    let said = call.said.get("content").filter(|said| !matches!(said.as_str(), "null" | "\"\""));
    // What a call of `think` thinks is its argument.
    let own = || own_words(event).filter(|_| event.kind != "think");
    let said = said.cloned().or_else(|| own().map(|words| Json::string(&words)));
    let mut message = plain(&Role::Assistant, said.filter(|_| has_words))?;
    if message.content == Content::Absent {
        message.content = Content::Null;
    }
    let arguments =
        call.arguments.clone().unwrap_or_else(|| done(event).to_json().as_str().to_owned());
    let (id, name) = (Some(call.id.clone()), call.name.clone());
    message.tool_calls.push(ToolCall { id, name, arguments, source: None });
    message.response_id.clone_from(&call.response_id);
    Ok(message)
}

fn result(event: &Event, call: &Call) -> Result<Message> {
    let mut message = plain(&Role::Tool, event.record.get("content").cloned())?;
    message.tool_call_id = Some(call.id.clone());
    message.name = Some(call.name.clone()).filter(|name| !name.is_empty());
    Ok(message)
}

/// What an action says by itself.
fn own_words(event: &Event) -> Option<String> {
    let thought = event.words("thought");
    if event.kind == "finish" { thought.or_else(|| event.words("final_thought")) } else { thought }
}

/// The content of an action that is no call: its words, and what is done as JSON.
fn action_content(event: &Event) -> Option<Json> {
    let kind = event.kind.as_str();
    if matches!(kind, "message" | "system") {
        return said(event);
    }
    let words = own_words(event);
    if let Some(words) = words.as_deref().filter(|_| matches!(kind, "finish" | "think")) {
        return Some(Json::string(words));
    }
    let mut record = JsonObject::default();
    record.set("action", Json::string(kind));
    record.0.extend(done(event).0);
    let done = record.to_json();
    let both = words.map(|words| format!("{words}\n\n{}", done.as_str()));
    Some(Json::string(both.as_deref().unwrap_or(done.as_str())))
}

/// What an action does, without what is not set.
fn done(event: &Event) -> JsonObject {
    let mut done = event.args.clone();
    done.0
        .retain(|field| !NOT_DONE.contains(&field.name.as_str()) && field.value.as_str() != "null");
    done
}

/// What a message says, with the images that it was sent with.
fn said(event: &Event) -> Option<Json> {
    let urls = ["image_urls", "images_urls"].into_iter().find_map(|name| event.args.get(name));
    let urls = urls.and_then(|urls| serde_json::from_str::<Vec<String>>(urls.as_str()).ok());
    let Some(urls) = urls.filter(|urls| !urls.is_empty()) else {
        return event.args.get("content").cloned();
    };
    let text = event.words("content").map(|words| json!({"type": "text", "text": words}));
    let images = urls.iter().map(|url| json!({"type": "image_url", "image_url": {"url": url}}));
    let parts: Vec<Json> = text.into_iter().chain(images).map(Json::from).collect();
    Some(list(&parts))
}
