//! Summaries that are written by themselves.

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use sessionlog::{AutoSummaries, Engine, Error, ErrorKind, Message, Metrics, Result, Summary};

use crate::support::record_turn;
use crate::support::scripted::{Scripted, answer, summary};

type Outcome = (String, Result<Option<Summary>>);

/// The same settings, and what comes of every session that was due.
fn listening(settings: AutoSummaries) -> (AutoSummaries, Receiver<Outcome>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let settings = settings.on_outcome(move |session_id, outcome| {
        let _ = tell.lock().unwrap().send((session_id.to_owned(), outcome.clone()));
    });
    (settings, told)
}

#[test]
fn a_session_is_summarized_after_so_many_runs_and_others_are_not() {
    let engine = Engine::in_memory().unwrap();
    let early = engine.session("early").open().unwrap();
    let model = Scripted::saying(&[&summary("By itself.")]);
    let (settings, told) = listening(engine.auto_summaries(model.clone()).after_runs(2));
    let worker = settings.start().unwrap();
    let (one, two) =
        (engine.session("one").user("a").open().unwrap(), engine.session("two").open().unwrap());
    record_turn(&early, "one more", "answer");
    record_turn(&two, "only one", "answer");
    record_turn(&one, "first", "answer");
    let member = one.run().parent("p").start().unwrap();
    member.complete(Metrics::default()).unwrap();
    assert_eq!(model.calls(), 0);
    record_turn(&one, "second", "answer");
    let (session_id, outcome) = told.recv().unwrap();
    assert_eq!(
        (session_id.as_str(), outcome.unwrap().unwrap().summary.as_str()),
        ("one", "By itself.")
    );
    assert_eq!(model.calls(), 1);
    // It counts anew.
    record_turn(&one, "third", "answer");
    record_turn(&one, "fourth", "answer");
    assert_eq!(told.recv().unwrap().0, "one");
    assert!(worker.last_error().is_none() && !worker.is_over());
    drop(worker);
    assert_eq!((two.summary().unwrap(), early.summary().unwrap()), (None, None));
    record_turn(&one, "fifth", "answer");
    record_turn(&one, "sixth", "answer");
    assert_eq!((told.recv().is_err(), model.calls()), (true, 2));
}

#[test]
fn a_members_run_hides_no_run_of_that_id_in_another_session() {
    let engine = Engine::in_memory().unwrap();
    let model = Scripted::saying(&[&summary("By itself.")]);
    let (settings, told) = listening(engine.auto_summaries(model).after_runs(1));
    let _worker = settings.start().unwrap();
    let (one, two) = (engine.session("one").open().unwrap(), engine.session("two").open().unwrap());
    let member = one.run().id("r1").parent("p").start().unwrap();
    let run = two.run().id("r1").start().unwrap();
    run.push(Message::user("question")).unwrap();
    run.complete(Metrics::default()).unwrap();
    member.complete(Metrics::default()).unwrap();
    record_turn(&engine.session("marker").open().unwrap(), "x", "y");
    assert_eq!(told.recv().unwrap().0, "two");
    assert_eq!(told.recv().unwrap().0, "marker");
}

#[test]
fn a_members_run_that_was_under_way_before_it_was_started_is_no_turn() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    let member = session.run().parent("p").start().unwrap();
    member.push(Message::user("task")).unwrap().wait().unwrap();
    let model = Scripted::saying(&[&summary("By itself.")]);
    let (settings, told) = listening(engine.auto_summaries(model).after_runs(2));
    let _worker = settings.start().unwrap();
    record_turn(&session, "question", "answer");
    member.complete(Metrics::default()).unwrap();
    let marker = engine.session("marker").open().unwrap();
    (0..2).for_each(|_| record_turn(&marker, "x", "y"));
    assert_eq!(told.recv().unwrap().0, "marker");
}

#[test]
fn what_was_added_before_it_was_started_counts_from_the_last_summary() {
    let disk = crate::support::Disk::new();
    let model = Scripted::saying(&[&summary("By itself.")]);
    // A process that is opened for one run at a time comes to three of them all the same.
    let mut due = Vec::new();
    for number in 0..6 {
        let engine = disk.open();
        let (settings, told) = listening(engine.auto_summaries(model.clone()).after_runs(3));
        let worker = settings.start().unwrap();
        let session = engine.session("s1").open().unwrap();
        record_turn(&session, &format!("question {number}"), "answer");
        // Another one's first run tells that this one's was seen: events come in order.
        let marker = engine.session(format!("marker {number}")).open().unwrap();
        (0..3).for_each(|_| record_turn(&marker, "x", "y"));
        while let Ok((session_id, outcome)) = told.recv() {
            assert!(outcome.unwrap().is_some());
            if session_id != "s1" {
                break;
            }
            due.push(number);
        }
        drop(worker);
    }
    assert_eq!(due, [2, 5]);
}

#[test]
fn bytes_count_from_the_last_summary_too_and_a_summary_by_hand_is_one() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, &"x".repeat(900), "answer");
    let by_hand = Scripted::saying(&[&summary("By hand.")]);
    session.summarizer(by_hand.clone()).run().unwrap().unwrap();
    record_turn(&session, &"y".repeat(600), "answer");
    let model = Scripted::saying(&[&summary("Large.")]);
    let (settings, told) = listening(engine.auto_summaries(model.clone()).after_bytes(1_000));
    let _worker = settings.start().unwrap();
    let open = engine.session("other").open().unwrap();
    record_turn(&session, &"z".repeat(100), "answer");
    record_turn(&open, &"w".repeat(1_000), "answer");
    assert_eq!(told.recv().unwrap().0, "other");
    record_turn(&session, &"z".repeat(400), "answer");
    assert_eq!(told.recv().unwrap().0, "s1");
    // What is summed up by hand while it runs counts no more.
    record_turn(&session, &"z".repeat(900), "answer");
    session.summarizer(by_hand).run().unwrap().unwrap();
    record_turn(&session, &"z".repeat(900), "answer");
    record_turn(&open, &"w".repeat(1_000), "answer");
    assert_eq!(told.recv().unwrap().0, "other");
}

#[test]
fn a_model_that_fails_is_asked_again_after_as_many_runs() {
    let engine = Engine::in_memory().unwrap();
    let model = Scripted::new(|number, _, _| match number {
        0 => Err(Error::model("down", true)),
        _ => Ok(answer(&summary("Up again."))),
    });
    let (settings, told) = listening(engine.auto_summaries(model.clone()).after_runs(2));
    let _worker = settings.start().unwrap();
    let session = engine.session("s1").open().unwrap();
    (0..2).for_each(|_| record_turn(&session, "question", "answer"));
    assert!(told.recv().unwrap().1.is_err());
    (0..2).for_each(|_| record_turn(&session, "question", "answer"));
    let summary = told.recv().unwrap().1.unwrap().unwrap();
    assert!(summary.last_seq >= session.at(sessionlog::Point::run(4)).unwrap().seq() - 1);
    assert_eq!(model.calls(), 2);
}

#[test]
fn a_session_is_summarized_after_so_many_bytes() {
    let engine = Engine::in_memory().unwrap();
    let model = Scripted::saying(&[&summary("Large.")]);
    let (settings, told) = listening(engine.auto_summaries(model.clone()).after_bytes(1_000));
    let _worker = settings.start().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "small", "answer");
    record_turn(&session, &"x".repeat(1_000), "answer");
    assert!(told.recv().unwrap().1.unwrap().is_some());
    assert_eq!((model.calls(), model.prompts()[0].contains("small")), (1, true));
}

#[test]
fn a_model_that_fails_or_panics_fails_no_run_and_is_told() {
    let engine = Engine::in_memory().unwrap();
    let model = Scripted::new(|number, _, _| match number {
        0 => Err(Error::model("down", true)),
        1 => panic!("a defect of the model"),
        _ => Ok(answer(&summary("Up again."))),
    });
    let (settings, told) = listening(engine.auto_summaries(model));
    let worker = settings.start().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "first", "answer");
    assert!(told.recv().unwrap().1.is_err());
    assert_eq!(worker.last_error().unwrap().to_string(), "session s1: down");
    record_turn(&session, "second", "answer");
    let error = told.recv().unwrap().1.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Model { .. }), "{error:?}");
    record_turn(&session, "third", "answer");
    assert_eq!(told.recv().unwrap().1.unwrap().unwrap().summary, "Up again.");
    assert_eq!(session.view().unwrap().run_count, 3);
}

#[test]
fn one_that_is_dropped_stops_the_summary_under_way_and_leaves_nothing_of_it() {
    let engine = Engine::in_memory().unwrap();
    let (begun, begins) = channel();
    let begun = Mutex::new(begun);
    let model = Scripted::new(move |_, _, cancel| {
        begun.lock().unwrap().send(()).unwrap();
        while !cancel.wait(std::time::Duration::from_secs(60)) {}
        Err(Error::cancelled())
    });
    let worker = engine.auto_summaries(model).start().unwrap();
    let session = engine.session("s1").open().unwrap();
    record_turn(&session, "first", "answer");
    begins.recv().unwrap();
    // A run neither waits for it nor is held up.
    record_turn(&session, "second", "answer");
    drop(worker);
    assert_eq!(session.summary().unwrap(), None);
    assert_eq!(session.view().unwrap().run_count, 2);
}

#[test]
fn a_run_that_is_under_way_beside_the_one_that_ended_is_waited_for() {
    let engine = Engine::in_memory().unwrap();
    let model = Scripted::saying(&[&summary("Both.")]);
    let (settings, told) = listening(engine.auto_summaries(Arc::clone(&model) as _).after_runs(1));
    let _worker = settings.start().unwrap();
    let session = engine.session("s1").open().unwrap();
    let open = session.start_run().unwrap();
    open.push(Message::user("under way")).unwrap();
    record_turn(&session, "beside it", "answer");
    assert_eq!(told.recv().unwrap().1.unwrap(), None);
    open.complete(Metrics::default()).unwrap().wait().unwrap();
    assert!(told.recv().unwrap().1.unwrap().is_some());
    assert!(model.prompts()[0].contains("under way") && model.prompts()[0].contains("beside it"));
}
