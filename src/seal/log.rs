//! The log that seals what it is given and opens what it hands out.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::key::SessionKey;
use super::value;
use super::vault::{Held, Vault};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::log::{Batch, Durability, Log, Op, PageLimit, Range, Record};

/// Seals values on their way into another log and opens them on their way out.
///
/// - A session without a key gets one, durable before anything sealed under it is stored.
/// - A value that is not sealed, because it was written before sealing was turned on, is handed
///   out as it is.
/// - Of a session whose key was destroyed, a frame is handed out as one whose body was removed,
///   and other values as if they were not there. What is written after that is sealed under a
///   new key.
/// - A frame that does not open is handed out as one whose body was changed, so that who reads it
///   is told and those beside it are not hidden. Another value that does not is an error; it ends
///   a page before it.
/// - What is sealed under a key that cannot be had is an error. For who goes on without it, a
///   frame is handed out as one whose body was changed, and other values as if they were not
///   there; [`SealedLog::lost`] says of which sessions.
#[derive(Debug)]
pub(crate) struct SealedLog {
    inner: Arc<dyn Log>,
    vault: Arc<Vault>,
    /// The sessions that were met whose keys cannot be had; `None` for who must not go on.
    lost: Option<Mutex<Lost>>,
}

/// Sessions whose keys cannot be had, and why.
pub(crate) type Lost = BTreeMap<Digest, Error>;

impl SealedLog {
    pub(crate) fn new(inner: Arc<dyn Log>, vault: Arc<Vault>) -> Self {
        Self { inner, vault, lost: None }
    }

    /// The same log for who goes on where a key cannot be had. It is for reading.
    pub(crate) fn going_on(inner: Arc<dyn Log>, vault: Arc<Vault>) -> Self {
        Self { inner, vault, lost: Some(Mutex::default()) }
    }

    /// The sessions that were met so far whose keys cannot be had.
    pub(crate) fn lost(&self) -> Lost {
        self.lost.as_ref().map(|lost| lock(lost).clone()).unwrap_or_default()
    }

    /// Makes a stored value what was given; `false` where it is gone with its key.
    fn open(&self, keys: &mut Keys<'_>, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
        let session = value::session_of(key).unwrap_or_default();
        // It is asked for once: a service of keys that is out of reach may take its time.
        let is_lost = self.lost.as_ref().is_some_and(|lost| lock(lost).contains_key(&session))
            && value::generation(key, value).is_ok_and(|sealed_in| sealed_in.is_some());
        let opened = if is_lost { Ok(false) } else { open_whole(keys, key, value) };
        let is_lost = match (&opened, &self.lost) {
            (Err(error), Some(lost)) if matches!(error.kind(), ErrorKind::Key { .. }) => {
                lock(lost).insert(session, error.clone());
                true
            }
            _ => is_lost,
        };
        if is_lost || opened.as_ref().is_err_and(Error::is_corrupt) {
            if let Some(damaged) = value::bodiless(key, value, false) {
                *value = damaged;
                return Ok(true);
            }
            if is_lost {
                return Ok(false);
            }
        }
        opened
    }

    fn seal<'a>(&self, batch: &'a Batch, can_be_lost: bool) -> Result<Cow<'a, Batch>> {
        let mut sessions = BTreeSet::new();
        for op in batch.ops() {
            sessions.extend(sealed_under(op)?);
        }
        if sessions.is_empty() {
            return Ok(Cow::Borrowed(batch));
        }
        let mut keys = SealingKeys::default();
        if can_be_lost {
            let mut sealed = BTreeSet::new();
            for session in sessions {
                match self.vault.held(session)? {
                    Held::Live(_) => drop(sealed.insert(session)),
                    // Nothing of it is sealed yet, and reading it must not begin with that.
                    Held::None => drop(keys.plain.insert(session)),
                    // A snapshot that was under way when the key went must not come back under
                    // another.
                    Held::Destroyed(_) => {}
                }
            }
            sessions = sealed;
        }
        // What is sealed under a key that is destroyed meanwhile goes with it.
        keys.live = self.vault.create(&sessions)?;
        let mut sealed = Batch::new();
        for op in batch.ops() {
            match op {
                Op::Remove(key) => sealed.remove(key.clone()),
                Op::Insert(record) => {
                    if let Some(value) = seal_value(&keys, record)? {
                        sealed.insert(record.key.clone(), value);
                    }
                }
                Op::Replace(record) => {
                    if let Some(value) = seal_value(&keys, record)? {
                        sealed.replace(record.key.clone(), value);
                    }
                }
            }
        }
        Ok(Cow::Owned(sealed))
    }

    /// Opens the records of a page. The first that must not be passed over ends it.
    fn open_page(&self, stored: Vec<Record>) -> Result<Vec<Record>> {
        let mut keys = Keys::new(&self.vault);
        let mut page = Vec::with_capacity(stored.len());
        for Record { key, mut value } in stored {
            match self.open(&mut keys, &key, &mut value) {
                Ok(true) => page.push(Record { key, value }),
                Ok(false) => {}
                Err(error) if page.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(page)
    }
}

impl Log for SealedLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(mut value) = self.inner.get(key)? else { return Ok(None) };
        Ok(self.open(&mut Keys::new(&self.vault), key, &mut value)?.then_some(value))
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let mut rest = Cow::Borrowed(range);
        loop {
            let stored = self.inner.page(&rest, limit)?;
            let Some(last) = stored.last().map(|last| last.key.clone()) else {
                return Ok(Vec::new());
            };
            let page = self.open_page(stored)?;
            if !page.is_empty() {
                return Ok(page);
            }
            // None of them can be read, but an empty page would say that nothing follows.
            rest = Cow::Owned(rest.into_owned().behind(&last));
        }
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        self.inner.append(&*self.seal(batch, false)?, durability, mark)
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner.apply(&*self.seal(batch, true)?)
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        self.inner.durable_mark()
    }

    fn record_file_bytes(&self) -> Result<u64> {
        self.inner.record_file_bytes()
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

/// The session whose key an operation needs.
fn sealed_under(op: &Op) -> Result<Option<Digest>> {
    match op {
        Op::Insert(record) | Op::Replace(record) => value::sealed_under(&record.key, &record.value),
        Op::Remove(_) => Ok(None),
    }
}

/// The keys that a batch is sealed under.
#[derive(Debug, Default)]
struct SealingKeys {
    live: HashMap<Digest, SessionKey>,
    /// Sessions whose values stay as they are.
    plain: BTreeSet<Digest>,
}

/// The value to store; `None` for one that is lost with its key.
fn seal_value(keys: &SealingKeys, Record { key, value }: &Record) -> Result<Option<Vec<u8>>> {
    match value::sealed_under(key, value)? {
        Some(session) if !keys.plain.contains(&session) => {
            keys.live.get(&session).map(|under| value::seal(under, key, value)).transpose()
        }
        _ => Ok(Some(value.clone())),
    }
}

// Nothing panics while the lock is held.
fn lock(lost: &Mutex<Lost>) -> MutexGuard<'_, Lost> {
    lost.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open_whole(keys: &mut Keys<'_>, key: &[u8], value: &mut Vec<u8>) -> Result<bool> {
    let Some(sealed_in) = value::generation(key, value)? else { return Ok(true) };
    let session = value::session_of(key).unwrap_or_default();
    let newest = match keys.of(session)? {
        Held::Live(under) if under.generation() == sealed_in => {
            value::open(under, key, value)?;
            return Ok(true);
        }
        Held::Live(under) => under.generation().saturating_sub(1),
        Held::Destroyed(generation) => *generation,
        Held::None => return Err(keys.vault.lost(session)),
    };
    if !(1..=newest).contains(&sealed_in) {
        let reason = format!("sealed under key {sealed_in} of {session}, which there never was");
        return Err(Error::corrupt(reason));
    }
    match value::bodiless(key, value, true) {
        Some(removed) => *value = removed,
        None => return Ok(false),
    }
    Ok(true)
}

/// The key of the session that was asked for last stays at hand: records of one session lie
/// side by side.
struct Keys<'a> {
    vault: &'a Vault,
    last: Option<(Digest, Held)>,
}

impl<'a> Keys<'a> {
    fn new(vault: &'a Vault) -> Self {
        Self { vault, last: None }
    }

    fn of(&mut self, session: Digest) -> Result<&Held> {
        let held = match self.last.take() {
            Some((last, held)) if last == session => held,
            _ => self.vault.held(session)?,
        };
        Ok(&self.last.insert((session, held)).1)
    }
}
