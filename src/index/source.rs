//! Which texts of memories came from which messages, both ways: so that what is erased is found.

use crate::bytes::Reader;
use crate::error::Result;
use crate::id::Digest;
use crate::log::{Batch, Log, Scan, key};

/// A text of a memory, and the message that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Learned {
    /// The seq of the message, in the stream that holds it.
    pub(crate) at: u64,
    /// The stream of the memories.
    pub(crate) memories: Digest,
    /// The seq of the text there.
    pub(crate) seq: u64,
}

/// The texts that came from messages of a stream between two seqs, both included.
pub(crate) fn learned_from(
    log: &dyn Log,
    stream: Digest,
    first: u64,
    last: u64,
) -> Result<Vec<Learned>> {
    let records = Scan::new(log, key::learned_from(stream, first, last));
    records
        .map(|record| {
            let [(_, at), (memories, seq)] = key::parse_learned(&record?.key)?;
            Ok(Learned { at, memories, seq })
        })
        .collect()
}

/// Where the text at a seq of some memories came from: a stream and a seq in it.
pub(crate) fn source_of(
    log: &dyn Log,
    memories: Digest,
    seq: u64,
) -> Result<Option<(Digest, u64)>> {
    let Some(bytes) = log.get(&key::source(memories, seq))? else { return Ok(None) };
    let mut reader = Reader::new(&bytes);
    Ok(Some((Digest::from_bytes(reader.array()?), reader.u64()?)))
}

/// Forgets where a text came from, because the text goes.
pub(crate) fn forget_source(
    log: &dyn Log,
    memories: Digest,
    seq: u64,
    batch: &mut Batch,
) -> Result<()> {
    if let Some((stream, at)) = source_of(log, memories, seq)? {
        batch.remove(key::source(memories, seq));
        batch.remove(key::learned(stream, at, memories, seq));
    }
    Ok(())
}
