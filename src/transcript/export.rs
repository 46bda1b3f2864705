//! Sessions out into transcripts.

use super::format::Format;
use super::jsonl;
use super::source::members;
use crate::engine::{Memories, Session, SessionAt};
use crate::error::Result;
use crate::json::{Json, JsonObject};
use crate::message::Message;
use crate::projection::{Import, RunView, SessionView};
use crate::replay::Point;

/// Writes a session as a transcript: one document, or one record a line where the format has
/// its sessions so, as [`Format::ClaudeCode`] does.
///
/// In the format that a session was imported from it comes back equal as JSON, with what was
/// added since in the same manner.
///
/// ```
/// use sessionlog::transcript::{Format, ImportOptions, export, import_text};
/// use sessionlog::Engine;
///
/// let engine = Engine::in_memory()?;
/// let text = r#"{"id":"s1","messages":[{"role":"user","content":"Hi","note":null}]}"#;
/// import_text(&engine, "stdin", text.as_bytes(), &ImportOptions::default())?;
/// let session = engine.session("s1").open()?;
/// let out = export(&session, Format::OpenAi)?;
/// let given: serde_json::Value = serde_json::from_str(text).unwrap();
/// assert_eq!(out[0].to_value(), given);
/// # Ok::<(), sessionlog::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where nothing is written in the format,
/// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) where the session was given to
/// somebody else, and whatever reading the log fails with.
pub fn export(session: &Session, format: Format) -> Result<Vec<Json>> {
    let write = format.write()?;
    let documents = write(&Recorded { now: session.at(Point::Head)? })?;
    // A dump has its media beside its events, which say what they say.
    if format == Format::Jsonl {
        return Ok(documents);
    }
    let streams = session.media_streams()?;
    documents.into_iter().map(|document| session.attach_json(&streams, document)).collect()
}

/// Writes a user's memories as a dump: one event a line, none where there are none. An import takes
/// them over with the same links, into the memories of the user of that id, if these are none yet
/// or the beginning of what comes.
///
/// ```
/// use sessionlog::transcript::{ImportOptions, export_memories, import_text};
/// use sessionlog::{Engine, NewMemory};
///
/// let engine = Engine::in_memory()?;
/// let memories = engine.memories("alice")?;
/// let (memory_id, ticket) = memories.add(NewMemory::new("Likes tea."))?;
/// ticket.wait()?;
/// let lines = export_memories(&memories)?;
/// let dump: String = lines.iter().map(|line| format!("{}\n", line.as_str())).collect();
///
/// let other = Engine::in_memory()?;
/// import_text(&other, "stdin", dump.as_bytes(), &ImportOptions::default())?;
/// assert_eq!(other.memories("alice")?.get(&memory_id)?, memories.get(&memory_id)?);
/// # Ok::<(), sessionlog::Error>(())
/// ```
pub fn export_memories(memories: &Memories) -> Result<Vec<Json>> {
    jsonl::write_memories(memories)
}

/// A session on its way out.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) now: SessionAt,
}

impl Recorded {
    pub(super) fn view(&self) -> &SessionView {
        self.now.view()
    }

    /// The messages in their order, each with its seq and the time its run began at.
    pub(super) fn messages(&self) -> Result<Vec<(u64, i64, Message)>> {
        self.messages_of(|_| true)
    }

    /// The messages of some of the runs, in the same manner.
    pub(super) fn messages_of(
        &self,
        is_meant: impl Fn(&RunView) -> bool,
    ) -> Result<Vec<(u64, i64, Message)>> {
        let mut messages = Vec::new();
        for run in self.now.runs()?.into_iter().filter(is_meant) {
            let at_us = run.started_at_us;
            let kept = run.messages.into_iter().filter(|(_, message)| !message.omitted.message);
            messages.extend(kept.map(|(seq, message)| (seq, at_us, message)));
        }
        // Runs may have been under way at the same time.
        messages.sort_by_key(|(seq, _, _)| *seq);
        Ok(messages)
    }

    /// The messages as `OpenAI` records, without what only the formats they came in need.
    pub(super) fn plain(&self) -> Result<Vec<Json>> {
        let formats = self.view().imports.iter().filter_map(|import| import.format.parse().ok());
        let reserved: Vec<&str> = formats.filter_map(Format::reserved).collect();
        let is_reserved = |name: &str| reserved.iter().any(|prefix| name.starts_with(prefix));
        let messages = self.messages()?.into_iter().map(|(_, _, mut message)| {
            message.extra.retain(|field| !is_reserved(&field.name));
            message.to_json()
        });
        Ok(messages.collect())
    }

    /// What the last import of the session was, where it was of this format.
    pub(super) fn import(&self, format: Format) -> Option<&Import> {
        self.view().imports.last().filter(|import| import.format == format.as_str())
    }

    /// What the source said about the whole conversation, where it was of this format.
    pub(super) fn data(&self, format: Format) -> Result<Option<JsonObject>> {
        let Some(import) = self.import(format) else { return Ok(None) };
        let data = self.now.session().import_data(import)?;
        Ok(data.and_then(|data| members(data.as_str())))
    }
}
