//! Compaction by itself, in the background.

mod growth;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use self::growth::Growth;
use super::{Engine, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::index::Entry;

/// When sessions are compacted by themselves, each by the policies in force: its own, its runs'
/// and the engine's. Off unless [`EngineBuilder::auto_compaction`] is called.
///
/// A session is due once one of the thresholds is reached by what was appended to it since it
/// was last compacted, counted from when the engine was opened. So much is counted of
/// [`limits::AUTO_COMPACTION_SESSIONS_MAX`](crate::limits::AUTO_COMPACTION_SESSIONS_MAX) sessions;
/// beyond them, those that were quiet for longest begin anew.
///
/// [`EngineBuilder::auto_compaction`]: crate::EngineBuilder::auto_compaction
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AutoCompaction {
    events: Option<u64>,
    bytes: Option<u64>,
    age: Option<Duration>,
}

impl AutoCompaction {
    /// No threshold yet.
    pub const fn new() -> Self {
        Self { events: None, bytes: None, age: None }
    }

    /// Due after so many events.
    #[must_use]
    pub const fn after_events(mut self, events: u64) -> Self {
        self.events = Some(events);
        self
    }

    /// Due after so many stored bytes.
    #[must_use]
    pub const fn after_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Due once the oldest of it was appended so long ago.
    #[must_use]
    pub const fn after(mut self, age: Duration) -> Self {
        self.age = Some(age);
        self
    }
}

/// The background thread. Dropping it ends the thread and waits for that.
#[derive(Debug)]
pub(super) struct AutoCompactor {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
    /// What the thread may be waiting for.
    commit_thread: Option<ThreadId>,
}

/// Says when the background thread is to end.
#[derive(Debug, Default)]
pub(super) struct Control {
    is_over: AtomicBool,
    sleep: Mutex<()>,
    wake: Condvar,
}

impl Control {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Sleeps, or less where it is over. Returns whether to go on.
    fn sleep(&self, time: Duration) -> bool {
        let guard = self.lock();
        if !self.is_over() {
            drop(self.wake.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner));
        }
        !self.is_over()
    }

    fn end(&self) {
        let _guard = self.lock();
        self.is_over.store(true, Ordering::SeqCst);
        self.wake.notify_all();
    }
}

/// How often the log is looked at: what is appended in between is one look.
const LOOK: Duration = Duration::from_millis(200);

impl AutoCompactor {
    pub(super) fn start(inner: &Arc<Inner>, when: AutoCompaction) -> Result<Self> {
        let control = Arc::new(Control::default());
        let commit_thread = inner.committer()?.thread_id();
        // Here, not in the thread: what is appended until that gets going counts too.
        let growth = Growth::new(when, inner.published());
        let (inner, theirs) = (Arc::clone(inner), Arc::clone(&control));
        let thread = std::thread::Builder::new()
            .name(String::from("sessionlog-compact"))
            .spawn(move || run(&Engine { auto: None, inner }, &theirs, growth))
            .map_err(Error::io)?;
        Ok(Self { control, thread: Some(thread), commit_thread })
    }
}

impl Drop for AutoCompactor {
    fn drop(&mut self) {
        self.control.end();
        let Some(thread) = self.thread.take() else { return };
        let current = std::thread::current().id();
        // A waker may drop the last handle on the commit thread, which the thread may wait for.
        if self.commit_thread != Some(current) && thread.thread().id() != current {
            // A panic of the thread has nothing to add here.
            drop(thread.join());
        }
    }
}

fn run(engine: &Engine, control: &Arc<Control>, mut growth: Growth) {
    let inner = &engine.inner;
    let mut wait = Duration::ZERO;
    while control.sleep(wait) {
        let now = Instant::now();
        // A read that failed is tried again with the next look.
        let _ = growth.look(&**inner.log(), inner.published(), now);
        for session in growth.take_due(now) {
            // A session that cannot be compacted is left as it is; `verify` says what is wrong.
            if let Err(error) = compact(engine, session, control)
                && matches!(error.kind(), ErrorKind::Poisoned { .. } | ErrorKind::Closed)
            {
                return;
            }
            if control.is_over() {
                return;
            }
        }
        wait = growth.next_due(now).map_or(LOOK, |due| due.min(LOOK));
    }
}

fn compact(engine: &Engine, session: Digest, control: &Arc<Control>) -> Result<()> {
    let Some(entry) = Entry::load(&**engine.inner.log(), session)? else { return Ok(()) };
    let compaction = engine.compaction().sessions([entry.session_id]);
    compaction.until(Arc::clone(control)).run().map(drop)
}
