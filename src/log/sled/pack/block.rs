//! A block: some records behind one another, compressed where that pays, with a check.

use std::ops::Bound;

use lz4_flex::block as lz4;

use super::PackId;
use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::log::{Order, Range, Record};

/// In front of a block's records: its form, and how long they are packed and unpacked.
pub(super) const BLOCK_HEADER_BYTES: usize = 9;
const AS_IT_IS: u8 = 0;
const LZ4: u8 = 1;
/// lz4 never makes one byte into more than so many.
const UNPACKED_FACTOR_MAX: usize = 255;
pub(super) const CHECK_BYTES: usize = 16;

/// Puts a record behind others.
pub(super) fn push_record(records: &mut Vec<u8>, record: &Record) -> Result<()> {
    let Record { key, value } = record;
    let too_large = |_| Error::invalid("a record is too large to be packed");
    records.extend_from_slice(&u16::try_from(key.len()).map_err(too_large)?.to_le_bytes());
    records.extend_from_slice(&u32::try_from(value.len()).map_err(too_large)?.to_le_bytes());
    records.extend_from_slice(key);
    records.extend_from_slice(value);
    Ok(())
}

/// The bytes of a block that is to lie at an offset.
pub(super) fn pack(id: PackId, offset: u64, records: &[u8]) -> Result<Vec<u8>> {
    let length = |bytes: &[u8]| {
        u32::try_from(bytes.len()).map_err(|_| Error::invalid("a record is too large to be packed"))
    };
    let packed = lz4::compress(records);
    let (form, body) =
        if packed.len() < records.len() { (LZ4, &*packed) } else { (AS_IT_IS, records) };
    let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + body.len() + CHECK_BYTES);
    block.push(form);
    block.extend_from_slice(&length(body)?.to_le_bytes());
    block.extend_from_slice(&length(records)?.to_le_bytes());
    block.extend_from_slice(body);
    block.extend_from_slice(&check(id, offset, &block));
    Ok(block)
}

/// Covers where the bytes lie too, so that whole blocks cannot change places.
pub(super) fn check(id: PackId, offset: u64, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 pack");
    hasher.update(&id.0.to_le_bytes()).update(&offset.to_le_bytes()).update(bytes);
    hasher.finalize_xof().fill(&mut check);
    check
}

/// Takes the check from the end of bytes that lie at an offset.
pub(super) fn checked(id: PackId, offset: u64, bytes: &[u8]) -> Result<&[u8]> {
    match bytes.split_last_chunk() {
        Some((covered, found)) if check(id, offset, covered) == *found => Ok(covered),
        _ => Err(Error::corrupt("a checksum does not fit")),
    }
}

/// The length of a block that begins so; the block says it itself, for where the index is lost.
pub(super) fn stored_len(header: &[u8]) -> Result<u32> {
    let mut reader = Reader::new(header);
    reader.u8()?;
    let len = BLOCK_HEADER_BYTES + reader.u32()? as usize + CHECK_BYTES;
    u32::try_from(len).map_err(|_| Error::corrupt("a block is too long"))
}

/// A block, unpacked.
#[derive(Debug)]
pub(super) struct Block {
    records: Vec<u8>,
    /// In the order of their keys.
    places: Vec<Place>,
}

/// Where a record's key and value lie. The value ends where it ends, and begins behind the key.
#[derive(Debug, Clone, Copy)]
struct Place {
    key: usize,
    value: usize,
    end: usize,
}

impl Block {
    pub(super) fn unpack(id: PackId, offset: u64, stored: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(checked(id, offset, stored)?);
        let (form, packed_len, len) = (reader.u8()?, reader.u32()?, reader.u32()? as usize);
        let body = reader.rest();
        let unpacked = || Error::corrupt("a block does not unpack");
        let records = match form {
            AS_IT_IS => body.to_vec(),
            LZ4 if len / UNPACKED_FACTOR_MAX <= body.len() => {
                lz4::decompress(body, len).map_err(|_| unpacked())?
            }
            _ => return Err(unpacked()),
        };
        if records.len() != len || body.len() != packed_len as usize {
            return Err(unpacked());
        }
        let places = places(&records)?;
        Ok(Self { records, places })
    }

    /// Bytes that it takes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.records.len() + self.places.len() * size_of::<Place>()
    }

    /// The first of its keys.
    pub(super) fn first_key(&self) -> Option<&[u8]> {
        self.places.first().map(|place| self.key(place))
    }

    /// The value of a key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&[u8]> {
        let found = self.places.binary_search_by(|place| self.key(place).cmp(key)).ok()?;
        self.places.get(found).map(|place| self.value(place))
    }

    /// Its records in a range, in the range's order.
    pub(super) fn records(&self, range: &Range) -> Box<dyn Iterator<Item = Record> + '_> {
        let begin = self.places.partition_point(|place| match &range.from {
            Bound::Included(from) => self.key(place) < from.as_slice(),
            Bound::Excluded(from) => self.key(place) <= from.as_slice(),
            Bound::Unbounded => false,
        });
        let end = self.places.partition_point(|place| match &range.until {
            Bound::Included(until) => self.key(place) <= until.as_slice(),
            Bound::Excluded(until) => self.key(place) < until.as_slice(),
            Bound::Unbounded => true,
        });
        let places = self.places.get(begin..end).unwrap_or_default().iter();
        let record = |place: &Place| Record {
            key: self.key(place).to_vec(),
            value: self.value(place).to_vec(),
        };
        match range.order {
            Order::Ascending => Box::new(places.map(record)),
            Order::Descending => Box::new(places.rev().map(record)),
        }
    }

    fn key(&self, place: &Place) -> &[u8] {
        self.records.get(place.key..place.value).unwrap_or_default()
    }

    fn value(&self, place: &Place) -> &[u8] {
        self.records.get(place.value..place.end).unwrap_or_default()
    }
}

fn places(records: &[u8]) -> Result<Vec<Place>> {
    let (mut places, mut at) = (Vec::new(), 0);
    let mut reader = Reader::new(records);
    while at < records.len() {
        let (key_len, value_len) = (usize::from(reader.u16()?), reader.u32()? as usize);
        reader.slice(key_len)?;
        reader.slice(value_len)?;
        let key = at + size_of::<u16>() + size_of::<u32>();
        let value = key + key_len;
        at = value + value_len;
        places.push(Place { key, value, end: at });
    }
    Ok(places)
}
