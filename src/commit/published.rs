//! How far readers may see, and who waits for more.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

/// The last position that readers may see. The commit thread moves it; subscribers wait for it.
///
/// Every order is sequentially consistent: a waiter counts itself and then looks at the
/// position, the commit thread moves the position and then looks at the count, so one of the two
/// sees the other.
#[derive(Default)]
pub(crate) struct Published {
    position: AtomicU64,
    is_closed: AtomicBool,
    /// How many wait. While nobody does, moving the position costs nothing more.
    waiting: AtomicUsize,
    wakers: Mutex<HashMap<u64, Waker>>,
    moved: Condvar,
}

impl Published {
    pub(crate) fn new(position: u64) -> Self {
        Self { position: AtomicU64::new(position), ..Self::default() }
    }

    /// Of a log that nobody writes to.
    pub(crate) fn closed_at(position: u64) -> Self {
        let published = Self::new(position);
        published.close();
        published
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.load(Ordering::SeqCst)
    }

    /// Whether no more will come.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn move_to(&self, position: u64) {
        self.position.store(position, Ordering::SeqCst);
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Lets every waiter know that no more will come.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let wakers: Vec<Waker> = {
            let mut wakers = self.lock();
            self.waiting.fetch_sub(wakers.len(), Ordering::SeqCst);
            wakers.drain().map(|(_, waker)| waker).collect()
        };
        self.moved.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits until the position is behind `seen` or no more will come; at most until the
    /// deadline. Returns whether there is something to look at.
    pub(crate) fn wait_behind(&self, seen: u64, deadline: Option<Instant>) -> bool {
        let is_over = || self.position() > seen || self.is_closed();
        let mut guard = self.lock();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        while !is_over() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            guard = match left {
                Some(Duration::ZERO) => break,
                Some(left) => {
                    let waited = self.moved.wait_timeout(guard, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.moved.wait(guard).unwrap_or_else(PoisonError::into_inner),
            };
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        is_over()
    }

    // Nothing panics while the lock is held, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waker>> {
        self.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(feature = "tokio")]
impl Published {
    /// Has a waker called once the position is behind `seen` or no more will come. Returns
    /// whether that is so already: then the waker is not kept.
    pub(crate) fn wake_behind(&self, seen: u64, waiter: u64, waker: &Waker) -> bool {
        let mut wakers = self.lock();
        if wakers.insert(waiter, waker.clone()).is_none() {
            self.waiting.fetch_add(1, Ordering::SeqCst);
        }
        let is_over = self.position() > seen || self.is_closed();
        if is_over && wakers.remove(&waiter).is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
        is_over
    }

    /// Forgets a waiter that is gone.
    pub(crate) fn forget(&self, waiter: u64) {
        if self.lock().remove(&waiter).is_some() {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published")
            .field("position", &self.position())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
