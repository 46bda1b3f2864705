//! Search, and what keeps its index right.

use std::collections::BTreeSet;

use super::Inner;
#[cfg(feature = "search")]
use super::{Engine, session::Session};
#[cfg(feature = "search")]
use crate::error::Context;
use crate::error::Result;
use crate::id::Digest;
use crate::index::Entry;
use crate::log::{Order, Scan, key};
#[cfg(feature = "search")]
use crate::search::{self, SearchPage, SearchProgress, SearchQuery};

#[cfg(feature = "search")]
impl Engine {
    /// The best hits of a search in messages, names and summaries.
    ///
    /// The index is first brought up to date with what was appended since: the first search in a
    /// database builds it. A hit is read from the session itself, so it is never one that the
    /// caller may not read, that a rewind left behind, or that was removed.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the query has no word to look for,
    /// `Limit` where it or what it asks for is too long, `Forbidden` where it asks for another
    /// user's sessions, `NotFound` where it names a session that is not there or not within reach.
    pub fn search(&self, query: &SearchQuery) -> Result<SearchPage> {
        let inner = &self.inner;
        search::search(&inner.log, &inner.search, query, inner.published())
    }

    /// Brings the index of searches up to date, on disk, telling how far it has come. A search takes
    /// in what is new by itself; this is for whoever would rather wait now.
    pub fn index_search(&self, progress: &mut dyn FnMut(SearchProgress)) -> Result<()> {
        let inner = &self.inner;
        inner.search.catch_up(&inner.log, inner.published(), progress)
    }

    /// Makes the index of searches anew from the log.
    pub fn rebuild_search(&self, progress: &mut dyn FnMut(SearchProgress)) -> Result<()> {
        let inner = &self.inner;
        inner.search.rebuild(&inner.log, inner.published(), progress)
    }
}

#[cfg(feature = "search")]
impl Session {
    /// The best ten hits in this session, what it shares with others included.
    pub fn search(&self, words: impl Into<String>) -> Result<SearchPage> {
        self.seq()?;
        let query = SearchQuery::new(self.access().clone(), words).sessions([self.id()]);
        self.engine().search(&query).with_context(|| self.place())
    }
}

/// The index of searches, or what is left to do about one in a build without it.
#[cfg(feature = "search")]
pub(super) type Searches = search::SearchIndex;
/// The folder of an index that another build may have made.
#[cfg(not(feature = "search"))]
pub(super) type Searches = Option<std::path::PathBuf>;

/// What a database's index of searches is: in its folder, or in memory where words must not lie
/// in the clear.
pub(super) fn searches(
    folder: Option<std::path::PathBuf>,
    log_id: String,
    is_sealed: bool,
) -> Result<Searches> {
    #[cfg(feature = "search")]
    return if is_sealed {
        Searches::in_memory(folder.as_deref(), log_id)
    } else {
        Searches::new(folder, log_id)
    };
    #[cfg(not(feature = "search"))]
    {
        drop(log_id);
        if is_sealed { forget(folder.as_deref()).map(|()| None) } else { Ok(folder) }
    }
}

/// Removes an index that another build made.
#[cfg(not(feature = "search"))]
fn forget(folder: Option<&std::path::Path>) -> Result<()> {
    match folder.map(std::fs::remove_dir_all) {
        Some(Err(error)) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(crate::error::Error::io(error))
        }
        _ => Ok(()),
    }
}

#[cfg(not(feature = "search"))]
impl Inner {
    /// Does something that takes away what was said. An index of searches may have it too: it can
    /// be made anew, so it goes.
    pub(super) fn erasing<T>(&self, _: Digest, erase: impl FnOnce() -> Result<T>) -> Result<T> {
        self.erasing_many(|_| erase())
    }

    /// The same for many sessions.
    pub(super) fn erasing_many<T>(
        &self,
        erase: impl FnOnce(&mut BTreeSet<Digest>) -> Result<T>,
    ) -> Result<T> {
        forget(self.search.as_deref())?;
        erase(&mut BTreeSet::new())
    }
}

#[cfg(feature = "search")]
impl Inner {
    /// Does something that takes away what a session or those that share with it have said, and
    /// takes it out of the index of searches too. A crash in the middle leaves a mark, and the
    /// next opening does the rest.
    pub(super) fn erasing<T>(
        &self,
        session: Digest,
        erase: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.erasing_many(|streams| {
            streams.extend(self.streams_around(session)?);
            let erased = erase();
            // Forks may have been made meanwhile.
            streams.extend(self.streams_around(session)?);
            erased
        })
    }

    /// The same for many sessions: `erase` adds the streams that it touched.
    pub(super) fn erasing_many<T>(
        &self,
        erase: impl FnOnce(&mut BTreeSet<Digest>) -> Result<T>,
    ) -> Result<T> {
        let erasing = self.search.begin_erasing()?;
        let mut streams = BTreeSet::new();
        let erased = erase(&mut streams);
        erasing.finish(&self.log, &streams, self.published())?;
        erased
    }
}

impl Inner {
    /// The streams that a session shares with others, and those of the sessions that share them.
    pub(super) fn streams_around(&self, session: Digest) -> Result<BTreeSet<Digest>> {
        let mut streams = BTreeSet::from([session]);
        if let Some(entry) = Entry::load(&*self.log, session)? {
            streams.extend(entry.ancestors.iter().map(|ancestor| ancestor.stream));
        }
        for stream in streams.clone() {
            for record in
                Scan::new(&*self.log, key::within(key::Class::Sharer, stream, Order::Ascending))
            {
                let (_, sharer) = key::parse_fork(&record?.key)?;
                streams.insert(sharer);
                // One between may have been deleted, and still be shared.
                let entry = Entry::load(&*self.log, sharer)?;
                let ancestors = entry.into_iter().flat_map(|entry| entry.ancestors);
                streams.extend(ancestors.map(|ancestor| ancestor.stream));
            }
        }
        Ok(streams)
    }
}
