//! The end of a session, where the next event goes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{BodyForm, Frame, Link};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::id::Digest;
use crate::index::{Entry, Lineage, NumberedRun, RunRecord, Timeline};
use crate::limits::TAIL_CACHE_SESSIONS_MAX;
use crate::log::{Log, Order, PageLimit, key};

/// What must be known of a session to append to it.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
    pub(crate) session: Digest,
    pub(crate) seq: u64,
    pub(crate) link: Link,
    pub(crate) recorded_at_us: i64,
    /// `None` for a session that does not exist.
    pub(crate) entry: Option<Arc<Entry>>,
    /// How many top-level runs there are.
    pub(crate) runs: u64,
    /// Runs that this process has met and that have not ended. One that ends stays until its
    /// group is in the log, where a later append of the same group would look for it.
    pub(crate) open_runs: HashMap<Digest, RunRecord>,
    /// What the log shows of the session counts up to this seq. It is behind `seq` while the
    /// events of a group are not in the log yet, or were preceded by a rewind that is not.
    pub(crate) settled_seq: u64,
}

impl Tail {
    pub(crate) fn load(log: &dyn Log, session: Digest) -> Result<Self> {
        let entry = Entry::load(log, session)?.map(Arc::new);
        let range = key::within(key::Class::Frame, session, Order::Descending);
        let last = log.page(&range, PageLimit::records(1))?;
        let (seq, link, recorded_at_us) = match last.first() {
            Some(record) => {
                let (_, seq) = key::parse_seq(&record.key)?;
                let frame = Frame::open(&record.value, session, seq)?;
                // So that no seq of the session ever overflows.
                if seq >= u64::MAX / 2 {
                    return Err(Error::corrupt("an event has a seq that cannot be"));
                }
                if entry.is_none() && !is_end(&frame) {
                    return Err(Error::corrupt("it has events, and the catalog does not list it"));
                }
                (seq, frame.link, frame.header.recorded_at_us)
            }
            None => (0, Link::START, i64::MIN),
        };
        let open_runs = HashMap::new();
        let mut tail = Self {
            session,
            seq,
            link,
            recorded_at_us,
            entry,
            runs: 0,
            open_runs,
            settled_seq: seq,
        };
        // What a deletion left of runs is not of the session that begins behind it.
        if tail.entry.is_some() {
            tail.runs = tail.count_runs(log)?;
        }
        Ok(tail)
    }

    /// Where the session's events lie.
    pub(crate) fn lineage(&self) -> Lineage {
        let lineage = self.entry.as_ref().map(|entry| entry.lineage(self.session));
        lineage.unwrap_or_else(|| Lineage::new(self.session))
    }

    /// How many top-level runs the log shows.
    pub(crate) fn count_runs(&self, log: &dyn Log) -> Result<u64> {
        let lineage = self.lineage();
        let mut timeline = Timeline::at(log, &lineage, self.settled_seq);
        let last = NumberedRun::last(log, &lineage, &mut timeline)?;
        Ok(last.map_or(0, |run| run.number))
    }

    /// What is known of a run, if it counts.
    pub(crate) fn run(&self, log: &dyn Log, run: Digest) -> Result<Option<RunRecord>> {
        if let Some(record) = self.open_runs.get(&run) {
            return Ok(Some(record.clone()));
        }
        let lineage = self.lineage();
        let mut timeline = Timeline::at(log, &lineage, self.settled_seq);
        RunRecord::load(log, &lineage, &mut timeline, run)
    }

    /// Notes that all of it is in the log now, and lets go of the runs that ended.
    pub(crate) fn settle(&mut self) {
        self.settled_seq = self.seq;
        self.open_runs.retain(|_, run| !run.status.is_terminal());
    }
}

/// Whether a stream may end with it that no session lists: one that was deleted does, also where
/// something of it was erased since, and so does what is taken over of one that was.
fn is_end(frame: &Frame<'_>) -> bool {
    let kinds = [EventKind::Deleted as u16, EventKind::Erased as u16];
    kinds.contains(&frame.header.kind) || frame.form == BodyForm::Removed
}

/// Tails at hand, in two generations: when the young one is full it becomes the old one, and
/// what nobody asked for since is let go.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    young: HashMap<Digest, Tail>,
    old: HashMap<Digest, Tail>,
}

impl Tails {
    pub(crate) fn get(&mut self, log: &dyn Log, session: Digest) -> Result<&mut Tail> {
        if self.young.len() >= TAIL_CACHE_SESSIONS_MAX / 2 && !self.young.contains_key(&session) {
            self.old = std::mem::take(&mut self.young);
        }
        let tail = match self.young.remove(&session).or_else(|| self.old.remove(&session)) {
            Some(tail) => tail,
            None => Tail::load(log, session)?,
        };
        Ok(self.young.entry(session).or_insert(tail))
    }

    pub(crate) fn settle(&mut self, session: Digest) {
        let tail = self.young.get_mut(&session);
        if let Some(tail) = tail.or_else(|| self.old.get_mut(&session)) {
            tail.settle();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
