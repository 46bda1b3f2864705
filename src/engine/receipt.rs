//! The receipts that the log keeps for what was deleted and erased.

use super::Engine;
use crate::codec::{self, Frame};
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::id::Digest;
use crate::log::{Order, Scan, key};

/// The record of a deletion or an erasure: the receipt as the log keeps it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ErasureRecord {
    /// The digest of the session's id: more is not left of one that was deleted.
    pub session: Digest,
    /// What was deleted or erased, when, by whom, and on whose word. Where the session's key was
    /// destroyed its body is [`EventBody::Gone`](crate::EventBody::Gone), of the kind it had.
    pub event: Event,
}

impl Engine {
    /// The receipts for all that was ever deleted or erased, by session and then in order.
    pub fn receipts(&self) -> Result<Vec<ErasureRecord>> {
        let class = key::class_range(key::Class::Receipt, Order::Ascending);
        let read = |key: &[u8]| {
            let (session, seq) = key::parse_seq(key)?;
            let bytes = self.inner.log.get(&key::frame(session, seq))?;
            let bytes = bytes.ok_or_else(|| Error::corrupt("a receipt's event is missing"))?;
            let event = Frame::open(&bytes, session, seq).and_then(|frame| codec::decode(&frame));
            let event = event.with_context(|| format!("session {session}, seq {seq}"))?;
            Ok(ErasureRecord { session, event })
        };
        Scan::new(&**self.inner.log(), class).map(|record| read(&record?.key)).collect()
    }
}
