//! Heads that someone keeps elsewhere, and what they show of a database that was rewritten whole.

use std::sync::Arc;

use sessionlog::{
    Batch, Engine, ErrorKind, HeadFound, HeldClock, Log, MemoryLog, Order, PageLimit, Point, Range,
    Session,
};

use crate::support::{record_tool_turn, record_turn};

fn seq_of(engine: &Engine, session: &Session, link: &str) -> Option<u64> {
    let report = engine.verify_session_head(session.id(), link).unwrap();
    assert_eq!(report.ok, report.head.is_some(), "{:?}", report.problems);
    match report.head {
        Some(HeadFound::Seq(seq)) => Some(seq),
        None => None,
        Some(HeadFound::Position(_)) => unreachable!("asked for a session"),
    }
}

/// A log with one session in it, written as somebody says it was.
fn written(answer: &str) -> (Arc<dyn Log>, Engine) {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let clock = Arc::new(HeldClock::at(1_000_000));
    let engine = Engine::builder().clock(clock).open_log(Arc::clone(&log)).unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "May I?", answer);
    record_turn(&session, "And now?", "Go on.");
    (log, engine)
}

#[test]
fn the_link_of_every_event_is_found_at_its_seq() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let mut kept = vec![(session.seq().unwrap(), session.link().unwrap())];
    for turn in 0..3 {
        record_tool_turn(&session, &format!("call {turn}"));
        kept.push((session.seq().unwrap(), session.link().unwrap()));
    }
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    kept.push((session.seq().unwrap(), session.link().unwrap()));
    record_turn(&session, "q", "a");
    for (seq, link) in kept {
        assert_eq!(seq_of(&engine, &session, &link), Some(seq));
        assert_eq!(seq_of(&engine, &session, &link.to_uppercase()), Some(seq));
        assert_eq!(session.at(Point::seq(seq)).unwrap().link().unwrap(), Some(link));
    }
    assert_eq!(session.at(Point::Start).unwrap().link().unwrap(), None);
    let report = engine.verify_sessions(&[String::from("s")]).unwrap();
    assert_eq!(report.heads["s"], session.link().unwrap());
}

#[test]
fn a_fork_has_the_heads_of_what_it_shares_and_none_that_came_later() {
    let engine = Engine::in_memory().unwrap();
    let parent = engine.session("parent").open().unwrap();
    record_turn(&parent, "one", "1");
    let shared = parent.link().unwrap();
    let fork = parent.fork(Point::Head).id("fork").open().unwrap();
    record_turn(&parent, "two", "2");
    record_turn(&fork, "three", "3");
    let grandchild = fork.fork(Point::Head).id("grandchild").open().unwrap();
    let at = seq_of(&engine, &parent, &shared);
    assert!(at.is_some());
    assert_eq!(seq_of(&engine, &fork, &shared), at);
    assert_eq!(seq_of(&engine, &grandchild, &shared), at);
    assert_eq!(seq_of(&engine, &fork, &parent.link().unwrap()), None);
    assert_eq!(seq_of(&engine, &parent, &fork.link().unwrap()), None);
    let of_fork = fork.link().unwrap();
    assert_eq!(seq_of(&engine, &grandchild, &of_fork), Some(fork.seq().unwrap()));
    assert_eq!(seq_of(&engine, &grandchild, &grandchild.link().unwrap()), grandchild.seq().ok());
}

#[test]
fn a_head_of_the_log_is_found_at_its_position_whatever_came_later() {
    let engine = Engine::in_memory().unwrap();
    assert_eq!(engine.head().unwrap(), None);
    assert!(!engine.verify_head(&"0".repeat(64)).unwrap().ok);
    let mut kept = Vec::new();
    for session in ["a", "b", "a"] {
        record_turn(&engine.session(session).open().unwrap(), "q", "a");
        kept.push(engine.head().unwrap().unwrap());
    }
    for head in &kept {
        let report = engine.verify_head(&head.link.to_uppercase()).unwrap();
        assert!(report.ok, "{:?}", report.problems);
        assert_eq!(report.head, Some(HeadFound::Position(head.position)));
        assert_eq!(report.log_head.as_ref(), kept.last());
    }
    // A session's link is none of the log's.
    let own = engine.session("a").open().unwrap().link().unwrap();
    let report = engine.verify_head(&own).unwrap();
    assert!(!report.ok && report.head.is_none() && report.log_head.is_none());
}

/// The chain holds, everything is as it should be, and yet it is another past.
#[test]
fn a_database_that_was_made_anew_does_not_have_the_heads_of_the_old_one() {
    let (_, before) = written("No.");
    let (_, after) = written("Yes.");
    assert!(after.verify().unwrap().ok);
    let session = after.session("s").open().unwrap();
    let (own, log) = {
        let session = before.session("s").open().unwrap();
        (session.link().unwrap(), before.head().unwrap().unwrap().link)
    };
    assert_eq!(seq_of(&after, &session, &own), None);
    let report = after.verify_head(&log).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].problem.starts_with("no group of the log has this link"));
    let report = after.verify_session_head("s", &own).unwrap();
    assert_eq!(
        report.problems[0].to_string(),
        "session s: no event has this link: what is stored is not what it was taken from"
    );
}

/// A link alone proves nothing: the frame that has it may stand behind others.
#[test]
fn a_head_that_is_still_there_does_not_hide_what_was_changed_before_it() {
    let (log, engine) = written("No.");
    let link = engine.session("s").open().unwrap().link().unwrap();
    let head = engine.head().unwrap().unwrap();
    let frames = log.page(&Range::prefix(b"f", Order::Ascending), PageLimit::default()).unwrap();
    let mut batch = Batch::new();
    let (mut changed, last) = (frames[3].clone(), frames[3].value.len() - 1);
    changed.value[last] ^= 1;
    batch.replace(changed.key, changed.value);
    log.apply(&batch).unwrap();
    for report in [engine.verify_session_head("s", &link), engine.verify_head(&head.link)] {
        let report = report.unwrap();
        assert!(!report.ok && report.heads.is_empty() && report.log_head.is_none());
        assert!(report.problems[0].to_string().contains("seq 4: "), "{:?}", report.problems);
    }
}

#[test]
fn a_dropped_end_is_missed() {
    let (log, engine) = written("No.");
    let kept = engine.session("s").open().unwrap().link().unwrap();
    let frames = log.page(&Range::prefix(b"f", Order::Descending), PageLimit::records(1)).unwrap();
    let mut batch = Batch::new();
    batch.remove(frames[0].key.clone());
    log.apply(&batch).unwrap();
    let report = engine.verify_session_head("s", &kept).unwrap();
    assert!(!report.ok && report.head.is_none());
}

#[test]
fn what_is_no_link_is_refused() {
    let (_, engine) = written("No.");
    for text in ["", "head", &"z".repeat(64), &"0".repeat(63)] {
        for error in [engine.verify_head(text), engine.verify_session_head("s", text)] {
            let error = error.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{text}: {error}");
        }
    }
    let error = engine.verify_session_head("nowhere", &"0".repeat(64)).unwrap_err();
    assert_eq!(error.to_string(), "session nowhere: no such session");
}
