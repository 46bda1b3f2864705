//! What an import does to one session: nothing, an append, or a refusal.

use serde_json::{Map, Value};

use super::conversation::{Conversation, Entry};
use super::report::Counts;
use super::restore;
use super::runs::RunPlan;
use super::stored::Stored;
use crate::commit::Expected;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};
use crate::event::{
    Created, ImportedFrom, MessageAdded, MetadataChanged, NewEvent, Renamed, RunFinished,
    RunResumed, RunStarted, RunStatus, StateOp,
};
use crate::id::{EventId, check_name};
use crate::json::Json;
use crate::limits::ID_BYTES_MAX;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Plan {
    /// The session has all of it.
    Nothing,
    /// The session has something else, and nothing is written.
    Refuse(String),
    Append {
        expected: Expected,
        events: Vec<NewEvent>,
        counts: Counts,
    },
}

impl Plan {
    /// Compares a conversation with its session as it is now.
    pub(super) fn of(engine: &Engine, conversation: &Conversation, source: &str) -> Result<Self> {
        if let Err(error) = check_name("session id", &conversation.session_id) {
            return Ok(Self::Refuse(error.to_string()));
        }
        match engine.session(&conversation.session_id).admin().open_existing() {
            Ok(session) => Ok(Self::grow(&Stored::read(&session)?, conversation, source)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                Ok(Self::begin(conversation, source))
            }
            Err(error) => Err(error),
        }
    }

    fn begin(conversation: &Conversation, source: &str) -> Self {
        if let Some(kept) = &conversation.kept {
            return restore::begin(conversation, kept, source);
        }
        let created = Created {
            session_id: conversation.session_id.clone(),
            user_id: conversation.user_id.clone(),
            metadata: conversation.metadata.clone(),
            ..Created::default()
        };
        let runs = RunPlan::of(&conversation.entries);
        let mut events = Events::new(conversation, source, 0, runs);
        events.list.insert(0, NewEvent::new(created));
        events.rename(conversation.title.as_deref());
        events.add_messages(0);
        events.into_plan(Expected::Seq(0))
    }

    fn grow(stored: &Stored, conversation: &Conversation, source: &str) -> Self {
        let view = &stored.view;
        let refuse =
            |reason: &str| Self::Refuse(format!("session {}: {reason}", conversation.session_id));
        if let Some(forked) = &view.forked_from {
            let is = &forked.session_id;
            return refuse(&format!("exists already, and was forked from {is}"));
        }
        let Some(import) = &stored.import else {
            return refuse("exists already, and was not imported");
        };
        if conversation.user_id.is_some() && conversation.user_id != view.user_id {
            return refuse("belongs to another user");
        }
        if import.format != conversation.format.as_str() {
            let is = &import.format;
            return refuse(&format!("exists already, and was imported from {is}"));
        }
        if let Some(kept) = &conversation.kept {
            // As everywhere, no user is no wildcard.
            return match restore::grow(stored, conversation, kept, source) {
                Err(reason) => refuse(&reason),
                Ok(Self::Append { .. }) if conversation.user_id != view.user_id => {
                    refuse("belongs to another user")
                }
                Ok(plan) => plan,
            };
        }
        let mut both = stored.messages.iter().zip(&conversation.entries);
        if let Some(at) = both.position(|(message, entry)| message.id != entry.id) {
            return refuse(&format!("differs from what was recorded at message {}", at + 1));
        }
        let known = stored.messages.len();
        if known >= conversation.entries.len() {
            return Self::Nothing;
        }
        // As everywhere, no user is no wildcard.
        if conversation.user_id != view.user_id {
            return refuse("belongs to another user");
        }
        let counts = |at: usize| stored.messages.get(at).is_none_or(|message| message.counts);
        let runs = RunPlan::counting(&conversation.entries, counts);
        let mut events = Events::new(conversation, source, known, runs);
        let title = conversation.title.as_deref();
        events.rename(
            title.filter(|title| !stored.is_named_by_hand && view.name.as_deref() != Some(*title)),
        );
        events.change_metadata(import.data.as_ref());
        events.resume(stored, known);
        events.add_messages(known);
        events.into_plan(Expected::Seq(view.seq))
    }
}

/// Whether an append failed because of what was in it, and not because of the database.
pub(super) fn is_refusal(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::Invalid { .. } | ErrorKind::Limit { .. } | ErrorKind::RunState { .. })
}

/// The events of one append, as they come together.
struct Events<'a> {
    conversation: &'a Conversation,
    runs: RunPlan,
    list: Vec<NewEvent>,
    counts: Counts,
    /// The number of the run that is under way; 0 for none.
    open: u64,
    /// Whether somebody else has that run under way, who will end it.
    is_shared: bool,
}

impl<'a> Events<'a> {
    fn new(conversation: &'a Conversation, source: &str, known: usize, runs: RunPlan) -> Self {
        let imported = ImportedFrom {
            format: conversation.format.as_str().to_owned(),
            source: source.to_owned(),
            data: conversation.data.clone(),
            first_record: known as u64,
        };
        let counts = Counts { sessions: 1, ..Counts::default() };
        Self {
            conversation,
            runs,
            list: vec![NewEvent::new(imported)],
            counts,
            open: 0,
            is_shared: false,
        }
    }

    fn rename(&mut self, title: Option<&str>) {
        let name = title.map(str::to_owned);
        let renamed = name.map(|name| Renamed { name: Some(name), is_generated: true });
        self.list.extend(renamed.map(NewEvent::new));
    }

    /// Follows the source's metadata from what an earlier import saw.
    fn change_metadata(&mut self, before: Option<&Json>) {
        if self.conversation.metadata.is_none() {
            return;
        }
        let (before, now) = (metadata(before), metadata(self.conversation.data.as_ref()));
        let ops = changes(&before, &now);
        if !ops.is_empty() {
            self.list.push(NewEvent::new(MetadataChanged { ops }));
        }
    }

    /// Goes on with the last imported run where the messages behind `known` belong to it. One
    /// that was left behind begins anew with them.
    fn resume(&mut self, stored: &Stored, known: usize) {
        let number = |at: usize| self.runs.numbers.get(at).copied();
        let last = known.checked_sub(1).and_then(number);
        let (Some(last), Some(run)) =
            (last.filter(|last| number(known) == Some(*last)), stored.run())
        else {
            return;
        };
        self.is_shared = run.status == RunStatus::Running;
        if !self.is_shared {
            let run_id = self.run_id(last);
            let resumed = RunResumed { run_id: run_id.clone(), counted: run.counted };
            self.list.push(NewEvent::in_run(run_id, resumed));
        }
        self.open = last;
    }

    fn add_messages(&mut self, known: usize) {
        let conversation = self.conversation;
        for (at, entry) in conversation.entries.iter().enumerate().skip(known) {
            let number = self.runs.numbers.get(at).copied().unwrap_or(1);
            if number != self.open {
                self.finish();
                self.start(number);
            }
            self.add(number, entry);
        }
        self.finish();
    }

    fn start(&mut self, number: u64) {
        let run_id = self.run_id(number);
        let started = RunStarted { run_id: run_id.clone(), ..RunStarted::default() };
        self.list.push(NewEvent::in_run(run_id, started));
        self.counts.runs += 1;
        self.open = number;
    }

    fn add(&mut self, number: u64, entry: &Entry) {
        self.counts.add_message(&entry.message);
        let added = MessageAdded { message: entry.message.clone() };
        self.list.push(NewEvent::in_run(self.run_id(number), added).with_id(entry.id));
    }

    fn finish(&mut self) {
        if self.open > 0 && !self.is_shared {
            let (status, metrics) = (RunStatus::Completed, self.runs.metrics(self.open));
            let finished = RunFinished { status, metrics, reason: None };
            self.list.push(NewEvent::in_run(self.run_id(self.open), finished));
        }
        (self.open, self.is_shared) = (0, false);
    }

    fn run_id(&self, number: u64) -> String {
        let session_id = &self.conversation.session_id;
        let run_id = format!("{session_id}/{number}");
        if run_id.len() < ID_BYTES_MAX {
            return run_id;
        }
        EventId::derive(&[session_id.as_bytes(), b"run", &number.to_le_bytes()]).to_string()
    }

    fn into_plan(self, expected: Expected) -> Plan {
        Plan::Append { expected, events: self.list, counts: self.counts }
    }
}

/// The metadata in what a source says about a conversation.
fn metadata(data: Option<&Json>) -> Map<String, Value> {
    let data = data.map(Json::to_value).unwrap_or_default();
    data.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What makes one object of another, member by member.
pub(super) fn changes(before: &Map<String, Value>, now: &Map<String, Value>) -> Vec<StateOp> {
    let path = |key: &String| vec![key.clone()];
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    let removed = gone.map(|key| StateOp::Remove { path: path(key) });
    let new = now.iter().filter(|(key, value)| before.get(*key) != Some(value));
    let set = new.map(|(key, value)| {
        let value = Json::from(value.clone());
        StateOp::Set { path: path(key), value }
    });
    removed.chain(set).collect()
}
