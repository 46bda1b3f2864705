//! Places what makes a session branch: the first event of a fork, and a rewind.

use super::append::Append;
use super::place::{Commit, Site};
use crate::codec::{Frame, Link};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{ForkedFrom, RewoundTo, RunStatus};
use crate::id::Digest;
use crate::index::{Entry, Lineage};
use crate::log::{Order, Scan, key};
use crate::projection::{ForkPoint, SessionView};
use crate::snapshot;

impl Commit {
    /// Lets the commit begin behind the event that a session is forked at.
    pub(super) fn begin_at(
        &mut self,
        site: &Site<'_>,
        append: &Append,
        forked: &ForkedFrom,
    ) -> Result<()> {
        if self.tail.seq > 0 && self.tail.entry.is_none() {
            let reason = "a session of this id was deleted: fork under another";
            return Err(Error::invalid(reason));
        }
        if self.tail.seq > 0 {
            return Err(Error::new(ErrorKind::Conflict { expected: 0, actual: self.tail.seq }));
        }
        if Digest::of_session(&forked.session_id) != append.session {
            return Err(Error::invalid("a fork begins under its own id"));
        }
        let (parent, lineage) = parent(site, forked)?;
        append.access.check(parent.user_id.as_deref())?;
        let is_restored = append.events.first().is_some_and(|event| event.header.is_some());
        if !is_restored && forked.user_id != parent.user_id {
            return Err(Error::invalid("a fork belongs to whom its parent belongs"));
        }
        if forked.seq < lineage.first_seq() {
            return Err(Error::not_found("point"));
        }
        let there = place_of(site, &lineage, forked.seq)?;
        let (link, recorded_at_us) = there.ok_or_else(|| Error::not_found("point"))?;
        if link != Link(forked.link) {
            return Err(Error::invalid("the event it is forked at has another link"));
        }
        self.tail.seq = forked.seq;
        self.tail.settled_seq = forked.seq;
        self.tail.link = link;
        self.tail.recorded_at_us = recorded_at_us;
        self.first_seq = forked.seq + 1;
        Ok(())
    }

    /// Lists the fork with what it takes over.
    pub(super) fn fork(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        seq: u64,
        forked: &ForkedFrom,
    ) -> Result<()> {
        if seq != self.first_seq || self.tail.entry.is_some() {
            return Err(Error::invalid("a session is forked by its first event"));
        }
        let (parent, lineage) = parent(site, forked)?;
        let view = SessionView {
            session_id: forked.session_id.clone(),
            user_id: forked.user_id.clone(),
            forked_from: Some(ForkPoint { session_id: parent.session_id.clone(), seq: forked.seq }),
            ..snapshot::view_at(site.log, &lineage, forked.seq)?
        };
        let ancestors = lineage.fork_at(forked.seq)?;
        let mut entry =
            Entry::forked(&view, ancestors, lineage.first_seq(), self.tail.recorded_at_us);
        entry.has_rewinds = lineage.has_rewinds();
        entry.first_seq = lineage.first_seq();
        entry.has_run_policies = parent.has_run_policies;
        // Their ends follow in the same commit, but for a dump that was cut there.
        self.open_runs(session, &view);
        let parent = Digest::of_session(&forked.parent_session_id);
        self.batch.insert(key::fork(parent, forked.seq, session), Vec::new());
        for ancestor in &entry.ancestors {
            let sharer = key::sharer(ancestor.stream, ancestor.last_seq, session);
            self.batch.insert(sharer, Vec::new());
        }
        self.list(site, session, entry)?;
        self.tail.runs = self.tail.count_runs(&**site.log)?;
        self.due.push(seq);
        Ok(())
    }

    /// Goes back: what the session knows of its runs and its name is what it was then.
    pub(super) fn rewind(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        seq: u64,
        rewound: &RewoundTo,
    ) -> Result<()> {
        let lineage = self.tail.lineage();
        let to = rewound.seq;
        if to < lineage.first_seq() || to > self.tail.settled_seq.min(seq - 1) {
            return Err(Error::not_found("point"));
        }
        let there = place_of(site, &lineage, to)?;
        let (link, _) = there.ok_or_else(|| Error::corrupt("the event is missing"))?;
        if link != Link(rewound.link) {
            return Err(Error::invalid("the event it goes back to has another link"));
        }
        let owner = self.tail.entry.as_ref().and_then(|entry| entry.user_id.clone());
        if rewound.user_id != owner {
            return Err(Error::invalid("a rewind leaves the session to whom it belongs"));
        }
        let view = snapshot::view_at(site.log, &lineage, to)?;
        self.reopen_runs(site, session, &view)?;
        self.batch.insert(key::rewind(session, seq), to.to_le_bytes().to_vec());
        self.change_entry(session, |entry| {
            entry.name.clone_from(&view.name);
            entry.policy = view.policy;
            entry.has_rewinds = true;
        });
        self.tail.settled_seq = to;
        self.tail.runs = view.run_count;
        self.due.push(seq);
        Ok(())
    }

    /// Only the runs that were under way then are under way now.
    fn reopen_runs(&mut self, site: &Site<'_>, session: Digest, view: &SessionView) -> Result<()> {
        for (run, _) in self.tail.open_runs.drain() {
            self.batch.remove(key::open_run(session, run));
        }
        let open = key::within(key::Class::OpenRun, session, Order::Ascending);
        for record in Scan::new(&**site.log, open) {
            self.batch.remove(record?.key);
        }
        self.open_runs(session, view);
        Ok(())
    }

    /// Notes which runs are under way in a view.
    fn open_runs(&mut self, session: Digest, view: &SessionView) {
        for run in view.open_runs.values().filter(|run| run.status == RunStatus::Running) {
            let run = Digest::of_run(&run.run_id);
            self.batch.replace(key::open_run(session, run), Vec::new());
        }
    }
}

/// The link of an event that is in the log, and when it was recorded.
fn place_of(site: &Site<'_>, lineage: &Lineage, seq: u64) -> Result<Option<(Link, i64)>> {
    let holder = lineage.holder(seq);
    let Some(bytes) = site.log.get(&key::frame(holder, seq))? else { return Ok(None) };
    let frame = Frame::open(&bytes, holder, seq)?;
    Ok(Some((frame.link, frame.header.recorded_at_us)))
}

/// The session that another is forked from, and where its events lie.
fn parent(site: &Site<'_>, forked: &ForkedFrom) -> Result<(Entry, Lineage)> {
    let session = Digest::of_session(&forked.parent_session_id);
    let entry = Entry::load(&**site.log, session)?;
    let entry = entry.filter(|_| !site.deleted.contains(&session)).ok_or_else(|| {
        Error::not_found("session").context(format!("session {}", forked.parent_session_id))
    })?;
    let lineage = entry.lineage(session);
    Ok((entry, lineage))
}
