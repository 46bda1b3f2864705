//! Operations that branch off the past: forks and rewinds.

use sessionlog::{Point, RunStatus};

use super::ops::SESSIONS;
use super::plain::{Commit, Fact, session_id};
use super::run::World;

impl World<'_> {
    /// Forks a session anywhere, under the first number that is free.
    pub(super) fn fork(&mut self, number: u8, at: u8) {
        // A fork does not begin where another session ended.
        let is_free = |free: &u8| !self.model.streams.contains_key(free);
        let Some(free) = (0..SESSIONS).find(is_free) else { return };
        let Some((seq, interrupted)) = self.place(number, at) else { return };
        let owner = self.model.session(number).and_then(|session| session.owner);
        let forked = Fact::Forked { parent: number, seq, owner };
        let facts = std::iter::once(forked).chain(interrupted).collect();
        let Some(session) = self.session(number) else { return };
        let fork = session.fork(Point::seq(seq)).id(session_id(free)).open();
        let commit = Commit { session: free, facts, ids: Vec::new() };
        self.settle(commit, fork.map(|_| None));
        self.check_end(free);
    }

    /// Goes back anywhere, also into what an earlier rewind left behind.
    pub(super) fn rewind(&mut self, number: u8, to: u8) {
        let Some((seq, interrupted)) = self.place(number, to) else { return };
        let facts = std::iter::once(Fact::WentBack(seq)).chain(interrupted).collect();
        self.write(number, facts, |session| session.rewind(Point::seq(seq)));
    }

    /// A seq of a session, and the ends of the runs that are under way there.
    fn place(&self, number: u8, part: u8) -> Option<(u64, Vec<Fact>)> {
        let session = self.model.session(number).filter(|session| session.seq() > 0)?;
        let seq = session.seq_at(part);
        let end = |run| Fact::Finished { run, status: RunStatus::Interrupted, tokens: 0 };
        Some((seq, session.running_at(seq).into_iter().map(end).collect()))
    }
}
