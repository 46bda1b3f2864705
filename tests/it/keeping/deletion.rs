//! Deletion of sessions.

use std::sync::Arc;

use sessionlog::log::FaultyLog;
use sessionlog::{
    Access, Digest, Engine, ErrorKind, Log, Order, PageLimit, Point, Range, SessionQuery,
};

use crate::support::shapes::{assert_sound, memory};
use crate::support::{Disk, record_tool_turn, record_turn, texts};

#[test]
fn a_deleted_session_is_nowhere_and_its_bodies_are_gone() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").user("alice").open().unwrap();
    for number in 0..300 {
        record_turn(&session, &format!("needle {number}"), "a");
    }
    let other = engine.session("other").user("bob").open().unwrap();
    record_turn(&other, "kept", "a");
    let receipt = session.delete(Some("asked by alice")).unwrap();
    assert_eq!((receipt.events, receipt.link.len()), (1_201, 64));
    assert!(matches!(session.view().unwrap_err().kind(), ErrorKind::NotFound { .. }));
    let page = engine.sessions(&SessionQuery::new(Access::Admin)).unwrap();
    assert_eq!(page.total, 1);
    assert_sound(&engine);
    assert_eq!(engine.receipts().unwrap().len(), 1);
    drop((session, other, engine));
    assert_sound(&disk.open());
}

#[test]
fn a_session_that_begins_under_the_same_id_is_another() {
    let engine = memory(sessionlog::Policy::new());
    let session = engine.session("s").user("alice").open().unwrap();
    record_tool_turn(&session, "c");
    session.rename("Old").unwrap().wait().unwrap();
    session.delete(None).unwrap();
    let session = engine.session("s").user("bob").open().unwrap();
    record_turn(&session, "new", "a");
    let view = session.view().unwrap();
    assert_eq!((view.run_count, view.name, view.user_id), (1, None, Some("bob".into())));
    assert_eq!(texts(&session.window().all_runs().messages().unwrap()), ["new", "a"]);
    assert_eq!(session.at(Point::run(1)).unwrap().view().message_count, 2);
    // What was before is out of reach, and the events that are there can all be read.
    assert!(session.at(Point::seq(3)).is_err());
    assert!(session.events(Point::Head).unwrap().all(|event| event.is_ok()));
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    assert_sound(&engine);
    session.delete(None).unwrap();
    engine.session("s").open().unwrap();
    assert_sound(&engine);
}

#[test]
fn forks_of_a_deleted_session_go_on() {
    let engine = memory(sessionlog::Policy::new());
    let session = engine.session("s").open().unwrap();
    for number in 1..=4 {
        record_turn(&session, &format!("q{number}"), "a");
    }
    let fork = session.fork(Point::run(2)).id("fork").open().unwrap();
    let inner = fork.fork(Point::run(1)).id("inner").open().unwrap();
    session.delete(None).unwrap();
    assert_sound(&engine);
    assert_eq!(texts(&fork.window().messages().unwrap()), ["q1", "a", "q2", "a"]);
    record_turn(&fork, "q3", "other");
    assert_eq!(fork.at(Point::run(1)).unwrap().view().run_count, 1);
    fork.delete(None).unwrap();
    assert_sound(&engine);
    assert_eq!(texts(&inner.window().messages().unwrap()), ["q1", "a"]);
    inner.delete(None).unwrap();
    assert_sound(&engine);
    // Nothing is left but headers and receipts.
    assert_eq!(engine.sessions(&SessionQuery::new(Access::Admin)).unwrap().total, 0);
    assert!(session.fork(Point::run(1)).open().is_err());
    assert!(engine.session("fork").open().unwrap().view().unwrap().run_count == 0);
    assert_sound(&engine);
}

#[test]
fn only_who_reaches_a_session_deletes_it() {
    let engine = memory(sessionlog::Policy::new());
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "q", "a");
    assert!(engine.session("s").user("bob").open().is_err());
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let denied = session.delete(None).unwrap_err();
    assert_eq!(denied.kind(), &ErrorKind::Forbidden);
    assert_eq!(engine.erase_user("alice", None).unwrap(), []);
    assert_eq!(engine.erase_user("bob", None).unwrap().len(), 1);
    assert_sound(&engine);
}

/// The forms of the bodies that a stream holds: 2 where there is none any more.
fn forms(log: &dyn Log, session: &str) -> Vec<u8> {
    let prefix = [b"f".as_slice(), &Digest::of_session(session).to_bytes()].concat();
    let frames = log.page(&Range::prefix(&prefix, Order::Ascending), PageLimit::default());
    frames.unwrap().iter().map(|record| record.value[200]).collect()
}

#[test]
fn a_deletion_that_breaks_off_anywhere_is_finished_when_the_database_is_opened() {
    let mut broke_off = 0;
    for room in (0..6_000).step_by(150) {
        let log = Arc::new(FaultyLog::new(room));
        let engine = Engine::builder().open_log(log.clone()).unwrap();
        let session = engine.session("s").open().unwrap();
        for number in 1..=3 {
            record_turn(&session, &format!("q{number}"), "a");
        }
        let fork = session.fork(Point::run(2)).id("fork").open().unwrap();
        record_turn(&fork, "own", "a");
        session.delete(None).unwrap();
        log.set_room(Some(room));
        let result = fork.delete(None);
        let is_told = engine.receipts().unwrap().len() == 2;
        drop((session, fork, engine));
        let log = Arc::new(log.reopen());
        let engine = Engine::builder().open_log(log.clone()).unwrap();
        assert_sound(&engine);
        assert_eq!(is_told, engine.session("fork").open_existing().is_err());
        if is_told {
            broke_off += u32::from(result.is_err());
            // But for the receipts, nothing is left in either stream.
            for session in ["s", "fork"] {
                let forms = forms(&*log, session);
                let (receipt, events) = forms.split_last().unwrap();
                assert_eq!((*receipt, events.iter().all(|form| *form == 2)), (0, true), "{room}");
            }
        }
    }
    assert!(broke_off > 1, "no deletion broke off half-way");
}

#[test]
fn whoever_follows_the_log_learns_of_a_deletion() {
    use sessionlog::{Delivery, EventKind};
    let engine = memory(sessionlog::Policy::new());
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "q", "a");
    session.delete(None).unwrap();
    let again = engine.session("s").user("bob").open().unwrap();
    let kinds = |access: Access| {
        let mut found = Vec::new();
        let mut subscription = engine.subscribe(access, 1);
        while subscription.cursor() <= 7 {
            let next = subscription.next_within(std::time::Duration::ZERO).unwrap();
            let Some(Delivery::Event(event)) = next else { break };
            found.push((event.session_id.to_string(), event.event.body.kind()));
        }
        found
    };
    let all = kinds(Access::Admin);
    assert_eq!(all.len(), 7);
    assert_eq!(all[5].1, EventKind::Deleted);
    assert!(all[5].0 != "s" && all[6] == ("s".into(), EventKind::Created));
    assert_eq!(kinds(Access::User("bob".into())).len(), 1);
    assert_eq!(kinds(Access::User("alice".into())), []);
    drop(again);
}
