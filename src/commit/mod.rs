//! The one way into the log: a bounded queue, and a thread that groups what waits into one
//! batch and one sync.

mod append;
mod group;
mod tail;
mod thread;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{SendTimeoutError, Sender};

pub(crate) use self::append::Append;
pub use self::append::Expected;
pub(crate) use self::group::Head;
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
    thread: Option<JoinHandle<()>>,
    published: Arc<AtomicU64>,
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
        let published = Arc::new(AtomicU64::new(head.position));
        let thread = CommitThread {
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
        Ok(Self { queue, thread: Some(thread), published })
    }

    /// Queues an append. Blocks while the queue is full, for a bounded time.
    pub(crate) fn append(&self, append: Append) -> Result<Ticket> {
        let (ticket, resolver) = ticket();
        let request = Request::Append(Box::new(append), resolver);
        let wait = Duration::from_millis(QUEUE_WAIT_MS_MAX);
        match self.queue.send_timeout(request, wait) {
            Ok(()) => Ok(ticket),
            Err(SendTimeoutError::Timeout(_)) => Err(Error::new(ErrorKind::QueueFull)),
            Err(SendTimeoutError::Disconnected(_)) => Err(Error::new(ErrorKind::Closed)),
        }
    }

    /// The last position that readers may see.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        // Everything queued before this is still committed; then the log is let go, so that
        // the database can be opened again at once.
        let closing = self.queue.send(Request::Close);
        if let Some(thread) = self.thread.take()
            && closing.is_ok()
        {
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
