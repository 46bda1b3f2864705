//! Sessions that were deleted: where they ended, and what forks still share of them.

use crate::codec::Frame;
use crate::error::Result;
use crate::event::EventKind;
use crate::id::Digest;
use crate::log::{Log, Order, Scan, key};

use super::{Entry, Lineage, shared_seq};

/// The seqs at which a stream was deleted, in order: another session may have begun behind each.
pub(crate) fn deletions(log: &dyn Log, stream: Digest) -> Result<Vec<u64>> {
    let mut ends = Vec::new();
    for record in Scan::new(log, key::within(key::Class::Receipt, stream, Order::Ascending)) {
        let (_, seq) = key::parse_seq(&record?.key)?;
        let bytes = log.get(&key::frame(stream, seq))?.unwrap_or_default();
        if Frame::parse(&bytes)?.header.kind == EventKind::Deleted as u16 {
            ends.push(seq);
        }
    }
    Ok(ends)
}

/// What forks share of a session that was deleted.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    /// Where the shared events lie.
    pub(crate) lineage: Lineage,
    /// The last of them.
    pub(crate) last_seq: u64,
    /// The seq of the deletion.
    pub(crate) deleted_at: u64,
}

impl Former {
    /// The one that a seq of a stream is a part of; `None` where no fork shares it, or no
    /// deletion is behind it.
    pub(crate) fn at(log: &dyn Log, stream: Digest, seq: u64) -> Result<Option<Self>> {
        let deleted_at = deletions(log, stream)?.into_iter().find(|end| *end > seq);
        let (Some(deleted_at), Some(lineage)) = (deleted_at, former_lineage(log, stream, seq)?)
        else {
            return Ok(None);
        };
        let last_seq = shared_seq(log, stream, deleted_at)?;
        Ok((last_seq >= seq).then_some(Self { lineage, last_seq, deleted_at }))
    }

    /// The first seq that its own stream holds.
    pub(crate) fn own_seq(&self) -> u64 {
        self.lineage.first_seq().max(self.lineage.shared_seq() + 1)
    }
}

/// Where the events of a deleted session lie of which one stands at a seq of a stream. Nobody
/// says so but a fork that shares it.
pub(crate) fn former_lineage(log: &dyn Log, stream: Digest, seq: u64) -> Result<Option<Lineage>> {
    let range = key::seqs(key::Class::Sharer, stream, seq, u64::MAX, Order::Ascending);
    for record in Scan::new(log, range) {
        let (last_seq, sharer) = key::parse_fork(&record?.key)?;
        let Some(sharer) = Entry::load(log, sharer)? else { continue };
        let mut ancestors = sharer.ancestors.iter();
        if let Some(at) = ancestors.position(|it| it.stream == stream && it.last_seq == last_seq) {
            let before = sharer.ancestors.get(..at).unwrap_or_default().to_vec();
            let lineage = Lineage::from_parts(stream, before, sharer.has_rewinds);
            return Ok(Some(lineage.beginning_at(sharer.first_seq)));
        }
    }
    Ok(None)
}
