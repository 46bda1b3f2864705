//! Sealed values: what a record's value becomes on its way into the log, and back.
//!
//! Of a frame the header, the position, the check and the form of the body stay clear, so that
//! the chain can be followed without the key; the form's highest bit says that the rest is
//! sealed. Of the other kinds everything is sealed.

use super::cipher::{NONCE_BYTES, random};
use super::key::SessionKey;
use crate::bytes::Reader;
use crate::codec::{BodyForm, CLEAR_BYTES, Frame, HEADER_BYTES, Header};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::id::Digest;
use crate::log::key::Class;

/// What sealed bytes begin with.
const MAGIC: [u8; 8] = *b"SLseal1\0";
/// Magic, generation of the key, nonce.
const PREFIX_BYTES: usize = MAGIC.len() + 4 + NONCE_BYTES;
/// In the form of a frame's body: salt and body are sealed.
const SEALED_FORM: u8 = 0x80;
/// A value whose first bytes are the magic but for so few bits is a sealed one that was
/// damaged. No value of ours comes that near.
const DAMAGED_BITS_MAX: u32 = 4;

/// Kinds of event that say nothing personal, and what happened to the others when their key is
/// gone.
const CLEAR_KINDS: [EventKind; 4] =
    [EventKind::Deleted, EventKind::PolicySet, EventKind::Compacted, EventKind::Erased];

/// The session a record belongs to, if values of its class are sealed.
pub(super) fn session_of(key: &[u8]) -> Option<Digest> {
    let (class, rest) = key.split_first()?;
    let classes = [Class::Frame, Class::Snapshot, Class::Catalog, Class::Run];
    let is_sealed = classes.iter().any(|sealed| *sealed as u8 == *class);
    rest.first_chunk().filter(|_| is_sealed).map(|session| Digest(*session))
}

/// The session whose key a value must be sealed under; `None` where it stays clear.
pub(super) fn sealed_under(key: &[u8], value: &[u8]) -> Result<Option<Digest>> {
    let Some(session) = session_of(key) else { return Ok(None) };
    if !is_frame(key) {
        return Ok(Some(session));
    }
    let Some(form) = value.get(CLEAR_BYTES - 1).filter(|form| **form & SEALED_FORM == 0) else {
        return Err(Error::invalid("what is to be sealed is no frame"));
    };
    let kind = Header::parse(value)?.kind;
    let is_clear = CLEAR_KINDS.iter().any(|clear| *clear as u16 == kind);
    Ok((!is_clear && *form != BodyForm::Removed as u8).then_some(session))
}

/// Seals a value. The same value is sealed otherwise each time.
pub(super) fn seal(under: &SessionKey, key: &[u8], value: &[u8]) -> Result<Vec<u8>> {
    let clear = clear_bytes(key);
    let (begin, rest) =
        value.split_at_checked(clear).ok_or_else(|| Error::invalid("no frame to be sealed"))?;
    let nonce = random()?;
    let mut sealed = Vec::with_capacity(value.len() + PREFIX_BYTES + 16);
    sealed.extend_from_slice(begin);
    if let Some(form) = sealed.last_mut() {
        *form |= SEALED_FORM;
    }
    sealed.extend_from_slice(&MAGIC);
    sealed.extend_from_slice(&under.generation().to_le_bytes());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(rest);
    let beside = beside(key, begin, under.generation());
    under.values().seal(nonce, &beside, &mut sealed, clear + PREFIX_BYTES)?;
    Ok(sealed)
}

/// Which of the session's keys a stored value is sealed under; `None` for one that is clear.
pub(super) fn generation(key: &[u8], value: &[u8]) -> Result<Option<u32>> {
    if session_of(key).is_none() {
        return Ok(None);
    }
    let damaged = || Err(Error::corrupt("the mark of a sealed value was changed"));
    let mut rest = Reader::new(value.get(clear_bytes(key)..).unwrap_or_default());
    let magic = rest.array::<8>().map_or(u32::MAX, |magic| {
        (u64::from_le_bytes(magic) ^ u64::from_le_bytes(MAGIC)).count_ones()
    });
    let says_so = if is_frame(key) {
        value.get(CLEAR_BYTES - 1).is_some_and(|form| form & SEALED_FORM != 0)
    } else {
        magic <= DAMAGED_BITS_MAX
    };
    match (says_so, magic == 0) {
        (false, false) => Ok(None),
        (true, true) => rest.u32().map(Some),
        _ => damaged(),
    }
}

/// Opens a value that is sealed under that key; one that does not open is left as it was.
pub(super) fn open(under: &SessionKey, key: &[u8], value: &mut Vec<u8>) -> Result<()> {
    let clear = clear_bytes(key);
    let (begin, rest) = value
        .split_at_checked(clear)
        .ok_or_else(|| Error::corrupt("a sealed value is cut short"))?;
    let mut begin = begin.to_vec();
    if let Some(form) = begin.last_mut() {
        *form &= !SEALED_FORM;
    }
    let mut prefix = Reader::new(rest);
    prefix.slice(MAGIC.len() + 4)?;
    let nonce = prefix.array()?;
    let beside = beside(key, &begin, under.generation());
    if !under.values().open(nonce, &beside, value, clear + PREFIX_BYTES) {
        return Err(Error::corrupt("a sealed value was changed, or is another's"));
    }
    value.drain(clear..clear + PREFIX_BYTES);
    if let (Some(form), Some(plain)) = (begin.last(), value.get_mut(CLEAR_BYTES - 1)) {
        *plain = *form;
    }
    Ok(())
}

/// A frame whose sealed part cannot be had: removed, if its key was destroyed, else damaged.
/// One whose header is damaged stays as it is: no reader takes it for a frame. `None` for other
/// values.
pub(super) fn bodiless(key: &[u8], value: &[u8], is_destroyed: bool) -> Option<Vec<u8>> {
    if !is_frame(key) {
        return None;
    }
    let form = if is_destroyed { BodyForm::Removed } else { BodyForm::Original };
    Some(Frame::bodiless(value, form).map_or_else(|_| value.to_vec(), |frame| frame.to_bytes()))
}

fn is_frame(key: &[u8]) -> bool {
    key.first() == Some(&(Class::Frame as u8))
}

/// How many bytes of a value stay clear.
fn clear_bytes(key: &[u8]) -> usize {
    if is_frame(key) { CLEAR_BYTES } else { 0 }
}

/// What a sealed value cannot be moved away from: its key, and of a frame the header and the
/// form of the body. Position and check are the frame's own affair.
fn beside(key: &[u8], clear: &[u8], generation: u32) -> Vec<u8> {
    let header = clear.get(..HEADER_BYTES).unwrap_or_default();
    let form = clear.last().map(std::slice::from_ref).unwrap_or_default();
    [key, &generation.to_le_bytes(), header, form].concat()
}
