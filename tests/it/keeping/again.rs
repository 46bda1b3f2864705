//! A session that begins under the id of one that was deleted, and that a fork still shares.

use std::time::Duration;

use sessionlog::{
    Access, Engine, Message, Metrics, Point, Policy, Session, Subscription, transcript,
};

use crate::support::record_turn;
use crate::support::shapes::{assert_sound, memory};

fn all_text(session: &Session) -> String {
    let events = session.events(Point::Head).unwrap();
    events.map(|event| event.unwrap().body.to_json().as_str().to_owned()).collect()
}

fn delivered(mut subscription: Subscription) -> String {
    let mut seen = Vec::new();
    while let Some(delivery) = subscription.next_within(Duration::ZERO).unwrap() {
        seen.extend([format!("{delivery:?}")]);
    }
    seen.concat()
}

/// A session of bob's under the id of one of alice's that is deleted and has a fork.
fn recreated(engine: &Engine) -> Session {
    let old = engine.session("s").user("alice").open().unwrap();
    record_turn(&old, "SECRET", "a");
    let _fork = old.fork(Point::Head).id("alice-fork").open().unwrap();
    old.delete(None).unwrap();
    let new = engine.session("s").user("bob").open().unwrap();
    record_turn(&new, "new", "a");
    new
}

#[test]
fn a_fork_of_a_recreated_session_does_not_see_the_deleted_one() {
    let engine = memory(Policy::new());
    let new = recreated(&engine);
    let fork = new.fork(Point::Head).id("bob-fork").open().unwrap();
    record_turn(&fork, "more", "a");
    assert!(!all_text(&new).contains("SECRET"));
    assert!(!all_text(&fork).contains("SECRET"));
    assert_eq!(fork.at(Point::Start).unwrap().view().message_count, 0);
    assert!(fork.at(Point::seq(3)).is_err());
    assert_sound(&engine);
}

#[test]
fn a_subscriber_of_a_recreated_session_does_not_see_the_deleted_one() {
    let engine = memory(Policy::new());
    let new = recreated(&engine);
    for subscription in [new.subscribe(1).unwrap(), engine.subscribe(Access::User("bob".into()), 1)]
    {
        let seen = delivered(subscription);
        assert!(seen.contains("new") && !seen.contains("SECRET"));
    }
}

#[test]
fn a_dump_of_a_recreated_session_does_not_hold_the_deleted_one() {
    let engine = memory(Policy::new());
    let new = recreated(&engine);
    let dump: Vec<_> = transcript::export(&new, transcript::Format::Jsonl).unwrap();
    let text: String = dump.iter().map(|d| d.as_str().to_owned() + "\n").collect();
    assert!(text.contains("new"));
    assert!(!text.contains("SECRET"));
}

#[test]
fn a_retry_in_a_recreated_session_is_no_duplicate_of_the_deleted_one() {
    let engine = memory(Policy::new());
    let old = engine.session("s").open().unwrap();
    let record = |session: &Session| {
        let run = session.run().id("turn-1");
        run.record([Message::user("q")], Metrics::default()).unwrap().wait()
    };
    record(&old).unwrap();
    let fork = old.fork(Point::Head).id("fork").open().unwrap();
    old.delete(None).unwrap();
    assert!(record(&old).is_err());
    let new = engine.session("s").open().unwrap();
    assert!(!record(&new).unwrap().is_duplicate);
    assert_eq!(new.view().unwrap().run_count, 1);
    assert!(record(&new).unwrap().is_duplicate);
    assert_sound(&engine);
    fork.delete(None).unwrap();
    assert!(record(&new).unwrap().is_duplicate);
    assert_sound(&engine);
}

#[test]
fn a_fork_of_a_deleted_session_can_be_dumped() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    record_turn(&s, "q", "a");
    let fork = s.fork(Point::Head).id("fork").open().unwrap();
    record_turn(&fork, "mine", "a");
    s.delete(None).unwrap();
    let dump = transcript::export(&fork, transcript::Format::Jsonl).unwrap();
    assert!(dump.len() > 5);
}
