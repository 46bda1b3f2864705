//! Where an event of a caller's own id is.

use super::Lineage;
use crate::bytes::Reader;
use crate::error::Result;
use crate::id::EventId;
use crate::log::{Log, key};

/// The seq an event was stored under, if its id was given by a caller: in the session itself, or
/// in the part that it shares with what it was forked from. What a deleted session of the
/// same id stored does not count.
pub(crate) fn stored_seq(log: &dyn Log, lineage: &Lineage, id: EventId) -> Result<Option<u64>> {
    for span in lineage.spans_back(u64::MAX) {
        let Some(bytes) = log.get(&key::event_id(span.stream, id))? else { continue };
        let seq = Reader::new(&bytes).u64()?;
        let first = span.first.max(lineage.first_seq());
        if (first..=span.last).contains(&seq) {
            return Ok(Some(seq));
        }
    }
    Ok(None)
}
