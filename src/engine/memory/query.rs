//! Which memories are meant, and in which order they come.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::projection::Memory;
#[cfg(feature = "search")]
use crate::search::fold_text as folded;

/// Which memories to list.
#[must_use = "it is asked by `Memories::list`"]
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemoryQuery {
    topics: Vec<String>,
    limit: Option<usize>,
}

impl MemoryQuery {
    /// All of them.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only those about this topic; of several, those about all of them.
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// No more than so many.
    pub fn limit(mut self, memories: usize) -> Self {
        self.limit = Some(memories);
        self
    }

    /// The newest first.
    pub(super) fn select(&self, memories: BTreeMap<String, Memory>) -> Vec<Memory> {
        let is_about = |memory: &Memory| self.topics.iter().all(|it| memory.topics.contains(it));
        let mut found: Vec<Memory> = memories.into_values().filter(is_about).collect();
        // Recorded times never run backwards, so the order of seqs is theirs, without a tie.
        found.sort_by_key(|memory| Reverse(memory.seq));
        found.truncate(self.limit.unwrap_or(usize::MAX));
        found
    }
}

/// A text as it is compared. The tables that a search of sessions folds with come with it.
#[cfg(not(feature = "search"))]
fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// The words of a text as they are compared.
pub(super) fn words(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(folded);
    words.filter(|word| !word.is_empty()).collect()
}

/// Those that hold every word: in the text before in the topics, and there
/// before in what they were learned from; the newest first where that is the same.
pub(super) fn search(memories: BTreeMap<String, Memory>, words: &[String]) -> Vec<Memory> {
    let mut found: Vec<(u32, Memory)> =
        memories.into_values().filter_map(|memory| Some((rank(&memory, words)?, memory))).collect();
    found.sort_by_key(|(rank, memory)| (Reverse(*rank), Reverse(memory.seq)));
    found.into_iter().map(|(_, memory)| memory).collect()
}

/// How well a memory fits; `None` where a word is missing.
fn rank(memory: &Memory, words: &[String]) -> Option<u32> {
    let text = folded(&memory.memory);
    let topics: Vec<String> = memory.topics.iter().map(|topic| folded(topic)).collect();
    let input = memory.input.as_ref().map(|input| folded(input)).unwrap_or_default();
    let mut rank = 0;
    for word in words {
        rank += match () {
            () if text.contains(word) => 4,
            () if topics.iter().any(|topic| topic.contains(word)) => 2,
            () if input.contains(word) => 1,
            () => return None,
        };
    }
    Some(rank)
}
