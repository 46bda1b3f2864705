//! What an operation does to the whole database: it ends, loses power, opens again, or fails; and
//! what must be there then.

use std::collections::{BTreeMap, BTreeSet};

use sessionlog::log::{Fault, FaultyLog};
use sessionlog::{Digest, Durability, ErrorKind, Event, EventId, Point, Result, Ticket};

use super::ops::SESSIONS;
use super::plain::{self, Commit, Model};
use super::run::{Armed, World, assert_legal};
use super::view::View;

impl World<'_> {
    // ---- the end of a process, or of the power

    /// Ends the process and starts another, which may meet a fault while it opens the database.
    pub(super) fn reopen(&mut self, fault: Option<Fault>) {
        self.engine = None;
        self.backend.close();
        self.open(fault, false);
        // What a process leaves when it ends, the operating system keeps.
        self.durable = self.model.commits.len();
    }

    /// Cuts the power while appends are on their way.
    pub(super) fn crash(&mut self, number: u8, in_flight: u8) {
        let Some(session) = self.session(number) else { return };
        let mut waiting = Vec::new();
        for _ in 0..in_flight {
            let (event, fact) = self.custom();
            let id = EventId::generate();
            let commit = Commit { session: number, facts: vec![fact], ids: vec![id] };
            waiting.push((commit, session.append([event.with_id(id)]).unwrap()));
        }
        self.backend.crash();
        for (commit, ticket) in waiting {
            match ticket.wait() {
                Ok(_) => {
                    assert!(!self.is_poisoned, "written after a failed write");
                    self.model.commit(commit);
                    if self.backend.durability() == Durability::PowerLoss {
                        self.durable = self.model.commits.len();
                    }
                }
                // Behind a failed write nothing is written, so this cannot be there.
                Err(_) if self.is_poisoned => self.lose(&commit),
                Err(_) => self.doubtful.push(commit),
            }
        }
        drop(session);
        self.engine = None;
        self.open(None, true);
    }

    /// Loses power with nothing on its way.
    pub(super) fn lose_power(&mut self) {
        self.engine = None;
        self.backend.crash();
        self.open(None, true);
    }

    fn open(&mut self, fault: Option<Fault>, is_crash: bool) {
        self.faulty(|log| {
            log.be_good();
            if let Some(fault) = fault {
                log.fail_next(fault);
            }
        });
        let mut opened = self.backend.open();
        self.faulty(FaultyLog::be_good);
        if opened.is_err() && fault.is_some() {
            if is_crash {
                self.backend.crash();
            } else {
                self.backend.close();
            }
            opened = self.backend.open();
        }
        self.engine = Some(opened.unwrap());
        (self.is_poisoned, self.armed) = (false, None);
        self.accept_what_survived(is_crash);
    }

    /// What was to survive is there; of the rest, a beginning, in whole commits.
    fn accept_what_survived(&mut self, is_crash: bool) {
        let found = self.read_all();
        let known = self.model.commits.len();
        let least = if is_crash { self.durable } else { known };
        let mut commits = std::mem::take(&mut self.model.commits);
        commits.append(&mut self.doubtful);
        let one_of = std::mem::take(&mut self.one_of);
        let with_one = one_of.into_iter().map(|one| (commits.len(), Some(one)));
        let without = (least..=commits.len()).rev().map(|count| (count, None));
        let survived = with_one.chain(without).find_map(|(count, one)| {
            let mut model = Model::of(&commits[..count]);
            if one.is_some_and(|one| !model.commit(one)) {
                return None;
            }
            model.interrupt_runs(&found);
            let is_it = model.sketches() == found && self.are_receipts(&model);
            is_it.then_some((count, model))
        });
        assert!(
            survived.is_some(),
            "at least {least} of {known} commits should be there\nwanted: {:?}\nfound: {found:?}",
            Model::of(&commits[..known]).sketches()
        );
        let (count, model) = survived.unwrap();
        for commit in &commits[count..] {
            self.lose(commit);
        }
        self.model = model;
        self.durable = match self.backend.durability() {
            Durability::PowerLoss => self.model.commits.len(),
            _ => count,
        };
        self.check_ids();
        self.check_purged();
        (0..SESSIONS).for_each(|number| self.look_at_words(number));
    }

    /// Whether the receipts are those that should be there.
    fn are_receipts(&self, model: &Model) -> bool {
        let digest = |number: u8| Digest::of_session(&plain::session_id(number));
        let wanted = model.receipts.iter().map(|(number, seq)| (digest(*number), *seq));
        let found = self.engine().receipts().unwrap().into_iter();
        let found: BTreeSet<_> = found.map(|it| (it.session, it.event.seq)).collect();
        wanted.collect::<BTreeSet<_>>() == found
    }

    /// What every session holds.
    fn read_all(&self) -> BTreeMap<u8, Vec<String>> {
        let mut found = BTreeMap::new();
        for number in 0..SESSIONS {
            match self.admin(number) {
                Ok(session) => {
                    let events = session.events(Point::Head).unwrap();
                    let sketch = |event: Result<Event>| {
                        let event = event.unwrap();
                        format!("{} {}", event.seq, plain::sketch(&event))
                    };
                    let sketches = events.map(sketch).collect();
                    found.insert(number, sketches);
                }
                Err(error) => assert!(matches!(error.kind(), ErrorKind::NotFound { .. })),
            }
        }
        found
    }

    fn check_ids(&self) {
        for (number, session) in &self.model.sessions {
            let handle = self.admin(*number).unwrap();
            for (id, seq) in session.given.iter().rev().take(5) {
                assert_eq!(handle.at(Point::Event(*id)).unwrap().seq(), *seq);
            }
        }
    }

    // ---- faults of the disk

    pub(super) fn arm(&mut self, armed: Armed) {
        if self.backend.faulty().is_none() || self.is_poisoned || self.armed.is_some() {
            return;
        }
        self.armed = Some(armed);
        if let Armed::Fault(fault) = armed {
            self.faulty(|log| log.fail_next(fault));
        }
    }

    /// A read that fails is an error, and no harm: the right answer comes the next time.
    pub(super) fn fail_read(&mut self, number: u8, after: u8) {
        let Some(session) = self.session(number) else { return };
        if self.backend.faulty().is_none() || self.is_poisoned || self.armed.is_some() {
            return;
        }
        let (event, fact) = self.custom();
        let id = EventId::generate();
        self.faulty(|log| log.fail_read_after(u64::from(after)));
        let view = session.view();
        let result = session.append([event.with_id(id)]).and_then(Ticket::wait);
        // A read by the commit thread may still be due: it writes a snapshot after it answers.
        self.faulty(FaultyLog::be_good);
        if let Ok(view) = view {
            let model = self.model.session(number).unwrap();
            assert_eq!(View::of(&view), model.view_at(model.seq()));
        }
        match result {
            Ok(receipt) => {
                let commit = Commit { session: number, facts: vec![fact], ids: vec![id] };
                self.settle(commit, Ok(Some(receipt)));
            }
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Io { .. }), "{error}"),
        }
        self.check_end(number);
    }

    // ---- everything

    /// Compares all that is there with all that should be.
    pub(super) fn check(&mut self) {
        assert_eq!(self.read_all(), self.model.sketches());
        assert!(self.are_receipts(&self.model));
        (0..SESSIONS).for_each(|number| self.look_at_words(number));
        for (number, model) in &self.model.sessions {
            let session = self.admin(*number).unwrap();
            for (id, seq) in &model.given {
                assert_eq!(session.at(Point::Event(*id)).unwrap().seq(), *seq);
            }
            let mut steps = session.replay().unwrap();
            let first = model.first_seq;
            for seq in (first + 36..=model.seq()).step_by(37).chain([model.seq()]) {
                let at = session.at(Point::seq(seq)).unwrap();
                let step = steps.find(|step| step.as_ref().unwrap().event.seq == seq);
                // In what a fork shares, the events name its ancestor.
                if let Some(step) = step
                    && seq > model.shared
                {
                    assert_eq!(at.view(), &*step.unwrap().view);
                }
                assert_eq!(View::of(at.view()), model.view_at(seq));
            }
            assert_legal(&session.at(Point::Head).unwrap().messages().unwrap());
        }
        (0..4).for_each(|owner| self.list(owner));
        let report = self.engine().verify().unwrap();
        assert!(report.ok, "{:?}", report.problems);
        let total: u64 = self.model.streams.values().map(|(first, last)| last + 1 - first).sum();
        assert_eq!(report.events, total);
    }
}
