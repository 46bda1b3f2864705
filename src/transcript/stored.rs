//! What earlier imports left in a session.

use std::collections::HashMap;

use super::conversation::digest;
use super::kept::KeptMessage;
use crate::engine::Session;
use crate::error::Result;
use crate::event::{Event, EventBody, ImportedFrom, RunStatus};
use crate::id::{Digest, EventId};
use crate::message::Metrics;
use crate::projection::SessionView;
use crate::replay::Point;

/// A session as an import finds it.
///
/// Imports know again whatever they have seen, what rewinds left behind included: going back is
/// a decision that reading the same file again does not undo. What they write goes on with what
/// counts now.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// What counts now.
    pub(super) view: SessionView,
    /// The messages that were imported, in order.
    pub(super) messages: Vec<StoredMessage>,
    /// The last import that wrote something.
    pub(super) import: Option<ImportedFrom>,
    /// The last run that an import started, of those that count.
    last_run: Option<Digest>,
    /// Every run, an import's or not.
    pub(super) runs: HashMap<Digest, KnownRun>,
    /// Whether somebody named the session, not a model.
    pub(super) is_named_by_hand: bool,
    /// The last seq of the import that is being read: an import is one commit, and its first
    /// word says so.
    import_ends_at: u64,
    /// The same of a rewind.
    rewind_ends_at: u64,
}

/// A message that was imported.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredMessage {
    pub(super) id: EventId,
    /// Whether it counts, and was not left behind.
    pub(super) counts: bool,
}

/// What is known of a run.
#[derive(Debug)]
pub(super) struct KnownRun {
    /// What was last seen of it, wherever the session is now.
    pub(super) seen: RunStatus,
    /// How it stands now; `None` where it was left behind.
    pub(super) now: Option<Standing>,
    pub(super) messages: Vec<KnownMessage>,
    /// The tools that ran: the calls' ids and the names.
    pub(super) tools: Vec<(Option<String>, String)>,
    /// Whether something happened in it that no import wrote.
    pub(super) is_own: bool,
}

/// How a run stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) status: RunStatus,
    /// What the session counts for it.
    pub(super) counted: Option<Metrics>,
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
        let now = session.at(Point::Head)?;
        let stretches = now.stretches()?;
        let mut stored = Self::default();
        for event in session.events(Point::Seq(now.seq()))? {
            let event = event?;
            let at = stretches.partition_point(|stretch| stretch.last < event.seq);
            let counts = stretches.get(at).is_some_and(|stretch| stretch.first <= event.seq);
            stored.apply(&event, counts);
        }
        stored.view = now.into_view();
        Ok(stored)
    }

    /// The last run that an import started, unless it was left behind.
    pub(super) fn run(&self) -> Option<Standing> {
        self.runs.get(&self.last_run?)?.now
    }

    fn apply(&mut self, event: &Event, counts: bool) {
        let ends_at =
            event.seq + u64::from(event.commit_len.saturating_sub(event.commit_index + 1));
        let is_imported = event.seq <= self.import_ends_at;
        let is_rewind = event.seq <= self.rewind_ends_at;
        let known = match &event.body {
            EventBody::RunStarted(_) => {
                Some(self.runs.entry(event.run).or_insert_with(KnownRun::new))
            }
            _ => self.runs.get_mut(&event.run),
        };
        if let Some(known) = known {
            known.is_own |= !is_imported && !is_rewind;
            known.add(event, is_imported);
            // That a rewind interrupts a run says nothing about where its source stands.
            if let Some(status) = status(&event.body).filter(|_| !is_rewind) {
                known.seen = status;
            }
            if counts {
                known.now.get_or_insert_default().apply(&event.body);
            }
        }
        match &event.body {
            EventBody::ImportedFrom(imported) => {
                self.import_ends_at = ends_at;
                self.import = Some(imported.clone());
            }
            EventBody::RewoundTo(_) => self.rewind_ends_at = ends_at,
            EventBody::MessageAdded(_) if is_imported => {
                self.messages.push(StoredMessage { id: event.id, counts });
            }
            EventBody::RunStarted(_) if is_imported && counts => self.last_run = Some(event.run),
            EventBody::Renamed(renamed) if counts => self.is_named_by_hand = !renamed.is_generated,
            _ => {}
        }
    }
}

impl KnownRun {
    fn new() -> Self {
        let (messages, tools) = (Vec::new(), Vec::new());
        Self { seen: RunStatus::Running, now: None, messages, tools, is_own: false }
    }

    fn add(&mut self, event: &Event, is_imported: bool) {
        match &event.body {
            EventBody::MessageAdded(added) => {
                let digest = (!is_imported).then(|| digest(added.message.to_json().as_str()));
                self.messages.push(KnownMessage { id: event.id, digest });
            }
            EventBody::ToolExecuted(tool) => {
                self.tools.push((tool.tool_call_id.clone(), tool.tool_name.clone()));
            }
            _ => {}
        }
    }
}

impl Default for Standing {
    fn default() -> Self {
        Self { status: RunStatus::Running, counted: None }
    }
}

impl Standing {
    fn apply(&mut self, body: &EventBody) {
        self.status = status(body).unwrap_or(self.status);
        if let EventBody::RunFinished(finished) = body {
            self.counted = finished.metrics.or(self.counted);
        }
    }
}

/// What an event makes a run's status.
fn status(body: &EventBody) -> Option<RunStatus> {
    match body {
        EventBody::RunStarted(_) | EventBody::RunResumed(_) => Some(RunStatus::Running),
        EventBody::RunPaused(_) => Some(RunStatus::Paused),
        EventBody::RunFinished(finished) => Some(finished.status),
        _ => None,
    }
}
