//! The directory of a database, and its files.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::pack::PackId;
use crate::error::{Error, ErrorKind, Result};

/// The file sled writes.
pub(super) const DATA_FILE: &str = "db";
/// What sled was opened with.
pub(super) const CONFIG_FILE: &str = "conf";
/// Where sled puts large page fragments: it stays empty here.
pub(super) const BLOBS_FOLDER: &str = "blobs";
pub(super) const MARK_FILE: &str = "sessionlog.mark";
/// The folder for media, which is not the log's but lies beside it.
pub(crate) const MEDIA_FOLDER: &str = "media";
/// The folder of the search index, which is not the log's either. It can be made anew from it.
pub(crate) const SEARCH_FOLDER: &str = "search";
pub(super) const JOURNAL_FILE: &str = "sessionlog.journal";
/// Says that the copy a rewrite made is whole.
pub(super) const REWRITE_FILE: &str = "sessionlog.rewrite";
/// Where a rewrite makes its copy.
pub(super) const REWRITE_FOLDER: &str = "rewritten";
/// The keys of a sealed database. Not in sled, where what is removed is not erased.
pub(crate) const KEYS_FILE: &str = "sessionlog.keys";

/// What a database may hold before it has its mark, sled's own apart.
const BESIDE_SLED: [&str; 4] = [JOURNAL_FILE, MEDIA_FOLDER, KEYS_FILE, SEARCH_FOLDER];

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
        let is_ours = |name: &str| BESIDE_SLED.contains(&name) || holds_records(name);
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

/// Whether sled makes a file or folder of that name.
pub(super) fn is_sleds(name: &str) -> bool {
    [CONFIG_FILE, DATA_FILE, BLOBS_FOLDER].contains(&name) || is_snapshot(name)
}

/// The same, or a packed file.
pub(super) fn holds_records(name: &str) -> bool {
    is_sleds(name) || PackId::of_name(name).is_some()
}

/// The packed files of a directory.
pub(super) fn packs_in(path: &Path) -> std::io::Result<Vec<PackId>> {
    let mut packs = Vec::new();
    for entry in fs::read_dir(path)? {
        packs.extend(PackId::of_name(&entry?.file_name().to_string_lossy()));
    }
    Ok(packs)
}

/// Removes sled's own snapshots; whether there were any.
pub(super) fn remove_snapshots(path: &Path) -> std::io::Result<bool> {
    let mut were_any = false;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if is_snapshot(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
            were_any = true;
        }
    }
    Ok(were_any)
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

/// A rewrite takes longer than a copy, so a second one hardly falls into the next try.
const COPY_TRIES_MAX: u32 = 4;

/// Which file the data file is, whatever its name.
fn data_file_id(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path.join(DATA_FILE)).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// How the directories of copies are called.
const COPY_PREFIX: &str = "sessionlog-salvage-";
/// Nobody takes so long until a copy that is being made is locked like any database.
const COPY_UNLOCKED_MAX: Duration = Duration::from_secs(3_600);

/// A copy of a database, its media too, in a directory of its own, removed when dropped.
#[derive(Debug)]
pub(super) struct PrivateCopy(PathBuf);

impl PrivateCopy {
    pub(super) fn of(path: &Path) -> std::io::Result<Self> {
        let folder = std::env::temp_dir();
        remove_left_copies(&folder);
        let mut tries = 1;
        loop {
            let name = format!("{COPY_PREFIX}{}", uuid::Uuid::new_v4());
            let copy = Self(folder.join(name));
            let before = data_file_id(path);
            let copied = copy_directory(path, &copy.0, false);
            // Where a rewrite took the database's place meanwhile, a part of the copy is of the
            // one before.
            if data_file_id(path) == before || tries == COPY_TRIES_MAX {
                return copied.map(|()| copy);
            }
            tries += 1;
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        // In a directory for temporary files, so whatever is left goes some day.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Removes copies whose process was killed: nobody holds their lock.
fn remove_left_copies(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(COPY_PREFIX) && is_left(&entry).unwrap_or(false) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

fn is_left(copy: &fs::DirEntry) -> std::io::Result<bool> {
    let age = copy.metadata()?.modified()?.elapsed().unwrap_or_default();
    if age < COPY_UNLOCKED_MAX {
        return Ok(false);
    }
    // Without its mark it was never whole.
    match File::open(copy.path().join(MARK_FILE)) {
        Ok(mark) => Ok(mark.try_lock().is_ok()),
        Err(error) => Ok(error.kind() == std::io::ErrorKind::NotFound),
    }
}

fn copy_directory(from: &Path, to: &Path, is_media: bool) -> std::io::Result<()> {
    // It lies where everybody has their temporary files.
    fs::DirBuilder::new().mode(0o700).create(to)?;
    let mut entries = fs::read_dir(from)?.collect::<std::io::Result<Vec<_>>>()?;
    // The journal last: where somebody writes meanwhile, it holds what sled's file lacks. The
    // state of a rewrite first: what it says is whole must not be copied before it is.
    entries.sort_by_key(|entry| match entry.file_name() {
        name if name == REWRITE_FILE => 0,
        name if name == JOURNAL_FILE => 2,
        _ => 1,
    });
    for entry in entries {
        // Whoever looks at a copy makes an index of their own, if they search at all.
        if !is_media && entry.file_name() == SEARCH_FOLDER {
            continue;
        }
        let is_media = is_media || entry.file_name() == MEDIA_FOLDER;
        match copy_entry(&entry, &to.join(entry.file_name()), is_media) {
            // What goes meanwhile is one of sled's snapshots, half of a rewrite, or a medium that
            // had no name yet.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}

/// A medium never changes once it has its name, and neither does a packed file, so another name for
/// the file will do where the file system has that.
fn copy_entry(entry: &fs::DirEntry, target: &Path, is_media: bool) -> std::io::Result<()> {
    let source = entry.path();
    if entry.file_type()?.is_dir() {
        return copy_directory(&source, target, is_media);
    }
    if is_media || PackId::of_name(&entry.file_name().to_string_lossy()).is_some() {
        return fs::hard_link(&source, target).or_else(|_| fs::copy(source, target).map(drop));
    }
    // Written anew rather than copied, so that it can be written to whoever owned it.
    let (mut source, mut target) = (File::open(source)?, File::create(target)?);
    std::io::copy(&mut source, &mut target).map(drop)
}

/// A file that was just made is on disk only when its directory is, and a directory only when
/// the one it lies in is.
pub(super) fn sync_directories(path: &Path, made_in: &Path) -> std::io::Result<()> {
    for name in [CONFIG_FILE, MARK_FILE, JOURNAL_FILE] {
        File::open(path.join(name))?.sync_all()?;
    }
    let path = fs::canonicalize(path)?;
    for directory in path.ancestors() {
        if directory == path {
            sync_directory(directory)?;
        } else {
            sync_readable(directory)?;
        }
        // A directory that was there may have been made by an opening that a crash ended.
        if directory == made_in && directory != path {
            return Ok(());
        }
        if directory == made_in {
            let parent = directory.parent().unwrap_or(directory);
            return sync_readable(parent);
        }
    }
    Ok(())
}

/// Whoever may enter a directory and not read it has made nothing in it that must be synced.
fn sync_readable(path: &Path) -> std::io::Result<()> {
    match sync_directory(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

/// Bytes of all files of a database, its media too.
pub(super) fn directory_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // Media come and go without the log.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        bytes += if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}

/// Bytes of the files of a directory that hold records: sled's, and the packed one.
pub(super) fn record_file_bytes(path: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if holds_records(&entry.file_name().to_string_lossy()) {
            let metadata = entry.metadata()?;
            bytes +=
                if metadata.is_dir() { directory_bytes(&entry.path())? } else { metadata.len() };
        }
    }
    Ok(bytes)
}

/// Makes the names in a directory survive a power cut.
pub(super) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn write_at(file: &File, bytes: &[u8], at: u64) -> std::io::Result<()> {
    file.write_all_at(bytes, at)
}

pub(super) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> std::io::Result<()> {
    file.read_exact_at(bytes, at)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn copies_that_a_killed_process_left_go_once_nobody_can_be_making_them() {
        let folder = tempfile::tempdir().unwrap();
        let copy = |name: &str, hours: u32| {
            let path = folder.path().join(format!("{COPY_PREFIX}{name}"));
            fs::create_dir(&path).unwrap();
            let mark = File::create(path.join(MARK_FILE)).unwrap();
            let made = fs::metadata(&path).unwrap().modified().unwrap();
            let then = made - Duration::from_secs(3_600) * hours;
            File::open(&path).unwrap().set_modified(then).unwrap();
            (path, mark)
        };
        let (left, mark) = copy("left", 2);
        drop(mark);
        let (made, mark) = copy("made", 0);
        drop(mark);
        let (held, mark) = copy("held", 2);
        mark.lock().unwrap();
        remove_left_copies(folder.path());
        assert!(!left.exists() && made.exists() && held.exists());
    }

    #[test]
    fn media_belong_to_a_database_and_go_with_its_copy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::create_dir_all(path.join(MEDIA_FOLDER).join("ab")).unwrap();
        let medium = Path::new(MEDIA_FOLDER).join("ab").join("cd");
        fs::write(path.join(&medium), b"medium").unwrap();
        assert!(!check_directory(path).unwrap());
        assert_eq!(directory_bytes(path).unwrap(), 6);
        let copy = PrivateCopy::of(path).unwrap();
        assert_eq!(fs::read(copy.path().join(&medium)).unwrap(), b"medium");
        assert_eq!(fs::metadata(copy.path()).unwrap().permissions().mode() & 0o777, 0o700);
        drop(copy);
        assert_eq!(fs::read(path.join(&medium)).unwrap(), b"medium");
    }
}
