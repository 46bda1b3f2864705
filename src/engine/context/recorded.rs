//! What earlier model calls were given, made again from their manifests.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::super::session::Session;
use crate::codec::{self, BodyForm, Frame};
use crate::context::{ContextMemory, Cut, Parts, compose, prompt_digest};
use crate::error::{Context as _, Error, ErrorKind, Result};
use crate::event::{ContextRecorded, Event, EventBody, Instructions, MemoryRef, PromptFormat};
use crate::index::Lineage;
use crate::log::key;
use crate::message::{Anthropic, Message, to_anthropic, to_openai};
use crate::replay::Point;
use crate::snapshot;
use crate::stream::{Events, LiveEvents};

/// The manifest of a model call, as it was recorded.
#[derive(Debug, Clone)]
pub struct RecordedContext {
    session: Session,
    seq: u64,
    recorded_at_us: i64,
    manifest: ContextRecorded,
}

/// The messages of an earlier model call, made again.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RebuiltContext {
    messages: Vec<Message>,
    opened: Vec<Message>,
    is_exact: bool,
    changes: Vec<ContextChange>,
}

/// Why the messages of an earlier call are not those that were sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContextChange {
    /// Events that it was made of say less since: a policy or an erasure took something from them.
    Reduced {
        /// Which.
        seqs: Vec<u64>,
    },
    /// Events that it was made of are gone.
    Gone {
        /// Which.
        seqs: Vec<u64>,
    },
    /// Memories that it was made of are not at hand.
    MissingMemories {
        /// Their ids.
        memory_ids: Vec<String>,
    },
    /// The instructions were kept in another manifest, which is gone.
    MissingInstructions {
        /// The seq of that manifest.
        seq: u64,
    },
    /// The digest left with something that was erased, so whether all is as it was is not known.
    DigestGone,
    /// It was made by other rules than those of this version.
    OtherRules {
        /// Their version.
        rules: u16,
    },
    /// The digest is another, and nothing that is known of explains it.
    Unexplained,
}

impl Session {
    /// The manifests of all model calls that were recorded and count, oldest first: not of those
    /// that a rewind left behind. Reads the whole session.
    pub fn recorded_contexts(&self) -> Result<Vec<RecordedContext>> {
        let read = || {
            let (lineage, head) = self.head()?;
            let events = LiveEvents::new(self.inner().log(), &lineage, head)?;
            self.manifests(events)
        };
        read().with_context(|| self.place())
    }

    /// Those of one run, [`Point::run`] or [`Point::run_id`], oldest first: one for each model
    /// call that was recorded, whether it counts or not. What the calls of a run saw can still be
    /// asked after a rewind has left it behind, by the run's id. Reads the run.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn recorded_contexts_of(&self, run: Point) -> Result<Vec<RecordedContext>> {
        let read = || {
            let (lineage, head) = self.head()?;
            let log = self.inner().log();
            let (run, span) = run.run_span(&**log, &lineage, head)?;
            let events = Events::new(log, &lineage, span.first, span.last);
            let is_of = |event: &Result<Event>| event.as_ref().map_or(true, |it| it.run == run);
            self.manifests(events.filter(is_of))
        };
        read().with_context(|| self.place())
    }

    /// The manifest at a seq, whether it counts or not.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is none.
    pub fn recorded_context(&self, seq: u64) -> Result<RecordedContext> {
        let read = || {
            let (lineage, head) = self.head()?;
            if !(lineage.first_seq()..=head).contains(&seq) {
                return Err(Error::not_found("recorded context").context(format!("seq {seq}")));
            }
            let events = Events::new(self.inner().log(), &lineage, seq, seq);
            let found = self.manifests(events)?.pop();
            found.ok_or_else(|| Error::not_found("recorded context").context(format!("seq {seq}")))
        };
        read().with_context(|| self.place())
    }

    fn manifests(
        &self,
        events: impl Iterator<Item = Result<Event>>,
    ) -> Result<Vec<RecordedContext>> {
        let mut found = Vec::new();
        for event in events {
            let Event { seq, recorded_at_us, body, .. } = event?;
            if let EventBody::ContextRecorded(manifest) = body {
                found.push(RecordedContext {
                    session: self.clone(),
                    seq,
                    recorded_at_us,
                    manifest,
                });
            }
        }
        Ok(found)
    }
}

impl RecordedContext {
    /// The seq it was recorded at.
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// When it was recorded, in microseconds since 1970.
    pub fn recorded_at_us(&self) -> i64 {
        self.recorded_at_us
    }

    /// What the prompt was made of.
    pub fn manifest(&self) -> &ContextRecorded {
        &self.manifest
    }

    /// Makes the messages again, with the memories as they were then.
    ///
    /// Where nothing was removed since, and the session still is its owner's, the messages are
    /// those that were sent, to the byte. Stored media stand in them as references.
    pub fn rebuild(&self) -> Result<RebuiltContext> {
        let memories = self.memories().with_context(|| self.session.place())?;
        self.rebuild_with(&memories)
    }

    /// The same with memories that the caller keeps elsewhere: those that the manifest names, as
    /// they were.
    pub fn rebuild_with(&self, memories: &[ContextMemory]) -> Result<RebuiltContext> {
        self.rebuild_now(memories).with_context(|| self.session.place())
    }

    /// What the manifest names of the owner's memories. One that is erased is left out, and so
    /// are those of an earlier owner.
    fn memories(&self) -> Result<Vec<ContextMemory>> {
        if self.manifest.memories.is_empty() || self.session.view()?.user_id.is_none() {
            return Ok(Vec::new());
        }
        let memories = self.session.memories()?;
        let mut found = Vec::new();
        for MemoryRef { memory_id, seq } in &self.manifest.memories {
            match memories.text_at(*seq) {
                Ok(text) if text.memory_id == *memory_id => found.push(ContextMemory {
                    memory_id: text.memory_id,
                    seq: *seq,
                    memory: text.memory,
                }),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn rebuild_now(&self, memories: &[ContextMemory]) -> Result<RebuiltContext> {
        self.manifest.check()?;
        let (lineage, head) = self.session.head()?;
        let mut reader = Reader::new(&self.session, &lineage);
        let parts = reader.parts(&self.manifest, memories)?;
        let composed = compose(&parts, &Cut::NOTHING);
        let messages = composed.messages.clone();
        let opened = composed.opened();
        let digest = match self.manifest.format {
            PromptFormat::OpenAi => prompt_digest(&to_openai(&messages), None),
            PromptFormat::Anthropic => to_anthropic(&opened).digest(),
        };
        let is_exact = self.manifest.prompt_digest == Some(digest);
        let changes = if is_exact { Vec::new() } else { self.explain(reader, &lineage, head)? };
        Ok(RebuiltContext { messages, opened, is_exact, changes })
    }

    /// Why the prompt is not the one that was sent.
    fn explain(
        &self,
        reader: Reader<'_>,
        lineage: &Lineage,
        head: u64,
    ) -> Result<Vec<ContextChange>> {
        let Reader { gone, replaced, mut changes, .. } = reader;
        let mut later = BTreeSet::new();
        for event in Events::new(self.session.inner().log(), lineage, self.seq + 1, head) {
            let removed = match event?.body {
                EventBody::Compacted(compacted) => compacted.removed,
                EventBody::Erased(erased) => erased.removed,
                _ => continue,
            };
            later.extend(removed.into_iter().map(|removed| removed.seq));
        }
        let mut reduced: Vec<u64> = replaced.intersection(&later).copied().collect();
        // What went from a part that is shared is said in another session.
        if reduced.is_empty() {
            reduced = replaced.into_iter().collect();
        }
        let seqs: Vec<u64> = gone.into_iter().collect();
        changes.extend((!seqs.is_empty()).then_some(ContextChange::Gone { seqs }));
        changes.extend((!reduced.is_empty()).then_some(ContextChange::Reduced { seqs: reduced }));
        let (rules, digest) = (self.manifest.rules, self.manifest.prompt_digest);
        let has_other_rules = rules != ContextRecorded::RULES;
        changes.extend(has_other_rules.then_some(ContextChange::OtherRules { rules }));
        changes.extend(digest.is_none().then_some(ContextChange::DigestGone));
        if changes.is_empty() {
            changes.push(ContextChange::Unexplained);
        }
        Ok(changes)
    }
}

impl RebuiltContext {
    /// The messages, stored media as references.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The messages as OpenAI's chat completions take them.
    pub fn openai(&self) -> Vec<Value> {
        to_openai(&self.messages)
    }

    /// The messages as Anthropic's messages API takes them.
    pub fn anthropic(&self) -> Anthropic {
        to_anthropic(&self.opened)
    }

    /// Whether they are those that were sent, by their digest.
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }

    /// Why they are not; empty where they are.
    pub fn changes(&self) -> &[ContextChange] {
        &self.changes
    }
}

/// Reads what a manifest names.
struct Reader<'a> {
    session: &'a Session,
    lineage: &'a Lineage,
    gone: BTreeSet<u64>,
    replaced: BTreeSet<u64>,
    changes: Vec<ContextChange>,
}

impl<'a> Reader<'a> {
    fn new(session: &'a Session, lineage: &'a Lineage) -> Self {
        let (gone, replaced) = (BTreeSet::new(), BTreeSet::new());
        Self { session, lineage, gone, replaced, changes: Vec::new() }
    }

    fn parts(&mut self, manifest: &ContextRecorded, memories: &[ContextMemory]) -> Result<Parts> {
        let max_tool_calls = manifest.max_tool_calls;
        Ok(Parts {
            system: self.message_of(manifest.system_seq)?,
            instructions: self.instructions(manifest)?,
            summary: self.summary(manifest.summary_seq)?,
            memories: self.memories(manifest, memories),
            state: self.state(manifest.state_seq)?,
            opening: self.message_of(manifest.opening_seq)?,
            history: self.messages(manifest.history())?,
            run: self.messages(manifest.run())?,
            max_tool_calls: max_tool_calls.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
            tools: 0,
        })
    }

    /// The body at a seq; `None`, and noted, where it is gone.
    fn body(&mut self, seq: u64) -> Result<Option<EventBody>> {
        let stream = self.lineage.holder(seq);
        let Some(bytes) = self.session.inner().log().get(&key::frame(stream, seq))? else {
            self.gone.insert(seq);
            return Ok(None);
        };
        let frame = Frame::open(&bytes, stream, seq).with_context(|| format!("seq {seq}"))?;
        if frame.form == BodyForm::Replaced {
            self.replaced.insert(seq);
        }
        match codec::decode(&frame)?.body {
            EventBody::Gone(_) => {
                self.gone.insert(seq);
                Ok(None)
            }
            body => Ok(Some(body)),
        }
    }

    fn message(&mut self, seq: u64) -> Result<Option<(u64, Message)>> {
        Ok(match self.body(seq)? {
            Some(EventBody::MessageAdded(added)) => Some((seq, added.message)),
            Some(_) => return Err(not_what_it_says(seq, "message")),
            None => None,
        })
    }

    fn message_of(&mut self, seq: Option<u64>) -> Result<Option<(u64, Message)>> {
        seq.map_or(Ok(None), |seq| self.message(seq))
    }

    fn messages(&mut self, seqs: impl Iterator<Item = u64>) -> Result<Vec<(u64, Message)>> {
        let mut messages = Vec::new();
        for seq in seqs {
            messages.extend(self.message(seq)?);
        }
        Ok(messages)
    }

    fn summary(&mut self, seq: Option<u64>) -> Result<Option<(u64, String)>> {
        let Some(seq) = seq else { return Ok(None) };
        Ok(match self.body(seq)? {
            Some(EventBody::SummaryWritten(written)) => Some((seq, written.summary)),
            Some(_) => return Err(not_what_it_says(seq, "summary")),
            None => None,
        })
    }

    fn instructions(&mut self, manifest: &ContextRecorded) -> Result<Option<String>> {
        let seq = match &manifest.instructions {
            None => return Ok(None),
            Some(Instructions::Text(text)) => return Ok(Some(text.clone())),
            Some(Instructions::Earlier { seq, .. }) => *seq,
        };
        if let Some(EventBody::ContextRecorded(earlier)) = self.body(seq)?
            && let Some(Instructions::Text(text)) = earlier.instructions
        {
            // A manifest gives way where something it names does, and keeps its instructions.
            self.replaced.remove(&seq);
            return Ok(Some(text));
        }
        self.gone.remove(&seq);
        self.changes.push(ContextChange::MissingInstructions { seq });
        Ok(None)
    }

    fn state(&self, seq: Option<u64>) -> Result<Option<(u64, serde_json::Map<String, Value>)>> {
        let Some(seq) = seq else { return Ok(None) };
        let view = snapshot::view_at(self.session.inner().log(), self.lineage, seq)?;
        Ok(Some((seq, view.state)))
    }

    fn memories(
        &mut self,
        manifest: &ContextRecorded,
        memories: &[ContextMemory],
    ) -> Vec<ContextMemory> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for named in &manifest.memories {
            let is_named = |memory: &&ContextMemory| {
                memory.memory_id == named.memory_id && memory.seq == named.seq
            };
            match memories.iter().find(is_named) {
                Some(memory) => found.push(memory.clone()),
                None => missing.push(named.memory_id.clone()),
            }
        }
        if !missing.is_empty() {
            self.changes.push(ContextChange::MissingMemories { memory_ids: missing });
        }
        found
    }
}

fn not_what_it_says(seq: u64, what: &str) -> Error {
    Error::invalid(format!("the manifest names seq {seq} as a {what}, which it is not"))
}

impl fmt::Display for ContextChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |seqs: &[u64]| {
            let seqs: Vec<String> = seqs.iter().map(u64::to_string).collect();
            seqs.join(", ")
        };
        match self {
            Self::Reduced { seqs } => {
                write!(f, "since removed, in whole or in part: seq {}", list(seqs))
            }
            Self::Gone { seqs } => write!(f, "since erased: seq {}", list(seqs)),
            Self::MissingMemories { memory_ids } => {
                write!(f, "memories that are not at hand: {}", memory_ids.join(", "))
            }
            Self::MissingInstructions { seq } => {
                write!(f, "instructions that were kept at seq {seq}, since erased")
            }
            Self::DigestGone => f.write_str("its digest left with what was erased"),
            Self::OtherRules { rules } => {
                write!(f, "made by version {rules} of the rules, which this version does not have")
            }
            Self::Unexplained => f.write_str("its digest is another, and nothing explains it"),
        }
    }
}
