//! Doors for tests and fuzzers: what reads bytes from outside, by itself.

use crate::codec::{self, Frame};
use crate::error::Result;
use crate::event::{Event, EventBody, EventKind};
use crate::id::Digest;
use crate::index::{Entry, GroupRecord, RunRecord};
use crate::snapshot::Snapshot;

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
