//! Erasure of what forks keep of sessions that were deleted.

use sessionlog::{
    Access, Engine, ErasureReceipt, ErasureTarget, ErrorKind, MemoryQuery, Message, Metrics,
    NewMemory, Point, Policy, Renamed, Session, StaticKey, SummaryWritten,
};

use super::erasure::{FailsOnce, everything};
use crate::support::shapes::{append, assert_sound, memory};
use crate::support::{Disk, record_turn, texts};

fn alice() -> Access {
    Access::User("alice".into())
}

/// A session of alice's that says it, shared by a fork of bob's; the session is deleted.
fn shared_and_deleted(engine: &Engine) -> Session {
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "before", "a");
    session
        .run()
        .id("secret")
        .input(serde_json::json!("NEEDLE"))
        .record([Message::user("NEEDLE here"), Message::assistant("b")], Metrics::tokens(2, 2))
        .unwrap();
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    append(&fork, summary(1, 12, "about NEEDLE"));
    append(&fork, Renamed { name: Some("The NEEDLE".into()), is_generated: true });
    let run = fork.start_run().unwrap();
    let mut copy = Message::user("NEEDLE here");
    copy.from_history = true;
    run.push_all([copy, Message::user("mine"), Message::assistant("c")]).unwrap();
    run.complete(Metrics::tokens(3, 3)).unwrap().wait().unwrap();
    fork.change_owner(Some("bob")).unwrap().wait().unwrap();
    session.delete(None).unwrap();
    engine.session("fork").user("bob").open_existing().unwrap()
}

fn summary(first_seq: u64, last_seq: u64, text: &str) -> SummaryWritten {
    SummaryWritten {
        summary: text.into(),
        topics: vec![],
        first_seq,
        last_seq,
        model: None,
        metrics: None,
    }
}

fn all_texts(session: &Session) -> Vec<String> {
    texts(&session.window().all_runs().messages().unwrap())
}

fn ids(receipts: &[ErasureReceipt]) -> Vec<&str> {
    receipts.iter().map(|receipt| receipt.session_id.as_str()).collect()
}

/// The seq of the message that says it.
const SAID_AT: u64 = 7;

#[test]
fn an_erased_user_is_gone_from_what_forks_share_of_deleted_sessions() {
    let disk = Disk::new();
    let engine = disk.open();
    let fork = shared_and_deleted(&engine);
    assert!(everything(&fork).contains("NEEDLE"));
    let metrics = fork.view().unwrap().metrics;
    assert_eq!(engine.former_sessions(&Access::User("bob".into())).unwrap(), []);
    let former = engine.former_sessions(&alice()).unwrap();
    assert_eq!((former.len(), former[0].session_id.as_str(), former[0].events), (1, "s", 7));
    assert_eq!(former[0].forks, [] as [String; 0], "alice does not reach bob's fork");
    assert_eq!(engine.former_sessions(&Access::Admin).unwrap()[0].forks, ["fork"]);
    let before = engine.receipts().unwrap().len();
    let receipts = engine.erase_user("alice", Some("art. 17")).unwrap();
    assert_eq!((ids(&receipts), ids(&receipts[0].forks)), (vec!["s"], vec!["fork"]));
    assert_eq!(receipts[0].events, former[0].events);
    let kept = engine.receipts().unwrap();
    assert_eq!(kept.len(), before + 3, "one in what is left, two in the fork");
    assert!(kept.iter().any(|receipt| receipt.event.seq == receipts[0].seq));
    assert!(!everything(&fork).contains("NEEDLE") && !everything(&fork).contains("before"));
    assert_eq!(all_texts(&fork), ["mine", "c"]);
    assert_eq!((fork.name().unwrap(), fork.summary().unwrap()), (None, None));
    assert_eq!(fork.view().unwrap().metrics, metrics);
    assert_eq!(engine.former_sessions(&Access::Admin).unwrap(), []);
    assert_eq!(engine.erase_user("alice", None).unwrap(), []);
    assert_sound(&engine);
    drop((fork, engine));
    let engine = disk.open();
    assert_sound(&engine);
    let fork = engine.session("fork").user("bob").open_existing().unwrap();
    record_turn(&fork, "on", "d");
    fork.delete(None).unwrap();
    assert_sound(&engine);
    assert_eq!(engine.erase_user("alice", None).unwrap(), []);
}

#[test]
fn a_message_and_a_run_are_erased_through_a_fork_of_a_deleted_session() {
    for is_run in [false, true] {
        let engine = memory(Policy::new());
        let fork = shared_and_deleted(&engine);
        // It is not the fork's owner who says what becomes of what alice said.
        let refused = fork.erase_message(SAID_AT, None).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Forbidden);
        let fork = engine.session("fork").admin().open_existing().unwrap();
        let planned = fork.plan_erasure(ErasureTarget::Message { seq: SAID_AT }).unwrap();
        assert!(planned.contains(&SAID_AT));
        let erase = || {
            if is_run {
                fork.erase_run("secret", Some("art. 17"))
            } else {
                fork.erase_message(SAID_AT, Some("art. 17"))
            }
        };
        let receipt = erase().unwrap();
        assert_eq!((receipt.session_id.as_str(), ids(&receipt.forks)), ("s", vec!["fork"]));
        assert!(!everything(&fork).contains("NEEDLE"));
        let left: &[&str] = if is_run { &[] } else { &["b"] };
        assert_eq!(all_texts(&fork), [&["before", "a"], left, &["mine", "c"]].concat());
        assert!(matches!(erase().unwrap_err().kind(), ErrorKind::NotFound { .. }));
        assert_sound(&engine);
    }
}

#[test]
fn only_whose_a_deleted_session_was_erases_what_is_left_of_it() {
    let engine = memory(Policy::new());
    let handle = engine.session("s").user("alice").open().unwrap();
    let fork = shared_and_deleted(&engine);
    for access in [Access::User("bob".into()), Access::Nobody] {
        let refused = engine.erase_former("s", &access, None).unwrap_err();
        assert_eq!(refused.kind(), &ErrorKind::Forbidden);
    }
    let missing = engine.erase_former("fork", &Access::Admin, None).unwrap_err();
    assert!(matches!(missing.kind(), ErrorKind::NotFound { .. }));
    assert_eq!(engine.erase_user("bob", None).map(|receipts| receipts.len()).unwrap(), 1);
    assert!(matches!(fork.view().unwrap_err().kind(), ErrorKind::NotFound { .. }));
    assert!(handle.erase_all(None).is_err(), "nobody shares it any more");
    assert_sound(&engine);

    let engine = memory(Policy::new());
    let handle = engine.session("s").user("alice").open().unwrap();
    let fork = shared_and_deleted(&engine);
    // A handle of before reaches it still.
    assert_eq!(handle.erase_all(None).unwrap().session_id, "s");
    assert!(!everything(&fork).contains("NEEDLE"));
    assert_eq!(engine.erase_former("s", &alice(), None).unwrap(), []);
    assert_sound(&engine);
}

#[test]
fn one_that_began_under_the_same_id_stays_and_goes_without_the_one_before_it() {
    let engine = memory(Policy::new());
    let fork = shared_and_deleted(&engine);
    let other = engine.session("s").user("carol").open().unwrap();
    for number in 0..70 {
        record_turn(&other, &format!("hers {number}"), "a");
    }
    let hers = other.fork(Point::run(2)).id("hers").open().unwrap();
    let (before, view) = (all_texts(&other), other.view().unwrap());
    assert_eq!(engine.erase_user("alice", None).unwrap().len(), 1);
    assert!(!everything(&fork).contains("NEEDLE"));
    assert_eq!(all_texts(&other), before);
    assert_eq!(other.view().unwrap().metrics, view.metrics);
    assert_sound(&engine);
    record_turn(&other, "more", "a");
    other.rewind(Point::run(3)).unwrap().wait().unwrap();
    assert_sound(&engine);
    assert_eq!(other.erase_all(None).unwrap().forks.len(), 1);
    assert_eq!(all_texts(&hers), [] as [&str; 0]);
    assert_eq!(all_texts(&fork), ["mine", "c"]);
    assert_sound(&engine);
}

#[test]
fn erasing_all_of_a_session_leaves_what_was_shared_of_one_before_it() {
    let engine = memory(Policy::new());
    let fork = shared_and_deleted(&engine);
    let other = engine.session("s").user("carol").open().unwrap();
    record_turn(&other, "hers", "a");
    assert_eq!(other.erase_all(None).unwrap().forks, []);
    assert!(everything(&fork).contains("NEEDLE"));
    assert_sound(&engine);
    assert_eq!(engine.erase_user("alice", None).unwrap().len(), 1);
    assert!(!everything(&fork).contains("NEEDLE"));
    // It begins behind what was told of the one before.
    let again = engine.session("s").user("dora").open().unwrap();
    record_turn(&again, "again", "a");
    assert_eq!(all_texts(&again), ["again", "a"]);
    assert_sound(&engine);
}

#[test]
fn an_erasure_reaches_through_a_fork_that_was_deleted() {
    for is_kept in [true, false] {
        let engine = memory(Policy::new());
        let session = engine.session("s").user("alice").open().unwrap();
        record_turn(&session, "NEEDLE", "a");
        let between = session.fork(Point::Head).id("between").open().unwrap();
        append(&between, summary(1, 4, "about NEEDLE"));
        let run = between.start_run().unwrap();
        let mut copy = Message::user("NEEDLE");
        copy.from_history = true;
        run.push_all([copy, Message::user("hers")]).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        let fork = between.fork(Point::Head).id("fork").open().unwrap();
        between.delete(None).unwrap();
        let erased = if is_kept {
            session.erase_message(3, None).unwrap()
        } else {
            session.delete(None).unwrap();
            engine.erase_former("s", &alice(), None).unwrap().remove(0)
        };
        assert_eq!(ids(&erased.forks), ["between", "fork"]);
        let left = everything(&fork);
        assert!(!left.contains("NEEDLE") && left.contains("hers"), "{left}");
        assert_sound(&engine);
    }
}

#[test]
fn memories_of_what_was_deleted_go_with_what_forks_share() {
    let engine = memory(Policy::new());
    let session = engine.session("s").user("carol").open().unwrap();
    record_turn(&session, "I sail.", "a");
    let memories = engine.memories("carol").unwrap();
    memories.add(NewMemory::new("Somebody sails.").from_message("s", 3)).unwrap().1.wait().unwrap();
    session.fork(Point::Head).id("fork").open().unwrap();
    session.change_owner(Some("alice")).unwrap().wait().unwrap();
    engine.session("s").user("alice").open_existing().unwrap().delete(None).unwrap();
    assert_eq!(engine.former_sessions(&alice()).unwrap()[0].memory_texts, 1);
    let receipts = engine.erase_user("alice", None).unwrap();
    assert_eq!(receipts[0].memories.len(), 1);
    assert_eq!(memories.list(&MemoryQuery::new()).unwrap(), []);
    assert_sound(&engine);
}

#[test]
fn in_a_sealed_database_the_key_goes_with_the_last_fork() {
    let disk = Disk::new();
    let open = || {
        let key = std::sync::Arc::new(StaticKey::new([1; 32]));
        Engine::builder().seal(key).open(disk.path()).unwrap()
    };
    let engine = open();
    let fork = shared_and_deleted(&engine);
    assert_eq!(engine.erase_user("alice", None).unwrap().len(), 1);
    assert!(!everything(&fork).contains("NEEDLE"));
    assert_sound(&engine);
    drop((fork, engine));
    let engine = open();
    assert_sound(&engine);
    let fork = engine.session("fork").user("bob").open_existing().unwrap();
    assert_eq!(all_texts(&fork), ["mine", "c"]);
    assert!(fork.erase_all(None).unwrap().key_destroyed);
    assert_sound(&engine);
}

#[test]
fn an_erasure_of_what_is_left_that_broke_off_is_finished_by_doing_it_again() {
    for failing in 1.. {
        let log = FailsOnce::new();
        let open = || Engine::builder().open_log(log.clone()).unwrap();
        let engine = open();
        drop(shared_and_deleted(&engine));
        log.fail(failing);
        let broke_off = engine.erase_user("alice", None).is_err();
        log.fail(u64::MAX);
        drop(engine);
        let engine = open();
        assert_sound(&engine);
        engine.erase_user("alice", None).unwrap();
        let fork = engine.session("fork").user("bob").open_existing().unwrap();
        assert!(!everything(&fork).contains("NEEDLE"), "{failing}");
        assert_sound(&engine);
        if !broke_off {
            assert!(failing > 2);
            return;
        }
    }
}

#[test]
fn a_dump_of_a_session_holds_the_receipts_of_the_one_before_it() {
    use sessionlog::transcript::{Format, ImportOptions, export, import_text};
    let engine = memory(Policy::new());
    shared_and_deleted(&engine);
    engine.erase_user("alice", None).unwrap();
    let again = engine.session("s").user("carol").open().unwrap();
    record_turn(&again, "hers", "a");
    let lines = export(&again, Format::Jsonl).unwrap();
    let text: String = lines.iter().map(|line| line.as_str().to_owned() + "\n").collect();
    let other = memory(Policy::new());
    for _ in 0..2 {
        let options = ImportOptions::default();
        let report = import_text(&other, "dump", text.as_bytes(), &options).unwrap();
        assert_eq!(report.skipped, []);
        assert_sound(&other);
    }
    let there = other.session("s").user("carol").open_existing().unwrap();
    assert_eq!(all_texts(&there), ["hers", "a"]);
    assert_eq!(there.seq().unwrap(), again.seq().unwrap());
}
