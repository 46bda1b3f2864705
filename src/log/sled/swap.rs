//! How a copy takes the place of the database that it was made of, so that a crash at any moment
//! leaves one whole database.
//!
//! What holds throughout: the database's own data file is whole, with the packed file that it
//! names, until the copy's takes its name, and then that is, with the copy's packed file beside it.
//! Until the state file says that the copy is whole it is thrown away, from then on every opening
//! goes on where a crash ended it, and each step can be done twice. No packed file goes that the
//! data file in place may name: see [`remove_other_packs`].

use std::fs::{self, File};
use std::io::{ErrorKind as IoKind, Write};
use std::path::{Path, PathBuf};

use super::directory::{
    BLOBS_FOLDER, CONFIG_FILE, DATA_FILE, REWRITE_FILE, REWRITE_FOLDER, holds_records, packs_in,
    remove_snapshots, sync_directory,
};
use super::pack::PackId;
use crate::bytes::Reader;
use crate::error::{Context, Error, ErrorKind, Result};

const MAGIC: [u8; 4] = *b"SLrw";
/// The version that is written, and the newest that is read.
const VERSION: u32 = 1;
/// Bytes that the check covers: magic, version, and what the copy is.
const COVERED_BYTES: usize = 32;
const CHECK_BYTES: usize = 16;

/// Is told of every step that is done, and may end it there: a test does, as a crash would.
pub(super) type Steps<'a> = dyn FnMut(&'static str) -> Result<()> + 'a;

/// What a copy is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Made {
    data_bytes: u64,
    pack: PackId,
    pack_bytes: u64,
}

/// Says that the copy with this packed file is whole. It must be on disk, with its folder.
pub(super) fn announce(path: &Path, pack: PackId) -> Result<()> {
    let announce = || {
        let copy = path.join(REWRITE_FOLDER);
        let data_bytes = fs::metadata(copy.join(DATA_FILE))?.len();
        let pack_bytes = fs::metadata(pack.path_in(&copy))?.len();
        let mut file = File::create(path.join(REWRITE_FILE))?;
        file.write_all(&state(Made { data_bytes, pack, pack_bytes }))?;
        file.sync_all()?;
        sync_directory(path)
    };
    announce().map_err(Error::io)
}

/// Finishes a rewrite that ended on its way, or takes it back. Needs the lock, and sled closed.
pub(super) fn settle(path: &Path, steps: &mut Steps<'_>) -> Result<()> {
    settle_copy(path, steps).context("finishing a rewrite")
}

fn settle_copy(path: &Path, steps: &mut Steps<'_>) -> Result<()> {
    let state = read(&path.join(REWRITE_FILE))?;
    let copy = path.join(REWRITE_FOLDER);
    if state.is_none() && !copy.exists() {
        return Ok(());
    }
    if let Some(made) = state.as_deref().map(parse).transpose()?.flatten() {
        match Left::of(made, path, &copy)? {
            Left::Whole => put_in_place(path, &copy, made.pack, steps)?,
            Left::Half => unless_missing(fs::remove_file(made.pack.path_in(path)))?,
            Left::Nothing => {}
        }
    }
    take_back(path, steps)
}

/// Throws away what a rewrite has made and not put in place.
pub(super) fn take_back(path: &Path, steps: &mut Steps<'_>) -> Result<()> {
    // The state first, and on disk: it must not speak of a copy that is gone, nor of the next one.
    unless_missing(fs::remove_file(path.join(REWRITE_FILE)))?;
    sync_directory(path).map_err(Error::io)?;
    steps("the state is gone")?;
    throw_away(path)?;
    steps("the folder is gone")?;
    sync_directory(path).map_err(Error::io)
}

/// What there is of the copy that a state speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// All of it, whether or not it has begun to take its place.
    Whole,
    /// A part of another length than it had. So its data file has not taken its place.
    Half,
    /// Nothing, or what is of another rewrite. Then the database is as it was.
    Nothing,
}

impl Left {
    fn of(made: Made, path: &Path, copy: &Path) -> Result<Self> {
        let len = |path: PathBuf| fs::metadata(path).map(|file| file.len()).ok();
        let packed = len(made.pack.path_in(copy));
        let packed_in_place = len(made.pack.path_in(path));
        let is_packed = |packed: Option<u64>| packed == Some(made.pack_bytes);
        let Some(data) = len(copy.join(DATA_FILE)) else {
            return Ok(if is_packed(packed_in_place) { Self::Whole } else { Self::Nothing });
        };
        if packs_in(copy).map_err(Error::io)?.iter().any(|pack| *pack != made.pack) {
            return Ok(Self::Nothing);
        }
        let is_whole = data == made.data_bytes && is_packed(packed.or(packed_in_place));
        Ok(if is_whole { Self::Whole } else { Self::Half })
    }
}

fn put_in_place(path: &Path, copy: &Path, pack: PackId, steps: &mut Steps<'_>) -> Result<()> {
    if copy.join(DATA_FILE).exists() {
        // They are of the data file that goes. sled makes them anew where they are missing.
        remove_snapshots(path).map_err(Error::io)?;
        steps("sled's snapshots are gone")?;
        unless_missing(fs::remove_dir_all(path.join(BLOBS_FOLDER)))?;
        steps("the blobs are gone")?;
        unless_missing(fs::rename(pack.path_in(copy), pack.path_in(path)))?;
        steps("the packed file is in place")?;
        // Before the data file that needs it.
        sync_directory(path).map_err(Error::io)?;
        fs::rename(copy.join(DATA_FILE), path.join(DATA_FILE)).map_err(Error::io)?;
        steps("the data file is in place")?;
    }
    unless_missing(fs::rename(copy.join(CONFIG_FILE), path.join(CONFIG_FILE)))?;
    steps("the configuration is in place")?;
    // Before the state goes: without it, a data file that is back in the folder is thrown away.
    sync_directory(path).map_err(Error::io)?;
    steps("the names are on disk")
}

/// Removes the packed files of a database but the one that its data file lies over: what was before
/// a rewrite, or what one had put beside a data file that it did not come to replace. Only whoever
/// has opened that file knows which is which.
pub(super) fn remove_other_packs(path: &Path, kept: PackId) -> Result<()> {
    for other in packs_in(path).map_err(Error::io)? {
        if other != kept {
            unless_missing(fs::remove_file(other.path_in(path)))?;
        }
    }
    Ok(())
}

/// Removes the copy. A folder that holds anything else is somebody else's.
fn throw_away(path: &Path) -> Result<()> {
    let copy = path.join(REWRITE_FOLDER);
    let entries = match fs::read_dir(&copy) {
        Ok(entries) => entries,
        Err(error) => return unless_missing(Err(error)),
    };
    let names = entries.map(|entry| Ok(entry?.file_name())).collect::<std::io::Result<Vec<_>>>();
    let names = names.map_err(Error::io)?;
    if names.iter().all(|name| holds_records(&name.to_string_lossy())) {
        unless_missing(fs::remove_dir_all(copy))?;
    }
    Ok(())
}

fn unless_missing(done: std::io::Result<()>) -> Result<()> {
    match done {
        Err(error) if error.kind() != IoKind::NotFound => Err(Error::io(error)),
        _ => Ok(()),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == IoKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(error)),
    }
}

fn state(made: Made) -> Vec<u8> {
    let Made { data_bytes, pack, pack_bytes } = made;
    let mut state = MAGIC.to_vec();
    state.extend_from_slice(&VERSION.to_le_bytes());
    for number in [data_bytes, pack.0, pack_bytes] {
        state.extend_from_slice(&number.to_le_bytes());
    }
    state.extend_from_slice(&check(&state));
    state
}

/// What the copy is made of; `None` where the state was not written whole.
fn parse(state: &[u8]) -> Result<Option<Made>> {
    let mut reader = Reader::new(state);
    let (Ok(covered), Ok(found)) = (reader.slice(COVERED_BYTES), reader.array()) else {
        return Ok(None);
    };
    if !covered.starts_with(&MAGIC) || check(covered) != found {
        return Ok(None);
    }
    let mut reader = Reader::new(covered);
    reader.slice(MAGIC.len())?;
    let (found, supported) = (reader.u32()?, VERSION);
    if found > supported {
        return Err(Error::new(ErrorKind::NewerFormat { found, supported }));
    }
    let (data_bytes, pack, pack_bytes) = (reader.u64()?, PackId(reader.u64()?), reader.u64()?);
    Ok(Some(Made { data_bytes, pack, pack_bytes }))
}

fn check(covered: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 rewrite");
    hasher.update(covered).finalize_xof().fill(&mut check);
    check
}
