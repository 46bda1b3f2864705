//! Events out of one log and into another, with the links they have.

use std::sync::Arc;

use super::Engine;
use super::session::Session;
use crate::codec::{self, Frame};
use crate::commit::{Append, Expected};
use crate::error::{Context, Error, Result};
use crate::event::{Event, EventBody};
use crate::id::Digest;
use crate::index::Entry;
use crate::limits::{COMMIT_EVENTS_MAX, GROUP_BYTES_MAX};
use crate::log::{Log, Order, Scan, key};
use crate::replay::Point;
use crate::stream;

/// An event with everything that is stored of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredEvent {
    /// The session that holds it: for the shared part of a fork, the ancestor.
    pub(crate) session_id: String,
    pub(crate) event: Event,
    /// The link of its header, in hexadecimal.
    pub(crate) link: String,
    /// The stored bytes, but for the position, which is the log's business: it is 0.
    pub(crate) frame: Vec<u8>,
}

/// What became of events that were to be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Restored {
    /// How many events were appended.
    pub(crate) added: usize,
    /// How many were there already.
    pub(crate) there: usize,
}

impl StoredEvent {
    /// Reads the stored bytes of an event, whosever they are.
    pub(crate) fn parse(session_id: &str, bytes: &[u8]) -> Result<Self> {
        let seq = Frame::parse(bytes)?.header.seq;
        if seq == 0 || seq == u64::MAX {
            return Err(Error::invalid("no event has that seq"));
        }
        let mut frame = Frame::open(bytes, Digest::of_session(session_id), seq)?;
        let (event, link) = (codec::decode(&frame)?, format!("{:?}", frame.link));
        frame.position = 0;
        Ok(Self { session_id: session_id.to_owned(), event, link, frame: frame.to_bytes() })
    }

    /// Whether a commit ends with it.
    pub(crate) fn ends_commit(&self) -> bool {
        self.event.commit_index.saturating_add(1) >= self.event.commit_len
    }
}

impl Session {
    /// Every event of the session, what rewinds left behind and what a fork shares included.
    pub(crate) fn stored_events(&self) -> Result<impl Iterator<Item = Result<StoredEvent>>> {
        let (lineage, head) = self.resolve(&Point::Head)?;
        let log = Arc::clone(self.inner().log());
        let mut spans: Vec<_> = lineage.spans_back(head).collect();
        spans.reverse();
        let place = self.place();
        let spans = spans.into_iter().map(move |span| -> Result<_> {
            let entry = Entry::load(&*log, span.stream)?;
            let entry = entry.ok_or_else(|| Error::corrupt("an ancestor has no catalog entry"))?;
            let events = (span.first..=span.last).map({
                let log = Arc::clone(&log);
                move |seq| stored_event(&*log, span.stream, &entry.session_id, seq)
            });
            Ok(events)
        });
        Ok(spans
            .flat_map(|span| match span {
                Ok(events) => Box::new(events) as Box<dyn Iterator<Item = _>>,
                Err(error) => Box::new(std::iter::once(Err(error))),
            })
            .map(move |event| event.with_context(|| place.as_str())))
    }
}

fn stored_event(log: &dyn Log, stream: Digest, session_id: &str, seq: u64) -> Result<StoredEvent> {
    let read = || {
        let frame = log.get(&key::frame(stream, seq))?;
        let frame = frame.ok_or_else(|| Error::corrupt("the event is missing"))?;
        StoredEvent::parse(session_id, &frame)
    };
    read().with_context(|| format!("seq {seq}"))
}

impl Engine {
    /// Takes over events of one session from another log, in order of seq. Those that are here
    /// already are passed over, so that doing it again, or after it broke off, is harmless.
    pub(crate) fn restore(&self, events: &[StoredEvent]) -> Result<Restored> {
        let Some(first) = events.first() else { return Ok(Restored::default()) };
        let place = || format!("session {}", first.session_id);
        let session = Digest::of_session(&first.session_id);
        let head = stream::head_seq(&*self.inner.log, session, self.inner.published())?;
        let there = events.iter().take_while(|event| event.event.seq <= head).count();
        let (there, added) = events.split_at(there);
        self.check_there(session, there).with_context(place)?;
        let mut seen = Expected::Seq(head);
        let mut rest = added;
        while !rest.is_empty() {
            let (commits, later) = rest.split_at(whole_commits(rest));
            let mut frames = Vec::with_capacity(commits.len());
            for event in commits {
                frames.push(Frame::parse(&event.frame).with_context(place)?);
            }
            let append = Append::restore(&first.session_id, seen, &frames).with_context(place)?;
            let receipt = self.inner.append(append)?.wait()?;
            seen = Expected::Seq(receipt.last_seq);
            rest = later;
        }
        Ok(Restored { added: added.len(), there: there.len() })
    }

    /// What is here already must be the same.
    fn check_there(&self, session: Digest, there: &[StoredEvent]) -> Result<()> {
        let (Some(first), Some(last)) = (there.first(), there.last()) else { return Ok(()) };
        let class = key::Class::Frame;
        let range = key::seqs(class, session, first.event.seq, last.event.seq, Order::Ascending);
        let mut stored = Scan::new(&*self.inner.log, range);
        for event in there {
            let Some(record) = stored.next().transpose()? else {
                return Err(Error::invalid("its beginning is not what is here"));
            };
            let link = Frame::parse(&record.value)?.link;
            if format!("{link:?}") != event.link {
                let seq = event.event.seq;
                let reason = format!("another event is here at seq {seq}: it went its own way");
                return Err(Error::invalid(reason));
            }
        }
        Ok(())
    }
}

/// How many of the events make up whole commits that fit into one append.
fn whole_commits(events: &[StoredEvent]) -> usize {
    let (mut bytes, mut whole) = (0, 0);
    for (index, event) in events.iter().enumerate().take(COMMIT_EVENTS_MAX) {
        bytes += event.frame.len();
        // A rewind goes back to what is in the log, so what is before it must be there.
        let is_rewind = matches!(event.event.body, EventBody::RewoundTo(_));
        if whole > 0 && (bytes > GROUP_BYTES_MAX || is_rewind) {
            break;
        }
        if event.ends_commit() {
            whole = index + 1;
        }
    }
    // What a fork shares may end in the middle of a commit.
    if whole == 0 { events.len() } else { whole }
}
