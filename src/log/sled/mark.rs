//! How far a database is known to be on disk, and the lock on it.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::directory::{MARK_FILE, read_at, write_at};
use super::lock::lock;
use crate::bytes::Reader;
use crate::error::{Error, Result};

/// The mark's file. Holding it open holds the database.
#[derive(Debug)]
pub(super) struct Mark(File);

impl Mark {
    /// Opens the file, or makes it, and locks it.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(MARK_FILE)).map_err(Error::io)?;
        lock(&file)?;
        Ok(Self(file))
    }

    /// Says how far the log is on disk. Not synced itself: after a power cut it may be behind,
    /// never ahead.
    pub(super) fn write(&self, mark: u64) -> Result<()> {
        let mut bytes = mark.to_le_bytes().to_vec();
        bytes.extend_from_slice(&check(mark));
        write_at(&self.0, &bytes, 0).map_err(Error::io)
    }

    /// What was said last, if it can be read.
    pub(super) fn read(&self) -> Result<Option<u64>> {
        let mut bytes = [0; 16];
        if read_at(&self.0, &mut bytes, 0).is_err() {
            return Ok(None);
        }
        let mut reader = Reader::new(&bytes);
        let mark = reader.u64()?;
        Ok((reader.array()? == check(mark)).then_some(mark))
    }
}

fn check(mark: u64) -> [u8; 8] {
    let digest = blake3::derive_key("sessionlog v1 durable mark", &mark.to_le_bytes());
    digest.first_chunk().copied().unwrap_or_default()
}
