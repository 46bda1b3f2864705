//! What one user's memories do.

use serde_json::json;
use sessionlog::{
    Engine, ErrorKind, EventBody, MemoryPatch, MemoryQuery, MemoryUpserted, Message, Metrics,
    NewEvent, NewMemory, Point, limits,
};

use super::{all, assert_sound, remember, said};
use crate::support::{Disk, engine_at};

#[test]
fn a_memory_says_what_it_was_told_and_when() {
    let (engine, clock) = engine_at(1_000_000);
    let session = engine.session("s").user("alice").agent("helper").open().unwrap();
    session.record_run([Message::user("A tea")], Metrics::default()).unwrap().wait().unwrap();
    let memories = session.memories().unwrap();
    let new = NewMemory::new("Likes tea.").topics(["drinks", "likes", "drinks"]);
    let new = new.input("A tea").agent("helper").from_message("s", 3);
    let (memory_id, ticket) = memories.add(new).unwrap();
    ticket.wait().unwrap();
    clock.advance(5_000_000);
    let patch = MemoryPatch::new().memory("Likes green tea.");
    memories.update(&memory_id, &patch).unwrap().wait().unwrap();
    let memory = engine.memories("alice").unwrap().get(&memory_id).unwrap();
    assert_eq!(memory.memory, "Likes green tea.");
    assert_eq!(memory.topics, ["drinks", "likes"]);
    assert_eq!(
        (memory.input.as_deref(), memory.agent_id.as_deref()),
        (Some("A tea"), Some("helper"))
    );
    assert_eq!(memory.source.map(|source| (source.session_id, source.seq)), Some(("s".into(), 3)));
    assert_eq!((memory.created_at_us, memory.updated_at_us, memory.seq), (1_000_000, 6_000_000, 3));
    assert_sound(&engine);
}

#[test]
fn the_past_of_a_memory_stays_readable_when_it_is_deleted() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let memory_id = remember(&memories, "Likes tea.");
    remember(&memories, "Lives in Oslo.");
    let patch = MemoryPatch::new().memory("Likes coffee.").topics(["drinks"]);
    memories.update(&memory_id, &patch).unwrap();
    memories.delete(&memory_id).unwrap().wait().unwrap();
    assert_eq!(said(&all(&memories)), ["Lives in Oslo."]);
    assert!(matches!(memories.get(&memory_id).unwrap_err().kind(), ErrorKind::NotFound { .. }));
    let history = memories.history(&memory_id).unwrap();
    let texts: Vec<_> =
        history.iter().map(|change| change.memory.as_ref().map(|it| it.memory.as_str())).collect();
    assert_eq!(texts, [Some("Likes tea."), Some("Likes coffee."), None]);
    let missing = |error: sessionlog::Error| matches!(error.kind(), ErrorKind::NotFound { .. });
    assert!(missing(memories.history("none").unwrap_err()));
    assert!(missing(memories.update(&memory_id, &patch).unwrap_err()));
    assert!(missing(memories.delete(&memory_id).unwrap_err()));
    assert!(missing(engine.memories("bob").unwrap().history(&memory_id).unwrap_err()));
}

#[test]
fn the_memories_of_an_earlier_moment_and_each_text_can_be_read_again() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    assert_eq!(memories.at(Point::Head).unwrap(), []);
    let memory_id = remember(&memories, "Likes tea.");
    let before = memories.get(&memory_id).unwrap();
    remember(&memories, "Lives in Oslo.");
    let patch = MemoryPatch::new().memory("Likes coffee.");
    memories.update(&memory_id, &patch).unwrap().wait().unwrap();
    assert_eq!(memories.at(Point::seq(before.seq)).unwrap(), std::slice::from_ref(&before));
    assert_eq!(said(&memories.at(Point::Head).unwrap()), ["Likes coffee.", "Lives in Oslo."]);
    let text = |seq| memories.text_at(seq).map(|text| text.memory);
    assert_eq!(
        (text(before.seq).unwrap().as_str(), text(4).unwrap().as_str()),
        ("Likes tea.", "Likes coffee.")
    );
    for seq in [0, 1, 99] {
        assert!(matches!(text(seq).unwrap_err().kind(), ErrorKind::NotFound { .. }), "{seq}");
    }
    memories.erase(&memory_id, None).unwrap();
    assert!(matches!(text(before.seq).unwrap_err().kind(), ErrorKind::NotFound { .. }));
    assert!(engine.memories("bob").unwrap().text_at(2).is_err());
}

#[test]
fn lists_are_by_the_last_change_and_topics_narrow_them() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let add = |text: &str, topics: &[&str]| {
        memories.add(NewMemory::new(text).topics(topics.iter().copied())).unwrap().0
    };
    let tea = add("Likes tea.", &["drinks", "likes"]);
    add("Hates milk.", &["drinks"]);
    add("Likes Oslo.", &["places", "likes"]);
    memories.update(&tea, &MemoryPatch::new().input("said so")).unwrap().wait().unwrap();
    let list = |query: MemoryQuery| {
        let found = memories.list(&query).unwrap();
        said(&found).join(" ")
    };
    assert_eq!(list(MemoryQuery::new()), "Likes tea. Likes Oslo. Hates milk.");
    assert_eq!(list(MemoryQuery::new().topic("drinks")), "Likes tea. Hates milk.");
    assert_eq!(list(MemoryQuery::new().topic("drinks").topic("likes")), "Likes tea.");
    assert_eq!(list(MemoryQuery::new().limit(2)), "Likes tea. Likes Oslo.");
    assert_eq!(list(MemoryQuery::new().topic("Drinks")), "");
    assert_eq!(memories.topics().unwrap(), ["drinks", "likes", "places"]);
}

#[test]
fn a_search_wants_every_word_wherever_it_stands() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    memories.add(NewMemory::new("Drinks much.").topics(["Tea"])).unwrap();
    memories.add(NewMemory::new("Likes TEA much.").topics(["drinks"])).unwrap();
    memories.add(NewMemory::new("Is awake.").input("too much tea")).unwrap();
    memories.add(NewMemory::new("Has a teapot.")).unwrap();
    let search = |text: &str| {
        let found = memories.search(text).unwrap();
        said(&found).join(" ")
    };
    assert_eq!(search("tea MUCH"), "Likes TEA much. Drinks much. Is awake.");
    assert_eq!(search("Teapot"), "Has a teapot.");
    assert_eq!(search("teapot much"), "");
    assert!(matches!(memories.search("  ").unwrap_err().kind(), ErrorKind::Invalid { .. }));
}

#[test]
fn a_search_finds_what_is_written_in_another_form() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let texts =
        ["Meets Zoe\u{301} at noon.", "Owns a Ｓｏｎｙ.", "Visited the ΟΔΟΣ.", "Likes cafés."];
    for text in texts {
        memories.add(NewMemory::new(text).topics(["Fru\u{308}h"])).unwrap();
    }
    for (words, text) in
        ["Zoé", "SONY", "οδος", "cafe\u{301}s"].into_iter().zip(texts).chain([("zoe", texts[0])])
    {
        assert_eq!(said(&memories.search(words).unwrap()), [text], "{words}");
    }
    assert_eq!(memories.search("früh").unwrap().len(), 4);
}

#[test]
fn what_is_over_a_limit_is_refused_before_anything_is_written() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let long = |bytes: usize| "x".repeat(bytes);
    let refused = [
        NewMemory::new(" \n"),
        NewMemory::new(long(limits::MEMORY_BYTES_MAX + 1)),
        NewMemory::new("x").input(long(limits::MEMORY_INPUT_BYTES_MAX + 1)),
        NewMemory::new("x").topics([""]),
        NewMemory::new("x").topics([long(limits::ID_BYTES_MAX + 1)]),
        NewMemory::new("x").topics((0..=limits::MEMORY_TOPICS_MAX).map(|n| n.to_string())),
        NewMemory::new("x").agent(""),
        NewMemory::new("x").from_message("nowhere", 1),
    ];
    for new in refused {
        memories.add(new.clone()).err().unwrap_or_else(|| panic!("{new:?} is refused"));
    }
    assert_eq!(engine.stats().unwrap().events, 0);
    memories.add(NewMemory::new(long(limits::MEMORY_BYTES_MAX))).unwrap().1.wait().unwrap();
    for user in ["", "a\nb"] {
        assert!(engine.memories(user).is_err());
    }
}

#[test]
fn a_user_has_no_more_memories_than_the_limit() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    for number in 0..limits::MEMORIES_MAX {
        memories.add(NewMemory::new(number.to_string())).unwrap();
    }
    let full = memories.add(NewMemory::new("one more")).unwrap_err();
    assert!(matches!(full.kind(), ErrorKind::Limit { .. }), "{full}");
    assert_eq!(memories.clear().unwrap(), limits::MEMORIES_MAX);
    assert_eq!(memories.clear().unwrap(), 0);
    assert_eq!(all(&memories), []);
    remember(&memories, "one more");
    assert_sound(&engine);
}

#[test]
fn several_are_deleted_all_or_none() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let (a, b) = (remember(&memories, "a"), remember(&memories, "b"));
    assert!(memories.delete_all([a.as_str(), "none"]).is_err());
    assert!(matches!(memories.delete_all([]).unwrap_err().kind(), ErrorKind::Invalid { .. }));
    assert_eq!(all(&memories).len(), 2);
    memories.delete_all([a.as_str(), b.as_str(), a.as_str()]).unwrap().wait().unwrap();
    assert_eq!(all(&memories), []);
}

#[test]
fn concurrent_writers_lose_nothing() {
    let disk = Disk::new();
    let engine = disk.open();
    let shared = remember(&engine.memories("alice").unwrap(), "0");
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let (engine, shared) = (&engine, &shared);
            scope.spawn(move || {
                let memories = engine.memories("alice").unwrap();
                for number in 0..20 {
                    let id = remember(&memories, &format!("{writer}-{number}"));
                    if number % 4 == 0 {
                        let topics = [format!("t{writer}-{number}")];
                        let patch = MemoryPatch::new().topics(topics);
                        memories.update(shared, &patch).unwrap().wait().unwrap();
                        memories.delete(&id).unwrap().wait().unwrap();
                    }
                }
            });
        }
    });
    let memories = engine.memories("alice").unwrap();
    assert_eq!(all(&memories).len(), 8 * 15 + 1);
    assert_eq!(memories.history(&shared).unwrap().len(), 8 * 5 + 1);
    assert_sound(&engine);
}

#[test]
fn what_was_not_waited_for_is_there_whole_or_not_at_all() {
    let disk = Disk::new();
    for round in 0..3 {
        let engine = disk.open();
        let memories = engine.memories("alice").unwrap();
        let before = all(&memories).len();
        assert_eq!(before, round * 50);
        for number in 0..50 {
            let new = NewMemory::new(format!("{round}-{number}")).topics(["t"]);
            drop(memories.add(new).unwrap().1);
        }
        drop((memories, engine));
    }
    assert_sound(&disk.open());
}

#[test]
fn reading_folds_from_a_snapshot_and_not_from_the_beginning() {
    let engine = Engine::in_memory().unwrap();
    let memories = engine.memories("alice").unwrap();
    let memory_id = remember(&memories, "0");
    for number in 0..600 {
        memories.update(&memory_id, &MemoryPatch::new().memory(number.to_string())).unwrap();
    }
    assert_eq!(engine.stats().unwrap().snapshots, 2);
    assert_eq!(engine.memories("alice").unwrap().get(&memory_id).unwrap().memory, "599");
    assert_sound(&engine);
}

#[test]
fn memories_and_sessions_hold_none_of_each_others_events() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    let upserted =
        MemoryUpserted { memory_id: "m".into(), memory: "x".into(), ..Default::default() };
    let refused = session.append([NewEvent::new(upserted)]).unwrap().wait().unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Invalid { .. }), "{refused}");
    let nobodys = engine.session("n").open().unwrap().memories().unwrap_err();
    assert!(matches!(nobodys.kind(), ErrorKind::Invalid { .. }), "{nobodys}");
    let kinds: Vec<EventBody> =
        session.events(Point::Head).unwrap().map(|event| event.unwrap().body).collect();
    assert_eq!(kinds.len(), 1);
    assert_eq!(session.at(Point::Head).unwrap().to_record().unwrap()["session_id"], json!("s"));
}
