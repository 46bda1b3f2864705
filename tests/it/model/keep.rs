//! Operations on what is kept: policies, compaction, erasure, deletion.

use std::collections::BTreeSet;

use sessionlog::{
    Digest, Error, ErrorKind, EventBody, NewEvent, Point, PolicySet, Result, Session,
};

use super::left::{self, Keep, Left};
use super::ops::SESSIONS;
use super::plain::{self, Commit, Fact, session_id};
use super::run::{Armed, World};

/// Where a frame says which form its body has, and that it is gone; its kind; the kinds of
/// what says that something went.
const FORM: (usize, u8) = (200, 2);
const KIND: usize = 6;
const RECEIPTS: [u8; 2] = [5, 50];
/// What says that something went from what a fork keeps.
const COMPACTED: u8 = 49;

impl World<'_> {
    pub(super) fn set_policy(&mut self, number: u8, run: Option<u8>, keep: Keep) {
        let run = run.map(|run| self.run_of(number, run));
        let facts = vec![Fact::Policy { run: run.clone(), keep }];
        self.write(number, facts, |session| match run {
            None => session.set_policy(keep.policy()),
            Some(run) => {
                let set = PolicySet { policy: keep.policy() };
                session.append([NewEvent::in_run(run, set)])
            }
        });
    }

    /// Compacts a session, or all.
    pub(super) fn compact(&mut self, number: Option<u8>, asked: Keep) {
        let all: BTreeSet<u8> = match number {
            Some(number) if self.model.session(number).is_none() => return,
            Some(number) => [number].into(),
            None => self.model.sessions.keys().copied().collect(),
        };
        let planned: Vec<_> =
            all.iter().map(|number| (*number, self.model.compacts(*number, &all, asked))).collect();
        let compaction = match number {
            Some(number) => self.admin(number).unwrap().compaction(),
            None => self.engine().compaction(),
        };
        let compaction = compaction.policy(asked.policy());
        let result = compaction.run();
        for (number, planned) in &planned {
            let mut found = self.appended(*number);
            let is_all_gone = planned.is_empty() || !found.is_empty() || result.is_err();
            assert!(is_all_gone, "{planned:?} of session {number} should have gone");
            let last = found.pop();
            for (at, body) in
                found.into_iter().map(|body| (false, body)).chain(last.map(|body| (true, body)))
            {
                assert!(matches!(body, EventBody::Compacted(_)), "{body:?}");
                let must = if at && result.is_ok() { planned.clone() } else { Vec::new() };
                self.note(*number, Fact::Compacted { must, may: planned.clone() });
            }
        }
        match result {
            Ok(_) => {
                for plan in compaction.plan().unwrap() {
                    assert!(plan.is_empty() || plan.kept_for_forks > 0, "{plan:?}");
                    assert_eq!(plan.events, 0, "done again, it would do more");
                }
            }
            Err(error) => {
                let may = |(number, may): (u8, Vec<u64>)| {
                    fact_of(number, Fact::Compacted { must: Vec::new(), may })
                };
                let doubtful = planned.into_iter().map(may).collect();
                self.fail(&error, doubtful);
            }
        }
        for number in &all {
            self.look_at_words(*number);
            self.check_end(*number);
        }
    }

    pub(super) fn erase_message(&mut self, number: u8, message: u8) {
        let Some(model) = self.model.session(number) else { return };
        let is_message = |fact: &Fact| matches!(fact, Fact::Message { .. });
        let messages = (1..).zip(&model.facts).filter(|(_, fact)| is_message(fact));
        let messages: Vec<u64> = messages.map(|(seq, _)| seq).collect();
        let Some(at) = usize::from(message).checked_rem(messages.len()) else { return };
        let wanted = messages[at];
        let holder = model.holder(wanted);
        self.erase(number, (holder, wanted), &|seq, _| seq == wanted, |session| {
            session.erase_message(wanted, Some("asked")).map(drop)
        });
    }

    pub(super) fn erase_run(&mut self, number: u8, run: u8) {
        let run = self.run_of(number, run);
        let Some(model) = self.model.session(number) else { return };
        let is_start = |fact: &Fact| matches!(fact, Fact::Started { run: it, .. } if *it == run);
        let start = (1..).zip(&model.facts).filter(|(_, fact)| is_start(fact)).last();
        let Some((start, _)) = start else { return };
        let holder = model.holder(start);
        self.erase(number, (holder, start), &|_, fact| fact.run() == Some(&run), |session| {
            session.erase_run(&run, Some("asked")).map(drop)
        });
    }

    fn erase(
        &mut self,
        number: u8,
        (holder, wanted): (u8, u64),
        is_asked: &dyn Fn(u64, &Fact) -> bool,
        call: impl FnOnce(&Session) -> Result<()>,
    ) {
        let all = self.model.erases((holder, wanted), is_asked);
        let session = self.model.session_with(holder, wanted).unwrap();
        let is_left = all.first().is_some_and(|(_, seqs)| {
            seqs.iter().any(|seq| {
                session.facts[*seq as usize - 1].words().is_some()
                    && !self.model.left.contains_key(&(holder, *seq))
            })
        });
        let result = call(&self.admin(number).unwrap());
        for (number, seqs) in &all {
            for body in self.appended(*number) {
                assert!(matches!(body, EventBody::Erased(_)), "{body:?}");
                self.note(*number, Fact::Erased(seqs.clone()));
            }
        }
        match result {
            Ok(()) => assert!(is_left || !all.is_empty(), "nothing was there to be erased"),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                let is_nowhere = all.first().is_none_or(|(_, seqs)| seqs.is_empty());
                assert!(!is_left || is_nowhere, "{error}");
            }
            Err(error) => {
                // Whoever shares it comes first, then who holds it.
                let fact = |(number, seqs)| fact_of(number, Fact::Erased(seqs));
                let doubtful = all.into_iter().map(fact).collect();
                self.fail(&error, doubtful);
            }
        }
        (0..SESSIONS).for_each(|number| {
            self.look_at_words(number);
            self.check_end(number);
        });
    }

    pub(super) fn delete(&mut self, number: u8) {
        if self.model.session(number).is_none() {
            return;
        }
        let result = self.admin(number).unwrap().delete(Some("asked"));
        let is_there = self.admin(number).is_ok();
        match result {
            Ok(receipt) => {
                assert!(!is_there && receipt.seq == self.seq(number) + 1);
                self.note(number, Fact::Deleted);
                self.check_purged();
            }
            Err(error) => {
                // The event is there, and what should go with it is not all gone.
                let is_told = self.engine().receipts().unwrap().iter().any(|receipt| {
                    receipt.session == Digest::of_session(&session_id(number))
                        && receipt.event.seq == self.seq(number) + 1
                });
                let mut doubtful = Vec::new();
                if is_told && matches!(self.armed, Some(Armed::FullDisk)) {
                    self.note(number, Fact::Deleted);
                } else {
                    doubtful.push(fact_of(number, Fact::Deleted));
                }
                self.fail(&error, doubtful);
            }
        }
    }

    // ---- what they share

    /// Adds an event that is there.
    fn note(&mut self, number: u8, fact: Fact) {
        assert!(!self.is_poisoned, "written after a failed write");
        let commit = fact_of(number, fact);
        self.learn(commit);
    }

    /// A write failed that would have added one of these.
    fn fail(&mut self, error: &Error, doubtful: Vec<Commit>) {
        match error.kind() {
            ErrorKind::Poisoned { .. } => assert!(self.is_poisoned, "{error}"),
            ErrorKind::Io { .. } => {
                assert!(self.armed.is_some() && !self.is_poisoned, "{error}");
                self.is_poisoned = true;
                if let Some(Armed::Fault(_)) = self.armed.take() {
                    self.one_of = doubtful;
                }
                // The log shows what it was given, so nobody knows what is there until it is
                // opened again.
                if self.model.commits.len().is_multiple_of(2) {
                    self.lose_power();
                } else {
                    self.reopen(None);
                }
            }
            _ => assert!(self.armed.is_some(), "{error}"),
        }
    }

    /// The bodies behind what the model knows of a session.
    fn appended(&self, number: u8) -> Vec<EventBody> {
        let Ok(session) = self.admin(number) else {
            // Of one that was deleted, there are receipts.
            let (stream, seq) = (Digest::of_session(&session_id(number)), self.seq(number));
            let mut receipts = self.engine().receipts().unwrap();
            receipts.retain(|receipt| receipt.session == stream && receipt.event.seq > seq);
            return receipts.into_iter().map(|receipt| receipt.event.body).collect();
        };
        let events = session.events_from(self.seq(number) + 1, Point::Head).unwrap();
        events.map(|event| event.unwrap().body).collect()
    }

    /// Compares the words of a session with what should be left of them, and learns which of
    /// those are left that might be.
    pub(super) fn look_at_words(&mut self, number: u8) {
        let Some(model) = self.model.session(number) else { return };
        // What a failed write changed may be seen, and may not be there.
        if self.is_poisoned {
            return;
        }
        let session = self.admin(number).unwrap();
        let mut learned = Vec::new();
        for event in session.events(Point::Head).unwrap() {
            let event = event.unwrap();
            let Some(wanted) = model.facts[event.seq as usize - 1].words() else { continue };
            let place = (model.holder(event.seq), event.seq);
            let found = plain::words(&event);
            let left = self.model.left.get(&place).copied().unwrap_or_default();
            match left {
                Left::All => assert_eq!(found.as_deref(), Some(wanted), "{place:?}"),
                Left::Nothing => assert_eq!(found, None, "{place:?}"),
                Left::Perhaps if found.is_some() => learned.push((place, Left::All)),
                Left::Perhaps => learned.push((place, Left::Nothing)),
            }
        }
        self.model.left.extend(learned);
        self.model.left.retain(|_, left| *left != Left::All);
    }

    /// What no session holds any more is gone.
    pub(super) fn check_purged(&self) {
        let Some(log) = self.backend.log() else { return };
        for (number, (first, last)) in &self.model.streams {
            let begins = self.model.session(*number).map_or(last + 1, |session| session.first_seq);
            let shared = self.model.sessions.iter().filter(|(it, _)| *it != number);
            let shared = shared.flat_map(|(_, session)| &session.streams);
            let kept = shared.filter(|(it, _)| it == number).map(|(_, last)| *last).max();
            for seq in (*first).max(kept.unwrap_or(0) + 1)..begins {
                let stream = Digest::of_session(&session_id(*number)).to_bytes();
                let key = [b"f".as_slice(), &stream, &seq.to_be_bytes()].concat();
                let frame = log.get(&key).unwrap().unwrap();
                let is_gone = frame[FORM.0] == FORM.1 || RECEIPTS.contains(&frame[KIND]);
                let is_gone = is_gone || (kept.is_some() && frame[KIND] == COMPACTED);
                assert!(is_gone, "session {number}: seq {seq} was deleted and is there");
            }
        }
    }

    /// Whether the end of a run may be preceded by an event that says what went with it.
    pub(super) fn may_settle(&self, commit: &Commit) -> bool {
        let session = self.model.session(commit.session);
        session.is_some_and(|session| left::may_settle(session, &commit.facts))
    }

    /// The same commit with that event.
    pub(super) fn settled(&self, commit: &Commit) -> Commit {
        self.model.settled(commit)
    }
}

fn fact_of(session: u8, fact: Fact) -> Commit {
    Commit { session, facts: vec![fact], ids: Vec::new() }
}
