//! The events of a session from the end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::{self, Frame, Link};
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::id::Digest;
use crate::log::{Log, Order, PageLimit, Range, Record, key};

/// The events of a session from the last one back, checked like
/// [`Events`](super::Events).
pub(crate) struct EventsBack {
    log: Arc<dyn Log>,
    session: Digest,
    next_seq: u64,
    /// What the event behind the next one says its link is.
    link: Option<Link>,
    range: Range,
    page: VecDeque<Record>,
}

impl EventsBack {
    pub(crate) fn new(log: &Arc<dyn Log>, session: Digest, last_seq: u64) -> Self {
        let range = key::seqs(key::Class::Frame, session, 1, last_seq, Order::Descending);
        let (log, page) = (Arc::clone(log), VecDeque::new());
        Self { log, session, next_seq: last_seq, link: None, range, page }
    }

    fn next_event(&mut self) -> Result<Event> {
        if self.page.is_empty() {
            // Windows are short: a small page first.
            self.page = self.log.page(&self.range, PageLimit::records(BACK_PAGE_RECORDS))?.into();
            if let Some(last) = self.page.back() {
                self.range = self.range.clone().behind(&last.key);
            }
        }
        let record = self
            .page
            .pop_front()
            .filter(|record| record.key == key::frame(self.session, self.next_seq));
        let record = record.ok_or_else(|| Error::corrupt("the event is missing"))?;
        let frame = Frame::open(&record.value, self.session, self.next_seq)?;
        if self.link.is_some_and(|link| link != frame.link) {
            return Err(Error::corrupt("the event behind it does not follow from it"));
        }
        self.link = Some(frame.header.previous);
        codec::decode(&frame)
    }
}

/// Frames read at once on the way back.
const BACK_PAGE_RECORDS: usize = 32;

impl Iterator for EventsBack {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next_seq == 0 {
            return None;
        }
        let event = self.next_event().with_context(|| format!("seq {}", self.next_seq));
        self.next_seq = if event.is_ok() { self.next_seq - 1 } else { 0 };
        Some(event)
    }
}
