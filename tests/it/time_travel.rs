//! The past: views at any point, replay, snapshots that can be lost.

use sessionlog::{ErrorKind, EventBody, Message, Metrics, Point, Projection, SessionView};

use crate::support::{Disk, engine_at, record_tool_turn, record_turn};

#[test]
fn every_kind_of_point_finds_its_place() {
    let (engine, clock) = engine_at(1_000_000_000);
    let session = engine.session("s").open().unwrap(); // seq 1
    for number in 1..=3 {
        clock.advance(60_000_000);
        let run = session.run().id(format!("turn-{number}")).start().unwrap();
        run.push(Message::user("q")).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap(); // seqs 2-4, 5-7, 8-10
    }
    let seq = |point: Point| session.at(point).unwrap().seq();
    assert_eq!((seq(Point::Start), seq(Point::Head), seq(Point::seq(6))), (0, 10, 6));
    assert_eq!((seq(Point::run(0)), seq(Point::run(1)), seq(Point::run(3))), (0, 4, 10));
    assert_eq!(seq(Point::run_id("turn-2")), 7);
    assert_eq!(seq(Point::Time(1_000_000_000)), 1);
    assert_eq!(seq(Point::Time(1_000_000_000 + 119_999_999)), 4);
    assert_eq!(seq(Point::Time(999_999_999)), 0);
    assert_eq!(seq(Point::Time(i64::MAX)), 10);
    for event in session.events(Point::Head).unwrap() {
        let event = event.unwrap();
        assert_eq!(seq(Point::Event(event.id)), event.seq);
    }
    for missing in [
        Point::seq(11),
        Point::run(4),
        Point::run_id("turn-9"),
        Point::Event(sessionlog::EventId::generate()),
    ] {
        let error = session.at(missing).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
    }
}

#[test]
fn a_run_that_has_not_ended_reaches_to_the_head() {
    let (engine, _clock) = engine_at(0);
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    run.push(Message::user("q")).unwrap().wait().unwrap();
    assert_eq!(session.at(Point::run(1)).unwrap().seq(), 3);
    run.pause("confirm").unwrap().wait().unwrap();
    session.rename("later").unwrap().wait().unwrap();
    assert_eq!(session.at(Point::run(1)).unwrap().seq(), 4);
}

#[test]
fn points_read_and_print_the_same() {
    for text in ["head", "start", "42", "run:3", "run:my-run", "2026-01-31T12:00:00Z"] {
        assert_eq!(text.parse::<Point>().unwrap().to_string(), text);
    }
    assert_eq!("seq:42".parse::<Point>().unwrap(), Point::seq(42));
    let id = sessionlog::EventId::generate();
    assert_eq!(format!("event:{id}").parse::<Point>().unwrap(), Point::Event(id));
    for bad in ["", "x", "-1", "seq:", "seq:x", "run:", "event:42", "2026-13-01T00:00:00Z", "1.5"] {
        assert!(bad.parse::<Point>().is_err(), "{bad:?} was taken for a point");
    }
}

/// The view at every seq, folded from scratch, must be the view that snapshots give.
#[test]
fn a_view_at_any_point_equals_a_fold_from_scratch() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").user("alice").open().unwrap();
    for number in 0..130 {
        record_tool_turn(&session, "call");
        if number % 10 == 0 {
            session.rename(format!("name {number}")).unwrap();
            session
                .merge_state(serde_json::json!({"n": number, "f": 0.1 + f64::from(number)}))
                .unwrap();
        }
    }
    let head = session.seq().unwrap();
    assert!(head > 3 * sessionlog::limits::SNAPSHOT_EVENTS);
    let mut view = SessionView::default();
    for step in session.replay().unwrap() {
        let step = step.unwrap();
        view.apply(&step.event);
        assert_eq!(*step.view, view);
        if step.event.seq % 97 == 0 || step.event.seq % sessionlog::limits::SNAPSHOT_EVENTS < 2 {
            assert_eq!(session.at(Point::seq(step.event.seq)).unwrap().view(), &view);
        }
    }
    assert_eq!(session.view().unwrap(), view);
    let stats = engine.stats().unwrap();
    assert_eq!(stats.snapshots, head / sessionlog::limits::SNAPSHOT_EVENTS);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn an_import_in_one_commit_leaves_every_snapshot_on_its_way() {
    let (engine, _clock) = engine_at(0);
    let session = engine.session("s").open().unwrap();
    let messages = (0..1_000).map(|number| Message::user(format!("{number}")));
    session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
    // The snapshots are written after the answer; the next append waits behind them.
    record_turn(&session, "q", "a");
    assert_eq!(engine.stats().unwrap().snapshots, 1_003 / sessionlog::limits::SNAPSHOT_EVENTS);
    let middle = session.at(Point::seq(700)).unwrap();
    assert_eq!(middle.view().message_count, 698);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn the_events_say_all_that_happened() {
    let (engine, _clock) = engine_at(0);
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "q", "a");
    let events: Vec<_> = session.events(Point::Head).unwrap().map(Result::unwrap).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.body.kind().as_str()).collect();
    let wanted =
        ["session_created", "run_started", "message_added", "message_added", "run_finished"];
    assert_eq!(kinds, wanted);
    assert_eq!(events[2].actor, sessionlog::Digest::of_user("alice"));
    assert!(events[1..].iter().all(|event| event.commit_len == 4));
    assert!(
        matches!(&events[3].body, EventBody::MessageAdded(added) if added.message.content.text() == "a")
    );
    let from = session.events_from(4, Point::seq(4)).unwrap().map(Result::unwrap);
    assert_eq!(from.map(|event| event.seq).collect::<Vec<_>>(), [4]);
}
