//! The frame: a header of fixed fields, and a body that may leave without breaking the chain.

use super::body::EncodedBody;
use super::hash::{Commitment, Link};
use crate::bytes::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Digest, EventId};

const MAGIC: [u8; 4] = *b"SLog";
const FRAME_VERSION: u16 = 1;

/// The header's fields: name, first byte, bytes. `docs/FORMAT.md` shows this table, and a test
/// compares the two.
#[cfg(test)]
pub(super) const HEADER_FIELDS: &[(&str, usize, usize)] = &[
    ("magic", 0, 4),
    ("frame version", 4, 2),
    ("kind", 6, 2),
    ("schema version", 8, 2),
    ("flags", 10, 2),
    ("commit index", 12, 4),
    ("commit length", 16, 4),
    ("body length", 20, 4),
    ("seq", 24, 8),
    ("recorded at", 32, 8),
    ("log id", 40, 16),
    ("session", 56, 16),
    ("event id", 72, 16),
    ("run", 88, 16),
    ("actor", 104, 16),
    ("previous link", 120, 32),
    ("body commitment", 152, 32),
];

/// The frame around the header: name, first byte, bytes; the body takes the rest.
#[cfg(test)]
pub(super) const FRAME_FIELDS: &[(&str, usize, usize)] = &[
    ("header", 0, HEADER_BYTES),
    ("position", HEADER_BYTES, 8),
    ("check", HEADER_BYTES + 8, 8),
    ("body form", HEADER_BYTES + 16, 1),
    ("salt", HEADER_BYTES + 17, 16),
];

pub(crate) const HEADER_BYTES: usize = 184;
/// Where the salt begins. What is before it says nothing of the body.
#[cfg(feature = "seal")]
pub(crate) const CLEAR_BYTES: usize = HEADER_BYTES + 17;

/// Bytes of a frame without its body.
pub(crate) const FRAME_BYTES_MIN: usize = HEADER_BYTES + 33;

/// What every later event of the session commits to. Nothing personal stands in it: names are
/// digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: u16,
    pub(crate) schema_version: u16,
    pub(crate) flags: u16,
    pub(crate) commit_index: u32,
    pub(crate) commit_len: u32,
    pub(crate) body_len: u32,
    pub(crate) seq: u64,
    pub(crate) recorded_at_us: i64,
    pub(crate) log_id: [u8; 16],
    pub(crate) session: Digest,
    pub(crate) event_id: EventId,
    pub(crate) run: Digest,
    pub(crate) actor: Digest,
    pub(crate) previous: Link,
    pub(crate) commitment: Commitment,
}

impl Header {
    /// The canonical bytes: what is stored and what the link is the hash of.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FRAME_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.kind.to_le_bytes());
        bytes.extend_from_slice(&self.schema_version.to_le_bytes());
        bytes.extend_from_slice(&self.flags.to_le_bytes());
        bytes.extend_from_slice(&self.commit_index.to_le_bytes());
        bytes.extend_from_slice(&self.commit_len.to_le_bytes());
        bytes.extend_from_slice(&self.body_len.to_le_bytes());
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.recorded_at_us.to_le_bytes());
        bytes.extend_from_slice(&self.log_id);
        bytes.extend_from_slice(&self.session.to_bytes());
        bytes.extend_from_slice(&self.event_id.to_bytes());
        bytes.extend_from_slice(&self.run.to_bytes());
        bytes.extend_from_slice(&self.actor.to_bytes());
        bytes.extend_from_slice(&self.previous.0);
        bytes.extend_from_slice(&self.commitment.0);
        debug_assert!(bytes.len() == HEADER_BYTES);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        if reader.array()? != MAGIC {
            return Err(Error::corrupt("no frame begins here"));
        }
        let version = reader.u16()?;
        if version > FRAME_VERSION {
            let kind =
                ErrorKind::NewerFormat { found: version.into(), supported: FRAME_VERSION.into() };
            return Err(Error::new(kind));
        }
        Ok(Self {
            kind: reader.u16()?,
            schema_version: reader.u16()?,
            flags: reader.u16()?,
            commit_index: reader.u32()?,
            commit_len: reader.u32()?,
            body_len: reader.u32()?,
            seq: reader.u64()?,
            recorded_at_us: reader.i64()?,
            log_id: reader.array()?,
            session: Digest(reader.array()?),
            event_id: EventId::from_bytes(reader.array()?),
            run: Digest(reader.array()?),
            actor: Digest(reader.array()?),
            previous: Link(reader.array()?),
            commitment: Commitment(reader.array()?),
        })
    }
}

/// Whether the body is the one the header commits to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BodyForm {
    /// As first stored.
    Original = 0,
    /// Another body stands there; an event of the session names its commitment.
    Replaced = 1,
    /// Salt and body are gone.
    Removed = 2,
}

/// A frame as it lies in the log. The body borrows from the stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) header: Header,
    pub(crate) link: Link,
    /// Its place in the whole log. Outside the header: a log that takes over the events of
    /// another has places of its own.
    pub(crate) position: u64,
    pub(crate) form: BodyForm,
    pub(crate) salt: [u8; 16],
    pub(crate) body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Seals a header whose `commitment` and `body_len` already fit the body.
    pub(crate) fn new(header: Header, position: u64, salt: [u8; 16], body: &'a [u8]) -> Self {
        let link = Link::of_header(&header.to_bytes());
        Self { header, link, position, form: BodyForm::Original, salt, body }
    }

    /// The bytes to store.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header.to_bytes();
        bytes.reserve(33 + self.body.len());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        let form = self.form as u8;
        let replaced = replaced_commitment(form, &self.salt, self.body);
        bytes.extend_from_slice(&self.link.check(self.position, form, &self.salt, replaced));
        bytes.push(self.form as u8);
        bytes.extend_from_slice(&self.salt);
        bytes.extend_from_slice(self.body);
        bytes
    }

    /// Reads a frame and checks all that it can show by itself: the header against its link
    /// check, the body against its commitment, and that it is the frame that was asked for.
    pub(crate) fn open(bytes: &'a [u8], session: Digest, seq: u64) -> Result<Self> {
        let frame = Self::parse(bytes)?;
        if frame.header.session != session || frame.header.seq != seq {
            return Err(Error::corrupt(format!(
                "the frame of session {} seq {} lies here",
                frame.header.session, frame.header.seq
            )));
        }
        frame.check_body()?;
        Ok(frame)
    }

    /// Reads a frame and checks its header only.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header_bytes = reader.slice(HEADER_BYTES)?;
        let header = Header::parse(header_bytes)?;
        let link = Link::of_header(header_bytes);
        let position = reader.u64()?;
        let check: [u8; 8] = reader.array()?;
        let form = reader.u8()?;
        let salt = reader.array()?;
        let body = reader.rest();
        let replaced = replaced_commitment(form, &salt, body);
        if check != link.check(position, form, &salt, replaced) {
            let what = if replaced.is_some() { "the header or the body" } else { "the header" };
            return Err(Error::corrupt(format!("{what} was changed")));
        }
        let form = match form {
            0 => BodyForm::Original,
            1 => BodyForm::Replaced,
            2 => BodyForm::Removed,
            other => return Err(Error::corrupt(format!("unknown body form {other}"))),
        };
        Ok(Self { header, link, position, form, salt, body })
    }

    /// A stored frame without its salt and body, for who cannot read them: its header keeps its
    /// place in the chain. Under any form but `Removed` it reads as damaged.
    #[cfg(feature = "seal")]
    pub(crate) fn bodiless(bytes: &'a [u8], form: BodyForm) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let header_bytes = reader.slice(HEADER_BYTES)?;
        let (header, link) = (Header::parse(header_bytes)?, Link::of_header(header_bytes));
        Ok(Self { header, link, position: reader.u64()?, form, salt: [0; 16], body: &[] })
    }

    fn check_body(&self) -> Result<()> {
        match self.form {
            BodyForm::Original => {
                if self.body.len() != self.header.body_len as usize
                    || Commitment::to(&self.salt, self.body) != self.header.commitment
                {
                    return Err(Error::corrupt("the body was changed"));
                }
            }
            // Its check covers it; which event names it is for `verify` to find.
            BodyForm::Replaced => {}
            BodyForm::Removed => {
                if !self.body.is_empty() || self.salt != [0; 16] {
                    return Err(Error::corrupt("something stands where a body was removed"));
                }
            }
        }
        Ok(())
    }

    /// The commitment to what stands there now.
    pub(crate) fn present_commitment(&self) -> Commitment {
        Commitment::to(&self.salt, self.body)
    }

    /// The same event with another body. Header and link stay, so the chain holds; an event
    /// that names [`Frame::present_commitment`] of the result must already be in the log.
    pub(crate) fn with_body(self, salt: [u8; 16], body: &'a EncodedBody) -> Result<Self> {
        // A reader takes the schema from the header, which cannot change any more.
        if body.schema_version != self.header.schema_version {
            return Err(Error::invalid(
                "a replacement must have the schema of the body it replaces",
            ));
        }
        Ok(Self { form: BodyForm::Replaced, salt, body: &body.bytes, ..self })
    }

    /// The same event without its body.
    pub(crate) fn without_body(self) -> Self {
        Self { form: BodyForm::Removed, salt: [0; 16], body: &[], ..self }
    }
}

/// What the check covers besides, of a body that the header does not commit to.
fn replaced_commitment(form: u8, salt: &[u8; 16], body: &[u8]) -> Option<Commitment> {
    (form == BodyForm::Replaced as u8).then(|| Commitment::to(salt, body))
}
