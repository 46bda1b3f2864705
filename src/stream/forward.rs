//! The events of a session, each checked against its header, its body and the chain.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::codec::{self, Frame, Link};
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::id::Digest;
use crate::log::{Log, Order, PageLimit, Range, Record, key};

/// The events of a session from one seq to another, in order.
///
/// An event that is missing or damaged is an error that names session and seq; everything before it is
/// returned first, and nothing after it.
pub struct Events {
    log: Arc<dyn Log>,
    session: Digest,
    next_seq: u64,
    last_seq: u64,
    /// The link of the event before the next one, once known.
    link: Option<Link>,
    range: Option<Range>,
    page: VecDeque<Record>,
    /// What an error says of the session, where whoever reads has no better word.
    place: Option<String>,
}

impl Events {
    /// From a seq, without knowing the link before it.
    pub(crate) fn new(log: &Arc<dyn Log>, session: Digest, first_seq: u64, last_seq: u64) -> Self {
        let first_seq = first_seq.max(1);
        let link = (first_seq == 1).then_some(Link::START);
        Self::open(log, session, first_seq, last_seq, link)
    }

    /// From behind a seq whose link is known.
    pub(crate) fn after(
        log: &Arc<dyn Log>,
        session: Digest,
        seq: u64,
        link: Link,
        last_seq: u64,
    ) -> Self {
        Self::open(log, session, seq + 1, last_seq, Some(link))
    }

    fn open(
        log: &Arc<dyn Log>,
        session: Digest,
        next_seq: u64,
        last_seq: u64,
        link: Option<Link>,
    ) -> Self {
        let range = key::seqs(key::Class::Frame, session, next_seq, last_seq, Order::Ascending);
        let (log, range) = (Arc::clone(log), Some(range));
        Self { log, session, next_seq, last_seq, link, range, page: VecDeque::new(), place: None }
    }

    /// Lets every error name the session.
    pub(crate) fn named(mut self, place: String) -> Self {
        self.place = Some(place);
        self
    }

    /// The link of the last event returned.
    pub(crate) fn link(&self) -> Link {
        self.link.unwrap_or(Link::START)
    }

    fn next_record(&mut self) -> Result<Record> {
        if self.page.is_empty()
            && let Some(range) = self.range.take()
        {
            // A short read does not fetch a whole page of frames that nobody asked for.
            let wanted = usize::try_from(self.last_seq - self.next_seq + 1).unwrap_or(usize::MAX);
            let mut limit = PageLimit::default();
            limit.records = limit.records.min(wanted);
            self.page = self.log.page(&range, limit)?.into();
            self.range = self.page.back().map(|record| range.behind(&record.key));
        }
        self.page.pop_front().ok_or_else(|| Error::corrupt("the event is missing"))
    }

    fn next_event(&mut self) -> Result<Event> {
        let record = self.next_record()?;
        if record.key != key::frame(self.session, self.next_seq) {
            return Err(Error::corrupt("the event is missing"));
        }
        let frame = Frame::open(&record.value, self.session, self.next_seq)?;
        if self.link.is_some_and(|link| link != frame.header.previous) {
            return Err(Error::corrupt("it does not follow from the event before it"));
        }
        self.link = Some(frame.link);
        codec::decode(&frame)
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next_seq > self.last_seq {
            return None;
        }
        let mut event = self.next_event().with_context(|| format!("seq {}", self.next_seq));
        if let Some(place) = &self.place {
            event = event.with_context(|| place.as_str());
        }
        self.next_seq = self.next_seq.saturating_add(1);
        if event.is_err() {
            self.last_seq = 0;
        }
        Some(event)
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("session", &self.session)
            .field("next_seq", &self.next_seq)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}
