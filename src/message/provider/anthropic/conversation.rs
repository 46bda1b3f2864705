//! What was said by turns, as the API wants it: the user first, then by turns, every call with its
//! result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;

use serde_json::{Value, json};

use super::super::to_word;
use super::block::{is_thinking, kind_of};
use super::served;
use crate::message::ToolCall;
use crate::message::legal::UniqueIds;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    User,
    Assistant,
}

#[derive(Debug)]
struct Turn {
    speaker: Speaker,
    blocks: Vec<Value>,
}

impl Turn {
    /// Whether the user gives results and nothing else, so that the model goes on where it was.
    fn is_of_results(&self) -> bool {
        self.blocks.iter().all(|block| kind_of(block) == "tool_result")
    }
}

/// A conversation as it is put together.
pub(super) struct Conversation {
    turns: Vec<Turn>,
    ids: UniqueIds,
    left_out: BTreeMap<String, u64>,
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self { turns: Vec::new(), ids: UniqueIds::new(usize::MAX), left_out: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// An id that the API takes and that no earlier call has.
    pub(super) fn call_id(&mut self, call: &ToolCall) -> String {
        self.ids.claim(&to_word(call.id.as_deref().unwrap_or_default()))
    }

    /// Takes what somebody says, behind what they said before where nobody spoke between.
    pub(super) fn say(&mut self, speaker: Speaker, mut blocks: Vec<Value>) {
        blocks.retain(|block| {
            let is_call = served::is_call(kind_of(block));
            let id = block.get("id").and_then(Value::as_str).unwrap_or_default();
            let is_twice = is_call && !self.ids.reserve(id);
            if is_twice {
                note(&mut self.left_out, block);
            }
            !is_twice
        });
        self.join(speaker, blocks);
    }

    fn join(&mut self, speaker: Speaker, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut() {
            Some(last) if last.speaker == speaker => last.blocks.extend(blocks),
            _ => self.turns.push(Turn { speaker, blocks }),
        }
    }

    /// The messages, and how many blocks of which type had to go.
    pub(super) fn finish(mut self) -> (Vec<Value>, BTreeMap<String, u64>) {
        let unpaired = unpaired(&self.turns);
        for (at, turn) in mem::take(&mut self.turns).into_iter().enumerate() {
            let (mut blocks, mut gone) = (Vec::new(), Vec::new());
            for (nth, block) in turn.blocks.into_iter().enumerate() {
                let list = if unpaired.contains(&(at, nth)) { &mut gone } else { &mut blocks };
                list.push(block);
            }
            // The model's message may not end in a thought. One that was all thought is gone then.
            while turn.speaker == Speaker::Assistant && blocks.last().is_some_and(is_thinking) {
                gone.extend(blocks.pop());
            }
            for block in &gone {
                note(&mut self.left_out, block);
            }
            self.join(turn.speaker, blocks);
        }
        self.trim_end();
        let messages = self.turns.into_iter().map(|Turn { speaker, blocks }| {
            let role = if speaker == Speaker::User { "user" } else { "assistant" };
            json!({"role": role, "content": blocks})
        });
        (messages.collect(), self.left_out)
    }

    /// A last message of the model is a beginning for it to go on with, and the API refuses one
    /// that ends in whitespace.
    fn trim_end(&mut self) {
        let last = self.turns.last_mut().filter(|turn| turn.speaker == Speaker::Assistant);
        let last = last.and_then(|turn| turn.blocks.last_mut()?.get_mut("text"));
        if let Some(Value::String(text)) = last {
            text.truncate(text.trim_end().len());
        }
    }
}

fn note(left_out: &mut BTreeMap<String, u64>, block: &Value) {
    *left_out.entry(kind_of(block).to_owned()).or_default() += 1;
}

/// A call that the API carries out and that has no result yet.
struct Open {
    place: (usize, usize),
    result: Option<&'static str>,
}

/// The places of calls that the API carries out, without the result that must be there, and of
/// results without their call.
///
/// A result stands behind its call in one turn of the model. Where the turn calls tools of the
/// user's too, the API has not begun with its own: results alone go back to it, and the next turn
/// begins with what it found. Where nothing follows, the model goes on, and the call stays.
fn unpaired(turns: &[Turn]) -> HashSet<(usize, usize)> {
    let mut open: HashMap<&str, Open> = HashMap::new();
    let mut unpaired = HashSet::new();
    for (at, turn) in turns.iter().enumerate() {
        if turn.speaker == Speaker::User {
            if !turn.is_of_results() {
                unpaired.extend(open.drain().map(|(_, call)| call.place));
            }
            continue;
        }
        for (nth, block) in turn.blocks.iter().enumerate() {
            let (kind, place) = (kind_of(block), (at, nth));
            let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
            if served::is_call(kind) {
                let result = block.as_object().and_then(served::result_of);
                open.insert(text("id"), Open { place, result });
            } else if served::is_result(kind) {
                match open.remove(text("tool_use_id")) {
                    Some(call) if call.result == Some(kind) => {}
                    Some(call) => unpaired.extend([call.place, place]),
                    None => unpaired.extend([place]),
                }
            }
        }
        let is_late = |call: &Open| call.place.0 < at;
        unpaired.extend(open.values().filter(|call| is_late(call)).map(|call| call.place));
        open.retain(|_, call| !is_late(call));
    }
    unpaired
}
