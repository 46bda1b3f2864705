//! The one way into the log: a bounded queue, and a thread that groups what waits into one
//! batch and one sync.

mod append;
mod branch;
mod group;
mod keep;
mod place;
mod published;
mod tail;
mod thread;
mod ticket;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError};

pub use self::append::Expected;
pub(crate) use self::append::{
    Append, NameLeft, Replacement, SaltedBody, check_memory_text, is_of_keeping, named_by,
};
pub(crate) use self::group::Head;
pub(crate) use self::published::Published;
pub use self::ticket::{Receipt, Ticket};

use self::tail::Tails;
pub(crate) use self::thread::Work;
use self::thread::{CommitThread, Request};
use self::ticket::ticket;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{QUEUE_APPENDS_MAX, QUEUE_BYTES_MAX, QUEUE_WAIT_MS_MAX};
use crate::log::{Batch, Durability, Log};

/// The handle of the commit thread. Dropping it lets the thread finish what is queued.
pub(crate) struct Committer {
    queue: Sender<Request>,
    /// The thread's end of the queue. The queue keeps what nobody takes out of it, and a writer
    /// would wait for that for ever.
    unread: Receiver<Request>,
    /// Bytes of the appends that nobody has taken out.
    queued_bytes: Arc<AtomicUsize>,
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
        let queued_bytes = Arc::default();
        Ok(Self { queue, unread, queued_bytes, has_ended, thread: Some(thread), published })
    }

    /// Queues an append if there is room; gives it back if there is none.
    pub(crate) fn try_append(&self, append: Box<Append>) -> Result<Ticket, NotQueued> {
        if self.queued_bytes.load(Ordering::SeqCst) >= QUEUE_BYTES_MAX {
            return Err(NotQueued::Full(append));
        }
        let (ticket, resolver) = ticket();
        let room = Room::taken(&self.queued_bytes, append.body_bytes());
        let sent = self.queue.try_send(Request::Append(append, resolver, room));
        // Either the thread's own last look at the queue finds it, or this one does.
        fence(Ordering::SeqCst);
        if self.has_ended.load(Ordering::SeqCst) {
            refuse_all(&self.unread);
        }
        match sent {
            Ok(()) => Ok(ticket),
            Err(TrySendError::Full(Request::Append(append, ..))) => Err(NotQueued::Full(append)),
            Err(_) => Err(NotQueued::Closed),
        }
    }

    /// Queues an append. Waits while the queue is full, for a bounded time.
    pub(crate) fn append(&self, append: Append) -> Result<Ticket> {
        queue(|append| self.try_append(append), append)
    }

    /// Changes records that no event is needed for: what an event already said may go. Waits
    /// until it is durable.
    pub(crate) fn maintain(&self, batch: Batch) -> Result<()> {
        self.maintain_with(Box::new(move |_| Ok(Some(batch))))
    }

    /// The same for changes that rest on what the log holds: they are made between two groups, so
    /// nothing is appended between the look and the change.
    pub(crate) fn maintain_with(&self, work: Work) -> Result<()> {
        let (ticket, resolver) = ticket();
        if self.queue.send(Request::Maintain(work, resolver)).is_err() {
            return Err(Error::new(ErrorKind::Closed));
        }
        fence(Ordering::SeqCst);
        if self.has_ended.load(Ordering::SeqCst) {
            refuse_all(&self.unread);
        }
        ticket.wait().map(drop)
    }

    /// The thread, while there is one. Nobody on it may wait for an append.
    pub(crate) fn thread_id(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }

    /// How far readers may see.
    pub(crate) fn published(&self) -> &Arc<Published> {
        &self.published
    }
}

/// Room in the queue that an append takes until somebody has taken it out.
struct Room {
    queued_bytes: Arc<AtomicUsize>,
    bytes: usize,
}

impl Room {
    fn taken(queued_bytes: &Arc<AtomicUsize>, bytes: usize) -> Self {
        queued_bytes.fetch_add(bytes, Ordering::SeqCst);
        Self { queued_bytes: Arc::clone(queued_bytes), bytes }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.queued_bytes.fetch_sub(self.bytes, Ordering::SeqCst);
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

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use base64::prelude::{BASE64_STANDARD, Engine as _};

    use super::*;
    use crate::access::Access;
    use crate::clock::SystemClock;
    use crate::codec::GroupLink;
    use crate::event::{Created, NewEvent};
    use crate::id::StreamName;
    use crate::json::Json;
    use crate::log::{MemoryLog, PageLimit, Range, Record};

    /// A log that takes nothing in while somebody holds its gate, and misses a key when told to.
    #[derive(Debug, Default)]
    struct Stuck {
        inner: MemoryLog,
        gate: Mutex<()>,
        misses_key: AtomicBool,
    }

    impl Log for Stuck {
        fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
            self.inner.get(key)
        }

        fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
            self.inner.page(range, limit)
        }

        fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
            let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
            if self.misses_key.swap(false, Ordering::SeqCst) {
                return Err(Error::key("nobody answers"));
            }
            self.inner.append(batch, durability, mark)
        }

        fn apply(&self, batch: &Batch) -> Result<()> {
            self.inner.apply(batch)
        }

        fn durable_mark(&self) -> Result<Option<u64>> {
            self.inner.durable_mark()
        }

        fn disk_bytes(&self) -> Result<u64> {
            self.inner.disk_bytes()
        }
    }

    fn large(number: usize) -> Box<Append> {
        let session_id = format!("s{number}");
        // Noise, so that it is as large when it is stored.
        let mut noise = vec![0; 6 << 20];
        getrandom::fill(&mut noise).unwrap();
        let noise = BASE64_STANDARD.encode(noise);
        let metadata = Some(Json::parse(&format!("{{\"noise\":\"{noise}\"}}")).unwrap());
        let created = Created { session_id: session_id.clone(), metadata, ..Created::default() };
        let (stream, events) = (StreamName::Session(&session_id), vec![NewEvent::new(created)]);
        Box::new(Append::prepare(stream, Access::Admin, Expected::Any, events).unwrap())
    }

    fn start(log: &Arc<Stuck>) -> Committer {
        let log = Arc::clone(log) as Arc<dyn Log>;
        let head = Head { position: 0, link: GroupLink::start([1; 16]) };
        let (clock, durability) = (Arc::new(SystemClock), Durability::PowerLoss);
        Committer::start(log, clock, [1; 16], durability, head).unwrap()
    }

    /// Whoever keeps the keys may be out of reach for a moment. Nothing was written then.
    #[test]
    fn a_key_that_is_not_to_be_had_fails_its_group_and_no_later_one() {
        let log = Arc::new(Stuck::default());
        let committer = start(&log);
        log.misses_key.store(true, Ordering::SeqCst);
        let error = committer.append(*large(1)).unwrap().wait().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
        let receipt = committer.append(*large(1)).unwrap().wait().unwrap();
        assert_eq!((receipt.first_seq, receipt.position), (1, 1));
    }

    #[test]
    fn what_waits_is_bounded_by_its_bytes_too() {
        let log = Arc::new(Stuck::default());
        let gate = log.gate.lock().unwrap();
        let committer = start(&log);
        let (mut tickets, mut bytes) = (Vec::new(), 0);
        for number in 0.. {
            let append = large(number);
            let size = append.body_bytes();
            match committer.try_append(append) {
                Ok(ticket) => tickets.push(ticket),
                Err(NotQueued::Full(_)) => break,
                Err(NotQueued::Closed) => panic!("closed"),
            }
            bytes += size;
            // The thread has taken some out before it met the gate: no more than a group.
            assert!(bytes < 2 * QUEUE_BYTES_MAX, "{bytes}");
        }
        assert!(tickets.len() < QUEUE_APPENDS_MAX);
        drop(gate);
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        committer.try_append(large(999)).ok().unwrap().wait().unwrap();
    }
}
