//! `OpenAI`'s chat format: conversations as objects with `messages`, or bare lists of messages.

use super::conversation::{Conversation, Parsed};
use super::documents::{
    self, Dialect, id_of, is_object, keep_id, keep_metadata, list, replace, user_of,
};
use super::export::Recorded;
use super::format::{Format, FormatSpec, SIGN_MESSAGES_MAX, Sign};
use super::source::{Source, elements, members, text_of};
use crate::error::Result;
use crate::json::{Json, JsonObject};

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

const DIALECT: Dialect =
    Dialect { format: Format::OpenAi, describe, read_message: Conversation::read_message };

fn read(source: &Source<'_>, stem: &str) -> Parsed {
    documents::read(source, stem, &DIALECT)
}

fn describe(conversation: &mut Conversation, object: &mut JsonObject) {
    if let Some(id) = object.get("id").and_then(id_of) {
        conversation.session_id = id;
    }
    conversation.user_id = object.get("user").and_then(user_of);
    conversation.metadata = object.get("metadata").filter(|json| is_object(json)).cloned();
}

/// Writes a session: what its source said about it, as far as that still holds, and the
/// messages, each as it came.
fn document(recorded: &Recorded) -> Result<Json> {
    let view = recorded.view();
    let mut document = recorded.data(Format::OpenAi)?.unwrap_or_default();
    keep_id(&mut document, &view.session_id);
    // What was imported stays as it came, odd types and all, unless it was changed since.
    if view.user_id != document.get("user").and_then(user_of) {
        replace(&mut document, "user", view.user_id.as_deref().map(Json::string));
    }
    keep_metadata(&mut document, &view.metadata);
    document.set("messages", list(&recorded.plain()?));
    Ok(document.to_json())
}
