//! The keys of a sealed database's sessions.

#[cfg(feature = "seal")]
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use super::Inner;
use crate::error::Result;
use crate::id::Digest;

#[cfg(feature = "seal")]
impl Inner {
    pub(super) fn is_sealed(&self) -> bool {
        self.vault.is_some()
    }

    /// Makes sure that a session has a key before anything of it is queued: a key that cannot be
    /// wrapped refuses one append, and not the log.
    pub(super) fn prepare_key(&self, session: Digest) -> Result<()> {
        let Some(vault) = &self.vault else { return Ok(()) };
        vault.create(&[session].into()).map(drop)
    }

    /// Destroys the key of a session that was deleted, unless it has begun again under the same
    /// id. Returns whether there was one.
    pub(super) fn destroy_key(&self, session: Digest) -> Result<bool> {
        let Some(vault) = self.vault.clone() else { return Ok(false) };
        let had_one = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&had_one);
        // Between two groups: whoever begins under the id afterwards is sealed under another key.
        self.committer()?.maintain_with(Box::new(move |log| {
            if crate::index::Entry::load(&**log, session)?.is_none() {
                let is_live = matches!(vault.held(session)?, crate::seal::Held::Live(_));
                seen.store(is_live, Ordering::SeqCst);
                vault.destroy(session)?;
            }
            Ok(None)
        }))?;
        Ok(had_one.load(Ordering::SeqCst))
    }
}

#[cfg(not(feature = "seal"))]
impl Inner {
    #[expect(clippy::unused_self, reason = "a database of this build is not sealed")]
    pub(super) fn is_sealed(&self) -> bool {
        false
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "there are no keys")]
    pub(super) fn prepare_key(&self, _session: Digest) -> Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "there are no keys")]
    pub(super) fn destroy_key(&self, _session: Digest) -> Result<bool> {
        Ok(false)
    }
}
