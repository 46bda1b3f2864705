//! What is found.

use std::ops::Range;
use std::str::FromStr;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::event::{Event, EventBody};
use crate::limits::SEARCH_TEXT_BYTES_MAX;
use crate::message::Role;
use crate::replay::Point;

/// What holds the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SearchKind {
    /// A message of a user or an assistant that counts. Copies of earlier ones do not.
    Message,
    /// The name that a session has.
    Name,
    /// The summary that holds, with its topics.
    Summary,
}

impl SearchKind {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Message, Self::Name, Self::Summary];

    /// `message`, `name` or `summary`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Name => "name",
            Self::Summary => "summary",
        }
    }
}

impl FromStr for SearchKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| {
            Error::invalid(format!("{text:?} is not searched: use message, name or summary"))
        })
    }
}

/// A place where all words are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SearchHit {
    /// The session. What forks share is told of the session in which it was said, if that may be
    /// read, and else of a fork.
    pub session_id: String,
    /// The seq of the event.
    pub seq: u64,
    /// The run that the message belongs to.
    pub run_id: Option<String>,
    /// What holds the words.
    pub kind: SearchKind,
    /// Who speaks, in a message.
    pub role: Option<&'static str>,
    /// When it was recorded, in microseconds since 1970.
    pub recorded_at_us: i64,
    /// How well it matches, by BM25 over what the caller reaches. Only the order says something.
    pub score: f32,
    /// The words and what stands around them: a part of the text, cut between characters.
    pub snippet: String,
    /// Where the words stand in the snippet: bytes, in order, between characters.
    pub matches: Vec<Range<usize>>,
}

impl SearchHit {
    /// The place to jump to.
    pub fn point(&self) -> Point {
        Point::seq(self.seq)
    }
}

/// The best hits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SearchPage {
    /// The best first; of equal ones, the newest.
    pub hits: Vec<SearchHit>,
    /// Whether there are more than were asked for.
    pub has_more: bool,
}

/// What of an event is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) kind: SearchKind,
    pub(super) role: Option<Speaker>,
    pub(super) text: String,
}

/// Whose messages are searched. Tools answer with files and tables, which would bury what people
/// and models say; instructions are the same in every session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Assistant,
}

impl Speaker {
    pub(super) const fn of(role: &Role) -> Option<Self> {
        match role {
            Role::User => Some(Self::User),
            Role::Assistant => Some(Self::Assistant),
            _ => None,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

impl Said {
    /// `None` where there is nothing to search.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let (kind, role, mut text) = match &event.body {
            EventBody::MessageAdded(added) if !added.message.from_history => {
                let role = Speaker::of(&added.message.role)?;
                (SearchKind::Message, Some(role), added.message.content.text())
            }
            EventBody::Renamed(renamed) => (SearchKind::Name, None, renamed.name.clone()?),
            EventBody::SummaryWritten(written) => {
                let mut lines = vec![written.summary.clone()];
                lines.extend(written.topics.iter().cloned());
                (SearchKind::Summary, None, lines.join("\n"))
            }
            _ => return None,
        };
        if text.len() > SEARCH_TEXT_BYTES_MAX {
            let mut end = SEARCH_TEXT_BYTES_MAX;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
        }
        (!text.is_empty()).then_some(Self { kind, role, text })
    }

    /// The number that stands for kind and role in the index.
    pub(super) const fn sort(&self) -> u64 {
        sort_of(self.kind, self.role)
    }
}

pub(super) const fn sort_of(kind: SearchKind, role: Option<Speaker>) -> u64 {
    match (kind, role) {
        (SearchKind::Message, Some(Speaker::User) | None) => 0,
        (SearchKind::Message, Some(Speaker::Assistant)) => 1,
        (SearchKind::Name, _) => 2,
        (SearchKind::Summary, _) => 3,
    }
}
