//! Damaged, foreign and tampered databases: an error that says where, and nothing lost by it.

use std::fs;
use std::sync::Arc;

use sessionlog::{
    Access, Batch, Engine, ErrorKind, Log, MemoryLog, Order, PageLimit, Point, Range, Record,
    SessionQuery, SortBy, SortOrder,
};

use crate::support::{Disk, record_tool_turn, record_turn};

/// A log in memory with two sessions in it, to be tampered with.
fn tampered(change: impl FnOnce(&[Record], &mut Batch)) -> Engine {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    {
        let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
        for id in ["victim", "bystander"] {
            let session = engine.session(id).open().unwrap();
            record_tool_turn(&session, "call");
            record_turn(&session, "q", "a");
        }
        assert!(engine.verify().unwrap().ok);
    }
    let mut batch = Batch::new();
    change(&frames(&*log), &mut batch);
    log.apply(&batch).unwrap();
    Engine::builder().open_log(log).unwrap()
}

/// All frames of the session `victim`, by seq.
fn frames(log: &dyn Log) -> Vec<Record> {
    let session = sessionlog::Digest::of_session("victim").to_bytes();
    let prefix = [b"f".as_slice(), &session].concat();
    log.page(&Range::prefix(&prefix, Order::Ascending), PageLimit::default()).unwrap()
}

fn problems(engine: &Engine) -> Vec<String> {
    let report = engine.verify().unwrap();
    assert!(!report.ok);
    report.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn any_flipped_bit_of_any_event_is_found_and_located() {
    for seq in 1..=11_usize {
        for place in 0..20 {
            let engine = tampered(|frames, batch| {
                let mut frame = frames[seq - 1].clone();
                let at = frame.value.len() * place / 20;
                frame.value[at] ^= 1 << (place % 8);
                batch.replace(frame.key, frame.value);
            });
            let problems = problems(&engine);
            let named = problems.iter().any(|problem| problem.contains(&format!("seq {seq}:")));
            assert!(named, "seq {seq} place {place}: {problems:?}");
            assert!(!problems.iter().any(|problem| problem.contains("bystander")), "{problems:?}");
        }
    }
}

#[test]
fn a_dropped_event_is_found_the_last_one_too() {
    for seq in [1, 5, 11] {
        let engine = tampered(|frames, batch| batch.remove(frames[seq - 1].key.clone()));
        let problems = problems(&engine);
        let wanted = format!("session victim: seq {seq}: the event is missing");
        assert!(problems.contains(&wanted), "{problems:?}");
    }
}

#[test]
fn reordered_events_are_found() {
    let engine = tampered(|frames, batch| {
        batch.replace(frames[3].key.clone(), frames[4].value.clone());
        batch.replace(frames[4].key.clone(), frames[3].value.clone());
    });
    let problems = problems(&engine);
    assert!(problems.iter().any(|problem| problem.contains("seq 4:")), "{problems:?}");
    assert!(problems.iter().any(|problem| problem.contains("seq 5:")), "{problems:?}");
}

#[test]
fn an_event_that_no_group_lists_is_found() {
    let engine = tampered(|frames, batch| {
        let mut extra = frames[10].clone();
        *extra.key.last_mut().unwrap() += 1;
        batch.insert(extra.key, extra.value);
    });
    let problems = problems(&engine);
    assert!(
        problems.iter().any(|problem| problem.contains("no group lists this event")),
        "{problems:?}"
    );
}

#[test]
fn what_comes_before_a_damaged_event_stays_readable() {
    let engine = tampered(|frames, batch| {
        let mut frame = frames[6].clone();
        let last = frame.value.len() - 1;
        frame.value[last] ^= 1;
        batch.replace(frame.key, frame.value);
    });
    let session = engine.session("victim").open().unwrap();
    let events: Vec<_> = session.events(Point::Head).unwrap().collect();
    assert_eq!(events.len(), 7);
    assert!(events[..6].iter().all(Result::is_ok));
    let error = events[6].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "session victim: seq 7: corrupt: the body was changed");
    assert_eq!(session.at(Point::seq(6)).unwrap().view().message_count, 4);
    let error = session.view().unwrap_err();
    assert_eq!(error.to_string(), "session victim: seq 7: corrupt: the body was changed");
}

#[test]
fn a_wrong_index_catalog_or_snapshot_is_found() {
    for class in [b'c', b'd', b'u', b'k', b'r', b'n', b'g'] {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
        let session = engine.session("victim").open().unwrap();
        record_tool_turn(&session, "call");
        drop((session, engine));
        let range = Range::prefix(&[class], Order::Ascending);
        let record = log.page(&range, PageLimit::records(1)).unwrap().remove(0);
        let mut batch = Batch::new();
        batch.remove(record.key);
        log.apply(&batch).unwrap();
        match Engine::builder().open_log(log) {
            Ok(engine) => assert!(!engine.verify().unwrap().ok, "{}", char::from(class)),
            // Without its groups a log is shorter than it is known to be.
            Err(error) => assert!(error.is_corrupt(), "{error}"),
        }
    }
}

#[test]
fn a_damaged_snapshot_is_passed_over() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
    let session = engine.session("s").open().unwrap();
    for _ in 0..150 {
        record_turn(&session, "q", "a");
    }
    let before = session.view().unwrap();
    let range = Range::prefix(b"s", Order::Ascending);
    let mut batch = Batch::new();
    for mut record in log.page(&range, PageLimit::default()).unwrap() {
        let middle = record.value.len() / 2;
        record.value[middle] ^= 1;
        batch.replace(record.key, record.value);
    }
    assert!(!batch.is_empty());
    log.apply(&batch).unwrap();
    assert_eq!(session.view().unwrap(), before);
    assert!(!engine.verify().unwrap().ok);
}

#[test]
fn a_path_that_holds_something_else_is_refused_and_left_alone() {
    let disk = Disk::new();
    fs::write(disk.path(), "not a database").unwrap();
    let error = Engine::open(disk.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotADatabase { .. }), "{error}");
    assert!(error.to_string().contains("test.db: not a sessionlog database: a file is there"));
    assert_eq!(fs::read_to_string(disk.path()).unwrap(), "not a database");

    let disk = Disk::new();
    fs::create_dir(disk.path()).unwrap();
    fs::write(disk.path().join("notes.txt"), "mine").unwrap();
    let error = Engine::open(disk.path()).unwrap_err();
    assert!(error.to_string().contains("the directory holds \"notes.txt\""), "{error}");
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1);
}

#[test]
fn a_database_that_is_not_there_is_only_made_when_asked_for() {
    let disk = Disk::new();
    let error = Engine::builder().create(false).open(disk.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { what: "database" }), "{error}");
    assert!(!disk.path().exists());
}

#[test]
fn a_database_of_a_newer_version_is_refused_with_that_reason() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let mut batch = Batch::new();
    let meta = br#"{"format":99,"log_id":"01a1fd0d-d97e-759a-a491-e3b6b4f77cd5"}"#;
    batch.insert(b"m".to_vec(), meta.to_vec());
    log.apply(&batch).unwrap();
    let error = Engine::builder().open_log(log).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NewerFormat { found: 99, supported: 1 });
}

/// Cuts and flips in the files themselves. Whatever the file system gives back, the answer is
/// the whole database or an error, never a panic and never fewer events without a word.
#[test]
fn damaged_files_give_all_events_or_an_error() {
    let disk = Disk::new();
    {
        let engine = disk.open();
        let session = engine.session("s").open().unwrap();
        for number in 0..60 {
            record_turn(&session, &format!("q{number}"), &"answer ".repeat(number));
        }
    }
    let data = disk.path().join("db");
    let whole = fs::read(&data).unwrap();
    let check = |what: &str| {
        let outcome = Engine::open(disk.path()).and_then(|engine| {
            let report = engine.verify()?;
            Ok((report.ok, report.events))
        });
        if let Ok((true, events)) = outcome {
            assert_eq!(events, 241, "{what}: events are gone without a word");
        }
    };
    let mark = fs::read(disk.path().join("sessionlog.mark")).unwrap();
    for step in 0..24 {
        let mut bytes = whole.clone();
        let at = bytes.len() * step / 24;
        restore(&disk, &bytes[..at], &mark);
        check(&format!("cut at {at}"));
        bytes[at] ^= 0x10;
        restore(&disk, &bytes, &mark);
        check(&format!("flip at {at}"));
    }
    restore(&disk, &whole, &mark);
    check("the whole file");
}

/// The same in the packed file: what is damaged is an error, and the rest can be salvaged.
#[test]
fn a_damaged_packed_file_gives_all_events_or_an_error() {
    let disk = Disk::new();
    let words = |number: usize| format!("{number} {}", "answer ".repeat(number * 20));
    let record = |turns: std::ops::Range<usize>| {
        let session = disk.open().session("s").open().unwrap();
        for number in turns {
            record_turn(&session, &format!("q{number}"), &words(number));
        }
    };
    record(0..40);
    Engine::rewrite(disk.path()).unwrap();
    record(40..60);
    let pack = pack_of(&disk);
    let whole = fs::read(&pack).unwrap();
    let verify = || {
        let report = Engine::open(disk.path())?.verify()?;
        Ok::<_, sessionlog::Error>(report.ok.then_some(report.events))
    };
    assert_eq!(verify().unwrap(), Some(241));
    let mut salvaged = 0;
    for step in 0..48 {
        let at = whole.len() * step / 48;
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (step % 8);
        fs::write(&pack, bytes).unwrap();
        assert!(!matches!(verify(), Ok(Some(_))), "flip at {at} was passed over");
        let engine = Engine::builder().salvage(true).open(disk.path());
        let session = engine.and_then(|engine| engine.session("s").open_existing());
        let events = session.and_then(|session| session.events(Point::Head));
        salvaged += events.map_or(0, |events| events.flatten().count());
        fs::write(&pack, &whole[..at]).unwrap();
        assert!(!matches!(verify(), Ok(Some(_))), "cut at {at} was passed over");
    }
    assert!(salvaged > 0, "nothing could be salvaged of any of them");
    fs::write(&pack, &whole).unwrap();
    assert_eq!(verify().unwrap(), Some(241));
}

fn pack_of(disk: &Disk) -> std::path::PathBuf {
    let mut entries = fs::read_dir(disk.path()).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.to_string_lossy().contains("sessionlog.pack-")).unwrap()
}

/// A block that is lost is a hole, wherever it is, and what is behind it is there: of what lists
/// events by their position the last ones may be gone, and of the events themselves none.
#[test]
fn what_a_salvaged_database_says_is_missing_cannot_be_read_and_all_else_can() {
    let disk = Disk::new();
    {
        let session = disk.open().session("s").open().unwrap();
        for number in 0..150 {
            record_turn(&session, &format!("q{number}"), &"answer ".repeat(60));
        }
    }
    Engine::rewrite(disk.path()).unwrap();
    let pack = pack_of(&disk);
    let whole = fs::read(&pack).unwrap();
    let (mut holes, mut all_there) = (0, 0);
    for step in 0..40 {
        let mut bytes = whole.clone();
        bytes[16 + (whole.len() - 200) * step / 40] ^= 1;
        fs::write(&pack, bytes).unwrap();
        let Ok(engine) = Engine::builder().salvage(true).open(disk.path()) else { continue };
        let missing = engine.missing_events().unwrap();
        assert_eq!(engine.stats().unwrap().events + missing, 601);
        let session = engine.session("s").open_existing();
        let Ok(events) = session.and_then(|session| session.events(Point::Head)) else { continue };
        let read = events.flatten().count() as u64;
        assert!(read <= 601 - missing);
        if missing == 0 {
            assert_eq!(read, 601);
            all_there += 1;
        } else {
            holes += 1;
        }
    }
    assert!(holes > 0 && all_there > 0, "{holes} {all_there}");
}

fn restore(disk: &Disk, data: &[u8], mark: &[u8]) {
    fs::write(disk.path().join("db"), data).unwrap();
    fs::write(disk.path().join("sessionlog.mark"), mark).unwrap();
    // sled's own snapshots describe a later file.
    for entry in fs::read_dir(disk.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[test]
fn a_salvaged_database_is_read_and_not_written() {
    let disk = Disk::new();
    {
        let session = disk.open().session("s").open().unwrap();
        record_turn(&session, "q", "a");
    }
    let files = || -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let entries = fs::read_dir(disk.path()).unwrap().map(Result::unwrap);
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        let mut files: Vec<_> =
            files.map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap())).collect();
        files.sort();
        files
    };
    let before = files();
    let engine = Engine::builder().salvage(true).open(disk.path()).unwrap();
    let session = engine.session("s").open_existing().unwrap();
    assert_eq!(session.view().unwrap().message_count, 2);
    assert_eq!(session.rename("x").unwrap_err().kind(), &ErrorKind::ReadOnly);
    drop((session, engine));
    assert!(files() == before, "salvage wrote to the database");
}

#[test]
fn half_of_one_of_sleds_snapshots_is_no_damage() {
    let disk = Disk::new();
    {
        let session = disk.open().session("s").open().unwrap();
        record_turn(&session, "q", "a");
    }
    // What a full disk leaves.
    for entry in fs::read_dir(disk.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            let whole = fs::read(entry.path()).unwrap();
            fs::write(entry.path(), &whole[..whole.len() / 2]).unwrap();
        }
    }
    let session = disk.open().session("s").open_existing().unwrap();
    assert_eq!(session.view().unwrap().message_count, 2);
}

#[test]
fn a_stranger_beside_a_database_does_no_harm_and_a_missing_data_file_is_named() {
    let disk = Disk::new();
    drop(disk.open().session("s").open().unwrap());
    fs::write(disk.path().join(".DS_Store"), "x").unwrap();
    drop(disk.open().session("s").open_existing().unwrap());
    fs::remove_file(disk.path().join("db")).unwrap();
    let salvaging = Engine::builder().salvage(true);
    for builder in [Engine::builder(), Engine::builder().create(false), salvaging] {
        let error = builder.open(disk.path()).unwrap_err();
        assert!(error.to_string().contains("its data file is missing"), "{error}");
    }
}

#[test]
fn a_damaged_session_is_listed_with_the_others_however_they_are_sorted() {
    for seq in [3, 11] {
        let engine = tampered(|frames, batch| {
            let mut frame = frames[seq - 1].clone();
            frame.value[30] ^= 1;
            batch.replace(frame.key, frame.value);
        });
        for by in [SortBy::CreatedAt, SortBy::UpdatedAt] {
            for order in [SortOrder::Ascending, SortOrder::Descending] {
                let query = SessionQuery::new(Access::Admin).sort(by, order);
                let mut ids: Vec<_> = engine.sessions(&query).unwrap().sessions;
                ids.sort_by(|a, b| a.session_id.cmp(&b.session_id));
                let ids: Vec<_> = ids.iter().map(|view| view.session_id.as_str()).collect();
                assert_eq!(ids, ["bystander", "victim"]);
            }
        }
    }
}

#[test]
fn a_session_that_cannot_be_removed_locks_nobody_out() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let open = || Engine::builder().open_log(Arc::clone(&log)).unwrap();
    {
        let engine = open();
        for id in ["victim", "bystander"] {
            record_turn(&engine.session(id).open().unwrap(), "q", "a");
        }
        let mut frame = frames(&*log).remove(2);
        frame.value[30] ^= 1;
        let mut batch = Batch::new();
        batch.replace(frame.key, frame.value);
        log.apply(&batch).unwrap();
        let victim = engine.session("victim").open().unwrap();
        assert!(victim.delete(None).unwrap_err().is_corrupt());
    }
    let engine = open();
    assert_eq!(engine.session("bystander").open_existing().unwrap().view().unwrap().run_count, 1);
    assert!(!engine.verify().unwrap().ok);
}
