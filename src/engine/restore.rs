//! Events out of one log and into another, with the links they have.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Engine;
use super::former::said_id;
use super::session::Session;
use crate::codec::{self, BodyForm, Frame};
use crate::commit::{Append, Expected, named_by};
use crate::error::{Context, Error, Result};
use crate::event::{Event, EventBody, EventKind, references};
use crate::id::{Digest, StreamName};
use crate::index::Entry;
use crate::limits::{COMMIT_EVENTS_MAX, GROUP_BYTES_MAX};
use crate::log::{Log, Order, Scan, key};
use crate::media::Lease;
use crate::message::MediaRef;
use crate::replay::Point;
use crate::stream;

/// What an event lies in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    /// A session: for the shared part of a fork, the ancestor.
    Session(String),
    /// A user's memories.
    Memories(String),
}

impl Holder {
    fn name(&self) -> StreamName<'_> {
        match self {
            Self::Session(session_id) => StreamName::Session(session_id),
            Self::Memories(user_id) => StreamName::Memories(user_id),
        }
    }
}

/// An event with everything that is stored of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StoredEvent {
    pub(crate) holder: Holder,
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
    pub(crate) fn parse(holder: &Holder, bytes: &[u8]) -> Result<Self> {
        let seq = Frame::parse(bytes)?.header.seq;
        if seq == 0 || seq == u64::MAX {
            return Err(Error::invalid("no event has that seq"));
        }
        let mut frame = Frame::open(bytes, holder.name().key(), seq)?;
        let (event, link) = (codec::decode(&frame)?, format!("{:?}", frame.link));
        frame.position = 0;
        Ok(Self { holder: holder.clone(), event, link, frame: frame.to_bytes() })
    }

    /// The media that it refers to.
    pub(crate) fn references(&self) -> Vec<MediaRef> {
        references(&self.event.body)
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
        let begins = lineage.first_seq();
        let first = if begins > 1 {
            // What is left of a session that was deleted under the same id is a part of the chain.
            stream::first_seq(&*log, lineage.holder(begins))?.unwrap_or(1)
        } else {
            1
        };
        let mut spans: Vec<_> = lineage.spans_back(head).collect();
        for span in &mut spans {
            span.first = span.first.max(first);
        }
        spans.reverse();
        let place = self.place();
        let spans = spans.into_iter().map(move |span| -> Result<_> {
            let holder = holder_of(&*log, span.stream, span.first.max(begins))?;
            let events = (span.first..=span.last).map({
                let log = Arc::clone(&log);
                move |seq| stored_event(&*log, span.stream, &holder, seq, seq < begins)
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

/// The name of a stream that may have been deleted: then the event that it began with says it.
fn holder_of(log: &dyn Log, stream: Digest, first_seq: u64) -> Result<Holder> {
    if let Some(entry) = Entry::load(log, stream)? {
        let is_memories = entry.is_memories();
        let name = entry.session_id;
        return Ok(if is_memories { Holder::Memories(name) } else { Holder::Session(name) });
    }
    let reason = "it shares a session that was erased, and nobody else could check its chain";
    let session_id = said_id(log, stream, first_seq)?.ok_or_else(|| Error::invalid(reason))?;
    Ok(Holder::Session(session_id))
}

/// An event as it is stored. Of a session that was deleted before this one began, only what
/// the chain rests on: a fork may share what it said, and this one does not.
fn stored_event(
    log: &dyn Log,
    stream: Digest,
    holder: &Holder,
    seq: u64,
    is_former: bool,
) -> Result<StoredEvent> {
    let read = || {
        let bytes = log.get(&key::frame(stream, seq))?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("the event is missing"))?;
        let frame = Frame::parse(&bytes)?;
        let receipts = [EventKind::Deleted as u16, EventKind::Erased as u16];
        if is_former && !receipts.contains(&frame.header.kind) {
            return StoredEvent::parse(holder, &frame.without_body().to_bytes());
        }
        StoredEvent::parse(holder, &bytes)
    };
    read().with_context(|| format!("seq {seq}"))
}

impl Engine {
    /// Takes over events of one session, or of one user's memories, from another log, in order of
    /// seq. Those that are here already are passed over, so that doing it again, or after it broke
    /// off, is harmless.
    ///
    /// `blobs` are the media that come with them, by digest.
    pub(crate) fn restore(
        &self,
        events: &[StoredEvent],
        blobs: &HashMap<[u8; 32], Vec<u8>>,
    ) -> Result<Restored> {
        let Some(first) = events.first() else { return Ok(Restored::default()) };
        let name = first.holder.name();
        let (place, session) = (|| name.to_string(), name.key());
        let head = stream::head_seq(&*self.inner.log, session, self.inner.published())?;
        let there = events.iter().take_while(|event| event.event.seq <= head).count();
        if events.iter().any(|event| event.event.body.kind() == EventKind::PolicySet) {
            self.inner.note_policies();
        }
        check_named(events, there).with_context(place)?;
        let (there, added) = events.split_at(there);
        self.check_there(session, there).with_context(place)?;
        // Where nothing but what is left of a deleted session is there, the chain says what follows.
        let is_there = Entry::load(&*self.inner.log, session)?.is_some() || head == 0;
        let mut seen = if is_there { Expected::Seq(head) } else { Expected::Any };
        let mut rest = added;
        while !rest.is_empty() {
            let (commits, later) = rest.split_at(whole_commits(rest));
            let mut frames = Vec::with_capacity(commits.len());
            for event in commits {
                frames.push(Frame::parse(&event.frame).with_context(place)?);
            }
            let mut append = Append::restore(name, seen, &frames).with_context(place)?;
            self.inner.prepare_key(session)?;
            append.refer(self.restore_blobs(session, commits, blobs).with_context(place)?);
            let receipt = self.inner.append(append)?.wait()?;
            let is_there = Entry::load(&*self.inner.log, session)?.is_some();
            seen = if is_there { Expected::Seq(receipt.last_seq) } else { Expected::Any };
            rest = later;
        }
        Ok(Restored { added: added.len(), there: there.len() })
    }

    /// Stores the media that events refer to.
    fn restore_blobs(
        &self,
        session: Digest,
        events: &[StoredEvent],
        blobs: &HashMap<[u8; 32], Vec<u8>>,
    ) -> Result<Vec<(usize, Lease)>> {
        let mut leases = Vec::new();
        for (at, event) in events.iter().enumerate() {
            for reference in references(&event.event.body) {
                let Some(bytes) = blobs.get(&reference.digest()) else {
                    let reason = format!("the dump does not hold {reference}");
                    return Err(Error::invalid(reason).context(format!("seq {}", event.event.seq)));
                };
                let lease = self.inner.media().put(session, reference.digest(), bytes)?;
                leases.push((at, lease));
            }
        }
        Ok(leases)
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

/// Where a body was replaced or removed, an event must say so. Of the first events, which are here
/// already, one does here.
fn check_named(events: &[StoredEvent], there: usize) -> Result<()> {
    let deleted_at = events.iter().rfind(|event| matches!(event.event.body, EventBody::Deleted(_)));
    let deleted_at = deleted_at.map_or(0, |event| event.event.seq);
    let named = events.iter().flat_map(|event| named_by(&event.event.body));
    let named: BTreeMap<u64, _> = named.map(|removed| (removed.seq, removed.replacement)).collect();
    for event in events.iter().skip(there) {
        let frame = Frame::parse(&event.frame)?;
        let present = match frame.form {
            BodyForm::Original => continue,
            BodyForm::Replaced => Some(frame.present_commitment().0),
            BodyForm::Removed => None,
        };
        let seq = event.event.seq;
        let is_deleted = seq < deleted_at && present.is_none();
        if !is_deleted && named.get(&seq) != Some(&present) {
            let reason = "its body was replaced, and the dump does not hold the event that says \
                          so: it needs the whole of the session";
            return Err(Error::invalid(reason).context(format!("seq {seq}")));
        }
    }
    Ok(())
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
