//! The key file of a database on disk: slots of fixed length, written in place, so that a key
//! that is destroyed is written over where it lay.
//!
//! Whoever copies the file keeps the keys in it: backups of it should be kept apart from those
//! of the database, and for less long. A medium that does not write in place (a copy-on-write
//! file system, a worn flash block) may keep an old slot; what is in it is still wrapped.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind as IoErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::store::{KeyStore, NewKey, StoredKey};
use crate::bytes::Reader;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::Digest;
use crate::limits::WRAPPED_KEY_BYTES_MAX;
use crate::log::KEYS_FILE;

/// A sector of a disk, which is written whole or not at all.
const SLOT_BYTES: usize = 512;
const CHECK_BYTES: usize = 16;
const MAGIC: [u8; 8] = *b"SLkeys\0\0";
/// The version that is written, and the newest that is read.
const KEYS_VERSION: u32 = 1;

const LIVE: u8 = 1;
const DESTROYED: u8 = 2;

/// Where a slot says whose key it holds: behind the state, the length and the generation.
const SESSION_AT: usize = 8;

type Slot = [u8; SLOT_BYTES];

/// The file `sessionlog.keys` beside a database. It is made with the first key.
///
/// Whoever has the database open has this open too, and nobody else writes to it.
#[derive(Debug)]
pub(crate) struct FileKeys {
    directory: PathBuf,
    is_read_only: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `None` until there is a file.
    file: Option<File>,
    /// Where each session's slot is.
    places: HashMap<Digest, Place>,
    /// Slots whose check does not fit, and whose they say they are.
    damaged: Vec<(u64, Digest)>,
    /// The number of slots, the header's included: where the next one goes.
    slots: u64,
    /// The first write or sync that failed. What the file holds is not known since, so nothing
    /// more is written.
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    slot: u64,
    generation: u32,
    is_live: bool,
}

impl FileKeys {
    /// Reads the key file of a database directory, if there is one.
    pub(crate) fn open(directory: &Path) -> Result<Self> {
        Self::open_as(directory, false)
    }

    /// The same, for who only looks at a database.
    pub(crate) fn open_read_only(directory: &Path) -> Result<Self> {
        Self::open_as(directory, true)
    }

    fn open_as(directory: &Path, is_read_only: bool) -> Result<Self> {
        let path = directory.join(KEYS_FILE);
        let state = State::read(&path, is_read_only).with_context(|| path.display().to_string())?;
        Ok(Self { directory: directory.to_owned(), is_read_only, state: Mutex::new(state) })
    }

    // Nothing panics while the lock is held.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the file; a failure is the end of all changes.
    fn change(&self, change: impl FnOnce(&mut State, &File) -> Result<()>) -> Result<()> {
        if self.is_read_only {
            return Err(Error::new(ErrorKind::ReadOnly));
        }
        let mut state = self.state();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let changed = self.file(&mut state).and_then(|file| change(&mut state, &file));
        changed.map_err(|error| {
            let error = error.context(self.directory.join(KEYS_FILE).display().to_string());
            state.failure = Some(error.clone());
            error
        })
    }

    /// The file, made if there is none yet.
    fn file(&self, state: &mut State) -> Result<File> {
        if let Some(file) = &state.file {
            return file.try_clone().map_err(Error::io);
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(self.directory.join(KEYS_FILE)).map_err(Error::io)?;
        file.write_all_at(&header(), 0).and_then(|()| file.sync_all()).map_err(Error::io)?;
        let directory = File::open(&self.directory).map_err(Error::io)?;
        directory.sync_all().map_err(Error::io)?;
        state.file = Some(file.try_clone().map_err(Error::io)?);
        state.slots = 1;
        Ok(file)
    }
}

impl KeyStore for FileKeys {
    fn load(&self, session: Digest) -> Result<Option<StoredKey>> {
        let state = self.state();
        let (Some(place), Some(file)) = (state.places.get(&session), &state.file) else {
            return Ok(None);
        };
        let generation = place.generation;
        if !place.is_live {
            return Ok(Some(StoredKey { generation, wrapped: None }));
        }
        let mut slot = [0; SLOT_BYTES];
        file.read_exact_at(&mut slot, place.slot * SLOT_BYTES as u64).map_err(Error::io)?;
        match parse(&slot) {
            Some((found, key)) if found == session => Ok(Some(key)),
            _ => Err(Error::corrupt("its slot in the key file was changed")),
        }
    }

    fn put(&self, keys: &[NewKey]) -> Result<()> {
        for key in keys {
            key.check(self.load(key.session)?.as_ref())?;
        }
        self.change(|state, file| {
            let mut places = Vec::with_capacity(keys.len());
            for NewKey { session, generation, wrapped } in keys {
                let slot = match state.places.get(session) {
                    Some(place) => place.slot,
                    None => state.next_slot(),
                };
                write(file, slot, &encode(LIVE, *session, *generation, wrapped)?)?;
                places.push((*session, Place { slot, generation: *generation, is_live: true }));
            }
            file.sync_data().map_err(Error::io)?;
            state.places.extend(places);
            Ok(())
        })
    }

    fn destroy(&self, session: Digest) -> Result<()> {
        let place = self.state().places.get(&session).copied();
        let Some(Place { slot, generation, is_live: true }) = place else { return Ok(()) };
        self.change(|state, file| {
            if let Some(place) = state.places.get_mut(&session) {
                place.is_live = false;
            }
            // Zeros alone could be stored as a hole beside the old bytes.
            let mut noise = [0; WRAPPED_KEY_BYTES_MAX];
            getrandom::fill(&mut noise)
                .map_err(|error| Error::io(std::io::Error::other(error.to_string())))?;
            for wrapped in [noise.as_slice(), &[]] {
                write(file, slot, &encode(DESTROYED, session, generation, wrapped)?)?;
                file.sync_data().map_err(Error::io)?;
            }
            Ok(())
        })
    }

    fn damaged(&self) -> Vec<(u64, Digest)> {
        let state = self.state();
        // One that has another slot since does not miss this one.
        let is_missed = |(_, session): &&(u64, Digest)| !state.places.contains_key(session);
        state.damaged.iter().filter(is_missed).copied().collect()
    }

    fn list(&self) -> Result<Vec<Digest>> {
        let state = self.state();
        let live = state.places.iter().filter(|(_, place)| place.is_live);
        let mut sessions: Vec<Digest> =
            live.map(|(session, _)| *session).filter(|session| !session.is_none()).collect();
        sessions.sort_unstable();
        Ok(sessions)
    }
}

impl State {
    fn read(path: &Path, is_read_only: bool) -> Result<Self> {
        let (places, damaged) = (HashMap::new(), Vec::new());
        let mut state = Self { file: None, places, damaged, slots: 1, failure: None };
        let file = match OpenOptions::new().read(true).write(!is_read_only).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(state),
            Err(error) => return Err(Error::io(error)),
        };
        let len = file.metadata().map_err(Error::io)?.len();
        let mut reader = BufReader::with_capacity(128 * SLOT_BYTES, &file);
        // A crash may have come between making the file and its header; no slot is there then.
        if !read_header(&mut reader, len)? {
            return Ok(state);
        }
        let mut slot = [0; SLOT_BYTES];
        while reader.read_exact(&mut slot).is_ok() {
            match parse(&slot) {
                Some((session, key)) => {
                    let (generation, is_live) = (key.generation, key.wrapped.is_some());
                    state.places.insert(session, Place { slot: state.slots, generation, is_live });
                }
                // It was torn, and holds a key that nothing was sealed under, or it rotted: who
                // misses a key knows.
                None if slot != [0; SLOT_BYTES] => {
                    state.damaged.push((state.slots, session_in(&slot)));
                }
                None => {}
            }
            state.slots += 1;
        }
        // What is left of a slot is never written over: it may be all that tells of damage.
        state.slots = len.div_ceil(SLOT_BYTES as u64);
        state.file = Some(file);
        Ok(state)
    }

    fn next_slot(&mut self) -> u64 {
        let slot = self.slots;
        self.slots += 1;
        slot
    }
}

fn write(file: &File, slot: u64, bytes: &Slot) -> Result<()> {
    file.write_all_at(bytes, slot * SLOT_BYTES as u64).map_err(Error::io)
}

/// Fills a slot: fields, zeros, and the check at the end.
fn fill(fields: &[&[u8]]) -> Result<Slot> {
    let mut slot = [0; SLOT_BYTES];
    let mut at = 0;
    for field in fields {
        let place = slot.get_mut(at..at + field.len()).filter(|_| at < SLOT_BYTES - CHECK_BYTES);
        place.ok_or_else(|| Error::invalid("too long for a slot"))?.copy_from_slice(field);
        at += field.len();
    }
    if let Some((fields, check)) = slot.split_last_chunk_mut() {
        *check = check_of(fields);
    }
    Ok(slot)
}

/// The fields of a slot whose check fits.
fn checked(slot: &Slot) -> Option<Reader<'_>> {
    let (fields, check) = slot.split_last_chunk::<CHECK_BYTES>()?;
    (*check == check_of(fields)).then(|| Reader::new(fields))
}

fn check_of(fields: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = blake3::derive_key("sessionlog v1 key slot", fields);
    digest.first_chunk().copied().unwrap_or_default()
}

fn header() -> Slot {
    fill(&[&MAGIC, &KEYS_VERSION.to_le_bytes()]).unwrap_or([0; SLOT_BYTES])
}

/// Whether the file has its header; not where it is empty or zeros.
fn read_header(reader: &mut impl Read, len: u64) -> Result<bool> {
    let mut slot = [0; SLOT_BYTES];
    let mut begin = Vec::new();
    reader.take(SLOT_BYTES as u64).read_to_end(&mut begin).map_err(Error::io)?;
    if len <= SLOT_BYTES as u64 && begin.iter().all(|byte| *byte == 0) {
        return Ok(false);
    }
    let not_ours = || Error::corrupt("it is no key file");
    slot.get_mut(..begin.len()).ok_or_else(not_ours)?.copy_from_slice(&begin);
    let mut fields = Reader::new(&slot);
    if fields.array()? != MAGIC {
        return Err(not_ours());
    }
    let found = fields.u32()?;
    if found > KEYS_VERSION {
        let supported = KEYS_VERSION;
        return Err(Error::new(ErrorKind::NewerFormat { found, supported }));
    }
    checked(&slot).ok_or_else(not_ours)?;
    Ok(true)
}

fn encode(state: u8, session: Digest, generation: u32, wrapped: &[u8]) -> Result<Slot> {
    let len = u16::try_from(wrapped.len()).map_err(|_| Error::invalid("too long for a slot"))?;
    let (generation, session) = (generation.to_le_bytes(), session.to_bytes());
    fill(&[&[state, 0], &len.to_le_bytes(), &generation, &session, wrapped])
}

/// Whose key a slot says it holds, whether or not its check fits.
fn session_in(slot: &Slot) -> Digest {
    let mut fields = Reader::new(slot);
    let session = fields.slice(SESSION_AT).and_then(|_| fields.array());
    session.map_or(Digest::NONE, Digest)
}

/// What a slot says; `None` where it is free or torn.
fn parse(slot: &Slot) -> Option<(Digest, StoredKey)> {
    let mut fields = checked(slot)?;
    let (state, len) = (fields.u16().ok()?, fields.u16().ok()?);
    let generation = fields.u32().ok()?;
    let session = Digest(fields.array().ok()?);
    let wrapped = match u8::try_from(state).ok()? {
        LIVE => Some(fields.slice(len.into()).ok()?.to_vec()),
        DESTROYED => None,
        _ => return None,
    };
    Some((session, StoredKey { generation, wrapped }))
}
