//! The promise that a commit will be durable, which one thread can wait for and any runtime
//! can await.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::{Error, ErrorKind, Result};

/// Where an append landed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The seq of its first event.
    pub first_seq: u64,
    /// The seq of its last event.
    pub last_seq: u64,
    /// The place of its last event in the whole log.
    pub position: u64,
    /// Whether all of it was there already, under the same event ids: nothing was stored twice.
    pub is_duplicate: bool,
}

/// The promise that an append will be durable.
///
/// [`Ticket::wait`] blocks; `.await` awaits, on any runtime. Dropping a ticket does not take
/// the append back: it only stops looking. Appends of one thread are placed in order, so once a
/// later ticket has resolved, every earlier append is decided too, and durable unless its own
/// ticket says that it was refused.
#[derive(Debug)]
pub struct Ticket(Arc<Shared>);

/// The other end, held by the commit thread.
#[derive(Debug)]
pub(crate) struct Resolver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    slot: Mutex<Slot>,
    resolved: Condvar,
}

#[derive(Debug)]
enum Slot {
    /// `is_blocking`: a thread waits, and has to be woken. That costs a call into the system, so
    /// nobody is woken who does not wait.
    Waiting {
        waker: Option<Waker>,
        is_blocking: bool,
    },
    Resolved(Result<Receipt>),
}

pub(crate) fn ticket() -> (Ticket, Resolver) {
    let slot = Mutex::new(Slot::Waiting { waker: None, is_blocking: false });
    let shared = Arc::new(Shared { slot, resolved: Condvar::new() });
    (Ticket(Arc::clone(&shared)), Resolver(shared))
}

impl Shared {
    // Nothing panics while the lock is held, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// Blocks until the append is durable, or has failed.
    pub fn wait(self) -> Result<Receipt> {
        let mut slot = self.0.lock();
        loop {
            match &mut *slot {
                Slot::Resolved(result) => return result.clone(),
                Slot::Waiting { is_blocking, .. } => *is_blocking = true,
            }
            slot = self.0.resolved.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Another end of the same ticket, for whoever wants to wait for it too.
    pub(crate) fn share(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// The result, if there is one yet.
    pub fn poll_now(&self) -> Option<Result<Receipt>> {
        match &*self.0.lock() {
            Slot::Waiting { .. } => None,
            Slot::Resolved(result) => Some(result.clone()),
        }
    }
}

impl Future for Ticket {
    type Output = Result<Receipt>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self.0.lock() {
            Slot::Resolved(result) => Poll::Ready(result.clone()),
            Slot::Waiting { waker, .. } => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Resolver {
    pub(crate) fn resolve(self, result: Result<Receipt>) {
        self.settle(result);
    }

    fn settle(&self, result: Result<Receipt>) {
        let mut slot = self.0.lock();
        if let Slot::Waiting { waker, is_blocking } = &mut *slot {
            let (waker, is_blocking) = (waker.take(), *is_blocking);
            *slot = Slot::Resolved(result);
            // Let go first: whoever is woken takes it.
            drop(slot);
            if is_blocking {
                self.0.resolved.notify_all();
            }
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Resolver {
    /// Nobody waits for ever: an append that the commit thread never reached has failed.
    fn drop(&mut self) {
        self.settle(Err(Error::new(ErrorKind::Closed)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: Receipt =
        Receipt { first_seq: 1, last_seq: 2, position: 3, is_duplicate: false };

    #[test]
    fn a_ticket_waits_for_its_resolver() {
        let (ticket, resolver) = ticket();
        assert!(ticket.poll_now().is_none());
        let waiter = std::thread::spawn(|| ticket.wait());
        resolver.resolve(Ok(RECEIPT));
        assert_eq!(waiter.join().unwrap().unwrap(), RECEIPT);
    }

    #[test]
    fn a_ticket_whose_resolver_is_gone_fails() {
        let (ticket, resolver) = ticket();
        drop(resolver);
        assert_eq!(ticket.wait().unwrap_err().kind(), &ErrorKind::Closed);
    }

    #[test]
    fn a_ticket_can_be_awaited() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (ticket, resolver) = ticket();
        let thread = std::thread::spawn(move || resolver.resolve(Ok(RECEIPT)));
        assert_eq!(runtime.block_on(ticket).unwrap(), RECEIPT);
        thread.join().unwrap();
    }
}
