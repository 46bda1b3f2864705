//! What is remembered of users.

mod damage;
mod erasure;
mod isolation;
mod learning;
mod property;
mod use_cases;

use sessionlog::{Engine, Memories, Memory, MemoryQuery, NewMemory};

fn remember(memories: &Memories, text: &str) -> String {
    let (memory_id, ticket) = memories.add(NewMemory::new(text)).unwrap();
    ticket.wait().unwrap();
    memory_id
}

fn all(memories: &Memories) -> Vec<Memory> {
    memories.list(&MemoryQuery::new()).unwrap()
}

fn said(memories: &[Memory]) -> Vec<&str> {
    memories.iter().map(|memory| memory.memory.as_str()).collect()
}

fn assert_sound(engine: &Engine) {
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
}
