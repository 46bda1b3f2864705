//! The index itself: tantivy, in a folder or in memory, and how far it has come.

use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tantivy::collector::DocSetCollector;
use tantivy::directory::{MmapDirectory, RamDirectory};
use tantivy::indexer::{LogMergePolicy, NoMergePolicy};
use tantivy::query::TermQuery;
use tantivy::schema::{IndexRecordOption, Schema};
use tantivy::{Index, IndexReader, IndexSettings, IndexWriter, ReloadPolicy, Searcher};

use super::schema::{self, Entry, Fields, SEARCH_VERSION};
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::limits::{SEARCH_SEGMENT_ENTRIES, SEARCH_WRITER_BYTES};

/// Where tantivy lists the parts of an index.
const META_FILE: &str = "meta.json";

/// How far an index has come, and in which log. Part of each commit to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) version: u32,
    pub(super) log_id: String,
    /// The last position that was taken in; 0 before the first.
    pub(super) position: u64,
    /// Where that event lies, and its link: another log has another one there.
    pub(super) stream: Digest,
    pub(super) seq: u64,
    pub(super) link: String,
}

impl Reached {
    pub(super) fn nothing(log_id: &str) -> Self {
        Self {
            version: SEARCH_VERSION,
            log_id: log_id.to_owned(),
            position: 0,
            stream: Digest::NONE,
            seq: 0,
            link: String::new(),
        }
    }
}

/// What an index knows of an entry of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filed {
    pub(super) seq: u64,
    pub(super) mark: u64,
    pub(super) reach: u64,
}

pub(super) struct Store {
    /// `None` for an index in memory.
    folder: Option<PathBuf>,
    index: Index,
    schema: Schema,
    fields: Fields,
    reader: IndexReader,
    /// Its threads end with the store. `None` until something is written.
    writer: Option<IndexWriter>,
    writer_bytes: usize,
    pub(super) reached: Reached,
    /// Bytes of the texts that were added.
    pub(super) text_bytes: usize,
}

impl Store {
    /// The index in a folder, if it is whole and of this version.
    pub(super) fn open(folder: &Path) -> Result<Self> {
        guarded(|| {
            let index = Index::open(MmapDirectory::open(folder)?)?;
            let payload = index.load_metas()?.payload.unwrap_or_default();
            let reached: Reached = serde_json::from_str(&payload)
                .map_err(|error| tantivy::TantivyError::InvalidArgument(error.to_string()))?;
            if index.schema() != schema::schema() || reached.version != SEARCH_VERSION {
                let words = String::from("it is of another version");
                return Err(tantivy::TantivyError::InvalidArgument(words));
            }
            let store = Self::over(Some(folder), index, reached)?;
            // The reader has mapped the files, so what is read here is there for the searches.
            if !store.index.validate_checksum()?.is_empty() {
                let words = String::from("it is damaged");
                return Err(tantivy::TantivyError::InvalidArgument(words));
            }
            Ok(store)
        })
    }

    /// An empty index in a folder that has none.
    pub(super) fn create(folder: &Path, log_id: &str) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io)?;
        guarded(|| {
            let (schema, settings) = (schema::schema(), IndexSettings::default());
            let index = Index::create(MmapDirectory::open(folder)?, schema, settings)?;
            Self::over(Some(folder), index, Reached::nothing(log_id))
        })
    }

    /// An empty index in memory, for what comes behind that. It may use so many bytes for what is
    /// on its way into it.
    pub(super) fn in_memory(reached: Reached, writer_bytes: usize) -> Result<Self> {
        guarded(|| {
            let settings = IndexSettings::default();
            let index = Index::create(RamDirectory::create(), schema::schema(), settings);
            let mut store = Self::over(None, index?, reached)?;
            store.writer_bytes = writer_bytes;
            Ok(store)
        })
    }

    fn over(folder: Option<&Path>, index: Index, reached: Reached) -> tantivy::Result<Self> {
        schema::register_words(&index);
        let schema = index.schema();
        let fields = schema::fields(&schema)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let folder = folder.map(Path::to_owned);
        Ok(Self {
            folder,
            index,
            schema,
            fields,
            reader,
            writer: None,
            writer_bytes: SEARCH_WRITER_BYTES,
            reached,
            text_bytes: 0,
        })
    }

    pub(super) fn fields(&self) -> &Fields {
        &self.fields
    }

    pub(super) fn searcher(&self) -> Searcher {
        self.reader.searcher()
    }

    fn writer(&mut self) -> tantivy::Result<&mut IndexWriter> {
        if self.writer.is_none() {
            let writer = self.index.writer_with_num_threads(1, self.writer_bytes)?;
            let mut policy = LogMergePolicy::default();
            policy.set_max_docs_before_merge(SEARCH_SEGMENT_ENTRIES);
            writer.set_merge_policy(Box::new(policy));
            self.writer = Some(writer);
        }
        let none = || tantivy::TantivyError::SystemError(String::from("no writer"));
        self.writer.as_mut().ok_or_else(none)
    }

    /// Adds an entry.
    pub(super) fn add(&mut self, entry: &Entry<'_>) -> Result<()> {
        let added = guarded(|| {
            let document = entry.document(&self.schema, &self.fields)?;
            self.text_bytes = self.text_bytes.saturating_add(entry.said.text.len());
            self.writer()?.add_document(document).map(drop)
        });
        self.located(added)
    }

    /// Takes the entry of an event out, as far as it was added before.
    pub(super) fn remove(&mut self, stream: Digest, seq: u64) -> Result<()> {
        guarded(|| {
            let term = schema::place_term(&self.fields, stream, seq);
            self.writer()?.delete_term(term);
            Ok(())
        })
    }

    /// Takes all entries of a stream out.
    pub(super) fn remove_stream(&mut self, stream: Digest) -> Result<()> {
        guarded(|| {
            let term = schema::stream_term(&self.fields, stream);
            self.writer()?.delete_term(term);
            Ok(())
        })
    }

    /// Makes durable what was added and taken out, and how far that goes, as one.
    pub(super) fn commit(&mut self, reached: Reached) -> Result<()> {
        let payload = serde_json::to_string(&reached)
            .map_err(|error| Error::invalid(format!("search index: {error}")))?;
        let committed = guarded(|| {
            let mut commit = self.writer()?.prepare_commit()?;
            commit.set_payload(&payload);
            commit.commit()?;
            self.reader.reload()
        });
        self.located(committed)?;
        self.reached = reached;
        Ok(())
    }

    /// Names the folder in an error of writing to it: its disk may be full.
    fn located<T>(&self, written: Result<T>) -> Result<T> {
        match &self.folder {
            Some(folder) => written.with_context(|| folder.display().to_string()),
            None => written,
        }
    }

    /// Writes anew the parts of the index that hold entries which were taken out, and removes the
    /// old ones. Nobody else may have a searcher: it would keep their files.
    pub(super) fn expunge(&mut self) -> Result<()> {
        guarded(|| {
            // What merges by itself ends first, so that no part is in use.
            self.writer()?;
            if let Some(writer) = self.writer.take() {
                writer.wait_merging_threads()?;
            }
            let writer = self.writer()?;
            writer.set_merge_policy(Box::new(NoMergePolicy));
            let metas = writer.index().searchable_segment_metas()?;
            for meta in metas.iter().filter(|meta| meta.has_deletes()) {
                writer.merge(&[meta.id()]).wait()?;
            }
            drop(metas);
            self.reader.reload()?;
            if let Some(writer) = &self.writer {
                writer.garbage_collect_files().wait()?;
            }
            if let Some(writer) = self.writer.take() {
                writer.wait_merging_threads()?;
            }
            Ok(())
        })
    }

    /// The entries of a stream, as of the last commit.
    pub(super) fn entries_of(&self, stream: Digest) -> Result<Vec<Filed>> {
        guarded(|| {
            let searcher = self.searcher();
            let term = schema::stream_term(&self.fields, stream);
            let query = TermQuery::new(term, IndexRecordOption::Basic);
            let mut filed = Vec::new();
            for address in searcher.search(&query, &DocSetCollector)? {
                let columns = searcher.segment_reader(address.segment_ord).fast_fields();
                let value = |column| -> tantivy::Result<u64> {
                    Ok(columns.u64(column)?.first(address.doc_id).unwrap_or_default())
                };
                let (seq, mark) = (value(schema::SEQ)?, value(schema::MARK)?);
                filed.push(Filed { seq, mark, reach: value(schema::REACH)? });
            }
            Ok(filed)
        })
    }

    /// Whether entries that were taken out are still in its files.
    pub(super) fn has_removed(&self) -> Result<bool> {
        guarded(|| {
            let metas = self.index.searchable_segment_metas()?;
            Ok(metas.iter().any(tantivy::SegmentMeta::has_deletes))
        })
    }

    /// Whether there are files that belong to none of its parts: what a process was writing when
    /// it ended has words in it, too.
    pub(super) fn has_loose_files(&self) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        let metas = guarded(|| self.index.searchable_segment_metas())?;
        let parts: Vec<String> = metas.iter().map(|meta| meta.id().uuid_string()).collect();
        for entry in fs::read_dir(folder).map_err(Error::io)? {
            let name = entry.map_err(Error::io)?.file_name();
            let name = name.to_string_lossy();
            // Its lists and its locks have no words.
            let is_list = name == META_FILE || name.starts_with('.');
            if !is_list && !parts.iter().any(|part| name.starts_with(part)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // No thread of it outlives the engine.
        if let Some(writer) = self.writer.take() {
            drop(guarded(|| writer.wait_merging_threads()));
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("reached", &self.reached).finish_non_exhaustive()
    }
}

/// Calls tantivy. Bytes that were damaged can make it panic: that is an error like any other.
pub(super) fn guarded<T>(call: impl FnOnce() -> tantivy::Result<T>) -> Result<T> {
    match crate::panics::quietly(|| catch_unwind(AssertUnwindSafe(call))) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(failed(&error.to_string())),
        Err(_) => Err(failed("its files cannot be read")),
    }
}

fn failed(words: &str) -> Error {
    Error::io(std::io::Error::other(words.to_owned())).context("search index")
}
