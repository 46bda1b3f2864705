//! A conversation as a file has it, on its way into a session.

use std::collections::BTreeMap;

use serde_json::Value;

use super::format::Format;
use super::jsonl::Dumped;
use super::kept::Kept;
use super::report::Counts;
use super::runs::RunPlan;
use super::source::{Broken, Place, elements};
use crate::error::Result;
use crate::id::EventId;
use crate::json::Json;
use crate::limits::NAME_BYTES_MAX;
use crate::message::{Message, Metrics, Role};

/// What a file holds, read but not recorded yet.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) conversations: Vec<Conversation>,
    /// Events as they were stored, to be taken over.
    pub(super) dumped: Vec<Dumped>,
    pub(super) broken: Vec<Broken>,
    /// Types of records that are no messages.
    pub(super) ignored: BTreeMap<String, u64>,
}

impl Parsed {
    /// Whether nothing was found that could be recorded.
    pub(super) fn is_empty(&self) -> bool {
        self.conversations.is_empty() && self.dumped.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) format: Format,
    pub(super) session_id: String,
    pub(super) user_id: Option<String>,
    pub(super) metadata: Option<Json>,
    /// What the source says about the whole of it, kept for the way back.
    pub(super) data: Option<Json>,
    /// A title that a model gave it.
    pub(super) title: Option<String>,
    /// The line it stands on, where it has one to itself.
    pub(super) line: Option<u64>,
    /// The messages, where the person's words say where runs begin.
    pub(super) entries: Vec<Entry>,
    /// The places of the source's messages that cannot be read, counted from 0, in order.
    pub(super) unread: Vec<usize>,
    /// The session and its runs, where the source keeps them as such; there are no entries then.
    pub(super) kept: Option<Box<Kept>>,
}

/// One message of a conversation.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: EventId,
    pub(super) message: Message,
    /// Whether the person speaks.
    pub(super) is_user: bool,
    pub(super) spent: Option<Spent>,
}

/// What a model response spent. Several messages of one response all say it.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) response_id: Option<String>,
    pub(super) metrics: Metrics,
}

/// Reads a message of some format into a conversation.
pub(super) type ReadMessage = fn(&mut Conversation, &str) -> Result<()>;

impl Conversation {
    pub(super) fn new(format: Format, session_id: String, place: Place) -> Self {
        Self {
            format,
            session_id,
            user_id: None,
            metadata: None,
            data: None,
            title: None,
            line: place.line(),
            entries: Vec::new(),
            unread: Vec::new(),
            kept: None,
        }
    }

    /// What there is of it.
    pub(super) fn counts(&self) -> Counts {
        if let Some(kept) = &self.kept {
            return kept.counts();
        }
        let runs = RunPlan::of(&self.entries).count();
        let mut counts = Counts { sessions: 1, runs, ..Counts::default() };
        self.entries.iter().for_each(|entry| counts.add_message(&entry.message));
        counts
    }

    /// Its messages, those of all runs.
    pub(super) fn messages(&self) -> impl Iterator<Item = &Message> {
        let kept = self.kept.iter().flat_map(|kept| &kept.runs).flat_map(|run| &run.messages);
        let entries = self.entries.iter().map(|entry| &entry.message);
        entries.chain(kept.map(|kept| &kept.message))
    }

    /// Adds a message. `digest` stands for the record it comes from.
    pub(super) fn push(
        &mut self,
        message: Message,
        digest: [u8; 32],
        is_user: bool,
        spent: Option<Spent>,
    ) {
        let index = (self.entries.len() as u64).to_le_bytes();
        let (session_id, format) = (self.session_id.as_bytes(), self.format.as_str().as_bytes());
        let id = EventId::derive(&[session_id, format, &index, &digest]);
        self.entries.push(Entry { id, message, is_user, spent });
    }

    /// Reads a list of `OpenAI` messages, which is a conversation only if some of them can be
    /// read, or if it is empty. Broken ones are named by `place` and `member`.
    pub(super) fn read_list(
        &mut self,
        list: &str,
        (place, member): (Place, &str),
        broken: &mut Vec<Broken>,
    ) -> Result<(), Broken> {
        self.read_list_with(list, (place, member), Self::read_message, broken)
    }

    /// Reads a list of messages in the same way, each by `read`.
    pub(super) fn read_list_with(
        &mut self,
        list: &str,
        (place, member): (Place, &str),
        mut read: impl FnMut(&mut Self, &str) -> Result<()>,
        broken: &mut Vec<Broken>,
    ) -> Result<(), Broken> {
        let before = self.entries.len();
        let messages = elements(list).ok_or_else(|| place.broken("its messages are no list"))?;
        let is_empty = messages.is_empty();
        for (index, text) in messages.into_iter().enumerate() {
            if let Err(reason) = read(self, text) {
                broken.push(place.broken_in(member, index, reason));
                self.unread.push(index);
            }
        }
        if self.entries.len() == before && !is_empty {
            return Err(place.broken("none of its messages can be read"));
        }
        Ok(())
    }

    /// Counts what all of it spent, which a source knows at its end.
    pub(super) fn spend(&mut self, metrics: Metrics) {
        if let Some(last) = self.entries.last_mut() {
            last.spent = Some(Spent { response_id: None, metrics });
        }
    }

    /// Whether its messages say what they spent.
    pub(super) fn says_what_it_spent(&self) -> bool {
        self.entries.iter().any(|entry| entry.spent.is_some())
    }

    /// Reads one `OpenAI` message.
    pub(super) fn read_message(&mut self, text: &str) -> Result<()> {
        let message = Message::from_json(text)?;
        let spent = message.metrics.map(|metrics| Spent { response_id: None, metrics });
        let is_user = message.role == Role::User;
        self.push(message, digest(text), is_user, spent);
        Ok(())
    }
}

/// What can be a session's name of what a source calls it: one line, within the limit.
pub(super) fn title(text: &str) -> Option<String> {
    let mut title = text.replace(char::is_control, " ");
    let mut end = NAME_BYTES_MAX.min(title.len());
    while !title.is_char_boundary(end) {
        end -= 1;
    }
    title.truncate(end);
    (!title.trim().is_empty()).then_some(title)
}

/// Stands for a record: equal for equal JSON, however it is spaced, escaped and ordered.
pub(super) fn digest(text: &str) -> [u8; 32] {
    let canonical = match serde_json::from_str::<Value>(text) {
        Ok(value) => canonical(&value),
        // A number that no `f64` holds: only the text can stand for it.
        Err(_) => text.trim().to_owned(),
    };
    *blake3::hash(canonical.as_bytes()).as_bytes()
}

/// The value with its members in order of their names. Not left to `serde_json`, whose maps
/// keep another order where some other crate asks it to.
fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

/// Recursive, but no deeper than `serde_json` lets a value become.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(elements) => {
            out.push('[');
            for element in elements {
                write_canonical(element, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, member) in members {
                out.push_str(Json::string(name).as_str());
                out.push(':');
                write_canonical(member, out);
                out.push(',');
            }
            out.push('}');
        }
        plain => out.push_str(&plain.to_string()),
    }
}
