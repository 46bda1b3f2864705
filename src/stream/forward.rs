//! The events of a session, each checked against its header, its body and the chain.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use crate::codec::{self, Frame, Link};
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::index::Lineage;
use crate::log::{Log, Order, PageLimit, Range, Record, key};

/// The events of a session from one seq to another, in order, those that a rewind left behind
/// included.
///
/// An event that is missing or damaged is an error that names session and seq; everything before it is
/// returned first, and nothing after it.
pub struct Events {
    log: Arc<dyn Log>,
    lineage: Lineage,
    next_seq: u64,
    last_seq: u64,
    /// The link of the event before the next one, once known.
    link: Option<Link>,
    /// What is left of the stream that is being read; `None` once it is read to its end.
    range: Option<Range>,
    page: VecDeque<Record>,
    /// What an error says of the session, where whoever reads has no better word.
    place: Option<String>,
}

impl Events {
    /// From a seq, without knowing the link before it.
    pub(crate) fn new(
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        first_seq: u64,
        last_seq: u64,
    ) -> Self {
        let first_seq = first_seq.max(1);
        let link = (first_seq == 1).then_some(Link::START);
        Self::open(log, lineage, first_seq, last_seq, link)
    }

    /// From behind a seq whose link is known.
    pub(crate) fn after(
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        seq: u64,
        link: Link,
        last_seq: u64,
    ) -> Self {
        Self::open(log, lineage, seq + 1, last_seq, Some(link))
    }

    fn open(
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        next_seq: u64,
        last_seq: u64,
        link: Option<Link>,
    ) -> Self {
        let (log, lineage) = (Arc::clone(log), lineage.clone());
        let (range, page) = (None, VecDeque::new());
        Self { log, lineage, next_seq, last_seq, link, range, page, place: None }
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
        if self.page.is_empty() {
            let range = match self.range.take() {
                Some(range) => Some(range),
                None => self.lineage.first_span(self.next_seq, self.last_seq).map(|span| {
                    let class = key::Class::Frame;
                    key::seqs(class, span.stream, span.first, span.last, Order::Ascending)
                }),
            };
            if let Some(range) = range {
                self.read_page(range)?;
            }
        }
        self.page.pop_front().ok_or_else(|| Error::corrupt("the event is missing"))
    }

    fn read_page(&mut self, range: Range) -> Result<()> {
        // A short read does not fetch a whole page of frames that nobody asked for.
        let wanted = usize::try_from(self.last_seq - self.next_seq + 1).unwrap_or(usize::MAX);
        let mut limit = PageLimit::default();
        limit.records = limit.records.min(wanted);
        self.page = self.log.page(&range, limit)?.into();
        let Some(last) = self.page.back() else { return Ok(()) };
        // What is behind the end of a stream lies in the next one.
        let is_whole = matches!(&range.until, Bound::Included(until) if *until == last.key);
        self.range = (!is_whole).then(|| range.behind(&last.key));
        Ok(())
    }

    fn next_event(&mut self) -> Result<Event> {
        let record = self.next_record()?;
        let stream = self.lineage.holder(self.next_seq);
        if record.key != key::frame(stream, self.next_seq) {
            return Err(Error::corrupt("the event is missing"));
        }
        let frame = Frame::open(&record.value, stream, self.next_seq)?;
        if self.link.is_some_and(|link| link != frame.header.previous) {
            return Err(Error::corrupt("it does not follow from the event before it"));
        }
        let event = codec::decode(&frame)?;
        self.link = Some(frame.link);
        Ok(event)
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
            .field("session", &self.lineage.own())
            .field("next_seq", &self.next_seq)
            .field("last_seq", &self.last_seq)
            .finish_non_exhaustive()
    }
}
