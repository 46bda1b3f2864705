//! What is to be remembered, and what is to be changed of it.

use crate::event::{MemorySource, MemoryUpserted};
use crate::projection::Memory;

/// A fact to be remembered. Given to [`Memories::add`](super::Memories::add).
#[must_use = "it is remembered by `Memories::add`"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMemory {
    memory: String,
    topics: Vec<String>,
    input: Option<String>,
    agent_id: Option<String>,
    pub(super) source: Option<MemorySource>,
}

impl NewMemory {
    /// A fact, in at most [`limits::MEMORY_BYTES_MAX`](crate::limits::MEMORY_BYTES_MAX) bytes.
    pub fn new(memory: impl Into<String>) -> Self {
        let memory = memory.into();
        Self { memory, topics: Vec::new(), input: None, agent_id: None, source: None }
    }

    /// What it is about. Said twice it counts once.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics.extend(topics.into_iter().map(Into::into));
        self
    }

    /// What it was learned from, in words.
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The agent that keeps it.
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// The message it came from, which must lie in a session of the same user. Where that is
    /// erased, the memory is erased with it.
    pub fn from_message(mut self, session_id: impl Into<String>, seq: u64) -> Self {
        self.source = Some(MemorySource { session_id: session_id.into(), seq });
        self
    }

    pub(super) fn into_event(self, memory_id: String, source_stream: [u8; 16]) -> MemoryUpserted {
        MemoryUpserted {
            memory_id,
            memory: self.memory,
            topics: without_repeats(self.topics),
            input: self.input,
            agent_id: self.agent_id,
            source: self.source,
            source_stream,
        }
    }
}

/// What is to be changed of a memory; what is not mentioned stays.
#[must_use = "it is done by `Memories::update`"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryPatch {
    memory: Option<String>,
    topics: Option<Vec<String>>,
    input: Option<String>,
}

impl MemoryPatch {
    /// Changes nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another text.
    pub fn memory(mut self, memory: impl Into<String>) -> Self {
        self.memory = Some(memory.into());
        self
    }

    /// Other topics, in place of all that it had.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.topics = Some(topics.into_iter().map(Into::into).collect());
        self
    }

    /// What it was learned from, in words.
    pub fn input(mut self, input: impl Into<String>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// The memory as it is to be. Where it came from it keeps, without saying so again.
    pub(super) fn applied(&self, before: &Memory) -> MemoryUpserted {
        let topics = self.topics.clone().unwrap_or_else(|| before.topics.clone());
        MemoryUpserted {
            memory_id: before.memory_id.clone(),
            memory: self.memory.clone().unwrap_or_else(|| before.memory.clone()),
            topics: without_repeats(topics),
            input: self.input.clone().or_else(|| before.input.clone()),
            agent_id: before.agent_id.clone(),
            source: None,
            source_stream: [0; 16],
        }
    }
}

/// Each topic once, where it came first.
pub(super) fn without_repeats(topics: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::with_capacity(topics.len());
    for topic in topics {
        if !kept.contains(&topic) {
            kept.push(topic);
        }
    }
    kept
}
