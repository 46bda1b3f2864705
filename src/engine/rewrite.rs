//! Giving back the room that a database no longer needs.

use std::path::Path;

use super::{Engine, EngineBuilder};
use crate::error::Result;
use crate::limits::CACHE_BYTES_DEFAULT;
use crate::log::{self, Rewritten};

impl Engine {
    /// Rewrites the database at a path into files of its own size. The files of a log on disk
    /// never get shorter by themselves, whatever is removed from them: [`Stats::dead_bytes`]
    /// tells how much they hold beyond the records.
    ///
    /// The database must not be open, and a second copy of it needs room meanwhile. Every record
    /// stays as it is, byte for byte. A crash at any moment leaves the database whole: as it was,
    /// or rewritten once it is opened again.
    ///
    /// ```
    /// use sessionlog::{Engine, Message};
    ///
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("chat.db");
    /// let session = Engine::open(&path)?.session("s1").open()?;
    /// session.record_run([Message::user("Hi")], Default::default())?.wait()?;
    /// drop(session); // closes the database
    ///
    /// let rewritten = Engine::rewrite(&path)?;
    /// assert!(rewritten.records > 0);
    /// let session = Engine::open(&path)?.session("s1").open_existing()?;
    /// assert_eq!(session.view()?.message_count, 1);
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Locked`](crate::ErrorKind::Locked) where it is open, and those of
    /// [`Engine::open`]; `NotFound` where there is no database. The database stays as it was.
    ///
    /// [`Stats::dead_bytes`]: crate::Stats::dead_bytes
    pub fn rewrite(path: impl AsRef<Path>) -> Result<Rewritten> {
        Self::rewrite_with(path, &mut |_| ())
    }

    /// The same, telling how many records are written so far.
    pub fn rewrite_with(
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Rewritten> {
        Self::builder().rewrite_with(path, progress)
    }
}

impl EngineBuilder {
    /// Rewrites a database as [`Engine::rewrite`] does: one that is sealed needs its key.
    pub fn rewrite_with(
        self,
        path: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Rewritten> {
        let path = path.as_ref();
        // Opening refuses what is shorter than it was, or written by a newer version: a rewrite
        // would make of it what cannot be salvaged.
        drop(self.create(false).open(path)?);
        log::rewrite(path, CACHE_BYTES_DEFAULT, progress)
    }
}
