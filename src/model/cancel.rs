//! A word to stop.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

/// Tells work that is under way to stop. Clones share the word; it cannot be taken back.
///
/// ```
/// use sessionlog::Cancel;
///
/// let cancel = Cancel::new();
/// let other = cancel.clone();
/// other.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    told: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_cancelled: bool,
    /// Tasks that wait for the word.
    wakers: Vec<Waker>,
}

impl Cancel {
    /// Nobody has said it yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Nobody ever will.
    pub fn never() -> Self {
        Self::default()
    }

    /// Says it.
    pub fn cancel(&self) {
        let wakers = {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.is_cancelled = true;
            std::mem::take(&mut state.wakers)
        };
        self.0.told.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether it was said.
    pub fn is_cancelled(&self) -> bool {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).is_cancelled
    }

    /// Waits so long, or until it is said. Returns whether it was.
    pub fn wait(&self, time: Duration) -> bool {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.told.wait_timeout_while(state, time, |state| !state.is_cancelled);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_cancelled
    }

    /// Wakes a task when it is said. Returns whether it was said already.
    pub fn wake(&self, waker: &Waker) -> bool {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_cancelled && !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        state.is_cancelled
    }

    /// Does not wake a task any more that asked for it: what waits on behalf of many, one after
    /// the other, would otherwise keep them all.
    pub fn forget(&self, waker: &Waker) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.wakers.retain(|known| !known.will_wake(waker));
    }
}
