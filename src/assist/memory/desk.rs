//! Takes the calls of a model and notes what is to become of the memories. Nothing is changed
//! here, and no call reaches further than the memories that were shown.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::commit::check_memory_text;
use crate::engine::{Draft, Memories};
use crate::limits::{MEMORIES_MAX, MEMORIES_SHOWN_MAX, MEMORY_CALLS_MAX};
use crate::projection::Memory;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Add {
    memory: String,
    topics: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Update {
    memory_id: String,
    memory: String,
    topics: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    memory_id: String,
}

/// What the model was shown and what it asked for.
pub(super) struct Desk {
    /// The memories that were changed last, the last first.
    shown: Vec<Memory>,
    /// What all of them say, and which says it: more than are shown.
    said: HashMap<String, Vec<String>>,
    drafts: BTreeMap<String, Draft>,
    refused: Vec<String>,
    calls: usize,
    /// How many memories there will be.
    count: usize,
}

impl Desk {
    pub(super) fn new(present: BTreeMap<String, Memory>) -> Self {
        let count = present.len();
        let mut said: HashMap<String, Vec<String>> = HashMap::new();
        for memory in present.values() {
            let holders = said.entry(memory.memory.trim().to_owned()).or_default();
            holders.push(memory.memory_id.clone());
        }
        let mut shown: Vec<Memory> = present.into_values().collect();
        shown.sort_by_key(|memory| Reverse(memory.seq));
        shown.truncate(MEMORIES_SHOWN_MAX);
        Self { shown, said, drafts: BTreeMap::new(), refused: Vec::new(), calls: 0, count }
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = &Memory> {
        self.shown.iter()
    }

    /// What is to become of the memories, by id.
    pub(super) fn drafts(&self) -> &BTreeMap<String, Draft> {
        &self.drafts
    }

    pub(super) fn into_refused(self) -> Vec<String> {
        self.refused
    }

    /// Takes one call. Returns what the model is told, as JSON.
    pub(super) fn take(&mut self, tool: &str, arguments: &str) -> String {
        self.calls += 1;
        let done = if self.calls > MEMORY_CALLS_MAX {
            Err(format!("no more than {MEMORY_CALLS_MAX} calls are taken"))
        } else {
            match tool {
                "add_memory" => parse(arguments).and_then(|add| self.add(add)),
                "update_memory" => parse(arguments).and_then(|update| self.update(update)),
                "delete_memory" => parse(arguments).and_then(|delete| self.delete(&delete)),
                other => Err(format!("there is no tool {other:?}")),
            }
        };
        match done {
            Ok(memory_id) => json!({ "memory_id": memory_id, "done": true }).to_string(),
            Err(reason) => {
                let told = json!({ "error": reason }).to_string();
                // As many as calls are taken: whoever reads them has the point by then.
                if self.refused.len() < MEMORY_CALLS_MAX {
                    self.refused.push(reason);
                }
                told
            }
        }
    }

    fn add(&mut self, Add { memory, topics }: Add) -> Result<String, String> {
        let topics = topics.unwrap_or_default();
        check(&memory, &topics)?;
        if let Some(memory_id) = self.holder(&memory) {
            return Err(format!("it is remembered already, as {memory_id}"));
        }
        if self.count >= MEMORIES_MAX {
            return Err(format!("no more than {MEMORIES_MAX} memories are kept: delete some"));
        }
        let memory_id = Memories::new_id();
        self.count += 1;
        self.drafts.insert(memory_id.clone(), Draft::Added { memory, topics });
        Ok(memory_id)
    }

    fn update(&mut self, Update { memory_id, memory, topics }: Update) -> Result<String, String> {
        let draft = match (self.drafts.get(&memory_id), self.find(&memory_id)) {
            (Some(Draft::Added { topics: before, .. }), _) => {
                let topics = topics.unwrap_or_else(|| before.clone());
                Draft::Added { memory, topics }
            }
            (Some(Draft::Updated { seen, topics: before, .. }), _) => {
                let topics = topics.unwrap_or_else(|| before.clone());
                Draft::Updated { seen: *seen, memory, topics }
            }
            (None, Some(shown)) => {
                let topics = topics.unwrap_or_else(|| shown.topics.clone());
                Draft::Updated { seen: shown.seq, memory, topics }
            }
            (Some(Draft::Deleted { .. }), _) | (None, None) => return Err(unknown(&memory_id)),
        };
        if let Draft::Added { memory, topics } | Draft::Updated { memory, topics, .. } = &draft {
            check(memory, topics)?;
        }
        self.drafts.insert(memory_id.clone(), draft);
        Ok(memory_id)
    }

    fn delete(&mut self, Delete { memory_id }: &Delete) -> Result<String, String> {
        match (self.drafts.get(memory_id), self.find(memory_id).map(|shown| shown.seq)) {
            (Some(Draft::Added { .. }), _) => {
                self.drafts.remove(memory_id);
            }
            (None | Some(Draft::Updated { .. }), Some(seen)) => {
                self.drafts.insert(memory_id.clone(), Draft::Deleted { seen });
            }
            _ => return Err(unknown(memory_id)),
        }
        self.count = self.count.saturating_sub(1);
        Ok(memory_id.clone())
    }

    fn find(&self, memory_id: &str) -> Option<&Memory> {
        self.shown.iter().find(|memory| memory.memory_id == memory_id)
    }

    /// The memory that will say this.
    fn holder(&self, text: &str) -> Option<&String> {
        let text = text.trim();
        let drafted = self.drafts.iter().find(|(_, draft)| match draft {
            Draft::Added { memory, .. } | Draft::Updated { memory, .. } => memory.trim() == text,
            Draft::Deleted { .. } => false,
        });
        let mut present = self.said.get(text).into_iter().flatten();
        let present = present.find(|memory_id| !self.drafts.contains_key(*memory_id));
        drafted.map(|(memory_id, _)| memory_id).or(present)
    }
}

fn parse<T: DeserializeOwned>(arguments: &str) -> Result<T, String> {
    serde_json::from_str(arguments).map_err(|error| format!("the arguments are wrong: {error}"))
}

fn check(memory: &str, topics: &[String]) -> Result<(), String> {
    check_memory_text(memory, topics).map_err(|error| error.to_string())
}

fn unknown(memory_id: &str) -> String {
    format!("there is no memory {memory_id:?}")
}
