//! Sequences of operations with reopening between them.

use std::sync::Arc;

use sessionlog::{
    Access, Custom, Delivery, Engine, ErrorKind, EventId, Expected, Json, Log, MemoryLog, Message,
    Metrics, NewEvent, Point, Renamed, Session, StatePatch, SummaryWritten, Ticket,
};

use super::assert_sendable;

/// The numbers that decide what is done, read off the input one by one.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn below(&mut self, limit: u64) -> Option<u64> {
        let choice = u64::from(self.next()?) << 8 | u64::from(self.next()?);
        Some(if limit == 0 { 0 } else { choice % limit })
    }
}

/// What is known from outside: which sessions there are, and how many events each has.
struct Known {
    log: Arc<dyn Log>,
    engine: Engine,
    seqs: Vec<u64>,
}

/// Any bytes as operations on a few sessions: what was acknowledged is there, in order, after
/// every reopening; views agree however they are computed; windows are legal to send.
pub fn run(bytes: &[u8]) {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    let engine = Engine::builder().open_log(Arc::clone(&log)).unwrap();
    engine.session("s0").open().unwrap();
    let mut known = Known { log, engine, seqs: vec![1] };
    let mut choices = Choices(bytes.get(..2_000).unwrap_or(bytes));
    while known.step(&mut choices).is_some() {}
    known.check();
}

impl Known {
    fn session(&self, number: usize) -> Session {
        self.engine.session(format!("s{number}")).open_existing().unwrap()
    }

    fn step(&mut self, choices: &mut Choices<'_>) -> Option<()> {
        let op = choices.next()? % 12;
        let number = usize::try_from(choices.below(self.seqs.len() as u64)?).unwrap();
        let session = self.session(number);
        let head = self.seqs[number];
        match op {
            0..=3 => return self.write(op, number, &session, choices),
            4 => self.rewind(number, &session, choices.below(head)? + 1),
            5 if self.seqs.len() < 8 => {
                let at = choices.below(head)? + 1;
                let fork = session.fork(Point::seq(at)).id(format!("s{}", self.seqs.len())).open();
                self.seqs.push(fork.unwrap().seq().unwrap());
            }
            6 => {
                let run = session.start_run().unwrap();
                self.grown(number, run.push(Message::user("open")));
            }
            7 => self.reopen(),
            8 => {
                let events = (0..=choices.below(300)?).map(|_| NewEvent::new(custom(1)));
                self.grown(number, session.append(events));
            }
            9 => {
                let patch =
                    StatePatch::new().set([format!("k{}", choices.next()? % 4)], number_of(op));
                self.grown(number, session.patch_state(patch));
            }
            10 => {
                let (summary, topics, model) = ("so far".to_owned(), Vec::new(), None);
                let (first_seq, last_seq) = (1, head);
                let written =
                    SummaryWritten { summary, topics, first_seq, last_seq, model, metrics: None };
                self.grown(number, session.write_summary(written));
            }
            _ => look(&session, choices.below(head + 1)?),
        }
        Some(())
    }

    /// Runs under names that may be taken, events under ids that may be stored, versions that may
    /// be old.
    fn write(
        &mut self,
        op: u8,
        number: usize,
        session: &Session,
        choices: &mut Choices<'_>,
    ) -> Option<()> {
        let head = self.seqs[number];
        let choice = choices.next()?;
        // So few that one is soon taken.
        let name = choice % 8;
        let (ticket, expected) = match op {
            0 => {
                let call = Message::assistant("").with_call("c", "t", "{}");
                let run = session.run().id(format!("r{name}"));
                let metrics = Metrics::tokens(u64::from(choice), 1);
                (run.record([Message::user("q"), call], metrics), head)
            }
            1 => (session.append([NewEvent::new(custom(choice))]), head),
            2 => {
                let id = EventId::derive(&[&[name]]);
                (session.append([NewEvent::new(custom(0)).with_id(id)]), head)
            }
            _ => {
                let seen = choices.below(head)? + 1;
                let name = Some(format!("n{choice}"));
                let event = NewEvent::new(Renamed { name, is_generated: false });
                (session.append_expecting(Expected::Seq(seen), [event]), seen)
            }
        };
        match ticket.unwrap().wait() {
            Ok(receipt) if receipt.is_duplicate => assert!(receipt.last_seq <= head),
            Ok(receipt) => {
                assert_eq!((expected, receipt.first_seq), (head, head + 1));
                self.seqs[number] = receipt.last_seq;
            }
            Err(error) if op == 0 => assert!(is_taken(&error, name), "{error:?}"),
            Err(error) => {
                assert!(expected != head && matches!(error.kind(), ErrorKind::Conflict { .. }));
            }
        }
        Some(())
    }

    /// Waits for an append that nothing stands against.
    fn grown(&mut self, number: usize, ticket: sessionlog::Result<Ticket>) {
        let receipt = ticket.unwrap().wait().unwrap();
        assert!(receipt.first_seq > self.seqs[number]);
        self.seqs[number] = receipt.last_seq;
    }

    fn rewind(&mut self, number: usize, session: &Session, to: u64) {
        self.grown(number, session.rewind(Point::seq(to)));
        let (now, there) = (session.view().unwrap(), session.at(Point::seq(to)).unwrap());
        assert_eq!((&now.state, &now.name), (&there.view().state, &there.view().name));
    }

    /// The process ends and another opens the log: runs under way are interrupted.
    fn reopen(&mut self) {
        let log = Arc::clone(&self.log);
        self.engine = Engine::in_memory().unwrap();
        self.engine = Engine::builder().open_log(log).unwrap();
        for (number, seq) in self.seqs.clone().into_iter().enumerate() {
            let now = self.session(number).seq().unwrap();
            assert!(now >= seq, "s{number} had {seq} events and has {now}");
            self.seqs[number] = now;
        }
    }

    fn check(mut self) {
        self.reopen();
        for (number, seq) in self.seqs.iter().enumerate() {
            let session = self.session(number);
            assert_eq!(session.seq().unwrap(), *seq);
            look(&session, *seq);
            let steps: Vec<_> = session.replay().unwrap().map(Result::unwrap).collect();
            assert_eq!(steps.len() as u64, *seq);
            for step in steps.iter().step_by(37).chain(steps.last()) {
                let mut there = session.at(Point::seq(step.event.seq)).unwrap().into_view();
                // In what a fork shares, the events name its ancestor.
                there.session_id.clone_from(&step.view.session_id);
                assert_eq!(there, *step.view);
            }
        }
        let report = self.engine.verify().unwrap();
        assert!(report.ok, "{:?}", report.problems);
        let events = self.engine.stats().unwrap().events;
        let subscription = self.engine.subscribe(Access::Admin, 1);
        let mut next = 1;
        drop(self.engine);
        for delivery in subscription {
            let Delivery::Event(there) = delivery.unwrap() else { unreachable!("no lag") };
            assert_eq!(there.event.position, next);
            next += 1;
        }
        assert_eq!(next, events + 1);
    }
}

fn look(session: &Session, seq: u64) {
    let there = session.at(Point::seq(seq)).unwrap();
    assert_eq!(there.seq(), seq);
    let messages = there.messages().unwrap();
    assert_sendable(&messages);
}

/// Whether the run of this name has started already.
fn is_taken(error: &sessionlog::Error, name: u8) -> bool {
    let taken = format!("r{name}");
    matches!(error.kind(), ErrorKind::RunState { run_id, .. } if *run_id == taken)
}

fn number_of(number: u8) -> Json {
    Json::from(serde_json::Value::from(number))
}

fn custom(number: u8) -> Custom {
    Custom { kind: "k".to_owned(), data: number_of(number) }
}
