//! The log on disk. The only folder that knows sled, and what sled 0.34.7 does not do:
//!
//! - Its `flush` ends in `sync_file_range`, which a power cut undoes (sled issues 1351 and
//!   1452). So an append goes to a journal first, with one real sync, and sled follows.
//! - Large values go to files that are never synced. So values are stored in chunks.
//! - Damaged files make it panic, or quietly fall back to an older state. So every call is
//!   guarded, and a mark remembers how far the database was synced.

mod directory;
mod guard;
mod journal;
mod mark;
mod tree;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::directory::{DATA_FILE, check_directory, directory_bytes, sync_directories};
use self::journal::Journal;
use self::mark::Mark;
use self::tree::{SEGMENT_BYTES, Tree};
use super::{Batch, Durability, Log, Op, PageLimit, Range, Record};
use crate::error::{Context, Error, Result};

/// Bytes of batches that sled takes in between two syncs of its file.
///
/// sled moves pages to new segments and writes over the old ones once the new ones were handed
/// to the operating system. That is safe only if they are on disk by then. Between two syncs
/// sled fills about one segment, so what it frees in between it does not write over yet.
const UNSYNCED_BYTES_MAX: usize = SEGMENT_BYTES / 8;

/// A database directory.
#[derive(Debug)]
pub(crate) struct SledLog {
    path: PathBuf,
    writer: Mutex<Writer>,
    tree: Tree,
    /// The file sled writes, for the sync that sled does not do.
    data: File,
    /// Also the lock on the database. Dropped last, after sled has let go.
    mark: Mark,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    /// What sled has taken in since its file was synced.
    unsynced_bytes: usize,
    /// Whether the directory entries of a new database are known to be on disk.
    is_directory_synced: bool,
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
        let mark = Mark::open(path)?;
        let tree = Tree::open(path, options.cache_bytes)?;
        let data = File::open(path.join(DATA_FILE)).map_err(Error::io)?;
        let (journal, batches) = Journal::open(path)?;
        let writer = Writer { journal, unsynced_bytes: 0, is_directory_synced: false };
        let log = Self { path: path.to_owned(), writer: Mutex::new(writer), tree, data, mark };
        log.redo(&batches)?;
        Ok(log)
    }

    /// Does again what was acknowledged and may not have reached sled's file. Doing a batch twice
    /// is doing it once, as long as all that follow are done after it.
    fn redo(&self, batches: &[Vec<Op>]) -> Result<()> {
        if batches.is_empty() {
            return Ok(());
        }
        let mut writer = self.lock_writer();
        for ops in batches {
            self.apply_in_pieces(&mut writer, ops)?;
        }
        self.checkpoint(&mut writer)?;
        // Whatever comes next, these must not be done again over it.
        writer.journal.sync()
    }

    // A panic while the lock is held comes from no call of ours, and those into sled are caught.
    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands operations to sled, syncing its file before it has taken in too much.
    fn apply_in_pieces(&self, writer: &mut Writer, ops: &[Op]) -> Result<()> {
        let mut rest = ops;
        while !rest.is_empty() {
            if writer.unsynced_bytes >= UNSYNCED_BYTES_MAX {
                self.sync_data(writer)?;
            }
            let room = UNSYNCED_BYTES_MAX - writer.unsynced_bytes;
            let mut bytes = 0;
            let count = rest.iter().take_while(|op| {
                let fits = bytes < room;
                bytes += op.bytes();
                fits
            });
            let (piece, later) = rest.split_at(count.count());
            self.tree.apply(piece)?;
            writer.unsynced_bytes += piece.iter().map(Op::bytes).sum::<usize>();
            rest = later;
        }
        Ok(())
    }

    /// Syncs sled's file.
    fn sync_data(&self, writer: &mut Writer) -> Result<()> {
        self.tree.flush()?;
        self.data.sync_data().map_err(Error::io)?;
        writer.unsynced_bytes = 0;
        Ok(())
    }

    /// Syncs sled's file, so that the journal can begin again.
    fn checkpoint(&self, writer: &mut Writer) -> Result<()> {
        self.sync_data(writer)?;
        writer.journal.begin_again()
    }
}

impl Log for SledLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.tree.get(key)
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        self.tree.page(range, limit)
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        if durability == Durability::Volatile {
            return self.tree.apply(batch.ops());
        }
        let mut writer = self.lock_writer();
        if writer.unsynced_bytes >= UNSYNCED_BYTES_MAX {
            self.checkpoint(&mut writer)?;
        }
        writer.journal.write(batch.ops())?;
        if durability == Durability::PowerLoss {
            writer.journal.sync()?;
            if !writer.is_directory_synced {
                self.data.sync_data().map_err(Error::io)?;
                sync_directories(&self.path).map_err(Error::io)?;
                writer.is_directory_synced = true;
            }
            // Written after the sync, so that it is never ahead of the disk.
            self.mark.write(mark)?;
        }
        self.apply_in_pieces(&mut writer, batch.ops())
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.apply_in_pieces(&mut self.lock_writer(), batch.ops())
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        self.mark.read()
    }

    fn disk_bytes(&self) -> Result<u64> {
        directory_bytes(&self.path).map_err(Error::io)
    }
}

impl Drop for SledLog {
    /// Spares the next opening the work. Where it fails, the journal still has everything.
    fn drop(&mut self) {
        let mut writer = self.lock_writer();
        if !writer.journal.is_empty() && self.checkpoint(&mut writer).is_ok() {
            drop(writer.journal.shrink());
        }
    }
}
