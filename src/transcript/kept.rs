//! A session as a source keeps it that has sessions and runs of its own.

use std::collections::HashSet;

use super::conversation::digest;
use super::report::Counts;
use crate::error::Result;
use crate::event::{RunStarted, RunStatus, SessionType, ToolExecuted};
use crate::id::EventId;
use crate::json::Json;
use crate::message::{Message, Metrics};

/// What the source says beside what every conversation has.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) session_type: SessionType,
    pub(super) agent_id: Option<String>,
    pub(super) team_id: Option<String>,
    pub(super) workflow_id: Option<String>,
    pub(super) component_data: Option<Json>,
    /// An object.
    pub(super) state: Option<Json>,
    pub(super) summary: Option<KeptSummary>,
    pub(super) runs: Vec<KeptRun>,
    /// The ids of the runs.
    pub(super) run_ids: HashSet<String>,
}

/// What the conversation so far comes to. Sources do not say what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptSummary {
    pub(super) text: String,
    pub(super) topics: Vec<String>,
    pub(super) model: Option<String>,
}

/// A run under the source's own id.
#[derive(Debug)]
pub(super) struct KeptRun {
    pub(super) started: RunStarted,
    pub(super) messages: Vec<KeptMessage>,
    pub(super) tools: Vec<ToolExecuted>,
    pub(super) status: RunStatus,
    pub(super) reason: Option<String>,
    pub(super) metrics: Option<Metrics>,
}

/// A message of such a run, with what it is known by when it comes again.
#[derive(Debug)]
pub(super) struct KeptMessage {
    pub(super) id: EventId,
    pub(super) digest: [u8; 32],
    pub(super) message: Message,
}

impl Kept {
    /// What there is of it.
    pub(super) fn counts(&self) -> Counts {
        let runs = self.runs.iter().filter(|run| run.started.parent_run_id.is_none());
        let mut counts = Counts { sessions: 1, runs: runs.count() as u64, ..Counts::default() };
        let messages = self.runs.iter().flat_map(|run| &run.messages);
        messages.for_each(|kept| counts.add_message(&kept.message));
        counts
    }
}

impl KeptRun {
    pub(super) fn new(started: RunStarted) -> Self {
        Self {
            started,
            messages: Vec::new(),
            tools: Vec::new(),
            status: RunStatus::Completed,
            reason: None,
            metrics: None,
        }
    }

    /// Reads one message. Its event id is the same whatever else the session gets meanwhile.
    pub(super) fn read_message(&mut self, session_id: &str, text: &str) -> Result<()> {
        let message = Message::from_json(text)?;
        let digest = digest(text);
        let run_id = self.started.run_id.as_bytes();
        let index = (self.messages.len() as u64).to_le_bytes();
        let id = EventId::derive(&[session_id.as_bytes(), b"run", run_id, &index, &digest]);
        self.messages.push(KeptMessage { id, digest, message });
        Ok(())
    }
}
