//! Work that is dropped when it is told to stop.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Waker};

use crate::error::{Error, Result};
use crate::model::Cancel;

/// What comes of the work, unless it is told to stop before.
pub(super) async fn cancelled<T>(
    work: impl Future<Output = Result<T>>,
    cancel: &Cancel,
) -> Result<T> {
    let mut work = pin!(work);
    let mut listener = Listener { cancel, waker: None };
    poll_fn(|context| {
        if listener.listen(context.waker()) {
            return Poll::Ready(Err(Error::cancelled()));
        }
        work.as_mut().poll(context)
    })
    .await
}

/// Has a task woken for as long as it waits, and no longer.
struct Listener<'a> {
    cancel: &'a Cancel,
    waker: Option<Waker>,
}

impl Listener<'_> {
    /// Returns whether it was said already.
    fn listen(&mut self, waker: &Waker) -> bool {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.stop();
            self.waker = Some(waker.clone());
        }
        self.cancel.wake(waker)
    }

    fn stop(&mut self) {
        if let Some(waker) = self.waker.take() {
            self.cancel.forget(&waker);
        }
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}
