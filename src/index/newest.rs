//! The last record of a class in a part of a session, whichever stream holds it.

use super::Lineage;
use crate::error::Result;
use crate::id::Digest;
use crate::log::{Log, Order, PageLimit, key};

/// A record that stands at a seq.
pub(crate) struct Found {
    pub(crate) stream: Digest,
    pub(crate) seq: u64,
    pub(crate) value: Vec<u8>,
}

/// The last record of a class whose keys end in a seq, from one seq to another.
pub(crate) fn newest(
    log: &dyn Log,
    lineage: &Lineage,
    class: key::Class,
    first: u64,
    last: u64,
) -> Result<Option<Found>> {
    let mut rest = last;
    while let Some(span) = lineage.last_span(first, rest) {
        let range = key::seqs(class, span.stream, span.first, span.last, Order::Descending);
        if let Some(record) = log.page(&range, PageLimit::records(1))?.pop() {
            let (stream, seq) = key::parse_seq(&record.key)?;
            return Ok(Some(Found { stream, seq, value: record.value }));
        }
        rest = span.first - 1;
    }
    Ok(None)
}
