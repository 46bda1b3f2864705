//! The events of a session from the end.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::codec::{self, Frame, Link};
use crate::error::{Context, Error, Result};
use crate::event::{Event, EventBody};
use crate::index::Lineage;
use crate::log::{Log, Order, PageLimit, Record, key};

/// The events that count at a seq, from there back, checked like [`Events`](super::Events).
///
/// A rewind leads back to the seq it went to: what it left behind is not read.
pub(crate) struct EventsBack {
    log: Arc<dyn Log>,
    lineage: Lineage,
    next_seq: u64,
    /// What the event that was read before says the next one's link is.
    link: Option<Link>,
    page: VecDeque<Record>,
}

impl EventsBack {
    pub(crate) fn new(log: &Arc<dyn Log>, lineage: &Lineage, last_seq: u64) -> Self {
        let (log, lineage) = (Arc::clone(log), lineage.clone());
        Self { log, lineage, next_seq: last_seq, link: None, page: VecDeque::new() }
    }

    fn next_event(&mut self) -> Result<Event> {
        let seq = self.next_seq;
        let stream = self.lineage.holder(seq);
        if self.page.is_empty()
            && let Some(span) = self.lineage.last_span(1, seq)
        {
            let class = key::Class::Frame;
            let range = key::seqs(class, stream, span.first, span.last, Order::Descending);
            // Windows are short: a small page first.
            self.page = self.log.page(&range, PageLimit::records(BACK_PAGE_RECORDS))?.into();
        }
        let record = self.page.pop_front().filter(|record| record.key == key::frame(stream, seq));
        let record = record.ok_or_else(|| Error::corrupt("the event is missing"))?;
        let frame = Frame::open(&record.value, stream, seq)?;
        if self.link.is_some_and(|link| link != frame.link) {
            return Err(Error::corrupt("the event behind it does not follow from it"));
        }
        self.link = Some(frame.header.previous);
        self.next_seq = seq - 1;
        let event = codec::decode(&frame)?;
        // What was before a session was deleted is no part of the one that came after.
        if let EventBody::Deleted(_) = &event.body {
            self.next_seq = 0;
        }
        if let EventBody::RewoundTo(rewound) = &event.body {
            if rewound.seq >= seq {
                return Err(Error::corrupt("it goes back to where it is"));
            }
            self.link = Some(Link(rewound.link));
            self.next_seq = rewound.seq;
            self.page.clear();
        }
        Ok(event)
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
        let seq = self.next_seq;
        let event = self.next_event().with_context(|| format!("seq {seq}"));
        if event.is_err() {
            self.next_seq = 0;
        }
        Some(event)
    }
}
