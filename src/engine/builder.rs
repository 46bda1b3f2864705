//! How a database is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::auto::{AutoCompaction, AutoCompactor};
#[cfg(feature = "seal")]
use super::seal::Sealed;
use super::search::searches;
use super::{Engine, Inner};
#[cfg(feature = "sled")]
use crate::blob::FileBlobs;
use crate::blob::{BlobStore, MemoryBlobs};
use crate::clock::{Clock, SystemClock};
use crate::codec::{FORMAT_VERSION, Frame, GroupLink};
use crate::commit::{Committer, Head, Published, Ticket};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{NewEvent, Policy, RunFinished};
use crate::index::{GroupRecord, RunRecord, Timeline};
use crate::log::{Batch, Durability, Log, Order, PageLimit, Record, Scan, key};
#[cfg(feature = "sled")]
use crate::log::{MEDIA_FOLDER, SEARCH_FOLDER, SledLog, SledOptions};
use crate::media::{Cipher, MediaStore};
#[cfg(all(feature = "seal", feature = "sled"))]
use crate::seal::FileKeys;
#[cfg(feature = "seal")]
use crate::seal::{KeyProvider, KeyStore, MemoryKeys, SealedLog, Vault};

/// Settings of an engine. The default ones are those of [`Engine::open`].
#[derive(Debug, Clone)]
pub struct EngineBuilder {
    create: bool,
    salvage: bool,
    durability: Durability,
    cache_bytes: u64,
    clock: Arc<dyn Clock>,
    policy: Policy,
    blobs: Option<Arc<dyn BlobStore>>,
    auto: Option<AutoCompaction>,
    #[cfg(feature = "seal")]
    provider: Option<Arc<dyn KeyProvider>>,
}

/// The log as the engine sees it, what seals blobs, and the keys of both.
#[cfg(feature = "seal")]
type Unsealed = (Arc<dyn Log>, Cipher, Option<Sealed>);

/// What lies beside the log.
struct Beside {
    blobs: Arc<dyn BlobStore>,
    /// Where the index of searches lies; in memory if nowhere.
    search: Option<PathBuf>,
    #[cfg(feature = "seal")]
    keys: Arc<dyn KeyStore>,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self {
            create: true,
            salvage: false,
            durability: Durability::default(),
            cache_bytes: crate::limits::CACHE_BYTES_DEFAULT,
            clock: Arc::new(SystemClock),
            policy: Policy::default(),
            blobs: None,
            auto: None,
            #[cfg(feature = "seal")]
            provider: None,
        }
    }
}

/// The database's own record.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    format: u32,
    log_id: String,
    /// Whether values are sealed under the keys of sessions.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_sealed: bool,
}

impl Meta {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|error| Error::invalid(format!("the database's own record: {error}")))
    }
}

/// The database's own record, if there is one.
fn stored_meta(log: &dyn Log) -> Result<Option<Meta>> {
    let Some(bytes) = log.get(&key::meta())? else { return Ok(None) };
    let meta: Meta = serde_json::from_slice(&bytes)
        .map_err(|error| Error::corrupt(format!("the database's own record: {error}")))?;
    if meta.format > FORMAT_VERSION {
        let (found, supported) = (meta.format, FORMAT_VERSION);
        return Err(Error::new(ErrorKind::NewerFormat { found, supported }));
    }
    Ok(Some(meta))
}

#[cfg(not(feature = "seal"))]
fn unsealed(log: &dyn Log) -> Result<Cipher> {
    if stored_meta(log)?.is_some_and(|meta| meta.is_sealed) {
        return Err(Error::key("the database is sealed, and this build has no feature `seal`"));
    }
    Ok(Cipher::default())
}

impl EngineBuilder {
    /// Whether to make a database where there is none. It is made by default.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens a damaged database for reading what is left of it, in a private copy: opening writes,
    /// and what is damaged should not be written over. Appends are refused.
    #[must_use]
    pub fn salvage(mut self, salvage: bool) -> Self {
        self.salvage = salvage;
        self
    }

    /// What an acknowledged append survives: a power cut by default.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// Memory for the page cache of the log on disk.
    #[must_use]
    pub fn cache_bytes(mut self, cache_bytes: u64) -> Self {
        self.cache_bytes = cache_bytes;
        self
    }

    /// What is kept of sessions that do not say so themselves. Everything by default.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Another clock than the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Compacts sessions by themselves, in the background, once they have grown so far. Off by
    /// default. No writer waits for it longer than for any other writer.
    ///
    /// ```
    /// use sessionlog::{AutoCompaction, Engine, Policy};
    ///
    /// let engine = Engine::builder()
    ///     .auto_compaction(AutoCompaction::new().after_events(10_000))
    ///     .open_log(std::sync::Arc::new(sessionlog::MemoryLog::new()))?;
    /// let session = engine.session("s1").open()?;
    /// session.set_policy(Policy::new().store_media(false))?;
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    #[must_use]
    pub fn auto_compaction(mut self, when: AutoCompaction) -> Self {
        self.auto = Some(when);
        self
    }

    /// Where media are stored. By default in the database's folder, and of a log of one's own in
    /// memory.
    #[must_use]
    pub fn blobs(mut self, blobs: Arc<dyn BlobStore>) -> Self {
        self.blobs = Some(blobs);
        self
    }

    /// Seals what is written from now on under a key for each session, which the given one wraps.
    /// A database that was ever sealed must be opened with its key.
    ///
    /// Destroying a session's key, as erasing it does, makes every copy of what it said
    /// unreadable, also where the storage keeps old bytes.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use sessionlog::{Engine, FileKey};
    ///
    /// let key = Arc::new(FileKey::open("/etc/agents/chat.key")?);
    /// let engine = Engine::builder().seal(key).open("chat.db")?;
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    #[cfg(feature = "seal")]
    #[must_use]
    pub fn seal(mut self, provider: Arc<dyn KeyProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Opens the database at a path.
    #[cfg(feature = "sled")]
    pub fn open(self, path: impl AsRef<std::path::Path>) -> Result<Engine> {
        let path = path.as_ref();
        let options = SledOptions {
            create: self.create,
            cache_bytes: self.cache_bytes,
            as_copy: self.salvage,
        };
        let log = SledLog::open(path, options)?;
        let open = || {
            let directory = log.directory();
            let media = FileBlobs::open(directory.join(MEDIA_FOLDER));
            let blobs = self.blobs.clone().map_or_else(|| media.map(|it| Arc::new(it) as _), Ok)?;
            #[cfg(feature = "seal")]
            let keys: Arc<dyn KeyStore> = Arc::new(if self.salvage {
                FileKeys::open_read_only(directory)?
            } else {
                FileKeys::open(directory)?
            });
            // A copy that is only read is not worth a folder.
            let search = (!self.salvage).then(|| directory.join(SEARCH_FOLDER));
            let beside = Beside {
                blobs,
                search,
                #[cfg(feature = "seal")]
                keys,
            };
            self.open_with(Arc::new(log), beside)
        };
        open().map_err(|error| error.context(path.display().to_string()))
    }

    /// Opens whatever is in a log of one's own.
    pub fn open_log(self, log: Arc<dyn Log>) -> Result<Engine> {
        let beside = Beside {
            blobs: self.blobs.clone().unwrap_or_else(|| Arc::new(MemoryBlobs::new())),
            search: None,
            #[cfg(feature = "seal")]
            keys: Arc::new(MemoryKeys::default()),
        };
        self.open_with(log, beside)
    }

    #[cfg(feature = "seal")]
    fn unsealed(&self, log: Arc<dyn Log>, keys: Arc<dyn KeyStore>) -> Result<Unsealed> {
        let meta = stored_meta(&*log)?;
        let is_sealed = meta.as_ref().is_some_and(|meta| meta.is_sealed);
        let has_keys = Vault::is_sealed(&*keys)?;
        let Some(provider) = &self.provider else {
            if is_sealed || has_keys {
                return Err(Error::key("the database is sealed: open it with its key"));
            }
            return Ok((log, Cipher::default(), None));
        };
        if is_sealed && !has_keys {
            let reason =
                "the database is sealed, and its file of keys, sessionlog.keys, is missing";
            return Err(Error::key(reason));
        }
        let provider = Arc::clone(provider);
        let vault = if meta.is_some() && !has_keys {
            Vault::open_plain(provider, keys)
        } else {
            Vault::open(provider, keys)?
        };
        if let Some(mut meta) = meta.filter(|meta| !meta.is_sealed && has_keys && !self.salvage) {
            meta.is_sealed = true;
            let mut batch = Batch::new();
            batch.replace(key::meta(), meta.to_bytes()?);
            log.append(&batch, self.durability, last_position(&*log)?)?;
        }
        let vault = Arc::new(vault);
        let opened = Arc::new(SealedLog::new(Arc::clone(&log), Arc::clone(&vault)));
        let cipher = Cipher::sealing(Arc::clone(&vault));
        Ok((opened, cipher, Some(Sealed { vault, log })))
    }

    fn open_with(self, log: Arc<dyn Log>, beside: Beside) -> Result<Engine> {
        #[cfg(feature = "seal")]
        let (log, cipher, sealed) = self.unsealed(log, beside.keys)?;
        #[cfg(not(feature = "seal"))]
        let cipher = unsealed(&*log)?;
        let media = MediaStore::new(beside.blobs, cipher);
        let meta = self.load_meta(&*log)?;
        #[cfg(feature = "seal")]
        let is_sealed = sealed.is_some();
        #[cfg(not(feature = "seal"))]
        let is_sealed = false;
        let search = searches(beside.search, meta.log_id.clone(), is_sealed)?;
        let last = GroupRecord::last(&*log)?;
        let position = last.as_ref().map_or(0, |(_, position)| *position);
        let salvaged = Inner {
            committer: None,
            published: Arc::new(Published::closed_at(position)),
            policy: self.policy,
            has_policies: AtomicBool::new(true),
            media,
            search,
            #[cfg(feature = "seal")]
            sealed,
            log,
        };
        if self.salvage {
            return Ok(Engine { auto: None, inner: Arc::new(salvaged) });
        }
        let log = Arc::clone(&salvaged.log);
        check_mark(&*log, position)?;
        let log_id = uuid::Uuid::try_parse(&meta.log_id)
            .map_err(|_| Error::corrupt("the database's own record: the log id is no uuid"))?
            .into_bytes();
        let has_policies = AtomicBool::new(log.get(&key::policies())?.is_some());
        let link = last.map_or_else(|| GroupLink::start(log_id), |(group, _)| group.link);
        let head = Head { position, link };
        let committer = Committer::start(log, self.clock, log_id, self.durability, head)?;
        let published = Arc::clone(committer.published());
        let inner = Inner { committer: Some(committer), published, has_policies, ..salvaged };
        let mut engine = Engine { auto: None, inner: Arc::new(inner) };
        match engine.inner.finish_removals() {
            // The next opening tries again; nobody else's sessions wait for it.
            Err(error) if error.concerns_one_session() || error.is_io() => {}
            finished => finished?,
        }
        interrupt_open_runs(&engine, log_id)?;
        if let Some(when) = self.auto {
            engine.auto = Some(Arc::new(AutoCompactor::start(&engine.inner, when)?));
        }
        Ok(engine)
    }

    fn load_meta(&self, log: &dyn Log) -> Result<Meta> {
        if let Some(meta) = stored_meta(log)? {
            return Ok(meta);
        }
        let is_empty = log.page(&key::everything(), PageLimit::records(1))?.is_empty();
        if let Some(mark) = log.durable_mark()?.filter(|mark| *mark > 0) {
            // Its own record is among what was lost. The sessions that are left say for themselves
            // what they are.
            if self.salvage && !is_empty {
                return Ok(Meta {
                    format: FORMAT_VERSION,
                    log_id: String::new(),
                    is_sealed: false,
                });
            }
            return Err(lost(last_position(log)?, mark));
        }
        if !is_empty {
            let reason = String::from("it holds records, but not a database's own");
            return Err(Error::new(ErrorKind::NotADatabase { reason }));
        }
        if !self.create || self.salvage {
            return Err(Error::not_found("database"));
        }
        #[cfg(feature = "seal")]
        let is_sealed = self.provider.is_some();
        #[cfg(not(feature = "seal"))]
        let is_sealed = false;
        let log_id = uuid::Uuid::new_v4().to_string();
        let meta = Meta { format: FORMAT_VERSION, log_id, is_sealed };
        let mut batch = Batch::new();
        batch.insert(key::meta(), meta.to_bytes()?);
        log.append(&batch, self.durability, 0)?;
        Ok(meta)
    }
}

fn last_position(log: &dyn Log) -> Result<u64> {
    Ok(GroupRecord::last(log)?.map_or(0, |(_, position)| position))
}

/// A damaged file can leave the log readable but shorter. The mark tells.
fn check_mark(log: &dyn Log, position: u64) -> Result<()> {
    match log.durable_mark()? {
        Some(mark) if mark > position => Err(lost(position, mark)),
        _ => Ok(()),
    }
}

fn lost(position: u64, mark: u64) -> Error {
    Error::corrupt(format!(
        "its files were damaged: {mark} events were acknowledged and {position} are left; \
         restore a copy, or open it with salvage to read them"
    ))
}

/// Runs under way when the last process ended did not end themselves. The database belongs to
/// one process at a time, so none of them is still under way.
fn interrupt_open_runs(engine: &Engine, log_id: [u8; 16]) -> Result<()> {
    let inner = &engine.inner;
    let mut tickets = Vec::new();
    for record in Scan::new(&*inner.log, key::class_range(key::Class::OpenRun, Order::Ascending)) {
        tickets.extend(unless_of_one_session(interrupt(engine, log_id, &record?))?.flatten());
    }
    // At the end, so that they share their syncs: there may be thousands.
    for ticket in tickets {
        unless_of_one_session(ticket.wait())?;
    }
    Ok(())
}

/// One damaged session must not lock all the others; reading it says what is wrong.
fn unless_of_one_session<T>(done: Result<T>) -> Result<Option<T>> {
    match done {
        Err(error) if error.concerns_one_session() => Ok(None),
        done => done.map(Some),
    }
}

/// Ends a run; `None` where there is nothing to end.
fn interrupt(engine: &Engine, log_id: [u8; 16], record: &Record) -> Result<Option<Ticket>> {
    let inner = &engine.inner;
    let (session, run) = key::parse_run(&record.key)?;
    let Some((entry, head)) = inner.entry(session)? else { return Ok(None) };
    let lineage = entry.lineage(session);
    let mut timeline = Timeline::at(&*inner.log, &lineage, head);
    let run = RunRecord::load(&*inner.log, &lineage, &mut timeline, run)?;
    let Some(run) = run else { return Ok(None) };
    // One that was taken over from another database is for that one to end: what comes next of it
    // is taken over too, and must find it as it was.
    let bytes = inner.log.get(&key::frame(lineage.holder(run.last_seq), run.last_seq))?;
    if bytes.map_or(Ok(true), |bytes| Ok(Frame::parse(&bytes)?.header.log_id != log_id))? {
        return Ok(None);
    }
    let event = NewEvent::in_run(run.run_id, RunFinished::interrupted());
    engine.session(entry.session_id).admin().handle().append([event]).map(Some)
}
