//! Writes a packed file from records in the order of their keys.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::PackId;
use super::block::{pack, push_record};
use super::index::{BlockPlace, HEADER_BYTES, ending, header};
use crate::error::{Error, Result};
use crate::log::Record;

/// A block is full once it holds so many bytes, one record beyond it. A read of one record costs
/// a block; a larger block compresses better.
const BLOCK_BYTES: usize = 32 * 1024;

/// A packed file that is being written. Until [`PackWriter::finish`] returns it is none.
pub(in crate::log::sled) struct PackWriter {
    file: BufWriter<File>,
    id: PackId,
    /// Bytes that are written.
    len: u64,
    /// The records of the block that is being filled, and the first of their keys.
    records: Vec<u8>,
    first_key: Vec<u8>,
    blocks: Vec<BlockPlace>,
}

impl PackWriter {
    pub(in crate::log::sled) fn create(directory: &Path, id: PackId) -> Result<Self> {
        // As narrow as can be until somebody says who may read it.
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let file = options.open(id.path_in(directory)).map_err(Error::io)?;
        let mut writer = Self {
            file: BufWriter::new(file),
            id,
            len: 0,
            records: Vec::new(),
            first_key: Vec::new(),
            blocks: Vec::new(),
        };
        writer.write(&header(id))?;
        debug_assert_eq!(writer.len, HEADER_BYTES as u64);
        Ok(writer)
    }

    /// Adds a record, whose key lies behind those before it.
    pub(in crate::log::sled) fn push(&mut self, record: &Record) -> Result<()> {
        if self.records.is_empty() {
            self.first_key.clone_from(&record.key);
        }
        push_record(&mut self.records, record)?;
        if self.records.len() >= BLOCK_BYTES {
            self.end_block()?;
        }
        Ok(())
    }

    /// Ends the file. It is on disk then, its name is not.
    pub(in crate::log::sled) fn finish(mut self) -> Result<()> {
        self.end_block()?;
        let ending = ending(self.id, self.len, &self.blocks)?;
        self.write(&ending)?;
        self.file.flush().map_err(Error::io)?;
        self.file.get_ref().sync_all().map_err(Error::io)
    }

    fn end_block(&mut self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let (offset, block) = (self.len, pack(self.id, self.len, &self.records)?);
        let len = u32::try_from(block.len())
            .map_err(|_| Error::invalid("a record is too large to be packed"))?;
        self.write(&block)?;
        let first_key = std::mem::take(&mut self.first_key).into_boxed_slice();
        self.blocks.push(BlockPlace { first_key, offset, len });
        self.records.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io)?;
        self.len += bytes.len() as u64;
        Ok(())
    }
}
