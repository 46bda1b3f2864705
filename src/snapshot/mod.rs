//! Views saved at intervals, so that a view at any point folds a bounded number of events.
//! Every snapshot can be thrown away: a reader that finds none, or a damaged one, folds from
//! the one before.

use std::sync::Arc;

use crate::bytes::Reader;
use crate::codec::Link;
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::log::{Batch, Log, Order, PageLimit, key};
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
    pub(crate) fn load(log: &dyn Log, session: Digest, last_seq: u64) -> Result<Self> {
        let mut range = key::seqs(key::Class::Snapshot, session, 1, last_seq, Order::Descending);
        loop {
            let page = log.page(&range, PageLimit::records(1))?;
            let Some(record) = page.first() else { return Ok(Self::start()) };
            let (_, seq) = key::parse_seq(&record.key)?;
            if let Ok(snapshot) = Self::from_bytes(&record.value, session, seq) {
                return Ok(snapshot);
            }
            range = range.behind(&record.key);
        }
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

/// Writes the snapshots that fell due. What cannot be written is left out: the next reader
/// folds a little further, and whatever is damaged shows itself to whoever reads it.
pub(crate) fn write_due(log: &Arc<dyn Log>, due: &[(Digest, u64)]) {
    for sessions in due.chunk_by(|a, b| a.0 == b.0) {
        drop(fold_due(log, sessions));
    }
}

fn fold_due(log: &Arc<dyn Log>, due: &[(Digest, u64)]) -> Result<()> {
    let [(session, first), ..] = due else { return Ok(()) };
    let mut snapshot = Snapshot::load(&**log, *session, *first)?;
    for (_, boundary) in due {
        let mut events = Events::after(log, *session, snapshot.view.seq, snapshot.link, *boundary);
        for event in events.by_ref() {
            snapshot.view.apply(&event?);
        }
        snapshot.link = events.link();
        if let Some(bytes) = snapshot.to_bytes(*session) {
            let mut batch = Batch::new();
            batch.replace(key::snapshot(*session, *boundary), bytes);
            log.apply(&batch)?;
        }
    }
    Ok(())
}
