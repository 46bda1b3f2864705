//! The keys of a sealed database's sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
#[cfg(feature = "seal")]
use std::sync::atomic::{AtomicBool, Ordering};

use super::Inner;
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::log::Log;
#[cfg(feature = "seal")]
use crate::seal::{Held, SealedLog, Vault};
use crate::verify::{Report, Stored};

/// Which sessions a log that goes on without them could not open so far, and why.
pub(super) type Lost = Box<dyn Fn() -> BTreeMap<Digest, Error>>;

/// The keys of sessions, and the log that holds what is sealed under them.
#[cfg(feature = "seal")]
pub(super) struct Sealed {
    pub(super) vault: Arc<Vault>,
    pub(super) log: Arc<dyn Log>,
}

impl Inner {
    /// Checks what is stored, going on where a key cannot be had.
    pub(super) fn verifying(
        &self,
        check: impl FnOnce(&Stored<'_>) -> Result<Report>,
    ) -> Result<Report> {
        let (log, lost) = self.going_on();
        let (media, published) = (self.media(), self.published());
        check(&Stored { log: &log, media, published, lost: &*lost })
    }
}

#[cfg(feature = "seal")]
impl Inner {
    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// The log for who goes on where a session's key cannot be had.
    pub(super) fn going_on(&self) -> (Arc<dyn Log>, Lost) {
        let Some(Sealed { vault, log }) = &self.sealed else {
            return (Arc::clone(self.log()), Box::new(BTreeMap::new));
        };
        let log = Arc::new(SealedLog::going_on(Arc::clone(log), Arc::clone(vault)));
        let met = Arc::clone(&log);
        (log, Box::new(move || met.lost()))
    }

    /// Makes sure that a session has a key before anything of it is queued: a key that cannot be
    /// wrapped refuses one append, and not the log.
    pub(super) fn prepare_key(&self, session: Digest) -> Result<()> {
        let Some(Sealed { vault, .. }) = &self.sealed else { return Ok(()) };
        vault.create(&[session].into()).map(drop)
    }

    /// Destroys the key of a session that was deleted, unless it has begun again under the same
    /// id. Returns whether there was one.
    pub(super) fn destroy_key(&self, session: Digest) -> Result<bool> {
        let Some(Sealed { vault, .. }) = &self.sealed else { return Ok(false) };
        let vault = Arc::clone(vault);
        let had_one = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&had_one);
        // Between two groups: whoever begins under the id afterwards is sealed under another key.
        self.committer()?.maintain_with(Box::new(move |log| {
            if crate::index::Entry::load(&**log, session)?.is_none() {
                let is_live = matches!(vault.held(session)?, Held::Live(_));
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

    pub(super) fn going_on(&self) -> (Arc<dyn Log>, Lost) {
        (Arc::clone(self.log()), Box::new(BTreeMap::new))
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
