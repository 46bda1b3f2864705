//! Compaction by itself.

use std::pin::pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake};
use std::time::{Duration, Instant};

use sessionlog::{
    AutoCompaction, Engine, EventBody, MemoryLog, Message, Metrics, Point, Policy, Session,
};

use crate::support::shapes::assert_sound;
use crate::support::{Disk, HeldByTest, record_tool_turn};

fn open(disk: &Disk, when: AutoCompaction) -> Engine {
    Engine::builder().auto_compaction(when).open(disk.path()).unwrap()
}

/// Waits until the session's policy has been done to it.
fn wait(session: &Session) {
    let limit = Instant::now() + Duration::from_secs(60);
    let events = || session.events(Point::Head).unwrap().map(Result::unwrap);
    while !events().any(|event| matches!(event.body, EventBody::Compacted(_))) {
        assert!(Instant::now() < limit, "nothing was compacted");
        std::thread::yield_now();
    }
}

#[test]
fn a_session_that_has_grown_is_compacted_by_its_policy() {
    for when in [
        AutoCompaction::new().after_events(30),
        AutoCompaction::new().after_bytes(5_000),
        AutoCompaction::new().after(Duration::from_millis(1)),
    ] {
        let disk = Disk::new();
        let engine = open(&disk, when);
        let session = engine.session("s").open().unwrap();
        let kept = engine.session("kept").open().unwrap();
        for number in 0..20 {
            record_tool_turn(&session, &format!("c{number}"));
            record_tool_turn(&kept, &format!("c{number}"));
        }
        session.set_policy(Policy::new().store_tool_messages(false)).unwrap();
        // What is written under the policy needs no compaction; what was before does.
        for number in 20..40 {
            record_tool_turn(&session, &format!("c{number}"));
        }
        wait(&session);
        assert_eq!(kept.window().messages().unwrap().len(), 12);
        drop(kept);
        drop(session);
        assert_sound(&engine);
        drop(engine);
        assert_sound(&disk.open());
    }
}

#[test]
fn an_age_that_no_clock_reaches_leaves_the_other_thresholds() {
    let disk = Disk::new();
    let engine = open(&disk, AutoCompaction::new().after_events(30).after(Duration::MAX));
    // There is always something that waits for its age.
    record_tool_turn(&engine.session("few").open().unwrap(), "c");
    for id in ["first", "second"] {
        let session = engine.session(id).open().unwrap();
        for number in 0..5 {
            record_tool_turn(&session, &format!("c{number}"));
        }
        session.set_policy(Policy::new().store_tool_messages(false)).unwrap();
        for number in 5..10 {
            record_tool_turn(&session, &format!("c{number}"));
        }
        wait(&session);
    }
}

/// However busy the thread is, it lets go of the log before the last handle is gone.
#[test]
fn dropping_the_last_handle_closes_the_database_while_it_is_compacted() {
    let log = Arc::new(MemoryLog::new());
    for round in 0..100 {
        let when = AutoCompaction::new().after_events(1).after(Duration::from_nanos(1));
        let engine = Engine::builder().auto_compaction(when).open_log(log.clone()).unwrap();
        let session = engine.session(format!("{round}")).open().unwrap();
        record_tool_turn(&session, "c");
        session.set_policy(Policy::new().store_tool_messages(false)).unwrap();
        for _ in 0..round % 8 {
            std::thread::yield_now();
        }
        let fork = session.fork(Point::Head).open().unwrap();
        drop((engine, session));
        drop(fork);
        assert_eq!(Arc::strong_count(&log), 1, "round {round}: the log is still held");
    }
}

/// Has the last handle, and lets go of it on the commit thread.
struct LastHandle(Mutex<Option<Engine>>, Sender<()>);

impl Wake for LastHandle {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
        self.1.send(()).unwrap();
    }
}

/// A compaction may wait for the commit thread, so that one does not wait for it.
#[test]
fn a_waker_may_drop_the_last_handle_while_it_is_compacted() {
    for round in 0..8 {
        let log = Arc::new(MemoryLog::new());
        let (when, clock) =
            (AutoCompaction::new().after_events(1), Arc::new(HeldByTest::default()));
        let builder = Engine::builder().clock(clock.clone()).auto_compaction(when);
        let engine = builder.open_log(log.clone()).unwrap();
        let session = engine.session("s").open().unwrap();
        // Enough for a number of commits.
        let messages = (0..1_500).flat_map(|number| {
            let id = format!("c{number}");
            [Message::assistant("").with_call(&id, "look", "{}"), Message::tool(id, "done")]
        });
        session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
        session.set_policy(Policy::new().store_tool_messages(false)).unwrap();
        let before = session.seq().unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        while session.seq().unwrap() == before {
            assert!(Instant::now() < limit, "nothing was compacted");
            std::thread::yield_now();
        }
        // A handle of its own: it does not wait for what the other one appends.
        let reader = engine.session("s").open().unwrap();
        let held = clock.0.lock().unwrap();
        let mut ticket = session.rename("x").unwrap();
        // Meanwhile the next commit is read and queued.
        assert!(reader.events(Point::Head).unwrap().all(|event| event.is_ok()));
        drop((reader, session));
        let (sender, woken) = channel();
        let waker = Arc::new(LastHandle(Mutex::new(Some(engine)), sender)).into();
        let is_ready = pin!(&mut ticket).poll(&mut Context::from_waker(&waker)).is_ready();
        // First: where the name came into a group that had its time already, it is this thread that
        // lets go of the last handle, and waits for the compaction, which waits for that lock.
        drop(held);
        if is_ready {
            waker.wake();
        }
        woken.recv_timeout(Duration::from_secs(60)).unwrap();
        while Arc::strong_count(&log) > 1 {
            assert!(Instant::now() < limit, "round {round}: the log is still held");
            std::thread::yield_now();
        }
    }
}

#[test]
fn it_can_be_opened_again_at_once_while_it_is_compacted() {
    let disk = Disk::new();
    for round in 0..10 {
        let engine = open(&disk, AutoCompaction::new().after_events(1));
        let session = engine.session("s").open().unwrap();
        record_tool_turn(&session, &format!("c{round}"));
        session.set_policy(Policy::new().store_tool_messages(round % 2 == 0)).unwrap();
    }
    assert_sound(&disk.open());
}

#[test]
fn it_is_off_unless_it_is_turned_on() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    for number in 0..20 {
        record_tool_turn(&session, &format!("c{number}"));
    }
    session.set_policy(Policy::new().store_tool_messages(false)).unwrap();
    assert!(!session.compaction().plan().unwrap()[0].is_empty());
}
