//! Databases that are sealed under keys.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sessionlog::{
    Access, Digest, Engine, ErasureReceipt, Error, ErrorKind, EventBody, KeyProvider, Media,
    Message, Metrics, NewMemory, Point, Policy, Renamed, Result, SearchQuery, Session,
    SessionQuery, StaticKey, SummaryWritten,
};

use crate::support::shapes::{append, assert_sound};
use crate::support::{Disk, lies_in, record_turn};

fn key(byte: u8) -> Arc<StaticKey> {
    Arc::new(StaticKey::new([byte; 32]))
}

fn sealed(disk: &Disk) -> Engine {
    Engine::builder().seal(key(1)).open(disk.path()).unwrap()
}

fn fill(session: &Session, word: &str) {
    for number in 0..300 {
        record_turn(session, &format!("{word} {number}"), &format!("said {word}"));
    }
    append(session, Renamed { name: Some(format!("About {word}")), is_generated: true });
    session.merge_state(serde_json::json!({"secret": word})).unwrap().wait().unwrap();
    append(
        session,
        SummaryWritten {
            summary: format!("All {word}."),
            topics: vec![word.into()],
            first_seq: 1,
            last_seq: 9,
            model: None,
            metrics: None,
        },
    );
}

#[test]
fn nothing_that_is_said_lies_in_the_files() {
    let disk = Disk::new();
    let engine = sealed(&disk);
    let session = engine.session("s-WORD").user("u-WORD").open().unwrap();
    fill(&session, "SECRETWORD");
    let run = session.run().id("r-WORD").start().unwrap();
    run.push(Message::user("SECRETWORD")).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(session.name().unwrap().unwrap(), "About SECRETWORD");
    assert_sound(&engine);
    drop((session, engine));
    assert!(!lies_in(&disk.path(), b"WORD"));
    let engine = sealed(&disk);
    let session = engine.session("s-WORD").user("u-WORD").open_existing().unwrap();
    assert_eq!(session.view().unwrap().run_count, 301);
    assert_sound(&engine);
}

#[test]
fn a_wrong_or_a_missing_key_is_told_at_once() {
    let disk = Disk::new();
    drop(sealed(&disk).session("s").open().unwrap());
    let missing = Engine::open(disk.path()).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::Key { .. }), "{missing}");
    let wrong = Engine::builder().seal(key(2)).open(disk.path()).unwrap_err();
    assert!(matches!(wrong.kind(), ErrorKind::Key { .. }), "{wrong}");
    fs::remove_file(disk.path().join("sessionlog.keys")).unwrap();
    let lost = Engine::builder().seal(key(1)).open(disk.path()).unwrap_err();
    assert!(matches!(lost.kind(), ErrorKind::Key { .. }), "{lost}");
    assert!(!disk.path().join("sessionlog.keys").exists() || Engine::open(disk.path()).is_err());
}

#[test]
fn a_database_can_be_sealed_later() {
    let disk = Disk::new();
    let engine = disk.open();
    record_turn(&engine.session("old").open().unwrap(), "before", "a");
    drop(engine);
    let engine = sealed(&disk);
    let session = engine.session("old").open().unwrap();
    record_turn(&session, "SECRETWORD", "a");
    assert_eq!(session.window().messages().unwrap().len(), 4);
    assert_sound(&engine);
    drop((session, engine));
    assert!(lies_in(&disk.path(), b"before") && !lies_in(&disk.path(), b"SECRETWORD"));
    assert!(Engine::open(disk.path()).is_err());
}

#[test]
fn after_erasing_a_user_no_word_of_theirs_is_left_and_others_are_as_they_were() {
    let disk = Disk::new();
    let engine = sealed(&disk);
    let alice = engine.session("a").user("alice").open().unwrap();
    fill(&alice, "SECRETWORD");
    let bob = engine.session("b").user("bob").open().unwrap();
    fill(&bob, "KEPTWORD");
    let before: Vec<_> = bob.events(Point::Head).unwrap().map(Result::unwrap).collect();
    let link = bob.link().unwrap();
    let receipts = engine.erase_user("alice", Some("art. 17")).unwrap();
    assert!(receipts[0].key_destroyed && receipts[0].events > 5);
    // The key is gone, and what the receipt says is not.
    let kept = engine.receipts().unwrap();
    let authority = |body: &EventBody| match body {
        EventBody::Deleted(deleted) => deleted.authority.clone(),
        _ => None,
    };
    assert_eq!(authority(&kept[0].event.body).as_deref(), Some("art. 17"));
    assert!(alice.view().is_err());
    let after: Vec<_> = bob.events(Point::Head).unwrap().map(Result::unwrap).collect();
    assert_eq!((after, bob.link().unwrap()), (before, link));
    assert_sound(&engine);
    drop((alice, bob, engine));
    for word in [b"SECRETWORD".as_slice(), b"alice"] {
        assert!(!lies_in(&disk.path(), word));
    }
    let engine = sealed(&disk);
    assert_sound(&engine);
    let again = engine.session("a").user("carol").open().unwrap();
    record_turn(&again, "new", "a");
    assert_eq!(again.view().unwrap().run_count, 1);
    assert_sound(&engine);
}

#[test]
fn media_are_sealed_too() {
    let disk = Disk::new();
    let engine = sealed(&disk);
    let session = engine.session("s").open().unwrap();
    let bytes = b"SECRETWORD".repeat(20_000);
    let photo = session.store_media(sessionlog::Media::bytes("image/png", bytes.clone())).unwrap();
    let reference = photo.reference().unwrap().clone();
    let message = Message::user("Look.").with_part(photo.part());
    session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
    drop((photo, session, engine));
    assert!(!lies_in(&disk.path(), b"SECRETWORD"));
    let engine = sealed(&disk);
    let session = engine.session("s").open_existing().unwrap();
    let mut read = Vec::new();
    std::io::Read::read_to_end(&mut session.open_media(&reference).unwrap(), &mut read).unwrap();
    assert!(read == bytes);
    assert_sound(&engine);
    session.erase_all(None).unwrap();
    assert_eq!(engine.blobs().unwrap(), []);
}

#[test]
fn what_was_stored_before_a_session_was_sealed_is_counted_once_when_it_goes() {
    let disk = Disk::new();
    record_turn(&disk.open().session("s").open().unwrap(), "before", "Yes.");
    let engine = sealed(&disk);
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "after", "Yes.");
    let events = session.seq().unwrap();
    let receipt = session.delete(None).unwrap();
    assert!(receipt.key_destroyed);
    assert_eq!(receipt.events, events);
}

#[test]
fn a_plain_database_stays_plain_until_something_is_written_with_a_key() {
    let disk = Disk::new();
    let turns = |engine: &Engine| engine.session("s").open().unwrap().view().unwrap().run_count;
    record_turn(&disk.open().session("s").open().unwrap(), "before", "Yes.");
    {
        let engine = sealed(&disk);
        assert_eq!(turns(&engine), 1);
        assert!(engine.verify().unwrap().ok);
    }
    assert_eq!(turns(&disk.open()), 1);
    record_turn(&sealed(&disk).session("s").open().unwrap(), "SECRETWORD", "Yes.");
    let refused = Engine::open(disk.path()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Key { .. }), "{refused}");
    assert_eq!(turns(&sealed(&disk)), 2);
    assert!(!lies_in(&disk.path(), b"SECRETWORD"));
}

#[test]
fn a_key_that_rots_takes_its_session_and_no_other() {
    let disk = Disk::new();
    {
        let engine = sealed(&disk);
        for id in ["s0", "s1", "s2"] {
            let session = engine.session(id).open().unwrap();
            record_turn(&session, "q", "a");
            // A process that ends leaves a run for the next one to end.
            session.start_run().unwrap();
        }
    }
    let path = disk.path().join("sessionlog.keys");
    let mut bytes = std::fs::read(&path).unwrap();
    let slots = bytes.len() / 512;
    // Behind the header and the key that tells whether a key fits.
    for slot in 2..slots {
        bytes[512 * slot + 40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let engine = sealed(&disk);
        let page = engine.sessions(&SessionQuery::new(Access::Admin)).unwrap();
        assert_eq!(page.sessions.len(), 2);
        for view in page.sessions {
            let session = engine.session(view.session_id).open_existing().unwrap();
            assert_eq!(session.window().messages().unwrap().len(), 2);
        }
        assert!(engine.verify().map_or(true, |report| !report.ok));
        bytes[512 * slot + 40] ^= 1;
    }
    std::fs::write(&path, &bytes).unwrap();
    assert!(sealed(&disk).verify().unwrap().ok);
}

/// A service that keeps keys, and may be out of reach.
#[derive(Debug)]
struct KeyService {
    key: StaticKey,
    is_down: AtomicBool,
}

impl KeyProvider for KeyService {
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>> {
        self.key.wrap(key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Error::key("the key service does not answer"));
        }
        self.key.unwrap(wrapped)
    }
}

#[test]
fn erasing_a_user_is_not_called_done_while_the_key_service_is_down() {
    let disk = Disk::new();
    {
        let engine = sealed(&disk);
        for id in ["s0", "s1"] {
            record_turn(&engine.session(id).user("alice").open().unwrap(), "q", "a");
        }
    }
    let key = StaticKey::new([1; 32]);
    let service = Arc::new(KeyService { key, is_down: AtomicBool::new(false) });
    let provider = Arc::clone(&service) as Arc<dyn KeyProvider>;
    let engine = Engine::builder().seal(provider).open(disk.path()).unwrap();
    service.is_down.store(true, Ordering::SeqCst);
    let refused = engine.erase_user("alice", None).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Key { .. }), "{refused}");
    let is_named = |id: &&str| refused.to_string().contains(&Digest::of_session(id).to_string());
    assert!(["s0", "s1"].iter().any(is_named), "{refused}");
    let refused = engine.compaction().run().unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Key { .. }), "{refused}");
    service.is_down.store(false, Ordering::SeqCst);
    assert_eq!(engine.erase_user("alice", None).unwrap().len(), 2);
    assert_sound(&engine);
}

/// Changes a bit in the slot of a key, and changes it back the next time.
fn rot(disk: &Disk, id: &str) {
    let path = disk.path().join("sessionlog.keys");
    let mut bytes = fs::read(&path).unwrap();
    let session = Digest::of_session(id).to_bytes();
    let slot = bytes.chunks(512).position(|slot| slot[8..24] == session).unwrap();
    bytes[512 * slot + 100] ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn what_is_done_to_all_sessions_is_done_but_for_the_one_whose_key_rots_which_is_named() {
    let disk = Disk::new();
    {
        let engine = sealed(&disk);
        for id in ["s0", "s1", "s2"] {
            let session = engine.session(id).user("alice").open().unwrap();
            let photo = session.store_media(Media::bytes("image/png", vec![7; 900])).unwrap();
            let message = Message::user("Look.").with_part(photo.part());
            session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
        }
    }
    rot(&disk, "s1");
    let rotten = Digest::of_session("s1").to_string();
    let engine = sealed(&disk);
    let mut done = Vec::new();
    let compaction = engine.compaction().policy(Policy::new().store_media(false));
    let told = compaction.run_with(&mut |plan| done.push(plan.session_id.clone())).unwrap_err();
    assert!(told.to_string().contains(&rotten), "{told}");
    assert!(matches!(compaction.plan().unwrap_err().kind(), ErrorKind::Key { .. }));
    done.sort();
    assert_eq!(done, ["s0", "s2"]);
    let mut erased = Vec::new();
    let progress = &mut |receipt: &ErasureReceipt| erased.push(receipt.session_id.clone());
    let told = engine.erase_user_with("alice", None, progress).unwrap_err();
    assert!(told.to_string().contains(&rotten), "{told}");
    erased.sort();
    assert_eq!(erased, ["s0", "s2"]);
    // Nothing but that one is left, and it is told again.
    assert!(engine.erase_user("alice", None).is_err());
    drop((compaction, engine));
    rot(&disk, "s1");
    let engine = sealed(&disk);
    assert_eq!(engine.erase_user("alice", None).unwrap()[0].session_id, "s1");
    assert_sound(&engine);
}

#[test]
fn a_key_that_rots_is_one_problem_and_the_rest_is_checked_and_counted() {
    let disk = Disk::new();
    let whole = {
        let engine = sealed(&disk);
        for id in ["s0", "s1", "s2"] {
            let session = engine.session(id).user("alice").open().unwrap();
            let photo = session.store_media(Media::bytes("image/png", vec![7; 900])).unwrap();
            let message = Message::user("Look here.").with_part(photo.part());
            session.record_run([message], Metrics::default()).unwrap().wait().unwrap();
        }
        let fork = engine.session("s0").user("alice").open().unwrap().fork(Point::Head);
        record_turn(&fork.id("fork").open().unwrap(), "q", "a");
        engine
            .session("s2")
            .user("alice")
            .open()
            .unwrap()
            .fork(Point::Head)
            .id("s1-like")
            .open()
            .unwrap();
        let memory = NewMemory::new("likes tea");
        engine.memories("alice").unwrap().add(memory).unwrap().1.wait().unwrap();
        assert_sound(&engine);
        engine.stats().unwrap()
    };
    rot(&disk, "s1");
    let engine = sealed(&disk);
    let report = engine.verify().unwrap();
    let [problem] = report.problems.as_slice() else { panic!("{:?}", report.problems) };
    assert_eq!(problem.session_id, Some(Digest::of_session("s1").to_string()));
    assert!(
        problem.problem.starts_with("slot ") && problem.problem.contains(" of sessionlog.keys")
    );
    assert!(!report.ok && report.sessions == 4 && report.log_head.is_none());
    // What is wrong elsewhere is found all the same.
    let named = |id: &str| engine.verify_sessions(&[id.to_owned()]).unwrap();
    assert_eq!(named("s1").problems, report.problems);
    assert!(named("s0").ok && named("fork").ok);
    let stats = engine.stats().unwrap();
    assert_eq!((whole.unreadable, stats.unreadable), (0, 1));
    assert_eq!((stats.sessions, stats.events), (whole.sessions - 1, whole.events));
    let query = SearchQuery::new(Access::Admin, "look");
    let refused = engine.search(&query).unwrap_err().to_string();
    assert!(refused.contains("sessionlog.keys"), "{refused}");
    let blob = engine.blobs().unwrap()[0].name.clone();
    fs::remove_file(disk.path().join("media").join(&blob[..2]).join(&blob[2..])).unwrap();
    // Of the three images, one is of the session that nobody can read.
    let problems = engine.verify().unwrap().problems.len();
    drop(engine);
    rot(&disk, "s1");
    let report = sealed(&disk).verify().unwrap();
    assert!(report.problems.iter().all(|it| it.problem.contains("is missing")), "{report:?}");
    let is_lost = report.problems[0].session_id == Some(Digest::of_session("s1").to_string());
    assert_eq!(problems, 1 + usize::from(!is_lost));
}

#[test]
fn verify_names_every_session_while_the_key_service_is_down() {
    let disk = Disk::new();
    {
        let engine = sealed(&disk);
        let session = engine.session("s0").open().unwrap();
        record_turn(&session, "q", "a");
        record_turn(&session.fork(Point::Head).id("s1").open().unwrap(), "q", "a");
    }
    let key = StaticKey::new([1; 32]);
    let service = Arc::new(KeyService { key, is_down: AtomicBool::new(false) });
    let provider = Arc::clone(&service) as Arc<dyn KeyProvider>;
    let engine = Engine::builder().seal(provider).open(disk.path()).unwrap();
    service.is_down.store(true, Ordering::SeqCst);
    let problems = engine.verify().unwrap().problems;
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().all(|it| it.problem == "the key service does not answer"));
    service.is_down.store(false, Ordering::SeqCst);
    assert_sound(&engine);
}
