//! Feeds sled: a thread that hands it what waits and syncs its file in time.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::pending::{Pending, Task};
use super::records::Records;
use super::tree::{KEY_BYTES_MAX, SEGMENT_BYTES};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::limits::CHUNK_BYTES_MAX;
use crate::log::Op;

/// Bytes of batches that sled takes in between two syncs of its file.
///
/// sled moves pages to new segments and writes over the old ones once the new ones were handed
/// to the operating system. That is safe only if they are on disk by then. sled writes up to
/// twelve times what it takes in (measured: small events of 3,000 sessions), so between two
/// syncs it fills less than one segment and does not write over what it frees in between.
const UNSYNCED_BYTES_MAX: usize = SEGMENT_BYTES / 32;

/// The only one that writes to sled and syncs its file.
#[derive(Debug)]
pub(super) struct Feeder {
    records: Arc<Records>,
    /// The file sled writes, for the sync that sled does not do.
    data: File,
    /// What sled has taken in since its file was synced.
    unsynced_bytes: usize,
}

impl Feeder {
    pub(super) fn new(records: Arc<Records>, data: File) -> Self {
        Self { records, data, unsynced_bytes: 0 }
    }

    /// Starts the thread. It ends when `pending` is closed and everything is done, or when
    /// something fails.
    pub(super) fn start(self, pending: Arc<Pending>) -> Result<JoinHandle<()>> {
        std::thread::Builder::new()
            .name(String::from("sessionlog-sled"))
            .spawn(move || self.run(&Ending(pending)))
            .map_err(Error::io)
    }

    fn run(mut self, Ending(pending): &Ending) {
        while let Some(task) = pending.next() {
            match self.perform(&task) {
                Ok(()) => pending.finish(&task, self.unsynced_bytes == 0),
                Err(error) => {
                    pending.fail(error.context("handing on what the journal has"));
                    return;
                }
            }
        }
    }

    fn perform(&mut self, task: &Task) -> Result<()> {
        match task {
            Task::Apply(ops) => self.apply(ops),
            Task::Sync => self.sync(),
        }
    }

    /// Hands operations to sled, syncing its file once it has taken in enough.
    pub(super) fn apply(&mut self, ops: &[Op]) -> Result<()> {
        let mut rest = ops;
        while !rest.is_empty() {
            if let [Op::Insert(record) | Op::Replace(record), later @ ..] = rest
                && record.value.len() > UNSYNCED_BYTES_MAX
            {
                let records = Arc::clone(&self.records);
                records.insert_in_parts(record, UNSYNCED_BYTES_MAX, || self.sync())?;
                // Its first chunk came after the last sync.
                self.unsynced_bytes += KEY_BYTES_MAX + CHUNK_BYTES_MAX;
                rest = later;
                continue;
            }
            let room = UNSYNCED_BYTES_MAX - self.unsynced_bytes;
            let mut bytes = 0;
            let count = rest.iter().take_while(|op| {
                let fits = bytes < room && op.bytes() <= UNSYNCED_BYTES_MAX + KEY_BYTES_MAX;
                bytes += op.bytes();
                fits
            });
            let (piece, later) = rest.split_at(count.count().max(1));
            self.records.apply(piece)?;
            self.unsynced_bytes += piece.iter().map(Op::bytes).sum::<usize>();
            rest = later;
            if self.unsynced_bytes >= UNSYNCED_BYTES_MAX {
                self.sync()?;
            }
        }
        Ok(())
    }

    /// Syncs sled's file.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.records.flush()?;
        self.data.sync_data().map_err(Error::io).with_context(|| "sled's file")?;
        self.unsynced_bytes = 0;
        Ok(())
    }
}

/// The thread's end: nobody waits for one that is gone, however it went.
struct Ending(Arc<Pending>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.fail_if_left(Error::new(ErrorKind::Closed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The journal may begin again only once sled has everything on disk. A second sync would
    /// succeed without what the first one was given.
    #[test]
    fn a_failed_sync_is_told_and_nothing_is_handed_on_behind_it() {
        let directory = tempfile::tempdir().unwrap();
        let records = Arc::new(Records::open(directory.path(), 1 << 20).unwrap());
        // Nothing can be synced there.
        let feeder = Feeder::new(records, File::open("/dev/null").unwrap());
        let pending = Arc::new(Pending::default());
        let thread = feeder.start(Arc::clone(&pending)).unwrap();
        pending.push(Task::Sync);
        assert!(pending.wait_until_done().is_err());
        assert!(pending.wait_for_room().is_err() && !pending.is_synced());
        thread.join().unwrap();
    }
}
