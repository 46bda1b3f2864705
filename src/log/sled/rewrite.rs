//! Writes a database into files of its own size: sled never gives room back, and never makes its
//! file shorter.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::directory::{CONFIG_FILE, DATA_FILE, REWRITE_FOLDER, sled_bytes, sync_directory};
use super::feeder::Feeder;
use super::swap::{self, Steps};
use super::tree::Tree;
use super::{Files, SledOptions};
use crate::error::{Context, Error, Result};
use crate::log::{Op, PageLimit, Record, key};

/// What a rewrite did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rewritten {
    /// Records that were written.
    pub records: u64,
    /// Bytes of the files that held them before.
    pub before_bytes: u64,
    /// Bytes of the files that hold them now.
    pub after_bytes: u64,
}

/// Rewrites the database at a path. Nobody may have it open. `progress` is told how many records
/// are written so far.
///
/// It needs room for a second copy. What ends it on its way leaves the database as it was, or as
/// it should be; the next opening knows which.
pub(crate) fn rewrite(
    path: &Path,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Rewritten> {
    rewrite_in_steps(path, cache_bytes, progress, &mut |_| Ok(()))
        .with_context(|| path.display().to_string())
}

fn rewrite_in_steps(
    path: &Path,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
    steps: &mut Steps<'_>,
) -> Result<Rewritten> {
    // Two trees are open at a time.
    let options = SledOptions { create: false, cache_bytes: cache_bytes / 2, as_copy: false };
    let Files { mut journal, feeder, tree, data, mark, .. } = Files::open(path, options)?;
    // What it held must not be done again over the copy, nor be read in it.
    journal.sync()?;
    journal.clear()?;
    journal.sync()?;
    let before_bytes = sled_bytes(path).map_err(Error::io)?;
    let made = make(path, &tree, options.cache_bytes, progress, steps);
    drop((feeder, tree, data));
    let announced = made.and_then(|records| {
        // Until then sled may write to the directory.
        Tree::wait_until_closed(path)?;
        steps("the database is closed")?;
        swap::announce(path)?;
        steps("the copy is announced")?;
        Ok(records)
    });
    if announced.is_err() && steps("the copy is useless").is_ok() {
        // Where this fails too, the next opening does it.
        drop(swap::throw_away(path));
    }
    let records = announced?;
    swap::settle(path, steps)?;
    let after_bytes = sled_bytes(path).map_err(Error::io)?;
    // The lock, until here.
    drop(mark);
    Ok(Rewritten { records, before_bytes, after_bytes })
}

/// Makes the copy and has it on disk; returns how many records it has.
fn make(
    path: &Path,
    from: &Tree,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
    steps: &mut Steps<'_>,
) -> Result<u64> {
    let folder = path.join(REWRITE_FOLDER);
    // Nobody reads of it who may not read the database.
    let made = fs::DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(Error::io).with_context(|| folder.display().to_string())?;
    steps("the folder is there")?;
    let written = fill(&folder, from, cache_bytes, progress)?;
    steps("all is written")?;
    // What is read back is what the database will hold, and the only other copy goes.
    let copy = Tree::open(&folder, cache_bytes)?;
    let mut stored = Contents::default();
    each_page(&copy, &mut |page| {
        stored.take(&page);
        Ok(())
    })?;
    drop(copy);
    Tree::wait_until_closed(&folder)?;
    if stored.digest() != written.digest() {
        return Err(Error::corrupt("sled does not give back what it was given"));
    }
    steps("all was read back")?;
    take_after(path, &folder).map_err(Error::io)?;
    sync(path, &folder).map_err(Error::io)?;
    steps("the copy is on disk")?;
    Ok(written.records)
}

/// Writes all records into a new database of sled's.
fn fill(
    folder: &Path,
    from: &Tree,
    cache_bytes: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Contents> {
    let to = Arc::new(Tree::open(folder, cache_bytes)?);
    let data = File::open(folder.join(DATA_FILE)).map_err(Error::io)?;
    // It bounds what sled has not handed on, as for any other database.
    let mut feeder = Feeder::new(to, data);
    let mut written = Contents::default();
    each_page(from, &mut |page| {
        written.take(&page);
        let ops: Vec<_> = page.into_iter().map(Op::Insert).collect();
        feeder.apply(&ops)?;
        progress(written.records);
        Ok(())
    })?;
    feeder.sync()?;
    Ok(written)
}

fn each_page(tree: &Tree, each: &mut dyn FnMut(Vec<Record>) -> Result<()>) -> Result<()> {
    let mut range = key::everything();
    loop {
        let page = tree.page(&range, PageLimit::default())?;
        let Some(last) = page.last() else { return Ok(()) };
        range = range.behind(&last.key);
        each(page)?;
    }
}

/// Whoever reads and writes the database, and not whoever rewrites it, has the copy.
fn take_after(path: &Path, folder: &Path) -> std::io::Result<()> {
    for name in [DATA_FILE, CONFIG_FILE] {
        let old = fs::metadata(path.join(name))?;
        chown(folder.join(name), Some(old.uid()), Some(old.gid()))?;
        fs::set_permissions(folder.join(name), old.permissions())?;
    }
    Ok(())
}

/// sled's own flush does not survive a power cut.
fn sync(path: &Path, folder: &Path) -> std::io::Result<()> {
    for name in [DATA_FILE, CONFIG_FILE] {
        File::open(folder.join(name))?.sync_all()?;
    }
    sync_directory(folder)?;
    sync_directory(path)
}

/// What a tree holds, to be compared.
#[derive(Debug, Default)]
struct Contents {
    records: u64,
    hasher: blake3::Hasher,
}

impl Contents {
    fn take(&mut self, page: &[Record]) {
        for Record { key, value } in page {
            for part in [key, value] {
                self.hasher.update(&(part.len() as u64).to_le_bytes()).update(part);
            }
            self.records += 1;
        }
    }

    fn digest(&self) -> (u64, [u8; 32]) {
        (self.records, self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::super::directory::{JOURNAL_FILE, MARK_FILE, REWRITE_FILE, check_directory};
    use super::super::{PrivateCopy, SledLog};
    use super::*;
    use crate::error::ErrorKind;
    use crate::log::{Batch, Durability, Log};

    const CACHE_BYTES: u64 = 4 << 20;
    const MARK: u64 = 60;

    fn open(path: &Path, as_copy: bool) -> SledLog {
        let options = SledOptions { create: true, cache_bytes: CACHE_BYTES, as_copy };
        SledLog::open(path, options).unwrap()
    }

    /// A database with holes in it, and with what other parts of the program keep beside it.
    fn database() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let log = open(path, false);
        for number in 0..60_u8 {
            let mut batch = Batch::new();
            batch.insert(vec![b'f', number], vec![number; 2_000 + usize::from(number)]);
            log.append(&batch, Durability::PowerLoss, u64::from(number)).unwrap();
        }
        let mut batch = Batch::new();
        batch.insert(vec![b'g', 1], vec![9; 300_000]);
        batch.insert(vec![b'g', 2], Vec::new());
        (0..60_u8).step_by(3).for_each(|number| batch.remove(vec![b'f', number]));
        (1..60_u8).step_by(3).for_each(|number| batch.replace(vec![b'f', number], vec![number]));
        log.append(&batch, Durability::PowerLoss, MARK).unwrap();
        drop(log);
        // sled notes as it opens what it found.
        drop(open(path, false));
        Tree::wait_until_closed(path).unwrap();
        fs::create_dir(path.join("media")).unwrap();
        fs::write(path.join("media/picture"), "seen").unwrap();
        fs::write(path.join("sessionlog.keys"), "kept").unwrap();
        directory
    }

    fn records(log: &dyn Log) -> Vec<Record> {
        crate::log::Scan::new(log, key::everything()).map(Result::unwrap).collect()
    }

    fn crash(at: usize) -> impl FnMut(&'static str) -> Result<()> {
        let mut done = 0;
        move |_| {
            done += 1;
            if done > at { Err(Error::invalid("crashed")) } else { Ok(()) }
        }
    }

    fn snapshots(path: &Path) -> usize {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snap.")).count()
    }

    /// Everything is there, nothing is left of the rewrite, and it can be written to.
    fn check_whole(path: &Path, wanted: &[Record], place: &str) {
        let salvaged = open(path, true);
        assert!(records(&salvaged) == wanted, "a copy, {place}");
        drop(salvaged);
        let log = open(path, false);
        assert!(records(&log) == wanted, "{place}");
        assert_eq!(log.durable_mark().unwrap(), Some(MARK), "{place}");
        let mut batch = Batch::new();
        batch.insert(vec![b'z'], vec![1; 5_000]);
        log.append(&batch, Durability::PowerLoss, MARK + 1).unwrap();
        drop(log);
        let log = open(path, false);
        assert_eq!(records(&log).len(), wanted.len() + 1, "{place}");
        drop(log);
        assert!(!path.join(REWRITE_FOLDER).exists() && !path.join(REWRITE_FILE).exists());
        assert_eq!(fs::read_to_string(path.join("media/picture")).unwrap(), "seen");
        assert_eq!(fs::read_to_string(path.join("sessionlog.keys")).unwrap(), "kept");
    }

    fn copy_of(path: &Path) -> PrivateCopy {
        PrivateCopy::of(path).unwrap()
    }

    /// A database with a whole copy that has not taken its place.
    fn announced() -> (tempfile::TempDir, Vec<Record>) {
        let directory = database();
        let wanted = records(&open(directory.path(), true));
        let steps = &mut |step| match step {
            "the copy is announced" | "the copy is useless" => Err(Error::invalid("crashed")),
            _ => Ok(()),
        };
        rewrite_in_steps(directory.path(), CACHE_BYTES, &mut |_| (), steps).unwrap_err();
        assert!(directory.path().join(REWRITE_FILE).exists());
        (directory, wanted)
    }

    #[test]
    fn a_rewrite_keeps_every_record_and_tells_what_it_did() {
        let directory = database();
        let wanted = records(&open(directory.path(), true));
        let mut told = Vec::new();
        assert_eq!(snapshots(directory.path()), 1);
        let rewritten =
            rewrite(directory.path(), CACHE_BYTES, &mut |records| told.push(records)).unwrap();
        assert_eq!((rewritten.records, told.last()), (42, Some(&42)));
        assert_eq!(wanted.len(), 42);
        assert!(rewritten.after_bytes < rewritten.before_bytes, "{rewritten:?}");
        assert_eq!(sled_bytes(directory.path()).unwrap(), rewritten.after_bytes);
        // What sled noted of the old data file would mislead it about the new one.
        assert_eq!(snapshots(directory.path()), 0);
        check_whole(directory.path(), &wanted, "rewritten");
    }

    #[test]
    fn a_crash_behind_any_step_leaves_a_whole_database() {
        for at in 0.. {
            let directory = database();
            let wanted = records(&open(directory.path(), true));
            let mut steps = crash(at);
            let done = rewrite_in_steps(directory.path(), CACHE_BYTES, &mut |_| (), &mut steps);
            check_whole(directory.path(), &wanted, &format!("behind step {at}"));
            if done.is_ok() {
                assert!(at >= 12, "{at} steps");
                break;
            }
        }
    }

    #[test]
    fn a_crash_while_an_opening_finishes_it_is_finished_by_the_next() {
        let (directory, wanted) = announced();
        for first in 0.. {
            let copy = copy_of(directory.path());
            let is_done = swap::settle(copy.path(), &mut crash(first)).is_ok();
            for second in 0..=first {
                let again = copy_of(copy.path());
                drop(swap::settle(again.path(), &mut crash(second)));
                check_whole(again.path(), &wanted, &format!("{first}, then {second}"));
            }
            if is_done {
                break;
            }
        }
    }

    type Damage<'a> = &'a dyn Fn(&Path);

    #[test]
    fn half_a_copy_is_thrown_away_whatever_is_left_of_it() {
        let (directory, wanted) = announced();
        let folder = |path: &Path| path.join(REWRITE_FOLDER);
        let cut = |path: PathBuf| {
            let whole = fs::read(&path).unwrap();
            // The records lie in the first part of sled's segment.
            fs::write(path, &whole[..whole.len() / 40]).unwrap();
        };
        let damages: [(&str, Damage<'_>); 7] = [
            ("no state", &|path| fs::remove_file(path.join(REWRITE_FILE)).unwrap()),
            ("a part of the state", &|path| cut(path.join(REWRITE_FILE))),
            ("an empty state", &|path| fs::write(path.join(REWRITE_FILE), "").unwrap()),
            ("a part of the data file", &|path| cut(folder(path).join(DATA_FILE))),
            ("no folder", &|path| fs::remove_dir_all(folder(path)).unwrap()),
            ("no data file", &|path| fs::remove_file(folder(path).join(DATA_FILE)).unwrap()),
            ("no state, a part of the data file", &|path| {
                fs::remove_file(path.join(REWRITE_FILE)).unwrap();
                cut(folder(path).join(DATA_FILE));
            }),
        ];
        for (place, damage) in damages {
            let copy = copy_of(directory.path());
            damage(copy.path());
            check_whole(copy.path(), &wanted, place);
        }
    }

    #[test]
    fn any_flipped_bit_of_the_state_leaves_the_old_database_or_the_new() {
        let (directory, wanted) = announced();
        let state = fs::read(directory.path().join(REWRITE_FILE)).unwrap();
        for at in 0..state.len() {
            let copy = copy_of(directory.path());
            let mut state = state.clone();
            state[at] ^= 1 << (at % 8);
            fs::write(copy.path().join(REWRITE_FILE), state).unwrap();
            swap::settle(copy.path(), &mut |_| Ok(())).unwrap();
            assert!(!folder_exists(copy.path()));
            assert!(records(&open(copy.path(), false)) == wanted, "flip at {at}");
        }
    }

    fn folder_exists(path: &Path) -> bool {
        path.join(REWRITE_FOLDER).exists()
    }

    #[test]
    fn who_may_read_the_database_stays_as_it_was() {
        let directory = database();
        let data = directory.path().join(DATA_FILE);
        fs::set_permissions(&data, fs::Permissions::from_mode(0o660)).unwrap();
        // Only root gives files away.
        let is_given = chown(&data, Some(12_345), Some(12_345)).is_ok();
        let owner = || (fs::metadata(&data).unwrap().uid(), fs::metadata(&data).unwrap().gid());
        let before = owner();
        rewrite(directory.path(), CACHE_BYTES, &mut |_| ()).unwrap();
        assert_eq!(fs::metadata(&data).unwrap().mode() & 0o777, 0o660);
        assert_eq!(owner(), before);
        assert_eq!(before == (12_345, 12_345), is_given);
    }

    #[test]
    fn what_was_appended_and_not_handed_on_is_in_the_copy() {
        let directory = database();
        let mut journal = super::super::Journal::open(directory.path()).unwrap();
        assert!(journal.read_next().unwrap().is_none());
        let late = Record { key: vec![b'y'], value: vec![3; 100] };
        journal.write(&[Op::Insert(late.clone())]).unwrap();
        drop(journal);
        rewrite(directory.path(), CACHE_BYTES, &mut |_| ()).unwrap();
        assert_eq!(open(directory.path(), false).get(&late.key).unwrap(), Some(late.value));
    }

    #[test]
    fn an_open_database_a_stranger_and_nothing_at_all_are_left_alone() {
        let tried = |path: &Path| rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap_err();
        let directory = database();
        let log = open(directory.path(), false);
        assert_eq!(tried(directory.path()).kind(), &ErrorKind::Locked);
        assert!(!folder_exists(directory.path()));
        drop(log);
        let nothing = directory.path().join("nothing");
        assert_eq!(tried(&nothing).kind(), &ErrorKind::NotFound { what: "database" });
        assert!(!nothing.exists());
        let other = tempfile::tempdir().unwrap();
        fs::write(other.path().join("notes"), "mine").unwrap();
        assert!(matches!(tried(other.path()).kind(), ErrorKind::NotADatabase { .. }));
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_somebody_elses_under_the_copys_name_stays() {
        let directory = database();
        let wanted = records(&open(directory.path(), true));
        let notes = directory.path().join(REWRITE_FOLDER).join("notes");
        fs::create_dir(directory.path().join(REWRITE_FOLDER)).unwrap();
        fs::write(&notes, "mine").unwrap();
        let error = rewrite(directory.path(), CACHE_BYTES, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("rewritten: "), "{error}");
        assert!(records(&open(directory.path(), false)) == wanted);
        assert_eq!(fs::read_to_string(notes).unwrap(), "mine");
    }

    /// A medium that gives out, or bytes that do not read: the old database is all there is.
    #[test]
    fn a_rewrite_that_fails_takes_its_copy_back() {
        let directory = database();
        let wanted = records(&open(directory.path(), true));
        let mut failed = false;
        let steps = &mut |step| {
            let fails = step == "all was read back" && !std::mem::replace(&mut failed, true);
            if fails { Err(Error::invalid("the disk is full")) } else { Ok(()) }
        };
        rewrite_in_steps(directory.path(), CACHE_BYTES, &mut |_| (), steps).unwrap_err();
        assert!(!folder_exists(directory.path()));
        assert!(check_directory(directory.path()).unwrap());
        assert!(directory.path().join(MARK_FILE).exists());
        assert!(directory.path().join(JOURNAL_FILE).exists());
        check_whole(directory.path(), &wanted, "taken back");
    }
}
