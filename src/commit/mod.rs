//! The one way into the log: a bounded queue, and a thread that groups what waits into one
//! batch and one sync.

mod append;
mod branch;
mod group;
mod place;
mod published;
mod tail;
mod thread;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

pub(crate) use self::append::Append;
pub use self::append::Expected;
pub(crate) use self::group::Head;
pub(crate) use self::published::Published;
pub use self::ticket::{Receipt, Ticket};

use self::tail::Tails;
use self::thread::{CommitThread, Request};
use self::ticket::ticket;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{QUEUE_APPENDS_MAX, QUEUE_WAIT_MS_MAX};
use crate::log::{Durability, Log};

/// The handle of the commit thread. Dropping it lets the thread finish what is queued.
pub(crate) struct Committer {
    queue: Sender<Request>,
    /// The thread's end of the queue. The queue keeps what nobody takes out of it, and a writer
    /// would wait for that for ever.
    unread: Receiver<Request>,
    /// Whether the thread takes nothing out any more.
    has_ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    published: Arc<Published>,
}

impl Committer {
    pub(crate) fn start(
        log: Arc<dyn Log>,
        clock: Arc<dyn Clock>,
        log_id: [u8; 16],
        durability: Durability,
        head: Head,
    ) -> Result<Self> {
        let (queue, receiver) = crossbeam_channel::bounded(QUEUE_APPENDS_MAX);
        let published = Arc::new(Published::new(head.position));
        let (unread, has_ended) = (receiver.clone(), Arc::new(AtomicBool::new(false)));
        let thread = CommitThread {
            has_ended: Arc::clone(&has_ended),
            log,
            clock,
            log_id,
            durability,
            head,
            published: Arc::clone(&published),
            queue: receiver,
            tails: Tails::default(),
            poison: None,
        };
        let thread = std::thread::Builder::new()
            .name(String::from("sessionlog-commit"))
            .spawn(move || thread.run())
            .map_err(Error::io)?;
        Ok(Self { queue, unread, has_ended, thread: Some(thread), published })
    }

    /// Queues an append if there is room; gives it back if there is none.
    pub(crate) fn try_append(&self, append: Box<Append>) -> Result<Ticket, NotQueued> {
        let (ticket, resolver) = ticket();
        let sent = self.queue.try_send(Request::Append(append, resolver));
        // Either the thread's own last look at the queue finds it, or this one does.
        fence(Ordering::SeqCst);
        if self.has_ended.load(Ordering::SeqCst) {
            refuse_all(&self.unread);
        }
        match sent {
            Ok(()) => Ok(ticket),
            Err(TrySendError::Full(Request::Append(append, _))) => Err(NotQueued::Full(append)),
            Err(_) => Err(NotQueued::Closed),
        }
    }

    /// Queues an append. Waits while the queue is full, for a bounded time.
    pub(crate) fn append(&self, append: Append) -> Result<Ticket> {
        queue(|append| self.try_append(append), append)
    }

    /// How far readers may see.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }
}

/// Answers whoever waits in the queue of a thread that has ended: the resolvers do so when dropped.
fn refuse_all(queue: &Receiver<Request>) {
    while queue.try_recv().is_ok() {}
}

/// Why an append is not in the queue.
pub(crate) enum NotQueued {
    /// There is no room now.
    Full(Box<Append>),
    /// There is no commit thread any more.
    Closed,
}

/// Tries until there is room, for a bounded time. Nothing is held while it waits.
pub(crate) fn queue(
    mut try_append: impl FnMut(Box<Append>) -> Result<Ticket, NotQueued>,
    append: Append,
) -> Result<Ticket> {
    let mut append = Box::new(append);
    for _ in 0..QUEUE_WAIT_MS_MAX {
        match try_append(append) {
            Ok(ticket) => return Ok(ticket),
            Err(NotQueued::Closed) => return Err(Error::new(ErrorKind::Closed)),
            Err(NotQueued::Full(back)) => append = back,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::new(ErrorKind::QueueFull))
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Everything queued before this is still committed; then the log is let go, so that
        // the database can be opened again at once.
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() == std::thread::current().id() {
            // A waker dropped the last handle on the commit thread, which cannot wait for itself,
            // nor for room in its own queue: it ends when nobody can send any more.
            drop(self.queue.try_send(Request::Close));
            return;
        }
        if self.queue.send(Request::Close).is_ok() {
            // A panic of the thread has nothing to add here: its writers got their errors.
            drop(thread.join());
        }
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("published", &self.published()).finish_non_exhaustive()
    }
}
