//! A subscription as an async stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::{Delivery, Subscription};
use crate::commit::Published;
use crate::error::{Error, Result};

/// A subscription as an async stream. Pages are read on tokio's pool for blocking work; while
/// it waits for events it holds no thread.
#[must_use = "a stream does nothing unless it is polled"]
pub struct SubscriptionStream {
    published: Arc<Published>,
    /// Names it among those who wait.
    waiter: u64,
    /// Whether there may be more to read without anything being appended.
    may_have_more: bool,
    state: State,
}

enum State {
    Idle(Box<Subscription>),
    Reading(JoinHandle<(Box<Subscription>, Result<Option<Delivery>>)>),
    Over,
}

static WAITERS: AtomicU64 = AtomicU64::new(0);

impl Subscription {
    /// The same as an async stream. It needs a tokio runtime when it is polled.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// use std::pin::pin;
    /// use std::future::poll_fn;
    /// use futures_core::Stream;
    /// use sessionlog::{Access, Delivery, Engine};
    ///
    /// let engine = Engine::in_memory()?;
    /// let mut events = pin!(engine.subscribe(Access::Admin, 1).into_stream());
    /// engine.session("s1").open()?;
    /// let first = poll_fn(|context| events.as_mut().poll_next(context)).await;
    /// assert!(matches!(first, Some(Ok(Delivery::Event(there))) if &*there.session_id == "s1"));
    /// # Ok::<(), sessionlog::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn into_stream(self) -> SubscriptionStream {
        SubscriptionStream {
            published: Arc::clone(&self.published),
            waiter: WAITERS.fetch_add(1, Ordering::Relaxed),
            may_have_more: true,
            state: State::Idle(Box::new(self)),
        }
    }
}

impl Stream for SubscriptionStream {
    type Item = Result<Delivery>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match std::mem::replace(&mut this.state, State::Over) {
                State::Over => return Poll::Ready(None),
                State::Idle(mut subscription) => {
                    if let Some(there) = subscription.page.pop_front() {
                        this.state = State::Idle(subscription);
                        return Poll::Ready(Some(Ok(Delivery::Event(Box::new(there)))));
                    }
                    if subscription.is_over {
                        return Poll::Ready(None);
                    }
                    let (seen, waiter) = (subscription.seen, this.waiter);
                    if !this.may_have_more
                        && !this.published.wake_behind(seen, waiter, context.waker())
                    {
                        this.state = State::Idle(subscription);
                        return Poll::Pending;
                    }
                    let Ok(runtime) = Handle::try_current() else {
                        let reason = "a stream of events is polled inside a tokio runtime";
                        return Poll::Ready(Some(Err(Error::invalid(reason))));
                    };
                    this.state = State::Reading(runtime.spawn_blocking(move || {
                        let delivery = subscription.next_now();
                        (subscription, delivery)
                    }));
                }
                State::Reading(mut reading) => match Pin::new(&mut reading).poll(context) {
                    Poll::Pending => {
                        this.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok((subscription, delivery))) => {
                        this.state = State::Idle(subscription);
                        // A page is not all there is; nothing is.
                        this.may_have_more = matches!(delivery, Ok(Some(_)));
                        if let Some(delivery) = delivery.transpose() {
                            return Poll::Ready(Some(delivery));
                        }
                    }
                    Poll::Ready(Err(error)) => {
                        let reason = format!("the read did not end: {error}");
                        return Poll::Ready(Some(Err(Error::invalid(reason))));
                    }
                },
            }
        }
    }
}

impl Drop for SubscriptionStream {
    fn drop(&mut self) {
        self.published.forget(self.waiter);
    }
}

impl fmt::Debug for SubscriptionStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionStream").finish_non_exhaustive()
    }
}
