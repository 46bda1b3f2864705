//! The log on disk. The only file that knows sled, and what sled 0.34.7 does not do:
//!
//! - `flush()` ends in `sync_file_range`, which a power cut undoes, so `sync` also calls
//!   `fdatasync` on the data file (sled issues 1351 and 1452).
//! - A page fragment over a quarter of a segment goes to a file that is never synced, so
//!   values are stored in chunks that keep a full leaf far below that.
//! - Damaged files make it panic or quietly fall back to an older state, so every call is
//!   guarded, and a mark beside the database remembers how far it was synced.

use std::any::Any;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sled::{Db, IVec};

use super::{Batch, Durability, Log, Op, Order, PageLimit, Range, Record};
use crate::bytes::Reader;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::limits::CHUNK_BYTES_MAX;

/// sled's default, said here because the size of a chunk follows from it.
const SEGMENT_BYTES: usize = 512 * 1024;
/// sled splits a leaf that holds more entries.
const LEAF_ENTRIES_MAX: usize = 16;
/// No key of ours is longer, with its chunk number.
const KEY_BYTES_MAX: usize = 64;

const _: () = {
    // One entry over the limit is written before the split; twice that is a wide margin.
    let leaf = 2 * (LEAF_ENTRIES_MAX + 1) * (CHUNK_BYTES_MAX + KEY_BYTES_MAX);
    assert!(leaf < SEGMENT_BYTES, "a leaf must stay below a quarter of a segment");
    assert!(leaf / 2 < SEGMENT_BYTES / 4);
};

/// Bytes of a value's length, in front of its first chunk.
const LEN_BYTES: usize = 4;
/// Sorts behind every chunk of a key.
const BEHIND_CHUNKS: [u8; 3] = [0xff; 3];

/// Two seconds in all.
const SLED_LOCK_TRIES_MAX: u32 = 400;
const SLED_LOCK_WAIT: Duration = Duration::from_millis(5);

const MARK_FILE: &str = "sessionlog.mark";
const DATA_FILE: &str = "db";

/// A database directory.
#[derive(Debug)]
pub(crate) struct SledLog {
    path: PathBuf,
    /// Whether the directory entries of a new database are known to be on disk.
    is_directory_synced: AtomicBool,
    db: Db,
    /// The file sled writes, for the sync that sled does not do.
    data: File,
    /// Also the lock on the database. Dropped last, after sled has let go.
    mark: File,
}

/// How to open a database directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SledOptions {
    /// Make it where there is none.
    pub(crate) create: bool,
    /// Memory for sled's page cache.
    pub(crate) cache_bytes: u64,
}

impl SledLog {
    pub(crate) fn open(path: &Path, options: SledOptions) -> Result<Self> {
        Self::open_at(path, options).with_context(|| path.display().to_string())
    }

    fn open_at(path: &Path, options: SledOptions) -> Result<Self> {
        let is_new = !check_directory(path)?;
        if is_new && !options.create {
            return Err(Error::not_found("database"));
        }
        fs::create_dir_all(path).map_err(Error::io)?;
        let mark = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(MARK_FILE))
            .map_err(Error::io)?;
        match mark.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::new(ErrorKind::Locked)),
            Err(TryLockError::Error(error)) => return Err(Error::io(error)),
        }
        let db = open_sled(path, options.cache_bytes)?;
        let data = File::open(path.join(DATA_FILE)).map_err(Error::io)?;
        let is_directory_synced = AtomicBool::new(false);
        Ok(Self { path: path.to_owned(), db, data, mark, is_directory_synced })
    }

    fn sync_to_disk(&self) -> Result<()> {
        self.data.sync_data().map_err(Error::io)?;
        if !self.is_directory_synced.load(Ordering::Relaxed) {
            sync_directories(&self.path).map_err(Error::io)?;
            self.is_directory_synced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Says how far the log is known to be on disk. It is not synced itself: after a power cut
    /// it may be behind, never ahead.
    fn write_mark(&self, mark: u64) -> Result<()> {
        let mut bytes = mark.to_le_bytes().to_vec();
        bytes.extend_from_slice(&mark_check(mark));
        write_at_start(&self.mark, &bytes).map_err(Error::io)
    }

    /// The number of chunks a key has now.
    fn stored_chunks(&self, key: &[u8]) -> Result<u16> {
        match guarded(|| self.db.get(chunk_key(key, 0)))? {
            Some(first) => Ok(chunk_count(value_len(&first)?)),
            None => Ok(0),
        }
    }
}

impl Log for SledLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(first) = guarded(|| self.db.get(chunk_key(key, 0)))? else { return Ok(None) };
        let len = value_len(&first)?;
        let mut value = first.get(LEN_BYTES..).unwrap_or_default().to_vec();
        for chunk in 1..chunk_count(len) {
            let next = guarded(|| self.db.get(chunk_key(key, chunk)))?;
            value.extend_from_slice(&next.ok_or_else(chunk_missing)?);
        }
        whole(value, len).map(Some)
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let chunks = self.db.range(raw_bounds(range));
        match range.order {
            Order::Ascending => page_ascending(chunks, limit),
            Order::Descending => page_descending(chunks.rev(), limit),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        let mut raw = sled::Batch::default();
        // A key may be written and then replaced or removed by the same batch.
        let mut written: HashMap<&[u8], u16> = HashMap::new();
        for op in batch.ops() {
            let (key, value) = match op {
                Op::Insert(record) | Op::Replace(record) => (&record.key, Some(&record.value)),
                Op::Remove(key) => (key, None),
            };
            if !matches!(op, Op::Insert(_)) {
                let stale = written.get(key.as_slice()).copied().unwrap_or_default();
                for chunk in 0..stale.max(self.stored_chunks(key)?) {
                    raw.remove(chunk_key(key, chunk));
                }
            }
            written.insert(key, insert_chunks(&mut raw, key, value)?);
        }
        guarded(|| self.db.apply_batch(raw))
    }

    fn sync(&self, durability: Durability, mark: u64) -> Result<()> {
        if durability >= Durability::ProcessCrash {
            guarded(|| self.db.flush())?;
        }
        if durability >= Durability::PowerLoss {
            self.sync_to_disk()?;
            // Written after the sync, so that it is never ahead of the disk.
            self.write_mark(mark)?;
        }
        Ok(())
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        let mut bytes = [0; 16];
        if read_at_start(&self.mark, &mut bytes).is_err() {
            return Ok(None);
        }
        let mut reader = Reader::new(&bytes);
        let mark = reader.u64()?;
        Ok((reader.array()? == mark_check(mark)).then_some(mark))
    }

    fn disk_bytes(&self) -> Result<u64> {
        directory_bytes(&self.path).map_err(Error::io)
    }
}

/// Opens sled's part. The database is ours by its own lock, so if sled's is still held, then by
/// a thread of an engine that was closed a moment ago: it is waited for.
fn open_sled(path: &Path, cache_bytes: u64) -> Result<Db> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None);
    for _ in 0..SLED_LOCK_TRIES_MAX {
        match guarded(|| config.open()) {
            Err(error) if error.kind() == &ErrorKind::Locked => std::thread::sleep(SLED_LOCK_WAIT),
            other => return other,
        }
    }
    Err(Error::new(ErrorKind::Locked))
}

/// Whether a database is there. Refuses a path that holds something else, before sled writes
/// into it.
fn check_directory(path: &Path) -> Result<bool> {
    let not_ours = |reason: String| Err(Error::new(ErrorKind::NotADatabase { reason }));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(error)),
    };
    if !metadata.is_dir() {
        return not_ours(String::from("a file is there, and a database is a directory"));
    }
    let mut has_data = false;
    for entry in fs::read_dir(path).map_err(Error::io)? {
        let name = entry.map_err(Error::io)?.file_name();
        let name = name.to_string_lossy();
        let is_ours =
            ["conf", "db", "blobs", MARK_FILE].contains(&&*name) || name.starts_with("snap.");
        if !is_ours {
            return not_ours(format!("the directory holds {name:?}"));
        }
        has_data |= name == DATA_FILE;
    }
    Ok(has_data)
}

/// Runs a call into sled. A damaged file makes sled panic in places; that is a fact of the
/// world, not a mistake of the program, so it becomes an error.
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T> {
    // Nothing of ours is half changed when sled unwinds: our side holds no state of its own.
    match crate::panics::quietly(|| catch_unwind(AssertUnwindSafe(call))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(translate(error)),
        Err(panic) => {
            Err(Error::corrupt(format!("sled cannot read its files: {}", words(&*panic))))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gave up");
    text.lines().next().unwrap_or_default().to_owned()
}

fn translate(error: sled::Error) -> Error {
    match error {
        sled::Error::Io(error) if error.to_string().contains("could not acquire lock") => {
            Error::new(ErrorKind::Locked)
        }
        sled::Error::Io(error) => Error::io(error),
        sled::Error::Corruption { .. } => Error::corrupt("a checksum of sled does not fit"),
        sled::Error::Unsupported(reason) => Error::new(ErrorKind::NotADatabase { reason }),
        other => Error::corrupt(format!("sled: {other}")),
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

fn value_len(first_chunk: &[u8]) -> Result<usize> {
    Reader::new(first_chunk).u32().map(|len| len as usize)
}

/// Puts a value into a batch, chunk by chunk; returns how many chunks that takes.
fn insert_chunks(batch: &mut sled::Batch, key: &[u8], value: Option<&Vec<u8>>) -> Result<u16> {
    let Some(value) = value else { return Ok(0) };
    let len = u32::try_from(value.len())
        .ok()
        .filter(|len| (*len as usize) < usize::from(u16::MAX) * CHUNK_BYTES_MAX)
        .ok_or_else(|| Error::invalid("a record is too large for the log"))?;
    let (first, rest) = value.split_at(value.len().min(CHUNK_BYTES_MAX - LEN_BYTES));
    batch.insert(chunk_key(key, 0), [&len.to_le_bytes(), first].concat());
    for (chunk, bytes) in (1..).zip(rest.chunks(CHUNK_BYTES_MAX)) {
        batch.insert(chunk_key(key, chunk), bytes);
    }
    Ok(chunk_count(value.len()))
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
) -> Result<Vec<Record>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    while !limit.is_reached(page.len(), bytes) {
        let Some((raw, first)) = next_chunk(&mut chunks)? else { break };
        let (key, chunk) = split_key(&raw)?;
        if chunk != 0 {
            continue;
        }
        let len = value_len(&first)?;
        let mut value = first.get(LEN_BYTES..).unwrap_or_default().to_vec();
        for wanted in 1..chunk_count(len) {
            let (raw, more) = next_chunk(&mut chunks)?.ok_or_else(chunk_missing)?;
            if split_key(&raw)? != (key, wanted) {
                return Err(chunk_missing());
            }
            value.extend_from_slice(&more);
        }
        bytes += key.len() + value.len();
        page.push(Record { key: key.to_vec(), value: whole(value, len)? });
    }
    Ok(page)
}

/// Chunks of a value come last first and are put together once the first is there.
fn page_descending(
    mut chunks: impl Iterator<Item = RawEntry>,
    limit: PageLimit,
) -> Result<Vec<Record>> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    let mut later: Vec<IVec> = Vec::new();
    while !limit.is_reached(page.len(), bytes) {
        let Some((raw, part)) = next_chunk(&mut chunks)? else { break };
        let (key, chunk) = split_key(&raw)?;
        if chunk != 0 {
            later.push(part);
            continue;
        }
        let len = value_len(&part)?;
        let mut value = part.get(LEN_BYTES..).unwrap_or_default().to_vec();
        let wanted = usize::from(chunk_count(len)).saturating_sub(1);
        for more in later.iter().rev().take(wanted) {
            value.extend_from_slice(more);
        }
        later.clear();
        bytes += key.len() + value.len();
        page.push(Record { key: key.to_vec(), value: whole(value, len)? });
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

fn mark_check(mark: u64) -> [u8; 8] {
    let digest = blake3::derive_key("sessionlog v1 durable mark", &mark.to_le_bytes());
    digest.first_chunk().copied().unwrap_or_default()
}

/// A file that was just made is on disk only when its directory is, up to one that was there.
fn sync_directories(path: &Path) -> std::io::Result<()> {
    for name in ["conf", MARK_FILE] {
        File::open(path.join(name))?.sync_all()?;
    }
    File::open(path)?.sync_all()?;
    if let Some(parent) = fs::canonicalize(path)?.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

fn directory_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

#[cfg(unix)]
fn write_at_start(file: &File, bytes: &[u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}

#[cfg(unix)]
fn read_at_start(file: &File, bytes: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, 0)
}

#[cfg(windows)]
fn write_at_start(file: &File, bytes: &[u8]) -> std::io::Result<()> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, 0).map(drop)
}

#[cfg(windows)]
fn read_at_start(file: &File, bytes: &mut [u8]) -> std::io::Result<()> {
    let read = std::os::windows::fs::FileExt::seek_read(file, bytes, 0)?;
    if read == bytes.len() { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}
