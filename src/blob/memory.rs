//! Blobs in memory: the oracle of the tests, and the media of a database that need not last.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{self, Cursor, Read, Write};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{BlobName, BlobStore, BlobWriter};
use crate::error::Result;

/// Keeps every blob in memory; they end with the process.
#[derive(Debug, Default)]
pub struct MemoryBlobs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared(RwLock<Blobs>);

type Blobs = BTreeMap<BlobName, Arc<[u8]>>;

impl MemoryBlobs {
    /// A store without a blob.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Shared {
    // One operation of the map is all that happens under the lock, so it is never half done.
    fn read(&self) -> RwLockReadGuard<'_, Blobs> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Blobs> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BlobStore for MemoryBlobs {
    fn create(&self) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(MemoryWriter { bytes: Vec::new(), store: Arc::clone(&self.0) }))
    }

    fn open(&self, name: BlobName) -> Result<Option<Box<dyn Read + Send>>> {
        let bytes = self.0.read().get(&name).cloned();
        Ok(bytes.map(|bytes| -> Box<dyn Read + Send> { Box::new(Cursor::new(bytes)) }))
    }

    fn size(&self, name: BlobName) -> Result<Option<u64>> {
        Ok(self.0.read().get(&name).map(|bytes| bytes.len() as u64))
    }

    fn remove(&self, name: BlobName) -> Result<bool> {
        Ok(self.0.write().remove(&name).is_some())
    }

    fn names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<(BlobName, u64)>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let blobs = self.0.read();
        let behind = blobs.range((from, Bound::Unbounded)).take(limit);
        Ok(behind.map(|(name, bytes)| (*name, bytes.len() as u64)).collect())
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(0)
    }
}

struct MemoryWriter {
    bytes: Vec<u8>,
    store: Arc<Shared>,
}

impl Write for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter for MemoryWriter {
    fn finish(self: Box<Self>, name: BlobName) -> Result<bool> {
        match self.store.write().entry(name) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(place) => {
                place.insert(self.bytes.into());
                Ok(true)
            }
        }
    }
}
