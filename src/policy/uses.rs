//! Which record of a tool is of which call, where a run uses an id again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::event::{Event, EventBody};
use crate::id::Digest;
use crate::message::Role;

/// The calls, results and records of tools that have one id in one run, in the order in which
/// they are stored.
///
/// A record says no more of its call than the id. Where calls and records take turns, each record
/// is of the call in front of it, as a result is. Where they do not, nobody knows, and whoever
/// erases one call takes the records of all: one too many is better than one too few.
#[derive(Debug, Clone, Default)]
pub(super) struct Uses {
    of: HashMap<(Digest, String), Use>,
    /// How many messages of a run lost calls, and with them their ids.
    gone: HashMap<Digest, u64>,
    /// The turns of the records, by seq.
    records: BTreeMap<u64, u64>,
}

#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether it was seen")]
struct Use {
    /// How many calls there were.
    turn: u64,
    /// Whether the last of them is the last: behind it, none was taken that may have had this id.
    is_last: bool,
    gone: u64,
    has_result: bool,
    has_record: bool,
    is_unsure: bool,
    erased: BTreeSet<u64>,
}

impl Uses {
    /// Takes the next event in; `is_erased` says whether it is a message that goes.
    pub(super) fn take(&mut self, event: &Event, is_erased: bool) {
        match &event.body {
            EventBody::MessageAdded(added) if !added.message.from_history => {
                let message = &added.message;
                if message.omitted.tool_calls > 0 {
                    *self.gone.entry(event.run).or_default() += 1;
                }
                let calls = message.tool_calls.iter().filter(|_| message.role == Role::Assistant);
                for id in calls.filter_map(|call| call.id.as_deref()) {
                    self.at(event, id).call(is_erased);
                }
                if let Some(id) = message.tool_call_id.as_deref() {
                    self.at(event, id).result(is_erased);
                }
            }
            EventBody::ToolExecuted(tool) => {
                let Some(id) = tool.tool_call_id.as_deref() else { return };
                let is_left = tool.tool_args.is_some() || tool.result.is_some();
                let turn = self.at(event, id).record(is_left);
                self.records.insert(event.seq, turn);
            }
            _ => {}
        }
    }

    fn at(&mut self, event: &Event, id: &str) -> &mut Use {
        let gone = self.gone.get(&event.run).copied().unwrap_or_default();
        let uses = self.of.entry((event.run, id.to_owned())).or_default();
        // One that still waits for its record goes on waiting.
        uses.is_last &= uses.gone == gone || !uses.has_record;
        uses.gone = gone;
        uses
    }

    /// Whether a record, of a run in which something of this id is erased, is of a call that
    /// stays.
    pub(super) fn is_of_another(&self, event: &Event, id: &str) -> bool {
        let uses = self.of.get(&(event.run, id.to_owned()));
        let turn = self.records.get(&event.seq);
        uses.zip(turn).is_some_and(|(uses, turn)| !uses.is_unsure && !uses.erased.contains(turn))
    }

    /// Whether no message of the run has a call of this id.
    pub(super) fn is_of_no_call(&self, event: &Event, id: &str) -> bool {
        self.of.get(&(event.run, id.to_owned())).is_none_or(|uses| uses.turn == 0)
    }
}

impl Use {
    fn call(&mut self, is_erased: bool) {
        self.is_unsure |= self.is_last && !self.has_record;
        self.turn += 1;
        (self.is_last, self.has_result, self.has_record) = (true, false, false);
        self.note(is_erased);
    }

    fn result(&mut self, is_erased: bool) {
        self.is_unsure |= self.is_last && self.has_result;
        self.has_result |= self.is_last;
        self.note(is_erased);
    }

    /// The turn of the record. One that says nothing any more may be of a call that is gone.
    fn record(&mut self, is_left: bool) -> u64 {
        self.is_unsure |= is_left && (!self.is_last || self.has_record);
        self.has_record |= self.is_last;
        self.turn
    }

    fn note(&mut self, is_erased: bool) {
        if is_erased {
            self.erased.insert(self.turn);
        }
    }
}
