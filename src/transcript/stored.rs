//! What earlier imports left in a session.

use std::collections::HashMap;

use super::conversation::digest;
use super::kept::KeptMessage;
use crate::engine::Session;
use crate::error::Result;
use crate::event::{Event, EventBody, RunStatus};
use crate::id::{Digest, EventId};
use crate::message::Metrics;
use crate::projection::SessionView;
use crate::replay::Point;

/// A session as an import finds it.
#[derive(Debug, Default)]
pub(super) struct Stored {
    pub(super) view: SessionView,
    /// The ids of the messages that were imported, in order.
    pub(super) ids: Vec<EventId>,
    /// The last run that an import started.
    last_run: Option<Digest>,
    /// Every run, an import's or not.
    pub(super) runs: HashMap<Digest, KnownRun>,
    /// Whether somebody named the session, not a model.
    pub(super) is_named_by_hand: bool,
    /// The last seq of the import that is being read: an import is one commit, and its first
    /// word says so.
    import_ends_at: u64,
}

/// How a run stands.
#[derive(Debug)]
pub(super) struct KnownRun {
    first_seq: u64,
    pub(super) status: RunStatus,
    /// What the session counts for it.
    pub(super) counted: Option<Metrics>,
    pub(super) messages: Vec<KnownMessage>,
    /// The tools that ran: the calls' ids and the names.
    pub(super) tools: Vec<(Option<String>, String)>,
    /// Whether something happened in it that no import wrote.
    pub(super) is_own: bool,
}

/// A message as it can be known again: an import's by its event, another's by what it says.
#[derive(Debug)]
pub(super) struct KnownMessage {
    id: EventId,
    digest: Option<[u8; 32]>,
}

impl KnownMessage {
    pub(super) fn is(&self, kept: &KeptMessage) -> bool {
        self.id == kept.id || self.digest == Some(kept.digest)
    }
}

impl Stored {
    pub(super) fn read(session: &Session) -> Result<Self> {
        let mut stored = Self::default();
        for event in session.events(Point::Head)? {
            stored.apply(&event?);
        }
        stored.view = session.view()?;
        Ok(stored)
    }

    /// The last run that an import started.
    pub(super) fn run(&self) -> Option<&KnownRun> {
        self.runs.get(&self.last_run?)
    }

    fn apply(&mut self, event: &Event) {
        let is_imported = event.seq <= self.import_ends_at;
        if let EventBody::RunStarted(_) = &event.body {
            self.runs.insert(event.run, KnownRun::new(event.seq, !is_imported));
        } else if let Some(run) = self.runs.get_mut(&event.run) {
            run.apply(event, is_imported);
        }
        match &event.body {
            EventBody::ImportedFrom(_) => {
                let behind = event.commit_len.saturating_sub(event.commit_index + 1);
                self.import_ends_at = event.seq + u64::from(behind);
            }
            EventBody::MessageAdded(_) if is_imported => self.ids.push(event.id),
            EventBody::RunStarted(_) if is_imported => self.last_run = Some(event.run),
            // A run that was left behind takes no more messages.
            EventBody::RewoundTo(rewound) => {
                let is_left = self.run().is_some_and(|run| run.first_seq > rewound.seq);
                self.last_run = self.last_run.take().filter(|_| !is_left);
            }
            EventBody::Renamed(renamed) => self.is_named_by_hand = !renamed.is_generated,
            _ => {}
        }
    }
}

impl KnownRun {
    fn new(first_seq: u64, is_own: bool) -> Self {
        let (messages, tools) = (Vec::new(), Vec::new());
        Self { first_seq, status: RunStatus::Running, counted: None, messages, tools, is_own }
    }

    fn apply(&mut self, event: &Event, is_imported: bool) {
        self.is_own |= !is_imported;
        match &event.body {
            EventBody::MessageAdded(added) => {
                let digest = (!is_imported).then(|| digest(added.message.to_json().as_str()));
                self.messages.push(KnownMessage { id: event.id, digest });
            }
            EventBody::ToolExecuted(tool) => {
                self.tools.push((tool.tool_call_id.clone(), tool.tool_name.clone()));
            }
            EventBody::RunPaused(_) => self.status = RunStatus::Paused,
            EventBody::RunResumed(_) => self.status = RunStatus::Running,
            EventBody::RunFinished(finished) => {
                self.status = finished.status;
                self.counted = finished.metrics.or(self.counted);
            }
            _ => {}
        }
    }
}
