//! The keys of sessions, unwrapped while they are in use.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cipher::Secret;
use super::key::SessionKey;
use super::provider::KeyProvider;
use super::store::{KeyStore, NewKey, StoredKey};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::Digest;
use crate::limits::KEY_CACHE_SESSIONS_MAX;

/// No session has this digest. Its key seals nothing: whoever unwraps it has the right provider.
const PROBE: Digest = Digest::NONE;

/// What there is of a session's key.
#[derive(Debug, Clone)]
pub(crate) enum Held {
    /// It never had one.
    None,
    /// It was destroyed; the number is the last that there was.
    Destroyed(u32),
    /// It is in use.
    Live(SessionKey),
}

/// Makes, hands out and destroys the keys of sessions.
#[derive(Debug)]
pub(crate) struct Vault {
    provider: Arc<dyn KeyProvider>,
    keys: Arc<dyn KeyStore>,
    cache: Mutex<Cache>,
    /// Held from a look at the store until the cache says the same, so that no reader brings a
    /// key back that was destroyed meanwhile.
    change: Mutex<()>,
}

impl Vault {
    /// Opens the keys of a sealed database, or seals a new one. The first opening stores a
    /// probe, and every later one tells by it at once whether the provider has the right key.
    pub(crate) fn open(provider: Arc<dyn KeyProvider>, keys: Arc<dyn KeyStore>) -> Result<Self> {
        let vault = Self::open_plain(provider, keys);
        if !matches!(vault.load(PROBE)?, Held::Live(_)) {
            vault.make_probe()?;
        }
        Ok(vault)
    }

    /// Opens a database that is not sealed. It will be once a session needs a key: who only
    /// reads it leaves it as it is.
    pub(crate) fn open_plain(provider: Arc<dyn KeyProvider>, keys: Arc<dyn KeyStore>) -> Self {
        let (cache, change) = (Mutex::default(), Mutex::new(()));
        Self { provider, keys, cache, change }
    }

    fn make_probe(&self) -> Result<()> {
        // A probe that was lost must not be made anew under a wrong key.
        if let Some(session) = self.keys.list()?.first() {
            self.load(*session)?;
        }
        match self.make(&BTreeSet::new()) {
            // Who only looks at a database that is not sealed needs no probe.
            Err(error) if *error.kind() == ErrorKind::ReadOnly => Ok(()),
            made => made.map(drop),
        }
    }

    /// Whether a database has been sealed: then it must be opened with its key.
    pub(crate) fn is_sealed(keys: &dyn KeyStore) -> Result<bool> {
        Ok(keys.load(PROBE)?.is_some() || !keys.list()?.is_empty())
    }

    /// A session's key; `None` if it never had one. An error if it was destroyed.
    pub(crate) fn key(&self, session: Digest) -> Result<Option<SessionKey>> {
        match self.held(session)? {
            Held::Live(key) => Ok(Some(key)),
            Held::None => Ok(None),
            Held::Destroyed(_) => Err(Error::key(format!("the key of {session} was destroyed"))),
        }
    }

    /// What there is of a session's key.
    pub(crate) fn held(&self, session: Digest) -> Result<Held> {
        if let Some(key) = self.cache().get(session) {
            return Ok(Held::Live(key));
        }
        let _change = self.change();
        let held = self.load(session).with_context(|| format!("session {session}"))?;
        // What was sealed under it is there still.
        if matches!(held, Held::None)
            && self.keys.damaged().iter().any(|(_, missed)| *missed == session)
        {
            return Err(self.lost(session));
        }
        if let Held::Live(key) = &held {
            self.cache().put(session, key.clone());
        }
        Ok(held)
    }

    /// Why a session for which something is sealed has no key.
    pub(crate) fn lost(&self, session: Digest) -> Error {
        let damaged = self.keys.damaged();
        let own = damaged.iter().find(|(_, missed)| *missed == session);
        let reason = match (own, damaged.first()) {
            (Some((slot, _)), _) => format!(
                "slot {slot} of sessionlog.keys, which holds its key, is damaged: put the slot \
                 back from a backup of that file"
            ),
            (None, Some((slot, _))) => format!(
                "sessionlog.keys has no key of it, and slot {slot} of that file is damaged: put \
                 the slot back from a backup of the file"
            ),
            (None, None) => String::from(
                "it is sealed, and sessionlog.keys never had a key of it: put the file back that \
                 belongs to the database",
            ),
        };
        Error::key(reason).context(format!("session {session}"))
    }

    /// The keys of sessions, made for those that have none in use. They are durable when this
    /// returns, with one sync for all of them.
    pub(crate) fn create(
        &self,
        sessions: &BTreeSet<Digest>,
    ) -> Result<HashMap<Digest, SessionKey>> {
        let at_hand = |session: &Digest| Some((*session, self.cache().get(*session)?));
        if let Some(keys) = sessions.iter().map(at_hand).collect() {
            return Ok(keys);
        }
        let _change = self.change();
        self.make(sessions)
    }

    fn make(&self, sessions: &BTreeSet<Digest>) -> Result<HashMap<Digest, SessionKey>> {
        let (mut new, mut keys) = (Vec::new(), HashMap::new());
        // Whoever opens the database next tells by the probe whether they have the key.
        for session in std::iter::once(PROBE).chain(sessions.iter().copied()) {
            if keys.contains_key(&session) {
                continue;
            }
            let generation = match self.load(session)? {
                Held::Live(key) => {
                    keys.insert(session, key);
                    continue;
                }
                Held::Destroyed(generation) => generation.saturating_add(1),
                Held::None => 1,
            };
            let key = Secret::random()?;
            let wrapped = self.provider.wrap(&key.0)?;
            new.push(NewKey { session, generation, wrapped });
            keys.insert(session, SessionKey::new(generation, &key));
        }
        if !new.is_empty() {
            self.keys.put(&new)?;
        }
        let mut cache = self.cache();
        for (session, key) in &keys {
            cache.put(*session, key.clone());
        }
        drop(cache);
        Ok(keys)
    }

    /// Destroys a session's key, if it has one: what was sealed under it cannot be read any
    /// more, wherever copies of it lie.
    pub(crate) fn destroy(&self, session: Digest) -> Result<()> {
        if session == PROBE {
            return Err(Error::invalid("the probe is no session's key"));
        }
        let _change = self.change();
        // First from the cache: after a failure the key is looked for where it may be gone.
        self.cache().remove(session);
        self.keys.destroy(session)
    }

    fn load(&self, session: Digest) -> Result<Held> {
        if let Some(key) = self.cache().get(session) {
            return Ok(Held::Live(key));
        }
        let stored = self.keys.load(session).with_context(|| format!("the key of {session}"))?;
        let Some(StoredKey { generation, wrapped }) = stored else { return Ok(Held::None) };
        let Some(wrapped) = wrapped else { return Ok(Held::Destroyed(generation)) };
        // Wiped where it was handed over: moving it out first would leave it there.
        let key = match &mut self.provider.unwrap(&wrapped) {
            Ok(key) => Secret::take(key),
            Err(error) => return Err(error.clone()),
        };
        Ok(Held::Live(SessionKey::new(generation, &key)))
    }

    // Nothing panics while the locks are held but a provider of somebody else's, and then
    // neither the cache nor the store was changed.
    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keys at hand, in two generations: when the young one is full it becomes the old one, and
/// what nobody asked for since is let go.
#[derive(Debug, Default)]
struct Cache {
    young: HashMap<Digest, SessionKey>,
    old: HashMap<Digest, SessionKey>,
}

impl Cache {
    fn get(&mut self, session: Digest) -> Option<SessionKey> {
        if let Some(key) = self.young.get(&session) {
            return Some(key.clone());
        }
        let key = self.old.remove(&session)?;
        self.put(session, key.clone());
        Some(key)
    }

    fn put(&mut self, session: Digest, key: SessionKey) {
        if self.young.len() >= KEY_CACHE_SESSIONS_MAX / 2 && !self.young.contains_key(&session) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(session, key);
    }

    fn remove(&mut self, session: Digest) {
        self.young.remove(&session);
        self.old.remove(&session);
    }
}
