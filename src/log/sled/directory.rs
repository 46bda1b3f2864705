//! The directory of a database, and its files.

use std::fs::{self, File};
use std::path::Path;

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
    let mut has_data = false;
    for entry in fs::read_dir(path).map_err(Error::io)? {
        let name = entry.map_err(Error::io)?.file_name();
        let name = name.to_string_lossy();
        let is_ours = ["conf", DATA_FILE, "blobs", MARK_FILE, JOURNAL_FILE].contains(&&*name)
            || name.starts_with("snap.");
        if !is_ours {
            return not_ours(format!("the directory holds {name:?}"));
        }
        has_data |= name == DATA_FILE;
    }
    Ok(has_data)
}

/// A file that was just made is on disk only when its directory is, and a directory only when
/// the one it lies in is.
pub(super) fn sync_directories(path: &Path) -> std::io::Result<()> {
    for name in ["conf", MARK_FILE, JOURNAL_FILE] {
        File::open(path.join(name))?.sync_all()?;
    }
    let path = fs::canonicalize(path)?;
    File::open(&path)?.sync_all()?;
    for parent in path.ancestors().skip(1) {
        // Those further up were there before, and may not be ours to open.
        drop(File::open(parent).and_then(|parent| parent.sync_all()));
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

#[cfg(unix)]
pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

#[cfg(unix)]
pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

#[cfg(windows)]
pub(super) fn write_at(file: &File, mut bytes: &[u8], mut at: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        bytes = bytes.get(written..).unwrap_or_default();
        at += written as u64;
    }
    Ok(())
}

#[cfg(windows)]
pub(super) fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        bytes = bytes.get_mut(read..).unwrap_or_default();
        at += read as u64;
    }
    Ok(())
}
