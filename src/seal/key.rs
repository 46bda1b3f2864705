//! The key of a session, and the keys that are made from it.

use std::sync::Arc;

use super::cipher::{Cipher, Secret};

/// The key of a session. Each purpose has a key of its own that is derived from it.
#[derive(Debug, Clone)]
pub(crate) struct SessionKey(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    generation: u32,
    values: Cipher,
    blobs: Cipher,
    blob_names: Secret,
}

impl SessionKey {
    pub(super) fn new(generation: u32, key: &Secret) -> Self {
        Self(Arc::new(Keys {
            generation,
            values: Cipher::new(&key.derive("sessionlog v1 value key")),
            blobs: Cipher::new(&key.derive("sessionlog v1 blob key")),
            blob_names: key.derive("sessionlog v1 blob name key"),
        }))
    }

    /// Which of the session's keys it is, from 1: one that was destroyed has a successor when
    /// something is written again.
    pub(crate) fn generation(&self) -> u32 {
        self.0.generation
    }

    pub(super) fn values(&self) -> &Cipher {
        &self.0.values
    }

    pub(super) fn blobs(&self) -> &Cipher {
        &self.0.blobs
    }

    pub(super) fn blob_names(&self) -> &Secret {
        &self.0.blob_names
    }
}
