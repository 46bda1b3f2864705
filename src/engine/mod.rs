//! The door: an engine over one log, its sessions, their runs.

mod at;
mod branch;
mod builder;
mod open;
mod restore;
mod run;
mod session;
mod stats;
mod subscribe;

use std::fmt;
use std::sync::Arc;

pub use self::at::{SessionAt, SessionWindow};
pub use self::branch::{Fork, ForkBuilder};
pub use self::builder::EngineBuilder;
pub use self::open::SessionBuilder;
pub(crate) use self::restore::{Restored, StoredEvent};
pub use self::run::{Run, RunBuilder};
pub use self::session::Session;
pub use self::stats::{KindStats, Stats};
#[cfg(feature = "tokio")]
pub use self::subscribe::SubscriptionStream;
pub use self::subscribe::{Delivery, LoggedEvent, Subscription};

use crate::catalog::{self, SessionPage, SessionQuery};
use crate::commit::{Append, Committer, Published, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Digest, generate_name};
use crate::index::Entry;
use crate::log::Log;
use crate::stream;
use crate::verify::{self, Progress, Report};

/// A session engine over one database.
///
/// Cheap to clone; all clones share one commit thread. The database is closed when the last
/// clone, and the last session, run and iterator made from one, is dropped.
///
/// ```
/// use sessionlog::{Engine, Message, Metrics, Point};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("user_123_session").user("alice").open()?;
///
/// let run = session.start_run()?;
/// run.push(Message::user("Hi, my name is Alice"))?;
/// run.push(Message::assistant("Hello Alice!"))?;
/// run.complete(Metrics::tokens(12, 5))?.wait()?;
///
/// let prompt = session.window().runs(3).messages()?;
/// assert_eq!(prompt.len(), 2);
/// assert_eq!(session.at(Point::Start)?.view().run_count, 0);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// `None` in a salvaged database, which is for reading only. Dropped before the log, so
    /// that what is queued is still committed.
    committer: Option<Committer>,
    log: Arc<dyn Log>,
    /// How far readers may see.
    published: Arc<Published>,
}

impl Engine {
    /// Opens the database at a path, or makes one. Appends survive a power cut.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] where another process has it open, [`ErrorKind::NotADatabase`]
    /// where the path holds something else, [`ErrorKind::NewerFormat`] where a newer version
    /// wrote it, [`ErrorKind::Corrupt`] where acknowledged events are missing.
    #[cfg(feature = "sled")]
    pub fn open(path: impl AsRef<std::path::Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// An engine whose sessions end with the process.
    pub fn in_memory() -> Result<Self> {
        Self::builder().open_log(Arc::new(crate::log::MemoryLog::new()))
    }

    /// Settings other than the default ones.
    pub fn builder() -> EngineBuilder {
        EngineBuilder::default()
    }

    /// The session of an id, to be opened: the same id is the same conversation.
    pub fn session(&self, session_id: impl Into<String>) -> SessionBuilder {
        SessionBuilder::new(self.clone(), session_id.into())
    }

    /// A session under a new id of its own.
    pub fn new_session(&self) -> SessionBuilder {
        self.session(generate_name())
    }

    /// A page of the sessions that a query asks for.
    pub fn sessions(&self, query: &SessionQuery) -> Result<SessionPage> {
        catalog::list(&self.inner.log, query, self.inner.published())
    }

    /// Checks everything that is stored: headers, bodies, the chain of each session and of the
    /// whole log, snapshots, indexes and the catalog.
    pub fn verify(&self) -> Result<Report> {
        self.verify_with(&mut |_| ())
    }

    /// The same, telling how far it has come.
    pub fn verify_with(&self, progress: &mut Progress<'_>) -> Result<Report> {
        // While an engine writes, its mark runs ahead of what readers see; opening checked it.
        let mark = match &self.inner.committer {
            Some(_) => None,
            None => self.inner.log.durable_mark()?,
        };
        verify::all(&self.inner.log, self.inner.published(), mark, progress)
    }

    /// Checks some sessions, without the chain over the whole log.
    pub fn verify_sessions(&self, session_ids: &[String]) -> Result<Report> {
        verify::sessions(&self.inner.log, session_ids, self.inner.published())
    }

    /// What the database holds, by kind.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(&*self.inner.log, self.inner.published())
    }

    /// Runs something that reads, on tokio's pool for blocking work, and awaits it.
    ///
    /// Appends need no such thing: their [`Ticket`](crate::Ticket) awaits on any runtime, and
    /// an append itself waits only while the commit queue is full.
    ///
    /// ```
    /// # let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    /// # runtime.block_on(async {
    /// use sessionlog::{Engine, Message, Metrics};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.blocking(|engine| engine.session("s1").open()).await?;
    /// session.record_run([Message::user("Hi")], Metrics::default())?.await?;
    /// let prompt = engine.blocking(move |_| session.window().messages()).await?;
    /// assert_eq!(prompt.len(), 1);
    /// # Ok::<(), sessionlog::Error>(())
    /// # }).unwrap();
    /// ```
    #[cfg(feature = "tokio")]
    pub async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let engine = self.clone();
        let task = tokio::task::spawn_blocking(move || read(&engine));
        task.await.map_err(|error| Error::invalid(format!("the read did not end: {error}")))?
    }
}

impl Inner {
    /// The last position that readers may see.
    pub(crate) fn published(&self) -> u64 {
        self.published.position()
    }

    pub(crate) fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Puts an append into the queue.
    pub(crate) fn append(&self, append: Append) -> Result<Ticket> {
        self.committer()?.append(append)
    }

    pub(crate) fn committer(&self) -> Result<&Committer> {
        self.committer.as_ref().ok_or_else(|| Error::new(ErrorKind::ReadOnly))
    }

    /// The catalog's word on a session and its last seq, if it is there for readers.
    pub(crate) fn entry(&self, session: Digest) -> Result<Option<(Entry, u64)>> {
        // The head first: an entry that is as new or newer knows of every rewind before it.
        let head = stream::head_seq(&*self.log, session, self.published())?;
        let Some(entry) = Entry::load(&*self.log, session)? else { return Ok(None) };
        Ok((head > 0).then_some((entry, head)))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("log", &self.log)
            .field("committer", &self.committer)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn is_send_sync<T: Send + Sync + 'static>() {}
    is_send_sync::<Engine>();
    is_send_sync::<Session>();
    is_send_sync::<Run>();
};
