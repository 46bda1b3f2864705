//! Writes JSON text with the media in it, as they are read: no medium is in memory as a whole.

use std::io::{Read, Write};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::literal::{inner, reference};
use super::reference::MediaRef;
use super::scan::{Kind, Tokens};
use crate::error::{Error, Result};

/// Bytes that are encoded in one step: a multiple of three, so that no padding falls between.
const STEP_BYTES: usize = 48 * 1024;

/// Opens the bytes that a reference names.
pub(crate) type Open<'a> = dyn FnMut(&MediaRef) -> Result<Box<dyn Read + Send>> + 'a;

/// Writes a JSON text, and in place of each reference in it the string that it stands for.
///
/// # Errors
/// What opening, reading and writing fail with, and
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt) where the bytes are not those that the
/// reference names. What was written by then stays written.
pub(crate) fn write_attached(text: &str, open: &mut Open<'_>, out: &mut dyn Write) -> Result<()> {
    let mut at = 0;
    let literals = Tokens::new(text).filter(|token| token.kind == Kind::Text);
    for token in literals {
        let Some(reference) = reference(inner(text, token)) else { continue };
        // Up to the quote in front and from the one behind on: the quotes stay.
        write(out, text.get(at..token.from + 1))?;
        let bytes = open(&reference)?;
        write_medium(&reference, bytes, out)?;
        at = token.to - 1;
    }
    write(out, text.get(at..))
}

fn write(out: &mut dyn Write, text: Option<&str>) -> Result<()> {
    out.write_all(text.unwrap_or_default().as_bytes()).map_err(Error::io)
}

fn write_medium(
    reference: &MediaRef,
    bytes: Box<dyn Read + Send>,
    out: &mut dyn Write,
) -> Result<()> {
    write(out, Some(&reference.head()))?;
    let differs = || Error::corrupt(format!("stored bytes are not those of {reference}"));
    // One byte more would show that there are too many.
    let mut bytes = bytes.take(reference.size().saturating_add(1));
    let mut hasher = blake3::Hasher::new();
    let (mut step, mut digits) = (Vec::with_capacity(STEP_BYTES), String::new());
    let mut left = reference.size();
    loop {
        step.clear();
        bytes.by_ref().take(STEP_BYTES as u64).read_to_end(&mut step).map_err(Error::io)?;
        if step.is_empty() {
            break;
        }
        left = left.checked_sub(step.len() as u64).ok_or_else(differs)?;
        hasher.update(&step);
        digits.clear();
        BASE64_STANDARD.encode_string(&step, &mut digits);
        write(out, Some(&digits))?;
    }
    let is_whole = left == 0 && *hasher.finalize().as_bytes() == reference.digest();
    if is_whole { Ok(()) } else { Err(differs()) }
}

/// Bytes of the string that a reference stands for.
pub(super) fn attached_bytes(reference: &MediaRef) -> u64 {
    let digits = reference.size().div_ceil(3).saturating_mul(4);
    digits.saturating_add(reference.head().len() as u64)
}
