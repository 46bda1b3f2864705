//! Views saved at intervals, so that a view at any point folds a bounded number of events.
//! Every snapshot can be thrown away: a reader that finds none, or a damaged one, folds from
//! the one before.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::bytes::Reader;
use crate::codec::Link;
use crate::error::{Error, Result};
use crate::event::EventBody;
use crate::id::Digest;
use crate::index::{Lineage, Rewind, Stretch, last_rewind, newest};
use crate::limits::SNAPSHOT_EVENTS;
use crate::log::{Batch, Log, Order, Record, Scan, key};
use crate::projection::{Projection, SessionView};
use crate::stream::Events;

/// Changes whenever the view or its fold does: older snapshots are then passed over.
const SNAPSHOT_VERSION: u16 = 1;

/// A view and the link of its last event, which ties it to the chain it was folded from.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub(crate) view: SessionView,
    pub(crate) link: Link,
}

impl Snapshot {
    /// The view before the first event.
    pub(crate) fn start() -> Self {
        Self { view: SessionView::default(), link: Link::START }
    }

    /// The newest snapshot that is not behind a seq, and not damaged.
    pub(crate) fn load(log: &dyn Log, lineage: &Lineage, last_seq: u64) -> Result<Self> {
        let mut last = last_seq;
        while let Some(found) = newest(log, lineage, key::Class::Snapshot, 1, last)? {
            if let Ok(snapshot) = Self::from_bytes(&found.value, found.stream, found.seq) {
                return Ok(snapshot);
            }
            last = found.seq - 1;
        }
        Ok(Self::start())
    }

    pub(crate) fn from_bytes(bytes: &[u8], session: Digest, seq: u64) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let version = reader.u16()?;
        let check: [u8; 16] = reader.array()?;
        let link = Link(reader.array()?);
        let body = reader.rest();
        if version != SNAPSHOT_VERSION || check != checksum(session, seq, link, body) {
            return Err(Error::corrupt("snapshot"));
        }
        let view: SessionView = serde_json::from_slice(body)
            .map_err(|error| Error::corrupt(format!("snapshot: {error}")))?;
        if view.seq != seq {
            return Err(Error::corrupt("snapshot of another seq"));
        }
        Ok(Self { view, link })
    }

    /// The view after a seq: the nearest snapshot, and the events since that count.
    ///
    /// A rewind leads back to the seq it went to, and from there to a snapshot before it. Each
    /// rewind has a snapshot of its own, so that this ends soon.
    pub(crate) fn at(log: &Arc<dyn Log>, lineage: &Lineage, seq: u64) -> Result<Self> {
        let mut ahead = Vec::new();
        let mut last = seq;
        let mut snapshot = loop {
            let snapshot = Self::load(&**log, lineage, last)?;
            match last_rewind(&**log, lineage, last)? {
                Some(Rewind { at, to }) if at > snapshot.view.seq => {
                    ahead.push(Stretch { first: at, last });
                    last = to;
                }
                _ => break snapshot,
            }
        };
        snapshot.fold(Events::after(log, lineage, snapshot.view.seq, snapshot.link, last))?;
        for Stretch { first, last } in ahead.into_iter().rev() {
            snapshot.enter(log, lineage, first)?;
            snapshot.fold(Events::new(log, lineage, first, last))?;
        }
        Ok(snapshot)
    }

    /// The view after a later seq, from this one on where no rewind lies between.
    pub(crate) fn advanced(
        mut self,
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        seq: u64,
    ) -> Result<Self> {
        let rewind = last_rewind(&**log, lineage, seq)?;
        let is_ahead = self.view.seq > seq || seq - self.view.seq > SNAPSHOT_EVENTS;
        if is_ahead || rewind.is_some_and(|rewind| rewind.at > self.view.seq) {
            return Self::at(log, lineage, seq);
        }
        if self.fold(Events::after(log, lineage, self.view.seq, self.link, seq))? {
            return Self::at(log, lineage, seq);
        }
        Ok(self)
    }

    /// Where the session will be after a rewind: the view at the seq it goes to.
    pub(crate) fn before_rewind(
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        rewind: Rewind,
    ) -> Result<Self> {
        let mut snapshot = Self::at(log, lineage, rewind.to)?;
        snapshot.enter(log, lineage, rewind.at)?;
        Ok(snapshot)
    }

    /// A fork that goes back into what it shares is still the fork, not its parent.
    fn enter(&mut self, log: &Arc<dyn Log>, lineage: &Lineage, seq: u64) -> Result<()> {
        let Some(span) = lineage.last_span(1, seq) else { return Ok(()) };
        // Where nothing is shared, there is no one to be taken for.
        if span.first > 1
            && self.view.seq < span.first
            && let Some(event) = Events::new(log, lineage, span.first, span.first).next()
        {
            self.view.apply(&event?);
        }
        Ok(())
    }

    /// Folds events in. Returns whether something was erased with one of them: then what was
    /// folded before may say what no event says any more.
    fn fold(&mut self, mut events: Events) -> Result<bool> {
        let mut is_stale = false;
        for event in events.by_ref() {
            let event = event?;
            is_stale |= matches!(event.body, EventBody::Erased(_));
            if let EventBody::RewoundTo(rewound) = &event.body
                && Link(rewound.link) != self.link
            {
                let place = format!("seq {}", event.seq);
                return Err(Error::corrupt("it goes back to another event").context(place));
            }
            self.view.apply(&event);
        }
        self.link = events.link();
        Ok(is_stale)
    }

    fn to_bytes(&self, session: Digest) -> Option<Vec<u8>> {
        let body = serde_json::to_vec(&self.view).ok()?;
        let mut bytes = SNAPSHOT_VERSION.to_le_bytes().to_vec();
        bytes.extend_from_slice(&checksum(session, self.view.seq, self.link, &body));
        bytes.extend_from_slice(&self.link.0);
        bytes.extend_from_slice(&body);
        Some(bytes)
    }
}

fn checksum(session: Digest, seq: u64, link: Link, body: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 snapshot");
    hasher.update(&session.to_bytes()).update(&seq.to_le_bytes()).update(&link.0).update(body);
    let mut check = [0; 16];
    hasher.finalize_xof().fill(&mut check);
    check
}

/// A snapshot to be written: where a session stands at a seq.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) lineage: Lineage,
    pub(crate) seq: u64,
}

/// Writes the snapshots that fell due. What cannot be written is left out: the next reader
/// folds a little further, and whatever is damaged shows itself to whoever reads it.
pub(crate) fn write_due(log: &Arc<dyn Log>, due: &[Due]) {
    for due in due {
        drop(write(log, due));
    }
}

fn write(log: &Arc<dyn Log>, due: &Due) -> Result<()> {
    if let Some(Record { key, value }) = record(log, &due.lineage, due.seq)? {
        let mut batch = Batch::new();
        batch.replace(key, value);
        log.apply(&batch)?;
    }
    Ok(())
}

/// The snapshot of a seq, as it is stored.
pub(crate) fn record(log: &Arc<dyn Log>, lineage: &Lineage, seq: u64) -> Result<Option<Record>> {
    let session = lineage.own();
    let value = Snapshot::at(log, lineage, seq)?.to_bytes(session);
    Ok(value.map(|value| Record { key: key::snapshot(session, seq), value }))
}

/// The seqs of a session's own that should have a snapshot and have none.
pub(crate) fn missing(log: &dyn Log, lineage: &Lineage, head: u64) -> Result<Vec<u64>> {
    let (session, first) =
        (lineage.own(), lineage.first_seq().max(lineage.shared_seq().saturating_add(1)));
    let within = |class| key::seqs(class, session, first, head, Order::Ascending);
    let seq_of = |record: Result<Record>| Ok(key::parse_seq(&record?.key)?.1);
    let there: BTreeSet<u64> =
        Scan::new(log, within(key::Class::Snapshot)).map(seq_of).collect::<Result<_>>()?;
    let mut wanted: BTreeSet<u64> =
        Scan::new(log, within(key::Class::Rewind)).map(seq_of).collect::<Result<_>>()?;
    wanted.extend((lineage.shared_seq() > 0).then_some(first));
    let boundaries = first.div_ceil(SNAPSHOT_EVENTS)..=head / SNAPSHOT_EVENTS;
    wanted.extend(boundaries.map(|boundary| boundary * SNAPSHOT_EVENTS));
    Ok(wanted.difference(&there).copied().collect())
}

/// The view after a seq.
pub(crate) fn view_at(log: &Arc<dyn Log>, lineage: &Lineage, seq: u64) -> Result<SessionView> {
    Ok(Snapshot::at(log, lineage, seq)?.view)
}
