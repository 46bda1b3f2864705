//! What forks share and what is their own, when something of it goes.

use std::thread;

use sessionlog::{
    Access, Delivery, EventBody, Message, Metrics, Point, Policy, Renamed, Session, SessionQuery,
    SummaryWritten,
};

use crate::support::shapes::{append, assert_sound, memory};
use crate::support::{record_tool_turn, record_turn, texts};

const NO_TOOLS: Policy = Policy::new().store_tool_messages(false);

fn turns(session: &Session, from: u64, to: u64) {
    for number in from..=to {
        record_turn(session, &format!("{}-q{number}", session.id()), "a");
    }
}

fn all_text(session: &Session) -> String {
    let events = session.events(Point::Head).unwrap();
    events.map(|event| event.unwrap().body.to_json().as_str().to_owned()).collect()
}

#[test]
fn erasing_in_a_session_leaves_what_a_fork_has_under_the_same_seq() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    turns(&s, 1, 10);
    let a = s.fork(Point::run(1)).id("a").open().unwrap();
    turns(&a, 2, 10);
    let b = s.fork(Point::run(8)).id("b").open().unwrap();
    turns(&b, 9, 10);
    let before = texts(&a.window().all_runs().messages().unwrap());
    s.erase_all(None).unwrap();
    assert_eq!(texts(&a.window().all_runs().messages().unwrap()), before[2..]);
    assert_sound(&engine);
}

#[test]
fn erasing_a_message_leaves_what_a_fork_has_under_the_same_seq() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let run = session.run().id("r").input(serde_json::json!("in")).start().unwrap();
    run.push(Message::user("one")).unwrap().wait().unwrap();
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    record_turn(&fork, "mine", "a");
    let seq = fork.seq().unwrap() - 2;
    for number in 4..seq {
        run.push(Message::user(format!("m{number}"))).unwrap();
    }
    assert_eq!(run.push(Message::user("NEEDLE")).unwrap().wait().unwrap().last_seq, seq);
    session.erase_message(seq, None).unwrap();
    assert!(!all_text(&session).contains("NEEDLE") && all_text(&fork).contains("mine"));
    assert_sound(&engine);
}

#[test]
fn a_forks_own_name_stays_when_a_copy_in_its_parent_stood_at_that_seq() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    record_turn(&s, "NEEDLE", "a"); // 3
    let fork = s.fork(Point::Head).id("fork").open().unwrap(); // 6
    fork.rename("Mine").unwrap().wait().unwrap(); // 7
    let run = s.start_run().unwrap(); // 6
    let mut copy = Message::user("NEEDLE");
    copy.from_history = true;
    run.push(copy).unwrap().wait().unwrap(); // 7
    s.erase_message(3, None).unwrap();
    assert_eq!(fork.name().unwrap().as_deref(), Some("Mine"));
    assert_sound(&engine);
}

#[test]
fn erasure_reaches_forks_of_forks() {
    for n in 0..8 {
        let engine = memory(Policy::new());
        let s = engine.session("s").open().unwrap();
        record_turn(&s, "NEEDLE", "a");
        let fork = s.fork(Point::Head).id("fork").open().unwrap();
        append(&fork, Renamed { name: Some("The NEEDLE".into()), is_generated: true });
        append(
            &fork,
            SummaryWritten {
                summary: "NEEDLE".into(),
                topics: vec![],
                first_seq: 1,
                last_seq: 5,
                model: None,
                metrics: None,
            },
        );
        let at = fork.seq().unwrap();
        let inner = fork.fork(Point::Head).id(format!("inner-{n}")).open().unwrap();
        append(
            &inner,
            SummaryWritten {
                summary: "NEEDLE too".into(),
                topics: vec![],
                first_seq: at,
                last_seq: at,
                model: None,
                metrics: None,
            },
        );
        s.erase_message(3, None).unwrap();
        let page = engine.sessions(&SessionQuery::new(Access::Admin)).unwrap();
        assert!(page.sessions.iter().all(|v| v.name.is_none()), "{n}");
        assert_sound(&engine);
        assert!(!all_text(&inner).contains("NEEDLE"));
        assert_eq!(inner.view().unwrap().summary(), None);
    }
}

#[test]
fn a_compacted_session_with_forks_can_be_deleted() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    record_tool_turn(&s, "c1");
    let fork = s.fork(Point::Head).id("fork").open().unwrap();
    engine.compaction().policy(NO_TOOLS).run().unwrap();
    s.delete(None).unwrap();
    assert_sound(&engine);
    fork.delete(None).unwrap();
    assert_sound(&engine);
}

#[test]
fn a_run_that_ends_leaves_what_a_fork_shares() {
    let engine = memory(NO_TOOLS);
    let s = engine.session("s").open().unwrap();
    let run = s.run().id("r").start().unwrap();
    run.push_all([Message::user("q"), Message::assistant("w").with_call("c", "f", "{}")])
        .unwrap()
        .wait()
        .unwrap();
    let fork = s.fork(Point::Head).id("fork").open().unwrap();
    fork.set_policy(Policy::new().store_tool_messages(true)).unwrap();
    run.push(Message::tool("c", "x")).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    let there = fork.existing_run("r");
    there.resume().unwrap().wait().unwrap();
    there.push_all([Message::tool("c", "y"), Message::assistant("done")]).unwrap();
    there.complete(Metrics::default()).unwrap().wait().unwrap();
    let history = fork.window().all_runs().messages().unwrap();
    assert_eq!(history.len(), 4, "{history:?}");
    assert_sound(&engine);
}

#[test]
fn a_fork_of_a_session_whose_id_is_used_again_is_sound() {
    let engine = memory(Policy::new());
    let p = engine.session("p").open().unwrap();
    turns(&p, 1, 2);
    let s = p.fork(Point::run(1)).id("s").open().unwrap();
    turns(&s, 2, 4);
    let f = s.fork(Point::run(3)).id("f").open().unwrap();
    turns(&f, 4, 4);
    s.delete(None).unwrap();
    assert_sound(&engine);
    let s = engine.session("s").open().unwrap();
    turns(&s, 1, 1);
    assert_sound(&engine);
    assert_eq!(s.forks().unwrap(), []);
    let g = s.fork(Point::Head).id("g").open().unwrap();
    turns(&g, 1, 1);
    assert_sound(&engine);
    f.delete(None).unwrap();
    assert_sound(&engine);
    assert_sound(&engine);
    s.delete(None).unwrap();
    assert_sound(&engine);
    assert_eq!(texts(&g.window().all_runs().messages().unwrap()), ["s-q1", "a", "g-q1", "a"]);
    g.delete(None).unwrap();
    assert_sound(&engine);
}

#[test]
fn a_fork_made_while_its_parent_is_compacted_keeps_what_it_saw() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    // Many batches, so that some of it goes before the fork comes and some would after.
    let turn = |number: u64| {
        let call = format!("c{number}");
        [Message::assistant("").with_call(&call, "look", "{}"), Message::tool(&call, "found")]
    };
    let run = [Message::user("Look.")].into_iter().chain((0..2_000).flat_map(turn));
    session.record_run(run, Metrics::default()).unwrap();
    let events = session.subscribe(1).unwrap();
    let compacting = {
        let session = session.clone();
        thread::spawn(move || session.compaction().policy(NO_TOOLS).run().unwrap())
    };
    let is_compacted = |there: &Delivery| match there {
        Delivery::Event(there) => matches!(there.event.body, EventBody::Compacted(_)),
        Delivery::Lagged { .. } => false,
    };
    assert!(events.map(Result::unwrap).any(|there| is_compacted(&there)));
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    let seen = fork.window().messages().unwrap();
    compacting.join().unwrap();
    assert!(fork.window().messages().unwrap() == seen);
    assert_sound(&engine);
}
