//! sled's tree. Values are stored in chunks: sled 0.34 writes a page fragment over a quarter of
//! a segment to a file that it never syncs, and a full leaf of chunks stays far below that.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::ops::Bound;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sled::{Db, IVec};

use super::directory::{DATA_FILE, remove_snapshots};
use super::guard::guarded;
use super::lock::{lock, wait_for};
use super::pack::PackId;
use crate::bytes::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::CHUNK_BYTES_MAX;
use crate::log::{Op, Order, PageLimit, Range, Record};

/// sled's own tree for what is no record, and what it says there of the packed file.
const SETTINGS_TREE: &[u8] = b"settings";
const PACK_SETTING: &[u8] = b"pack";

/// Bytes of one of sled's segments.
pub(super) const SEGMENT_BYTES: usize = 4 * 1024 * 1024;
/// sled splits a leaf that holds more entries.
const LEAF_ENTRIES_MAX: usize = 16;
/// No key of ours is longer, with its chunk number.
pub(super) const KEY_BYTES_MAX: usize = 64;

const _: () = {
    // One entry over the limit is written before the split.
    let leaf = (LEAF_ENTRIES_MAX + 1) * (CHUNK_BYTES_MAX + KEY_BYTES_MAX);
    assert!(2 * leaf < SEGMENT_BYTES / 4, "a leaf must stay far below a quarter of a segment");
};

/// Bytes of a value's length, in front of its first chunk.
const LEN_BYTES: usize = 4;
/// In place of the length: the key is gone, whatever the packed file says of it.
const GONE: u32 = u32::MAX;
/// Sorts behind every chunk of a key.
const BEHIND_CHUNKS: [u8; 3] = [0xff; 3];

/// What sled says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Value(Vec<u8>),
    /// It is removed, and the packed file has it.
    Gone,
}

/// What sled holds of a database.
#[derive(Debug)]
pub(super) struct Tree {
    db: Db,
    /// Held for writing while a value of several chunks changes, and for reading by everyone who
    /// puts values together.
    whole: RwLock<()>,
}

impl Tree {
    /// Opens sled's part. The database is ours by its own lock, so if sled's is still held, then
    /// by a thread of an engine that was closed a moment ago: it is waited for.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Self> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let db = wait_for(|| match guarded(|| config.open()) {
            Err(error) if error.kind() == &ErrorKind::Locked => Ok(None),
            // A full disk leaves half of one of sled's own snapshots. They only spare it
            // reading its file, so it is opened once more without them.
            Err(error) if error.is_corrupt() && remove_snapshots(path).unwrap_or(false) => Ok(None),
            other => other.map(Some),
        })?;
        Ok(Self { db, whole: RwLock::default() })
    }

    /// Waits until nothing of sled holds a database any more: threads of its own may, for a moment
    /// after it was dropped, and write to its directory.
    pub(super) fn wait_until_closed(path: &Path) -> Result<()> {
        let mut options = OpenOptions::new();
        let data = options.read(true).write(true).open(path.join(DATA_FILE)).map_err(Error::io)?;
        lock(&data)
    }

    // The lock guards no value, so a poisoned one is as good as any.
    fn reading(&self) -> RwLockReadGuard<'_, ()> {
        self.whole.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn changing(&self) -> RwLockWriteGuard<'_, ()> {
        self.whole.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packed file that it lies over, if any.
    pub(super) fn pack(&self) -> Result<Option<PackId>> {
        if !guarded(|| Ok(self.db.tree_names()))?.iter().any(|name| name == SETTINGS_TREE) {
            return Ok(None);
        }
        let settings = guarded(|| self.db.open_tree(SETTINGS_TREE))?;
        let Some(id) = guarded(|| settings.get(PACK_SETTING))? else { return Ok(None) };
        Reader::new(&id).u64().map(|id| Some(PackId(id)))
    }

    /// Says which packed file it lies over. Once, before anything else.
    pub(super) fn set_pack(&self, id: PackId) -> Result<()> {
        let settings = guarded(|| self.db.open_tree(SETTINGS_TREE))?;
        guarded(|| settings.insert(PACK_SETTING, &id.0.to_le_bytes())).map(drop)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let _whole = self.reading();
        let Some(first) = guarded(|| self.db.get(chunk_key(key, 0)))? else { return Ok(None) };
        let Some(len) = value_len(&first)? else { return Ok(Some(Entry::Gone)) };
        let mut value = first.get(LEN_BYTES..).unwrap_or_default().to_vec();
        for chunk in 1..chunk_count(len) {
            let next = guarded(|| self.db.get(chunk_key(key, chunk)))?;
            value.extend_from_slice(&next.ok_or_else(chunk_missing)?);
        }
        whole(value, len).map(|value| Some(Entry::Value(value)))
    }

    /// The next keys of a range and what it says of them. Those that are gone count as others do.
    pub(super) fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<(Vec<u8>, Entry)>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let _whole = self.reading();
        let chunks = self.db.range(raw_bounds(range));
        match range.order {
            Order::Ascending => page_ascending(chunks, limit),
            Order::Descending => page_descending(chunks.rev(), limit),
        }
    }

    /// Applies operations together, in order. `is_packed` says whether the packed file has a key.
    pub(super) fn apply(
        &self,
        ops: &[Op],
        is_packed: impl Fn(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut raw = sled::Batch::default();
        // A key may be written and then replaced or removed by the same batch.
        let mut written: HashMap<&[u8], u16> = HashMap::new();
        let mut most_chunks = 0;
        for op in ops {
            let key = op.key();
            if !matches!(op, Op::Insert(_)) {
                let stale = written.get(key).copied().unwrap_or_default();
                let stale = stale.max(self.stored_chunks(key)?);
                for chunk in 0..stale {
                    raw.remove(chunk_key(key, chunk));
                }
                most_chunks = most_chunks.max(stale);
            }
            let chunks = match op {
                Op::Insert(Record { value, .. }) | Op::Replace(Record { value, .. }) => {
                    insert_chunks(&mut raw, key, value)?
                }
                Op::Remove(_) if is_packed(key)? => {
                    raw.insert(chunk_key(key, 0), &GONE.to_le_bytes());
                    1
                }
                Op::Remove(_) => 0,
            };
            most_chunks = most_chunks.max(chunks);
            written.insert(key, chunks);
        }
        let _whole = (most_chunks > 1).then(|| self.changing());
        guarded(|| self.db.apply_batch(raw))
    }

    /// Writes one large value under a key that has none, calling `between` after each part. Its
    /// first chunk comes last, so that nobody reads it before all of it is there.
    pub(super) fn insert_in_parts(
        &self,
        record: &Record,
        part_bytes: usize,
        mut between: impl FnMut() -> Result<()>,
    ) -> Result<()> {
        let len = length(&record.value)?;
        let (first, rest) = record.value.split_at(CHUNK_BYTES_MAX - LEN_BYTES);
        let chunks: Vec<_> = (1..).zip(rest.chunks(CHUNK_BYTES_MAX)).collect();
        for part in chunks.chunks(part_bytes / CHUNK_BYTES_MAX) {
            let mut raw = sled::Batch::default();
            for (chunk, bytes) in part {
                raw.insert(chunk_key(&record.key, *chunk), *bytes);
            }
            guarded(|| self.db.apply_batch(raw))?;
            between()?;
        }
        let value = [&len.to_le_bytes(), first].concat();
        let _whole = self.changing();
        guarded(|| self.db.insert(chunk_key(&record.key, 0), value)).map(drop)
    }

    /// Hands everything to the operating system. That is all sled's flush does.
    pub(super) fn flush(&self) -> Result<()> {
        guarded(|| self.db.flush()).map(drop)
    }

    /// The number of chunks a key has now.
    fn stored_chunks(&self, key: &[u8]) -> Result<u16> {
        match guarded(|| self.db.get(chunk_key(key, 0)))? {
            Some(first) => Ok(value_len(&first)?.map_or(1, chunk_count)),
            None => Ok(0),
        }
    }
}

fn chunk_key(key: &[u8], chunk: u16) -> Vec<u8> {
    [key, &chunk.to_be_bytes()].concat()
}

fn split_key(raw: &[u8]) -> Result<(&[u8], u16)> {
    let (key, chunk) =
        raw.split_last_chunk().ok_or_else(|| Error::corrupt("a key is too short"))?;
    Ok((key, u16::from_be_bytes(*chunk)))
}

/// How many chunks a value of that length takes. Lengths are bounded by the limits on events,
/// so the count fits; a length from damaged bytes is cut, and does not fit its chunks.
fn chunk_count(len: usize) -> u16 {
    let chunks = (len + LEN_BYTES).div_ceil(CHUNK_BYTES_MAX);
    u16::try_from(chunks).unwrap_or(u16::MAX)
}

/// The length of a value; `None` where the key is gone.
fn value_len(first_chunk: &[u8]) -> Result<Option<usize>> {
    let len = Reader::new(first_chunk).u32()?;
    Ok((len != GONE).then_some(len as usize))
}

/// Puts a value into a batch, chunk by chunk; returns how many chunks that takes.
fn insert_chunks(batch: &mut sled::Batch, key: &[u8], value: &[u8]) -> Result<u16> {
    let len = length(value)?;
    let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES_MAX - LEN_BYTES));
    batch.insert(chunk_key(key, 0), [&len.to_le_bytes(), first].concat());
    for (chunk, bytes) in (1..).zip(rest.chunks(CHUNK_BYTES_MAX)) {
        batch.insert(chunk_key(key, chunk), bytes);
    }
    Ok(chunk_count(value.len()))
}

fn length(value: &[u8]) -> Result<u32> {
    u32::try_from(value.len())
        .ok()
        .filter(|len| (*len as usize) < usize::from(u16::MAX) * CHUNK_BYTES_MAX)
        .ok_or_else(|| Error::invalid("a record is too large for the log"))
}

/// The same bounds over chunks. No key is the beginning of another, so all chunks of a key lie
/// between the key itself and the key with [`BEHIND_CHUNKS`].
fn raw_bounds(range: &Range) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let behind = |key: &Vec<u8>| [key.as_slice(), &BEHIND_CHUNKS].concat();
    let from = match &range.from {
        Bound::Included(key) => Bound::Included(key.clone()),
        Bound::Excluded(key) => Bound::Included(behind(key)),
        Bound::Unbounded => Bound::Unbounded,
    };
    let until = match &range.until {
        Bound::Included(key) => Bound::Excluded(behind(key)),
        Bound::Excluded(key) => Bound::Excluded(key.clone()),
        Bound::Unbounded => Bound::Unbounded,
    };
    (from, until)
}

type RawEntry = sled::Result<(IVec, IVec)>;

/// Chunks of a value come in order; those behind its length are left from a longer one that a
/// batch replaced twice, and are passed over.
fn page_ascending(
    mut chunks: impl Iterator<Item = RawEntry>,
    limit: PageLimit,
) -> Result<Vec<(Vec<u8>, Entry)>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while !limit.is_reached(page.len(), bytes) {
        let Some((raw, first)) = next_chunk(&mut chunks)? else { break };
        let (key, chunk) = split_key(&raw)?;
        if chunk != 0 {
            continue;
        }
        let Some(len) = value_len(&first)? else {
            bytes += key.len();
            page.push((key.to_vec(), Entry::Gone));
            continue;
        };
        let mut value = first.get(LEN_BYTES..).unwrap_or_default().to_vec();
        for wanted in 1..chunk_count(len) {
            let (raw, more) = next_chunk(&mut chunks)?.ok_or_else(chunk_missing)?;
            if split_key(&raw)? != (key, wanted) {
                return Err(chunk_missing());
            }
            value.extend_from_slice(&more);
        }
        bytes += key.len() + value.len();
        page.push((key.to_vec(), Entry::Value(whole(value, len)?)));
    }
    Ok(page)
}

/// Chunks of a value come last first and are put together once the first is there.
fn page_descending(
    mut chunks: impl Iterator<Item = RawEntry>,
    limit: PageLimit,
) -> Result<Vec<(Vec<u8>, Entry)>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let (mut later, mut later_key): (Vec<IVec>, Vec<u8>) = (Vec::new(), Vec::new());
    while !limit.is_reached(page.len(), bytes) {
        let Some((raw, part)) = next_chunk(&mut chunks)? else { break };
        let (key, chunk) = split_key(&raw)?;
        // Chunks without a first one are of a value that is being written.
        if later_key != key {
            later.clear();
            later_key = key.to_vec();
        }
        if chunk != 0 {
            later.push(part);
            continue;
        }
        let Some(len) = value_len(&part)? else {
            later.clear();
            bytes += key.len();
            page.push((key.to_vec(), Entry::Gone));
            continue;
        };
        let mut value = part.get(LEN_BYTES..).unwrap_or_default().to_vec();
        let wanted = usize::from(chunk_count(len)).saturating_sub(1);
        for more in later.iter().rev().take(wanted) {
            value.extend_from_slice(more);
        }
        later.clear();
        bytes += key.len() + value.len();
        page.push((key.to_vec(), Entry::Value(whole(value, len)?)));
    }
    Ok(page)
}

fn next_chunk(chunks: &mut impl Iterator<Item = RawEntry>) -> Result<Option<(IVec, IVec)>> {
    guarded(|| chunks.next().transpose())
}

fn whole(value: Vec<u8>, len: usize) -> Result<Vec<u8>> {
    if value.len() == len { Ok(value) } else { Err(chunk_missing()) }
}

fn chunk_missing() -> Error {
    Error::corrupt("a part of a record is missing")
}
