//! Where an event of a caller's own id is.

use crate::bytes::Reader;
use crate::error::Result;
use crate::id::{Digest, EventId};
use crate::log::{Log, key};

/// The seq an event was stored under, if its id was given by a caller.
pub(crate) fn stored_seq(log: &dyn Log, session: Digest, id: EventId) -> Result<Option<u64>> {
    let seq = log.get(&key::event_id(session, id))?;
    seq.map(|bytes| Reader::new(&bytes).u64()).transpose()
}
