//! Blobs as files: plain behind one byte, or sealed in segments, so that neither writing nor
//! reading one takes more memory than a segment.
//!
//! The segments are a STREAM: the nonce of each holds its number and whether it is the last, so
//! none can be left out, moved or cut off unseen.

use std::io::{self, Read, Write};

use super::cipher::{NONCE_BYTES, TAG_BYTES, random};
use super::key::SessionKey;
use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::limits::SEALED_SEGMENT_BYTES;

/// The first byte of a file whose blob follows as it is.
pub(crate) const PLAIN: u8 = 0;
/// The first byte of a sealed one.
const SEALED: u8 = 1;
const MAGIC: [u8; 8] = *b"SLblob1\0";
/// What the nonces of one file begin with: the rest is a number (u32) and the mark of the last.
const NONCE_PREFIX_BYTES: usize = NONCE_BYTES - 5;
/// First byte, magic, session, generation of its key, beginning of the nonces.
const HEADER_BYTES: usize = 1 + MAGIC.len() + 16 + 4 + NONCE_PREFIX_BYTES;
const SEALED_BYTES: usize = SEALED_SEGMENT_BYTES + TAG_BYTES;

/// The name of a blob's file: its digest, or under a key a hash of it that nobody can compare
/// with that of a known content. Under one key, the same content has the same name.
pub(crate) fn blob_name(key: Option<&SessionKey>, digest: [u8; 32]) -> [u8; 32] {
    key.map_or(digest, |key| blake3::keyed_hash(&key.blob_names().0, &digest).into())
}

/// What stands before the segments of a sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlobHeader {
    bytes: [u8; HEADER_BYTES],
    session: Digest,
    generation: u32,
    nonce_prefix: [u8; NONCE_PREFIX_BYTES],
}

/// Reads the beginning of a file: whose key it takes to read the rest, or that the rest is
/// plain (`None`).
pub(crate) fn read_header(reader: &mut impl Read) -> Result<Option<BlobHeader>> {
    let mut bytes = [0; HEADER_BYTES];
    let Some((form, rest)) = bytes.split_first_mut() else { return Ok(None) };
    read_exact(reader, std::slice::from_mut(form))?;
    match *form {
        PLAIN => return Ok(None),
        SEALED => read_exact(reader, rest)?,
        other => return Err(Error::corrupt(format!("unknown form of a blob: {other}"))),
    }
    let mut fields = Reader::new(rest);
    if fields.array()? != MAGIC {
        return Err(Error::corrupt("no sealed blob begins here"));
    }
    let (session, generation) = (Digest(fields.array()?), fields.u32()?);
    let nonce_prefix = fields.array()?;
    Ok(Some(BlobHeader { bytes, session, generation, nonce_prefix }))
}

impl BlobHeader {
    fn new(session: Digest, key: &SessionKey) -> Result<Self> {
        let (generation, nonce_prefix) = (key.generation(), random()?);
        let mut bytes = [0; HEADER_BYTES];
        let fields: [&[u8]; 5] = [
            &[SEALED],
            &MAGIC,
            &session.to_bytes(),
            &generation.to_le_bytes(),
            nonce_prefix.as_slice(),
        ];
        for (place, byte) in bytes.iter_mut().zip(fields.concat()) {
            *place = byte;
        }
        Ok(Self { bytes, session, generation, nonce_prefix })
    }

    /// The session whose key it takes.
    pub(crate) fn session(&self) -> Digest {
        self.session
    }
}

/// One file's segments, in order.
#[derive(Debug)]
struct Segments {
    key: SessionKey,
    header: BlobHeader,
    next: u32,
}

impl Segments {
    fn new(key: &SessionKey, header: BlobHeader) -> Self {
        Self { key: key.clone(), header, next: 0 }
    }

    fn nonce(&mut self, is_last: bool) -> Result<[u8; NONCE_BYTES]> {
        let mut nonce = [0; NONCE_BYTES];
        let number = self.next.to_be_bytes();
        let last = [u8::from(is_last)];
        let parts = self.header.nonce_prefix.iter().chain(&number).chain(&last);
        nonce.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
        self.next =
            self.next.checked_add(1).ok_or_else(|| Error::invalid("too large to be sealed"))?;
        Ok(nonce)
    }

    fn seal(&mut self, segment: &mut Vec<u8>, is_last: bool) -> Result<()> {
        let nonce = self.nonce(is_last)?;
        self.key.blobs().seal(nonce, &self.header.bytes, segment, 0)
    }

    fn open(&mut self, segment: &mut Vec<u8>, is_last: bool) -> Result<()> {
        let nonce = self.nonce(is_last)?;
        if self.key.blobs().open(nonce, &self.header.bytes, segment, 0) {
            return Ok(());
        }
        Err(Error::corrupt("a sealed blob was changed or cut short"))
    }
}

/// Seals what is written to it. [`SealingWriter::finish`] writes the last segment; without it
/// the file cannot be read.
#[derive(Debug)]
pub(crate) struct SealingWriter<W: Write> {
    inner: W,
    segments: Segments,
    /// What the next segment holds so far.
    plain: Vec<u8>,
}

impl<W: Write> SealingWriter<W> {
    /// Writes the header of a sealed file.
    pub(crate) fn new(mut inner: W, session: Digest, key: &SessionKey) -> Result<Self> {
        let header = BlobHeader::new(session, key)?;
        inner.write_all(&header.bytes).map_err(Error::io)?;
        let segments = Segments::new(key, header);
        Ok(Self { inner, segments, plain: Vec::with_capacity(SEALED_BYTES) })
    }

    /// Writes what is left, as the last segment, and gives back what was written to.
    pub(crate) fn finish(mut self) -> Result<W> {
        self.write_segment(true)?;
        self.inner.flush().map_err(Error::io)?;
        Ok(self.inner)
    }

    fn write_segment(&mut self, is_last: bool) -> Result<()> {
        self.segments.seal(&mut self.plain, is_last)?;
        self.inner.write_all(&self.plain).map_err(Error::io)?;
        self.plain.clear();
        Ok(())
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full segment waits for more: only then is it known not to be the last.
        if self.plain.len() == SEALED_SEGMENT_BYTES && !bytes.is_empty() {
            self.write_segment(false).map_err(io::Error::other)?;
        }
        let room = SEALED_SEGMENT_BYTES - self.plain.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.plain.extend_from_slice(taken);
        Ok(taken.len())
    }

    /// A segment that is not full stays here: the file is whole when it is finished.
    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Opens a sealed file, from behind its header. What was read before an error is what was
/// sealed, but not all of it; [`read_error`] tells damage from trouble with the medium.
#[derive(Debug)]
pub(crate) struct OpeningReader<R: Read> {
    inner: R,
    segments: Segments,
    plain: Vec<u8>,
    /// How much of it was handed out.
    read: usize,
    /// The next segment, sealed: the one before it is the last if it is empty.
    ahead: Vec<u8>,
    is_done: bool,
}

impl<R: Read> OpeningReader<R> {
    /// Reads on behind a header that [`read_header`] returned, under its session's key.
    pub(crate) fn new(mut inner: R, header: BlobHeader, key: &SessionKey) -> Result<Self> {
        if header.generation != key.generation() {
            let reason = format!("the key of {} that it takes was destroyed", header.session);
            return Err(Error::key(reason));
        }
        let ahead = read_segment(&mut inner).map_err(Error::io)?;
        let segments = Segments::new(key, header);
        Ok(Self { inner, segments, plain: Vec::new(), read: 0, ahead, is_done: false })
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let following = if self.ahead.len() == SEALED_BYTES {
            read_segment(&mut self.inner)?
        } else {
            Vec::new()
        };
        let is_last = following.is_empty();
        self.plain = std::mem::replace(&mut self.ahead, following);
        self.read = 0;
        if let Err(error) = self.segments.open(&mut self.plain, is_last) {
            // Nothing of it may be handed out, now or by reading on.
            self.plain.clear();
            self.ahead.clear();
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        self.is_done = is_last;
        Ok(())
    }
}

impl<R: Read> Read for OpeningReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.plain.len() && !self.is_done {
            self.next_segment()?;
        }
        let mut rest = self.plain.get(self.read..).unwrap_or_default();
        let read = rest.read(out)?;
        self.read += read;
        Ok(read)
    }
}

/// The error behind one that reading a sealed file ended in.
pub(crate) fn read_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io(error),
    }
}

/// The next sealed segment; shorter, or empty, at the end.
fn read_segment(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut segment = Vec::with_capacity(SEALED_BYTES);
    reader.take(SEALED_BYTES as u64).read_to_end(&mut segment)?;
    Ok(segment)
}

fn read_exact(reader: &mut impl Read, bytes: &mut [u8]) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => Error::corrupt("a blob's file is cut short"),
        _ => Error::io(error),
    })
}
