//! The door: an engine over one log, its sessions, their runs.

mod at;
mod auto;
mod branch;
mod builder;
mod compact;
mod context;
mod delete;
mod erase;
mod former;
mod head;
mod job;
mod media;
mod memory;
mod open;
mod policy;
mod receipt;
mod restore;
#[cfg(feature = "sled")]
mod rewrite;
mod run;
mod seal;
mod search;
mod session;
mod stats;
mod subscribe;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub use self::at::{SessionAt, SessionWindow};
pub use self::auto::AutoCompaction;
use self::auto::AutoCompactor;
pub use self::branch::{Fork, ForkBuilder};
pub use self::builder::EngineBuilder;
pub use self::compact::Compaction;
pub use self::context::{Context, ContextBuilder, ContextChange, RebuiltContext, RecordedContext};
pub use self::erase::ErasureReceipt;
pub use self::former::FormerSession;
pub use self::media::{BlobUse, StoredMedia};
pub(crate) use self::memory::{Draft, Lesson};
pub use self::memory::{Memories, MemoryChange, MemoryPatch, MemoryQuery, NewMemory};
pub use self::open::SessionBuilder;
pub use self::receipt::ErasureRecord;
pub(crate) use self::restore::{Holder, Restored, StoredEvent};
pub use self::run::{Run, RunBuilder};
pub use self::session::Session;
pub use self::stats::{KindStats, Stats};
#[cfg(feature = "tokio")]
pub use self::subscribe::SubscriptionStream;
pub use self::subscribe::{Delivery, LoggedEvent, Subscription};

#[cfg(feature = "seal")]
use self::seal::Sealed;
use crate::blob::BlobName;
use crate::catalog::{self, SessionPage, SessionQuery};
use crate::codec::Frame;
use crate::commit::{Append, Committer, Published, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Policy;
use crate::id::{Digest, generate_name};
use crate::index::Entry;
use crate::log::{Log, Scan, key};
use crate::media::MediaStore;
use crate::stream;
use crate::verify::{self, Progress, Report};

/// A session engine over one database.
///
/// Cheap to clone; all clones share one commit thread. The database is closed when the last
/// clone, and the last session, run and iterator made from one, is dropped: that drop ends a
/// compaction in the background too, after the commit it is at, and returns when the database can
/// be opened again. Only a waker that does it on the commit thread is not held up.
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
    /// Compacts by itself, where that is wanted. The thread has an engine without it, so this goes
    /// with the last handle that somebody else has; and before `inner`, which the thread holds too,
    /// so that this handle closes the database.
    auto: Option<Arc<AutoCompactor>>,
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    /// `None` in a salvaged database, which is for reading only. Dropped before the log, so
    /// that what is queued is still committed.
    committer: Option<Committer>,
    log: Arc<dyn Log>,
    /// How far readers may see.
    published: Arc<Published>,
    /// What is kept, where a session does not say.
    policy: Policy,
    /// Whether any session or run may say so itself.
    has_policies: AtomicBool,
    media: MediaStore,
    search: search::Searches,
    /// The keys of sessions and what is sealed under them, where the database is sealed.
    #[cfg(feature = "seal")]
    sealed: Option<Sealed>,
}

impl Engine {
    /// Opens the database at a path, or makes one. Appends survive a power cut.
    ///
    /// # Errors
    /// [`ErrorKind::Locked`] where another process has it open and does not close it within
    /// [`limits::LOCK_WAIT_MS_MAX`](crate::limits::LOCK_WAIT_MS_MAX), [`ErrorKind::NotADatabase`]
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

    /// A page of the sessions that a query asks for. One whose key cannot be had is left out: nobody
    /// knows what it is called.
    pub fn sessions(&self, query: &SessionQuery) -> Result<SessionPage> {
        Ok(self.sessions_and_unread(query)?.0)
    }

    /// The same, and why a session was passed over, if one was.
    fn sessions_and_unread(&self, query: &SessionQuery) -> Result<(SessionPage, Option<Error>)> {
        catalog::list(&self.inner.log, query, self.inner.published_in_sessions())
    }

    /// Checks everything that is stored: headers, bodies, the chain of each session and of the
    /// whole log, snapshots, indexes and the catalog.
    pub fn verify(&self) -> Result<Report> {
        self.verify_with(&mut |_| ())
    }

    /// The same, telling how far it has come.
    pub fn verify_with(&self, progress: &mut Progress<'_>) -> Result<Report> {
        self.verify_kept(None, progress)
    }

    /// Checks some sessions, without the chain over the whole log.
    pub fn verify_sessions(&self, session_ids: &[String]) -> Result<Report> {
        self.inner.verifying(|stored| verify::sessions(stored, session_ids, None))
    }

    /// What the database holds, by kind. Of a session whose key cannot be had, only the events are
    /// counted.
    pub fn stats(&self) -> Result<Stats> {
        let (log, lost) = self.inner.going_on();
        let mut stats = stats::read(&*log, self.inner.published_in_sessions())?;
        stats.unreadable = lost().len() as u64;
        stats.count_blobs(&self.blobs()?);
        Ok(stats)
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

    /// The last position that readers of sessions may see: any, in what is salvaged. Its last groups
    /// may be lost, and events of theirs be there.
    pub(crate) fn published_in_sessions(&self) -> u64 {
        if self.committer.is_some() { self.published() } else { u64::MAX }
    }

    pub(crate) fn policy(&self) -> Policy {
        self.policy
    }

    pub(crate) fn has_policies(&self) -> bool {
        self.has_policies.load(Ordering::SeqCst)
    }

    /// Notes that a session or a run is about to say what is kept.
    pub(crate) fn note_policies(&self) {
        self.has_policies.store(true, Ordering::SeqCst);
    }

    /// The link of an event, in hexadecimal.
    fn link_of(&self, session: Digest, seq: u64) -> Result<String> {
        let bytes = self.log.get(&key::frame(session, seq))?;
        let bytes = bytes.ok_or_else(|| Error::not_found("event"))?;
        Ok(format!("{:?}", Frame::parse(&bytes)?.link))
    }

    /// Bytes of the blobs that no event would refer to without a session's.
    /// `left` has the sessions that are to let go of each, and takes in this one.
    fn bytes_of_unused(
        &self,
        session: Digest,
        names: BTreeSet<[u8; 32]>,
        left: &mut HashMap<[u8; 32], BTreeSet<Digest>>,
    ) -> Result<u64> {
        let mut bytes = 0;
        for name in names {
            let left = left.entry(name).or_default();
            left.insert(session);
            let mut uses = Scan::new(&*self.log, key::blob_uses(&name));
            let is_others = uses.try_fold(false, |is_others, record| {
                let (holder, _) = key::parse_blob_use(&record?.key)?;
                Ok::<_, Error>(is_others || !left.contains(&holder))
            })?;
            if !is_others {
                bytes += self.media.blobs().size(BlobName::from_bytes(name))?.unwrap_or(0);
            }
        }
        Ok(bytes)
    }

    pub(crate) fn media(&self) -> &MediaStore {
        &self.media
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
        stream::entry(&*self.log, session, self.published_in_sessions())
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
