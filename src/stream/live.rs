//! The events of a session that count.

use std::sync::Arc;
use std::vec::IntoIter;

use super::Events;
use crate::error::Result;
use crate::event::Event;
use crate::index::{Lineage, Stretch, Timeline};
use crate::log::Log;

/// The events that count at a seq, oldest first: what rewinds left behind is passed over.
pub(crate) struct LiveEvents {
    log: Arc<dyn Log>,
    lineage: Lineage,
    stretches: IntoIter<Stretch>,
    events: Option<Events>,
}

impl LiveEvents {
    pub(crate) fn new(log: &Arc<dyn Log>, lineage: &Lineage, last_seq: u64) -> Result<Self> {
        Self::between(log, lineage, 1, last_seq)
    }

    /// Those from a seq on.
    pub(crate) fn between(
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        first_seq: u64,
        last_seq: u64,
    ) -> Result<Self> {
        let mut stretches = Timeline::at(&**log, lineage, last_seq).into_stretches()?;
        stretches.retain_mut(|stretch| {
            stretch.first = stretch.first.max(first_seq);
            stretch.first <= stretch.last
        });
        let (log, lineage) = (Arc::clone(log), lineage.clone());
        Ok(Self { log, lineage, stretches: stretches.into_iter(), events: None })
    }
}

impl Iterator for LiveEvents {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.events.as_mut().and_then(Events::next) {
                if event.is_err() {
                    self.stretches = Vec::new().into_iter();
                }
                return Some(event);
            }
            let Stretch { first, last } = self.stretches.next()?;
            self.events = Some(Events::new(&self.log, &self.lineage, first, last));
        }
    }
}
