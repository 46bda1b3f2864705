//! Media as a user hands them in.

use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::json;

use super::kinds::{UNKNOWN, of_extension};
use super::literal::data_url;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::message::Part;

/// A medium to go into a message. It only says where the bytes are: nothing is read before the
/// message is recorded, and nothing is ever fetched from the web.
///
/// ```
/// use sessionlog::Media;
///
/// let drawn = Media::bytes("image/png", vec![0x89, b'P', b'N', b'G']);
/// let stored = Media::path("photo.jpg");
/// let linked = Media::url("https://example.org/photo.jpg");
/// let inline = Media::data_url("data:image/gif;base64,R0lGODlh")?;
/// assert!(Media::data_url("https://example.org/photo.jpg").is_err());
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media(pub(crate) Source);

/// Where a medium's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Here.
    Bytes { media_type: String, bytes: Vec<u8> },
    /// In a file.
    Path(PathBuf),
    /// On the web, where they stay.
    Url(String),
}

impl Media {
    /// Bytes, and what they are: `image/png`.
    pub fn bytes(media_type: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self(Source::Bytes { media_type: media_type.into(), bytes })
    }

    /// Bytes as base64, and what they are. Line breaks and other white space do no harm.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it is no base64.
    pub fn base64(media_type: impl Into<String>, text: &str) -> Result<Self> {
        let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        let bytes = BASE64_STANDARD
            .decode(digits)
            .map_err(|error| Error::invalid(format!("a medium is no base64: {error}")))?;
        Ok(Self::bytes(media_type, bytes))
    }

    /// A URL that holds the bytes itself: `data:image/png;base64,...`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it is another URL.
    pub fn data_url(text: &str) -> Result<Self> {
        let found = data_url(text);
        let (media_type, digits) = found.ok_or_else(|| {
            Error::invalid("a medium's URL does not begin with data:<media type>;base64,")
        })?;
        Self::base64(media_type, digits)
    }

    /// A file, read when the message is recorded. What it is shows in its first bytes, or in
    /// its extension.
    pub fn path(path: impl Into<PathBuf>) -> Self {
        Self(Source::Path(path.into()))
    }

    /// Something on the web. Only the URL is recorded.
    pub fn url(url: impl Into<String>) -> Self {
        Self(Source::Url(url.into()))
    }
}

/// The media type of a file, by its first 12 bytes if it is an image that models take, since
/// many a file has the wrong name, and otherwise by its extension.
pub(crate) fn media_type_of(path: &Path, head: &[u8]) -> &'static str {
    let by_name = || path.extension().and_then(|extension| of_extension(extension.to_str()?));
    image_type(head).or_else(by_name).unwrap_or(UNKNOWN)
}

fn image_type(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// A part of a message that shows what a URL leads to: by its extension a video, a sound or a
/// document, and otherwise an image.
pub(crate) fn url_part(url: &str) -> Part {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let media_type = Path::new(path).extension().and_then(|name| of_extension(name.to_str()?));
    let kind = media_type.and_then(|media_type| media_type.split('/').next());
    let part = match kind.unwrap_or("image") {
        "image" => json!({"type": "image_url", "image_url": {"url": url}}),
        "video" => json!({"type": "video_url", "video_url": {"url": url}}),
        "audio" => json!({"type": "audio_url", "audio_url": {"url": url}}),
        _ => json!({"type": "document", "source": {"type": "url", "url": url}}),
    };
    Part::Json(Json::from(part))
}
