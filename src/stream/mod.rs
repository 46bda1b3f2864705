//! One session's events as they lie in the log, each checked on its way out.

mod back;
mod forward;
mod live;
mod positions;

pub(crate) use self::back::EventsBack;
pub use self::forward::Events;
pub(crate) use self::live::LiveEvents;
pub(crate) use self::positions::page_at;

use crate::codec::Frame;
use crate::error::Result;
use crate::id::Digest;
use crate::index::Entry;
use crate::log::{Log, Order, PageLimit, key};

/// The first seq that a stream holds.
pub(crate) fn first_seq(log: &dyn Log, session: Digest) -> Result<Option<u64>> {
    let range = key::within(key::Class::Frame, session, Order::Ascending);
    let first = log.page(&range, PageLimit::records(1))?;
    first.first().map(|record| key::parse_seq(&record.key).map(|(_, seq)| seq)).transpose()
}

/// The last seq of a stream that readers may see; 0 where there is no session.
pub(crate) fn head_seq(log: &dyn Log, session: Digest, published: u64) -> Result<u64> {
    let mut range = key::within(key::Class::Frame, session, Order::Descending);
    loop {
        let page = log.page(&range, PageLimit::records(1))?;
        let Some(record) = page.first() else { return Ok(0) };
        let (_, seq) = key::parse_seq(&record.key)?;
        // What is applied but not synced yet is not there for readers. A frame too damaged to
        // say where it is counts as the head, so that the reader meets its damage.
        match Frame::parse(&record.value) {
            Ok(frame) if frame.position > published => range = range.behind(&record.key),
            _ => return Ok(seq),
        }
    }
}

/// The catalog's word on a session and its last seq, if it is there for readers.
pub(crate) fn entry(
    log: &dyn Log,
    session: Digest,
    published: u64,
) -> Result<Option<(Entry, u64)>> {
    // The head first: an entry that is as new or newer knows of every rewind before it.
    let head = head_seq(log, session, published)?;
    let Some(entry) = Entry::load(log, session)? else { return Ok(None) };
    // Behind a deletion, what readers may see can be all of another session.
    Ok((head > 0 && head >= entry.first_seq).then_some((entry, head)))
}
