//! The reference that stands in a message where a medium's bytes stood.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::json::Json;
use crate::message::Part;

pub(super) const PREFIX: &str = "sessionlog:blob/";

const MEDIA_TYPE_BYTES_MAX: usize = 128;

/// Prefix, 64 digits, 20 digits of a size, the form, the media type, and what separates them.
pub(super) const REFERENCE_BYTES_MAX: usize = PREFIX.len() + 64 + 20 + 8 + 3 + MEDIA_TYPE_BYTES_MAX;

/// Stands for a medium whose bytes are stored as a blob.
///
/// Its text stands in a message's JSON in place of the string that held the bytes, and reads
/// `sessionlog:blob/<64 hexadecimal digits>/<size>/<base64 or data-url>/<media type>`. It needs
/// no escaping in JSON. There is one text for one reference: parsing takes nothing else.
///
/// ```
/// use sessionlog::{MediaForm, MediaRef};
///
/// let picture = MediaRef::of(b"...", "image/png", MediaForm::DataUrl)?;
/// assert_eq!(picture.size(), 3);
/// assert_eq!(picture.to_string().parse::<MediaRef>()?, picture);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaRef {
    digest: [u8; 32],
    size: u64,
    form: MediaForm,
    media_type: String,
}

/// How the bytes stood in the JSON string that a reference replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MediaForm {
    /// As base64 alone.
    Base64,
    /// As `data:<media type>;base64,` and base64.
    DataUrl,
}

impl MediaForm {
    fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::DataUrl => "data-url",
        }
    }
}

/// Whether it can stand in a reference, which stands in JSON and between slashes.
pub(super) fn is_media_type(name: &str) -> bool {
    let is_taken = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&^_.+/;=-".contains(&byte);
    (1..=MEDIA_TYPE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_taken)
}

impl MediaRef {
    /// The reference to these bytes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the media type does not match
    /// `[A-Za-z0-9!#$&^_.+/;=-]{1,128}`.
    pub fn of(bytes: &[u8], media_type: &str, form: MediaForm) -> Result<Self> {
        Self::new(blake3::hash(bytes).into(), bytes.len() as u64, media_type, form)
    }

    /// The reference to bytes of this blake3 digest and size.
    pub(crate) fn new(
        digest: [u8; 32],
        size: u64,
        media_type: &str,
        form: MediaForm,
    ) -> Result<Self> {
        if !is_media_type(media_type) {
            return Err(Error::invalid(format!("{media_type:?} is no media type")));
        }
        Ok(Self { digest, size, form, media_type: media_type.to_owned() })
    }

    /// The blake3 digest of the bytes, by which they are stored.
    pub const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many bytes there are, decoded.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// What the bytes are: `image/png`, or `application/octet-stream` where nobody said it.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// How the bytes stood in the message.
    pub const fn form(&self) -> MediaForm {
        self.form
    }

    /// The same bytes as they stand elsewhere.
    #[must_use]
    pub fn with_form(mut self, form: MediaForm) -> Self {
        self.form = form;
        self
    }

    /// The same bytes under another media type, where a reference can carry it.
    #[must_use]
    pub(crate) fn with_media_type(mut self, media_type: &str) -> Self {
        if is_media_type(media_type) {
            media_type.clone_into(&mut self.media_type);
        }
        self
    }

    /// A part of a message that shows the medium: `image_url` for images, `input_audio` for WAV
    /// and MP3, otherwise `file`, all in OpenAI's shape.
    ///
    /// ```
    /// use sessionlog::{MediaForm, MediaRef, Message};
    ///
    /// let picture = MediaRef::of(b"...", "image/png", MediaForm::DataUrl)?;
    /// let message = Message::user("What is this?").with_part(picture.to_part());
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn to_part(&self) -> Part {
        let text = |form| Value::from(self.clone().with_form(form).to_string());
        let audio = match self.media_type.as_str() {
            "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
            "audio/mpeg" | "audio/mp3" => Some("mp3"),
            _ => None,
        };
        let part = if let Some(format) = audio {
            let audio = json!({"data": text(MediaForm::Base64), "format": format});
            json!({"type": "input_audio", "input_audio": audio})
        } else if self.media_type.starts_with("image/") {
            json!({"type": "image_url", "image_url": {"url": text(MediaForm::DataUrl)}})
        } else {
            json!({"type": "file", "file": {"file_data": text(MediaForm::DataUrl)}})
        };
        Part::Json(Json::from(part))
    }

    /// What stands before the base64 in the string that it replaces.
    pub(super) fn head(&self) -> String {
        match self.form {
            MediaForm::Base64 => String::new(),
            MediaForm::DataUrl => format!("data:{};base64,", self.media_type),
        }
    }
}

impl fmt::Display for MediaRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "/{}/{}/{}", self.size, self.form.as_str(), self.media_type)
    }
}

impl FromStr for MediaRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("no reference to a medium");
        let found = read(text).ok_or_else(wrong)?;
        // Whatever else may be read as the same is not it: a sign, a zero in front, capitals.
        if found.to_string() == text { Ok(found) } else { Err(wrong()) }
    }
}

fn read(text: &str) -> Option<MediaRef> {
    let rest = text.strip_prefix(PREFIX)?;
    let (digits, rest) = rest.split_once('/')?;
    let (size, rest) = rest.split_once('/')?;
    let (form, media_type) = rest.split_once('/')?;
    let form = [MediaForm::Base64, MediaForm::DataUrl].into_iter().find(|f| f.as_str() == form)?;
    let digest = blake3::Hash::from_hex(digits).ok()?;
    MediaRef::new(digest.into(), size.parse().ok()?, media_type, form).ok()
}
