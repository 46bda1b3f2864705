//! A session step by step: each event, and the view after it.

use std::sync::Arc;

use crate::error::Result;
use crate::event::{Event, EventBody};
use crate::index::Lineage;
use crate::log::Log;
use crate::projection::{Projection, SessionView};
use crate::snapshot;
use crate::stream::Events;

/// An event and the session as it was after it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Step {
    /// What happened.
    pub event: Event,
    /// The session after it. Shared, so that keeping one step costs a copy and passing through
    /// costs none.
    pub view: Arc<SessionView>,
}

/// Steps through a session, oldest event first. Made by
/// [`Session::replay`](crate::Session::replay).
///
/// All of what happened is replayed, in the order it happened: what a rewind left behind comes
/// before the rewind, and with the rewind the view goes back.
#[derive(Debug)]
pub struct Replay {
    log: Arc<dyn Log>,
    lineage: Lineage,
    events: Events,
    view: Arc<SessionView>,
}

impl Replay {
    pub(crate) fn new(log: &Arc<dyn Log>, lineage: Lineage, events: Events) -> Self {
        Self { log: Arc::clone(log), lineage, events, view: Arc::default() }
    }

    fn step(&mut self, event: Event) -> Result<Step> {
        if matches!(event.body, EventBody::RewoundTo(_)) {
            self.view = Arc::new(snapshot::view_at(&self.log, &self.lineage, event.seq)?);
        } else {
            Arc::make_mut(&mut self.view).apply(&event);
        }
        Ok(Step { event, view: Arc::clone(&self.view) })
    }
}

impl Iterator for Replay {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.events.next()?;
        Some(event.and_then(|event| self.step(event)))
    }
}
