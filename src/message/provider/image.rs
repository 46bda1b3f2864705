//! An image in any of the shapes that transcripts have.

use serde_json::{Value, json};

use crate::message::{MediaForm, MediaRef};

/// The media types that both providers take.
pub(super) const MEDIA_TYPES: [&str; 4] = ["image/jpeg", "image/png", "image/gif", "image/webp"];

/// An image that a provider can be given.
pub(super) enum Image {
    /// Its bytes.
    Base64 { media_type: String, data: String },
    /// A reference that stands for them.
    Stored { media_type: String, reference: MediaRef },
    /// Where to find it, over HTTP or HTTPS.
    Url(String),
}

impl Image {
    /// Reads OpenAI's `image_url`, Anthropic's `image` with a source, and Inspect's `image`
    /// with a data URL. `None` for any other part, and for an image no provider takes.
    pub(super) fn from_part(part: &Value) -> Option<Self> {
        match part.get("type")?.as_str()? {
            "image_url" => {
                let image = part.get("image_url")?;
                Self::from_url(image.as_str().or_else(|| image.get("url")?.as_str())?)
            }
            "image" => match part.get("source") {
                Some(source) => Self::from_source(source),
                None => Self::from_url(part.get("image")?.as_str()?),
            },
            _ => None,
        }
    }

    fn from_source(source: &Value) -> Option<Self> {
        let text = |name: &str| source.get(name)?.as_str();
        match text("type")? {
            "base64" => Self::from_base64(text("media_type")?, text("data")?),
            "url" => Self::from_url(text("url")?),
            _ => None,
        }
    }

    fn from_url(url: &str) -> Option<Self> {
        if let Ok(reference) = url.parse::<MediaRef>() {
            let media_type = reference.media_type().to_owned();
            return Self::from_reference(&media_type, reference, MediaForm::DataUrl);
        }
        if let Some((media_type, data)) = inline(url) {
            return Self::from_base64(media_type, data);
        }
        is_web(url, &WEB).then(|| Self::Url(url.to_owned()))
    }

    fn from_base64(media_type: &str, data: &str) -> Option<Self> {
        if let Ok(reference) = data.parse() {
            return Self::from_reference(media_type, reference, MediaForm::Base64);
        }
        let media_type = taken_type(media_type)?.to_owned();
        Some(Self::Base64 { media_type, data: padded(data)? })
    }

    /// What a reference stands for is an image only where its form fits its place.
    fn from_reference(media_type: &str, reference: MediaRef, form: MediaForm) -> Option<Self> {
        let media_type = taken_type(media_type)?.to_owned();
        let is_image = reference.form() == form && reference.size() > 0;
        is_image.then_some(Self::Stored { media_type, reference })
    }

    /// The URL that OpenAI is given.
    pub(super) fn into_url(self) -> String {
        match self {
            Self::Base64 { media_type, data } => format!("data:{media_type};base64,{data}"),
            Self::Stored { media_type, reference } => {
                stored(&reference, &media_type, MediaForm::DataUrl)
            }
            Self::Url(url) => url,
        }
    }

    /// The block that Anthropic is given, which fetches over HTTPS only.
    pub(super) fn into_block(self) -> Option<Value> {
        let source = match self {
            Self::Base64 { media_type, data } => {
                json!({"type": "base64", "media_type": media_type, "data": data})
            }
            Self::Stored { media_type, reference } => {
                let data = stored(&reference, &media_type, MediaForm::Base64);
                json!({"type": "base64", "media_type": media_type, "data": data})
            }
            Self::Url(url) if is_web(&url, &["https://"]) => json!({"type": "url", "url": url}),
            Self::Url(_) => return None,
        };
        Some(json!({"type": "image", "source": source}))
    }
}

/// The media type by the name that both providers take.
fn taken_type(media_type: &str) -> Option<&str> {
    // Many tools write `image/jpg`, which is no registered type and is refused.
    let media_type = if media_type == "image/jpg" { "image/jpeg" } else { media_type };
    MEDIA_TYPES.contains(&media_type).then_some(media_type)
}

/// The text of a reference to the same bytes in another place.
fn stored(reference: &MediaRef, media_type: &str, form: MediaForm) -> String {
    reference.clone().with_form(form).with_media_type(media_type).to_string()
}

/// How an address on the web begins.
pub(super) const WEB: [&str; 2] = ["https://", "http://"];

/// Whether it is an address of a host that begins with one of these.
pub(super) fn is_web(url: &str, schemes: &[&str]) -> bool {
    let behind = schemes.iter().find_map(|scheme| url.strip_prefix(scheme));
    let authority = behind.and_then(|behind| behind.split(['/', '?', '#']).next());
    let host = authority.and_then(|authority| authority.rsplit('@').next()?.split(':').next());
    let is_strange = |c: char| c.is_whitespace() || c.is_control();
    host.is_some_and(|host| !host.is_empty()) && !url.contains(is_strange)
}

/// Whether a URL is an image itself, or stands for one.
pub(super) fn is_inline(url: &str) -> bool {
    if let Ok(reference) = url.parse::<MediaRef>() {
        let is_image = taken_type(reference.media_type()).is_some();
        return is_image && reference.form() == MediaForm::DataUrl;
    }
    inline(url).is_some_and(|(kind, data)| taken_type(kind).is_some() && is_base64(data))
}

/// The media type and the data of a URL that holds them.
fn inline(url: &str) -> Option<(&str, &str)> {
    let (header, data) = url.strip_prefix("data:")?.split_once(',')?;
    Some((header.strip_suffix(";base64")?, data))
}

/// Whether it is Base64 (RFC 4648, section 4) of at least one byte, padded.
pub(super) fn is_base64(data: &str) -> bool {
    missing_padding(data) == Some("")
}

/// Base64 with the padding that many tools leave out and that both providers want. `None` for
/// other text.
fn padded(data: &str) -> Option<String> {
    Some(format!("{data}{}", missing_padding(data)?))
}

/// `None` for what is no Base64, or has a number of digits that no bytes have.
fn missing_padding(data: &str) -> Option<&'static str> {
    let digits = data.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let padding = match digits.len() % 4 {
        0 => "",
        2 => "==",
        3 => "=",
        _ => return None,
    };
    let missing = match data.len() - digits.len() {
        0 => padding,
        given if given == padding.len() => "",
        _ => return None,
    };
    (!digits.is_empty() && digits.bytes().all(is_digit)).then_some(missing)
}
