//! The store of blobs against the events that refer to it.

use std::sync::Arc;

use super::Report;
use super::session::lineage_at;
use crate::blob::BlobName;
use crate::compact;
use crate::error::{ErrorKind, Result};
use crate::event::{Event, references};
use crate::id::Digest;
use crate::index::{Entry, Lineage};
use crate::log::{Log, Order, Scan, key};
use crate::media::MediaStore;

/// Checks every blob that an event of the streams is said to refer to: that the event is there to
/// say so, and that the blob is what was stored.
pub(super) fn check(
    log: &Arc<dyn Log>,
    media: &MediaStore,
    is_meant: &dyn Fn(Digest) -> bool,
    report: &mut Report,
) -> Result<()> {
    let mut last = None;
    for record in Scan::new(&**log, key::class_range(key::Class::Blob, Order::Ascending)) {
        let record = record?;
        let (session, seq) = key::parse_blob_use(&record.key)?;
        if !is_meant(session) {
            continue;
        }
        let name = BlobName::from_bytes(key::parse_blob(&record.key)?);
        let entry = Entry::load(&**log, session)?;
        let lineage = lineage_at(&**log, session, seq, entry.as_ref())?;
        // Where a part of the session cannot be read, that is told elsewhere.
        if has_lost_key(media, &lineage)? {
            continue;
        }
        let attachments = log.get(&key::attachment(session, seq))?.unwrap_or_default();
        let is_noted = attachments.as_chunks::<32>().0.contains(&name.to_bytes());
        if !is_noted || !refers(log, media, &lineage, seq, name)? {
            let problem = format!("blob {name} is said to be used, and the event does not say so");
            report.add(Some(session.to_string()), Some(seq), problem);
        }
        // The uses of one blob stand together: it is read once. Whether it is the right one
        // differs: the session that stored it named it, and its forks refer to it.
        let content = match last.take() {
            Some((read, content)) if read == name => content,
            _ => media.content(name),
        };
        let fault = match &content {
            Ok(digest) if names(media, &lineage, *digest)?.contains(&name) => None,
            Ok(_) => Some("is not what was stored"),
            Err(fault) => Some(fault.as_str()),
        };
        if let Some(fault) = fault {
            report.add(Some(session.to_string()), Some(seq), format!("blob {name} {fault}"));
        }
        last = Some((name, content));
    }
    Ok(())
}

/// Says where a medium that an event refers to is not noted.
pub(super) fn check_references(
    log: &dyn Log,
    media: &MediaStore,
    lineage: &Lineage,
    event: &Event,
) -> Result<Option<String>> {
    let references = references(&event.body);
    if references.is_empty() || has_lost_key(media, lineage)? {
        return Ok(None);
    }
    let noted = log.get(&key::attachment(lineage.own(), event.seq))?.unwrap_or_default();
    let noted = noted.as_chunks::<32>().0;
    for reference in references {
        let names = names(media, lineage, reference.digest())?;
        if !names.iter().any(|name| noted.contains(&name.to_bytes())) {
            return Ok(Some(format!("that it refers to {reference} is not noted")));
        }
    }
    Ok(None)
}

/// Whether an event of a stream refers to a blob.
fn refers(
    log: &Arc<dyn Log>,
    media: &MediaStore,
    lineage: &Lineage,
    seq: u64,
    name: BlobName,
) -> Result<bool> {
    let Ok(stored) = compact::frame_of(&**log, lineage.own(), seq) else { return Ok(false) };
    for reference in references(&stored.body) {
        if names(media, lineage, reference.digest())?.contains(&name) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the key of a stream of a session cannot be had.
fn has_lost_key(media: &MediaStore, lineage: &Lineage) -> Result<bool> {
    match names(media, lineage, [0; 32]) {
        Err(error) if matches!(error.kind(), ErrorKind::Key { .. }) => Ok(true),
        names => names.map(|_| false),
    }
}

/// The names under which a medium may lie that a session refers to.
fn names(media: &MediaStore, lineage: &Lineage, digest: [u8; 32]) -> Result<Vec<BlobName>> {
    let mut names = Vec::new();
    for stream in lineage.streams() {
        names.extend(media.names(stream, digest)?);
    }
    Ok(names)
}
