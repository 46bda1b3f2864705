//! Random forks, rewinds and reopenings against a model that says straight what they mean.

use proptest::prelude::*;
use serde_json::json;
use sessionlog::{
    Custom, Engine, EventKind, Json, Message, Metrics, NewEvent, Point, Session, StatePatch,
};

use super::verified;
use crate::support::{Disk, texts};

/// What happened, as a model keeps it: seq is the place in the list, from 1.
#[derive(Debug, Clone)]
enum Happened {
    Created,
    Forked,
    Started,
    Said(String),
    Finished(u64),
    Interrupted,
    Renamed(String),
    Set(String, u64),
    Other,
    WentBack { to: usize, left_behind: u64 },
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    name: Option<String>,
    state: serde_json::Map<String, serde_json::Value>,
    messages: Vec<String>,
    runs: u64,
    spent: u64,
    left_behind: u64,
}

#[derive(Debug, Clone, Default)]
struct Model(Vec<Happened>);

impl Model {
    /// The seqs that count at a seq, straight from the definition.
    fn live(&self, seq: usize) -> Vec<usize> {
        let (mut live, mut at) = (Vec::new(), seq);
        while at > 0 {
            live.push(at);
            at = match self.0[at - 1] {
                Happened::WentBack { to, .. } => to,
                _ => at - 1,
            };
        }
        live.reverse();
        live
    }

    fn seen(&self, seq: usize) -> Seen {
        let mut seen = Seen::default();
        for at in self.live(seq) {
            match &self.0[at - 1] {
                Happened::Started => seen.runs += 1,
                Happened::Said(text) => seen.messages.push(text.clone()),
                Happened::Finished(spent) => seen.spent += spent,
                Happened::Renamed(name) => seen.name = Some(name.clone()),
                Happened::Set(key, value) => {
                    seen.state.insert(key.clone(), json!(value));
                }
                Happened::WentBack { left_behind, .. } => seen.left_behind = *left_behind,
                Happened::Forked => seen.left_behind = 0,
                _ => {}
            }
        }
        seen
    }

    fn has_open_run(&self, seq: usize) -> bool {
        let mut open = false;
        for at in self.live(seq) {
            match self.0[at - 1] {
                Happened::Started => open = true,
                Happened::Finished(..) | Happened::Interrupted => open = false,
                _ => {}
            }
        }
        open
    }

    /// The seqs at which the runs that count at the end end.
    fn run_ends(&self) -> Vec<usize> {
        let mut ends = Vec::new();
        for at in self.live(self.0.len()) {
            match self.0[at - 1] {
                Happened::Started => ends.push(at),
                Happened::Finished(..) | Happened::Interrupted => *ends.last_mut().unwrap() = at,
                _ => {}
            }
        }
        ends
    }

    fn go_back(&mut self, to: usize) {
        let (now, there) = (self.seen(self.0.len()), self.seen(to));
        // A fork does not count what its parent left behind, and can still go back to it.
        let left_behind = (now.spent + now.left_behind).saturating_sub(there.spent);
        self.0.push(Happened::WentBack { to, left_behind });
        if self.has_open_run(to) {
            self.0.push(Happened::Interrupted);
        }
    }

    fn fork(&self, at: usize) -> Self {
        let mut fork = Self(self.0[..at].to_vec());
        fork.0.push(Happened::Forked);
        if self.has_open_run(at) {
            fork.0.push(Happened::Interrupted);
        }
        fork
    }
}

#[derive(Debug, Clone)]
enum Op {
    Turn(u64),
    Rename(u8),
    Set(u8, u64),
    /// Many events at once, so that snapshots lie between.
    Fill(usize),
    /// A session, and where in it, in 1/256 of its length.
    Rewind(u8),
    Fork(u8),
    Reopen,
}

fn ops() -> impl Strategy<Value = Vec<(u8, Op)>> {
    let op = prop_oneof![
        4 => (1_u64..100).prop_map(Op::Turn),
        2 => any::<u8>().prop_map(Op::Rename),
        2 => (0_u8..3, any::<u64>()).prop_map(|(key, value)| Op::Set(key, value)),
        2 => (1_usize..300).prop_map(Op::Fill),
        3 => any::<u8>().prop_map(Op::Rewind),
        2 => any::<u8>().prop_map(Op::Fork),
        1 => Just(Op::Reopen),
    ];
    prop::collection::vec((any::<u8>(), op), 1..25)
}

fn place(model: &Model, part: u8) -> usize {
    (1 + model.0.len() * usize::from(part) / 256).min(model.0.len())
}

fn apply(engine: &Engine, models: &mut Vec<Model>, (which, op): &(u8, Op), runs: &mut usize) {
    let number = usize::from(*which) % models.len();
    let session = engine.session(format!("s{number}")).open_existing().unwrap();
    let model = &mut models[number];
    match op {
        Op::Turn(spent) => {
            *runs += 1;
            let text = format!("message {runs}");
            let run = session.run().record([Message::user(&*text)], Metrics::tokens(*spent, 0));
            run.unwrap().wait().unwrap();
            model.0.push(Happened::Started);
            model.0.push(Happened::Said(text));
            model.0.push(Happened::Finished(*spent));
        }
        Op::Rename(name) => {
            session.rename(format!("name {name}")).unwrap().wait().unwrap();
            model.0.push(Happened::Renamed(format!("name {name}")));
        }
        Op::Set(key, value) => {
            let patch = StatePatch::new().set([format!("k{key}")], json!(value));
            session.patch_state(patch).unwrap().wait().unwrap();
            model.0.push(Happened::Set(format!("k{key}"), *value));
        }
        Op::Fill(count) => {
            let data = Json::from(json!(0));
            let events = (0..*count)
                .map(|_| NewEvent::new(Custom { kind: "fill".into(), data: data.clone() }));
            session.append(events).unwrap().wait().unwrap();
            model.0.extend(std::iter::repeat_n(Happened::Other, *count));
        }
        Op::Rewind(part) => {
            let to = place(model, *part);
            session.rewind(Point::seq(to as u64)).unwrap().wait().unwrap();
            model.go_back(to);
        }
        Op::Fork(part) => {
            let at = place(model, *part);
            let fork = model.fork(at);
            let id = format!("s{}", models.len());
            session.fork(Point::seq(at as u64)).id(id).open().unwrap();
            models.push(fork);
        }
        Op::Reopen => {}
    }
}

fn compare(session: &Session, model: &Model, seq: usize) {
    let there = session.at(Point::seq(seq as u64)).unwrap();
    let view = there.view();
    let seen = Seen {
        name: view.name.clone(),
        state: view.state.clone(),
        messages: texts(&there.window().all_runs().messages().unwrap()),
        runs: view.run_count,
        spent: view.metrics.input_tokens,
        left_behind: view.left_behind.input_tokens,
    };
    assert_eq!(seen, model.seen(seq), "seq {seq} of {}", session.id());
    assert_eq!(view.message_count, seen.messages.len() as u64);
    let of_runs = there.runs().unwrap();
    assert_eq!(of_runs.len() as u64, seen.runs);
    let messages: Vec<_> = of_runs.into_iter().flat_map(|run| run.messages).collect();
    assert_eq!(messages.len(), seen.messages.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sessions_that_branch_are_at_every_point_what_the_definition_says(
        ops in ops(),
        points in prop::collection::vec(any::<u8>(), 6),
    ) {
        let disk = Disk::new();
        let mut engine = disk.open();
        engine.session("s0").open().unwrap();
        let mut models = vec![Model(vec![Happened::Created])];
        let mut runs = 0;
        for op in &ops {
            if matches!(op.1, Op::Reopen) {
                drop(engine);
                engine = disk.open();
            }
            apply(&engine, &mut models, op, &mut runs);
        }
        for (number, model) in models.iter().enumerate() {
            let session = engine.session(format!("s{number}")).open_existing().unwrap();
            prop_assert_eq!(session.seq().unwrap(), model.0.len() as u64);
            compare(&session, model, model.0.len());
            for point in &points {
                compare(&session, model, place(model, *point));
            }
            for (number, end) in (1..).zip(model.run_ends()) {
                prop_assert_eq!(session.at(Point::run(number)).unwrap().seq(), end as u64);
            }
            let mut replay = session.replay().unwrap().map(Result::unwrap);
            let last = replay.by_ref().last().unwrap();
            prop_assert_eq!(&*last.view, &session.view().unwrap());
            let went_back = session.events(Point::Head).unwrap()
                .filter(|event| event.as_ref().unwrap().body.kind() == EventKind::RewoundTo).count();
            let wanted = model.0.iter()
                .filter(|happened| matches!(happened, Happened::WentBack { .. })).count();
            prop_assert_eq!(went_back, wanted);
        }
        verified(&engine);
        drop(engine);
        verified(&disk.open());
    }
}
