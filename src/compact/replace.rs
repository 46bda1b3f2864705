//! Stored bodies and what takes their place, a bounded number at a time.

use std::sync::Arc;

use super::plan::CompactionPlan;
use crate::codec::{self, Commitment, Frame};
use crate::commit::{Replacement, SaltedBody};
use crate::error::{Context, Error, Result};
use crate::event::EventBody;
use crate::id::Digest;
use crate::limits::{REPLACED_BYTES_MAX, REPLACED_EVENTS_MAX};
use crate::log::{Log, key};
use crate::policy::{Reduction, Unit};

/// A stored body.
pub(crate) struct Stored {
    pub(crate) body: EventBody,
    pub(crate) present: Commitment,
    pub(crate) bytes: usize,
}

/// Reads what stands at a seq of a stream.
pub(crate) fn frame_of(log: &dyn Log, stream: Digest, seq: u64) -> Result<Stored> {
    let read = || {
        let bytes = log.get(&key::frame(stream, seq))?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("the event is missing"))?;
        let frame = Frame::open(&bytes, stream, seq)?;
        let body = codec::decode(&frame)?.body;
        Ok(Stored { body, present: frame.present_commitment(), bytes: bytes.len() })
    };
    read().with_context(|| format!("seq {seq}"))
}

/// The names of the blobs that an event refers to.
pub(crate) fn read_blobs(log: &dyn Log, stream: Digest, seq: u64) -> Result<Vec<[u8; 32]>> {
    let names = log.get(&key::attachment(stream, seq))?.unwrap_or_default();
    Ok(names.as_chunks::<32>().0.to_vec())
}

/// The replacements of a plan, in batches. What must change together is in one.
pub(crate) struct Batches<'a> {
    log: &'a Arc<dyn Log>,
    stream: Digest,
    units: std::vec::IntoIter<Unit>,
    /// What was planned so far.
    pub(crate) summary: CompactionPlan,
    /// Which of the blobs of an event the body that is left still refers to.
    blobs_left: &'a dyn Fn(&EventBody) -> Result<Vec<[u8; 32]>>,
}

impl<'a> Batches<'a> {
    pub(crate) fn new(
        log: &'a Arc<dyn Log>,
        stream: Digest,
        units: Vec<Unit>,
        summary: CompactionPlan,
        blobs_left: &'a dyn Fn(&EventBody) -> Result<Vec<[u8; 32]>>,
    ) -> Self {
        Self { log, stream, units: units.into_iter(), summary, blobs_left }
    }

    /// The next batch, in order of seq: empty where nothing changes in a part, `None` at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Option<Vec<Replacement>>> {
        if self.units.as_slice().is_empty() {
            return Ok(None);
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < REPLACED_EVENTS_MAX && bytes < REPLACED_BYTES_MAX {
            let Some(Unit(unit)) = self.units.next() else { break };
            for (seq, reduction) in unit {
                bytes += self.take(seq, &reduction, &mut batch)?;
            }
        }
        batch.sort_by_key(|replacement| replacement.seq);
        Ok(Some(batch))
    }

    /// Adds what takes the place of one body, unless nothing changes. Returns how much was read.
    fn take(
        &mut self,
        seq: u64,
        reduction: &Reduction,
        batch: &mut Vec<Replacement>,
    ) -> Result<usize> {
        let stored = frame_of(&**self.log, self.stream, seq)?;
        let Some(left) = reduction.apply(&stored.body) else { return Ok(stored.bytes) };
        let body = SaltedBody::new(&left)?;
        let blobs_before = read_blobs(&**self.log, self.stream, seq)?;
        let mut blobs_after = Vec::new();
        if !blobs_before.is_empty() {
            blobs_after = (self.blobs_left)(&left)?;
            blobs_after.retain(|name| blobs_before.contains(name));
        }
        self.summary.count(&stored.body, &left);
        self.summary.bytes_before += stored.bytes as u64;
        self.summary.bytes_after += (codec::FRAME_BYTES_MIN + body.body.bytes.len()) as u64;
        let present = stored.present;
        batch.push(Replacement { seq, present, body: Some(body), blobs_before, blobs_after });
        Ok(stored.bytes)
    }
}
