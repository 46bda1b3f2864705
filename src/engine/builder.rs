//! How a database is opened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Engine, Inner};
use crate::access::Access;
use crate::clock::{Clock, SystemClock};
use crate::codec::{FORMAT_VERSION, Frame, GroupLink};
use crate::commit::{Append, Committer, Expected, Head, Published};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{NewEvent, RunFinished, RunStatus};
use crate::index::{GroupRecord, RunRecord, Timeline};
use crate::log::{Batch, Durability, Log, Order, PageLimit, Record, Scan, key};
#[cfg(feature = "sled")]
use crate::log::{SledLog, SledOptions};

/// Settings of an engine. The default ones are those of [`Engine::open`].
#[derive(Debug, Clone)]
pub struct EngineBuilder {
    create: bool,
    salvage: bool,
    durability: Durability,
    cache_bytes: u64,
    clock: Arc<dyn Clock>,
}

impl Default for EngineBuilder {
    fn default() -> Self {
        Self {
            create: true,
            salvage: false,
            durability: Durability::default(),
            cache_bytes: crate::limits::CACHE_BYTES_DEFAULT,
            clock: Arc::new(SystemClock),
        }
    }
}

/// The database's own record.
#[derive(Debug, Serialize, Deserialize)]
struct Meta {
    format: u32,
    log_id: String,
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

    /// Another clock than the operating system's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
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
        self.open_log(Arc::new(log)).map_err(|error| error.context(path.display().to_string()))
    }

    /// Opens whatever is in a log of one's own.
    pub fn open_log(self, log: Arc<dyn Log>) -> Result<Engine> {
        let meta = self.load_meta(&*log)?;
        let head = load_head(&*log)?;
        if self.salvage {
            let published = Arc::new(Published::closed_at(head.position));
            let inner = Inner { committer: None, log, published };
            return Ok(Engine { inner: Arc::new(inner) });
        }
        check_mark(&*log, head.position)?;
        let log_id = uuid::Uuid::try_parse(&meta.log_id)
            .map_err(|_| Error::corrupt("the database's own record: the log id is no uuid"))?
            .into_bytes();
        let committer =
            Committer::start(Arc::clone(&log), self.clock, log_id, self.durability, head)?;
        let published = Arc::clone(committer.published());
        let inner = Inner { committer: Some(committer), log, published };
        interrupt_open_runs(&inner, log_id)?;
        Ok(Engine { inner: Arc::new(inner) })
    }

    fn load_meta(&self, log: &dyn Log) -> Result<Meta> {
        if let Some(bytes) = log.get(&key::meta())? {
            let meta: Meta = serde_json::from_slice(&bytes)
                .map_err(|error| Error::corrupt(format!("the database's own record: {error}")))?;
            if meta.format > FORMAT_VERSION {
                let (found, supported) = (meta.format, FORMAT_VERSION);
                return Err(Error::new(ErrorKind::NewerFormat { found, supported }));
            }
            return Ok(meta);
        }
        if !log.page(&key::everything(), PageLimit::records(1))?.is_empty() {
            let reason = String::from("it holds records, but not a database's own");
            return Err(Error::new(ErrorKind::NotADatabase { reason }));
        }
        if log.durable_mark()?.is_some_and(|mark| mark > 0) {
            return Err(lost(0, log.durable_mark()?.unwrap_or_default()));
        }
        if !self.create || self.salvage {
            return Err(Error::not_found("database"));
        }
        let meta = Meta { format: FORMAT_VERSION, log_id: uuid::Uuid::new_v4().to_string() };
        let bytes = serde_json::to_vec(&meta)
            .map_err(|error| Error::invalid(format!("the database's own record: {error}")))?;
        let mut batch = Batch::new();
        batch.insert(key::meta(), bytes);
        log.append(&batch, self.durability, 0)?;
        Ok(meta)
    }
}

fn load_head(log: &dyn Log) -> Result<Head> {
    Ok(match GroupRecord::last(log)? {
        Some((group, position)) => Head { position, link: group.link },
        None => Head { position: 0, link: GroupLink::START },
    })
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
fn interrupt_open_runs(inner: &Inner, log_id: [u8; 16]) -> Result<()> {
    for record in Scan::new(&*inner.log, key::class_range(key::Class::OpenRun, Order::Ascending)) {
        match interrupt(inner, log_id, &record?) {
            // One damaged session must not lock all the others; reading it says what is wrong.
            Err(error) if concerns_one_session(&error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Whether others can be opened all the same.
fn concerns_one_session(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt { .. } | ErrorKind::NotFound { .. } | ErrorKind::Invalid { .. }
    )
}

fn interrupt(inner: &Inner, log_id: [u8; 16], record: &Record) -> Result<()> {
    let (session, run) = key::parse_run(&record.key)?;
    let Some((entry, head)) = inner.entry(session)? else { return Ok(()) };
    let lineage = entry.lineage(session);
    let mut timeline = Timeline::at(&*inner.log, &lineage, head);
    let run = RunRecord::load(&*inner.log, &lineage, &mut timeline, run)?;
    let Some(run) = run else { return Ok(()) };
    // One that was taken over from another database is for that one to end: what comes next of it
    // is taken over too, and must find it as it was.
    let bytes = inner.log.get(&key::frame(lineage.holder(run.last_seq), run.last_seq))?;
    if bytes.map_or(Ok(true), |bytes| Ok(Frame::parse(&bytes)?.header.log_id != log_id))? {
        return Ok(());
    }
    let finished = RunFinished { status: RunStatus::Interrupted, metrics: None, reason: None };
    let event = NewEvent::in_run(run.run_id, finished);
    let (access, expected) = (Access::Admin, Expected::Any);
    let append = Append::prepare(&entry.session_id, access, expected, vec![event])?;
    inner.append(append)?.wait().map(drop)
}
