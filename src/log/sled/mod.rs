//! The log on disk. The only folder that knows sled, and what sled 0.34.7 does not do:
//!
//! - Its `flush` ends in `sync_file_range`, which a power cut undoes (sled issues 1351 and
//!   1452). So an append goes to a journal first, with one real sync, and sled follows.
//! - Large values go to files that are never synced. So values are stored in chunks.
//! - Its file never gets smaller. So a rewrite packs all records into a file of its own, and sled
//!   lies over it.
//! - Damaged files make it panic, or quietly fall back to an older state. So every call is
//!   guarded, and a mark remembers how far the database was synced.

mod directory;
mod feeder;
mod guard;
mod journal;
mod layers;
mod lock;
mod mark;
mod pack;
mod pending;
mod records;
mod rewrite;
mod swap;
mod tree;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

#[cfg(feature = "seal")]
pub(crate) use self::directory::KEYS_FILE;
pub(crate) use self::directory::{MEDIA_FOLDER, SEARCH_FOLDER};
pub use self::rewrite::Rewritten;
pub(crate) use self::rewrite::rewrite;

use self::directory::{
    DATA_FILE, MARK_FILE, PrivateCopy, check_directory, directory_bytes, make_directory,
    record_file_bytes, sync_directories,
};
use self::feeder::Feeder;
use self::journal::Journal;
use self::layers::{Layer, merge};
use self::mark::Mark;
use self::pending::{Pending, Task};
use self::records::Records;
use super::{Batch, Durability, Log, Op, PageLimit, Range, Record};
use crate::error::{Context, Error, Result};

/// Bytes after which the journal begins again, even if sled has to be waited for. It is also what
/// has to be done again after a crash.
const JOURNAL_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Bytes after which it does so where sled happens to have everything on disk. It costs a sync, so
/// not at every chance.
const JOURNAL_BYTES_ENOUGH: u64 = 512 * 1024;

/// A database directory.
pub(crate) struct SledLog {
    path: PathBuf,
    /// The directory that was there before the database's own, and those above it, were made.
    made_in: PathBuf,
    writer: Mutex<Writer>,
    pending: Arc<Pending>,
    /// `None` only while the log is dropped.
    feeder: Option<JoinHandle<()>>,
    records: Arc<Records>,
    /// The file sled writes, for the sync of a new database.
    data: File,
    /// Also the lock on the database. Dropped after sled has let go.
    mark: Mark,
    /// What is opened, where it is a copy. Dropped last, and removed then.
    copy: Option<PrivateCopy>,
}

/// Not what it holds: whoever prints a session does not mean every user's.
impl fmt::Debug for SledLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledLog").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Writer {
    journal: Journal,
    /// Whether the directory entries of a new database are known to be on disk.
    is_directory_synced: bool,
    /// Whether the journal holds what was not handed on. Then it must stay.
    is_behind: bool,
    /// The first write or sync that failed. What it was given may be gone, and the next sync
    /// would succeed without it, so nothing more is written.
    failure: Option<Error>,
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
                return Err(none_there(path));
            }
            let copy = PrivateCopy::of(path).map_err(Error::io)?;
            let mut log = Self::over(copy.path(), Files::open(copy.path(), options)?)?;
            log.copy = Some(copy);
            return Ok(log);
        }
        Self::over(path, Files::open(path, options)?)
    }

    fn over(path: &Path, files: Files) -> Result<Self> {
        let Files { made_in, journal, feeder, records, data, mark } = files;
        let pending = Arc::new(Pending::default());
        let feeder = Some(feeder.start(Arc::clone(&pending))?);
        let (is_directory_synced, is_behind, failure) = (false, false, None);
        let writer = Mutex::new(Writer { journal, is_directory_synced, is_behind, failure });
        let path = path.to_owned();
        Ok(Self { path, made_in, writer, pending, feeder, records, data, mark, copy: None })
    }

    /// Where its files lie: of a copy, the copy's.
    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    // A panic while the lock is held comes from no call of ours, and those into sled are caught.
    fn lock_writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }

    /// Writes, unless a write has failed before: then it fails as that one did.
    fn write(&self, write: impl FnOnce(&mut Writer) -> Result<()>) -> Result<()> {
        let mut writer = self.lock_writer();
        if let Some(failure) = &writer.failure {
            return Err(failure.clone());
        }
        let written = write(&mut writer).with_context(|| self.place());
        writer.failure = written.as_ref().err().cloned();
        written
    }

    fn append_batch(
        &self,
        writer: &mut Writer,
        ops: Arc<Vec<Op>>,
        durability: Durability,
        mark: u64,
    ) -> Result<()> {
        self.make_room(writer)?;
        writer.is_behind = true;
        writer.journal.write(&ops)?;
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
        self.pending.push(Task::Apply(ops));
        writer.is_behind = false;
        Ok(())
    }

    /// Lets the journal begin again where that costs nothing, or where it must.
    fn make_room(&self, writer: &mut Writer) -> Result<()> {
        self.pending.wait_for_room()?;
        if writer.journal.bytes() >= JOURNAL_BYTES_MAX {
            return self.checkpoint(writer);
        }
        let is_enough = writer.journal.bytes() >= JOURNAL_BYTES_ENOUGH && !writer.is_behind;
        if is_enough && self.pending.is_synced() {
            return writer.begin_again();
        }
        Ok(())
    }

    /// Waits until sled has everything on disk, so that the journal can begin again.
    fn checkpoint(&self, writer: &mut Writer) -> Result<()> {
        if writer.is_behind {
            return Err(Error::invalid("sled was not given all that the journal holds"));
        }
        self.pending.push(Task::Sync);
        self.pending.wait_until_done()?;
        writer.begin_again()
    }
}

impl Writer {
    fn begin_again(&mut self) -> Result<()> {
        self.journal.begin_again()?;
        self.journal.sync()
    }
}

/// The files of a database that is locked, and as whole as its journal can make it.
struct Files {
    made_in: PathBuf,
    journal: Journal,
    feeder: Feeder,
    records: Arc<Records>,
    data: File,
    mark: Mark,
}

impl Files {
    fn open(path: &Path, options: SledOptions) -> Result<Self> {
        if !check_directory(path)? && !options.create {
            return Err(none_there(path));
        }
        let made_in = make_directory(path).map_err(Error::io)?;
        let mark = Mark::open(path)?;
        swap::settle(path, &mut |_| Ok(()))?;
        let is_new = !path.join(DATA_FILE).exists();
        if is_new && mark.read()?.is_some_and(|mark| mark > 0) {
            return Err(data_is_missing());
        }
        let mut journal = Journal::open(path)?;
        let open = if options.as_copy { Records::salvage } else { Records::open };
        let records = Arc::new(open(path, options.cache_bytes)?);
        if let Some(pack) = records.pack_id().filter(|_| !options.as_copy) {
            // Where this fails, they only take room until the next opening.
            drop(swap::remove_other_packs(path, pack));
        }
        let data = File::open(path.join(DATA_FILE)).map_err(Error::io)?;
        let mut feeder = Feeder::new(Arc::clone(&records), data.try_clone().map_err(Error::io)?);
        redo(&mut journal, &mut feeder)?;
        Ok(Self { made_in, journal, feeder, records, data, mark })
    }
}

/// Why nothing can be opened at a path: a database that lost its data is not one that never was.
fn none_there(path: &Path) -> Error {
    // The mark is written with the first append, and an opening may have been killed before it.
    let was_one = std::fs::metadata(path.join(MARK_FILE)).is_ok_and(|mark| mark.len() > 0);
    if was_one { data_is_missing() } else { Error::not_found("database") }
}

fn data_is_missing() -> Error {
    Error::corrupt("its data file is missing: restore a copy")
}

/// Does again what was acknowledged and may not have reached sled's file. Doing a batch twice
/// is doing it once, as long as all that follow are done after it.
fn redo(journal: &mut Journal, feeder: &mut Feeder) -> Result<()> {
    let mut is_clean = true;
    while let Some(ops) = journal.read_next()? {
        feeder.apply(&ops)?;
        is_clean = false;
    }
    if !is_clean {
        feeder.sync()?;
    }
    // Whatever comes next, these must not be done again over it. A new journal is synced with
    // its first record.
    journal.begin_again()?;
    if is_clean { Ok(()) } else { journal.sync() }
}

impl Log for SledLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let read = || match self.pending.get(key) {
            Some(waiting) => Ok(waiting.value().cloned()),
            None => self.records.get(key),
        };
        read().with_context(|| self.place())
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let read = || {
            let waiting = self.pending.range(range, limit);
            if waiting.is_empty() {
                return self.records.page(range, limit);
            }
            let below = Layer::new(range.clone(), |rest| self.records.page(rest, limit));
            merge(Layer::of(waiting), below, range.order, limit)
        };
        read().with_context(|| self.place())
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        if durability == Durability::Volatile {
            return self.apply(batch);
        }
        let ops = Arc::new(batch.ops().to_vec());
        self.write(|writer| self.append_batch(writer, ops, durability, mark))
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        // Under the same lock as appends, so that sled gets both in the order they came. What may
        // be lost must not take along what was there before, so sled is synced for it as often.
        self.write(|_| {
            self.pending.wait_for_room()?;
            self.pending.push(Task::Apply(Arc::new(batch.ops().to_vec())));
            Ok(())
        })
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        self.mark.read()
    }

    fn disk_bytes(&self) -> Result<u64> {
        directory_bytes(&self.path).map_err(Error::io)
    }

    fn record_file_bytes(&self) -> Result<u64> {
        record_file_bytes(&self.path).map_err(Error::io)
    }
}

impl Drop for SledLog {
    /// Spares the next opening the work. Where it fails, the journal still has everything.
    fn drop(&mut self) {
        let is_empty = self.lock_writer().journal.is_empty();
        if is_empty || self.write(|writer| self.checkpoint(writer)).is_ok() {
            drop(self.lock_writer().journal.clear());
        }
        self.pending.close();
        if let Some(feeder) = self.feeder.take() {
            // It caught what it met; a panic of its own has nobody to be told to any more.
            drop(feeder.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> SledLog {
        let options = SledOptions { create: true, cache_bytes: 1 << 20, as_copy: false };
        SledLog::open(path, options).unwrap()
    }

    fn batch(number: u8) -> Batch {
        let mut batch = Batch::new();
        batch.insert(vec![b'k', number], vec![number; 1_000]);
        batch
    }

    /// What a sync that failed was given is not on disk, whatever the next one says: only the
    /// journal has it.
    #[test]
    fn after_a_failed_sync_the_journal_keeps_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(&batch(1), Durability::PowerLoss, 1).unwrap();
        log.pending.fail(Error::io(std::io::Error::other("the sync of sled's file failed")));
        log.append(&batch(2), Durability::PowerLoss, 2).unwrap_err();
        log.apply(&batch(3)).unwrap_err();
        // Readers go on with what there is.
        assert!(log.get(b"k\x01").unwrap().is_some() && log.get(b"k\x02").unwrap().is_none());
        drop(log);
        let mut journal = Journal::open(directory.path()).unwrap();
        assert_eq!(journal.read_next().unwrap().unwrap(), batch(1).ops());
        drop(journal);
        let log = open(directory.path());
        assert!(log.get(b"k\x01").unwrap().is_some() && log.get(b"k\x02").unwrap().is_none());
        log.append(&batch(2), Durability::PowerLoss, 2).unwrap();
    }

    /// Whatever sled takes in, it may write over what it was given before and that is not on disk.
    #[test]
    fn sled_is_synced_in_time_for_what_may_be_lost_too() {
        let directory = tempfile::tempdir().unwrap();
        let options = SledOptions { create: true, cache_bytes: 1 << 20, as_copy: false };
        let mut files = Files::open(directory.path(), options).unwrap();
        // Nothing can be synced there, so a sync shows.
        files.feeder = Feeder::new(Arc::clone(&files.records), File::open("/dev/null").unwrap());
        let log = SledLog::over(directory.path(), files).unwrap();
        log.append(&batch(1), Durability::Volatile, 1).unwrap();
        log.pending.wait_until_done().unwrap();
        let mut large = Batch::new();
        (0..200).for_each(|number| large.insert(vec![b'l', number], vec![number; 1_000]));
        log.append(&large, Durability::Volatile, 1).unwrap();
        assert!(log.pending.wait_until_done().is_err(), "nothing was synced");
    }

    /// A journal with a hole in it hides what comes behind.
    #[test]
    fn after_a_failed_write_nothing_more_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path());
        log.append(&batch(1), Durability::PowerLoss, 1).unwrap();
        log.write(|_| Err(Error::invalid("the disk is full"))).unwrap_err();
        log.append(&batch(2), Durability::PowerLoss, 2).unwrap_err();
        log.apply(&batch(3)).unwrap_err();
        drop(log);
        let log = open(directory.path());
        assert!(log.get(b"k\x01").unwrap().is_some() && log.get(b"k\x02").unwrap().is_none());
    }
}
