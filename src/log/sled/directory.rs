//! The directory of a database, and its files.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// The file sled writes.
pub(super) const DATA_FILE: &str = "db";
pub(super) const MARK_FILE: &str = "sessionlog.mark";
pub(super) const JOURNAL_FILE: &str = "sessionlog.journal";

/// Whether a database is there. Refuses a path that holds something else, before sled writes
/// into it.
pub(super) fn check_directory(path: &Path) -> Result<bool> {
    let not_ours = |reason: String| Err(Error::new(ErrorKind::NotADatabase { reason }));
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io(error)),
    };
    if !metadata.is_dir() {
        return not_ours(String::from("a file is there, and a database is a directory"));
    }
    let names = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(Error::io)?;
    let names: Vec<std::ffi::OsString> = names;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    // Beside a database of ours a stranger does no harm.
    if !has(MARK_FILE) {
        let is_ours = |name: &str| {
            ["conf", DATA_FILE, "blobs", JOURNAL_FILE].contains(&name) || is_snapshot(name)
        };
        let stranger = names.iter().map(|name| name.to_string_lossy()).find(|name| !is_ours(name));
        if let Some(name) = stranger {
            return not_ours(format!("the directory holds {name:?}"));
        }
    }
    Ok(has(DATA_FILE))
}

fn is_snapshot(name: &str) -> bool {
    name.starts_with("snap.")
}

/// Removes sled's own snapshots; whether there were any.
pub(super) fn remove_snapshots(path: &Path) -> bool {
    let Ok(entries) = fs::read_dir(path) else { return false };
    let snapshots =
        entries.flatten().filter(|entry| is_snapshot(&entry.file_name().to_string_lossy()));
    snapshots.filter(|snapshot| fs::remove_file(snapshot.path()).is_ok()).count() > 0
}

/// Makes the directory and those above it; returns the one that was there.
pub(super) fn make_directory(path: &Path) -> std::io::Result<PathBuf> {
    let mut made_in = path;
    while !made_in.exists() {
        match made_in.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => made_in = parent,
            _ => {
                made_in = Path::new(".");
                break;
            }
        }
    }
    fs::create_dir_all(path)?;
    fs::canonicalize(made_in)
}

/// A copy of a database in a directory of its own, removed when dropped.
#[derive(Debug)]
pub(super) struct Copy(PathBuf);

impl Copy {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let name = format!("sessionlog-salvage-{}", uuid::Uuid::new_v4());
        let copy = Self(std::env::temp_dir().join(name));
        copy_directory(path, &copy.0)?;
        Ok(copy)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        // In a directory for temporary files, so whatever is left goes some day.
        drop(fs::remove_dir_all(&self.0));
    }
}

fn copy_directory(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    let mut entries = fs::read_dir(from)?.collect::<std::io::Result<Vec<_>>>()?;
    // The journal last: where somebody writes meanwhile, it holds what sled's file lacks.
    entries.sort_by_key(|entry| entry.file_name() == JOURNAL_FILE);
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_directory(&entry.path(), &target)?;
        } else {
            // Written anew rather than copied, so that it can be written to whoever owned it.
            fs::write(target, fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// A file that was just made is on disk only when its directory is, and a directory only when
/// the one it lies in is.
pub(super) fn sync_directories(path: &Path, made_in: &Path) -> std::io::Result<()> {
    for name in ["conf", MARK_FILE, JOURNAL_FILE] {
        File::open(path.join(name))?.sync_all()?;
    }
    let path = fs::canonicalize(path)?;
    for directory in path.ancestors() {
        File::open(directory)?.sync_all()?;
        // A directory that was there may have been made by an opening that a crash ended.
        if directory == made_in && directory != path {
            return Ok(());
        }
        if directory == made_in {
            let parent = directory.parent().unwrap_or(directory);
            return File::open(parent)?.sync_all();
        }
    }
    Ok(())
}

pub(super) fn directory_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    file.write_all_at(bytes, at)
}

pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    file.read_exact_at(bytes, at)
}
