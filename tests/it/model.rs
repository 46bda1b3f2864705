//! Random operations on the engine against a plain list of what should be there.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;
use sessionlog::{
    Custom, Engine, EventBody, EventId, Expected, Json, Log, MemoryLog, Message, MessageAdded,
    Metrics, NewEvent, Point, Session, StatePatch,
};

use crate::support::Disk;

/// What can be done to a database. Numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Op {
    Turn { session: u8, messages: u8 },
    Custom { session: u8, events: u8 },
    Expect { session: u8, offset: i8 },
    Retry { session: u8, event: u8 },
    Rename { session: u8 },
    State { session: u8, key: u8 },
    OpenRun { session: u8 },
    BadRun { session: u8 },
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let session = 0_u8..3;
    prop_oneof![
        4 => (session.clone(), 0_u8..20).prop_map(|(session, messages)| Op::Turn { session, messages }),
        3 => (session.clone(), 1_u8..120).prop_map(|(session, events)| Op::Custom { session, events }),
        2 => (session.clone(), -2_i8..3).prop_map(|(session, offset)| Op::Expect { session, offset }),
        2 => (session.clone(), any::<u8>()).prop_map(|(session, event)| Op::Retry { session, event }),
        1 => session.clone().prop_map(|session| Op::Rename { session }),
        2 => (session.clone(), 0_u8..4).prop_map(|(session, key)| Op::State { session, key }),
        1 => session.clone().prop_map(|session| Op::OpenRun { session }),
        1 => session.prop_map(|session| Op::BadRun { session }),
        1 => Just(Op::Reopen),
    ]
}

/// The plain list: per session what each event should be, and the ids that callers gave.
#[derive(Debug, Default)]
struct Model {
    sessions: BTreeMap<u8, ModelSession>,
    next: u64,
}

#[derive(Debug, Default)]
struct ModelSession {
    bodies: Vec<String>,
    given: Vec<(EventId, u64)>,
    name: Option<String>,
    state: BTreeMap<String, u64>,
    runs: u64,
    tokens: u64,
    open_runs: Vec<String>,
}

/// What the model compares of a body.
fn sketch(body: &EventBody) -> String {
    match body {
        EventBody::MessageAdded(added) => format!("message {}", added.message.content.text()),
        EventBody::Custom(custom) => format!("custom {}", custom.data.as_str()),
        EventBody::RunFinished(finished) => format!("run_finished {}", finished.status),
        other => other.kind().to_string(),
    }
}

struct World<'a> {
    open: &'a mut dyn FnMut() -> Engine,
    engine: Option<Engine>,
    model: Model,
}

impl World<'_> {
    fn session(&mut self, number: u8) -> Session {
        let engine = self.engine.as_ref().unwrap();
        let entry = self.model.sessions.entry(number).or_insert_with(|| ModelSession {
            bodies: vec!["session_created".into()],
            ..ModelSession::default()
        });
        let session = engine.session(format!("s{number}")).user("alice").open().unwrap();
        assert!(session.seq().unwrap() >= entry.bodies.len() as u64);
        session
    }

    fn fresh(&mut self) -> u64 {
        self.model.next += 1;
        self.model.next
    }

    fn custom(&mut self) -> (NewEvent, String) {
        let number = self.fresh();
        let data = Json::from(json!(number));
        (NewEvent::new(Custom { kind: "t".into(), data }), format!("custom {number}"))
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Turn { session, messages } => self.turn(session, messages),
            Op::Custom { session, events } => {
                let handle = self.session(session);
                let (events, bodies): (Vec<_>, Vec<_>) = (0..events).map(|_| self.custom()).unzip();
                handle.append(events).unwrap().wait().unwrap();
                self.of(session).bodies.extend(bodies);
            }
            Op::Expect { session, offset } => self.expect(session, offset),
            Op::Retry { session, event } => self.retry(session, event),
            Op::Rename { session } => {
                let name = format!("name {}", self.fresh());
                self.session(session).rename(&*name).unwrap().wait().unwrap();
                self.of(session).bodies.push("session_renamed".into());
                self.of(session).name = Some(name);
            }
            Op::State { session, key } => {
                let (key, number) = (format!("k{key}"), self.fresh());
                let patch = StatePatch::new().set([&*key], json!(number));
                self.session(session).patch_state(patch).unwrap().wait().unwrap();
                self.of(session).bodies.push("state_changed".into());
                self.of(session).state.insert(key, number);
            }
            Op::OpenRun { session } => {
                let id = format!("open {}", self.fresh());
                let run = self.session(session).run().id(&*id).start().unwrap();
                run.push(Message::user("hm")).unwrap().wait().unwrap();
                let of = self.of(session);
                of.bodies.extend(["run_started".into(), "message hm".into()]);
                of.runs += 1;
                of.open_runs.push(id);
            }
            Op::BadRun { session } => {
                let message = MessageAdded { message: Message::user("lost") };
                let (good, _) = self.custom();
                let events = [good, NewEvent::in_run("no such run", message)];
                assert!(self.session(session).append(events).unwrap().wait().is_err());
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn of(&mut self, session: u8) -> &mut ModelSession {
        self.model.sessions.get_mut(&session).unwrap()
    }

    fn turn(&mut self, session: u8, messages: u8) {
        let texts: Vec<_> = (0..messages).map(|_| format!("{}", self.fresh())).collect();
        let handle = self.session(session);
        let tokens = u64::from(messages);
        handle
            .record_run(texts.iter().map(Message::user), Metrics::tokens(tokens, 0))
            .unwrap()
            .wait()
            .unwrap();
        let of = self.of(session);
        of.bodies.push("run_started".into());
        of.bodies.extend(texts.into_iter().map(|text| format!("message {text}")));
        of.bodies.push("run_finished COMPLETED".into());
        of.runs += 1;
        of.tokens += tokens;
    }

    fn expect(&mut self, session: u8, offset: i8) {
        let handle = self.session(session);
        let seq = self.of(session).bodies.len() as u64;
        let expected = seq.saturating_add_signed(i64::from(offset));
        let (event, body) = self.custom();
        let id = EventId::generate();
        let result =
            handle.append_expecting(Expected::Seq(expected), [event.with_id(id)]).unwrap().wait();
        assert_eq!(result.is_ok(), expected == seq);
        if result.is_ok() {
            self.of(session).bodies.push(body);
            self.of(session).given.push((id, seq + 1));
        }
    }

    /// Sends an event that is stored already, with a version that is long past.
    fn retry(&mut self, session: u8, event: u8) {
        let handle = self.session(session);
        let given = &self.of(session).given;
        if given.is_empty() {
            return;
        }
        let (id, seq) = given[usize::from(event) % given.len()];
        let data = Json::from(json!("again"));
        let event = NewEvent::new(Custom { kind: "t".into(), data }).with_id(id);
        let receipt = handle.append_expecting(Expected::Seq(0), [event]).unwrap().wait().unwrap();
        assert!(receipt.is_duplicate);
        assert_eq!(receipt.first_seq, seq);
    }

    fn reopen(&mut self) {
        self.engine = None;
        self.engine = Some((self.open)());
        for session in self.model.sessions.values_mut() {
            for _ in session.open_runs.drain(..) {
                session.bodies.push("run_finished INTERRUPTED".into());
            }
        }
    }

    fn check(&self) {
        let engine = self.engine.as_ref().unwrap();
        for (number, wanted) in &self.model.sessions {
            let session = engine.session(format!("s{number}")).user("alice").open().unwrap();
            let events: Vec<_> = session.events(Point::Head).unwrap().map(Result::unwrap).collect();
            let bodies: Vec<_> = events.iter().map(|event| sketch(&event.body)).collect();
            assert_eq!(bodies, wanted.bodies);
            for (id, seq) in &wanted.given {
                assert_eq!(session.at(Point::Event(*id)).unwrap().seq(), *seq);
            }
            let view = session.view().unwrap();
            assert_eq!((&view.name, view.run_count), (&wanted.name, wanted.runs));
            assert_eq!(view.metrics.total_tokens, wanted.tokens);
            assert_eq!(serde_json::Value::Object(view.state), json!(wanted.state));
            for seq in (1..=events.len() as u64).step_by(37) {
                let at = session.at(Point::seq(seq)).unwrap();
                let folded = session.replay().unwrap().nth(seq as usize - 1).unwrap().unwrap();
                assert_eq!(at.view(), &*folded.view);
            }
        }
        let report = engine.verify().unwrap();
        assert!(report.ok, "{:?}", report.problems);
        let total: usize = self.model.sessions.values().map(|session| session.bodies.len()).sum();
        assert_eq!(report.events, total as u64);
    }
}

fn play(ops: &[Op], open: &mut dyn FnMut() -> Engine) {
    let engine = Some(open());
    let mut world = World { open, engine, model: Model::default() };
    for op in ops {
        world.run(op);
    }
    world.check();
    world.reopen();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_engine_in_memory_holds_what_a_plain_list_holds(
        ops in proptest::collection::vec(any_op(), 1..40),
    ) {
        let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
        play(&ops, &mut || Engine::builder().open_log(Arc::clone(&log)).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn the_engine_on_disk_holds_what_a_plain_list_holds(
        ops in proptest::collection::vec(any_op(), 1..25),
    ) {
        let disk = Disk::new();
        play(&ops, &mut || disk.open());
    }
}
