//! The two ends of a packed file: its header, and behind the blocks where each of them lies.

use std::fs::File;

use super::PackId;
use super::block::{BLOCK_HEADER_BYTES, CHECK_BYTES, check, checked, stored_len};
use crate::bytes::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::log::sled::directory::read_at;

const MAGIC: [u8; 4] = *b"SLpk";
/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;
/// Magic, version, id.
pub(super) const HEADER_BYTES: usize = 16;
/// Where the index lies and how long it is, and a check.
const FOOTER_BYTES: usize = 16 + CHECK_BYTES;

/// Where a block lies.
#[derive(Debug)]
pub(super) struct BlockPlace {
    pub(super) first_key: Box<[u8]>,
    pub(super) offset: u64,
    pub(super) len: u32,
}

pub(super) fn header(id: PackId) -> Vec<u8> {
    [&MAGIC[..], &VERSION.to_le_bytes(), &id.0.to_le_bytes()].concat()
}

/// The index of these blocks and the footer, to lie at an offset.
pub(super) fn ending(id: PackId, offset: u64, blocks: &[BlockPlace]) -> Result<Vec<u8>> {
    let mut index = Vec::new();
    for block in blocks {
        let key_len = u16::try_from(block.first_key.len())
            .map_err(|_| Error::invalid("a key is too long to be packed"))?;
        index.extend_from_slice(&key_len.to_le_bytes());
        index.extend_from_slice(&block.first_key);
        index.extend_from_slice(&block.offset.to_le_bytes());
        index.extend_from_slice(&block.len.to_le_bytes());
    }
    index.extend_from_slice(&check(id, offset, &index));
    let mut footer = offset.to_le_bytes().to_vec();
    footer.extend_from_slice(&(index.len() as u64).to_le_bytes());
    let footer_at = offset + index.len() as u64;
    footer.extend_from_slice(&check(id, footer_at, &footer));
    index.extend_from_slice(&footer);
    Ok(index)
}

/// Where blocks lie in a file that lost its index, as far as they say themselves how long they
/// are. Nothing here says yet that they are whole, nor which keys they have.
pub(super) fn walk(file: &File) -> Result<Vec<BlockPlace>> {
    let len = file.metadata().map_err(Error::io)?.len();
    let (mut places, mut offset) = (Vec::new(), HEADER_BYTES as u64);
    while offset + BLOCK_HEADER_BYTES as u64 <= len {
        let header = read_bytes(file, offset, BLOCK_HEADER_BYTES);
        // Where the next one begins is not known without this.
        let Ok(block_len) = header.and_then(|header| stored_len(&header)) else { break };
        if u64::from(block_len) > len - offset {
            break;
        }
        places.push(BlockPlace { first_key: Box::default(), offset, len: block_len });
        offset += u64::from(block_len);
    }
    Ok(places)
}

/// Where the blocks of a packed file lie.
pub(super) fn read(file: &File, id: PackId) -> Result<Vec<BlockPlace>> {
    let len = file.metadata().map_err(Error::io)?.len();
    let Some(footer_at) = len.checked_sub(FOOTER_BYTES as u64) else {
        return Err(Error::corrupt("it is too short"));
    };
    check_header(&read_bytes(file, 0, HEADER_BYTES)?, id)?;
    let footer = read_bytes(file, footer_at, FOOTER_BYTES)?;
    let mut reader = Reader::new(checked(id, footer_at, &footer)?);
    let (index_at, index_len) = (reader.u64()?, reader.u64()?);
    // It ends at the footer, so its length is bounded by the file's.
    if index_at.checked_add(index_len) != Some(footer_at) {
        return Err(Error::corrupt("its index does not lie where it should"));
    }
    let index_len = usize::try_from(index_len).map_err(|_| Error::corrupt("it is too large"))?;
    let index = read_bytes(file, index_at, index_len)?;
    places(checked(id, index_at, &index)?, index_at)
}

fn places(index: &[u8], index_at: u64) -> Result<Vec<BlockPlace>> {
    let mut places = Vec::new();
    let mut reader = Reader::new(index);
    let mut offset = HEADER_BYTES as u64;
    while offset < index_at {
        let key_len = reader.u16()?;
        let first_key = reader.slice(usize::from(key_len))?.into();
        let place = BlockPlace { first_key, offset: reader.u64()?, len: reader.u32()? };
        if place.offset != offset {
            return Err(Error::corrupt("its blocks do not lie behind one another"));
        }
        offset += u64::from(place.len);
        places.push(place);
    }
    if offset == index_at && reader.rest().is_empty() {
        Ok(places)
    } else {
        Err(Error::corrupt("its blocks do not lie behind one another"))
    }
}

fn check_header(header: &[u8], id: PackId) -> Result<()> {
    let mut reader = Reader::new(header);
    let (magic, found) = (reader.array()?, reader.u32()?);
    if magic != MAGIC {
        return Err(Error::corrupt("it is no packed file"));
    }
    if found > VERSION {
        return Err(Error::new(ErrorKind::NewerFormat { found, supported: VERSION }));
    }
    if found != VERSION || reader.u64()? != id.0 {
        return Err(Error::corrupt("its header is not the one it was written with"));
    }
    Ok(())
}

fn read_bytes(file: &File, at: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    read_at(file, &mut bytes, at).map_err(Error::io)?;
    Ok(bytes)
}
