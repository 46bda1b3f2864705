//! A session step by step: each event, and the view after it.

use std::sync::Arc;

use crate::error::Result;
use crate::event::Event;
use crate::projection::{Projection, SessionView};
use crate::stream::Events;

/// An event and the session as it was after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What happened.
    pub event: Event,
    /// The session after it. Shared, so that keeping one step costs a copy and passing through
    /// costs none.
    pub view: Arc<SessionView>,
}

/// Steps through a session, oldest event first. Made by
/// [`Session::replay`](crate::Session::replay).
#[derive(Debug)]
pub struct Replay {
    events: Events,
    view: Arc<SessionView>,
}

impl Replay {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, view: Arc::default() }
    }
}

impl Iterator for Replay {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.events.next()?.map(|event| {
            Arc::make_mut(&mut self.view).apply(&event);
            Step { event, view: Arc::clone(&self.view) }
        }))
    }
}
