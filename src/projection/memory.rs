//! The memories of a user, as their stream tells them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{Event, MemorySource, MemoryUpserted};

/// A fact about a user, in its present text or in an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Its id, which means nothing under another user.
    pub memory_id: String,
    /// The seq of its last change, in the user's memories.
    pub seq: u64,
    /// The fact.
    pub memory: String,
    /// What it is about.
    pub topics: Vec<String>,
    /// What it was learned from, in words.
    pub input: Option<String>,
    /// The message that it came from.
    pub source: Option<MemorySource>,
    /// The agent that keeps it.
    pub agent_id: Option<String>,
    /// When it was first remembered, in microseconds since 1970.
    pub created_at_us: i64,
    /// When it was last changed.
    pub updated_at_us: i64,
}

impl Memory {
    /// What an event makes of a memory; `before` is what it was.
    pub(crate) fn after(before: Option<&Self>, upserted: &MemoryUpserted, event: &Event) -> Self {
        let source = upserted.source.clone();
        Self {
            memory_id: upserted.memory_id.clone(),
            seq: event.seq,
            memory: upserted.memory.clone(),
            topics: upserted.topics.clone(),
            input: upserted.input.clone(),
            // A text that was changed by hand still came from where it came from.
            source: source.or_else(|| before.and_then(|before| before.source.clone())),
            agent_id: upserted.agent_id.clone(),
            created_at_us: before.map_or(event.recorded_at_us, |before| before.created_at_us),
            updated_at_us: event.recorded_at_us,
        }
    }
}

/// Takes a new text of a memory in.
pub(super) fn upsert(
    memories: &mut BTreeMap<String, Memory>,
    upserted: &MemoryUpserted,
    event: &Event,
) {
    let after = Memory::after(memories.get(&upserted.memory_id), upserted, event);
    memories.insert(upserted.memory_id.clone(), after);
}
