//! Sessions that share a beginning: each goes as far as all agree, whatever happens in between,
//! and what is left can be moved elsewhere.

use proptest::prelude::*;
use serde_json::Value;
use sessionlog::transcript::{Format, ImportOptions, export, import_text};
use sessionlog::{
    Access, CompactionPlan, Engine, ErrorKind, KeepRuns, OlderRuns, Point, Policy, Session,
};

use crate::support::assert_sendable;
use crate::support::shapes::{Step, assert_sound, content_of, memory, play, steps_with_rewinds};

#[derive(Debug, Clone)]
enum Deed {
    Compact { parent: bool, fork: bool, policy: Policy },
    Go { parent: bool, steps: Vec<Step> },
    DeleteParent,
    EraseMessage { parent: bool, part: u8 },
    EraseFormer,
}

fn policy() -> impl Strategy<Value = Policy> {
    let says = || prop_oneof![Just(None), Just(Some(false))];
    let older = prop_oneof![Just(OlderRuns::Reduced), Just(OlderRuns::Dropped)];
    let runs = proptest::option::of((1_u64..4, older));
    (says(), says(), says(), runs).prop_map(|(media, tools, history, runs)| Policy {
        store_media: media,
        store_tool_messages: tools,
        store_history_messages: history,
        keep_runs: runs.map(|(runs, older)| KeepRuns::Last { runs, older }),
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => (any::<bool>(), any::<bool>(), policy())
            .prop_map(|(parent, fork, policy)| Deed::Compact { parent, fork, policy }),
        3 => (any::<bool>(), steps_with_rewinds())
            .prop_map(|(parent, steps)| Deed::Go { parent, steps }),
        1 => Just(Deed::DeleteParent),
        2 => (any::<bool>(), any::<u8>())
            .prop_map(|(parent, part)| Deed::EraseMessage { parent, part }),
        1 => Just(Deed::EraseFormer),
    ]
}

/// What the session hands out is legal wherever one looks.
fn check_histories(session: &Session) {
    let head = session.seq().unwrap();
    for seq in (1..=head).step_by(7).chain([head]) {
        let at = session.at(Point::seq(seq)).unwrap();
        for window in [at.window().all_runs(), at.window().all_runs().all_statuses()] {
            let messages = window.messages().unwrap();
            assert_sendable(&messages);
        }
    }
}

/// What was spent and counted.
fn counts(session: &Session) -> Value {
    let view = session.view().unwrap();
    serde_json::json!([view.metrics, view.run_count, view.message_count, view.tool_call_count])
}

fn dump(session: &Session) -> String {
    let lines = export(session, Format::Jsonl).unwrap();
    lines.iter().map(|line| line.as_str().to_owned() + "\n").collect()
}

/// Erases a message; whether there was one whose words are left.
fn erase(session: &Session, part: u8) {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let seqs: Vec<u64> = runs.iter().flat_map(|run| &run.messages).map(|(seq, _)| *seq).collect();
    let Some(at) = usize::from(part).checked_rem(seqs.len()) else { return };
    match session.erase_message(seqs[at], None) {
        Ok(_) => {
            let again = session.erase_message(seqs[at], None);
            assert!(again.is_err(), "it was erased twice");
        }
        Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}"),
    }
}

/// Two sessions with a common beginning.
struct Pair {
    engine: Engine,
    parent: Option<Session>,
    fork: Session,
}

impl Pair {
    /// A session in which these steps happened, and a fork of it somewhere between.
    fn new(steps: &[Step], at: u8) -> Self {
        let engine = memory(Policy::new());
        let parent = engine.session("parent").open().unwrap();
        play_on(&parent, steps);
        let seq = 1 + (parent.seq().unwrap() - 1) * u64::from(at) / 255;
        let fork = parent.fork(Point::seq(seq)).id("fork").open().unwrap();
        Self { engine, parent: Some(parent), fork }
    }

    fn of(&self, parent: bool) -> &Session {
        self.parent.as_ref().filter(|_| parent).unwrap_or(&self.fork)
    }

    fn both(&self) -> impl Iterator<Item = &Session> {
        self.parent.iter().chain([&self.fork])
    }

    fn run(&mut self, deed: &Deed) {
        match deed {
            Deed::Compact { parent, fork, policy } => self.compact(*parent, *fork, *policy),
            Deed::Go { parent, steps } => play_on(self.of(*parent), steps),
            Deed::DeleteParent => {
                let before = content_of(&self.fork);
                if let Some(parent) = self.parent.take() {
                    parent.delete(None).unwrap();
                }
                assert_eq!(content_of(&self.fork), before, "it shares what was deleted");
            }
            Deed::EraseMessage { parent, part } => erase(self.of(*parent), *part),
            Deed::EraseFormer => self.erase_former(),
        }
    }

    fn erase_former(&self) {
        let erased = self.engine.erase_former("parent", &Access::Nobody, None);
        assert_eq!(erased.is_ok(), self.parent.is_none());
        if erased.is_ok() {
            let shared = self.fork.view().unwrap().forked_from.unwrap().seq;
            let at = self.fork.at(Point::seq(shared)).unwrap();
            assert_eq!(at.window().all_runs().all_statuses().messages().unwrap(), []);
            assert_eq!(self.engine.former_sessions(&Access::Nobody).unwrap(), []);
        }
    }

    fn compact(&self, parent: bool, fork: bool, policy: Policy) {
        let named =
            self.parent.iter().filter(|_| parent).chain([&self.fork].into_iter().filter(|_| fork));
        let ids: Vec<&str> = named.map(Session::id).collect();
        let before: Vec<_> =
            self.both().map(|session| (counts(session), content_of(session))).collect();
        let compaction = self.engine.compaction().sessions(ids.clone()).policy(policy);
        compaction.run().unwrap();
        assert!(
            compaction.plan().unwrap().iter().all(CompactionPlan::is_empty),
            "there is more to do"
        );
        for (session, (counted, content)) in self.both().zip(before) {
            assert_eq!(counts(session), counted);
            if !ids.contains(&session.id()) {
                assert_eq!(content_of(session), content, "it did not agree");
            }
        }
    }

    fn check(&self) {
        self.both().for_each(check_histories);
        assert_sound(&self.engine);
    }
}

/// Lets it happen in runs that are new to the session.
fn play_on(session: &Session, steps: &[Step]) {
    let before = session.seq().unwrap();
    play(session, &format!("from-{before}-"), steps);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn sessions_that_share_go_as_far_as_both_agree_whatever_happens_between(
        steps in steps_with_rewinds(),
        at in any::<u8>(),
        deeds in proptest::collection::vec(deed(), 1..6),
    ) {
        let mut pair = Pair::new(&steps, at);
        for deed in &deeds {
            pair.run(deed);
            pair.check();
        }
    }

    #[test]
    fn what_is_left_is_the_same_in_the_database_that_takes_it_over(
        steps in steps_with_rewinds(),
        at in any::<u8>(),
        deeds in proptest::collection::vec(deed(), 1..5),
    ) {
        let mut pair = Pair::new(&steps, at);
        deeds.iter().filter(|deed| !matches!(deed, Deed::DeleteParent)).for_each(|deed| pair.run(deed));
        let other = memory(Policy::new());
        for session in pair.both() {
            let text = dump(session);
            let options = ImportOptions::default();
            let report = import_text(&other, "dump", text.as_bytes(), &options).unwrap();
            prop_assert_eq!(&report.skipped, &[]);
            let here = other.session(session.id()).open_existing().unwrap();
            prop_assert_eq!(dump(&here), text);
            prop_assert_eq!(content_of(&here), content_of(session));
            prop_assert_eq!(counts(&here), counts(session));
        }
        assert_sound(&other);
    }
}
