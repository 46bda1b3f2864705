//! What a string literal of a JSON text holds: text, a medium, or a reference to one.

use std::borrow::Cow;

use super::reference::{MediaForm, MediaRef, PREFIX, REFERENCE_BYTES_MAX, is_media_type};
use super::scan::Token;
use crate::limits;

/// Names and types are shorter than this, escaped or not.
const WORD_BYTES_MAX: usize = 6 * REFERENCE_BYTES_MAX;

/// Digits of base64 that stand for the smallest medium that is taken out.
const DIGITS_MIN: usize = limits::BLOB_BYTES_MIN.div_ceil(3) * 4;

/// What stands between the quotes of a literal.
pub(super) fn inner(text: &str, token: Token) -> &str {
    text.get(token.from + 1..token.to.saturating_sub(1)).unwrap_or_default()
}

/// What a short literal means, whatever way it is written.
pub(super) fn word(inner: &str) -> Cow<'_, str> {
    if inner.len() > WORD_BYTES_MAX || !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let decoded = serde_json::from_str(&format!("\"{inner}\""));
    decoded.map_or(Cow::Borrowed(inner), Cow::Owned)
}

/// Whether a text may have references in it: quick to say no, as of almost every message.
pub(super) fn may_refer(text: &str) -> bool {
    text.contains(PREFIX) || text.contains('\\')
}

/// The reference that a literal means. An escaped one counts too: a reader of the value sees no
/// difference.
pub(super) fn reference(inner: &str) -> Option<MediaRef> {
    let may_be = inner.starts_with(['s', '\\']) && inner.len() <= WORD_BYTES_MAX;
    may_be.then(|| word(inner).parse().ok())?
}

/// A literal that may be a medium; decoding it will tell.
pub(super) struct Inline<'a> {
    pub(super) form: MediaForm,
    /// As far as the literal itself says it.
    pub(super) media_type: Option<&'a str>,
    pub(super) digits: &'a str,
}

/// Reads a literal as a medium large enough to be taken out. Base64 alone is one only where
/// media are expected: signatures look the same.
pub(super) fn inline(inner: &str, in_media: bool) -> Option<Inline<'_>> {
    if inner.len() < DIGITS_MIN {
        return None;
    }
    let (form, media_type, digits) = match data_url(inner) {
        Some((media_type, digits)) => {
            (MediaForm::DataUrl, Some(media_type).filter(|name| is_media_type(name)), digits)
        }
        None if in_media => (MediaForm::Base64, None, inner),
        None => return None,
    };
    // A data URL whose type no reference can carry stays as it is.
    let has_type = form == MediaForm::Base64 || media_type.is_some();
    let is_large = digits.len() >= DIGITS_MIN && digits.len().is_multiple_of(4);
    (has_type && is_large).then_some(Inline { form, media_type, digits })
}

/// The media type and the base64 of a data URL.
pub(super) fn data_url(text: &str) -> Option<(&str, &str)> {
    let (header, digits) = text.strip_prefix("data:")?.split_once(',')?;
    Some((header.strip_suffix(";base64")?, digits))
}

/// Whether a literal is a medium wherever it stands: a long data URL, or a reference.
pub(super) fn is_media(inner: &str) -> bool {
    (is_long(inner) && data_url(inner).is_some()) || reference(inner).is_some()
}

/// Whether a literal is a medium where one is expected.
pub(super) fn may_be_media(inner: &str) -> bool {
    is_long(inner) || reference(inner).is_some()
}

/// Whether what a literal means is longer than a medium must be, whatever way it is written.
fn is_long(inner: &str) -> bool {
    if inner.len() <= limits::BLOB_BYTES_MIN {
        return false;
    }
    // No escape is longer than six bytes.
    if inner.len() > 6 * limits::BLOB_BYTES_MIN || !inner.contains('\\') {
        return true;
    }
    let decoded = serde_json::from_str::<String>(&format!("\"{inner}\""));
    decoded.map_or(true, |decoded| decoded.len() > limits::BLOB_BYTES_MIN)
}
