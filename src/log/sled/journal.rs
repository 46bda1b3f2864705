//! The journal in front of sled: what was acknowledged and sled does not hold on disk yet.
//!
//! A batch is on disk once its record is: one write and one sync, whatever sled makes of it
//! later. When sled's own file was synced the journal begins again, under the next epoch; records
//! of an earlier epoch are what is left of earlier rounds and mean nothing.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::directory::{JOURNAL_FILE, read_at, write_at};
use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::log::{Op, Record};

const HEADER_MAGIC: [u8; 4] = *b"SLjh";
const RECORD_MAGIC: [u8; 4] = *b"SLjr";
/// Magic, epoch, check.
const HEADER_BYTES: usize = 28;
/// Magic, epoch, index, length, check.
const RECORD_HEADER_BYTES: usize = 40;
/// Written once with zeros, so that a sync need not write where the file's blocks are.
const PREPARED_BYTES: u64 = 1024 * 1024;
/// A longer file is cut when the journal begins again.
const KEPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The journal's file, and where its next record goes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    epoch: u64,
    index: u64,
    end: u64,
}

impl Journal {
    /// Opens the journal, or makes it. Returns what has to be done again, oldest first.
    pub(super) fn open(directory: &Path) -> Result<(Self, Vec<Vec<Op>>)> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(JOURNAL_FILE)).map_err(Error::io)?;
        let len = file.metadata().map_err(Error::io)?.len();
        if len < PREPARED_BYTES {
            let zeros = vec![0; usize::try_from(PREPARED_BYTES - len).unwrap_or_default()];
            write_at(&file, &zeros, len).map_err(Error::io)?;
        }
        let mut journal = Self { file, epoch: 0, index: 0, end: HEADER_BYTES as u64 };
        let Some(epoch) = journal.read_header() else {
            journal.begin_again()?;
            return Ok((journal, Vec::new()));
        };
        journal.epoch = epoch;
        let mut batches = Vec::new();
        while let Some(payload) = journal.read_record(len) {
            journal.index += 1;
            journal.end += (RECORD_HEADER_BYTES + payload.len()) as u64;
            batches.push(decode(&payload)?);
        }
        Ok((journal, batches))
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.index == 0
    }

    /// Writes a batch behind the last one; not synced yet.
    pub(super) fn write(&mut self, ops: &[Op]) -> Result<()> {
        let payload = encode(ops)?;
        let mut record = Vec::with_capacity(RECORD_HEADER_BYTES + payload.len());
        record.extend_from_slice(&RECORD_MAGIC);
        record.extend_from_slice(&self.epoch.to_le_bytes());
        record.extend_from_slice(&self.index.to_le_bytes());
        record.extend_from_slice(&length(payload.len())?.to_le_bytes());
        record.extend_from_slice(&check(self.epoch, self.index, &payload));
        record.extend_from_slice(&payload);
        write_at(&self.file, &record, self.end).map_err(Error::io)?;
        self.index += 1;
        self.end += record.len() as u64;
        Ok(())
    }

    /// Makes what was written survive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io)
    }

    /// Forgets its records: sled holds them on disk. The next sync covers this, and until then
    /// doing them again changes nothing.
    pub(super) fn begin_again(&mut self) -> Result<()> {
        (self.epoch, self.index) = (self.epoch + 1, 0);
        if self.end > KEPT_BYTES_MAX {
            self.shrink()?;
        }
        self.end = HEADER_BYTES as u64;
        let mut header = HEADER_MAGIC.to_vec();
        header.extend_from_slice(&self.epoch.to_le_bytes());
        header.extend_from_slice(&check(self.epoch, u64::MAX, &[]));
        write_at(&self.file, &header, 0).map_err(Error::io)
    }

    /// Gives back the room that large batches took. Only for an empty journal.
    pub(super) fn shrink(&self) -> Result<()> {
        self.file.set_len(PREPARED_BYTES).map_err(Error::io)
    }

    /// The epoch, where there is a whole header.
    fn read_header(&self) -> Option<u64> {
        let mut bytes = [0; HEADER_BYTES];
        read_at(&self.file, &mut bytes, 0).ok()?;
        let mut reader = Reader::new(&bytes);
        let magic = reader.array().ok()?;
        let epoch = reader.u64().ok()?;
        let is_whole = magic == HEADER_MAGIC && reader.array().ok()? == check(epoch, u64::MAX, &[]);
        is_whole.then_some(epoch)
    }

    /// The next record, where there is a whole one of this epoch.
    fn read_record(&self, file_len: u64) -> Option<Vec<u8>> {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        read_at(&self.file, &mut bytes, self.end).ok()?;
        let mut reader = Reader::new(&bytes);
        let is_next = reader.array().ok()? == RECORD_MAGIC
            && reader.u64().ok()? == self.epoch
            && reader.u64().ok()? == self.index;
        let len = reader.u32().ok()?;
        let begin = self.end + RECORD_HEADER_BYTES as u64;
        // A length from damaged bytes is not believed further than the file goes.
        if !is_next || begin + u64::from(len) > file_len.max(PREPARED_BYTES) {
            return None;
        }
        let mut payload = vec![0; len as usize];
        read_at(&self.file, &mut payload, begin).ok()?;
        let wanted: [u8; 16] = reader.array().ok()?;
        (wanted == check(self.epoch, self.index, &payload)).then_some(payload)
    }
}

fn check(epoch: u64, index: u64, payload: &[u8]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 journal");
    hasher.update(&epoch.to_le_bytes()).update(&index.to_le_bytes()).update(payload);
    let mut check = [0; 16];
    hasher.finalize_xof().fill(&mut check);
    check
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::invalid("a batch is too large for the journal"))
}

const INSERT: u8 = 0;
const REPLACE: u8 = 1;
const REMOVE: u8 = 2;

fn encode(ops: &[Op]) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    for op in ops {
        let (tag, key, value) = match op {
            Op::Insert(record) => (INSERT, &record.key, Some(&record.value)),
            Op::Replace(record) => (REPLACE, &record.key, Some(&record.value)),
            Op::Remove(key) => (REMOVE, key, None),
        };
        payload.push(tag);
        payload.extend_from_slice(&length(key.len())?.to_le_bytes());
        payload.extend_from_slice(key);
        if let Some(value) = value {
            payload.extend_from_slice(&length(value.len())?.to_le_bytes());
            payload.extend_from_slice(value);
        }
    }
    Ok(payload)
}

fn decode(mut payload: &[u8]) -> Result<Vec<Op>> {
    let mut ops = Vec::new();
    while !payload.is_empty() {
        let mut reader = Reader::new(payload);
        let tag = reader.u8()?;
        let len = reader.u32()? as usize;
        let key = reader.slice(len)?.to_vec();
        let op = if tag == REMOVE {
            Op::Remove(key)
        } else {
            let len = reader.u32()? as usize;
            let record = Record { key, value: reader.slice(len)?.to_vec() };
            match tag {
                INSERT => Op::Insert(record),
                REPLACE => Op::Replace(record),
                other => return Err(Error::corrupt(format!("journal: unknown operation {other}"))),
            }
        };
        ops.push(op);
        payload = reader.rest();
    }
    Ok(ops)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ops(number: u8) -> Vec<Op> {
        let record = Record { key: vec![number], value: vec![number; 1_000] };
        vec![Op::Insert(record.clone()), Op::Replace(record), Op::Remove(vec![number, 1])]
    }

    fn reopen(directory: &Path) -> Vec<Vec<Op>> {
        Journal::open(directory).unwrap().1
    }

    #[test]
    fn what_was_written_is_done_again_until_the_journal_begins_again() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, before) = Journal::open(directory.path()).unwrap();
        assert!(before.is_empty() && journal.is_empty());
        for number in 0..5 {
            journal.write(&ops(number)).unwrap();
        }
        assert_eq!(reopen(directory.path()), (0..5).map(ops).collect::<Vec<_>>());
        journal.begin_again().unwrap();
        assert!(reopen(directory.path()).is_empty());
        journal.write(&ops(9)).unwrap();
        // Whole records of the epoch before stand behind it.
        assert_eq!(reopen(directory.path()), [ops(9)]);
    }

    #[test]
    fn a_torn_record_ends_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(directory.path()).unwrap();
        journal.write(&ops(1)).unwrap();
        let whole = journal.end;
        journal.write(&ops(2)).unwrap();
        for at in [whole, whole + 4, whole + 20, whole + 36, whole + 500, journal.end - 1] {
            let mut byte = [0];
            read_at(&journal.file, &mut byte, at).unwrap();
            write_at(&journal.file, &[byte[0] ^ 1], at).unwrap();
            assert_eq!(reopen(directory.path()), [ops(1)], "at {at}");
            write_at(&journal.file, &byte, at).unwrap();
        }
        assert_eq!(reopen(directory.path()).len(), 2);
        let file =
            OpenOptions::new().write(true).open(directory.path().join(JOURNAL_FILE)).unwrap();
        file.set_len(whole + 10).unwrap();
        assert_eq!(reopen(directory.path()), [ops(1)]);
    }
}
