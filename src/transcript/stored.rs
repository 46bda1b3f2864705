//! What earlier imports left in a session.

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
    pub(super) run: Option<StoredRun>,
    /// Whether somebody named the session, not a model.
    pub(super) is_named_by_hand: bool,
    /// The last seq of the import that is being read: an import is one commit, and its first
    /// word says so.
    import_ends_at: u64,
}

/// How an imported run stands.
#[derive(Debug)]
pub(super) struct StoredRun {
    digest: Digest,
    first_seq: u64,
    pub(super) status: RunStatus,
    /// What the session counts for it.
    pub(super) counted: Option<Metrics>,
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

    fn apply(&mut self, event: &Event) {
        let is_imported = event.seq <= self.import_ends_at;
        match &event.body {
            EventBody::ImportedFrom(_) => {
                let behind = event.commit_len.saturating_sub(event.commit_index + 1);
                self.import_ends_at = event.seq + u64::from(behind);
            }
            EventBody::MessageAdded(_) if is_imported => self.ids.push(event.id),
            EventBody::RunStarted(_) if is_imported => {
                let (digest, first_seq, status) = (event.run, event.seq, RunStatus::Running);
                self.run = Some(StoredRun { digest, first_seq, status, counted: None });
            }
            // A run that was left behind takes no more messages.
            EventBody::RewoundTo(rewound) => {
                self.run = self.run.take().filter(|run| run.first_seq <= rewound.seq);
            }
            EventBody::Renamed(renamed) => self.is_named_by_hand = !renamed.is_generated,
            body => {
                if let Some(run) = self.run.as_mut().filter(|run| run.digest == event.run) {
                    run.apply(body);
                }
            }
        }
    }
}

impl StoredRun {
    fn apply(&mut self, body: &EventBody) {
        match body {
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
