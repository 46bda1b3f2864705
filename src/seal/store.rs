//! Where wrapped keys are kept, and how they go.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result, check_limit};
use crate::id::Digest;
use crate::limits::WRAPPED_KEY_BYTES_MAX;

/// What is kept of a session's newest key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredKey {
    /// Which of the session's keys it is, from 1.
    pub(crate) generation: u32,
    /// The wrapped key; `None` once it was destroyed.
    pub(crate) wrapped: Option<Vec<u8>>,
}

/// A session's new key, wrapped.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) session: Digest,
    pub(crate) generation: u32,
    pub(crate) wrapped: Vec<u8>,
}

impl NewKey {
    /// Refuses what a store has no room for, and what stands where a key must not be lost.
    pub(super) fn check(&self, there: Option<&StoredKey>) -> Result<()> {
        check_limit("wrapped key in bytes", self.wrapped.len(), WRAPPED_KEY_BYTES_MAX)?;
        if there.is_some_and(|there| there.wrapped.is_some()) {
            return Err(Error::invalid("a key that is in use must not be written over"));
        }
        Ok(())
    }
}

/// Keeps the wrapped key of each session. Only the vault calls it, one change at a time.
pub(crate) trait KeyStore: Send + Sync + Debug {
    /// What is kept of a session's newest key; `None` if it never had one.
    fn load(&self, session: Digest) -> Result<Option<StoredKey>>;

    /// Keeps new keys, for sessions that have none in use. They are durable when it returns.
    fn put(&self, keys: &[NewKey]) -> Result<()>;

    /// Destroys a session's key and remembers that there was one. It is gone for good when this
    /// returns, as far as the medium lets go of what is written over.
    fn destroy(&self, session: Digest) -> Result<()>;

    /// Where keys were kept that cannot be read any more: the number of the place, and whose key
    /// it says it held. What it says may be damaged too.
    fn damaged(&self) -> Vec<(u64, Digest)> {
        Vec::new()
    }

    /// The sessions with a key in use, in order.
    fn list(&self) -> Result<Vec<Digest>>;
}

/// Keys of a database in memory.
#[derive(Debug, Default)]
pub(crate) struct MemoryKeys(Mutex<HashMap<Digest, StoredKey>>);

impl MemoryKeys {
    // Nothing panics while the lock is held.
    fn keys(&self) -> MutexGuard<'_, HashMap<Digest, StoredKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KeyStore for MemoryKeys {
    fn load(&self, session: Digest) -> Result<Option<StoredKey>> {
        Ok(self.keys().get(&session).cloned())
    }

    fn put(&self, new: &[NewKey]) -> Result<()> {
        let mut keys = self.keys();
        new.iter().try_for_each(|key| key.check(keys.get(&key.session)))?;
        for NewKey { session, generation, wrapped } in new {
            let (generation, wrapped) = (*generation, Some(wrapped.clone()));
            keys.insert(*session, StoredKey { generation, wrapped });
        }
        Ok(())
    }

    fn destroy(&self, session: Digest) -> Result<()> {
        if let Some(key) = self.keys().get_mut(&session) {
            key.wrapped = None;
        }
        Ok(())
    }

    fn list(&self) -> Result<Vec<Digest>> {
        let keys = self.keys();
        let live = keys.iter().filter(|(_, key)| key.wrapped.is_some());
        let mut sessions: Vec<Digest> = live.map(|(session, _)| *session).collect();
        sessions.sort_unstable();
        Ok(sessions)
    }
}
