//! The journal in front of sled: what was acknowledged and sled does not hold on disk yet.
//!
//! A batch is on disk once its record is: one write and one sync, whatever sled makes of it
//! later. When sled's own file was synced the journal begins again, under a header of its own:
//! each record's check covers the one before it, and the first covers the header's, so whatever
//! is left of earlier rounds is never taken for a part of this one.

use std::fs::{File, OpenOptions};
use std::path::Path;

use super::directory::{JOURNAL_FILE, read_at, write_at};
use crate::bytes::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::log::{Op, Record};

const HEADER_MAGIC: [u8; 4] = *b"SLjh";
const RECORD_MAGIC: [u8; 4] = *b"SLjr";
/// The version that is written, and the newest that is read.
const JOURNAL_VERSION: u32 = 1;
/// Magic, version, nonce, check.
const HEADER_BYTES: usize = 40;
/// Magic, length, check.
const RECORD_HEADER_BYTES: usize = 24;
/// The file grows by so much, written with zeros first, so that a sync need not write where the
/// file's blocks are.
const PREPARED_BYTES: u64 = 1024 * 1024;
/// A longer file is cut when the journal begins again.
const KEPT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The journal's file, and where its next record goes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    /// The check of the last record, or of the header.
    check: Check,
    end: u64,
    /// How long the file is.
    prepared: u64,
    /// Whether there are records in the file, of this round or of earlier ones.
    has_bytes: bool,
}

type Check = [u8; 16];

impl Journal {
    /// Opens the journal, or makes it. What has to be done again is read by
    /// [`Journal::read_next`]; only then may anything be written.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(JOURNAL_FILE)).map_err(Error::io)?;
        let len = file.metadata().map_err(Error::io)?.len();
        let (check, end) = (Check::default(), HEADER_BYTES as u64);
        let mut journal = Self { file, check, end, prepared: len, has_bytes: false };
        journal.prepare(PREPARED_BYTES)?;
        let mut first = RECORD_MAGIC;
        read_at(&journal.file, &mut first, end).map_err(Error::io)?;
        journal.has_bytes = first != [0; RECORD_MAGIC.len()];
        match journal.read_header()? {
            Some(check) => journal.check = check,
            None => journal.begin_again()?,
        }
        Ok(journal)
    }

    /// How far it reaches.
    pub(super) fn bytes(&self) -> u64 {
        self.end
    }

    /// Whether it holds nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.end == HEADER_BYTES as u64
    }

    /// The next batch that was written and has to be done again.
    pub(super) fn read_next(&mut self) -> Result<Option<Vec<Op>>> {
        let Some((payload, check)) = self.read_record() else { return Ok(None) };
        self.check = check;
        self.end += (RECORD_HEADER_BYTES + payload.len()) as u64;
        decode(&payload).map(Some)
    }

    /// Writes a batch behind the last one; not synced yet.
    pub(super) fn write(&mut self, ops: &[Op]) -> Result<()> {
        let mut record = vec![0; RECORD_HEADER_BYTES];
        encode(ops, &mut record)?;
        let Some((header, payload)) = record.split_first_chunk_mut::<RECORD_HEADER_BYTES>() else {
            return Err(Error::invalid("a record without a header"));
        };
        let check = check_record(self.check, payload);
        let parts = [RECORD_MAGIC.as_slice(), &length(payload.len())?.to_le_bytes(), &check];
        header.copy_from_slice(&parts.concat());
        let end = self.end + record.len() as u64;
        self.prepare(end)?;
        self.has_bytes = true;
        write_at(&self.file, &record, self.end).map_err(Error::io)?;
        (self.check, self.end) = (check, end);
        Ok(())
    }

    /// Makes the file reach that far, in whole steps.
    fn prepare(&mut self, end: u64) -> Result<()> {
        while self.prepared < end {
            let next = (self.prepared / PREPARED_BYTES + 1) * PREPARED_BYTES;
            let zeros = vec![0; usize::try_from(next - self.prepared).unwrap_or_default()];
            write_at(&self.file, &zeros, self.prepared).map_err(Error::io)?;
            self.prepared = next;
        }
        Ok(())
    }

    /// Makes what was written survive a power cut.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io)
    }

    /// Forgets its records: sled holds them on disk. It must be synced before the next one is
    /// written: under the header of the old round, a new record over some of the old ones would
    /// leave others to be done again without those that followed them.
    pub(super) fn begin_again(&mut self) -> Result<()> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| Error::io(std::io::Error::other(error.to_string())))?;
        let mut header = HEADER_MAGIC.to_vec();
        header.extend_from_slice(&JOURNAL_VERSION.to_le_bytes());
        header.extend_from_slice(&nonce);
        let check = check_header(&header);
        header.extend_from_slice(&check);
        write_at(&self.file, &header, 0).map_err(Error::io)?;
        let is_long = self.end > KEPT_BYTES_MAX;
        (self.check, self.end) = (check, HEADER_BYTES as u64);
        if is_long {
            // Under the old header, what a crash here leaves would be done again in part.
            self.sync()?;
            self.shrink()?;
        }
        Ok(())
    }

    /// Gives back the room that large batches took. Only for an empty journal.
    fn shrink(&mut self) -> Result<()> {
        self.file.set_len(PREPARED_BYTES).map_err(Error::io)?;
        self.prepared = PREPARED_BYTES;
        Ok(())
    }

    /// Takes what is left of earlier rounds out of the file: what was erased since must not be
    /// read there. Only for an empty journal.
    pub(super) fn clear(&mut self) -> Result<()> {
        if !self.has_bytes {
            return Ok(());
        }
        self.prepared = HEADER_BYTES as u64;
        self.file.set_len(self.prepared).map_err(Error::io)?;
        self.prepare(PREPARED_BYTES)?;
        self.has_bytes = false;
        Ok(())
    }

    /// The header's check, where there is a whole header.
    fn read_header(&self) -> Result<Option<Check>> {
        let mut bytes = [0; HEADER_BYTES];
        if read_at(&self.file, &mut bytes, 0).is_err() {
            return Ok(None);
        }
        let mut reader = Reader::new(&bytes);
        let covered = reader.slice(HEADER_BYTES - 16)?;
        let check = reader.array()?;
        if !covered.starts_with(&HEADER_MAGIC) || check != check_header(covered) {
            return Ok(None);
        }
        let mut reader = Reader::new(covered);
        reader.slice(HEADER_MAGIC.len())?;
        let (found, supported) = (reader.u32()?, JOURNAL_VERSION);
        if found > supported {
            return Err(Error::new(ErrorKind::NewerFormat { found, supported }));
        }
        Ok(Some(check))
    }

    /// The next record and its check, where there is a whole one that follows.
    fn read_record(&self) -> Option<(Vec<u8>, Check)> {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        read_at(&self.file, &mut bytes, self.end).ok()?;
        let mut reader = Reader::new(&bytes);
        let magic: [u8; 4] = reader.array().ok()?;
        let len = reader.u32().ok()?;
        let check: Check = reader.array().ok()?;
        let begin = self.end + RECORD_HEADER_BYTES as u64;
        // A length from damaged bytes is not believed further than the file goes.
        let file_len = self.file.metadata().ok()?.len();
        if magic != RECORD_MAGIC || begin + u64::from(len) > file_len {
            return None;
        }
        let mut payload = vec![0; len as usize];
        read_at(&self.file, &mut payload, begin).ok()?;
        (check == check_record(self.check, &payload)).then_some((payload, check))
    }
}

fn check_header(header: &[u8]) -> Check {
    let mut check = Check::default();
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 journal header");
    hasher.update(header).finalize_xof().fill(&mut check);
    check
}

fn check_record(before: Check, payload: &[u8]) -> Check {
    let mut check = Check::default();
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 journal record");
    hasher.update(&before).update(payload).finalize_xof().fill(&mut check);
    check
}

fn length(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::invalid("a batch is too large for the journal"))
}

const INSERT: u8 = 0;
const REPLACE: u8 = 1;
const REMOVE: u8 = 2;

fn encode(ops: &[Op], payload: &mut Vec<u8>) -> Result<()> {
    for op in ops {
        let (tag, value) = match op {
            Op::Insert(record) => (INSERT, Some(&record.value)),
            Op::Replace(record) => (REPLACE, Some(&record.value)),
            Op::Remove(_) => (REMOVE, None),
        };
        payload.push(tag);
        payload.extend_from_slice(&length(op.key().len())?.to_le_bytes());
        payload.extend_from_slice(op.key());
        if let Some(value) = value {
            payload.extend_from_slice(&length(value.len())?.to_le_bytes());
            payload.extend_from_slice(value);
        }
    }
    Ok(())
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
        let mut journal = Journal::open(directory).unwrap();
        std::iter::from_fn(|| journal.read_next().unwrap()).collect()
    }

    #[test]
    fn what_was_written_is_done_again_until_the_journal_begins_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        assert!(journal.read_next().unwrap().is_none() && journal.is_empty());
        for number in 0..5 {
            journal.write(&ops(number)).unwrap();
        }
        assert_eq!(reopen(directory.path()), (0..5).map(ops).collect::<Vec<_>>());
        journal.begin_again().unwrap();
        assert!(reopen(directory.path()).is_empty());
        journal.write(&ops(9)).unwrap();
        // Whole records of the round before stand behind it.
        assert_eq!(reopen(directory.path()), [ops(9)]);
    }

    #[test]
    fn no_byte_of_a_record_is_left_in_a_journal_that_was_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for cleared_by_the_next in [false, true] {
            let mut journal = Journal::open(path).unwrap();
            journal.write(&ops(7)).unwrap();
            journal.begin_again().unwrap();
            if cleared_by_the_next {
                journal = Journal::open(path).unwrap();
            }
            let bytes = || std::fs::read(path.join(JOURNAL_FILE)).unwrap();
            assert!(bytes()[HEADER_BYTES..].starts_with(&RECORD_MAGIC));
            journal.clear().unwrap();
            let bytes = bytes();
            assert_eq!(bytes.len() as u64, PREPARED_BYTES);
            assert!(bytes[HEADER_BYTES..].iter().all(|byte| *byte == 0));
            assert!(reopen(path).is_empty());
            journal.write(&ops(8)).unwrap();
            assert_eq!(reopen(path), [ops(8)]);
            journal.begin_again().unwrap();
            journal.clear().unwrap();
        }
    }

    #[test]
    fn a_torn_record_ends_the_journal() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        journal.write(&ops(1)).unwrap();
        let whole = journal.end;
        journal.write(&ops(2)).unwrap();
        for at in [whole, whole + 4, whole + 20, whole + 500, journal.end - 1] {
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

    /// The header of a new round is lost by a power cut while its first record is not: the old
    /// header must not take the new record, nor old records a new one of the same length.
    #[test]
    fn records_of_an_earlier_round_never_follow_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path()).unwrap();
        let mut header = [0; HEADER_BYTES];
        read_at(&journal.file, &mut header, 0).unwrap();
        for number in 0..3 {
            journal.write(&ops(number)).unwrap();
        }
        journal.begin_again().unwrap();
        journal.write(&ops(7)).unwrap();
        write_at(&journal.file, &header, 0).unwrap();
        assert!(reopen(directory.path()).is_empty());
        let mut journal = Journal::open(directory.path()).unwrap();
        assert!(journal.read_next().unwrap().is_none());
        journal.begin_again().unwrap();
        journal.write(&ops(8)).unwrap();
        assert_eq!(reopen(directory.path()), [ops(8)]);
    }

    #[test]
    fn a_journal_of_a_newer_version_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let journal = Journal::open(directory.path()).unwrap();
        let mut header = HEADER_MAGIC.to_vec();
        header.extend_from_slice(&9_u32.to_le_bytes());
        header.extend_from_slice(&[0; 16]);
        header.extend_from_slice(&check_header(&header));
        write_at(&journal.file, &header, 0).unwrap();
        let error = Journal::open(directory.path()).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::NewerFormat { found: 9, supported: 1 });
    }
}
