//! The index on disk: it follows the log over restarts, and holds nothing that was erased.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sessionlog::{
    Access, Engine, ErrorKind, KeepRuns, Message, Metrics, OlderRuns, Point, Policy, SearchQuery,
    StaticKey, limits,
};

use super::{only_hit, places, sessions_with, summary, user};
use crate::support::{Disk, record_turn};

fn index_of(disk: &Disk) -> PathBuf {
    disk.path().join("search")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return found };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Whether a word is in some file of the index: in the dictionary of a part of it, entries that
/// were taken out included, or in a file that belongs to no part.
fn holds(disk: &Disk, word: &str) -> bool {
    let folder = index_of(disk).join("index");
    let Ok(index) = tantivy::Index::open_in_dir(&folder) else {
        return !files(&index_of(disk)).is_empty();
    };
    let text = index.schema().get_field("text").unwrap();
    let term = tantivy::Term::from_field_text(text, word);
    let reader: tantivy::IndexReader = index.reader().unwrap();
    let searcher = reader.searcher();
    let mut parts = Vec::new();
    for part in searcher.segment_readers() {
        parts.push(part.segment_id().uuid_string());
        if part.inverted_index(text).unwrap().get_term_info(&term).unwrap().is_some() {
            return true;
        }
    }
    let is_of_none = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_list = name == "meta.json" || name.starts_with('.') || name == "erasing";
        !is_list && !parts.iter().any(|part| name.starts_with(part))
    };
    files(&index_of(disk)).iter().any(is_of_none)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&path, target).unwrap();
    }
}

/// One message that says a word which no other has.
fn with_secret(disk: &Disk, secret: &str) -> Engine {
    let engine = disk.open();
    let session = engine.session("s1").user("alice").open().unwrap();
    record_turn(&session, "green tea", "yes");
    record_turn(&session, &format!("the word is {secret} today"), "noted");
    assert_eq!(sessions_with(&engine, user("alice"), secret), ["s1"]);
    assert!(holds(disk, secret));
    engine
}

const SECRET: &str = "7q9z4x8w6v5k";

#[test]
fn opening_begins_no_index_and_a_search_goes_on_with_the_one_there() {
    let disk = Disk::new();
    let engine = disk.open();
    record_turn(&engine.session("s1").open().unwrap(), "green tea", "yes");
    assert!(!index_of(&disk).exists());
    assert_eq!(sessions_with(&engine, Access::Nobody, "tea"), ["s1"]);
    drop(engine);
    let engine = disk.open();
    record_turn(&engine.session("s2").open().unwrap(), "black tea", "yes");
    let mut first = None;
    engine.index_search(&mut |at| first = first.or(Some(at.position))).unwrap();
    assert!(first.unwrap() > 4);
    assert_eq!(sessions_with(&engine, Access::Nobody, "tea").len(), 2);
    let mut told = 0;
    engine.rebuild_search(&mut |at| told = at.position).unwrap();
    assert!(told >= 8);
    assert_eq!(sessions_with(&engine, Access::Nobody, "tea").len(), 2);
    assert!(engine.verify().unwrap().ok);
}

/// The files of the index, and what is in them.
fn contents(disk: &Disk) -> Vec<(PathBuf, Vec<u8>)> {
    files(&index_of(disk)).into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn a_search_behind_a_few_appends_finds_them_and_writes_nothing() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s1").user("alice").open().unwrap();
    record_turn(&session, "green tea", "yes");
    assert_eq!(session.search("tea").unwrap().hits.len(), 1);
    let before = contents(&disk);
    for number in 0..5 {
        record_turn(&session, &format!("tea number {number}"), "yes");
        assert_eq!(session.search("tea").unwrap().hits.len(), number + 2);
    }
    let found = session.search("tea").unwrap();
    assert_eq!(contents(&disk), before);
    drop((engine, session));
    let engine = disk.open();
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    assert_eq!(session.search("tea").unwrap(), found);
    assert_eq!(contents(&disk), before);
    engine.rebuild_search(&mut |_| ()).unwrap();
    assert_eq!(session.search("tea").unwrap(), found);
}

#[test]
fn much_that_is_new_and_what_changes_earlier_entries_goes_to_disk() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    let other = engine.session("s2").user("alice").open().unwrap();
    let anyones = engine.session("s1").admin().open_existing().unwrap();
    let goes_to_disk = |change: &dyn Fn()| {
        let before = contents(&disk);
        change();
        session.search("tea").unwrap();
        contents(&disk) != before
    };
    assert!(!goes_to_disk(&|| record_turn(&session, "a little", "yes")));
    assert!(goes_to_disk(&|| {
        for _ in 0..=limits::SEARCH_TAIL_EVENTS / 4 {
            record_turn(&session, "more", "yes");
        }
    }));
    assert!(goes_to_disk(&|| {
        for _ in 0..5 {
            record_turn(&session, &"long ".repeat(200_000), "yes");
        }
    }));
    assert!(goes_to_disk(&|| {
        anyones.change_owner(Some("bob")).unwrap().wait().unwrap();
        anyones.change_owner(Some("alice")).unwrap().wait().unwrap();
    }));
    assert!(goes_to_disk(&|| drop(session.fork(Point::run(1)).open().unwrap())));
    assert!(goes_to_disk(&|| {
        record_turn(&other, "words", "yes");
        drop(other.erase_message(3, None).unwrap());
    }));
    assert!(!goes_to_disk(&|| record_turn(&session, "a little again", "yes")));
}

#[test]
fn an_index_that_is_gone_damaged_or_of_another_log_is_made_anew() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s1").open().unwrap();
    for number in 0..20 {
        record_turn(&session, &format!("tea number {number}"), "yes");
    }
    let query = SearchQuery::new(Access::Nobody, "tea").limit(50);
    let found = places(&engine, &query);
    assert_eq!(found.len(), 20);
    drop((engine, session));
    let index = index_of(&disk);
    let number = files(&index).len();
    for at in 0..number {
        // The names differ each time, because the index was made anew.
        let path = files(&index).get(at).cloned().unwrap_or_else(|| files(&index)[0].clone());
        let mut bytes = fs::read(&path).unwrap();
        if at % 3 == 0 || bytes.is_empty() {
            fs::remove_file(&path).unwrap();
        } else if at % 3 == 1 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x55;
            fs::write(&path, bytes).unwrap();
        } else {
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
        let engine = disk.open();
        assert_eq!(places(&engine, &query), found, "{}", path.display());
    }
    fs::remove_dir_all(&index).unwrap();
    assert_eq!(places(&disk.open(), &query), found);
    let other = Disk::new();
    let engine = other.open();
    record_turn(&engine.session("s1").open().unwrap(), "tea elsewhere", "yes");
    assert_eq!(places(&engine, &query).len(), 1);
    drop(engine);
    fs::remove_dir_all(&index).unwrap();
    copy(&index_of(&other), &index);
    assert_eq!(places(&disk.open(), &query), found);
}

#[test]
fn a_file_in_the_place_of_the_index_is_named() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "green tea", "yes");
    fs::write(index_of(&disk), "notes").unwrap();
    let path = index_of(&disk).display().to_string();
    let erased = session.erase_message(3, None).map(drop);
    for failed in [session.search("tea").map(drop), engine.index_search(&mut |_| ()), erased] {
        let error = failed.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error:?}");
        assert!(error.to_string().contains(&path), "{error}");
    }
    // Nothing of it was touched, and without it all is well.
    assert_eq!(fs::read(index_of(&disk)).unwrap(), b"notes");
    fs::remove_file(index_of(&disk)).unwrap();
    only_hit(&session, "tea");
}

#[test]
fn an_index_ahead_of_the_log_or_behind_it_is_put_right() {
    let disk = Disk::new();
    let engine = disk.open();
    record_turn(&engine.session("s1").open().unwrap(), "green tea", "yes");
    let query = SearchQuery::new(Access::Nobody, "tea");
    assert_eq!(places(&engine, &query).len(), 1);
    drop(engine);
    let before = Disk::new();
    copy(&disk.path(), &before.path());
    let engine = disk.open();
    record_turn(&engine.session("s1").open().unwrap(), "black tea", "yes");
    engine.index_search(&mut |_| ()).unwrap();
    assert_eq!(places(&engine, &query).len(), 2);
    drop(engine);
    // A process that ended before the index had what the log has.
    let behind = Disk::new();
    copy(&disk.path(), &behind.path());
    fs::remove_dir_all(index_of(&behind)).unwrap();
    copy(&index_of(&before), &index_of(&behind));
    assert_eq!(places(&behind.open(), &query).len(), 2);
    // A log that was restored from a copy, and went another way.
    fs::remove_dir_all(index_of(&before)).unwrap();
    copy(&index_of(&disk), &index_of(&before));
    let engine = before.open();
    assert_eq!(places(&engine, &query).len(), 1);
    drop(engine);
    fs::remove_dir_all(index_of(&before)).unwrap();
    copy(&index_of(&disk), &index_of(&before));
    let engine = before.open();
    record_turn(&engine.session("s1").open().unwrap(), "white tea", "yes");
    record_turn(&engine.session("s1").open().unwrap(), "red tea", "yes");
    assert_eq!(places(&engine, &query).len(), 3);
    assert_eq!(sessions_with(&engine, Access::Nobody, "black"), [""; 0]);
}

#[test]
fn erased_words_are_in_no_file_of_the_index() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    let seq = only_hit(&session, SECRET).seq;
    session.write_summary(summary(&format!("It was about {SECRET}."))).unwrap();
    session.rename(format!("About {SECRET}")).unwrap();
    engine.index_search(&mut |_| ()).unwrap();
    assert_eq!(session.search(SECRET).unwrap().hits.len(), 3);
    session.erase_message(seq, None).unwrap();
    let left = session.search(SECRET).unwrap().hits;
    assert!(left.iter().all(|hit| hit.seq != seq));
    session.rename("Tea").unwrap().wait().unwrap();
    session.erase_all(None).unwrap();
    assert!(!holds(&disk, SECRET));
    assert!(!index_of(&disk).join("erasing").exists());
}

#[test]
fn erasing_a_message_leaves_the_rest_of_the_index_as_it_was() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    session.erase_message(only_hit(&session, SECRET).seq, None).unwrap();
    assert!(!holds(&disk, SECRET));
    assert_eq!(sessions_with(&engine, user("alice"), "tea"), ["s1"]);
    let mut told = Vec::new();
    engine.index_search(&mut |at| told.push(at.position)).unwrap();
    assert!(told.iter().all(|position| *position > 8), "it was not made anew");
}

#[test]
fn deleted_and_compacted_words_are_in_no_file_of_the_index() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    engine.session("s1").user("alice").open_existing().unwrap().delete(None).unwrap();
    assert!(!holds(&disk, SECRET));
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    record_turn(&session, "more tea", "yes");
    let keep = KeepRuns::Last { runs: 1, older: OlderRuns::Dropped };
    session.compaction().policy(Policy::new().keep_runs(keep)).run().unwrap();
    assert!(!holds(&disk, SECRET));
    assert_eq!(session.search("tea").unwrap().hits.len(), 1);
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    engine.erase_user("alice", None).unwrap();
    assert!(!holds(&disk, SECRET));
}

#[test]
fn what_a_fork_shares_stays_found_until_it_goes_too() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    session.delete(None).unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), SECRET), ["fork"]);
    fork.delete(None).unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), SECRET), [""; 0]);
    assert!(!holds(&disk, SECRET));
}

#[test]
fn an_erasure_that_a_crash_cut_short_is_finished_when_the_database_is_opened() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    drop(engine);
    // As it is when the process ends between the commit to the log and the end of the purge.
    let with_words = Disk::new();
    copy(&index_of(&disk), &with_words.path());
    let engine = disk.open();
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    session.erase_all(None).unwrap();
    drop((engine, session));
    fs::remove_dir_all(index_of(&disk)).unwrap();
    copy(&with_words.path(), &index_of(&disk));
    fs::write(index_of(&disk).join("erasing"), b"").unwrap();
    assert!(holds(&disk, SECRET));
    let engine = disk.open();
    assert!(!holds(&disk, SECRET));
    assert_eq!(sessions_with(&engine, user("alice"), SECRET), [""; 0]);
}

#[test]
fn files_that_a_killed_process_left_behind_go_with_an_erasure() {
    let disk = Disk::new();
    let engine = with_secret(&disk, SECRET);
    let session = engine.session("s1").user("alice").open_existing().unwrap();
    let seq = only_hit(&session, SECRET).seq;
    // As it is when the process ends before a new part of the index is listed.
    let folder = index_of(&disk).join("index");
    let dictionary =
        files(&folder).into_iter().find(|path| path.extension() == Some("term".as_ref()));
    let loose = folder.join("00000000000000000000000000000001.term");
    fs::copy(dictionary.unwrap(), &loose).unwrap();
    assert!(holds(&disk, SECRET));
    session.erase_message(seq, None).unwrap();
    assert!(!loose.exists());
    assert!(!holds(&disk, SECRET));
    assert_eq!(sessions_with(&engine, user("alice"), "tea"), ["s1"]);
}

#[test]
fn a_sealed_database_has_no_words_on_disk() {
    let disk = Disk::new();
    drop(with_secret(&disk, SECRET));
    let open =
        || Engine::builder().seal(Arc::new(StaticKey::new([7; 32]))).open(disk.path()).unwrap();
    let engine = open();
    assert!(!index_of(&disk).exists());
    assert_eq!(sessions_with(&engine, user("alice"), SECRET), ["s1"]);
    let session = engine.session("s2").user("alice").open().unwrap();
    session.record_run([Message::user("sealed tea")], Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), "sealed"), ["s2"]);
    drop((engine, session));
    let engine = open();
    assert_eq!(sessions_with(&engine, user("alice"), "sealed"), ["s2"]);
    assert!(!index_of(&disk).exists());
}

#[test]
fn a_salvaged_copy_is_searched_without_touching_the_database() {
    let disk = Disk::new();
    drop(with_secret(&disk, SECRET));
    let before = files(&index_of(&disk));
    let engine = Engine::builder().salvage(true).open(disk.path()).unwrap();
    assert_eq!(sessions_with(&engine, user("alice"), SECRET), ["s1"]);
    assert_eq!(files(&index_of(&disk)), before);
}
