//! Memories that go for good, by themselves or with what they came from.

use std::sync::Arc;

use sessionlog::{
    Engine, ErasureTarget, ErrorKind, Memories, MemoryPatch, Message, Metrics, NewMemory, Point,
    Session, StaticKey,
};

use super::{all, assert_sound, remember, said};
use crate::support::{Disk, lies_in, record_turn};

fn learn(memories: &Memories, text: &str, session_id: &str, seq: u64) -> String {
    let new = NewMemory::new(text).from_message(session_id, seq);
    let (memory_id, ticket) = memories.add(new).unwrap();
    ticket.wait().unwrap();
    memory_id
}

/// A session of alice's with messages of hers at seqs 3 and 7.
fn session(engine: &Engine) -> Session {
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "I like tea", "Noted.");
    record_turn(&session, "I live in Oslo", "Noted.");
    session
}

#[test]
fn an_erased_memory_can_be_read_nowhere_any_more() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let kept = remember(&memories, "Lives in Oslo.");
    let memory_id = remember(&memories, "SECRET 0");
    for number in 1..600 {
        memories
            .update(&memory_id, &MemoryPatch::new().memory(format!("SECRET {number}")))
            .unwrap();
    }
    let receipt = memories.erase(&memory_id, Some("asked by alice")).unwrap();
    assert_eq!((receipt.events, receipt.memories_of.as_deref()), (600, Some("alice")));
    assert_eq!(receipt.session_id, "");
    assert_eq!(said(&all(&memories)), ["Lives in Oslo."]);
    let history = memories.history(&memory_id).unwrap();
    assert!(history.iter().all(|change| change.memory.is_none()) && history.len() == 1);
    let again = memories.erase(&memory_id, None).unwrap_err();
    assert!(matches!(again.kind(), ErrorKind::NotFound { .. }), "{again}");
    assert_eq!(engine.memories("alice").unwrap().get(&kept).unwrap().memory, "Lives in Oslo.");
    assert_sound(&engine);
}

#[test]
fn one_that_was_deleted_can_be_erased_later() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let memory_id = remember(&memories, "SECRET");
    memories.delete(&memory_id).unwrap();
    assert_eq!(memories.erase(&memory_id, None).unwrap().events, 1);
    assert_eq!(memories.history(&memory_id).unwrap().len(), 1);
    assert!(memories.erase("none", None).is_err());
    assert!(engine.memories("nobody").unwrap().erase("none", None).is_err());
    assert_sound(&engine);
}

#[test]
fn erasing_a_message_erases_the_memories_that_came_from_it_and_no_others() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let memories = session.memories().unwrap();
    let tea = learn(&memories, "Likes tea.", "s", 3);
    let oslo = learn(&memories, "Lives in Oslo.", "s", 7);
    let hand = remember(&memories, "Is tall.");
    // What a memory said before stays; what was made of the erased text goes with it.
    let patch = MemoryPatch::new().memory("Likes green tea.");
    memories.update(&tea, &patch).unwrap().wait().unwrap();
    let receipt = session.erase_message(3, Some("asked")).unwrap();
    assert_eq!(receipt.memories.len(), 1);
    let erased = &receipt.memories[0];
    assert_eq!((erased.memories_of.as_deref(), erased.events), (Some("alice"), 2));
    assert_eq!((&erased.derived, erased.seq), (&vec![2, 5], 6));
    assert_eq!(said(&all(&memories)), ["Is tall.", "Lives in Oslo."]);
    assert!(memories.history(&tea).is_err());
    assert_eq!(memories.history(&oslo).unwrap().len(), 1);
    assert_eq!(memories.history(&hand).unwrap().len(), 1);
    assert!(session.erase_message(3, None).is_err());
    // Nothing is learned from it any more.
    assert!(memories.add(NewMemory::new("Likes tea.").from_message("s", 3)).is_err());
    assert_sound(&engine);
}

#[test]
fn what_a_memory_said_before_the_erased_message_holds_again() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let memories = session.memories().unwrap();
    let memory_id = learn(&memories, "Likes tea.", "s", 3);
    let manager = super::learning::scripted([vec![super::learning::update(
        &memory_id,
        "Likes tea and lives in Oslo.",
    )]]);
    manager.update_memory_from(&session, 7, &sessionlog::Cancel::never()).unwrap();
    assert_eq!(said(&all(&memories)), ["Likes tea and lives in Oslo."]);
    let plan = session.plan_erasure(ErasureTarget::Message { seq: 7 }).unwrap();
    assert_eq!(plan, [7]);
    session.erase_message(7, None).unwrap();
    assert_eq!(said(&all(&memories)), ["Likes tea."]);
    assert_eq!(memories.get(&memory_id).unwrap().source.unwrap().seq, 3);
    assert_sound(&engine);
}

#[test]
fn erasing_a_run_or_a_session_erases_the_memories_of_all_that_it_said() {
    for is_whole in [false, true] {
        let engine = Engine::in_memory().unwrap();
        let session = session(&engine);
        let run = session.run().id("r").start().unwrap();
        run.push(Message::user("SECRET")).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        let memories = session.memories().unwrap();
        learn(&memories, "SECRET of the run", "s", 11);
        learn(&memories, "Likes tea.", "s", 3);
        let run = ErasureTarget::Run { run: sessionlog::Digest::of_run("r").to_bytes() };
        assert_eq!(session.plan_memory_erasure(Some(run)).unwrap(), 1);
        assert_eq!(session.plan_memory_erasure(None).unwrap(), 2);
        let receipt = if is_whole {
            session.erase_all(None).unwrap()
        } else {
            session.erase_run("r", None).unwrap()
        };
        assert_eq!(receipt.memories.len(), 1);
        let left = engine.memories("alice").unwrap();
        let wanted: &[&str] = if is_whole { &[] } else { &["Likes tea."] };
        assert_eq!(said(&all(&left)), wanted);
        assert_sound(&engine);
    }
}

#[test]
fn deleting_a_session_leaves_its_owners_memories() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let memories = session.memories().unwrap();
    let memory_id = learn(&memories, "Likes tea.", "s", 3);
    session.delete(None).unwrap();
    assert_eq!(said(&all(&memories)), ["Likes tea."]);
    memories.update(&memory_id, &MemoryPatch::new().memory("Likes milk.")).unwrap().wait().unwrap();
    assert_sound(&engine);
    memories.erase(&memory_id, None).unwrap();
    assert_eq!(all(&memories), []);
    assert_sound(&engine);
}

#[test]
fn a_memory_that_a_fork_learned_goes_with_the_shared_message_whosever_it_is_by_now() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let fork = session.fork(Point::run(1)).id("fork").open().unwrap();
    fork.change_owner(Some("bob")).unwrap().wait().unwrap();
    let bob = engine.memories("bob").unwrap();
    learn(&bob, "Knows someone who likes tea.", "fork", 3);
    let owned = engine.session("fork").user("bob").open_existing().unwrap();
    record_turn(&owned, "I like milk", "Noted.");
    let own = owned.seq().unwrap() - 2;
    learn(&bob, "Likes milk.", "fork", own);
    owned.delete(None).unwrap();
    let receipt = session.erase_message(3, None).unwrap();
    assert_eq!(receipt.memories[0].memories_of.as_deref(), Some("bob"));
    assert_eq!(said(&all(&bob)), ["Likes milk."]);
    assert_sound(&engine);
}

#[test]
fn copies_of_an_erased_message_are_followed_to_their_memories() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let mut copy = Message::user("I like tea");
    copy.from_history = true;
    session.record_run([copy, Message::user("Go on")], Metrics::default()).unwrap().wait().unwrap();
    let memories = session.memories().unwrap();
    learn(&memories, "Likes tea.", "s", 11);
    learn(&memories, "Goes on.", "s", 12);
    let receipt = session.erase_message(3, None).unwrap();
    assert_eq!((receipt.derived, receipt.memories.len()), (vec![11], 1));
    assert_eq!(said(&all(&memories)), ["Goes on."]);
    assert_sound(&engine);
}

#[test]
fn a_memory_of_a_message_that_a_policy_took_is_erased_all_the_same() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let memories = session.memories().unwrap();
    learn(&memories, "Likes tea.", "s", 3);
    let policy = sessionlog::Policy::new()
        .keep_runs(sessionlog::KeepRuns::Last { runs: 1, older: sessionlog::OlderRuns::Dropped });
    session.compaction().policy(policy).run().unwrap();
    assert_eq!(said(&all(&memories)), ["Likes tea."]);
    let receipt = session.erase_message(3, None).unwrap();
    assert_eq!((receipt.memories.len(), receipt.seq > 0), (1, true));
    assert_eq!(all(&memories), []);
    assert_sound(&engine);
}

#[test]
fn after_erasing_a_user_no_word_of_the_memories_is_left_in_a_sealed_database() {
    let disk = Disk::new();
    let open =
        || Engine::builder().seal(Arc::new(StaticKey::new([1; 32]))).open(disk.path()).unwrap();
    let engine = open();
    let memories = engine.memories("alice").unwrap();
    for number in 0..300 {
        let new = NewMemory::new(format!("SECRETWORD {number}")).topics(["SECRETWORD"]);
        memories.add(new.input("SECRETWORD")).unwrap();
    }
    remember(&engine.memories("bob").unwrap(), "KEPTWORD");
    drop((memories, engine));
    assert!(!lies_in(&disk.path(), b"WORD") && !lies_in(&disk.path(), b"alice"));
    let engine = open();
    let receipts = engine.erase_user("alice", Some("art. 17")).unwrap();
    assert_eq!(receipts.len(), 1);
    assert!(receipts[0].key_destroyed && receipts[0].events > 300);
    assert_eq!(receipts[0].memories_of.as_deref(), Some("alice"));
    assert_eq!(engine.erase_user("alice", None).unwrap(), []);
    assert_eq!(all(&engine.memories("alice").unwrap()), []);
    assert_eq!(said(&all(&engine.memories("bob").unwrap())), ["KEPTWORD"]);
    assert_sound(&engine);
    drop(engine);
    assert!(!lies_in(&disk.path(), b"SECRETWORD") && !lies_in(&disk.path(), b"alice"));
    let engine = open();
    remember(&engine.memories("alice").unwrap(), "new");
    assert_eq!(said(&all(&engine.memories("alice").unwrap())), ["new"]);
    assert_sound(&engine);
}

#[test]
fn erasing_a_user_takes_the_sessions_and_the_memories_in_one_go() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    learn(&session.memories().unwrap(), "Likes tea.", "s", 3);
    let receipts = engine.erase_user("alice", None).unwrap();
    let whose: Vec<_> = receipts.iter().map(|receipt| receipt.memories_of.as_deref()).collect();
    assert_eq!(whose, [Some("alice"), None]);
    assert_eq!(all(&engine.memories("alice").unwrap()), []);
    assert_eq!(engine.stats().unwrap().memory_users, 0);
    assert_sound(&engine);
}

#[test]
fn an_erasure_beside_writers_leaves_no_memory_of_what_it_took() {
    let engine = Engine::in_memory().unwrap();
    let session = session(&engine);
    let memories = session.memories().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let memories = memories.clone();
            scope.spawn(move || {
                // Until the message is gone.
                for _ in 0..200 {
                    let new = NewMemory::new("Likes tea.").from_message("s", 3);
                    if memories.add(new).and_then(|(_, ticket)| ticket.wait()).is_err() {
                        break;
                    }
                }
            });
        }
        scope.spawn(|| session.erase_message(3, None).unwrap());
    });
    assert_eq!(all(&memories), []);
    assert_sound(&engine);
}
