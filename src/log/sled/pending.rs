//! What was appended and sled does not hold yet: a queue for the feeder, and the newest operation
//! on each key for readers.
//!
//! An append is durable once the journal is, so nobody waits for sled. Until sled has taken a
//! batch in, readers find it here: they look here first and in sled second, and a batch leaves
//! only after sled has it. So a reader misses nothing that an append returned for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::layers::Said;
use crate::error::{Error, Result};
use crate::log::{Op, Order, PageLimit, Range, Record};

/// Bytes of keys and values that may wait for sled, one batch beyond it. Less than the journal
/// holds, so that a journal that is full finds little that it has to wait for.
const PENDING_BYTES_MAX: usize = 1024 * 1024;
/// Operations that may wait for sled, one batch beyond it.
const PENDING_OPS_MAX: usize = 16 * 1024;

/// How long sled may be spared what comes in, so that it does not take a core from the writer who
/// was just answered and goes on. Readers see it anyway.
const GATHER_TIME: Duration = Duration::from_millis(5);
/// Bytes that are worth handing on at once.
const GATHER_BYTES: usize = 64 * 1024;

/// What the feeder does, in order.
#[derive(Debug, Clone)]
pub(super) enum Task {
    /// Hands a batch to sled.
    Apply(Arc<Vec<Op>>),
    /// Syncs sled's file.
    Sync,
}

/// The queue, and what readers see of it.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    /// There is something to do, or nothing will come any more.
    work: Condvar,
    /// A task is done, or none will be.
    progress: Condvar,
    /// Whether readers have to look here at all. Set before an append returns, taken back only
    /// after sled has everything.
    has_news: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// The front one is being done.
    tasks: VecDeque<Task>,
    /// By key, the newest operation that waits.
    newest: BTreeMap<Vec<u8>, Newest>,
    bytes: usize,
    ops: usize,
    /// Whether sled has everything, and all of it on disk.
    is_synced: bool,
    is_closed: bool,
    /// Threads that wait for progress. Telling them costs a call into the system.
    waiting: usize,
    /// Why no task will be done any more.
    failure: Option<Error>,
}

/// An operation, by its place in its batch.
#[derive(Debug, Clone)]
pub(super) struct Newest {
    batch: Arc<Vec<Op>>,
    index: usize,
}

impl Newest {
    /// The value; `None` where the key is removed.
    pub(super) fn value(&self) -> Option<&Vec<u8>> {
        match self.batch.get(self.index) {
            Some(Op::Insert(record) | Op::Replace(record)) => Some(&record.value),
            Some(Op::Remove(_)) | None => None,
        }
    }
}

impl Said for (Vec<u8>, Newest) {
    fn key(&self) -> &[u8] {
        &self.0
    }

    fn into_record(self) -> Option<Record> {
        let (key, newest) = self;
        newest.value().map(|value| Record { key, value: value.clone() })
    }
}

impl Task {
    fn batch(&self) -> Option<&Arc<Vec<Op>>> {
        match self {
            Self::Apply(batch) => Some(batch),
            Self::Sync => None,
        }
    }
}

impl Pending {
    // Nothing panics while the lock is held, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for another batch.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        let is_full =
            |state: &State| state.bytes >= PENDING_BYTES_MAX || state.ops >= PENDING_OPS_MAX;
        self.wait_while(is_full).map(drop)
    }

    /// Waits until every task is done.
    pub(super) fn wait_until_done(&self) -> Result<()> {
        self.wait_while(|state| !state.tasks.is_empty()).map(drop)
    }

    fn wait_while(&self, is_early: impl Fn(&State) -> bool) -> Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if !is_early(&state) {
                return Ok(state);
            }
            state.waiting += 1;
            self.work.notify_one();
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }

    /// Whether sled has everything that was ever pushed, and all of it on disk.
    pub(super) fn is_synced(&self) -> bool {
        self.lock().is_synced
    }

    /// Adds a task. Once this returns, every reader sees what its batch does.
    pub(super) fn push(&self, task: Task) {
        let mut state = self.lock();
        let was_urgent = state.is_urgent();
        if let Some(batch) = task.batch() {
            state.show(batch);
            self.has_news.store(true, Ordering::Release);
        }
        state.tasks.push_back(task);
        // Otherwise the feeder is at work or gathers, and looks again by itself.
        if state.tasks.len() == 1 || (state.is_urgent() && !was_urgent) {
            self.work.notify_one();
        }
    }

    /// The next task, which stays visible until it is finished. `None` once it was closed and
    /// everything is done. After a pause, more is waited for for a moment.
    pub(super) fn next(&self) -> Option<Task> {
        let mut state = self.lock();
        let mut was_idle = false;
        loop {
            if let Some(task) = state.tasks.front()
                && (!was_idle || state.is_urgent())
            {
                return Some(task.clone());
            }
            if !state.tasks.is_empty() {
                let gathered =
                    self.work.wait_timeout_while(state, GATHER_TIME, |state| !state.is_urgent());
                (state, _) = gathered.unwrap_or_else(PoisonError::into_inner);
                was_idle = false;
            } else if state.is_closed {
                return None;
            } else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                was_idle = true;
            }
        }
    }

    /// Takes the task that was done out of the way: sled shows what it did.
    pub(super) fn finish(&self, task: &Task, is_synced: bool) {
        let mut state = self.lock();
        state.tasks.pop_front();
        if let Some(batch) = task.batch() {
            state.hide(batch);
        }
        state.is_synced = is_synced && state.tasks.is_empty();
        if state.newest.is_empty() {
            self.has_news.store(false, Ordering::Release);
        }
        let is_awaited = state.waiting > 0;
        drop(state);
        if is_awaited {
            self.progress.notify_all();
        }
    }

    /// Says that no task will be done any more: whoever appends is told why.
    pub(super) fn fail(&self, failure: Error) {
        let mut state = self.lock();
        state.failure = Some(failure);
        self.has_news.store(true, Ordering::Release);
        self.progress.notify_all();
    }

    /// The same, where the feeder is gone and had not been told to end.
    pub(super) fn fail_if_left(&self, failure: Error) {
        let is_left = {
            let state = self.lock();
            state.failure.is_none() && !(state.is_closed && state.tasks.is_empty())
        };
        if is_left {
            self.fail(failure);
        }
    }

    /// Lets the feeder end when everything is done.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.work.notify_one();
    }

    /// What waits for a key. `None` where sled has the answer. Only its place is copied under the
    /// lock: a value may be large.
    pub(super) fn get(&self, key: &[u8]) -> Option<Newest> {
        self.news().and_then(|state| state.newest.get(key).cloned())
    }

    /// What waits for the keys of a range, as far as a page of that limit can reach.
    pub(super) fn range(&self, range: &Range, limit: PageLimit) -> Vec<(Vec<u8>, Newest)> {
        let (mut found, mut records, mut bytes) = (Vec::new(), 0, 0);
        // A range whose bounds cross makes `BTreeMap` panic.
        if range.is_empty() {
            return found;
        }
        let Some(state) = self.news() else { return found };
        let bounds =
            (range.from.as_ref().map(Vec::as_slice), range.until.as_ref().map(Vec::as_slice));
        let mut waiting = state.newest.range::<[u8], _>(bounds);
        while !limit.is_reached(records, bytes) {
            let next = match range.order {
                Order::Ascending => waiting.next(),
                Order::Descending => waiting.next_back(),
            };
            let Some((key, newest)) = next else { break };
            if let Some(value) = newest.value() {
                records += 1;
                bytes += key.len() + value.len();
            }
            found.push((key.clone(), newest.clone()));
        }
        found
    }

    /// What readers have to look at, if anything. After a failure too: what sled did not take in
    /// stays here, so that readers go on with all of it.
    fn news(&self) -> Option<MutexGuard<'_, State>> {
        self.has_news.load(Ordering::Acquire).then(|| self.lock())
    }
}

impl State {
    /// Whether it should not wait for more.
    fn is_urgent(&self) -> bool {
        self.is_closed
            || self.waiting > 0
            || self.bytes >= GATHER_BYTES
            || matches!(self.tasks.back(), Some(Task::Sync))
    }

    fn show(&mut self, batch: &Arc<Vec<Op>>) {
        for (index, op) in batch.iter().enumerate() {
            let newest = Newest { batch: Arc::clone(batch), index };
            self.newest.insert(op.key().to_vec(), newest);
            self.bytes += op.bytes();
        }
        self.ops += batch.len();
        self.is_synced = false;
    }

    /// What a later batch does to the same keys stays.
    fn hide(&mut self, batch: &Arc<Vec<Op>>) {
        for op in batch.iter() {
            let is_newest = |newest: &Newest| Arc::ptr_eq(&newest.batch, batch);
            if self.newest.get(op.key()).is_some_and(is_newest) {
                self.newest.remove(op.key());
            }
            self.bytes -= op.bytes();
        }
        self.ops -= batch.len();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::layers::{Layer, merge};
    use super::*;

    type Model = BTreeMap<Vec<u8>, Vec<u8>>;

    fn apply(model: &mut Model, ops: &[Op]) {
        for op in ops {
            match op {
                Op::Insert(record) | Op::Replace(record) => {
                    model.insert(record.key.clone(), record.value.clone());
                }
                Op::Remove(key) => {
                    model.remove(key);
                }
            }
        }
    }

    /// A page of a model, as the contract has it.
    fn page(model: &Model, range: &Range, limit: PageLimit) -> Vec<Record> {
        let mut records: Vec<Record> = model
            .range((range.from.clone(), range.until.clone()))
            .map(|(key, value)| Record { key: key.clone(), value: value.clone() })
            .collect();
        if range.order == Order::Descending {
            records.reverse();
        }
        let (mut page, mut bytes) = (Vec::new(), 0);
        for record in records {
            if limit.is_reached(page.len(), bytes) {
                break;
            }
            bytes += record.key.len() + record.value.len();
            page.push(record);
        }
        page
    }

    fn any_op() -> impl Strategy<Value = Op> {
        let record = |(key, len): (u8, usize)| Record { key: vec![key], value: vec![key; len] };
        prop_oneof![
            2 => (0..12_u8, 0..9_usize).prop_map(move |of| Op::Replace(record(of))),
            1 => (0..12_u8).prop_map(|key| Op::Remove(vec![key])),
        ]
    }

    proptest! {
        /// However much of what was pushed sled has taken in, readers see all of it.
        #[test]
        fn what_waits_is_seen_over_what_sled_has(
            batches in prop::collection::vec(prop::collection::vec(any_op(), 0..8), 0..8),
            done in 0..9_usize,
            (first, last) in (0..6_u8, 5..12_u8),
            (records, bytes) in (1..6_usize, 1..30_usize),
            is_ascending: bool,
        ) {
            let pending = Pending::default();
            let (mut whole, mut stored) = (Model::new(), Model::new());
            for batch in &batches {
                pending.push(Task::Apply(Arc::new(batch.clone())));
                apply(&mut whole, batch);
            }
            for batch in batches.iter().take(done) {
                let task = pending.next().unwrap();
                apply(&mut stored, batch);
                pending.finish(&task, false);
            }
            let order = if is_ascending { Order::Ascending } else { Order::Descending };
            let (from, until) = (vec![first], vec![last]);
            let (from, until) =
                (std::ops::Bound::Included(from), std::ops::Bound::Excluded(until));
            let range = Range { from, until, order };
            let limit = PageLimit { records, bytes };
            let waiting = pending.range(&range, limit);
            let below = Layer::new(range.clone(), |rest| Ok(page(&stored, rest, limit)));
            let merged = merge(Layer::of(waiting), below, range.order, limit);
            prop_assert_eq!(merged.unwrap(), page(&whole, &range, limit));
            for key in 0..12_u8 {
                let found = match pending.get(&[key]) {
                    Some(waiting) => waiting.value().cloned(),
                    None => stored.get(&vec![key]).cloned(),
                };
                prop_assert_eq!(&found, &whole.get(&vec![key]).cloned());
            }
            if done >= batches.len() {
                prop_assert!(!pending.has_news.load(Ordering::Acquire));
                let state = pending.lock();
                prop_assert_eq!((state.bytes, state.ops, state.newest.len()), (0, 0, 0));
            }
        }
    }

    #[test]
    fn a_failure_is_told_to_whoever_waits_or_writes_and_readers_go_on() {
        let pending = Arc::new(Pending::default());
        let op = Op::Insert(Record { key: b"key".to_vec(), value: vec![1] });
        pending.push(Task::Apply(Arc::new(vec![op])));
        let waiter = std::thread::spawn({
            let pending = Arc::clone(&pending);
            move || pending.wait_until_done()
        });
        pending.fail(Error::corrupt("sled"));
        assert!(waiter.join().unwrap().unwrap_err().is_corrupt());
        assert!(pending.wait_for_room().unwrap_err().is_corrupt());
        assert_eq!(pending.get(b"key").unwrap().value(), Some(&vec![1]));
        let range = Range::prefix(b"k", Order::Ascending);
        assert_eq!(pending.range(&range, PageLimit::default()).len(), 1);
    }

    #[test]
    fn what_is_full_has_room_again_once_something_is_done() {
        let pending = Arc::new(Pending::default());
        let value = vec![0; PENDING_BYTES_MAX];
        let large = vec![Op::Insert(Record { key: vec![1], value })];
        pending.push(Task::Apply(Arc::new(large)));
        let waiter = std::thread::spawn({
            let pending = Arc::clone(&pending);
            move || pending.wait_for_room()
        });
        let task = pending.next().unwrap();
        pending.finish(&task, true);
        waiter.join().unwrap().unwrap();
        assert!(pending.is_synced());
    }

    #[test]
    fn it_ends_when_it_is_closed_and_everything_is_done() {
        let pending = Pending::default();
        pending.push(Task::Sync);
        pending.close();
        let task = pending.next().unwrap();
        pending.finish(&task, true);
        assert!(pending.next().is_none());
        pending.fail_if_left(Error::new(crate::error::ErrorKind::Closed));
        pending.wait_for_room().unwrap();
    }
}
