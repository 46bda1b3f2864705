//! Blobs as files: `ab/cdef...` by name, and under `tmp` what has no name yet.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BlobName, BlobStore, BlobWriter};
use crate::error::{Context, Error, Result};

/// Where a blob is written before it has its name.
const UNFINISHED: &str = "tmp";

/// Keeps each blob in a file of its own. A blob that was finished survives a power cut.
///
/// One process at a time may use a directory: opening removes what a crash left unfinished.
#[derive(Debug)]
pub struct FileBlobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The folders that are known to be on disk, by the first byte of the names in them.
    synced: BTreeSet<u8>,
    /// The first sync of a folder that failed. The next one would succeed without what this one
    /// lost, so nothing more is finished.
    failure: Option<Error>,
}

impl FileBlobs {
    /// Opens the blobs under a path. Their directory is made with the first blob; the one it
    /// lies in must be there by then.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) where what a crash left there cannot be removed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        remove_unfinished(&path.join(UNFINISHED)).map_err(|error| failed(error, &path))?;
        Ok(Self(Arc::new(Shared { path, state: Mutex::default() })))
    }
}

fn remove_unfinished(path: &Path) -> io::Result<()> {
    let Some(entries) = present(fs::read_dir(path))? else { return Ok(()) };
    for entry in entries {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

fn failed(error: io::Error, path: &Path) -> Error {
    Error::io(error).context(path.display().to_string())
}

/// `None` for what is not there.
fn present<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    // The directory that a relative path of one name lies in.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

impl Shared {
    fn folder(&self, first: u8) -> PathBuf {
        self.path.join(format!("{first:02x}"))
    }

    fn place(&self, name: BlobName) -> PathBuf {
        let text = name.to_string();
        let (folder, file) = text.split_at_checked(2).unwrap_or_default();
        self.path.join(folder).join(file)
    }

    // What a panic would leave is what a failed call leaves, and the next call copes with that.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves a file to its name unless that is taken; `true` if it was moved. Either way the
    /// name is on disk afterwards: who took it may not have come that far.
    fn take_in(&self, file: &Path, name: BlobName) -> Result<bool> {
        let mut state = self.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let BlobName([first, ..]) = name;
        let folder = self.folder(first);
        if !state.synced.contains(&first) {
            make_directory(&folder).map_err(Error::io)?;
        }
        let place = self.place(name);
        let is_new = !fs::exists(&place).map_err(Error::io)?;
        if is_new {
            fs::rename(file, &place).map_err(Error::io)?;
        }
        if let Err(error) = self.sync(&mut state, first, &folder) {
            let error = failed(error, &self.path);
            state.failure = Some(error.clone());
            return Err(error);
        }
        Ok(is_new)
    }

    /// A directory that is there may have been made by an opening that a crash ended, so each
    /// is synced once in an opening.
    fn sync(&self, state: &mut State, first: u8, folder: &Path) -> io::Result<()> {
        sync_directory(folder)?;
        if !state.synced.contains(&first) {
            sync_directory(&self.path)?;
            self.path.parent().map_or(Ok(()), sync_directory)?;
            state.synced.insert(first);
        }
        Ok(())
    }

    fn create(&self) -> io::Result<(File, PathBuf)> {
        make_directory(&self.path)?;
        let unfinished = self.path.join(UNFINISHED);
        make_directory(&unfinished)?;
        let path = unfinished.join(uuid::Uuid::new_v4().to_string());
        Ok((File::create_new(&path)?, path))
    }

    fn remove(&self, name: BlobName) -> io::Result<bool> {
        let place = self.place(name);
        if present(fs::remove_file(&place))?.is_none() {
            return Ok(false);
        }
        place.parent().map_or(Ok(()), sync_directory)?;
        Ok(true)
    }

    /// The blobs of a folder behind a name, in order; of each the file.
    fn list(
        &self,
        first: u8,
        after: Option<BlobName>,
    ) -> io::Result<Vec<(BlobName, fs::DirEntry)>> {
        let mut found = Vec::new();
        let entries = present(fs::read_dir(self.folder(first)))?;
        for entry in entries.into_iter().flatten() {
            let entry = entry?;
            let text = format!("{first:02x}{}", entry.file_name().to_string_lossy());
            // What is no blob was not put there by this store, and is left alone.
            let Ok(name) = text.parse::<BlobName>() else { continue };
            if after.is_none_or(|after| name > after) {
                found.push((name, entry));
            }
        }
        found.sort_unstable_by_key(|(name, _)| *name);
        Ok(found)
    }

    fn names(&self, after: Option<BlobName>, limit: usize) -> io::Result<Vec<(BlobName, u64)>> {
        let mut names = Vec::new();
        let from = after.map_or(0, |BlobName([first, ..])| first);
        for first in from..=u8::MAX {
            if names.len() >= limit {
                break;
            }
            for (name, entry) in self.list(first, after)?.into_iter().take(limit - names.len()) {
                if let Some(metadata) = present(entry.metadata())? {
                    names.push((name, metadata.len()));
                }
            }
        }
        Ok(names)
    }
}

impl BlobStore for FileBlobs {
    fn create(&self) -> Result<Box<dyn BlobWriter>> {
        let (file, path) = self.0.create().map_err(|error| failed(error, &self.0.path))?;
        let unfinished = Unfinished(path);
        Ok(Box::new(FileWriter { file, unfinished, store: Arc::clone(&self.0) }))
    }

    fn open(&self, name: BlobName) -> Result<Option<Box<dyn Read + Send>>> {
        let place = self.0.place(name);
        let file = present(File::open(&place)).map_err(|error| failed(error, &place))?;
        Ok(file.map(|file| -> Box<dyn Read + Send> { Box::new(file) }))
    }

    fn size(&self, name: BlobName) -> Result<Option<u64>> {
        let place = self.0.place(name);
        let metadata = present(fs::metadata(&place)).map_err(|error| failed(error, &place))?;
        Ok(metadata.map(|metadata| metadata.len()))
    }

    fn remove(&self, name: BlobName) -> Result<bool> {
        self.0.remove(name).map_err(|error| failed(error, &self.0.place(name)))
    }

    fn names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<(BlobName, u64)>> {
        self.0.names(after, limit).map_err(|error| failed(error, &self.0.path))
    }

    fn disk_bytes(&self) -> Result<u64> {
        file_bytes(&self.0.path).map_err(|error| failed(error, &self.0.path))
    }
}

/// Bytes of all files below a directory, unfinished ones too.
fn file_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in present(fs::read_dir(path))?.into_iter().flatten() {
        let entry = entry?;
        let Some(metadata) = present(entry.metadata())? else { continue };
        bytes += if metadata.is_dir() { file_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// A file without a name yet, removed when dropped.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Once it has its name nothing is there any more. What cannot be removed, the next
        // opening removes.
        drop(fs::remove_file(&self.0));
    }
}

struct FileWriter {
    file: File,
    unfinished: Unfinished,
    store: Arc<Shared>,
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter for FileWriter {
    fn finish(self: Box<Self>, name: BlobName) -> Result<bool> {
        let Self { file, unfinished, store } = *self;
        // Before it has its name, so that no name ever stands for half a blob.
        file.sync_all().map_err(|error| failed(error, &unfinished.0))?;
        store.take_in(&unfinished.0, name).with_context(|| store.path.display().to_string())
    }
}

#[cfg(test)]
mod tests;
