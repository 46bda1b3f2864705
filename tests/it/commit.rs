//! Appending: order, conflicts, retries, limits, and who may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use sessionlog::log::{Fault, FaultyLog};
use sessionlog::{
    Access, Batch, Custom, Deleted, Engine, ErrorKind, EventBody, EventId, Expected, Json,
    KeepRuns, Log, MemoryLog, Message, Metrics, NewEvent, OlderRuns, Point, Policy, RunStatus,
    SessionQuery, StatePatch,
};

use crate::support::{Disk, HeldByTest, engine_at, record_turn};

fn custom(number: u64) -> NewEvent {
    NewEvent::new(Custom { kind: "test".into(), data: Json::from(json!(number)) })
}

#[test]
fn seqs_and_positions_have_no_gaps_and_times_never_run_backwards() {
    let (engine, clock) = engine_at(1_000_000);
    let sessions = ["a", "b"].map(|id| engine.session(id).open().unwrap());
    for round in 0..20 {
        clock.set(1_000_000 - round * 1_000);
        for session in &sessions {
            session.append([custom(1), custom(2)]).unwrap().wait().unwrap();
        }
    }
    let mut positions = Vec::new();
    for session in &sessions {
        let events: Vec<_> = session.events(Point::Head).unwrap().map(Result::unwrap).collect();
        assert!(events.iter().map(|event| event.seq).eq(1..=41));
        assert!(events.is_sorted_by_key(|event| event.recorded_at_us));
        assert!(events.is_sorted_by_key(|event| event.id));
        positions.extend(events.iter().map(|event| event.position));
    }
    positions.sort_unstable();
    assert!(positions.into_iter().eq(1..=82));
}

#[test]
fn a_writer_that_insists_on_a_version_and_is_late_gets_a_conflict() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let seq = session.seq().unwrap();
    session.append_expecting(Expected::Seq(seq), [custom(1)]).unwrap().wait().unwrap();
    let late = session.append_expecting(Expected::Seq(seq), [custom(2)]).unwrap().wait();
    let kind = late.unwrap_err().kind().clone();
    assert_eq!(kind, ErrorKind::Conflict { expected: 1, actual: 2 });
    assert_eq!(session.seq().unwrap(), 2);
}

#[test]
fn an_event_id_is_stored_once_however_often_it_is_appended() {
    let disk = Disk::new();
    let id = EventId::generate();
    let first = {
        let session = disk.open().session("s").open().unwrap();
        let expected = Expected::Seq(1);
        let first =
            session.append_expecting(expected, [custom(1).with_id(id)]).unwrap().wait().unwrap();
        // At once in one group, and after others have written: the version no longer matters.
        let tickets: Vec<_> = (0..10)
            .map(|_| session.append_expecting(expected, [custom(1).with_id(id)]).unwrap())
            .collect();
        for ticket in tickets {
            let again = ticket.wait().unwrap();
            assert!(again.is_duplicate);
            assert_eq!((again.first_seq, again.position), (first.first_seq, first.position));
        }
        first
    };
    let session = disk.open().session("s").open().unwrap();
    let again = session.append([custom(1).with_id(id)]).unwrap().wait().unwrap();
    assert!(again.is_duplicate && again.first_seq == first.first_seq);
    assert_eq!(session.seq().unwrap(), 2);
}

#[test]
fn a_retry_that_brings_something_new_stores_only_that() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let ids = [EventId::generate(), EventId::generate()];
    session.append([custom(1).with_id(ids[0])]).unwrap().wait().unwrap();
    let both = [custom(1).with_id(ids[0]), custom(2).with_id(ids[1])];
    let receipt = session.append(both).unwrap().wait().unwrap();
    assert_eq!((receipt.first_seq, receipt.last_seq, receipt.is_duplicate), (3, 3, false));
}

#[test]
fn concurrent_writers_lose_nothing() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("shared").open().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let session = session.clone();
            scope.spawn(move || {
                for turn in 0..25 {
                    record_turn(&session, &format!("{writer}-{turn}"), "answer");
                    let patch =
                        StatePatch::new().set([format!("{writer}"), format!("{turn}")], json!(1));
                    session.patch_state(patch).unwrap().wait().unwrap();
                }
            });
        }
    });
    let view = session.view().unwrap();
    assert_eq!((view.run_count, view.message_count, view.metrics.total_tokens), (200, 400, 3_000));
    let keys: usize = view.state.values().map(|keys| keys.as_object().unwrap().len()).sum();
    assert_eq!(keys, 200);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn two_who_create_one_session_both_get_it_and_it_is_created_once() {
    let engine = Engine::in_memory().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| engine.session("one").user("alice").open().unwrap());
        }
    });
    let session = engine.session("one").user("alice").open().unwrap();
    assert_eq!(session.seq().unwrap(), 1);
}

#[test]
fn a_users_session_is_out_of_reach_for_everyone_else() {
    let engine = Engine::in_memory().unwrap();
    let alice = engine.session("s").user("alice").open().unwrap();
    record_turn(&alice, "secret", "noted");
    let is_forbidden = |error: sessionlog::Error| error.kind() == &ErrorKind::Forbidden;
    assert!(is_forbidden(engine.session("s").user("bob").open().unwrap_err()));
    assert!(is_forbidden(engine.session("s").open().unwrap_err()));
    // A handle from before is out of reach as soon as the session changes hands.
    let before = alice.at(Point::Head).unwrap();
    let admin = engine.session("s").admin().open().unwrap();
    admin.change_owner(Some("bob")).unwrap().wait().unwrap();
    assert!(is_forbidden(alice.view().unwrap_err()));
    assert!(is_forbidden(before.runs().unwrap_err()));
    assert!(is_forbidden(alice.window().messages().unwrap_err()));
    assert!(is_forbidden(alice.replay().unwrap_err()));
    assert!(is_forbidden(alice.rename("mine").unwrap().wait().unwrap_err()));
    assert!(is_forbidden(alice.append([custom(1)]).unwrap().wait().unwrap_err()));
    let bob = engine.session("s").user("bob").open().unwrap();
    assert_eq!(bob.name().unwrap(), None);
    assert_eq!(bob.view().unwrap().message_count, 2);
}

#[test]
fn nobodys_session_is_out_of_reach_for_a_user() {
    let engine = Engine::in_memory().unwrap();
    engine.session("s").open().unwrap();
    let error = engine.session("s").user("alice").open().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Forbidden);
    let query = SessionQuery::new(Access::User("alice".into()));
    assert_eq!(engine.sessions(&query).unwrap().total, 0);
}

#[test]
fn what_is_over_a_limit_is_refused_before_anything_is_written() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let huge = "x".repeat(sessionlog::limits::EVENT_BYTES_MAX + 1);
    let run = session.start_run().unwrap();
    let error = run.push(Message::user(huge)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Limit { what: "event in bytes", .. }), "{error}");
    assert!(engine.session("x".repeat(600)).open().is_err());
    assert!(engine.session("").open().is_err());
    assert!(engine.session("line\nbreak").open().is_err());
    assert!(session.rename("n".repeat(10_000)).unwrap_err().to_string().contains("limit"));
    assert!(session.append([]).is_err());
    run.push(Message::user("small")).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().message_count, 1);
}

#[test]
fn a_refused_append_leaves_no_trace() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    run.push(Message::user("first")).unwrap().wait().unwrap();
    let message =
        |text: &str| EventBody::from(sessionlog::MessageAdded { message: Message::user(text) });
    let events = [
        NewEvent::in_run(run.id(), message("good")),
        NewEvent::in_run("no such run", message("bad")),
    ];
    let before = session.seq().unwrap();
    let error = session.append(events).unwrap().wait().unwrap_err();
    assert_eq!(error.to_string(), "session s: no such run");
    assert_eq!(session.seq().unwrap(), before);
    assert_eq!(session.view().unwrap().message_count, 1);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn a_run_says_how_it_stands_and_what_it_spent() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.run().id("r").start().unwrap();
    let again = session.existing_run("r");
    assert_eq!((run.status().unwrap(), run.metrics().unwrap()), (RunStatus::Running, None));
    run.pause("confirm").unwrap();
    assert_eq!(again.status().unwrap(), RunStatus::Paused);
    run.resume().unwrap();
    run.complete(Metrics::tokens(3, 4)).unwrap();
    assert_eq!(again.status().unwrap(), RunStatus::Completed);
    assert_eq!(again.metrics().unwrap(), Some(Metrics::tokens(3, 4)));
    session.rewind(Point::seq(1)).unwrap().wait().unwrap();
    let error = again.status().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { what: "run" }), "{error}");
    assert_eq!(error.to_string(), "session s: run r: no such run");
}

#[test]
fn an_erased_session_starts_no_run_and_is_not_erased_again() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.run().id("r").start().unwrap();
    run.push(Message::user("hi")).unwrap().wait().unwrap();
    session.erase_message(3, None).unwrap();
    let again = session.erase_message(3, None).unwrap_err();
    assert!(matches!(again.kind(), ErrorKind::NotFound { .. }), "{again}");
    session.rewind(Point::seq(1)).unwrap().wait().unwrap();
    let error = run.push(Message::user("late")).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RunState { status: None, .. }), "{error}");
    session.erase_all(None).unwrap();
    let error = session.start_run().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { what: "session" }), "{error}");
}

#[test]
fn a_run_that_has_ended_takes_no_message_until_it_is_resumed() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.run().id("r").start().unwrap();
    run.clone().complete(Metrics::default()).unwrap().wait().unwrap();
    let error = run.push(Message::user("late")).unwrap().wait().unwrap_err();
    assert_eq!(error.to_string(), "session s: run r is COMPLETED: resume it first");
    let ErrorKind::RunState { run_id, status, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!((&**run_id, *status), ("r", Some("COMPLETED")));
    let error = session.run().id("r").record([], Metrics::default()).unwrap().wait().unwrap_err();
    assert_eq!(error.to_string(), "session s: run r has already started");
    assert!(matches!(error.kind(), ErrorKind::RunState { status: Some("COMPLETED"), .. }));
    run.resume().unwrap().wait().unwrap();
    let error = run.resume().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RunState { status: Some("RUNNING"), .. }));
    run.push(Message::user("late")).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().run_count, 1);
}

#[test]
fn a_failed_sync_answers_every_waiter_and_closes_the_log_for_writing() {
    let log = Arc::new(FaultyLog::new(1));
    let engine = Engine::builder().open_log(log.clone()).unwrap();
    let session = engine.session("s").open().unwrap();
    log.fail_next(Fault::Sync);
    let tickets: Vec<_> = (0..20).map(|number| session.append([custom(number)]).unwrap()).collect();
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_err()));
    // The next sync would succeed, but what it covers is not known any more.
    let error = session.append([custom(99)]).unwrap().wait().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Poisoned { .. }), "{error}");
    // Nothing that was never acknowledged is seen.
    assert_eq!(session.seq().unwrap(), 1);
    assert_eq!(session.view().unwrap().seq, 1);
}

#[test]
fn a_snapshot_is_never_ahead_of_what_survived() {
    for seed in 0..16 {
        let log = Arc::new(FaultyLog::new(seed));
        let engine = Engine::builder().open_log(log.clone()).unwrap();
        let session = engine.session("s").open().unwrap();
        // One append over the place of a snapshot, of which nobody knows whether it is there.
        log.fail_next(Fault::Sync);
        session.append((0..300).map(custom)).unwrap().wait().unwrap_err();
        drop((session, engine));
        let engine = Engine::builder().open_log(Arc::new(log.crash())).unwrap();
        let session = engine.session("s").open().unwrap();
        let report = engine.verify().unwrap();
        assert!(report.ok, "seed {seed}: {:?}", report.problems);
        session.append((0..300).map(|number| custom(1_000 + number))).unwrap().wait().unwrap();
        session.view().unwrap();
        let report = engine.verify().unwrap();
        assert!(report.ok, "seed {seed}: {:?}", report.problems);
    }
}

#[test]
fn what_waits_together_shares_one_sync() {
    let (log, clock) = (Arc::new(FaultyLog::new(1)), Arc::new(HeldByTest::default()));
    let engine = Engine::builder().clock(clock.clone()).open_log(log.clone()).unwrap();
    let session = engine.session("s").open().unwrap();
    let before = log.syncs();
    let held = clock.0.lock().unwrap();
    let tickets: Vec<_> =
        (0..500).map(|number| session.append([custom(number)]).unwrap()).collect();
    drop(held);
    for ticket in tickets {
        ticket.wait().unwrap();
    }
    assert_eq!(log.syncs() - before, 1);
}

#[test]
fn dropping_the_engine_commits_what_is_queued_and_frees_the_database() {
    let disk = Disk::new();
    for round in 0..3 {
        let session = disk.open().session("s").open().unwrap();
        for number in 0..50 {
            drop(session.append([custom(number)]).unwrap());
        }
        drop(session);
        let session = disk.open().session("s").open().unwrap();
        assert_eq!(session.seq().unwrap(), 1 + 50 * (round + 1));
    }
}

#[test]
fn refusals_in_a_group_neither_overtake_nor_push_out_what_was_accepted() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let accepted = session.append([custom(1)]).unwrap();
    let refused = session.append_expecting(Expected::Seq(999), [custom(2)]).unwrap();
    assert!(refused.wait().is_err());
    // The refusal came later, so what came before it is decided.
    assert!(accepted.poll_now().unwrap().is_ok());
    // More sessions are refused than the commit thread keeps at hand.
    let first = session.append([custom(3)]).unwrap();
    let others: Vec<_> = (0..3 * sessionlog::limits::TAIL_CACHE_SESSIONS_MAX / 2)
        .map(|number| {
            let other = engine.session(format!("other {number}")).admin();
            other.open_existing().err()
        })
        .collect();
    assert!(others.iter().all(Option::is_some));
    let second = session.append([custom(4)]).unwrap();
    assert_eq!(first.wait().unwrap().last_seq + 1, second.wait().unwrap().first_seq);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn events_that_would_harm_a_reader_are_refused() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let path = vec!["a".to_owned(); 300_000];
    let value = Json::from(json!(1));
    let deep = sessionlog::StateChanged { ops: vec![sessionlog::StateOp::Set { path, value }] };
    assert!(session.append([NewEvent::new(deep)]).is_err());
    let none = Policy::new().keep_runs(KeepRuns::Last { runs: 0, older: OlderRuns::Reduced });
    assert!(session.set_policy(none).is_err());
    let deleted = Deleted { is_erased: false, authority: None, owner: None };
    assert!(session.append([NewEvent::new(deleted)]).is_err());
    let run = session.start_run().unwrap();
    let endless = Metrics { cost: Some(f64::INFINITY), ..Metrics::default() };
    assert!(run.complete(endless).is_err());
    assert_eq!(session.view().unwrap().seq, 2);
}

#[test]
fn a_run_recorded_twice_under_the_callers_id_is_stored_once() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let record = || {
        let run = session.run().id("turn-1");
        run.record([Message::user("q")], Metrics::tokens(1, 0)).unwrap().wait().unwrap()
    };
    assert!(!record().is_duplicate);
    assert!(record().is_duplicate);
    assert_eq!(session.view().unwrap().metrics.total_tokens, 1);
    let error = session.run().id("turn-1").start().unwrap_err();
    assert_eq!(error.to_string(), "session s: run turn-1 has already started");
}

#[test]
fn a_session_whose_catalog_entry_is_gone_is_an_error_and_no_endless_wait() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
    drop(engine.session("s").open().unwrap());
    let key = [b"c".as_slice(), &sessionlog::Digest::of_session("s").to_bytes()].concat();
    let mut batch = Batch::new();
    batch.remove(key);
    log.apply(&batch).unwrap();
    drop(engine);
    let engine = Engine::builder().open_log(log).unwrap();
    assert!(engine.session("s").open().unwrap_err().is_corrupt());
}

#[test]
fn verify_says_nothing_wrong_of_a_log_that_is_being_written_to() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..400 {
                record_turn(&session, "q", "a");
                session.rename(format!("{number}")).unwrap();
            }
            is_done.store(true, Ordering::SeqCst);
        });
        while !is_done.load(Ordering::SeqCst) {
            let report = engine.verify().unwrap();
            assert!(report.ok, "{:?}", report.problems);
        }
    });
}

/// A clock that breaks when told to: the commit thread asks it.
#[derive(Debug, Default)]
struct BreakingClock(AtomicBool);

impl sessionlog::Clock for BreakingClock {
    fn now_us(&self) -> i64 {
        assert!(!self.0.load(Ordering::SeqCst), "the clock broke");
        1
    }
}

#[test]
fn nobody_waits_for_ever_when_the_commit_thread_breaks() {
    let clock = Arc::new(BreakingClock::default());
    let builder = Engine::builder().clock(clock.clone());
    let engine = builder.open_log(Arc::new(MemoryLog::new())).unwrap();
    let session = engine.session("s").open().unwrap();
    clock.0.store(true, Ordering::SeqCst);
    for _ in 0..50 {
        let error = session.append([custom(1)]).and_then(sessionlog::Ticket::wait).unwrap_err();
        assert_eq!(error.kind(), &ErrorKind::Closed);
    }
    assert_eq!(session.view().unwrap().seq, 1);
}
