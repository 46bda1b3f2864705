//! The store of blobs against the events that refer to it.

use std::sync::Arc;

use super::Report;
use crate::blob::BlobName;
use crate::compact;
use crate::error::Result;
use crate::event::{Event, references};
use crate::id::Digest;
use crate::index::{Entry, Lineage};
use crate::log::{Log, Order, Scan, key};
use crate::media::MediaStore;
use crate::message::MediaRef;

/// Checks every blob that an event of the streams is said to refer to: that the event is there to
/// say so, and that the blob is what was stored.
pub(super) fn check(
    log: &Arc<dyn Log>,
    media: &MediaStore,
    is_meant: &dyn Fn(Digest) -> bool,
    report: &mut Report,
) -> Result<()> {
    let mut last: Option<(BlobName, Option<String>)> = None;
    for record in Scan::new(&**log, key::class_range(key::Class::Blob, Order::Ascending)) {
        let record = record?;
        let (session, seq) = key::parse_blob_use(&record.key)?;
        if !is_meant(session) {
            continue;
        }
        let name = BlobName::from_bytes(key::parse_blob(&record.key)?);
        let attachments = log.get(&key::attachment(session, seq))?.unwrap_or_default();
        let is_noted = attachments.as_chunks::<32>().0.contains(&name.to_bytes());
        if !is_noted || !refers(log, media, session, seq, name)? {
            let problem = format!("blob {name} is said to be used, and the event does not say so");
            report.add(Some(session.to_string()), Some(seq), problem);
        }
        // The uses of one blob stand together: it is read once.
        if last.as_ref().is_none_or(|(checked, _)| *checked != name) {
            last = Some((name, media.fault(session, name)));
        }
        if let Some((_, Some(fault))) = &last {
            report.add(Some(session.to_string()), Some(seq), format!("blob {name} {fault}"));
        }
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
    if references.is_empty() {
        return Ok(None);
    }
    let noted = log.get(&key::attachment(lineage.own(), event.seq))?.unwrap_or_default();
    let noted = noted.as_chunks::<32>().0;
    let is_noted = |reference: &MediaRef| {
        names(media, lineage, reference).any(|name| noted.contains(&name.to_bytes()))
    };
    let missing = references.into_iter().find(|reference| !is_noted(reference));
    Ok(missing.map(|reference| format!("that it refers to {reference} is not noted")))
}

/// Whether an event of a stream refers to a blob.
fn refers(
    log: &Arc<dyn Log>,
    media: &MediaStore,
    session: Digest,
    seq: u64,
    name: BlobName,
) -> Result<bool> {
    let Ok(stored) = compact::frame_of(&**log, session, seq) else { return Ok(false) };
    let lineage = match Entry::load(&**log, session)? {
        Some(entry) => entry.lineage(session),
        None => Lineage::new(session),
    };
    let mut references = references(&stored.body).into_iter();
    Ok(references.any(|reference| names(media, &lineage, &reference).any(|it| it == name)))
}

/// The names under which a medium may lie that a session refers to.
fn names(
    media: &MediaStore,
    lineage: &Lineage,
    reference: &MediaRef,
) -> impl Iterator<Item = BlobName> {
    let digest = reference.digest();
    lineage.streams().flat_map(move |stream| media.names(stream, digest))
}
