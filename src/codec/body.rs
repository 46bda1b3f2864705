//! Bodies: an rkyv archive, compressed where that pays.

use lz4_flex::block;
use rkyv::util::AlignedVec;

use crate::bytes::Reader;
use crate::error::{Error, ErrorKind, Result, check_limit};
use crate::event::{EventBody, EventKind};
use crate::limits::EVENT_BYTES_MAX;

/// The schema version that is written. A reader finds the archived type by it.
const SCHEMA_VERSION: u16 = 1;

/// The body's first byte: the archive follows as it is.
const PLAIN: u8 = 0;
/// The body's first byte: the archive's length (u32) and an LZ4 block of it follow.
const LZ4: u8 = 1;
/// In the header's flags, kept free for bodies that are sealed under a key.
const FLAG_SEALED: u16 = 1;

/// Shorter bodies are not worth the try.
const COMPRESS_BYTES_MIN: usize = 192;

/// A body as it will be stored.
#[derive(Debug)]
pub(crate) struct EncodedBody {
    pub(crate) kind: EventKind,
    pub(crate) schema_version: u16,
    pub(crate) bytes: Vec<u8>,
}

impl EncodedBody {
    pub(crate) fn encode(body: &EventBody) -> Result<Self> {
        let archive = body.archive()?;
        check_limit("event in bytes", archive.len(), EVENT_BYTES_MAX)?;
        let bytes = compress(&archive).unwrap_or_else(|| [&[PLAIN], archive.as_slice()].concat());
        Ok(Self { kind: body.kind(), schema_version: SCHEMA_VERSION, bytes })
    }
}

/// The compressed form, where it saves at least an eighth.
fn compress(plain: &[u8]) -> Option<Vec<u8>> {
    if plain.len() < COMPRESS_BYTES_MIN {
        return None;
    }
    let block = block::compress(plain);
    if block.len() + 4 > plain.len() - plain.len() / 8 {
        return None;
    }
    let len = u32::try_from(plain.len()).ok()?;
    Some([&[LZ4], len.to_le_bytes().as_slice(), &block].concat())
}

/// Reads a body back. Bytes from outside: every length is checked before it is believed.
pub(crate) fn decode(
    kind: EventKind,
    schema_version: u16,
    flags: u16,
    stored: &[u8],
) -> Result<EventBody> {
    if flags & FLAG_SEALED != 0 || schema_version > SCHEMA_VERSION {
        let found = u32::from(schema_version.max(SCHEMA_VERSION + 1));
        return Err(Error::new(ErrorKind::NewerFormat { found, supported: SCHEMA_VERSION.into() }));
    }
    let mut reader = Reader::new(stored);
    let archive = match reader.u8()? {
        PLAIN => aligned(reader.rest()),
        LZ4 => decompress(reader)?,
        other => return Err(Error::corrupt(format!("unknown body encoding {other}"))),
    };
    EventBody::unarchive(kind, &archive)
}

/// rkyv reads its archive in place, which wants it aligned.
fn aligned(bytes: &[u8]) -> AlignedVec {
    let mut archive = AlignedVec::with_capacity(bytes.len());
    archive.extend_from_slice(bytes);
    archive
}

fn decompress(mut reader: Reader<'_>) -> Result<AlignedVec> {
    let len = reader.u32()? as usize;
    if len > EVENT_BYTES_MAX {
        return Err(Error::corrupt(format!("a body of {len} bytes is over the limit")));
    }
    let mut plain = AlignedVec::new();
    plain.resize(len, 0);
    match block::decompress_into(reader.rest(), &mut plain) {
        Ok(written) if written == len => Ok(plain),
        Ok(written) => {
            Err(Error::corrupt(format!("a body of {written} bytes where {len} were stored")))
        }
        Err(error) => Err(Error::corrupt(format!("compressed body: {error}"))),
    }
}

/// Another crate of the same build could change rkyv's format through its features. Then this
/// does not compile, which is better than a database that nobody else can read.
const _: () = {
    const fn is_little_endian(_: rkyv::rend::u32_le) {}
    const _: fn(rkyv::Archived<u32>) = is_little_endian;
    assert!(size_of::<rkyv::Archived<usize>>() == 4);
    assert!(align_of::<rkyv::Archived<u64>>() == 8);
};
