//! What sealing keeps, hides and tells.

mod blobs;
#[cfg(feature = "sled")]
mod golden;
#[cfg(feature = "sled")]
mod keys;
mod log;
mod property;
mod providers;

use std::sync::Arc;

use super::*;
use crate::codec::{Commitment, EncodedBody, Frame, Header, Link};
use crate::event::{EventBody, EventKind, MessageAdded};
use crate::id::{Digest, EventId};
use crate::log::{Batch, Log, MemoryLog, Order, PageLimit, Range, key};
use crate::message::Message;

const SESSION: Digest = Digest(*b"the session here");
const OTHER: Digest = Digest(*b"another session.");

fn provider(key: u8) -> Arc<dyn KeyProvider> {
    Arc::new(StaticKey::new([key; 32]))
}

/// A log that seals, and what it is made of.
struct Sealed {
    inner: Arc<dyn Log>,
    vault: Arc<Vault>,
    log: SealedLog,
}

impl Sealed {
    fn new() -> Self {
        Self::over(Arc::new(MemoryLog::new()), Arc::new(MemoryKeys::default()))
    }

    fn over(inner: Arc<dyn Log>, keys: Arc<dyn KeyStore>) -> Self {
        let vault = Arc::new(Vault::open(provider(1), keys).unwrap());
        let log = SealedLog::new(Arc::clone(&inner), Arc::clone(&vault));
        Self { inner, vault, log }
    }

    fn put(&self, key: &[u8], value: &[u8]) {
        put(&self.log, key, value);
    }
}

fn put(log: &dyn Log, key: &[u8], value: &[u8]) {
    let mut batch = Batch::new();
    batch.replace(key.to_vec(), value.to_vec());
    log.append(&batch, crate::Durability::PowerLoss, 1).unwrap();
}

fn everything(log: &dyn Log) -> Vec<(Vec<u8>, Vec<u8>)> {
    let page = log.page(&key::everything(), PageLimit { records: 10_000, bytes: usize::MAX });
    page.unwrap().into_iter().map(|record| (record.key, record.value)).collect()
}

fn message(text: &str) -> EventBody {
    EventBody::MessageAdded(MessageAdded { message: Message::user(text) })
}

/// A frame of any kind: the log does not look into bodies.
fn frame_of_kind(kind: EventKind, session: Digest, seq: u64, body: &EncodedBody) -> Vec<u8> {
    let salt = *b"0123456789abcdef";
    let header = Header {
        kind: kind as u16,
        schema_version: body.schema_version,
        flags: 0,
        commit_index: 0,
        commit_len: 1,
        body_len: u32::try_from(body.bytes.len()).unwrap(),
        seq,
        recorded_at_us: 1_700_000_000_123_456,
        log_id: [7; 16],
        session,
        event_id: EventId::derive(&[b"seal", &seq.to_le_bytes()]),
        run: Digest::of_run("run"),
        actor: Digest::of_user("alice"),
        previous: Link([9; 32]),
        commitment: Commitment::to(&salt, &body.bytes),
    };
    Frame::new(header, seq, salt, &body.bytes).to_bytes()
}

fn frame(session: Digest, seq: u64, text: &str) -> Vec<u8> {
    let body = EncodedBody::encode(&message(text)).unwrap();
    frame_of_kind(EventKind::MessageAdded, session, seq, &body)
}

/// A record of each class whose values are sealed, with the words in its value.
fn records(session: Digest, words: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    vec![
        (key::catalog(session), format!("{{\"name\":\"{words}\"}}").into_bytes()),
        (key::frame(session, 1), frame(session, 1, words)),
        (key::run(session, Digest::of_run("run"), 1), format!("run {words}").into_bytes()),
        (key::snapshot(session, 1), words.as_bytes().to_vec()),
    ]
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}
