//! Events as they are appended: what is there first, then what comes.

mod source;
#[cfg(feature = "tokio")]
mod stream;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::source::Source;
#[cfg(feature = "tokio")]
pub use self::stream::SubscriptionStream;
use super::Engine;
use super::session::Session;
use crate::access::Access;
use crate::commit::Published;
use crate::error::Result;
use crate::event::Event;
use crate::limits::SUBSCRIBER_LAG_EVENTS;
use crate::log::Log;

/// The events of a session or of the whole log, from a place on: first those that are there,
/// then each as soon as it is durable. None is left out and none comes twice.
///
/// The log itself is what a subscriber reads from, a page at a time, so its memory is bounded
/// however slow it is, and it never holds up a writer. One that had caught up and fell behind
/// again is told so, with [`Delivery::Lagged`]; it may go on, or leave out what it missed with
/// [`Subscription::seek`].
///
/// As an iterator it waits for more, and ends when the engine is closed: when all other handles
/// of it are gone. Until it is dropped itself, the database stays open. With feature `tokio`,
/// `into_stream` makes an async stream of it.
///
/// ```
/// use sessionlog::{Delivery, Engine, Message, Metrics};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").open()?;
/// let subscription = session.subscribe(1)?;
/// let watcher = std::thread::spawn(move || {
///     let mut kinds = Vec::new();
///     for delivery in subscription {
///         match delivery? {
///             Delivery::Event(there) => kinds.push(there.event.body.kind().as_str()),
///             Delivery::Lagged { behind, .. } => eprintln!("{behind} events behind"),
///         }
///     }
///     Ok::<_, sessionlog::Error>(kinds)
/// });
/// session.record_run([Message::user("Hi")], Metrics::default())?.wait()?;
/// drop((session, engine));
/// let kinds = watcher.join().unwrap()?;
/// assert_eq!(kinds, ["session_created", "run_started", "message_added", "run_finished"]);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[must_use = "a subscription is read by iterating"]
pub struct Subscription {
    log: Arc<dyn Log>,
    published: Arc<Published>,
    source: Source,
    /// The seq or position of the event that is read next.
    next: u64,
    page: VecDeque<LoggedEvent>,
    /// How far readers might see when the log was last looked at.
    seen: u64,
    lag_after: u64,
    has_caught_up: bool,
    is_over: bool,
}

/// What a subscriber is given.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivery {
    /// The next event.
    Event(Box<LoggedEvent>),
    /// The subscriber had caught up, and now is so many events behind. Nothing was left out:
    /// whoever goes on gets the event at `next` next. Of the whole log only the admin is told:
    /// how much others write is none of a user's business.
    Lagged {
        /// How many events are waiting.
        behind: u64,
        /// The seq of the next one, or its position where the whole log is read.
        next: u64,
    },
}

/// An event, and the session it belongs to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LoggedEvent {
    /// The session's id; of one that was deleted its digest, for the admin.
    pub session_id: Arc<str>,
    /// The event.
    pub event: Event,
}

impl Engine {
    /// The events of all sessions that the access reaches, in the order of the whole log, from
    /// a position on; positions count from 1.
    pub fn subscribe(&self, access: Access, from_position: u64) -> Subscription {
        let inner = &self.inner;
        Subscription::new(inner.log(), &inner.published, Source::log(access), from_position)
    }
}

impl Session {
    /// The events of the session from a seq on.
    pub fn subscribe(&self, from_seq: u64) -> Result<Subscription> {
        self.check_access()?;
        let inner = self.inner();
        let source = Source::session(self.key(), self.id(), self.access().clone());
        let published = match inner.committer {
            Some(_) => Arc::clone(&inner.published),
            None => Arc::new(Published::closed_at(inner.published_in_sessions())),
        };
        Ok(Subscription::new(inner.log(), &published, source, from_seq))
    }
}

impl Subscription {
    fn new(log: &Arc<dyn Log>, published: &Arc<Published>, source: Source, next: u64) -> Self {
        Self {
            log: Arc::clone(log),
            published: Arc::clone(published),
            source,
            next: next.max(1),
            page: VecDeque::new(),
            seen: 0,
            lag_after: SUBSCRIBER_LAG_EVENTS,
            has_caught_up: false,
            is_over: false,
        }
    }

    /// Tells when more than so many events are waiting, once it has caught up.
    pub fn lag_after(mut self, events: u64) -> Self {
        self.lag_after = events;
        self
    }

    /// The seq of the event that comes next, or its position where the whole log is read: where
    /// to go on after a restart.
    pub fn cursor(&self) -> u64 {
        self.page.front().map_or(self.next, |there| self.source.place_of(&there.event))
    }

    /// Goes on from another place, ahead or back.
    pub fn seek(&mut self, next: u64) {
        self.page.clear();
        self.source.forget();
        self.has_caught_up = false;
        self.next = next.max(1);
    }

    /// Whether no more will come: the engine is closed and all of it was read, or reading
    /// failed.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next event, if it comes within a time. `None` where it does not, and where no more
    /// will come.
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        // A time that no clock reaches is no deadline.
        self.next_until(Instant::now().checked_add(timeout))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Result<Option<Delivery>> {
        loop {
            if let Some(delivery) = self.next_now()? {
                return Ok(Some(delivery));
            }
            if self.is_over || !self.published.wait_behind(self.seen, deadline) {
                return Ok(None);
            }
        }
    }

    /// What is there now.
    fn next_now(&mut self) -> Result<Option<Delivery>> {
        if let Some(there) = self.page.pop_front() {
            return Ok(Some(Delivery::Event(Box::new(there))));
        }
        if self.is_over {
            return Ok(None);
        }
        let lagged = self.read_page();
        // What cannot be read now cannot be read later: a log does not mend itself.
        self.is_over |= lagged.is_err();
        let lagged = lagged?;
        let next = || self.page.pop_front().map(|there| Delivery::Event(Box::new(there)));
        Ok(lagged.or_else(next))
    }

    /// Reads the next page, or says that it is far away.
    fn read_page(&mut self) -> Result<Option<Delivery>> {
        // Closed first: whatever is published before that is seen below.
        let is_closed = self.published.is_closed();
        self.seen = self.published.position();
        while self.page.is_empty() {
            let head = self.source.head(&*self.log, self.seen)?;
            let behind = head.saturating_add(1).saturating_sub(self.next);
            if behind == 0 {
                self.has_caught_up = true;
                self.is_over = is_closed;
                break;
            }
            let is_told = self.has_caught_up && self.source.is_all_within_reach();
            if is_told && behind > self.lag_after {
                self.has_caught_up = false;
                return Ok(Some(Delivery::Lagged { behind, next: self.next }));
            }
            let (page, next) = self.source.read(&self.log, self.next, head)?;
            (self.page, self.next) = (page, next);
        }
        Ok(None)
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None).transpose()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("next", &self.next)
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
