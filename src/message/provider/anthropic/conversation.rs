//! What was said by turns, as the API wants it: the user first, then by turns, every call with its
//! result.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;

use serde_json::{Value, json};

use super::super::to_word;
use super::kind::{id_of, is_of_results, is_thinking, kind_of};
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

/// A conversation as it is put together.
pub(super) struct Conversation {
    turns: Vec<Turn>,
    /// Of all calls.
    ids: UniqueIds,
    /// Of those among them that call the user's tools.
    called: HashSet<String>,
    left_out: BTreeMap<String, u64>,
}

impl Conversation {
    pub(super) fn new() -> Self {
        Self {
            turns: Vec::new(),
            ids: UniqueIds::new(usize::MAX),
            called: HashSet::new(),
            left_out: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// An id that the API takes and that no earlier call has.
    pub(super) fn call_id(&mut self, call: &ToolCall) -> String {
        let id = self.ids.claim(&to_word(call.id.as_deref().unwrap_or_default()));
        self.called.insert(id.clone());
        id
    }

    /// Takes what somebody says, behind what they said before where nobody spoke between.
    pub(super) fn say(&mut self, speaker: Speaker, mut blocks: Vec<Value>) {
        blocks.retain(|block| {
            let is_call = served::is_call(kind_of(block));
            // An id that a call of the user's tools has is not free for another.
            let is_taken = is_call && self.called.contains(id_of(block));
            if is_taken {
                note(&mut self.left_out, block);
            } else if is_call {
                self.ids.reserve(id_of(block));
            }
            !is_taken
        });
        self.join(speaker, blocks);
    }

    fn join(&mut self, speaker: Speaker, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        if speaker == Speaker::User {
            self.end_thought();
        }
        match self.turns.last_mut() {
            Some(last) if last.speaker == speaker => last.blocks.extend(blocks),
            _ => self.turns.push(Turn { speaker, blocks }),
        }
    }

    /// The model's message may not end in a thought. One that was all thought is gone then.
    fn end_thought(&mut self) {
        let Some(last) = self.turns.last_mut().filter(|turn| turn.speaker == Speaker::Assistant)
        else {
            return;
        };
        while let Some(thought) = last.blocks.pop_if(|block| is_thinking(block)) {
            note(&mut self.left_out, &thought);
        }
        if last.blocks.is_empty() {
            self.turns.pop();
        }
    }

    /// The messages, and how many blocks of which type had to go.
    pub(super) fn finish(mut self) -> (Vec<Value>, BTreeMap<String, u64>) {
        self.end_thought();
        let unpaired = unpaired(&self.turns);
        for (at, turn) in mem::take(&mut self.turns).into_iter().enumerate() {
            let mut blocks = Vec::with_capacity(turn.blocks.len());
            for (nth, block) in turn.blocks.into_iter().enumerate() {
                if unpaired.contains(&(at, nth)) {
                    note(&mut self.left_out, &block);
                } else {
                    blocks.push(block);
                }
            }
            self.join(turn.speaker, blocks);
        }
        self.end_thought();
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
struct Open<'a> {
    place: (usize, usize),
    call: &'a Value,
}

impl Open<'_> {
    fn is_answered_by(&self, kind: &str) -> bool {
        self.call.as_object().and_then(served::result_of) == Some(kind)
    }

    /// Code may be what called the user's tools, which what is sent does not say: it would be run
    /// once more.
    fn waits_for_results(&self) -> bool {
        !served::is_code(self.call)
    }
}

/// The places of calls that the API carries out, without the result that must be there, and of
/// results without their call.
///
/// A result stands behind its call in one turn of the model. Where the turn calls tools of the
/// user's too, the API has not begun with its own: results alone go back to it, and the next turn
/// begins with what it found. Where nothing follows, the model goes on, and the call stays.
fn unpaired(turns: &[Turn]) -> HashSet<(usize, usize)> {
    let mut open: HashMap<&str, Open<'_>> = HashMap::new();
    let mut answered: HashSet<&str> = HashSet::new();
    let mut unpaired = HashSet::new();
    for (at, turn) in turns.iter().enumerate() {
        if turn.speaker == Speaker::User {
            let is_of_results = is_of_results(&turn.blocks);
            close(&mut open, &mut unpaired, |call| is_of_results && call.waits_for_results());
            continue;
        }
        for (nth, block) in turn.blocks.iter().enumerate() {
            let (kind, place) = (kind_of(block), (at, nth));
            if served::is_call(kind) {
                let id = id_of(block);
                if answered.contains(id) || open.contains_key(id) {
                    unpaired.insert(place);
                } else {
                    open.insert(id, Open { place, call: block });
                }
            } else if served::is_result(kind) {
                let id = block.get("tool_use_id").and_then(Value::as_str).unwrap_or_default();
                match open.remove(id) {
                    Some(call) if call.is_answered_by(kind) => {
                        answered.insert(id);
                    }
                    Some(call) => unpaired.extend([call.place, place]),
                    None => unpaired.extend([place]),
                }
            }
        }
        close(&mut open, &mut unpaired, |call| call.place.0 == at);
    }
    if let Some((at, last)) = turns.iter().enumerate().next_back()
        && last.speaker == Speaker::Assistant
    {
        // Words behind a call say that the model has gone on without.
        let said = last.blocks.iter().rposition(|block| !served::is_of_tools(kind_of(block)));
        close(&mut open, &mut unpaired, |call| said.is_none_or(|said| call.place > (at, said)));
    }
    unpaired
}

/// Gives up those that do not stay open.
fn close(
    open: &mut HashMap<&str, Open<'_>>,
    unpaired: &mut HashSet<(usize, usize)>,
    stays: impl Fn(&Open<'_>) -> bool,
) {
    open.retain(|_, call| {
        let stays = stays(call);
        if !stays {
            unpaired.insert(call.place);
        }
        stays
    });
}
