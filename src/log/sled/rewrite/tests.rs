//! Rewrites that end at any step, what is left of damaged ones, and rewritten databases in use.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::directory::{JOURNAL_FILE, MARK_FILE, REWRITE_FILE, check_directory, packs_in};
use super::super::{PrivateCopy, SledLog};
use super::*;
use crate::error::ErrorKind;
use crate::log::{Batch, Durability, Log, Op, Order, Range};

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

/// The same, all of it in a packed file.
fn packed_database() -> tempfile::TempDir {
    let directory = database();
    rewrite(directory.path(), CACHE_BYTES, &mut |_| ()).unwrap();
    directory
}

/// A database with a whole copy that has not taken its place.
fn announced(directory: tempfile::TempDir) -> (tempfile::TempDir, Vec<Record>) {
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
    // More than one of sled's segments, which is the least that it takes.
    let log = open(directory.path(), false);
    let (mut there, mut gone) = (Batch::new(), Batch::new());
    for number in 0..20_u8 {
        there.insert(vec![b'x', number], vec![number; 300_000]);
        gone.remove(vec![b'x', number]);
    }
    log.append(&there, Durability::PowerLoss, MARK).unwrap();
    log.append(&gone, Durability::PowerLoss, MARK).unwrap();
    drop(log);
    drop(open(directory.path(), false));
    Tree::wait_until_closed(directory.path()).unwrap();
    let wanted = records(&open(directory.path(), true));
    let mut told = Vec::new();
    assert_eq!(snapshots(directory.path()), 1);
    let rewritten =
        rewrite(directory.path(), CACHE_BYTES, &mut |records| told.push(records)).unwrap();
    assert_eq!((rewritten.records, told.last()), (42, Some(&42)));
    assert_eq!(wanted.len(), 42);
    assert!(rewritten.after_bytes < rewritten.before_bytes, "{rewritten:?}");
    assert_eq!(packs_in(directory.path()).unwrap().len(), 1);
    assert_eq!(record_file_bytes(directory.path()).unwrap(), rewritten.after_bytes);
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
            assert!(at >= 15, "{at} steps");
            break;
        }
    }
}

/// What was packed before, and changed since, is packed again; the file of before goes.
#[test]
fn a_crash_behind_any_step_of_a_second_rewrite_leaves_a_whole_database() {
    for at in 0.. {
        let directory = database();
        let path = directory.path();
        rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap();
        let first = packs_in(path).unwrap();
        let log = open(path, false);
        let mut batch = Batch::new();
        batch.remove(vec![b'f', 1]);
        batch.replace(vec![b'f', 2], vec![8; 400_000]);
        batch.insert(vec![b'h'], vec![7; 10]);
        log.append(&batch, Durability::PowerLoss, MARK).unwrap();
        drop(log);
        let wanted = records(&open(path, true));
        assert_eq!(wanted.len(), 42);
        let mut steps = crash(at);
        let done = rewrite_in_steps(path, CACHE_BYTES, &mut |_| (), &mut steps);
        check_whole(path, &wanted, &format!("behind step {at}"));
        assert_eq!(packs_in(path).unwrap().len(), 1, "behind step {at}");
        if done.is_ok() {
            assert_ne!(packs_in(path).unwrap(), first);
            break;
        }
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_left_of_a_damaged_packed_file_can_be_salvaged() {
    let directory = database();
    let path = directory.path();
    rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap();
    let wanted = records(&open(path, true));
    let pack = packs_in(path).unwrap()[0].path_in(path);
    let whole = fs::read(&pack).unwrap();
    let options = SledOptions { create: false, cache_bytes: CACHE_BYTES, as_copy: false };
    // Its index is lost: every block says itself where it ends.
    flip(&pack, whole.len() - 1);
    let error = SledLog::open(path, options).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("sessionlog.pack-"), "{error}");
    assert!(records(&open(path, true)) == wanted);
    // A block is lost besides, and what was in it.
    flip(&pack, 100);
    let left = records(&open(path, true));
    assert!(!left.is_empty() && left.len() < wanted.len());
    assert!(left.iter().all(|record| wanted.contains(record)));
    // All of it is.
    fs::remove_file(&pack).unwrap();
    let error = SledLog::open(path, options).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("sessionlog.pack-"), "{error}");
    assert!(records(&open(path, true)).is_empty());
}

/// What is removed may lie in a block that is damaged. It is in the journal by then.
#[test]
fn a_damaged_block_holds_up_no_writer_and_no_opening() {
    let directory = database();
    let path = directory.path();
    rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap();
    flip(&packs_in(path).unwrap()[0].path_in(path), 100);
    let log = open(path, false);
    let mut batch = Batch::new();
    batch.remove(vec![b'f', 1]);
    batch.replace(vec![b'f', 2], vec![5; 10]);
    log.append(&batch, Durability::PowerLoss, MARK).unwrap();
    log.append(&Batch::new(), Durability::PowerLoss, MARK).unwrap();
    drop(log);
    let log = open(path, false);
    assert_eq!(log.get(&[b'f', 1]).unwrap(), None);
    assert_eq!(log.get(&[b'f', 2]).unwrap(), Some(vec![5; 10]));
    assert!(log.get(&[b'f', 4]).unwrap_err().is_corrupt());
    // A sector that the disk does not read is another error, and it comes to the same.
    let pack = packs_in(path).unwrap()[0].path_in(path);
    let whole = fs::read(&pack).unwrap();
    fs::write(&pack, &whole[..50]).unwrap();
    let mut batch = Batch::new();
    batch.remove(vec![b'f', 7]);
    log.append(&batch, Durability::PowerLoss, MARK).unwrap();
    log.pending.wait_until_done().unwrap();
    drop(log);
    fs::write(&pack, whole).unwrap();
    assert_eq!(open(path, false).get(&[b'f', 7]).unwrap(), None);
}

/// sled's file rots, and with it goes what it says of the packed file.
#[test]
fn a_packed_file_is_found_where_sled_lost_its_name() {
    let directory = database();
    let path = directory.path();
    rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap();
    let wanted = records(&open(path, true));
    let fresh = tempfile::tempdir().unwrap();
    drop(Tree::open(fresh.path(), CACHE_BYTES).unwrap());
    Tree::wait_until_closed(fresh.path()).unwrap();
    fs::copy(fresh.path().join(DATA_FILE), path.join(DATA_FILE)).unwrap();
    for snapshot in fs::read_dir(path).unwrap().map(Result::unwrap) {
        if snapshot.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(snapshot.path()).unwrap();
        }
    }
    assert!(records(&open(path, false)) == wanted);
}

#[derive(Debug, Clone)]
enum Step {
    Apply(Vec<Op>),
    Reopen,
    Rewrite,
}

fn any_step() -> impl Strategy<Value = Step> {
    let record = |(key, len): (u8, usize)| Record { key: vec![b'k', key], value: vec![key; len] };
    let op = prop_oneof![
        3 => (0..30_u8, 0..20_000_usize).prop_map(move |of| Op::Replace(record(of))),
        2 => (0..30_u8).prop_map(|key| Op::Remove(vec![b'k', key])),
    ];
    prop_oneof![
        5 => prop::collection::vec(op, 1..12).prop_map(Step::Apply),
        1 => Just(Step::Reopen),
        2 => Just(Step::Rewrite),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever is packed and whatever changed since, it answers like an ordered map.
    #[test]
    fn a_database_that_is_rewritten_now_and_then_answers_like_an_ordered_map(
        steps in prop::collection::vec(any_step(), 1..10),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut log = Some(open(path, false));
        let mut model = BTreeMap::new();
        for step in steps {
            match step {
                Step::Apply(ops) => {
                    let mut batch = Batch::new();
                    for op in ops {
                        match op {
                            Op::Insert(Record { key, value })
                            | Op::Replace(Record { key, value }) => {
                                model.insert(key.clone(), value.clone());
                                batch.replace(key, value);
                            }
                            Op::Remove(key) => {
                                model.remove(&key);
                                batch.remove(key);
                            }
                        }
                    }
                    let log = log.as_ref().unwrap();
                    log.append(&batch, Durability::ProcessCrash, 1).unwrap();
                }
                Step::Reopen => {
                    drop(log.take());
                    log = Some(open(path, false));
                }
                Step::Rewrite => {
                    drop(log.take());
                    rewrite(path, CACHE_BYTES, &mut |_| ()).unwrap();
                    log = Some(open(path, false));
                }
            }
            let log = log.as_ref().unwrap();
            let wanted: Vec<Record> = model
                .iter()
                .map(|(key, value)| Record { key: key.clone(), value: value.clone() })
                .collect();
            prop_assert!(records(log) == wanted);
            let mut range = Range::prefix(b"k", Order::Descending);
            let mut back = Vec::new();
            loop {
                let page = log.page(&range, PageLimit { records: 3, bytes: 9_000 }).unwrap();
                let Some(last) = page.last() else { break };
                range = range.behind(&last.key);
                back.extend(page);
            }
            back.reverse();
            prop_assert!(back == wanted);
            for key in 0..30_u8 {
                let key = vec![b'k', key];
                prop_assert_eq!(&log.get(&key).unwrap(), &model.get(&key).cloned());
            }
        }
    }
}

#[test]
fn a_crash_while_an_opening_finishes_it_is_finished_by_the_next() {
    let (directory, wanted) = announced(database());
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
    for database in [database(), packed_database()] {
        let before = packs_in(database.path()).unwrap();
        let (directory, wanted) = announced(database);
        throw_away_what_is_left(directory.path(), &wanted, &before);
    }
}

fn throw_away_what_is_left(directory: &Path, wanted: &[Record], before: &[PackId]) {
    let folder = |path: &Path| path.join(REWRITE_FOLDER);
    let cut = |path: PathBuf| {
        let whole = fs::read(&path).unwrap();
        // What sled holds lies in the first part of its segment.
        fs::write(path, &whole[..whole.len() / 40]).unwrap();
    };
    let pack = |path: &Path| packs_in(&folder(path)).unwrap()[0].path_in(&folder(path));
    let damages: [(&str, Damage<'_>); 10] = [
        ("no state", &|path| fs::remove_file(path.join(REWRITE_FILE)).unwrap()),
        ("a part of the state", &|path| cut(path.join(REWRITE_FILE))),
        ("an empty state", &|path| fs::write(path.join(REWRITE_FILE), "").unwrap()),
        ("a part of the data file", &|path| cut(folder(path).join(DATA_FILE))),
        ("no folder", &|path| fs::remove_dir_all(folder(path)).unwrap()),
        ("no data file", &|path| fs::remove_file(folder(path).join(DATA_FILE)).unwrap()),
        ("a part of the packed file", &|path| cut(pack(path))),
        ("no packed file", &|path| fs::remove_file(pack(path)).unwrap()),
        ("a packed file in place and half a data file", &|path| {
            let id = packs_in(&folder(path)).unwrap()[0];
            fs::rename(id.path_in(&folder(path)), id.path_in(path)).unwrap();
            cut(folder(path).join(DATA_FILE));
        }),
        ("no state, a part of the data file", &|path| {
            fs::remove_file(path.join(REWRITE_FILE)).unwrap();
            cut(folder(path).join(DATA_FILE));
        }),
    ];
    for (place, damage) in damages {
        let copy = copy_of(directory);
        damage(copy.path());
        check_whole(copy.path(), wanted, place);
        assert_eq!(packs_in(copy.path()).unwrap(), before, "{place}");
    }
}

#[test]
fn any_flipped_bit_of_the_state_leaves_the_old_database_or_the_new() {
    let (directory, wanted) = announced(database());
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
    let owner_of = |path: &Path| {
        let metadata = fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    };
    let owner = || owner_of(&data);
    let before = owner();
    let folder = directory.path().join(REWRITE_FOLDER);
    let steps = &mut |step| {
        if step == "the folder is there" {
            assert_eq!(owner_of(&folder), before);
        }
        Ok(())
    };
    rewrite_in_steps(directory.path(), CACHE_BYTES, &mut |_| (), steps).unwrap();
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

/// The state was written, and what should have made sure of it failed.
#[test]
fn a_rewrite_that_fails_once_it_is_announced_keeps_what_was_packed_before() {
    for fails_again in [false, true] {
        let directory = packed_database();
        let path = directory.path();
        let before = packs_in(path).unwrap();
        let wanted = records(&open(path, true));
        let steps = &mut |step| match step {
            "the copy is announced" => Err(Error::invalid("the disk fails")),
            "the state is gone" if fails_again => Err(Error::invalid("it fails again")),
            _ => Ok(()),
        };
        rewrite_in_steps(path, CACHE_BYTES, &mut |_| (), steps).unwrap_err();
        assert!(!path.join(REWRITE_FILE).exists());
        check_whole(path, &wanted, "taken back");
        assert_eq!(packs_in(path).unwrap(), before);
    }
}

#[test]
fn somebody_who_removes_the_folder_of_a_copy_that_takes_its_place_removes_nothing_else() {
    for at in 0.. {
        let (directory, wanted) = announced(packed_database());
        let path = directory.path();
        let is_done = swap::settle(path, &mut crash(at)).is_ok();
        if folder_exists(path) {
            fs::remove_dir_all(path.join(REWRITE_FOLDER)).unwrap();
        }
        check_whole(path, &wanted, &format!("behind step {at}"));
        assert_eq!(packs_in(path).unwrap().len(), 1);
        if is_done {
            break;
        }
    }
}

#[test]
fn the_state_of_an_earlier_rewrite_says_nothing_of_the_copy_of_a_later_one() {
    let (directory, wanted) = announced(database());
    let path = directory.path();
    let state = fs::read(path.join(REWRITE_FILE)).unwrap();
    drop(open(path, false));
    Tree::wait_until_closed(path).unwrap();
    let before = packs_in(path).unwrap();
    let steps = &mut |step| match step {
        "all is written" | "the copy is useless" => Err(Error::invalid("crashed")),
        _ => Ok(()),
    };
    rewrite_in_steps(path, CACHE_BYTES, &mut |_| (), steps).unwrap_err();
    fs::write(path.join(REWRITE_FILE), state).unwrap();
    check_whole(path, &wanted, "with the state of before");
    assert_eq!(packs_in(path).unwrap(), before);
}

/// What was removed since is only marked, and a page can be full of marks.
#[test]
fn what_came_after_a_packed_file_that_is_lost_is_read_to_its_end() {
    let directory = packed_database();
    let path = directory.path();
    let log = open(path, false);
    let mut batch = Batch::new();
    (0..60_u8).for_each(|number| batch.remove(vec![b'f', number]));
    batch.insert(vec![b'h'], vec![7; 10]);
    log.append(&batch, Durability::PowerLoss, MARK).unwrap();
    drop(log);
    Tree::wait_until_closed(path).unwrap();
    fs::remove_file(packs_in(path).unwrap()[0].path_in(path)).unwrap();
    let left = open(path, true);
    for order in [Order::Ascending, Order::Descending] {
        let range = Range { order, ..key::everything() };
        let page = left.page(&range, PageLimit::records(1)).unwrap();
        assert_eq!(page, [Record { key: vec![b'h'], value: vec![7; 10] }]);
    }
}
