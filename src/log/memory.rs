//! The log in memory: the oracle of the tests, and a database for what need not last.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Batch, Durability, Log, Op, Order, PageLimit, Range, Record};
use crate::error::Result;

/// Keeps everything in memory; it ends with the process.
#[derive(Default)]
pub struct MemoryLog {
    records: RwLock<Records>,
    mark: AtomicU64,
}

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// Not what it holds: whoever prints a session does not mean every user's.
impl fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLog").field("records", &self.read().len()).finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another log that holds the same.
    #[cfg(feature = "testing")]
    pub(super) fn copy(&self) -> Self {
        let mark = AtomicU64::new(self.mark.load(Ordering::SeqCst));
        Self { records: RwLock::new(self.read().clone()), mark }
    }

    #[cfg(feature = "testing")]
    pub(super) fn set_mark(&self, mark: u64) {
        self.mark.fetch_max(mark, Ordering::SeqCst);
    }

    /// Applies a batch, which nothing here can fail at.
    pub(super) fn change(&self, batch: &Batch) {
        let mut records = self.write();
        for op in batch.ops() {
            match op {
                Op::Insert(record) | Op::Replace(record) => {
                    records.insert(record.key.clone(), record.value.clone());
                }
                Op::Remove(key) => {
                    records.remove(key);
                }
            }
        }
    }

    // A panic while the lock is held cannot leave a batch half applied to be seen: nothing in
    // `apply` panics. So a poisoned lock is as good as any.
    fn read(&self) -> RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Records> {
        self.records.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for MemoryLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.read().get(key).cloned())
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let bounds =
            (range.from.as_ref().map(Vec::as_slice), range.until.as_ref().map(Vec::as_slice));
        let records = self.read();
        let mut found = records.range::<[u8], _>(bounds);
        let (mut page, mut bytes) = (Vec::new(), 0);
        while !limit.is_reached(page.len(), bytes) {
            let next = match range.order {
                Order::Ascending => found.next(),
                Order::Descending => found.next_back(),
            };
            let Some((key, value)) = next else { break };
            bytes += key.len() + value.len();
            page.push(Record { key: key.clone(), value: value.clone() });
        }
        Ok(page)
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.change(batch);
        Ok(())
    }

    fn append(&self, batch: &Batch, _: Durability, mark: u64) -> Result<()> {
        self.apply(batch)?;
        self.mark.fetch_max(mark, Ordering::SeqCst);
        Ok(())
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        Ok(Some(self.mark.load(Ordering::SeqCst)))
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(0)
    }
}
