//! Does each operation to the engine and to the plain list, and compares.

use serde_json::json;
use sessionlog::log::Fault;
use sessionlog::{
    ContextRecorded, Custom, Durability, Engine, Error, ErrorKind, EventId, Expected, Json,
    Message, MessageAdded, Metrics, NewEvent, Point, Receipt, Renamed, Result, RunStatus, SeqSpan,
    Session, StatePatch, SummaryWritten, Ticket, ToolExecuted, legalize,
};

use super::Backend;
use super::ops::{Change, Op};
use super::plain::{self, Commit, Fact, Model, Who, session_id};
use super::view::View;
use crate::support::assert_sendable;

pub(super) const OWNERS: [Option<&str>; 3] = [Some("alice"), Some("bob"), None];

/// A database, and what should be in it.
pub(super) struct World<'a> {
    pub(super) backend: &'a mut dyn Backend,
    pub(super) engine: Option<Engine>,
    pub(super) model: Model,
    /// How many of the model's commits no crash takes back.
    pub(super) durable: usize,
    /// What failed and may be there all the same, in the order of the queue.
    pub(super) doubtful: Vec<Commit>,
    /// Of these at most one is there, behind the doubtful.
    pub(super) one_of: Vec<Commit>,
    /// What failed and is not there, to be tried again. The number is what it says.
    lost: Vec<(u8, EventId, u64)>,
    /// The fault that the next append meets.
    pub(super) armed: Option<Armed>,
    /// Whether a write failed since the database was opened.
    pub(super) is_poisoned: bool,
    next: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Armed {
    Fault(Fault),
    /// Sooner or later.
    FullDisk,
}

impl<'a> World<'a> {
    pub(super) fn new(backend: &'a mut dyn Backend) -> Self {
        let engine = Some(backend.open().unwrap());
        Self {
            backend,
            engine,
            model: Model::default(),
            durable: 0,
            doubtful: Vec::new(),
            one_of: Vec::new(),
            lost: Vec::new(),
            armed: None,
            is_poisoned: false,
            next: 0,
        }
    }

    pub(super) fn run(&mut self, op: &Op) {
        match *op {
            Op::Customs { session, events, with_ids } => self.customs(session, events, with_ids),
            Op::Turn { session, messages } => self.turn(session, messages),
            Op::NamedTurn { session, run } => self.named_turn(session, run),
            Op::Burst { session, appends } => self.burst(session, appends),
            Op::Start { session, run, is_member } => self.start(session, run, is_member),
            Op::Say { session, run, said } => self.say(session, run, said),
            Op::Tool { session, run } => self.tool(session, run),
            Op::Pause { session, run } => {
                let run = self.run_of(session, run);
                let facts = vec![Fact::Paused { run: run.clone() }];
                self.write(session, facts, |session| session.existing_run(run).pause("wait"));
            }
            Op::Resume { session, run } => {
                let run = self.run_of(session, run);
                let facts = vec![Fact::Resumed { run: run.clone() }];
                self.write(session, facts, |session| session.existing_run(run).resume());
            }
            Op::Finish { session, run, status, tokens } => {
                self.finish(session, run, status, u64::from(tokens));
            }
            Op::Rename { session, is_generated } => {
                let name = format!("name {}", self.fresh());
                let facts = vec![Fact::Renamed { name: name.clone(), is_generated }];
                let renamed = Renamed { name: Some(name), is_generated };
                self.write(session, facts, |session| session.append([NewEvent::new(renamed)]));
            }
            Op::Owner { session, owner } => {
                let owner = OWNERS[usize::from(owner) % OWNERS.len()];
                let facts = vec![Fact::Owner(owner)];
                self.write(session, facts, |session| session.change_owner(owner));
            }
            Op::State { session, change } => {
                let number = self.fresh();
                let facts = vec![Fact::State(change, number)];
                self.write(session, facts, |session| session.patch_state(patch(change, number)));
            }
            Op::Metadata { session, change } => {
                let number = self.fresh();
                let facts = vec![Fact::Metadata(change, number)];
                self.write(session, facts, |session| session.patch_metadata(patch(change, number)));
            }
            Op::Summary { session, from } => self.summary(session, from),
            Op::Withdraw { session, summary } => self.withdraw(session, summary),
            Op::Context { session } => self.context(session),
            Op::Fork { session, at } => self.fork(session, at),
            Op::Rewind { session, to } => self.rewind(session, to),
            Op::Policy { session, run, keep } => self.set_policy(session, run, keep),
            Op::Compact { session, keep } => self.compact(session, keep),
            Op::EraseMessage { session, message } => self.erase_message(session, message),
            Op::EraseRun { session, run } => self.erase_run(session, run),
            Op::Delete { session } => self.delete(session),
            Op::Stale { session, offset } => self.stale(session, offset),
            Op::Retry { session, event } => self.retry(session, event),
            Op::BadRun { session } => self.bad_run(session),
            Op::Intrude { session } => self.intrude(session),
            Op::Look { session, at } => self.look(session, at),
            Op::List { owner } => self.list(owner),
            Op::Reopen { fault } => self.reopen(fault),
            Op::Crash { session, in_flight } => self.crash(session, in_flight),
            Op::FailAppend(fault) => self.arm(Armed::Fault(fault)),
            Op::FillDisk { room } => {
                self.arm(Armed::FullDisk);
                self.faulty(|log| log.set_room(Some(u64::from(room))));
            }
            Op::FailRead { session, after } => self.fail_read(session, after),
        }
    }

    // ---- what every operation goes through

    pub(super) fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub(super) fn faulty(&self, call: impl FnOnce(&sessionlog::log::FaultyLog)) {
        if let Some(log) = self.backend.faulty() {
            call(log);
        }
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn seq(&self, number: u8) -> u64 {
        match self.model.session(number) {
            Some(session) => session.seq(),
            // A session that begins under the id of one that was deleted goes on behind it.
            None => self.model.streams.get(&number).map_or(0, |(_, last)| *last),
        }
    }

    /// The session, made if need be; `None` where it cannot be made any more.
    pub(super) fn session(&mut self, number: u8) -> Option<Session> {
        let builder = self.engine().session(session_id(number));
        if let Some(session) = self.model.session(number) {
            let builder = match session.owner {
                // Whose it is may be in doubt: see `list`.
                _ if self.is_poisoned => builder.admin(),
                Some(owner) => builder.user(owner),
                None => builder,
            };
            let session = builder.open_existing().unwrap();
            assert_eq!(session.seq().unwrap(), self.seq(number));
            return Some(session);
        }
        let commit = Commit { session: number, facts: vec![Fact::Created], ids: Vec::new() };
        let opened = builder.user("alice").open();
        let session = opened.as_ref().ok().cloned();
        self.settle(commit, opened.map(|_| None));
        session
    }

    pub(super) fn write(
        &mut self,
        number: u8,
        facts: Vec<Fact>,
        call: impl FnOnce(&Session) -> Result<Ticket>,
    ) {
        if let Some(session) = self.session(number) {
            let commit = Commit { session: number, facts, ids: Vec::new() };
            let result = call(&session).and_then(Ticket::wait);
            self.settle(commit, result.map(Some));
            self.check_end(number);
        }
    }

    /// Compares how an append ended with how it should have, and notes what is there now.
    pub(super) fn settle(&mut self, mut commit: Commit, result: Result<Option<Receipt>>) {
        let is_sound = self.model.admits(&commit);
        let may_settle = is_sound && self.may_settle(&commit);
        match result {
            Ok(receipt) => {
                assert!(!self.is_poisoned, "written after a failed write");
                assert!(!matches!(self.armed, Some(Armed::Fault(_))), "the fault was not met");
                assert!(is_sound, "{commit:?} cannot follow");
                let first_seq = self.seq(commit.session) + 1;
                if let Some(receipt) = receipt {
                    let len = receipt.last_seq.saturating_sub(self.seq(commit.session));
                    if may_settle && len > commit.facts.len() as u64 {
                        commit = self.settled(&commit);
                    }
                    let last_seq = self.seq(commit.session) + commit.facts.len() as u64;
                    assert_eq!((receipt.first_seq, receipt.last_seq), (first_seq, last_seq));
                    assert!(!receipt.is_duplicate);
                }
                self.took(commit);
            }
            Err(error) => self.settle_failure(commit, is_sound, &error),
        }
    }

    /// A commit is there.
    pub(super) fn took(&mut self, commit: Commit) {
        let number = commit.session;
        let is_settled = commit.facts.iter().any(|fact| matches!(fact, Fact::Compacted { .. }));
        self.learn(commit);
        if is_settled {
            self.look_at_words(number);
        }
    }

    /// The same where more was committed that the model does not know of yet.
    pub(super) fn learn(&mut self, commit: Commit) {
        self.model.commit(commit);
        if self.backend.durability() == Durability::PowerLoss {
            self.durable = self.model.commits.len();
        }
    }

    fn settle_failure(&mut self, commit: Commit, is_sound: bool, error: &Error) {
        match error.kind() {
            ErrorKind::Poisoned { .. } => {
                assert!(self.is_poisoned, "refused without a failed write: {error}");
                self.lose(&commit);
            }
            ErrorKind::Io { .. } => {
                assert!(self.armed.is_some(), "no fault was asked for: {error}");
                assert!(!self.is_poisoned, "written to after a failed write");
                assert!(is_sound, "{commit:?} was written, and cannot follow");
                self.is_poisoned = true;
                match self.armed.take() {
                    Some(Armed::Fault(Fault::Sync | Fault::Tear)) if self.may_settle(&commit) => {
                        self.one_of = vec![self.settled(&commit), commit];
                    }
                    Some(Armed::Fault(Fault::Sync | Fault::Tear)) => self.doubtful.push(commit),
                    _ => self.lose(&commit),
                }
            }
            _ => assert!(!is_sound && !self.is_poisoned, "{commit:?}: {error}"),
        }
    }

    /// Remembers what can be tried again.
    pub(super) fn lose(&mut self, commit: &Commit) {
        for (fact, id) in commit.facts.iter().zip(&commit.ids) {
            if let Fact::Custom(number) = fact {
                self.lost.push((commit.session, *id, *number));
            }
        }
    }

    /// What was just written is there, and the view follows from it.
    pub(super) fn check_end(&self, number: u8) {
        let Some(model) = self.model.session(number) else { return };
        let session = self.admin(number).unwrap();
        assert_eq!(session.seq().unwrap(), model.seq());
        let first_seq = model.first_seq.max(model.seq().saturating_sub(3));
        let wanted = &model.facts[first_seq as usize - 1..];
        let events = session.events_from(first_seq, Point::Head).unwrap().map(Result::unwrap);
        assert!(events.map(|event| plain::sketch(&event)).eq(wanted.iter().map(Fact::sketch)));
        let view = session.view().unwrap();
        assert_eq!(View::of(&view), model.view_at(model.seq()));
    }

    pub(super) fn admin(&self, number: u8) -> Result<Session> {
        self.engine().session(session_id(number)).admin().open_existing()
    }

    // ---- whole commits

    pub(super) fn custom(&mut self) -> (NewEvent, Fact) {
        let number = self.fresh();
        (custom(number), Fact::Custom(number))
    }

    fn customs(&mut self, number: u8, events: u16, with_ids: bool) {
        let Some(session) = self.session(number) else { return };
        let (mut events, facts): (Vec<_>, Vec<_>) = (0..events).map(|_| self.custom()).unzip();
        let mut ids = Vec::new();
        if with_ids {
            ids = events.iter().map(|_| EventId::generate()).collect();
            events = events.into_iter().zip(&ids).map(|(event, id)| event.with_id(*id)).collect();
        }
        let result = session.append(events).and_then(Ticket::wait);
        self.settle(Commit { session: number, facts, ids }, result.map(Some));
        self.check_end(number);
    }

    fn turn(&mut self, number: u8, messages: u8) {
        let run = format!("turn {}", self.fresh());
        self.recorded_turn(number, &run, u64::from(messages));
    }

    /// A run under an id of the caller's own: once recorded it stays as it is.
    fn named_turn(&mut self, number: u8, run: u8) {
        let run = format!("named {run}");
        let is_there = |session: &plain::Session| {
            let started = |fact: &Fact| matches!(fact, Fact::Started { run: id, .. } if *id == run);
            session.facts.iter().position(started)
        };
        let Some(at) = self.model.session(number).and_then(is_there) else {
            return self.recorded_turn(number, &run, 2);
        };
        // A fork does not know its parent's run by the ids of its events.
        if self.model.session(number).is_some_and(|session| (at as u64) < session.shared) {
            return;
        }
        let Some(session) = self.session(number) else { return };
        let messages = [Message::user("0"), Message::user("1")];
        let recorded = session.run().id(&*run).record(messages, Metrics::tokens(2, 0));
        match recorded.and_then(Ticket::wait) {
            Ok(receipt) => {
                assert!(receipt.is_duplicate);
                assert_eq!((receipt.first_seq, receipt.last_seq), (at as u64 + 1, at as u64 + 4));
            }
            Err(error) => assert!(self.is_poisoned, "{error}"),
        }
        self.check_end(number);
    }

    fn recorded_turn(&mut self, number: u8, run: &str, messages: u64) {
        let texts: Vec<_> = (0..messages).map(|message| message.to_string()).collect();
        let started = Fact::Started { run: run.to_owned(), is_member: false };
        let said = texts.iter().map(|text| Fact::Message {
            run: run.to_owned(),
            text: text.clone(),
            calls: 0,
            who: Who::User,
        });
        let (status, tokens) = (RunStatus::Completed, messages);
        let finished = Fact::Finished { run: run.to_owned(), status, tokens };
        let facts = std::iter::once(started).chain(said).chain([finished]).collect();
        self.write(number, facts, |session| {
            let run = session.run().id(run);
            run.record(texts.iter().map(Message::user), Metrics::tokens(tokens, 0))
        });
    }

    /// Appends that wait together, and share a group if they meet.
    fn burst(&mut self, number: u8, appends: u8) {
        let Some(session) = self.session(number) else { return };
        let mut waiting = Vec::new();
        for _ in 0..appends {
            let (event, fact) = self.custom();
            let id = EventId::generate();
            let commit = Commit { session: number, facts: vec![fact], ids: vec![id] };
            waiting.push((commit, session.append([event.with_id(id)]).unwrap()));
        }
        let armed = self.armed;
        for (commit, ticket) in waiting {
            let result = ticket.wait().map(Some);
            let is_io = |error: &Error| matches!(error.kind(), ErrorKind::Io { .. });
            if self.is_poisoned && result.as_ref().is_err_and(is_io) {
                // One failed write answers all that shared it.
                self.is_poisoned = false;
                self.armed = armed;
            }
            self.settle(commit, result);
        }
        self.check_end(number);
    }

    // ---- runs as they happen

    pub(super) fn run_of(&self, number: u8, run: u8) -> String {
        self.model.session(number).map_or("no such run".to_owned(), |session| session.run(run))
    }

    fn start(&mut self, number: u8, run: u8, is_member: bool) {
        let Some(session) = self.session(number) else { return };
        let run = format!("run {run}");
        let builder = session.run().id(&*run);
        let builder = if is_member { builder.parent("run 0") } else { builder };
        let commit = Commit {
            session: number,
            facts: vec![Fact::Started { run, is_member }],
            ids: Vec::new(),
        };
        self.settle(commit, builder.start().map(|_| None));
        self.check_end(number);
    }

    fn say(&mut self, number: u8, run: u8, said: u8) {
        let run = self.run_of(number, run);
        let mut text = self.fresh().to_string();
        // Few ids, so that calls are answered, answered twice, or never.
        let call = format!("call {}", said / 4 % 3);
        let (message, calls, who) = match said % 6 {
            0 | 1 => (Message::user(&*text), 0, Who::User),
            2 => (Message::assistant(&*text).with_call(&*call, "look", "{}"), 1, Who::Assistant),
            3 => (Message::tool(&*call, &*text), 0, Who::Tool),
            4 => {
                text = self.said_before(number, said).unwrap_or(text);
                let mut copy = Message::user(&*text);
                copy.from_history = true;
                (copy, 0, Who::Copy)
            }
            _ => (Message::system(&*text), 0, Who::System),
        };
        let facts = vec![Fact::Message { run: run.clone(), text, calls, who }];
        self.write(number, facts, |session| session.existing_run(run).push(message));
        self.check_windows(number);
    }

    /// What a user said before.
    fn said_before(&self, number: u8, which: u8) -> Option<String> {
        let said = self.model.session(number)?.facts.iter().filter_map(|fact| match fact {
            Fact::Message { text, who: Who::User, .. } => Some(text),
            _ => None,
        });
        let said: Vec<_> = said.collect();
        let at = usize::from(which).checked_rem(said.len())?;
        Some(said[at].clone())
    }

    fn tool(&mut self, number: u8, run: u8) {
        let (run, result) = (self.run_of(number, run), self.fresh().to_string());
        let tool = ToolExecuted { result: Some(result.clone()), ..ToolExecuted::default() };
        let facts = vec![Fact::Tool { run: run.clone(), result }];
        self.write(number, facts, |session| session.existing_run(run).tool_executed(tool));
    }

    fn finish(&mut self, number: u8, run: u8, status: RunStatus, tokens: u64) {
        let run = self.run_of(number, run);
        let tokens = if status == RunStatus::Regenerated { 0 } else { tokens };
        let metrics = Metrics::tokens(tokens, 0);
        let facts = vec![Fact::Finished { run: run.clone(), status, tokens }];
        self.write(number, facts, |session| {
            let run = session.existing_run(run);
            match status {
                RunStatus::Cancelled => run.cancel("enough", metrics),
                RunStatus::Error => run.fail("oh", metrics),
                RunStatus::Regenerated => run.mark_regenerated(),
                _ => run.complete(metrics),
            }
        });
    }

    // ---- the session's own fields

    fn summary(&mut self, number: u8, from: u8) {
        let (text, last_seq) = (format!("summary {}", self.fresh()), self.seq(number).max(1));
        let first_seq = 1 + (last_seq - 1) * u64::from(from) / 255;
        let written = SummaryWritten {
            summary: text.clone(),
            topics: Vec::new(),
            first_seq,
            last_seq,
            model: None,
            metrics: None,
        };
        let facts = vec![Fact::Summary { text, first_seq, last_seq }];
        self.write(number, facts, |session| session.write_summary(written));
    }

    fn withdraw(&mut self, number: u8, summary: u8) {
        let Some(model) = self.model.session(number) else { return };
        let at = usize::from(summary).checked_rem(model.summaries.len());
        let seq = at.map_or(1, |at| model.summaries[at]);
        self.write(number, vec![Fact::Withdrawn(seq)], |session| session.withdraw_summary(seq));
    }

    fn context(&mut self, number: u8) {
        let seqs: Vec<u64> = (1..=self.seq(number).min(5)).collect();
        let prompt_digest = Some([7; 32]);
        let recorded = ContextRecorded {
            history_seqs: SeqSpan::of(seqs.clone()),
            prompt_digest,
            ..ContextRecorded::default()
        };
        let facts = vec![Fact::Context(seqs)];
        self.write(number, facts, |session| session.append([NewEvent::new(recorded)]));
    }

    // ---- what is refused, or stored already

    fn stale(&mut self, number: u8, offset: i8) {
        let Some(session) = self.session(number) else { return };
        let seq = self.seq(number);
        let expected = seq.saturating_add_signed(i64::from(offset));
        let (event, fact) = self.custom();
        let commit = Commit { session: number, facts: vec![fact], ids: Vec::new() };
        let result = session.append_expecting(Expected::Seq(expected), [event]).unwrap().wait();
        if expected == seq || self.is_poisoned {
            self.settle(commit, result.map(Some));
        } else {
            let kind = result.unwrap_err().kind().clone();
            assert_eq!(kind, ErrorKind::Conflict { expected, actual: seq });
        }
        self.check_end(number);
    }

    /// Sends an event again: one that is stored, with a version that is long past, or one that
    /// was lost.
    fn retry(&mut self, number: u8, event: u8) {
        let lost = self.lost.iter().position(|(session, ..)| *session == number);
        if let Some(at) = lost.filter(|_| !self.is_poisoned && event.is_multiple_of(2)) {
            let (_, id, custom_number) = self.lost.remove(at);
            let Some(session) = self.session(number) else { return };
            let result = session.append([custom(custom_number).with_id(id)]).and_then(Ticket::wait);
            let facts = vec![Fact::Custom(custom_number)];
            self.settle(Commit { session: number, facts, ids: vec![id] }, result.map(Some));
            return self.check_end(number);
        }
        let Some(model) = self.model.session(number) else { return };
        let Some(at) = usize::from(event).checked_rem(model.given.len()) else { return };
        let (id, seq) = model.given[at];
        let Some(session) = self.session(number) else { return };
        let again = [custom(0).with_id(id)];
        let result = session.append_expecting(Expected::Seq(0), again).unwrap().wait();
        match result {
            Ok(receipt) => assert_eq!((receipt.is_duplicate, receipt.first_seq), (true, seq)),
            Err(error) => assert!(self.is_poisoned, "{error}"),
        }
        self.check_end(number);
    }

    fn bad_run(&mut self, number: u8) {
        let Some(session) = self.session(number) else { return };
        let message = MessageAdded { message: Message::user("lost") };
        let (good, fact) = self.custom();
        let (run, text) = ("no such run".to_owned(), "lost".to_owned());
        let said = Fact::Message { run: run.clone(), text, calls: 0, who: Who::User };
        let facts = vec![fact, said];
        let events = [good, NewEvent::in_run(run, message)];
        let result = session.append(events).unwrap().wait().map(Some);
        assert!(result.is_err());
        self.settle(Commit { session: number, facts, ids: Vec::new() }, result);
        self.check_end(number);
    }

    fn intrude(&mut self, number: u8) {
        let Some(model) = self.model.session(number).filter(|_| !self.is_poisoned) else { return };
        let stranger = OWNERS.iter().find(|owner| **owner != model.owner).unwrap();
        let builder = self.engine().session(session_id(number));
        let builder = match stranger {
            Some(user) => builder.user(*user),
            None => builder,
        };
        assert_eq!(builder.open().unwrap_err().kind(), &ErrorKind::Forbidden);
        self.check_end(number);
    }
}

fn custom(number: u64) -> NewEvent {
    NewEvent::new(Custom { kind: "t".into(), data: Json::from(json!(number)) })
}

fn patch(change: Change, number: u64) -> StatePatch {
    let name = |key: u8| format!("k{key}");
    let patch = StatePatch::new();
    match change {
        Change::Set { key } => patch.set([name(key)], json!(number)),
        Change::SetInside { key, inner } => patch.set([name(key), name(inner)], json!(number)),
        Change::Remove { key } => patch.remove([name(key)]),
        Change::Merge { key, inner } => {
            patch.merge([] as [&str; 0], json!({ name(key): { name(inner): number } }))
        }
    }
}

pub(super) fn assert_legal(messages: &[Message]) {
    // The conversions repair too, so the list is looked at before them.
    assert_eq!(legalize(messages.to_vec()).1, []);
    assert_sendable(messages);
}
