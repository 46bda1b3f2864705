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

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use self::directory::{
    Copy, DATA_FILE, check_directory, directory_bytes, make_directory, sync_directories,
};
use self::journal::Journal;
use self::mark::Mark;
use self::tree::{KEY_BYTES_MAX, SEGMENT_BYTES, Tree};
use super::{Batch, Durability, Log, Op, PageLimit, Range, Record};
use crate::error::{Context, Error, Result};

/// Bytes of batches that sled takes in between two syncs of its file.
///
/// sled moves pages to new segments and writes over the old ones once the new ones were handed
/// to the operating system. That is safe only if they are on disk by then. sled writes up to
/// twelve times what it takes in (measured: small events of 3,000 sessions), so between two
/// syncs it fills less than one segment and does not write over what it frees in between.
const UNSYNCED_BYTES_MAX: usize = SEGMENT_BYTES / 32;

/// Bytes after which the journal begins again, whatever sled has taken in since its last sync.
const JOURNAL_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A database directory.
#[derive(Debug)]
pub(crate) struct SledLog {
    path: PathBuf,
    /// The directory that was there before the database's own, and those above it, were made.
    made_in: PathBuf,
    writer: Mutex<Writer>,
    tree: Tree,
    /// The file sled writes, for the sync that sled does not do.
    data: File,
    /// Also the lock on the database. Dropped after sled has let go.
    mark: Mark,
    /// What is opened, where it is a copy. Dropped last, and removed then.
    copy: Option<Copy>,
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    /// What sled has taken in since its file was synced.
    unsynced_bytes: usize,
    /// Whether the directory entries of a new database are known to be on disk.
    is_directory_synced: bool,
    /// Whether sled has not taken in all that the journal holds. Then the journal must stay.
    is_behind: bool,
}

/// How to open a database directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SledOptions {
    /// Make it where there is none.
    pub(crate) create: bool,
    /// Memory for sled's page cache.
    pub(crate) cache_bytes: u64,
    /// Open a copy that goes with the log: opening writes, and what is damaged should not be
    /// written over.
    pub(crate) as_copy: bool,
}

impl SledLog {
    pub(crate) fn open(path: &Path, options: SledOptions) -> Result<Self> {
        Self::open_at(path, options).with_context(|| path.display().to_string())
    }

    fn open_at(path: &Path, options: SledOptions) -> Result<Self> {
        if options.as_copy {
            if !check_directory(path)? {
                return Err(Error::not_found("database"));
            }
            let copy = Copy::of(path).map_err(Error::io)?;
            let mut log = Self::open_at(copy.path(), SledOptions { as_copy: false, ..options })?;
            log.copy = Some(copy);
            return Ok(log);
        }
        let is_new = !check_directory(path)?;
        if is_new && !options.create {
            return Err(Error::not_found("database"));
        }
        let made_in = make_directory(path).map_err(Error::io)?;
        let mark = Mark::open(path)?;
        if is_new && mark.read()?.is_some_and(|mark| mark > 0) {
            return Err(Error::corrupt("its data file is missing"));
        }
        let journal = Journal::open(path)?;
        let tree = Tree::open(path, options.cache_bytes)?;
        let data = File::open(path.join(DATA_FILE)).map_err(Error::io)?;
        let writer =
            Writer { journal, unsynced_bytes: 0, is_directory_synced: false, is_behind: true };
        let (path, writer) = (path.to_owned(), Mutex::new(writer));
        let log = Self { path, made_in, writer, tree, data, mark, copy: None };
        log.redo()?;
        Ok(log)
    }

    /// Does again what was acknowledged and may not have reached sled's file. Doing a batch twice
    /// is doing it once, as long as all that follow are done after it.
    fn redo(&self) -> Result<()> {
        let mut writer = self.lock_writer();
        let mut is_clean = true;
        while let Some(ops) = writer.journal.read_next()? {
            self.apply_in_pieces(&mut writer, &ops)?;
            is_clean = false;
        }
        writer.is_behind = false;
        if !is_clean {
            self.sync_data(&mut writer)?;
        }
        // Whatever comes next, these must not be done again over it.
        writer.journal.begin_again()?;
        if is_clean { Ok(()) } else { writer.journal.sync() }
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
            if let [Op::Insert(record) | Op::Replace(record), later @ ..] = rest
                && record.value.len() > UNSYNCED_BYTES_MAX
            {
                let sync = || self.sync_data(writer);
                self.tree.insert_in_parts(record, UNSYNCED_BYTES_MAX, sync)?;
                rest = later;
                continue;
            }
            let room = UNSYNCED_BYTES_MAX - writer.unsynced_bytes;
            let mut bytes = 0;
            let count = rest.iter().take_while(|op| {
                let fits = bytes < room && op.bytes() <= UNSYNCED_BYTES_MAX + KEY_BYTES_MAX;
                bytes += op.bytes();
                fits
            });
            let (piece, later) = rest.split_at(count.count().max(1));
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
        if writer.is_behind {
            return Err(Error::invalid("sled has not taken in what the journal holds"));
        }
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
        if writer.unsynced_bytes >= UNSYNCED_BYTES_MAX
            || writer.journal.bytes() >= JOURNAL_BYTES_MAX
        {
            self.checkpoint(&mut writer)?;
        }
        writer.is_behind = true;
        writer.journal.write(batch.ops())?;
        if durability == Durability::PowerLoss {
            writer.journal.sync()?;
            if !writer.is_directory_synced {
                self.data.sync_data().map_err(Error::io)?;
                sync_directories(&self.path, &self.made_in).map_err(Error::io)?;
                writer.is_directory_synced = true;
            }
            // Written after the sync, so that it is never ahead of the disk.
            self.mark.write(mark)?;
        }
        self.apply_in_pieces(&mut writer, batch.ops())?;
        writer.is_behind = false;
        Ok(())
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
