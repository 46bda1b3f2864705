//! Any operations in any order: what is found is what a look through everything finds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use sessionlog::{
    Access, Durability, Engine, EventBody, EventId, KeepRuns, Message, Metrics, OlderRuns, Point,
    Policy, Role, SearchKind, SearchQuery, Session, SummaryWritten,
};

use crate::support::Disk;

const SESSIONS: [&str; 5] = ["s0", "s1", "s2", "s3", "s4"];
const USERS: [Option<&str>; 3] = [None, Some("alice"), Some("bob")];
const WORDS: [&str; 11] = [
    "tea",
    "milk",
    "green",
    "東京",
    "京都",
    "Café",
    "👍",
    "Straße",
    "กรุง",
    "כָּתַב",
    "soft\u{ad}ware",
];
const QUERIES: [&str; 15] = [
    "tea",
    "green tea",
    "\"green tea\"",
    "milk -tea",
    "京",
    "東京",
    "京京",
    "cafe",
    "gre*",
    "👍 tea",
    "STRASSE",
    "กร",
    "כתב",
    "software",
    "รุงกร",
];

#[derive(Debug, Clone)]
enum Op {
    Say { session: usize, user: usize, words: Vec<usize> },
    Rename { session: usize, word: usize },
    Summarize { session: usize, words: Vec<usize> },
    Rewind { session: usize, to: usize },
    Fork { session: usize, id: usize, at: usize },
    Give { session: usize, user: usize },
    Delete { session: usize },
    EraseMessage { session: usize, at: usize },
    EraseAll { session: usize },
    Compact { session: usize, is_dropped: bool },
    Search { query: usize },
    Index,
    Reopen,
}

fn ops() -> impl Strategy<Value = Op> {
    let session = || 0..SESSIONS.len();
    let words = || prop::collection::vec(0..WORDS.len(), 1..4);
    prop_oneof![
        6 => (session(), 0..USERS.len(), words())
            .prop_map(|(session, user, words)| Op::Say { session, user, words }),
        2 => (session(), 0..WORDS.len()).prop_map(|(session, word)| Op::Rename { session, word }),
        2 => (session(), words()).prop_map(|(session, words)| Op::Summarize { session, words }),
        2 => (session(), 0_usize..12).prop_map(|(session, to)| Op::Rewind { session, to }),
        2 => (session(), session(), 0_usize..12)
            .prop_map(|(session, id, at)| Op::Fork { session, id, at }),
        1 => (session(), 0..USERS.len()).prop_map(|(session, user)| Op::Give { session, user }),
        1 => session().prop_map(|session| Op::Delete { session }),
        1 => (session(), 0_usize..12).prop_map(|(session, at)| Op::EraseMessage { session, at }),
        1 => session().prop_map(|session| Op::EraseAll { session }),
        1 => (session(), any::<bool>())
            .prop_map(|(session, is_dropped)| Op::Compact { session, is_dropped }),
        2 => (0..QUERIES.len()).prop_map(|query| Op::Search { query }),
        1 => Just(Op::Index),
        1 => Just(Op::Reopen),
    ]
}

/// The words of a text, as a test would cut it: between spaces, ideographs and what is
/// Thai apart, without what people leave out.
fn tokens(text: &str) -> Vec<String> {
    let cut = |word: &str| -> Vec<String> {
        let is_cut = |c: char| ('一'..='龥').contains(&c) || ('\u{e01}'..='\u{e4e}').contains(&c);
        if word.chars().all(is_cut) {
            return word.chars().map(String::from).collect();
        }
        let is_left_out = |c: char| c == '\u{ad}' || ('\u{5b0}'..='\u{5bc}').contains(&c);
        let word = word.to_lowercase().replace('é', "e").replace('ß', "ss");
        vec![word.replace(is_left_out, "")]
    };
    text.split_whitespace().flat_map(cut).collect()
}

fn says(text: &str, phrase: &str) -> bool {
    let (said, wanted) = (tokens(text), tokens(phrase));
    said.windows(wanted.len()).any(|part| part == wanted)
}

/// Whether a text is what one of the queries looks for, said out for each.
fn matches(text: &str, query: usize) -> bool {
    match query {
        1 => says(text, "green") && says(text, "tea"),
        2 => says(text, "green tea"),
        3 => says(text, "milk") && !says(text, "tea"),
        6 => says(text, "京京"),
        8 => says(text, "green"),
        9 => says(text, "👍") && says(text, "tea"),
        other => says(text, QUERIES[other]),
    }
}

/// A thing that a look through a session finds.
#[derive(Debug, Clone)]
struct Thing {
    id: EventId,
    seq: u64,
    kind: SearchKind,
    text: String,
    is_own: bool,
}

/// Everything that counts in a session, by reading all of it.
fn things(session: &Session) -> Vec<Thing> {
    let view = session.view().unwrap();
    let shared = view.forked_from.as_ref().map_or(0, |fork| fork.seq);
    let (mut live, mut past) = (Vec::new(), vec![(0, Vec::new())]);
    for event in session.events(Point::Head).unwrap() {
        let event = event.unwrap();
        if let EventBody::RewoundTo(rewound) = &event.body {
            let then = past.iter().rev().find(|(seq, _): &&(u64, _)| *seq <= rewound.seq);
            live = then.map(|(_, live): &(u64, Vec<Thing>)| live.clone()).unwrap_or_default();
        }
        let (kind, text) = match &event.body {
            EventBody::MessageAdded(added) => match added.message.role {
                Role::User | Role::Assistant => {
                    (Some(SearchKind::Message), added.message.content.text())
                }
                _ => (None, String::new()),
            },
            EventBody::Renamed(renamed) => {
                (Some(SearchKind::Name), renamed.name.clone().unwrap_or_default())
            }
            EventBody::SummaryWritten(written) => {
                (Some(SearchKind::Summary), written.summary.clone())
            }
            _ => (None, String::new()),
        };
        if let Some(kind) = kind {
            let (id, seq, is_own) = (event.id, event.seq, event.seq > shared);
            live.push(Thing { id, seq, kind, text, is_own });
        }
        past.push((event.seq, live.clone()));
    }
    let name = view.name.clone();
    let is_name =
        |thing: &&Thing| thing.kind == SearchKind::Name && Some(&thing.text) == name.as_ref();
    let named = live.iter().rev().find(is_name).map(|thing| thing.seq);
    let summary = view.summary().map(|summary| summary.seq);
    live.retain(|thing| match thing.kind {
        SearchKind::Name => Some(thing.seq) == named,
        SearchKind::Summary => Some(thing.seq) == summary,
        _ => true,
    });
    live
}

struct World {
    disk: Option<Disk>,
    engine: Option<Engine>,
}

impl World {
    fn new(is_on_disk: bool) -> Self {
        let disk = is_on_disk.then(Disk::new);
        let mut world = Self { disk, engine: None };
        world.open();
        world
    }

    fn open(&mut self) {
        if let Some(disk) = &self.disk {
            self.engine = None;
            let builder = Engine::builder().durability(Durability::Volatile);
            self.engine = Some(builder.open(disk.path()).unwrap());
        } else if self.engine.is_none() {
            self.engine = Some(Engine::in_memory().unwrap());
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    fn session(&self, at: usize) -> Option<Session> {
        self.engine().session(SESSIONS[at]).admin().open_existing().ok()
    }

    /// Does one operation. What cannot be done is refused, and changes nothing.
    fn apply(&mut self, op: &Op) {
        let text = |words: &[usize]| -> String {
            words.iter().map(|word| WORDS[*word]).collect::<Vec<_>>().join(" ")
        };
        match op {
            Op::Say { session, user, words } => {
                let builder = self.engine().session(SESSIONS[*session]);
                let session = self.session(*session).unwrap_or_else(|| match USERS[*user] {
                    Some(user) => builder.user(user).open().unwrap(),
                    None => builder.open().unwrap(),
                });
                let messages = [Message::user(text(words)), Message::assistant("tea")];
                session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
            }
            Op::Index => self.engine().index_search(&mut |_| ()).unwrap(),
            Op::Reopen => self.open(),
            Op::Search { query } => self.check(*query),
            Op::Rename { session, .. }
            | Op::Summarize { session, .. }
            | Op::Rewind { session, .. }
            | Op::Fork { session, .. }
            | Op::Give { session, .. }
            | Op::Delete { session }
            | Op::EraseMessage { session, .. }
            | Op::EraseAll { session }
            | Op::Compact { session, .. } => {
                if let Some(session) = self.session(*session) {
                    change(&session, op, &text);
                }
            }
        }
    }

    /// Compares a search in every name with a look through everything.
    fn check(&self, query: usize) {
        let sessions: Vec<Session> =
            (0..SESSIONS.len()).filter_map(|at| self.session(at)).collect();
        let seen: Vec<(&Session, Option<String>, Vec<Thing>)> = sessions
            .iter()
            .map(|session| (session, session.view().unwrap().user_id, things(session)))
            .collect();
        for user in USERS.iter().map(Some).chain([None]) {
            let access = match user {
                Some(Some(user)) => Access::User((*user).to_owned()),
                Some(None) => Access::Nobody,
                None => Access::Admin,
            };
            let reached: Vec<_> = seen
                .iter()
                .filter(|(_, owner, _)| user.is_none_or(|user| owner.as_deref() == *user))
                .collect();
            let wanted: BTreeSet<EventId> = reached
                .iter()
                .flat_map(|(_, _, things)| things)
                .filter(|thing| matches(&thing.text, query))
                .map(|thing| thing.id)
                .collect();
            let request = SearchQuery::new(access.clone(), QUERIES[query]).limit(1_000);
            let page = self.engine().search(&request).unwrap();
            let mut found = BTreeSet::new();
            for hit in &page.hits {
                let told = reached.iter().find(|(session, ..)| session.id() == hit.session_id);
                let (_, _, things) = told.unwrap();
                let thing = things.iter().find(|thing| thing.seq == hit.seq);
                assert!(thing.is_some(), "{hit:?} does not count");
                let thing = thing.unwrap();
                assert_eq!(thing.kind, hit.kind);
                assert!(found.insert(thing.id), "{hit:?} is told twice");
                let is_said_elsewhere = reached.iter().any(|(_, _, things)| {
                    things.iter().any(|other| other.id == thing.id && other.is_own)
                });
                assert!(thing.is_own || !is_said_elsewhere, "{hit:?} is another's");
                assert!(!hit.matches.is_empty());
            }
            assert_eq!(found, wanted, "{access:?} {}", QUERIES[query]);
            assert!(page.hits.is_sorted_by(|a, b| a.score >= b.score));
            let few = self.engine().search(&request.limit(2)).unwrap();
            assert_eq!(few.hits, page.hits[..page.hits.len().min(2)]);
            assert_eq!(few.has_more, page.hits.len() > 2);
        }
        for (session, _, things) in &seen {
            let wanted: BTreeSet<u64> = things
                .iter()
                .filter(|thing| matches(&thing.text, query))
                .map(|thing| thing.seq)
                .collect();
            let request = SearchQuery::new(Access::Admin, QUERIES[query]).limit(1_000);
            let page = self.engine().search(&request.sessions([session.id()])).unwrap();
            let found: BTreeSet<u64> = page.hits.iter().map(|hit| hit.seq).collect();
            assert_eq!((found, page.hits.len()), (wanted.clone(), wanted.len()));
        }
    }
}

fn change(session: &Session, op: &Op, text: &dyn Fn(&[usize]) -> String) {
    let last = session.seq().unwrap();
    let nth = |at: usize| 1 + (at as u64 % last);
    match op {
        Op::Rename { word, .. } => {
            session.rename(WORDS[*word]).unwrap().wait().unwrap();
        }
        Op::Summarize { words, .. } => {
            let summary = SummaryWritten {
                summary: text(words),
                topics: Vec::new(),
                first_seq: 1,
                last_seq: last,
                model: None,
                metrics: None,
            };
            session.write_summary(summary).unwrap().wait().unwrap();
        }
        Op::Rewind { to, .. } => {
            drop(session.rewind(Point::seq(nth(*to))).and_then(sessionlog::Ticket::wait));
        }
        Op::Fork { id, at, .. } => {
            drop(session.fork(Point::seq(nth(*at))).id(SESSIONS[*id]).open());
        }
        Op::Give { user, .. } => {
            session.change_owner(USERS[*user]).unwrap().wait().unwrap();
        }
        Op::Delete { .. } => drop(session.delete(None).unwrap()),
        Op::EraseMessage { at, .. } => drop(session.erase_message(nth(*at), None)),
        Op::EraseAll { .. } => drop(session.erase_all(None)),
        Op::Compact { is_dropped, .. } => {
            let older = if *is_dropped { OlderRuns::Dropped } else { OlderRuns::Reduced };
            let keep = KeepRuns::Last { runs: 1, older };
            session.compaction().policy(Policy::new().keep_runs(keep)).run().unwrap();
        }
        _ => {}
    }
}

fn run(ops: &[Op], is_on_disk: bool) {
    let mut world = World::new(is_on_disk);
    for op in ops {
        world.apply(op);
    }
    for query in 0..QUERIES.len() {
        world.check(query);
    }
    world.open();
    world.check(0);
    world.engine().rebuild_search(&mut |_| ()).unwrap();
    for query in 0..QUERIES.len() {
        world.check(query);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_search_finds_what_a_look_through_everything_finds(ops in prop::collection::vec(ops(), 1..40)) {
        run(&ops, false);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn an_index_on_disk_finds_the_same_over_restarts(ops in prop::collection::vec(ops(), 1..30)) {
        run(&ops, true);
    }
}
