//! Events as they come: catch-up and live without a gap or a double, and lag that is told.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use futures_core::Stream;
use serde_json::json;
use sessionlog::{
    Access, Custom, Delivery, Digest, Engine, ErrorKind, EventKind, Json, Message, Metrics,
    NewEvent, Point, Session, Subscription,
};

use crate::support::{Disk, record_turn};

fn append(session: &Session, count: usize) {
    let data = Json::from(json!(0));
    let events =
        (0..count).map(|_| NewEvent::new(Custom { kind: "fill".into(), data: data.clone() }));
    session.append(events).unwrap().wait().unwrap();
}

/// The seqs that are there now; panics where a subscriber is told that it lagged.
fn seqs_now(subscription: &mut Subscription) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(delivery) = subscription.next_within(Duration::ZERO).unwrap() {
        assert!(matches!(delivery, Delivery::Event(_)), "{delivery:?}");
        if let Delivery::Event(there) = delivery {
            seqs.push(there.event.seq);
        }
    }
    seqs
}

#[test]
fn what_is_there_comes_first_and_then_what_is_appended() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    append(&session, 600);
    let mut subscription = session.subscribe(3).unwrap();
    assert_eq!(seqs_now(&mut subscription), (3..=601).collect::<Vec<_>>());
    assert!(seqs_now(&mut subscription).is_empty());
    append(&engine.session("other").open().unwrap(), 5);
    append(&session, 2);
    assert_eq!(subscription.cursor(), 602);
    assert_eq!(seqs_now(&mut subscription), [602, 603]);
    // Whoever comes back goes on where it was.
    append(&session, 2);
    let mut again = session.subscribe(subscription.cursor()).unwrap();
    assert_eq!(seqs_now(&mut again), [604, 605]);
}

#[test]
fn under_many_writers_no_event_is_left_out_and_none_comes_twice() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s0").open().unwrap();
    append(&session, 20);
    let of_log = engine.subscribe(Access::Admin, 1);
    let of_session = session.subscribe(5).unwrap();
    let follow = |subscription: Subscription| {
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            for delivery in subscription {
                if let Delivery::Event(there) = delivery.unwrap() {
                    seen.push((there.session_id, there.event.seq, there.event.position));
                }
            }
            seen
        })
    };
    let (of_log, of_session) = (follow(of_log), follow(of_session));
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let session = engine.session(format!("s{}", writer % 3)).open().unwrap();
            scope.spawn(move || {
                for number in 0..40 {
                    record_turn(&session, "q", "a");
                    append(&session, number % 5 + 1);
                }
            });
        }
    });
    let (last, events) = (session.seq().unwrap(), engine.stats().unwrap().events);
    drop((session, engine));
    let positions: Vec<_> = of_log.join().unwrap().iter().map(|(_, _, at)| *at).collect();
    assert_eq!(positions, (1..=events).collect::<Vec<_>>());
    let of_session = of_session.join().unwrap();
    assert!(of_session.iter().all(|(id, _, _)| &**id == "s0"));
    let seqs: Vec<_> = of_session.iter().map(|(_, seq, _)| *seq).collect();
    assert_eq!(seqs, (5..=last).collect::<Vec<_>>());
    // It was the last to hold the database.
    assert!(disk.open().verify().unwrap().ok);
}

#[test]
fn a_slow_subscriber_is_told_how_far_behind_it_is_and_misses_nothing() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    for mut subscription in
        [session.subscribe(1).unwrap(), engine.subscribe(Access::Admin, session.seq().unwrap())]
    {
        subscription = subscription.lag_after(10);
        // A first catch-up is no lag.
        let before = session.seq().unwrap();
        assert_eq!(seqs_now(&mut subscription).last(), Some(&before));
        append(&session, 10);
        assert_eq!(seqs_now(&mut subscription).len(), 10);
        append(&session, 400);
        let told = subscription.next_within(Duration::ZERO).unwrap();
        let next = subscription.cursor();
        assert_eq!(told, Some(Delivery::Lagged { behind: 400, next }));
        assert_eq!(seqs_now(&mut subscription).len(), 400);
        assert!(seqs_now(&mut subscription).is_empty());
        append(&session, 11);
        let told = subscription.next_within(Duration::ZERO).unwrap();
        assert!(matches!(told, Some(Delivery::Lagged { behind: 11, .. })), "{told:?}");
        // Or it leaves out what it missed.
        subscription.seek(subscription.cursor() + 10);
        assert_eq!(seqs_now(&mut subscription), [session.seq().unwrap()]);
    }
}

#[test]
fn a_user_is_not_told_how_much_others_write() {
    let engine = Engine::in_memory().unwrap();
    let bob = engine.session("b").user("bob").open().unwrap();
    let mut of_alice = engine.subscribe(Access::User("alice".into()), 1).lag_after(10);
    let alice = engine.session("a").user("alice").open().unwrap();
    assert_eq!(seqs_now(&mut of_alice), [1]);
    append(&bob, 400);
    assert_eq!(of_alice.next_within(Duration::ZERO).unwrap(), None);
    append(&alice, 20);
    assert_eq!(seqs_now(&mut of_alice).len(), 20);
}

#[test]
fn a_user_is_given_that_users_events_only() {
    let engine = Engine::in_memory().unwrap();
    let alice = engine.session("a").user("alice").open().unwrap();
    let bob = engine.session("b").user("bob").open().unwrap();
    let mut of_alice = engine.subscribe(Access::User("alice".into()), 1);
    let mut of_session = alice.subscribe(1).unwrap();
    record_turn(&bob, "q", "a");
    record_turn(&alice, "q", "a");
    assert_eq!(seqs_now(&mut of_alice), [1, 2, 3, 4, 5]);
    assert_eq!(seqs_now(&mut of_session), [1, 2, 3, 4, 5]);
    alice.change_owner(Some("bob")).unwrap().wait().unwrap();
    record_turn(&engine.session("a").user("bob").open().unwrap(), "q", "a");
    assert!(seqs_now(&mut of_alice).is_empty());
    let error = of_session.next_within(Duration::ZERO).unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Forbidden);
    assert!(of_session.is_over());
    assert!(alice.subscribe(1).is_err());
}

#[test]
fn a_forks_events_come_from_every_stream_and_a_rewind_is_an_event() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    let fork = session.fork(Point::seq(3)).open().unwrap();
    let mut subscription = fork.subscribe(2).unwrap();
    assert_eq!(seqs_now(&mut subscription), [2, 3, 4, 5]);
    fork.rewind(Point::seq(2)).unwrap().wait().unwrap();
    let mut kinds = Vec::new();
    while let Some(Delivery::Event(there)) = subscription.next_within(Duration::ZERO).unwrap() {
        kinds.push(there.event.body.kind());
    }
    assert_eq!(kinds, [EventKind::RewoundTo, EventKind::RunFinished]);
}

#[test]
fn a_closed_engine_ends_its_subscriptions_after_the_last_event() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let waiting = session.subscribe(1).unwrap();
    let waiting = std::thread::spawn(move || waiting.count());
    let late = engine.subscribe(Access::Admin, 1);
    append(&session, 9);
    drop((session, engine));
    assert_eq!((waiting.join().unwrap(), late.count()), (10, 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_what_an_iterator_gives() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    append(&session, 300);
    let stream = session.subscribe(1).unwrap().into_stream();
    let reader = tokio::spawn(async move {
        let mut stream = pin!(stream);
        let mut seqs = Vec::new();
        while let Some(delivery) = poll_fn(|context| stream.as_mut().poll_next(context)).await {
            if let Delivery::Event(there) = delivery.unwrap() {
                seqs.push(there.event.seq);
            }
        }
        seqs
    });
    for _ in 0..50 {
        session.record_run([Message::user("q")], Metrics::default()).unwrap().await.unwrap();
        tokio::task::yield_now().await;
    }
    let last = session.seq().unwrap();
    drop((session, engine));
    assert_eq!(reader.await.unwrap(), (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_stream_outside_a_runtime_says_so_and_is_not_left_waiting() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let mut stream = pin!(session.subscribe(1).unwrap().into_stream());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = stream.as_mut().poll_next(&mut context);
    assert!(matches!(polled, std::task::Poll::Ready(Some(Err(_)))), "{polled:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_reads_on_while_nobody_writes() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    append(&session, 1_000);
    let mut stream = pin!(session.subscribe(1).unwrap().into_stream());
    for seq in 1..=1_001 {
        let delivery = poll_fn(|context| stream.as_mut().poll_next(context)).await;
        let is_next =
            matches!(&delivery, Some(Ok(Delivery::Event(there))) if there.event.seq == seq);
        assert!(is_next, "{delivery:?}");
    }
}

#[test]
fn what_comes_before_something_damaged_is_given_first() {
    let log: std::sync::Arc<dyn sessionlog::Log> =
        std::sync::Arc::new(sessionlog::MemoryLog::new());
    let engine = Engine::builder().open_log(std::sync::Arc::clone(&log)).unwrap();
    let session = engine.session("s").open().unwrap();
    append(&session, 20);
    // Bodies, the chain, and an event as a whole.
    for (seq, damage) in [(15, "body"), (12, "chain"), (9, "all")] {
        let key = |seq: u64| {
            let session = Digest::of_session("s").to_bytes();
            [&b"f"[..], &session, &seq.to_be_bytes()].concat()
        };
        let mut value = log.get(&key(seq)).unwrap().unwrap();
        match damage {
            "body" => *value.last_mut().unwrap() ^= 1,
            "chain" => value = log.get(&key(seq + 1)).unwrap().unwrap(),
            _ => value.clear(),
        }
        let mut batch = sessionlog::Batch::new();
        batch.replace(key(seq), value);
        log.apply(&batch).unwrap();
        for mut subscription in [session.subscribe(1).unwrap(), engine.subscribe(Access::Admin, 1)]
        {
            for wanted in 1..seq {
                let delivery = subscription.next_within(Duration::ZERO).unwrap();
                let is_wanted = matches!(&delivery,
                    Some(Delivery::Event(there)) if there.event.seq == wanted);
                assert!(is_wanted, "{damage} of {seq}: {delivery:?} instead of {wanted}");
            }
            assert_eq!(subscription.cursor(), seq);
            let error = subscription.next_within(Duration::ZERO).unwrap_err();
            assert!(error.is_corrupt() && error.to_string().contains(&seq.to_string()), "{error}");
            assert!(subscription.is_over());
        }
    }
}

#[test]
fn what_is_missing_from_the_log_is_an_error_and_not_passed_over() {
    let log: std::sync::Arc<dyn sessionlog::Log> =
        std::sync::Arc::new(sessionlog::MemoryLog::new());
    let engine = Engine::builder().open_log(std::sync::Arc::clone(&log)).unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    record_turn(&session, "q", "a");
    let mut batch = sessionlog::Batch::new();
    batch.remove([&b"g"[..], &2_u64.to_be_bytes()].concat());
    log.apply(&batch).unwrap();
    let mut subscription = engine.subscribe(Access::Admin, 1);
    assert!(subscription.next_within(Duration::MAX).unwrap().is_some());
    assert!(subscription.next_within(Duration::ZERO).unwrap_err().is_corrupt());
}
