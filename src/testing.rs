//! Doors for tests and fuzzers: what reads bytes from outside, and what seals, by itself.

#[cfg(all(feature = "seal", feature = "sled"))]
use std::path::Path;
#[cfg(feature = "seal")]
use std::sync::Arc;

use std::collections::HashMap;

use crate::codec::{self, Frame};
use crate::error::{Error, Result};
use crate::event::{Event, EventBody, EventKind};
use crate::id::Digest;
use crate::index::{Entry, GroupRecord, RunRecord};
use crate::json::Json;
#[cfg(feature = "seal")]
use crate::log::Log;
use crate::message::{Content, Message, Part, media};
#[cfg(all(feature = "seal", feature = "sled"))]
use crate::seal::FileKeys;
#[cfg(feature = "seal")]
use crate::seal::{KeyProvider, KeyStore, MemoryKeys, SealedLog, Vault};
use crate::snapshot::Snapshot;

/// A log that seals what goes into another one, with keys that are kept in memory.
#[cfg(feature = "seal")]
pub fn seal_in_memory(inner: Arc<dyn Log>, provider: Arc<dyn KeyProvider>) -> Result<Arc<dyn Log>> {
    seal(inner, provider, Arc::new(MemoryKeys::default()))
}

/// The same, with keys in a key file in a directory.
#[cfg(all(feature = "seal", feature = "sled"))]
pub fn seal_on_disk(
    inner: Arc<dyn Log>,
    provider: Arc<dyn KeyProvider>,
    directory: &Path,
) -> Result<Arc<dyn Log>> {
    seal(inner, provider, Arc::new(FileKeys::open(directory)?))
}

#[cfg(feature = "seal")]
fn seal(
    inner: Arc<dyn Log>,
    provider: Arc<dyn KeyProvider>,
    keys: Arc<dyn KeyStore>,
) -> Result<Arc<dyn Log>> {
    Ok(Arc::new(SealedLog::new(inner, Arc::new(Vault::open(provider, keys)?))))
}

/// Where the words of a query stand in a text, in bytes; `None` where it is not what is looked for.
#[cfg(feature = "search")]
pub fn find_words(query: &str, text: &str) -> Result<Option<Vec<std::ops::Range<usize>>>> {
    crate::search::find_words(query, text)
}

/// Reads a frame as if it stood at that session and seq.
pub fn read_frame(bytes: &[u8], session: Digest, seq: u64) -> Result<Event> {
    codec::decode(&Frame::open(bytes, session, seq)?)
}

/// Reads the body of a frame of any session, without checking its commitment: the way to the
/// archive for a fuzzer that cannot forge hashes.
pub fn read_body(kind: u16, bytes: &[u8]) -> Result<EventBody> {
    let kind = EventKind::from_ordinal(kind).unwrap_or(EventKind::MessageAdded);
    codec::decode_body(kind, 1, 0, bytes)
}

/// Reads every other kind of record that a log holds.
pub fn read_records(bytes: &[u8]) {
    drop(Entry::from_bytes(bytes));
    drop(GroupRecord::from_bytes(bytes));
    drop(RunRecord::from_bytes(bytes));
    drop(Snapshot::from_bytes(bytes, Digest::NONE, 1));
}

/// Takes the media out of a message and puts them back, which gives the same message; one that
/// has references already comes back as it is. Drops them too, which leaves JSON.
pub fn move_media(message: Message) -> Result<Message> {
    let values = message.extra.iter().map(|field| (Some(field.name.as_str()), &field.value));
    let parts = match &message.content {
        Content::Parts(parts) => parts.as_slice(),
        _ => &[],
    };
    let parts = parts.iter().filter_map(|part| match part {
        Part::Json(json) => Some((None, json)),
        Part::Text(_) => None,
    });
    for (name, json) in values.chain(parts) {
        if let Some((Some(left), _)) = media::drop_media(json, name) {
            Json::parse(left.as_str())?;
        }
    }
    if !media::references(&message).is_empty() {
        return Ok(message);
    }
    let mut blobs = HashMap::new();
    let detached = media::detach(message, &mut |media, bytes| {
        blobs.insert(media.digest(), bytes.to_vec());
        Ok(())
    })?;
    media::attach(detached, &mut |media| {
        blobs.get(&media.digest()).cloned().ok_or_else(|| Error::not_found("blob"))
    })
}
