//! Nobody's memories show under another user, and none show as a session.

use sessionlog::transcript::{self, Format};
use sessionlog::{
    Access, Delivery, Digest, Engine, ErrorKind, MemoryPatch, NewMemory, Point, SessionQuery,
    SessionType, SortBy, SortOrder,
};

use super::{all, assert_sound, remember, said};
use crate::support::record_turn;

fn is_missing(error: &sessionlog::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound { .. })
}

#[test]
fn another_users_id_of_a_memory_means_nothing() {
    let engine = Engine::in_memory().unwrap();
    let (alice, bob) = (engine.memories("alice").unwrap(), engine.memories("bob").unwrap());
    let hers = remember(&alice, "SECRET of alice");
    remember(&bob, "of bob");
    assert!(is_missing(&bob.get(&hers).unwrap_err()));
    assert!(is_missing(&bob.history(&hers).unwrap_err()));
    assert!(is_missing(&bob.update(&hers, &MemoryPatch::new().memory("mine")).unwrap_err()));
    assert!(is_missing(&bob.delete(&hers).unwrap_err()));
    assert!(is_missing(&bob.delete_all([hers.as_str()]).unwrap_err()));
    assert!(is_missing(&bob.erase(&hers, None).unwrap_err()));
    assert_eq!(bob.search("secret").unwrap(), []);
    assert_eq!(said(&all(&bob)), ["of bob"]);
    assert_eq!(bob.clear().unwrap(), 1);
    bob.erase_all(None).unwrap().unwrap();
    engine.erase_user("bob", None).unwrap();
    assert_eq!(said(&all(&alice)), ["SECRET of alice"]);
    assert_eq!(alice.history(&hers).unwrap().len(), 1);
    assert_sound(&engine);
}

#[test]
fn a_session_reaches_the_memories_of_its_owner_and_no_others() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    remember(&session.memories().unwrap(), "of alice");
    let admin = engine.session("s").admin().open_existing().unwrap();
    assert_eq!(said(&all(&admin.memories().unwrap())), ["of alice"]);
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let late = session.memories().unwrap_err();
    assert_eq!(late.kind(), &ErrorKind::Forbidden);
    assert_eq!(all(&admin.memories().unwrap()), []);
    admin.change_owner(None).unwrap().wait().unwrap();
    assert!(matches!(admin.memories().unwrap_err().kind(), ErrorKind::Invalid { .. }));
    assert_eq!(said(&all(&engine.memories("alice").unwrap())), ["of alice"]);
}

#[test]
fn a_memory_points_only_to_messages_of_its_own_user() {
    let engine = Engine::in_memory().unwrap();
    record_turn(&engine.session("hers").user("alice").open().unwrap(), "q", "a");
    record_turn(&engine.session("nobodys").open().unwrap(), "q", "a");
    let bob = engine.memories("bob").unwrap();
    let from = |session_id: &str, seq| {
        bob.add(NewMemory::new("x").from_message(session_id, seq)).unwrap_err()
    };
    assert_eq!(from("hers", 3).kind(), &ErrorKind::Forbidden);
    assert_eq!(from("nobodys", 3).kind(), &ErrorKind::Forbidden);
    assert!(is_missing(&from("none", 3)));
    let alice = engine.memories("alice").unwrap();
    let wrong = |seq| alice.add(NewMemory::new("x").from_message("hers", seq)).unwrap_err();
    assert!(is_missing(&wrong(2)) && is_missing(&wrong(99)) && is_missing(&wrong(0)));
    alice.add(NewMemory::new("x").from_message("hers", 3)).unwrap().1.wait().unwrap();
    assert_eq!(all(&bob), []);
}

#[test]
fn memories_show_as_no_session_anywhere() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "q", "a");
    for user in ["alice", "bob"] {
        remember(&engine.memories(user).unwrap(), "SECRET");
    }
    for access in [Access::Admin, Access::Nobody, Access::User("alice".into())] {
        for sort in [SortBy::CreatedAt, SortBy::UpdatedAt] {
            let query = SessionQuery::new(access.clone()).sort(sort, SortOrder::Ascending);
            let page = engine.sessions(&query).unwrap();
            let count = u64::from(access != Access::Nobody);
            assert_eq!((page.sessions.len() as u64, page.total), (count, count));
        }
    }
    let hidden = SessionQuery::new(Access::Admin).session_type(SessionType::Memories);
    assert_eq!(engine.sessions(&hidden).unwrap().total, 0);
    assert!("memories".parse::<SessionType>().is_err());
    for id in ["alice", &Digest::of_memories("alice").to_string()] {
        assert!(is_missing(&engine.session(id).admin().open_existing().unwrap_err()));
        assert!(is_missing(&engine.verify_sessions(&[id.to_owned()]).unwrap_err()));
    }
    let asked = engine.session("alice").user("alice").session_type(SessionType::Memories);
    assert!(matches!(asked.clone().open().unwrap_err().kind(), ErrorKind::Invalid { .. }));
    assert!(matches!(asked.open_existing().unwrap_err().kind(), ErrorKind::Invalid { .. }));
    let stats = engine.stats().unwrap();
    assert_eq!((stats.sessions, stats.memory_users, engine.verify().unwrap().sessions), (1, 2, 1));
    assert_eq!(stats.kinds["memory_upserted"].events, 2);
    // A session of the same name is another thing.
    let namesake = engine.session("alice").user("bob").open().unwrap();
    namesake.fork(Point::Head).id("fork").open().unwrap();
    assert_eq!(engine.sessions(&SessionQuery::new(Access::Admin)).unwrap().total, 3);
    let mut events = 0;
    let mut subscription = engine.subscribe(Access::Admin, 1);
    while let Some(delivery) = subscription.next_within(std::time::Duration::ZERO).unwrap() {
        let Delivery::Event(there) = delivery else { continue };
        let name = there.event.body.kind().as_str();
        assert!(!name.starts_with("memory_"), "{}", there.session_id);
        events += 1;
    }
    assert_eq!(events, 5 + 1 + 1);
    let mut dump = String::new();
    for id in ["s", "alice", "fork"] {
        let session = engine.session(id).admin().open_existing().unwrap();
        for line in transcript::export(&session, Format::Jsonl).unwrap() {
            dump.push_str(line.as_str());
        }
    }
    assert!(dump.contains("message_added") && !dump.contains("memory_"), "{dump}");
    assert_sound(&engine);
}
