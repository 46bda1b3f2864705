//! Messages as records of a session file.

use serde_json::{Map, Value, json};

use super::record::{begins_record, continues_record, record_of};
use crate::clock::rfc3339;
use crate::id::EventId;
use crate::json::Json;
use crate::message::{Message, Role};
use crate::projection::SessionView;
use crate::transcript::blocks::{blocks, native};
use crate::transcript::source::{members, text_of};

/// Writes a session, one record a line: the records that it was imported from as they came,
/// and records in their manner for messages that were added since. Each message comes with
/// its seq and the time its run began at, in microseconds since 1970. In a fork all records are
/// of the fork, or reading them again would give two sessions.
pub(super) fn records(view: &SessionView, messages: &[(u64, i64, Message)]) -> Vec<Json> {
    let mut records = Vec::with_capacity(messages.len());
    let session_id = view.session_id.as_str();
    let mut parent = None;
    let mut rest = messages;
    while let Some((first, behind)) = rest.split_first() {
        let (seq, run_at_us, message) = first;
        let parts = behind.iter().take_while(|(_, _, part)| continues_record(part)).count();
        let parts = if begins_record(message) { parts } else { 0 };
        let (parts, after) = behind.split_at_checked(parts).unwrap_or((behind, &[]));
        rest = after;
        let group: Vec<Message> =
            [first].into_iter().chain(parts).map(|(_, _, message)| message.clone()).collect();
        let came = record_of(&group);
        let came = came.map(|record| match &view.forked_from {
            Some(_) => moved(record, session_id),
            None => record,
        });
        let record = came.unwrap_or_else(|| {
            let uuid = EventId::derive(&[session_id.as_bytes(), &seq.to_le_bytes()]).to_string();
            let timestamp = rfc3339(message.created_at_us.unwrap_or(*run_at_us));
            let mut record = added(message);
            record.extend([
                (String::from("uuid"), Value::from(uuid)),
                (String::from("parentUuid"), json!(parent)),
                (String::from("sessionId"), Value::from(session_id)),
                (String::from("timestamp"), Value::from(timestamp)),
                (String::from("isSidechain"), Value::from(false)),
            ]);
            Json::from(Value::Object(record))
        });
        let uuid = members(record.as_str()).and_then(|record| text_of(record.get("uuid")?));
        parent = uuid.or(parent);
        records.push(record);
    }
    records
}

/// A record as one of another session.
fn moved(record: Json, session_id: &str) -> Json {
    match members(record.as_str()) {
        Some(mut members) if members.get("sessionId").is_some() => {
            members.set("sessionId", Json::string(session_id));
            members.to_json()
        }
        _ => record,
    }
}

/// The members of a message that Claude Code did not write.
fn added(message: &Message) -> Map<String, Value> {
    let (kind, member, content) = match &message.role {
        Role::Assistant => {
            // A model's content is always a list here.
            let inner = json!({"role": "assistant", "content": blocks(message)});
            ("assistant", "message", inner)
        }
        Role::Tool | Role::User => ("user", "message", native(message)),
        Role::System | Role::Developer | Role::Other(_) => {
            ("system", "content", Value::from(message.content.text()))
        }
    };
    let members = [("type", Value::from(kind)), (member, content)];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
