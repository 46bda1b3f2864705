//! What stores records. A log knows keys and bytes and never decodes an event, so the format,
//! the checksums and the chain exist once, over every backend.

#[cfg(feature = "testing")]
pub mod contract;
#[cfg(feature = "testing")]
mod faulty;
pub(crate) mod key;
mod memory;
mod scan;
#[cfg(feature = "sled")]
mod sled;

use std::fmt::Debug;
use std::ops::Bound;

#[cfg(feature = "testing")]
pub use self::faulty::{Fault, FaultRates, FaultyLog};
pub use self::memory::MemoryLog;
pub(crate) use self::scan::Scan;
#[cfg(all(feature = "seal", feature = "sled"))]
pub(crate) use self::sled::KEYS_FILE;
#[cfg(feature = "sled")]
pub use self::sled::Rewritten;
#[cfg(feature = "sled")]
pub(crate) use self::sled::{MEDIA_FOLDER, SEARCH_FOLDER, SledLog, SledOptions, rewrite};

use crate::error::Result;

/// Stores records under ordered keys. A backend implements this and passes
/// the suite in `contract` (feature `testing`).
///
/// No key is the beginning of another key. The contract, each point a function of the suite:
///
/// - **L1** What was applied is read back, byte for byte, from an empty value to one of 20 MB.
/// - **L2** A batch is applied whole or not at all; its operations take effect in order.
/// - **L3** `page` returns records in key order, ascending or descending, bounds respected.
/// - **L4** A page ends at its record or byte limit, but holds at least one record where there
///   is one; going on behind its last key misses nothing.
/// - **L5** Replacing a value leaves nothing of the longer one before it visible.
/// - **L6** Removing a key removes its record and no other; removing what is not there is fine.
/// - **L7** What was appended is there after the log is opened again.
/// - **L8** A log that remembers marks gives back the one of the last append, also after it is
///   opened again; it is never ahead of what was synced.
/// - **L9** It can be used from many threads; a reader sees a batch whole or not at all per key.
/// - **L10** What an append or an apply returned for, every thread sees at once, and nothing of
///   what it removed or replaced.
///
/// One thread at a time calls `append` and `apply`: the one that opens the log, and then the commit
/// thread.
pub trait Log: Send + Sync + Debug {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// The next records of a range.
    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>>;

    /// Applies a batch, all of it or nothing, and returns once it survives what `durability`
    /// names. `mark` says how far the caller has come; it never falls.
    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()>;

    /// Applies a batch that can be lost: a crash may take it back.
    fn apply(&self, batch: &Batch) -> Result<()>;

    /// The highest mark known to have been synced, as far as the log remembers one.
    fn durable_mark(&self) -> Result<Option<u64>>;

    /// Bytes on disk, where there is one.
    fn disk_bytes(&self) -> Result<u64>;

    /// Bytes of the files that hold the records, without what lies beside them.
    fn record_file_bytes(&self) -> Result<u64> {
        self.disk_bytes()
    }
}

/// What an acknowledged append survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// Nothing beyond this process: tests, and imports that can be repeated. A power cut may leave
    /// parts of it, which [`Engine::verify`](crate::Engine::verify) tells; what was durable before
    /// stays whole.
    Volatile,
    /// A killed process: the operating system has the bytes, the disk may not.
    ProcessCrash,
    /// A power cut: the disk has the bytes.
    #[default]
    PowerLoss,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

/// Which records, and from which end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Where the range begins.
    pub from: Bound<Vec<u8>>,
    /// Where it ends.
    pub until: Bound<Vec<u8>>,
    /// Which end to begin at.
    pub order: Order,
}

/// Which end of a range comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The lowest key first.
    Ascending,
    /// The highest key first.
    Descending,
}

/// Where a page ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit {
    /// After so many records.
    pub records: usize,
    /// Or once it holds so many bytes.
    pub bytes: usize,
}

impl Default for PageLimit {
    fn default() -> Self {
        Self { records: crate::limits::PAGE_RECORDS_MAX, bytes: crate::limits::PAGE_BYTES_MAX }
    }
}

impl PageLimit {
    /// A page of so many records at most.
    pub fn records(records: usize) -> Self {
        Self { records, ..Self::default() }
    }

    pub(crate) fn is_reached(&self, records: usize, bytes: usize) -> bool {
        records >= self.records || (records > 0 && bytes >= self.bytes)
    }
}

impl Range {
    /// All keys that begin so.
    pub fn prefix(prefix: &[u8], order: Order) -> Self {
        let until = key::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        Self { from: Bound::Included(prefix.to_vec()), until, order }
    }

    /// What is left of the range behind a key that was returned.
    #[must_use]
    pub fn behind(mut self, last: &[u8]) -> Self {
        match self.order {
            Order::Ascending => self.from = Bound::Excluded(last.to_vec()),
            Order::Descending => self.until = Bound::Excluded(last.to_vec()),
        }
        self
    }

    /// Whether no key can be in it. `BTreeMap` and sled panic on some of these.
    pub(crate) fn is_empty(&self) -> bool {
        match (&self.from, &self.until) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(from), Bound::Included(until)) => from > until,
            (
                Bound::Included(from) | Bound::Excluded(from),
                Bound::Included(until) | Bound::Excluded(until),
            ) => from >= until,
        }
    }
}

/// Operations that take effect together, in order.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    ops: Vec<Op>,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a key that is never written again except by `Replace`.
    Insert(Record),
    /// Writes a key that may have a value.
    Replace(Record),
    /// Removes a key.
    Remove(Vec<u8>),
}

impl Op {
    /// The key it is about.
    pub fn key(&self) -> &[u8] {
        match self {
            Self::Insert(record) | Self::Replace(record) => &record.key,
            Self::Remove(key) => key,
        }
    }

    /// Bytes of its key and value.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Insert(record) | Self::Replace(record) => record.key.len() + record.value.len(),
            Self::Remove(key) => key.len(),
        }
    }
}

impl Batch {
    /// No operation yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a key that is not there yet.
    pub fn insert(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.ops.push(Op::Insert(Record { key, value }));
    }

    /// Writes a key that may be there.
    pub fn replace(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.ops.push(Op::Replace(Record { key, value }));
    }

    /// Removes a key.
    pub fn remove(&mut self, key: Vec<u8>) {
        self.ops.push(Op::Remove(key));
    }

    /// Adds the operations of another batch behind its own.
    pub fn extend(&mut self, other: Self) {
        self.ops.extend(other.ops);
    }

    /// The operations, in order.
    pub fn ops(&self) -> &[Op] {
        &self.ops
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// Opens a log on disk by itself, for the contract's suite.
#[cfg(all(feature = "testing", feature = "sled"))]
pub fn open_sled(path: &std::path::Path) -> Result<std::sync::Arc<dyn Log>> {
    let cache_bytes = crate::limits::CACHE_BYTES_DEFAULT;
    Ok(std::sync::Arc::new(SledLog::open(
        path,
        SledOptions { create: true, cache_bytes, as_copy: false },
    )?))
}
