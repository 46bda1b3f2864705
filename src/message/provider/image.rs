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
        if let Some(inline) = url.strip_prefix("data:") {
            let (header, data) = inline.split_once(',')?;
            return Self::from_base64(header.strip_suffix(";base64")?, data);
        }
        let is_web = url.starts_with("https://") || url.starts_with("http://");
        is_web.then(|| Self::Url(url.to_owned()))
    }

    fn from_base64(media_type: &str, data: &str) -> Option<Self> {
        if let Ok(reference) = data.parse() {
            return Self::from_reference(media_type, reference, MediaForm::Base64);
        }
        let media_type = taken_type(media_type).filter(|_| is_base64(data))?;
        Some(Self::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
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
            Self::Url(url) if url.starts_with("https://") => json!({"type": "url", "url": url}),
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

fn is_base64(data: &str) -> bool {
    let digits = data.trim_end_matches('=');
    let padding = data.len() - digits.len();
    !digits.is_empty()
        && padding <= 2
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}
