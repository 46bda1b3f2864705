//! Takes media out of messages, leaving references, and puts them back.

use std::io::{Cursor, Read};

use base64::prelude::{BASE64_STANDARD, Engine as _};

use super::kinds::{UNKNOWN, of_extension};
use super::literal::{Inline, inline, inner, may_refer, reference, word};
use super::reference::{MediaForm, MediaRef, is_media_type};
use super::regions::regions;
use super::scan::{Kind, Token, Tokens};
use super::write::{attached_bytes, write_attached};
use crate::error::{Error, ErrorKind, Result};
use crate::json::Json;
use crate::limits;
use crate::message::{Content, Message, Part};

/// Is given each medium that is taken out, to be stored.
pub(crate) type Put<'a> = dyn FnMut(&MediaRef, &[u8]) -> Result<()> + 'a;

/// Gives back the bytes that a reference names.
pub(crate) type Get<'a> = dyn FnMut(&MediaRef) -> Result<Vec<u8>> + 'a;

/// Replaces the media in a message's parts and in `extra` by references. Only strings of
/// canonical base64 that stand for at least [`limits::BLOB_BYTES_MIN`] bytes are, so that
/// [`attach`] gives the same message back. References that are there already stay.
pub(crate) fn detach(message: Message, put: &mut Put<'_>) -> Result<Message> {
    change(message, &mut |json, name| detach_json(json, name, put))
}

/// Puts the media back in place of the references in a message's parts and in `extra`.
pub(crate) fn attach(message: Message, get: &mut Get<'_>) -> Result<Message> {
    change(message, &mut |json, _| attach_json(json, get))
}

/// Makes another value of a value and the name it has; `None` where it stays.
type Change<'a> = dyn FnMut(&Json, Option<&str>) -> Result<Option<Json>> + 'a;

fn change(mut message: Message, each: &mut Change<'_>) -> Result<Message> {
    if let Content::Parts(parts) = &mut message.content {
        for part in parts {
            if let Part::Json(json) = part
                && let Some(changed) = each(json, None)?
            {
                *json = changed;
            }
        }
    }
    for field in &mut message.extra {
        if let Some(changed) = each(&field.value, Some(&field.name))? {
            field.value = changed;
        }
    }
    Ok(message)
}

/// The references in a message's parts and in `extra`, in their order, each as often as it
/// stands there.
pub(crate) fn references(message: &Message) -> Vec<MediaRef> {
    let mut found = Vec::new();
    if let Content::Parts(parts) = &message.content {
        for part in parts {
            if let Part::Json(json) = part {
                found.extend(references_in(json));
            }
        }
    }
    found.extend(message.extra.iter().flat_map(|field| references_in(&field.value)));
    found
}

/// The references in a JSON value, in their order.
pub(crate) fn references_in(json: &Json) -> Vec<MediaRef> {
    let text = json.as_str();
    if !may_refer(text) {
        return Vec::new();
    }
    let literals = Tokens::new(text).filter(|token| token.kind == Kind::Text);
    literals.filter_map(|token| reference(inner(text, token))).collect()
}

/// Like [`detach`], for a JSON value; `name` is that of the member which it is the value of,
/// where it is one. `None` where there is nothing to take out.
pub(crate) fn detach_json(
    json: &Json,
    name: Option<&str>,
    put: &mut Put<'_>,
) -> Result<Option<Json>> {
    let text = json.as_str();
    // Most values are short, and this is asked of each that is recorded.
    if text.len() < limits::BLOB_BYTES_MIN {
        return Ok(None);
    }
    let (mut out, mut at) = (String::new(), 0);
    for found in find(text, name) {
        let Ok(bytes) = BASE64_STANDARD.decode(found.inline.digits) else { continue };
        let media_type = found.inline.media_type.unwrap_or(UNKNOWN);
        let reference = MediaRef::of(&bytes, media_type, found.inline.form)?;
        put(&reference, &bytes)?;
        // The quotes stay.
        out.push_str(text.get(at..=found.token.from).unwrap_or_default());
        out.push_str(&reference.to_string());
        at = found.token.to - 1;
    }
    if at == 0 {
        return Ok(None);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    Ok(Some(Json::of_valid(out)))
}

/// Like [`attach`], for a JSON value. `None` where there is no reference in it.
pub(crate) fn attach_json(json: &Json, get: &mut Get<'_>) -> Result<Option<Json>> {
    let references = references_in(json);
    if references.is_empty() {
        return Ok(None);
    }
    let size = references.iter().map(attached_bytes).fold(0, u64::saturating_add);
    let (what, max) = ("a value with its media in bytes", limits::ATTACHED_BYTES_MAX);
    if size > max {
        return Err(Error::new(ErrorKind::Limit { what, actual: size, max }));
    }
    let mut out = Vec::new();
    let mut open = |reference: &MediaRef| -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(Cursor::new(get(reference)?)))
    };
    write_attached(json.as_str(), &mut open, &mut out)?;
    let text = String::from_utf8(out).map_err(|_| Error::corrupt("media left no text"))?;
    Ok(Some(Json::of_valid(text)))
}

/// A literal that may be a medium, and where it stands.
struct Found<'a> {
    token: Token,
    inline: Inline<'a>,
}

/// An object or a list that is not closed yet, as far as it says what its media are.
#[derive(Default)]
struct Frame<'a> {
    /// The media without a type that stand in it, as places in the list.
    nameless: Vec<usize>,
    name: &'a str,
    /// The media type that it names, and how surely.
    hint: Option<(u8, &'a str)>,
}

/// Finds every literal that may be a medium to be taken out.
fn find<'a>(text: &'a str, name: Option<&str>) -> Vec<Found<'a>> {
    let mut found = Vec::new();
    let mut regions = regions(text, name).into_iter().peekable();
    let mut frames = vec![Frame::default()];
    for token in Tokens::new(text) {
        while regions.next_if(|region| region.to <= token.from).is_some() {}
        let in_media = regions.peek().is_some_and(|region| region.from <= token.from);
        match token.kind {
            Kind::Open { .. } if frames.len() > limits::JSON_DEPTH_MAX => return Vec::new(),
            Kind::Open { .. } => frames.push(Frame::default()),
            Kind::Close => {
                if let Some(frame) = frames.pop() {
                    name_media(&frame, &mut found);
                }
            }
            Kind::Name => {
                if let Some(frame) = frames.last_mut() {
                    frame.name = inner(text, token);
                }
            }
            Kind::Text => {
                let literal = inner(text, token);
                let Some(frame) = frames.last_mut() else { continue };
                if let Some(inline) = inline(literal, in_media) {
                    if inline.form == MediaForm::Base64 {
                        frame.nameless.push(found.len());
                    }
                    found.push(Found { token, inline });
                } else {
                    frame.hint = frame.hint.max(hint(frame.name, literal));
                }
            }
            Kind::Scalar | Kind::Comma => {}
        }
    }
    found
}

/// The media type that a member beside a medium names.
fn hint<'a>(name: &str, literal: &'a str) -> Option<(u8, &'a str)> {
    match name {
        "media_type" | "mime_type" | "mimeType" => is_media_type(literal).then_some((2, literal)),
        "format" => of_extension(&word(literal)).map(|media_type| (1, media_type)),
        _ => None,
    }
}

fn name_media<'a>(frame: &Frame<'a>, found: &mut [Found<'a>]) {
    let Some((_, media_type)) = frame.hint else { return };
    for at in &frame.nameless {
        if let Some(found) = found.get_mut(*at) {
            found.inline.media_type = Some(media_type);
        }
    }
}
