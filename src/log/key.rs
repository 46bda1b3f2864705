//! Every key of a log. The first byte is the class; integers are big-endian, so that the order
//! of keys is the order of what they name.
//!
//! | class | key | value |
//! |---|---|---|
//! | `m` | - | the database's own record |
//! | `f` | session, seq | frame |
//! | `g` | first position | the commits of one group |
//! | `i` | session, event id | seq, for ids that a caller gave |
//! | `r` | session, run, seq | the run's place and status from that seq on |
//! | `n` | session, seq | number and run: a top-level run starts there |
//! | `o` | session, run | nothing: the run is under way |
//! | `y` | session, seq | nothing: a system message is there |
//! | `w` | session, seq | the seq that the session goes back to there |
//! | `x` | parent, seq, session | nothing: the session was forked there |
//! | `s` | session, seq | snapshot of the view at that seq |
//! | `c` | session | catalog entry |
//! | `d` | scope, created at, session | nothing |
//! | `u` | scope, updated at, session | nothing |
//! | `k` | scope, session type | number of sessions |
//! | `z` | session, seq | nothing: a receipt for a deletion or an erasure is there |
//! | `p` | session | nothing: it was deleted, or a sharer was; what is to go may not all be gone |
//! | `q` | - | nothing: some session or run says for itself what is kept |
//! | `h` | stream, seq, session | nothing: the session shares the stream up to that seq |
//! | `b` | blob, session, seq | nothing: the event refers to the blob |
//! | `a` | session, seq | the names of the blobs that the event refers to |
//! | `j` | memories, seq | stream and seq of the message that the memory's text came from |
//! | `v` | stream, seq, memories, seq | nothing: the memory's text came from the message |

use std::ops::Bound;

use super::{Order, Range};
use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::id::{Digest, EventId};

/// The class of a key: its first byte. Stored, so never used again for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Class {
    Meta = b'm',
    Frame = b'f',
    Group = b'g',
    EventId = b'i',
    Run = b'r',
    RunNumber = b'n',
    OpenRun = b'o',
    SystemMessage = b'y',
    Rewind = b'w',
    Fork = b'x',
    Snapshot = b's',
    Catalog = b'c',
    Created = b'd',
    Updated = b'u',
    Count = b'k',
    Receipt = b'z',
    Purge = b'p',
    Blob = b'b',
    Attachment = b'a',
    Dropped = b'l',
    Sharer = b'h',
    Policies = b'q',
    Source = b'j',
    Learned = b'v',
}

fn key(class: Class, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(class as u8);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

pub(crate) fn meta() -> Vec<u8> {
    key(Class::Meta, &[])
}

pub(crate) fn frame(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Frame, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn group(first_position: u64) -> Vec<u8> {
    key(Class::Group, &[&first_position.to_be_bytes()])
}

pub(crate) fn event_id(session: Digest, id: EventId) -> Vec<u8> {
    key(Class::EventId, &[&session.to_bytes(), &id.to_bytes()])
}

pub(crate) fn run(session: Digest, run: Digest, seq: u64) -> Vec<u8> {
    key(Class::Run, &[&session.to_bytes(), &run.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn run_number(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::RunNumber, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn open_run(session: Digest, run: Digest) -> Vec<u8> {
    key(Class::OpenRun, &[&session.to_bytes(), &run.to_bytes()])
}

pub(crate) fn system_message(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::SystemMessage, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn rewind(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Rewind, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn fork(parent: Digest, seq: u64, session: Digest) -> Vec<u8> {
    key(Class::Fork, &[&parent.to_bytes(), &seq.to_be_bytes(), &session.to_bytes()])
}

pub(crate) fn snapshot(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Snapshot, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn catalog(session: Digest) -> Vec<u8> {
    key(Class::Catalog, &[&session.to_bytes()])
}

/// Time that sorts as bytes: the sign bit is turned over.
fn sortable(at_us: i64) -> [u8; 8] {
    (at_us.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn unsortable(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

pub(crate) fn created(scope: Digest, at_us: i64, session: Digest) -> Vec<u8> {
    key(Class::Created, &[&scope.to_bytes(), &sortable(at_us), &session.to_bytes()])
}

pub(crate) fn updated(scope: Digest, at_us: i64, session: Digest) -> Vec<u8> {
    key(Class::Updated, &[&scope.to_bytes(), &sortable(at_us), &session.to_bytes()])
}

pub(crate) fn count(scope: Digest, session_type: u8) -> Vec<u8> {
    key(Class::Count, &[&scope.to_bytes(), &[session_type]])
}

pub(crate) fn policies() -> Vec<u8> {
    key(Class::Policies, &[])
}

pub(crate) fn sharer(stream: Digest, last_seq: u64, session: Digest) -> Vec<u8> {
    key(Class::Sharer, &[&stream.to_bytes(), &last_seq.to_be_bytes(), &session.to_bytes()])
}

pub(crate) fn receipt(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Receipt, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn purge(session: Digest) -> Vec<u8> {
    key(Class::Purge, &[&session.to_bytes()])
}

pub(crate) fn blob(name: &[u8; 32], session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Blob, &[name, &session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn attachment(session: Digest, seq: u64) -> Vec<u8> {
    key(Class::Attachment, &[&session.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn dropped(name: &[u8; 32]) -> Vec<u8> {
    key(Class::Dropped, &[name])
}

pub(crate) fn source(memories: Digest, seq: u64) -> Vec<u8> {
    key(Class::Source, &[&memories.to_bytes(), &seq.to_be_bytes()])
}

pub(crate) fn learned(stream: Digest, at: u64, memories: Digest, seq: u64) -> Vec<u8> {
    let (stream, memories) = (stream.to_bytes(), memories.to_bytes());
    key(Class::Learned, &[&stream, &at.to_be_bytes(), &memories, &seq.to_be_bytes()])
}

/// The texts of memories that came from messages of a stream, from one seq to another, both
/// included.
pub(crate) fn learned_from(stream: Digest, first: u64, last: u64) -> Range {
    let prefix = |seq: u64| key(Class::Learned, &[&stream.to_bytes(), &seq.to_be_bytes()]);
    let until = after_prefix(&prefix(last)).map_or(Bound::Unbounded, Bound::Excluded);
    Range { from: Bound::Included(prefix(first)), until, order: Order::Ascending }
}

/// The events of one stream that refer to a blob.
pub(crate) fn blob_uses_of(name: &[u8; 32], stream: Digest) -> Range {
    Range::prefix(&key(Class::Blob, &[name, &stream.to_bytes()]), Order::Ascending)
}

/// All events that refer to a blob.
pub(crate) fn blob_uses(name: &[u8; 32]) -> Range {
    Range::prefix(&key(Class::Blob, &[name]), Order::Ascending)
}

/// All keys.
pub(crate) fn everything() -> Range {
    Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending }
}

/// All keys of a class.
pub(crate) fn class_range(class: Class, order: Order) -> Range {
    Range::prefix(&[class as u8], order)
}

/// All keys of a class in one session or scope.
pub(crate) fn within(class: Class, session: Digest, order: Order) -> Range {
    Range::prefix(&key(class, &[&session.to_bytes()]), order)
}

/// The keys of a class and a session from one seq to another, both included.
pub(crate) fn seqs(class: Class, session: Digest, first: u64, last: u64, order: Order) -> Range {
    let from = key(class, &[&session.to_bytes(), &first.to_be_bytes()]);
    let until = key(class, &[&session.to_bytes(), &last.to_be_bytes()]);
    Range { from: Bound::Included(from), until: Bound::Included(until), order }
}

/// What is known of a run, from one seq to another, both included; the newest first.
pub(crate) fn run_seqs(session: Digest, run: Digest, first: u64, last: u64) -> Range {
    let from = Bound::Included(self::run(session, run, first));
    let until = Bound::Included(self::run(session, run, last));
    Range { from, until, order: Order::Descending }
}

/// The groups that begin at a position or before it, the last first.
pub(crate) fn groups_until(position: u64) -> Range {
    let (from, until) = (key(Class::Group, &[]), group(position));
    Range { from: Bound::Included(from), until: Bound::Included(until), order: Order::Descending }
}

/// The keys of a time index from one time to another, both included.
pub(crate) fn times(class: Class, scope: Digest, since: i64, until: i64, order: Order) -> Range {
    let scope = scope.to_bytes();
    let from = key(class, &[&scope, &sortable(since)]);
    let until = after_prefix(&key(class, &[&scope, &sortable(until)]));
    Range {
        from: Bound::Included(from),
        until: until.map_or(Bound::Unbounded, Bound::Excluded),
        order,
    }
}

/// The first key behind all that begin so; `None` where there is none.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if let Some(next) = last.checked_add(1) {
            after.push(next);
            return Some(after);
        }
    }
    None
}

/// The session and the seq (or position, or number) in a key of a class that ends in one.
pub(crate) fn parse_seq(bytes: &[u8]) -> Result<(Digest, u64)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let session = Digest(reader.array()?);
    let seq = u64::from_be_bytes(reader.array()?);
    end(reader)?;
    Ok((session, seq))
}

/// The session and the run in a key of a class that ends in one.
pub(crate) fn parse_run(bytes: &[u8]) -> Result<(Digest, Digest)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let parsed = (Digest(reader.array()?), Digest(reader.array()?));
    end(reader)?;
    Ok(parsed)
}

/// The seq and the other session in the key of a fork or of a sharer.
pub(crate) fn parse_fork(bytes: &[u8]) -> Result<(u64, Digest)> {
    let mut reader = Reader::new(bytes);
    reader.slice(17)?;
    let parsed = (u64::from_be_bytes(reader.array()?), Digest(reader.array()?));
    end(reader)?;
    Ok(parsed)
}

/// The stream in the key of a sharer.
pub(crate) fn parse_shared(bytes: &[u8]) -> Result<Digest> {
    parse_fork(bytes)?;
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    Ok(Digest(reader.array()?))
}

/// The session in a key that holds nothing else.
pub(crate) fn parse_session(bytes: &[u8]) -> Result<Digest> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let session = Digest(reader.array()?);
    end(reader)?;
    Ok(session)
}

/// The blob in the key of its use, or of what dropped it.
pub(crate) fn parse_blob(bytes: &[u8]) -> Result<[u8; 32]> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    reader.array()
}

/// The session and the seq in the key of a blob's use.
pub(crate) fn parse_blob_use(bytes: &[u8]) -> Result<(Digest, u64)> {
    let mut reader = Reader::new(bytes);
    reader.slice(33)?;
    let parsed = (Digest(reader.array()?), u64::from_be_bytes(reader.array()?));
    end(reader)?;
    Ok(parsed)
}

/// The message and the memory's text in a key that ties them: each a stream and a seq.
pub(crate) fn parse_learned(bytes: &[u8]) -> Result<[(Digest, u64); 2]> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let mut place = || Ok((Digest(reader.array()?), u64::from_be_bytes(reader.array()?)));
    let parsed = [place()?, place()?];
    end(reader)?;
    Ok(parsed)
}

/// The position in a group's key.
pub(crate) fn parse_group(bytes: &[u8]) -> Result<u64> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let position = u64::from_be_bytes(reader.array()?);
    end(reader)?;
    Ok(position)
}

/// The time and the session in a time index's key.
pub(crate) fn parse_time(bytes: &[u8]) -> Result<(i64, Digest)> {
    let mut reader = Reader::new(bytes);
    reader.slice(17)?;
    let at_us = unsortable(reader.array()?);
    let session = Digest(reader.array()?);
    end(reader)?;
    Ok((at_us, session))
}

fn end(reader: Reader<'_>) -> Result<()> {
    if reader.rest().is_empty() { Ok(()) } else { Err(Error::corrupt("a key is too long")) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_sort_as_they_run(a: i64, b: i64) {
            let session = Digest::of_session("s");
            let (first, second) = (created(Digest::NONE, a, session), created(Digest::NONE, b, session));
            prop_assert_eq!(a.cmp(&b), first.cmp(&second));
            prop_assert_eq!(parse_time(&first).unwrap(), (a, session));
        }

        #[test]
        fn seqs_sort_as_they_count(a: u64, b: u64) {
            let session = Digest::of_session("s");
            prop_assert_eq!(a.cmp(&b), frame(session, a).cmp(&frame(session, b)));
            prop_assert_eq!(parse_seq(&frame(session, a)).unwrap(), (session, a));
        }

        #[test]
        fn what_comes_after_a_prefix_is_behind_all_that_begin_so(
            prefix in proptest::collection::vec(any::<u8>(), 1..6),
            rest in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let whole = [prefix.as_slice(), &rest].concat();
            match after_prefix(&prefix) {
                Some(after) => prop_assert!(whole < after),
                None => prop_assert!(prefix.iter().all(|byte| *byte == 0xff)),
            }
        }
    }
}
