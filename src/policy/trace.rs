//! What was derived from what is erased.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use super::uses::Uses;
use crate::event::{
    ErasureTarget, Event, EventBody, ImportedFrom, RunFinished, RunPaused, RunStarted, ToolExecuted,
};
use crate::id::Digest;
use crate::message::{Content, Message, Role};

/// What an erasure takes from a stream, and what it follows from there.
///
/// Derived are: copies of an erased message in later runs, summaries that cover an erased event,
/// names that a model made behind it or that came with it in an import, and of its run and its
/// import what they say besides. In a user's memories: the texts that came from it, and what was
/// made of these texts.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    target: ErasureTarget,
    /// What is erased of this stream, and how.
    found: BTreeMap<u64, Found>,
    /// What was erased of the streams that it shares.
    shared: BTreeSet<u64>,
    /// What the erased messages said, and the first seq at which they did.
    said: HashMap<Said, u64>,
    /// The runs of erased messages, and the calls that those made or answered; `None` for those
    /// without an id.
    runs: BTreeMap<Digest, HashSet<Option<String>>>,
    /// Which records of tools are of these calls, as far as the stream itself tells.
    uses: Uses,
    /// The import that is being read: its first seq, and its last.
    import: Option<(u64, u64)>,
    /// Texts of memories that came from what was erased elsewhere.
    texts: BTreeSet<u64>,
    /// The memories that have such texts, and from which seq on: a later text was made from it.
    memories: HashMap<String, u64>,
}

/// Something that a message said, by which a copy of it is known: a copy may have lost the rest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Said {
    Content(Role, Content),
    Reasoning(String),
    Call { id: Option<String>, name: String, arguments: String },
}

impl Said {
    fn by(message: &Message) -> impl Iterator<Item = Self> + '_ {
        let content = (!message.content.is_empty())
            .then(|| Self::Content(message.role.clone(), message.content.clone()));
        let reasoning = message.reasoning.clone().filter(|reasoning| !reasoning.is_empty());
        let calls = message.tool_calls.iter().map(|call| Self::Call {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: call.arguments.clone(),
        });
        content.into_iter().chain(reasoning.map(Self::Reasoning)).chain(calls)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// It was asked for.
    Asked,
    /// It was derived.
    Derived,
    /// Only a part of it was derived.
    Partial,
}

impl Trace {
    pub(crate) fn new(target: ErasureTarget) -> Self {
        Self {
            target,
            found: BTreeMap::new(),
            shared: BTreeSet::new(),
            said: HashMap::new(),
            runs: BTreeMap::new(),
            uses: Uses::default(),
            import: None,
            texts: BTreeSet::new(),
            memories: HashMap::new(),
        }
    }

    /// Of a user's memories: these texts, and the later ones of the same memories.
    pub(crate) fn of_memories(target: ErasureTarget, texts: BTreeSet<u64>) -> Self {
        Self { texts, ..Self::new(target) }
    }

    /// The same in a stream that shares parts of others. What was erased of them behind its own
    /// beginning is no part of it: its own events have these seqs.
    pub(crate) fn of_sharer<'a>(
        target: ErasureTarget,
        parts: impl IntoIterator<Item = (&'a Self, RangeInclusive<u64>)>,
    ) -> Self {
        let mut trace = Self::new(target);
        for (part, seqs) in parts {
            let erased = part.found.range(seqs.clone());
            let erased = erased.filter(|(_, found)| **found != Found::Partial);
            trace.shared.extend(erased.map(|(seq, _)| *seq));
            let said = part.said.iter().filter(|(_, seq)| *seq <= seqs.end());
            trace.said.extend(said.map(|(what, seq)| (what.clone(), *seq)));
            for (run, calls) in &part.runs {
                trace.runs.entry(*run).or_default().extend(calls.iter().cloned());
            }
        }
        trace
    }

    /// Takes over what was said, from a look at the same stream when it could still be read.
    pub(crate) fn remember(&mut self, other: &Self) {
        for (what, seq) in &other.said {
            let first = self.said.entry(what.clone()).or_insert(*seq);
            *first = (*first).min(*seq);
        }
        for (run, calls) in &other.runs {
            self.runs.entry(*run).or_default().extend(calls.iter().cloned());
        }
        for (memory_id, seq) in &other.memories {
            let first = self.memories.entry(memory_id.clone()).or_insert(*seq);
            *first = (*first).min(*seq);
        }
    }

    /// Finds what was asked for, and copies of it.
    pub(crate) fn mark(&mut self, event: &Event) {
        let is_asked = match self.target {
            ErasureTarget::Message { seq } => {
                event.seq == seq && matches!(event.body, EventBody::MessageAdded(_))
            }
            ErasureTarget::Run { run } => event.run.to_bytes() == run,
            ErasureTarget::Shared { last_seq } => event.seq <= last_seq,
            ErasureTarget::Memory { memory } => match &event.body {
                EventBody::MemoryUpserted(upserted) => {
                    Digest::of_memory(&upserted.memory_id).to_bytes() == memory
                }
                _ => false,
            },
            ErasureTarget::Derived { .. } => false,
        };
        if let EventBody::MessageAdded(added) = &event.body {
            let message = &added.message;
            let is_copy = message.from_history && self.was_said_before(message, event.seq);
            if is_asked || is_copy {
                self.note(message, event);
            }
            if is_copy && !is_asked {
                self.found.insert(event.seq, Found::Derived);
            }
        }
        if is_asked {
            self.found.insert(event.seq, Found::Asked);
        }
        self.uses.take(event, is_asked);
        if let EventBody::MemoryUpserted(upserted) = &event.body {
            self.mark_memory(&upserted.memory_id, event.seq);
        }
    }

    /// What a memory said before it came from what is erased stays.
    fn mark_memory(&mut self, memory_id: &str, seq: u64) {
        if self.texts.contains(&seq) {
            self.memories.entry(memory_id.to_owned()).or_insert(seq);
        }
        if self.memories.get(memory_id).is_some_and(|first| *first <= seq) {
            self.found.entry(seq).or_insert(Found::Derived);
        }
    }

    /// Whether what is erased said it first. Of the copies of one text, erasing a later one leaves
    /// those before it.
    fn was_said_before(&self, message: &Message, seq: u64) -> bool {
        Said::by(message).any(|said| self.said.get(&said).is_some_and(|first| *first < seq))
    }

    fn note(&mut self, message: &Message, event: &Event) {
        for said in Said::by(message) {
            self.said.entry(said).or_insert(event.seq);
        }
        let calls = self.runs.entry(event.run).or_default();
        calls.extend(message.tool_calls.iter().map(|call| call.id.clone()));
        // Of a message that is gone nobody knows whether it had an id.
        if message.role == Role::Tool && !message.omitted.message {
            calls.insert(message.tool_call_id.clone());
        }
    }

    /// Finds what was derived, once all that was asked for is found.
    pub(crate) fn derive(&mut self, event: &Event) {
        let (seq, first) = (event.seq, self.first_seq());
        if let EventBody::ImportedFrom(_) = &event.body {
            let behind = event.commit_len.saturating_sub(event.commit_index + 1);
            self.import = Some((seq, seq + u64::from(behind)));
        }
        let import = self.import.filter(|(import, last)| (*import..=*last).contains(&seq));
        if let Some((import, _)) = import
            && self.erases(seq)
        {
            self.found.entry(import).or_insert(Found::Partial);
        }
        let found = match &event.body {
            EventBody::SummaryWritten(written) => {
                self.covers(written.first_seq, written.last_seq).then_some(Found::Derived)
            }
            EventBody::Renamed(renamed) => {
                let is_behind = first.is_some_and(|first| first < seq);
                // An import has it in front of the messages that it came from.
                let is_of_import = import.is_some_and(|(import, last)| self.covers(import, last));
                (renamed.is_generated && (is_behind || is_of_import)).then_some(Found::Derived)
            }
            // A short message could be guessed by the digest of a prompt that it was in.
            EventBody::ContextRecorded(context) => {
                let is_of = context.spans().any(|span| self.covers(span.first, span.last));
                is_of.then_some(Found::Partial)
            }
            EventBody::RunStarted(started) => {
                let says = started.input.is_some() || !started.extra.is_empty();
                (says && self.runs.contains_key(&event.run)).then_some(Found::Partial)
            }
            EventBody::RunPaused(RunPaused { reason: Some(_) })
            | EventBody::RunFinished(RunFinished { reason: Some(_), .. }) => {
                self.runs.contains_key(&event.run).then_some(Found::Partial)
            }
            EventBody::ToolExecuted(tool) => {
                self.takes_record(event, tool.tool_call_id.as_ref()).then_some(Found::Partial)
            }
            _ => None,
        };
        if let Some(found) = found {
            self.found.entry(seq).or_insert(found);
        }
    }

    /// Whether a record of a tool may be of a call that goes, or whose result does. One without an
    /// id may be of any call of its run, and a call without one may have any record that no other
    /// call has the id of.
    fn takes_record(&self, event: &Event, id: Option<&String>) -> bool {
        let Some(calls) = self.runs.get(&event.run) else { return false };
        let Some(id) = id else { return !calls.is_empty() };
        let is_of_nobody = calls.contains(&None) && self.uses.is_of_no_call(event, id);
        let is_named = calls.contains(&Some(id.clone()));
        is_of_nobody || (is_named && !self.uses.is_of_another(event, id))
    }

    /// Whether anything between two seqs is erased.
    fn covers(&self, first: u64, last: u64) -> bool {
        first <= last
            && (self.found.range(first..=last).any(|(_, found)| *found != Found::Partial)
                || self.shared.range(first..=last).next().is_some())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The first seq that is erased, here or in what is shared.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        let own = self.found.first_key_value().map(|(seq, _)| *seq);
        self.shared.first().copied().into_iter().chain(own).min()
    }

    /// What is erased here.
    pub(crate) fn own_seqs(&self) -> impl Iterator<Item = u64> + '_ {
        self.found.keys().copied()
    }

    /// Whether an event is erased.
    pub(crate) fn erases(&self, seq: u64) -> bool {
        self.shared.contains(&seq) || self.found.contains_key(&seq)
    }

    pub(crate) fn is_derived(&self, seq: u64) -> bool {
        matches!(self.found.get(&seq), Some(Found::Derived | Found::Partial))
    }

    pub(crate) fn is_partial(&self, seq: u64) -> bool {
        self.found.get(&seq) == Some(&Found::Partial)
    }

    /// What is left of an event that only says something of what is erased.
    pub(crate) fn partial(body: &EventBody) -> EventBody {
        match body {
            EventBody::RunStarted(started) => {
                RunStarted { input: None, extra: Vec::new(), ..started.clone() }.into()
            }
            EventBody::ToolExecuted(tool) => {
                ToolExecuted { tool_args: None, result: None, ..tool.clone() }.into()
            }
            EventBody::RunPaused(_) => RunPaused { reason: None }.into(),
            EventBody::RunFinished(finished) => {
                RunFinished { reason: None, ..finished.clone() }.into()
            }
            EventBody::ImportedFrom(imported) => {
                ImportedFrom { data: None, ..imported.clone() }.into()
            }
            EventBody::ContextRecorded(context) => context.without_digest().into(),
            other => other.clone(),
        }
    }
}
