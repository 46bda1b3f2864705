//! Whose sessions are within reach.

use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;

/// In whose name something is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// A user, who reaches that user's sessions and no others.
    User(String),
    /// Nobody in particular: reaches the sessions that belong to nobody.
    Nobody,
    /// Whoever runs the program: reaches every session. Never a default.
    Admin,
}

impl Access {
    /// Whether a session of that owner may be read and written.
    pub(crate) fn reaches(&self, owner: Option<&str>) -> bool {
        match self {
            Self::User(user) => owner == Some(user.as_str()),
            Self::Nobody => owner.is_none(),
            Self::Admin => true,
        }
    }

    pub(crate) fn check(&self, owner: Option<&str>) -> Result<()> {
        if self.reaches(owner) { Ok(()) } else { Err(Error::new(ErrorKind::Forbidden)) }
    }

    /// The digest that stands in headers.
    pub(crate) fn actor(&self) -> Digest {
        match self {
            Self::User(user) => Digest::of_user(user),
            Self::Nobody | Self::Admin => Digest::NONE,
        }
    }
}
