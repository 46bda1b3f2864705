//! A session file: its messages by session, its title, and the rest counted.

use std::collections::HashMap;

use super::record::messages_of;
use crate::error::{Error, Result};
use crate::json::JsonObject;
use crate::message::{Message, Role};
use crate::transcript::blocks::usage;
use crate::transcript::conversation::{self, Conversation, Parsed, Spent, digest};
use crate::transcript::format::Format;
use crate::transcript::source::{Place, Source, members, text_of};

/// Reads a file. Records of several sessions, as a resumed session has them, become several
/// conversations.
pub(super) fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let (mut lines, mut title) = (Vec::new(), None);
    for record in &source.records {
        match Line::read(record.text) {
            Ok(Line::Message(line)) => lines.push(line),
            Ok(Line::Other { name, title: named }) => {
                *parsed.ignored.entry(name).or_default() += 1;
                title = named.or(title);
            }
            Err(reason) => parsed.broken.push(record.place.broken(reason)),
        }
    }
    let default = lines.iter().find_map(|line| line.session_id.clone());
    let default = default.unwrap_or_else(|| stem.to_owned());
    let mut places = HashMap::new();
    for line in lines {
        line.join(&mut parsed.conversations, &mut places, &default);
    }
    if let Some(first) = parsed.conversations.first_mut() {
        first.title = title;
    }
    parsed
}

/// What a record says.
enum Line {
    Message(MessageLine),
    Other { name: String, title: Option<String> },
}

struct MessageLine {
    session_id: Option<String>,
    messages: Vec<Message>,
    digest: [u8; 32],
    is_user: bool,
    spent: Option<Spent>,
}

impl Line {
    fn read(text: &str) -> Result<Self> {
        let record = JsonObject::parse(text)?;
        let name = record.get("type").and_then(text_of);
        let name = name.ok_or_else(|| Error::invalid("a record without a type"))?;
        if name == "user" || name == "assistant" {
            return MessageLine::read(&record, text).map(Self::Message);
        }
        let title = record.get("summary").filter(|_| name == "summary").and_then(text_of);
        let title = title.and_then(|words| conversation::title(&words));
        Ok(Self::Other { name, title })
    }
}

impl MessageLine {
    fn read(record: &JsonObject, text: &str) -> Result<Self> {
        let messages = messages_of(record)?;
        // The results of tools come in records of the user's, but nobody speaks in them.
        let is_user = messages.iter().all(|message| message.role == Role::User);
        Ok(Self {
            session_id: session_id(record),
            digest: digest(text),
            is_user,
            spent: spent(record),
            messages,
        })
    }

    /// Adds the record to the conversation of its session, wherever that stands.
    fn join(
        self,
        conversations: &mut Vec<Conversation>,
        places: &mut HashMap<String, usize>,
        default: &str,
    ) {
        let session_id = self.session_id.unwrap_or_else(|| default.to_owned());
        let at = *places.entry(session_id).or_insert_with_key(|session_id| {
            let session_id = session_id.clone();
            conversations.push(Conversation::new(Format::ClaudeCode, session_id, Place::Whole));
            conversations.len() - 1
        });
        let Some(conversation) = conversations.get_mut(at) else { return };
        let mut spent = self.spent;
        for message in self.messages {
            conversation.push(message, self.digest, self.is_user, spent.take());
        }
    }
}

/// The session of a record. A sub-agent has one of its own.
fn session_id(record: &JsonObject) -> Option<String> {
    let session_id = record.get("sessionId").and_then(text_of).filter(|id| !id.is_empty())?;
    let is_sidechain = record.get("isSidechain").is_none_or(|json| json.as_str() != "false");
    let agent_id = record.get("agentId").and_then(text_of).filter(|_| is_sidechain);
    Some(match agent_id {
        Some(agent_id) => format!("{session_id}-agent-{agent_id}"),
        None => session_id,
    })
}

/// What the response spent, as the record says it: each record of one response does.
fn spent(record: &JsonObject) -> Option<Spent> {
    usage(&members(record.get("message")?.as_str())?)
}
