//! What is kept beside a session's frames for compaction and erasure: receipts, sharers, uses of
//! blobs.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Lost;
use crate::codec::Frame;
use crate::error::Result;
use crate::event::EventKind;
use crate::id::Digest;
use crate::index::Entry;
use crate::log::{Log, Order, Scan, key};

/// Compares these records with the frames and with the catalog.
pub(super) fn check(
    log: &Arc<dyn Log>,
    session: Digest,
    entry: Option<&Entry>,
    lost: &Lost,
    tell: &mut dyn FnMut(String),
) -> Result<()> {
    receipts(&**log, session, tell)?;
    sharers(&**log, session, entry, lost, tell)?;
    attachments(&**log, session, tell)
}

fn receipts(log: &dyn Log, session: Digest, tell: &mut dyn FnMut(String)) -> Result<()> {
    let within = |class| key::within(class, session, Order::Ascending);
    let mut wanted = BTreeSet::new();
    for record in Scan::new(log, within(key::Class::Frame)) {
        let record = record?;
        let kind = Frame::parse(&record.value).map_or(0, |frame| frame.header.kind);
        if kind == EventKind::Deleted as u16 || kind == EventKind::Erased as u16 {
            wanted.insert(key::parse_seq(&record.key)?.1);
        }
    }
    for record in Scan::new(log, within(key::Class::Receipt)) {
        let (_, seq) = key::parse_seq(&record?.key)?;
        if !wanted.remove(&seq) {
            tell(format!("the index of receipts names seq {seq}, where none is"));
        }
    }
    for seq in wanted {
        tell(format!("the index of receipts leaves out the one at seq {seq}"));
    }
    Ok(())
}

fn sharers(
    log: &dyn Log,
    session: Digest,
    entry: Option<&Entry>,
    lost: &Lost,
    tell: &mut dyn FnMut(String),
) -> Result<()> {
    for ancestor in entry.iter().flat_map(|entry| &entry.ancestors) {
        let sharer = key::sharer(ancestor.stream, ancestor.last_seq, session);
        if log.get(&sharer)?.is_none() {
            tell(String::from("the stream that it shares does not know of it"));
        }
    }
    for record in Scan::new(log, key::within(key::Class::Sharer, session, Order::Ascending)) {
        let (last_seq, sharer) = key::parse_fork(&record?.key)?;
        if lost.contains_key(&sharer) {
            continue;
        }
        let is_true = Entry::load(log, sharer)?.is_some_and(|entry| {
            let mut ancestors = entry.ancestors.iter();
            ancestors.any(|it| it.stream == session && it.last_seq == last_seq)
        });
        if !is_true {
            tell(format!("session {sharer} is said to share it, and does not"));
        }
    }
    Ok(())
}

/// What an event is said to refer to is said of the blobs too.
fn attachments(log: &dyn Log, session: Digest, tell: &mut dyn FnMut(String)) -> Result<()> {
    for record in Scan::new(log, key::within(key::Class::Attachment, session, Order::Ascending)) {
        let record = record?;
        let (_, seq) = key::parse_seq(&record.key)?;
        let (names, rest) = record.value.as_chunks::<32>();
        if names.is_empty() || !rest.is_empty() {
            tell(format!("the list of blobs of seq {seq} is damaged"));
        }
        if log.get(&key::frame(session, seq))?.is_none() {
            tell(format!("blobs are listed of seq {seq}, where no event is"));
        }
        for name in names {
            if log.get(&key::blob(name, session, seq))?.is_none() {
                tell(format!("a blob of seq {seq} does not know of it"));
            }
        }
    }
    Ok(())
}
