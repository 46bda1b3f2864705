//! Writers that meet: what commutes, what conflicts, and handles in many hands.

use std::sync::Barrier;

use serde_json::json;
use sessionlog::{
    Custom, Engine, ErrorKind, Expected, Json, Message, Metrics, NewEvent, Point, Renamed,
    RewoundTo, Session, StateChanged, StatePatch, SummaryWritten,
};

use crate::support::{Disk, assert_sendable, record_turn, texts};

fn renamed(name: &str) -> NewEvent {
    NewEvent::new(Renamed { name: Some(name.to_owned()), is_generated: false })
}

fn set(path: &[&str], value: i64) -> NewEvent {
    let ops = StatePatch::new().set(path.iter().copied(), json!(value)).into_ops();
    NewEvent::new(StateChanged { ops })
}

fn summary(text: &str) -> NewEvent {
    let summary = text.to_owned();
    let (first_seq, last_seq) = (1, 1);
    NewEvent::new(SummaryWritten {
        summary,
        topics: Vec::new(),
        first_seq,
        last_seq,
        model: None,
        metrics: None,
    })
}

type Make = Box<dyn Fn() -> NewEvent>;

fn unchanged_since(session: &Session, seq: u64, event: NewEvent) -> Result<u64, ErrorKind> {
    let ticket = session.append_expecting(Expected::Unchanged(seq), [event]).unwrap();
    ticket.wait().map(|receipt| receipt.last_seq).map_err(|error| error.kind().clone())
}

#[test]
fn a_rename_a_patch_and_a_summary_commute_with_a_running_turn() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    let seen = session.seq().unwrap();
    run.push(Message::user("q")).unwrap().wait().unwrap();
    for event in [renamed("n"), set(&["k"], 1), summary("so far")] {
        assert!(unchanged_since(&session, seen, event).is_ok());
        run.push(Message::assistant("more")).unwrap().wait().unwrap();
    }
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    let view = session.view().unwrap();
    assert_eq!((view.name.as_deref(), view.message_count), (Some("n"), 4));
    assert_eq!((view.state["k"].as_i64(), view.summaries.len()), (Some(1), 1));
}

#[test]
fn what_changes_the_same_conflicts_and_says_what_was_in_the_way() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let custom = || NewEvent::new(Custom { kind: "vote".into(), data: Json::from(json!(1)) });
    let same: Vec<(Make, Make)> = vec![
        (Box::new(|| renamed("a")), Box::new(|| renamed("b"))),
        (Box::new(|| set(&["k"], 1)), Box::new(|| set(&["k", "inside"], 2))),
        (Box::new(|| summary("a")), Box::new(|| summary("b"))),
        (Box::new(custom), Box::new(custom)),
    ];
    for (first, second) in &same {
        let seen = session.seq().unwrap();
        session.append([first()]).unwrap().wait().unwrap();
        let ticket = session.append_expecting(Expected::Unchanged(seen), [second()]).unwrap();
        let error = ticket.wait().unwrap_err();
        let conflict = ErrorKind::Conflict { expected: seen, actual: seen + 1 };
        assert_eq!(error.kind(), &conflict);
        assert!(error.to_string().contains(&format!("seq {} changed the same", seen + 1)));
        // Whoever looks again may go on.
        assert!(unchanged_since(&session, seen + 1, second()).is_ok());
    }
    assert!(unchanged_since(&session, 99, renamed("from the future")).is_err());
}

#[test]
fn changes_of_different_keys_are_both_kept_whoever_comes_first() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let seen = session.seq().unwrap();
    // Not waited for in between, so that they can share a group.
    let tickets: Vec<_> = (0..50)
        .map(|number| {
            let event = set(&["all", &format!("k{number}")], number);
            session.append_expecting(Expected::Unchanged(seen), [event]).unwrap()
        })
        .collect();
    assert!(tickets.into_iter().all(|ticket| ticket.wait().is_ok()));
    assert_eq!(session.state().unwrap()["all"].as_object().unwrap().len(), 50);
}

#[test]
fn of_two_that_insist_on_the_head_one_is_late() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let seen = session.seq().unwrap();
    let late = |event| session.append_expecting(Expected::Seq(seen), [event]).unwrap();
    let tickets = [late(renamed("n")), late(set(&["k"], 1))];
    let outcomes = tickets.map(|ticket| ticket.wait().is_ok());
    assert_eq!(outcomes, [true, false]);
}

#[test]
fn nobody_who_saw_the_session_before_a_rewind_writes_behind_it_unknowingly() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    let seen = session.seq().unwrap();
    session.rewind(Point::seq(1)).unwrap().wait().unwrap();
    assert!(unchanged_since(&session, seen, renamed("n")).is_err());
    assert!(unchanged_since(&session, seen, set(&["k"], 1)).is_err());
    // A rewind itself cannot be put behind anything it did not see.
    let link = [0; 32];
    let forged = RewoundTo { seq: 1, link, user_id: None, left_behind: None };
    assert!(session.append([NewEvent::new(forged)]).unwrap().wait().is_err());
}

#[test]
fn a_writer_that_is_very_late_is_told_so() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let seen = session.seq().unwrap();
    let data = Json::from(json!(0));
    let behind = usize::try_from(sessionlog::limits::CONFLICT_EVENTS_MAX).unwrap();
    let events =
        (0..=behind).map(|_| NewEvent::new(Custom { kind: "fill".into(), data: data.clone() }));
    session.append(events).unwrap().wait().unwrap();
    assert!(unchanged_since(&session, seen, renamed("n")).is_err());
    assert!(unchanged_since(&session, seen + 1, renamed("n")).is_ok());
}

#[test]
fn runs_of_one_session_interleave_and_each_stays_whole() {
    let disk = Disk::new();
    let engine = disk.open();
    engine.session("s").open().unwrap();
    let barrier = Barrier::new(4);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let (engine, barrier) = (engine.clone(), &barrier);
            scope.spawn(move || {
                let session = engine.session("s").open_existing().unwrap();
                barrier.wait();
                for turn in 0..10 {
                    let run = session.run().id(format!("{writer}-{turn}")).start().unwrap();
                    let call = format!("call-{turn}");
                    run.push(Message::user(format!("{writer} asks"))).unwrap();
                    run.push(Message::assistant("").with_call(&*call, "tool", "{}")).unwrap();
                    run.push(Message::tool(&*call, format!("{writer} result"))).unwrap();
                    run.push(Message::assistant(format!("{writer} done"))).unwrap();
                    run.complete(Metrics::tokens(1, 1)).unwrap().wait().unwrap();
                }
            });
        }
    });
    let session = engine.session("s").open_existing().unwrap();
    assert_eq!((session.view().unwrap().run_count, session.seq().unwrap()), (40, 241));
    for run in session.at(Point::Head).unwrap().runs().unwrap() {
        let writer = &run.started.run_id[..1];
        let messages: Vec<_> = run.messages.into_iter().map(|(_, message)| message).collect();
        let said = texts(&messages);
        assert_eq!(said.len(), 4);
        assert!(said.iter().all(|text| text.is_empty() || text.starts_with(writer)), "{said:?}");
    }
    for seq in (1..=241).step_by(7) {
        let there = session.at(Point::seq(seq)).unwrap();
        for runs in [1, 3, 40] {
            let messages = there.window().runs(runs).messages().unwrap();
            assert_sendable(&messages);
        }
    }
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn a_handle_that_has_seen_the_session_sees_what_others_write() {
    let engine = Engine::in_memory().unwrap();
    let mine = engine.session("s").open().unwrap();
    let other = engine.session("s").open().unwrap();
    for number in 0..600 {
        other.patch_state(StatePatch::new().set(["n"], json!(number))).unwrap().wait().unwrap();
        if number % 7 == 0 {
            assert_eq!(mine.state().unwrap()["n"], number);
        }
    }
    let before = mine.view().unwrap();
    other.rewind(Point::seq(10)).unwrap().wait().unwrap();
    assert_eq!(mine.state().unwrap()["n"], 8);
    other.rewind(Point::seq(before.seq)).unwrap().wait().unwrap();
    assert_eq!(mine.view().unwrap().state, before.state);
    other.change_owner(Some("bob")).unwrap().wait().unwrap();
    assert_eq!(mine.view().unwrap_err().kind(), &ErrorKind::Forbidden);
}

#[test]
fn one_handle_is_used_from_many_threads_at_once() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let session = &session;
            scope.spawn(move || {
                for number in 0..25 {
                    let key = format!("{thread}-{number}");
                    let patch = StatePatch::new().set([key.as_str()], json!(number));
                    session.patch_state(patch).unwrap();
                    // What this thread has appended, whatever the others do meanwhile.
                    assert_eq!(session.view().unwrap().state[&key], number);
                }
            });
        }
    });
    assert_eq!(session.view().unwrap().state.len(), 200);
    assert_eq!(session.seq().unwrap(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_handle_is_used_from_many_tasks_at_once() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (engine, session) = (engine.clone(), session.clone());
            tokio::spawn(async move {
                let turn = [Message::user(format!("q{number}"))];
                session.record_run(turn, Metrics::default()).unwrap().await.unwrap();
                engine.blocking(move |_| session.window().all_runs().messages()).await.unwrap()
            })
        })
        .collect();
    for (number, task) in tasks.into_iter().enumerate() {
        assert!(texts(&task.await.unwrap()).contains(&format!("q{number}")));
    }
}
