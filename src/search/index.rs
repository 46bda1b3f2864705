//! The index beside a log: made when it is first asked for, brought up to date before each
//! search, and rid of what is erased.
//!
//! A little that is new is taken in beside it, in memory, so that a search need not wait for the
//! disk. Much of it, and what changes earlier entries, goes to the index on disk.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use tantivy::Searcher;

use super::feed::{self, Before, Feed, SearchProgress, mark_of};
use super::schema::Fields;
use super::store::{Reached, Store};
use crate::codec::Frame;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::limits::{SEARCH_TAIL_EVENTS, SEARCH_TAIL_WRITER_BYTES, SEARCH_WRITER_BYTES};
use crate::log::{Log, key};

/// Says that something is being erased which may be in the index. Where it is found when a
/// database is opened, the index goes.
const ERASING_FILE: &str = "erasing";
/// Where tantivy keeps its files.
const INDEX_FOLDER: &str = "index";

/// A search index, or the place for one.
pub(crate) struct SearchIndex {
    /// `None` for an index in memory.
    folder: Option<PathBuf>,
    log_id: String,
    state: Mutex<State>,
    /// Held while something is searched, and alone while files are removed: who searches keeps
    /// files that are gone.
    searching: RwLock<()>,
}

#[derive(Debug, Default)]
struct State {
    store: Option<Store>,
    /// What the log has behind the store; never there without it. It is as good as the store: a
    /// process that ends loses nothing but the work.
    tail: Option<Store>,
    /// Erasures under way.
    erasing: usize,
}

/// An index that something is searched in.
pub(super) struct Searching<'a> {
    /// Each event is in one of them.
    pub(super) searchers: Vec<Searcher>,
    pub(super) fields: Fields,
    _files: RwLockReadGuard<'a, ()>,
}

/// An erasure that is under way. Dropped before it ended, it leaves the mark for the next opening.
#[must_use]
pub(crate) struct Erasing<'a> {
    index: &'a SearchIndex,
}

impl SearchIndex {
    /// The index in a folder, or in memory. Opens none yet; one that a crash left with words that
    /// were to be erased is removed.
    pub(crate) fn new(folder: Option<PathBuf>, log_id: String) -> Result<Self> {
        if let Some(folder) = folder.as_deref()
            && folder.join(ERASING_FILE).exists()
        {
            remove_folder(folder)?;
        }
        let state = Mutex::new(State::default());
        Ok(Self { folder, log_id, state, searching: RwLock::new(()) })
    }

    /// An index in memory, in the place of one that may lie in a folder.
    pub(crate) fn in_memory(folder: Option<&Path>, log_id: String) -> Result<Self> {
        folder.map_or(Ok(()), remove_folder)?;
        Self::new(None, log_id)
    }

    /// Brings the index up to date, as far as readers may see.
    pub(crate) fn catch_up(
        &self,
        log: &Arc<dyn Log>,
        published: u64,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<()> {
        let mut state = self.lock();
        self.catch_up_locked(&mut state, log, published, progress)
    }

    /// Makes the index anew.
    pub(crate) fn rebuild(
        &self,
        log: &Arc<dyn Log>,
        published: u64,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<()> {
        let mut state = self.lock();
        self.discard(&mut state)?;
        self.catch_up_locked(&mut state, log, published, progress)
    }

    /// The index with all in it that readers may see.
    pub(super) fn searching(&self, log: &Arc<dyn Log>, published: u64) -> Result<Searching<'_>> {
        let mut state = self.lock();
        if !self.follow(&mut state, log, published)? {
            self.catch_up_locked(&mut state, log, published, &mut |_| ())?;
        }
        // Taken while the state is locked: an erasure locks both in the same order.
        let searching = self.searching.read().unwrap_or_else(PoisonError::into_inner);
        let store = state.store.as_ref().ok_or_else(no_index)?;
        let fields = *store.fields();
        let searchers = [Some(store), state.tail.as_ref()];
        let searchers = searchers.into_iter().flatten().map(Store::searcher).collect();
        Ok(Searching { searchers, fields, _files: searching })
    }

    /// Takes in what is new beside the index on disk, where that does. `false` where it is for the
    /// index itself.
    fn follow(&self, state: &mut State, log: &Arc<dyn Log>, published: u64) -> Result<bool> {
        self.open(state, log, published)?;
        let Some(store) = &state.store else { return Ok(false) };
        let reached = &store.reached;
        if self.folder.is_none() || reached.position == 0 {
            return Ok(false);
        }
        let events = published.saturating_sub(reached.position);
        if events == 0 || events > SEARCH_TAIL_EVENTS {
            return Ok(events == 0);
        }
        let tail = match state.tail.take() {
            Some(tail) => tail,
            None => Store::in_memory(reached.clone(), SEARCH_TAIL_WRITER_BYTES)?,
        };
        // Dropped where it fails or does not do.
        state.tail = feed::follow(log, tail, published)?;
        Ok(state.tail.is_some())
    }

    fn catch_up_locked(
        &self,
        state: &mut State,
        log: &Arc<dyn Log>,
        published: u64,
        progress: &mut dyn FnMut(SearchProgress),
    ) -> Result<()> {
        self.open(state, log, published)?;
        let store = state.store.as_mut().ok_or_else(no_index)?;
        if store.reached.position >= published {
            return Ok(());
        }
        state.tail = None;
        if feed::catch_up(log, store, published, progress).is_ok() {
            return Ok(());
        }
        // Its files may be damaged in a part that only writing meets. An index is quickly made,
        // and what fails then is something else.
        self.discard(state)?;
        self.open(state, log, published)?;
        let store = state.store.as_mut().ok_or_else(no_index)?;
        let done = feed::catch_up(log, store, published, progress);
        if done.is_err() {
            state.store = None;
        }
        done
    }

    /// Opens the index that is there, if it is whole and of this log, and else begins one.
    fn open(&self, state: &mut State, log: &Arc<dyn Log>, published: u64) -> Result<()> {
        if state.store.is_some() {
            return Ok(());
        }
        if let Some(store) = self.stored(log, published)? {
            state.store = Some(store);
            return Ok(());
        }
        self.discard(state)?;
        if let Some(folder) = &self.folder {
            fs::create_dir_all(folder).map_err(Error::io).with_context(|| place(folder))?;
            // What is being erased may be read once more.
            if state.erasing > 0 {
                write_mark(folder)?;
            }
        }
        state.store = Some(match &self.folder {
            Some(folder) => Store::create(&folder.join(INDEX_FOLDER), &self.log_id)
                .with_context(|| place(folder))?,
            None => Store::in_memory(Reached::nothing(&self.log_id), SEARCH_WRITER_BYTES)?,
        });
        Ok(())
    }

    fn stored(&self, log: &Arc<dyn Log>, published: u64) -> Result<Option<Store>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let folder = folder.join(INDEX_FOLDER);
        if !folder.exists() {
            return Ok(None);
        }
        // Whatever is the matter with it, a new one is as good.
        let Ok(store) = Store::open(&folder) else { return Ok(None) };
        let is_of = feed::is_of(&**log, &store.reached, &self.log_id, published)?;
        Ok(is_of.then_some(store))
    }

    fn discard(&self, state: &mut State) -> Result<()> {
        (state.store, state.tail) = (None, None);
        let Some(folder) = &self.folder else { return Ok(()) };
        remove_files(folder)
    }

    /// Notes, durably, that something is about to be erased from the log.
    pub(crate) fn begin_erasing(&self) -> Result<Erasing<'_>> {
        let mut state = self.lock();
        if let Some(folder) = self.folder.as_deref()
            && folder.exists()
        {
            write_mark(folder)?;
        }
        state.erasing += 1;
        Ok(Erasing { index: self })
    }

    /// Takes out of the index what some streams no longer say, and its words out of the files.
    /// Where that fails, the index goes.
    fn purge(&self, log: &Arc<dyn Log>, streams: &BTreeSet<Digest>, published: u64) -> Result<()> {
        let mut state = self.lock();
        // Read from the log again by the next search.
        state.tail = None;
        // Those under way have a searcher, which keeps files.
        let alone = self.searching.write().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            self.folder.as_deref().is_some_and(|folder| folder.join(INDEX_FOLDER).exists());
        if state.store.is_none() && is_there {
            state.store = self.stored(log, published)?;
        }
        let purged = match &mut state.store {
            Some(store) => purge_store(&**log, store, streams),
            None => Err(no_index()),
        };
        if purged.is_err() {
            self.discard(&mut state)?;
        }
        drop(alone);
        Ok(())
    }

    fn end_erasing(&self) -> Result<()> {
        let mut state = self.lock();
        state.erasing = state.erasing.saturating_sub(1);
        match &self.folder {
            Some(folder) if state.erasing == 0 => remove_mark(folder),
            _ => Ok(()),
        }
    }

    // A panic while it is held leaves a store that is at its last commit, or none.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Erasing<'_> {
    /// Ends the erasure: what was in these streams and is there no more is in the index no more.
    pub(crate) fn finish(
        self,
        log: &Arc<dyn Log>,
        streams: &BTreeSet<Digest>,
        published: u64,
    ) -> Result<()> {
        self.index.purge(log, streams, published)?;
        self.index.end_erasing()
    }
}

impl fmt::Debug for SearchIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchIndex").field("folder", &self.folder).finish_non_exhaustive()
    }
}

fn purge_store(log: &dyn Log, store: &mut Store, streams: &BTreeSet<Digest>) -> Result<()> {
    let mut has_changed = false;
    for stream in streams {
        let filed = store.entries_of(*stream)?;
        let mut feed = Feed::new(log, store, Before::Here);
        for entry in filed {
            let bytes = log.get(&key::frame(*stream, entry.seq))?.unwrap_or_default();
            let is_same = Frame::parse(&bytes).is_ok_and(|frame| mark_of(&frame) == entry.mark);
            if !is_same {
                feed.read_again(*stream, entry.seq)?;
                has_changed = true;
            }
        }
    }
    if has_changed {
        let reached = store.reached.clone();
        store.commit(reached)?;
    }
    if store.has_removed()? || store.has_loose_files()? {
        store.expunge()?;
    }
    if store.has_loose_files()? { Err(no_index()) } else { Ok(()) }
}

fn no_index() -> Error {
    Error::io(std::io::Error::other("it is not open")).context("search index")
}

/// The folder as an error names it: what is wrong with it has to be put right there.
fn place(folder: &Path) -> String {
    folder.display().to_string()
}

fn write_mark(folder: &Path) -> Result<()> {
    let write = || {
        File::create(folder.join(ERASING_FILE))?.sync_all()?;
        File::open(folder)?.sync_all()
    };
    write().map_err(Error::io).with_context(|| place(folder))
}

fn remove_mark(folder: &Path) -> Result<()> {
    match fs::remove_file(folder.join(ERASING_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(error).context(place(folder)))
        }
        _ => Ok(()),
    }
}

/// Removes the index from its folder, for good: the mark of an erasure, which stays, may go next.
fn remove_files(folder: &Path) -> Result<()> {
    let removed = match fs::remove_dir_all(folder.join(INDEX_FOLDER)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(folder).and_then(|folder| folder.sync_all()),
    };
    removed.map_err(Error::io).with_context(|| place(folder))
}

/// Removes the folder, the mark of an erasure last: while it is there, words may be.
fn remove_folder(folder: &Path) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    remove_files(folder)?;
    fs::remove_dir_all(folder).map_err(Error::io).with_context(|| place(folder))
}
