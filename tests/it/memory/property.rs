//! Random changes of several users' memories against plain maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use sessionlog::{Engine, MemoryLog, MemoryPatch, NewMemory, StaticKey};

use super::{all, assert_sound};
use crate::support::Disk;

const USERS: [&str; 3] = ["alice", "bob", "memories of alice"];

#[derive(Debug, Clone)]
enum Step {
    Add { user: usize, text: String, topics: Vec<String> },
    Update { user: usize, memory: usize, text: String },
    Delete { user: usize, memory: usize },
    Erase { user: usize, memory: usize },
    Clear { user: usize },
    EraseUser { user: usize },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let user = 0..USERS.len();
    let text = "[a-c]{1,3}";
    let memory = 0..6_usize;
    let topics = proptest::collection::vec("[xy]", 0..3);
    prop_oneof![
        6 => (user.clone(), text, topics)
            .prop_map(|(user, text, topics)| Step::Add { user, text, topics }),
        4 => (user.clone(), memory.clone(), text)
            .prop_map(|(user, memory, text)| Step::Update { user, memory, text }),
        2 => (user.clone(), memory.clone()).prop_map(|(user, memory)| Step::Delete { user, memory }),
        2 => (user.clone(), memory).prop_map(|(user, memory)| Step::Erase { user, memory }),
        1 => user.clone().prop_map(|user| Step::Clear { user }),
        1 => user.prop_map(|user| Step::EraseUser { user }),
        1 => Just(Step::Reopen),
    ]
}

/// What one user should have: each memory's text and topics, and the ids of all that there were.
#[derive(Debug, Default, Clone)]
struct Plain {
    memories: BTreeMap<String, (String, Vec<String>)>,
    /// How many changes of each memory can still be read.
    changes: BTreeMap<String, usize>,
    ids: Vec<String>,
}

impl Plain {
    fn id(&self, number: usize) -> String {
        let none = || String::from("none");
        self.ids.get(number % self.ids.len().max(1)).cloned().unwrap_or_else(none)
    }

    fn note(&mut self, id: &str) {
        *self.changes.entry(id.to_owned()).or_default() += 1;
    }
}

fn apply(engine: &Engine, plain: &mut [Plain], step: &Step) {
    match step {
        Step::Add { user, text, topics } => {
            let memories = engine.memories(USERS[*user]).unwrap();
            let new = NewMemory::new(text).topics(topics);
            let (id, ticket) = memories.add(new).unwrap();
            ticket.wait().unwrap();
            let mut kept: Vec<String> = Vec::new();
            for topic in topics {
                if !kept.contains(topic) {
                    kept.push(topic.clone());
                }
            }
            let plain = &mut plain[*user];
            plain.memories.insert(id.clone(), (text.clone(), kept));
            plain.note(&id);
            plain.ids.push(id);
        }
        Step::Update { user, memory, text } => {
            let (memories, plain) = (engine.memories(USERS[*user]).unwrap(), &mut plain[*user]);
            let id = plain.id(*memory);
            let patch = MemoryPatch::new().memory(text);
            let updated = memories.update(&id, &patch).and_then(sessionlog::Ticket::wait);
            assert_eq!(updated.is_ok(), plain.memories.contains_key(&id));
            if let Some((is, _)) = plain.memories.get_mut(&id) {
                is.clone_from(text);
                plain.note(&id);
            }
        }
        Step::Delete { user, memory } => {
            let (memories, plain) = (engine.memories(USERS[*user]).unwrap(), &mut plain[*user]);
            let id = plain.id(*memory);
            let deleted = memories.delete(&id).and_then(sessionlog::Ticket::wait);
            assert_eq!(deleted.is_ok(), plain.memories.remove(&id).is_some());
            if deleted.is_ok() {
                plain.note(&id);
            }
        }
        Step::Erase { user, memory } => {
            let (memories, plain) = (engine.memories(USERS[*user]).unwrap(), &mut plain[*user]);
            let id = plain.id(*memory);
            let erased = memories.erase(&id, Some("asked"));
            let has_text = plain.memories.remove(&id).is_some();
            // Of one that was erased before, at most its deletion is left.
            let was_there = plain.changes.get(&id).is_some_and(|changes| *changes > 1) || has_text;
            assert_eq!(erased.is_ok(), was_there, "{erased:?}");
            if was_there {
                plain.changes.insert(id, 1);
            }
        }
        Step::Clear { user } => {
            let (memories, plain) = (engine.memories(USERS[*user]).unwrap(), &mut plain[*user]);
            let ids: Vec<String> = std::mem::take(&mut plain.memories).into_keys().collect();
            assert_eq!(memories.clear().unwrap(), ids.len());
            for id in &ids {
                plain.note(id);
            }
        }
        Step::EraseUser { user } => {
            let receipts = engine.erase_user(USERS[*user], None).unwrap();
            let plain = &mut plain[*user];
            assert_eq!(receipts.len(), usize::from(!plain.ids.is_empty()));
            *plain = Plain::default();
        }
        Step::Reopen => {}
    }
}

fn compare(engine: &Engine, plain: &[Plain]) {
    for (user, plain) in USERS.iter().zip(plain) {
        let memories = engine.memories(user).unwrap();
        let found = all(&memories);
        assert!(found.windows(2).all(|pair| pair[0].seq > pair[1].seq));
        let found: BTreeMap<_, _> = found
            .into_iter()
            .map(|memory| (memory.memory_id, (memory.memory, memory.topics)))
            .collect();
        assert_eq!(found, plain.memories, "{user}");
        for id in &plain.ids {
            let changes = memories.history(id).map_or(0, |changes| changes.len());
            assert_eq!(changes, plain.changes.get(id).copied().unwrap_or(0));
        }
        for other in USERS.iter().filter(|other| *other != user) {
            let others = engine.memories(other).unwrap();
            assert!(plain.ids.iter().all(|id| others.get(id).is_err()));
        }
    }
    assert_sound(engine);
}

fn check(steps: &[Step], mut open: impl FnMut() -> Engine) {
    let mut plain = vec![Plain::default(); USERS.len()];
    let mut engine = open();
    for step in steps {
        if matches!(step, Step::Reopen) {
            compare(&engine, &plain);
            drop(engine);
            engine = open();
        }
        apply(&engine, &mut plain, step);
    }
    compare(&engine, &plain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn memories_are_what_a_plain_map_says(steps in proptest::collection::vec(step(), 0..40)) {
        let log = Arc::new(MemoryLog::new());
        check(&steps, || Engine::builder().open_log(log.clone()).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn on_disk_and_sealed_too(steps in proptest::collection::vec(step(), 0..25), is_sealed: bool) {
        let disk = Disk::new();
        check(&steps, || {
            let builder = Engine::builder();
            let builder = if is_sealed {
                builder.seal(Arc::new(StaticKey::new([7; 32])))
            } else {
                builder
            };
            builder.open(disk.path()).unwrap()
        });
    }
}
