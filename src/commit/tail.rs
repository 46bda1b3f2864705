//! The end of a session, where the next event goes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{Frame, Link};
use crate::error::Result;
use crate::id::Digest;
use crate::index::{Entry, RunRecord};
use crate::limits::TAIL_CACHE_SESSIONS_MAX;
use crate::log::{Log, Order, PageLimit, key};

/// What must be known of a session to append to it.
#[derive(Debug, Clone)]
pub(crate) struct Tail {
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
}

impl Tail {
    pub(crate) fn load(log: &dyn Log, session: Digest) -> Result<Self> {
        let range = key::within(key::Class::Frame, session, Order::Descending);
        let last = log.page(&range, PageLimit::records(1))?;
        let (seq, link, recorded_at_us) = match last.first() {
            Some(record) => {
                let (_, seq) = key::parse_seq(&record.key)?;
                let frame = Frame::open(&record.value, session, seq)?;
                (seq, frame.link, frame.header.recorded_at_us)
            }
            None => (0, Link::START, i64::MIN),
        };
        Ok(Self {
            seq,
            link,
            recorded_at_us,
            entry: Entry::load(log, session)?.map(Arc::new),
            runs: RunRecord::count(log, session)?,
            open_runs: HashMap::new(),
        })
    }

    /// Lets go of the runs that ended in a group that is in the log now.
    pub(crate) fn settle(&mut self) {
        self.open_runs.retain(|_, run| !run.status.is_terminal());
    }
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
        if let Some(tail) = self.young.get_mut(&session) {
            tail.settle();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}
