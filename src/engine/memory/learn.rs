//! What somebody makes of one message: changes of memories that are there all or not at all.

use std::collections::BTreeMap;

use super::new::without_repeats;
use super::{Memories, check_room, deletion};
use crate::commit::Expected;
use crate::engine::Session;
use crate::error::{Context, Error, Result};
use crate::event::{EventBody, MemorySource, MemoryUpserted, NewEvent, NothingLearned};
use crate::id::{Digest, EventId, generate_name};
use crate::index::{RunRecord, Timeline, stored_seq};
use crate::message::Role;
use crate::projection::{Memory, SessionView};
use crate::replay::Point;
use crate::stream::LiveEvents;

/// The message that memories are made of.
#[derive(Debug, Clone)]
pub(crate) struct Lesson {
    pub(crate) source: MemorySource,
    /// The stream that holds the message.
    pub(crate) stream: Digest,
    /// What it says, as far as a memory keeps it.
    pub(crate) input: Option<String>,
    pub(crate) agent_id: Option<String>,
}

impl Lesson {
    /// The id of the first event of the changes, and of those after it: a message is learned from
    /// once.
    fn event_id(&self, number: usize) -> EventId {
        let (at, number) = (self.source.seq.to_le_bytes(), (number as u64).to_le_bytes());
        EventId::derive(&[b"memory of a message", &self.stream.to_bytes(), &at, &number])
    }
}

impl Session {
    /// The seq of the newest message of the user in a run, copies of earlier ones left out.
    pub(crate) fn last_asked(&self, run_id: &str) -> Result<Option<u64>> {
        let read = || {
            let (lineage, head) = self.head()?;
            let (log, run) = (self.inner().log(), Digest::of_run(run_id));
            let mut timeline = Timeline::at(&**log, &lineage, head);
            let record = RunRecord::load(&**log, &lineage, &mut timeline, run)?;
            let record = record.ok_or_else(|| Error::not_found("run"))?;
            let last = if record.status.is_terminal() { record.last_seq } else { head };
            let mut asked = None;
            for event in LiveEvents::between(log, &lineage, record.first_seq, last)? {
                let event = event?;
                if let EventBody::MessageAdded(added) = &event.body
                    && event.run == run
                    && added.message.role == Role::User
                    && !added.message.from_history
                    && !added.message.omitted.message
                {
                    asked = Some(event.seq);
                }
            }
            Ok(asked)
        };
        read().with_context(|| format!("{}: run {run_id}", self.place()))
    }
}

/// What is to become of one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Draft {
    /// It is new.
    Added { memory: String, topics: Vec<String> },
    /// It says something else than it did at a seq.
    Updated { seen: u64, memory: String, topics: Vec<String> },
    /// It goes, as it was at a seq.
    Deleted { seen: u64 },
}

impl Memories {
    /// Whether the message was read before, whatever came of it.
    pub(crate) fn has_learned(&self, lesson: &Lesson) -> Result<bool> {
        let (inner, stream) = (self.stream.inner(), self.stream.key());
        let Some((entry, _)) = inner.entry(stream)? else { return Ok(false) };
        let lineage = entry.lineage(stream);
        Ok(stored_seq(&**inner.log(), &lineage, lesson.event_id(0))?.is_some())
    }

    /// The same of the message at a seq of a session.
    pub(crate) fn has_read(&self, session: &Session, seq: u64) -> Result<bool> {
        let (lineage, _) = session.resolve(&Point::Seq(seq))?;
        let source = MemorySource { session_id: session.id().to_owned(), seq };
        let stream = lineage.holder(seq);
        self.has_learned(&Lesson { source, stream, input: None, agent_id: None })
    }

    /// A new id for a memory.
    pub(crate) fn new_id() -> String {
        generate_name()
    }

    /// The present memories, by id.
    pub(crate) fn present(&self) -> Result<BTreeMap<String, Memory>> {
        self.all()
    }

    /// Applies what was made of a message, all of it or nothing, once. What somebody else changed
    /// in the meantime is left as it is. Returns the ids of what was changed. Where that is
    /// nothing, it is noted, so that nobody asks again what to make of the message.
    pub(crate) fn learn(
        &self,
        lesson: &Lesson,
        drafts: &BTreeMap<String, Draft>,
    ) -> Result<Vec<String>> {
        let mut changed = Vec::new();
        let ticket = self.change(|view| {
            changed.clear();
            let mut events = Vec::new();
            if self.has_learned(lesson)? {
                return Ok((Expected::Any, events));
            }
            let mut memories = view.memories.len();
            for (memory_id, draft) in drafts {
                let Some(event) = event_of(lesson, memory_id, draft, view) else { continue };
                match draft {
                    Draft::Added { .. } => memories += 1,
                    Draft::Deleted { .. } => memories = memories.saturating_sub(1),
                    Draft::Updated { .. } => {}
                }
                events.push(event.with_id(lesson.event_id(events.len())));
                changed.push(memory_id.clone());
            }
            check_room(memories)?;
            if events.is_empty() {
                let (source_stream, seq) = (lesson.stream.to_bytes(), lesson.source.seq);
                let nothing = NewEvent::new(NothingLearned { source_stream, seq });
                events.push(nothing.with_id(lesson.event_id(0)));
            }
            Ok((Expected::Seq(view.seq), events))
        });
        ticket.with_context(|| self.place())?;
        Ok(changed)
    }
}

/// What is appended for a draft; nothing where it rests on what is not so any more.
fn event_of(
    lesson: &Lesson,
    memory_id: &str,
    draft: &Draft,
    view: &SessionView,
) -> Option<NewEvent> {
    let is_as_seen = |seen: u64| view.memories.get(memory_id).is_some_and(|it| it.seq == seen);
    let (memory, topics) = match draft {
        Draft::Added { memory, topics } => (memory, topics),
        Draft::Updated { seen, memory, topics } if is_as_seen(*seen) => (memory, topics),
        Draft::Deleted { seen } if is_as_seen(*seen) => return Some(deletion(memory_id)),
        Draft::Updated { .. } | Draft::Deleted { .. } => return None,
    };
    Some(NewEvent::new(MemoryUpserted {
        memory_id: memory_id.to_owned(),
        memory: memory.clone(),
        topics: without_repeats(topics.clone()),
        input: lesson.input.clone(),
        agent_id: lesson.agent_id.clone(),
        source: Some(lesson.source.clone()),
        source_stream: lesson.stream.to_bytes(),
    }))
}
