//! A key that is sent and never shown.

use std::fmt;

use reqwest::header::HeaderValue;

use crate::error::{Error, Result};

/// Stands where a key stood.
const HIDDEN: &str = "[key]";

/// A provider's key.
#[derive(Clone)]
pub(super) struct Secret(String);

impl Secret {
    /// `None` for one that is blank: a variable that is set to nothing is not set.
    pub(super) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// A header's value, which no log of the client shows.
    pub(super) fn header(&self, prefix: &str) -> Result<HeaderValue> {
        // The library's own error would quote it.
        let mut value = HeaderValue::try_from(format!("{prefix}{}", self.0))
            .map_err(|_| Error::invalid("the model's key has characters that no header takes"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// A text without the key: a server may say it back.
    pub(super) fn hide_in(&self, text: &str) -> String {
        text.replace(&self.0, HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
