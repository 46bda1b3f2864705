//! A log that counts what is read of it.

use std::sync::atomic::{AtomicUsize, Ordering};

use sessionlog::{Batch, Durability, Log, MemoryLog, PageLimit, Range, Record, Result};

/// A log that counts the records it hands out.
#[derive(Debug, Default)]
pub(crate) struct Counting(MemoryLog, AtomicUsize);

impl Log for Counting {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(key)
    }
    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let page = self.0.page(range, limit)?;
        self.1.fetch_add(1 + page.len(), Ordering::Relaxed);
        Ok(page)
    }
    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        self.0.append(batch, durability, mark)
    }
    fn apply(&self, batch: &Batch) -> Result<()> {
        self.0.apply(batch)
    }
    fn durable_mark(&self) -> Result<Option<u64>> {
        self.0.durable_mark()
    }
    fn disk_bytes(&self) -> Result<u64> {
        self.0.disk_bytes()
    }
}

impl Counting {
    /// How many records it has handed out.
    pub(crate) fn read(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}
