//! The packed file: all records that a rewrite found, in the order of their keys, in blocks that
//! are compressed and checked. It never changes. sled holds what came since, and lies over it.
//!
//! `docs/FORMAT.md` has its bytes. A block is checked before anything of it is told, so damage
//! costs the records of that block, and is an error that says where.

mod block;
mod index;
mod write;

use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind as IoKind;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use self::write::PackWriter;

use self::block::Block;
use self::index::BlockPlace;
use super::directory::read_at;
use crate::error::{Context, Error, Result};
use crate::log::{Order, PageLimit, Range, Record};

/// How packed files are called, their id behind it.
const NAME_PREFIX: &str = "sessionlog.pack-";
/// Bytes of unpacked blocks that are kept; the last one whatever its size.
const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Which packed file. It is in the file's name, in its header and in all its checks, so that no
/// block is taken for one of another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackId(pub(super) u64);

impl PackId {
    /// One that no other file has.
    pub(super) fn new() -> Result<Self> {
        getrandom::u64().map(Self).map_err(|error| Error::io(std::io::Error::other(error)))
    }

    /// Where it lies in a database's directory.
    pub(super) fn path_in(self, directory: &Path) -> PathBuf {
        directory.join(format!("{NAME_PREFIX}{:016x}", self.0))
    }

    /// The id in a file's name, if that is a packed file's.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        let digits = name.strip_prefix(NAME_PREFIX).filter(|digits| digits.len() == 16)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }
}

/// A packed file, open for reading.
#[derive(Debug)]
pub(super) struct Pack {
    file: File,
    id: PackId,
    /// In the order of their keys.
    blocks: Vec<BlockPlace>,
    cache: Mutex<Cache>,
}

impl Pack {
    /// Opens the packed file of a directory.
    pub(super) fn open(directory: &Path, id: PackId) -> Result<Self> {
        let path = id.path_in(directory);
        let open = || {
            let file = File::open(&path).map_err(|error| match error.kind() {
                IoKind::NotFound => Error::corrupt("the packed file is missing: restore a copy"),
                _ => Error::io(error),
            })?;
            let blocks = index::read(&file, id)?;
            Ok(Self { file, id, blocks, cache: Mutex::default() })
        };
        open().with_context(|| path.display().to_string())
    }

    /// Opens what is left of a damaged one: the blocks that are whole. What was in the others is
    /// missing then, as it is where sled drops what it cannot read.
    pub(super) fn salvage(directory: &Path, id: PackId) -> Result<Self> {
        let file = File::open(id.path_in(directory)).map_err(Error::io)?;
        let (places, refusal) = match index::read(&file, id) {
            Ok(places) => (places, None),
            Err(error) => (index::walk(&file)?, Some(error)),
        };
        let mut pack = Self { file, id, blocks: Vec::new(), cache: Mutex::default() };
        for place in places {
            let block = pack.read(&place).ok();
            let first_key = block.as_ref().and_then(Block::first_key);
            if let Some(first_key) = first_key {
                pack.blocks.push(BlockPlace { first_key: first_key.into(), ..place });
            }
        }
        match refusal {
            // Where some of its blocks are as they should be, it is its header that is damaged.
            Some(error) if error.is_newer_format() && pack.blocks.is_empty() => Err(error),
            _ => Ok(pack),
        }
    }

    pub(super) fn id(&self) -> PackId {
        self.id
    }

    /// Whether it has a key.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool> {
        match self.block_of(key) {
            Some(at) => Ok(self.block(at)?.find(key).is_some()),
            None => Ok(false),
        }
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.block_of(key) {
            Some(at) => Ok(self.block(at)?.find(key).map(<[u8]>::to_vec)),
            None => Ok(None),
        }
    }

    /// The next records of a range.
    pub(super) fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let (mut page, mut bytes) = (Vec::new(), 0);
        let mut next = self.first_block(range);
        while let Some(at) = next {
            // Before the block behind is read: it may be damaged, and nothing of it is asked for.
            if limit.is_reached(page.len(), bytes) {
                break;
            }
            let block = self.block(at)?;
            for record in block.records(range) {
                if limit.is_reached(page.len(), bytes) {
                    return Ok(page);
                }
                bytes += record.key.len() + record.value.len();
                page.push(record);
            }
            next = self.next_block(at, range);
        }
        Ok(page)
    }

    /// The block that has a key, if any has.
    fn block_of(&self, key: &[u8]) -> Option<usize> {
        self.blocks.partition_point(|block| &*block.first_key <= key).checked_sub(1)
    }

    /// Where a walk through a range begins.
    fn first_block(&self, range: &Range) -> Option<usize> {
        if range.is_empty() {
            return None;
        }
        match (range.order, &range.from, &range.until) {
            (Order::Ascending, Bound::Included(key) | Bound::Excluded(key), _) => {
                self.within_reach(self.block_of(key).unwrap_or(0), range)
            }
            (Order::Ascending, Bound::Unbounded, _) => self.within_reach(0, range),
            (Order::Descending, _, Bound::Included(key) | Bound::Excluded(key)) => {
                self.block_of(key)
            }
            (Order::Descending, _, Bound::Unbounded) => self.blocks.len().checked_sub(1),
        }
    }

    fn next_block(&self, at: usize, range: &Range) -> Option<usize> {
        match range.order {
            Order::Ascending => self.within_reach(at + 1, range),
            Order::Descending => {
                let first_key = &*self.blocks.get(at)?.first_key;
                let is_last = match &range.from {
                    Bound::Included(from) | Bound::Excluded(from) => first_key <= from.as_slice(),
                    Bound::Unbounded => false,
                };
                at.checked_sub(1).filter(|_| !is_last)
            }
        }
    }

    /// A block, unless it is none or begins behind the range.
    fn within_reach(&self, at: usize, range: &Range) -> Option<usize> {
        let first_key = &*self.blocks.get(at)?.first_key;
        let is_within = match &range.until {
            Bound::Included(until) | Bound::Excluded(until) => first_key <= until.as_slice(),
            Bound::Unbounded => true,
        };
        is_within.then_some(at)
    }

    // Nothing panics while the lock is held, so a poisoned one is as good as any.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn block(&self, at: usize) -> Result<Arc<Block>> {
        if let Some(block) = self.cache().get(at) {
            return Ok(block);
        }
        let place = self.blocks.get(at).ok_or_else(|| Error::corrupt("a block is missing"))?;
        let block = Arc::new(self.read(place)?);
        self.cache().put(at, Arc::clone(&block));
        Ok(block)
    }

    fn read(&self, place: &BlockPlace) -> Result<Block> {
        let read = || {
            let mut stored = vec![0; place.len as usize];
            read_at(&self.file, &mut stored, place.offset).map_err(Error::io)?;
            Block::unpack(self.id, place.offset, &stored)
        };
        read().with_context(|| {
            let name = self.id.path_in(Path::new(""));
            format!("{}, block at {}", name.display(), place.offset)
        })
    }
}

/// The blocks that were read last, the newest in front.
#[derive(Debug, Default)]
struct Cache {
    blocks: VecDeque<(usize, Arc<Block>)>,
    bytes: usize,
}

impl Cache {
    fn get(&mut self, at: usize) -> Option<Arc<Block>> {
        let index = self.blocks.iter().position(|(cached, _)| *cached == at)?;
        let found = self.blocks.remove(index)?;
        let block = Arc::clone(&found.1);
        self.blocks.push_front(found);
        Some(block)
    }

    fn put(&mut self, at: usize, block: Arc<Block>) {
        // Another reader may have been as quick.
        if self.get(at).is_some() {
            return;
        }
        self.bytes += block.bytes();
        self.blocks.push_front((at, block));
        while self.bytes > CACHE_BYTES_MAX && self.blocks.len() > 1 {
            let Some((_, last)) = self.blocks.pop_back() else { break };
            self.bytes -= last.bytes();
        }
    }
}

#[cfg(test)]
mod tests;
