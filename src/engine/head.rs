//! Heads: links to keep elsewhere, and whether a link that was kept still holds.

use super::{Engine, Session, SessionAt};
use crate::error::{Context, Result};
use crate::log::{Order, Scan, key};
use crate::verify::{self, Kept, LogHead, Progress, Report};

impl Engine {
    /// The end of the chain over the whole log, to be kept elsewhere; `None` where nothing was
    /// appended yet.
    ///
    /// It commits to every event of every session up to its position, to their order, and to
    /// where each append began and ended; not to the catalog, indexes and snapshots, which follow
    /// from the events. [`Engine::verify_head`] takes it.
    ///
    /// ```
    /// use sessionlog::{Engine, HeadFound, Message};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").open()?;
    /// session.record_run([Message::user("Hi")], Default::default())?.wait()?;
    /// let (log, own) = (engine.head()?.unwrap(), session.link()?); // keep one, or both
    ///
    /// session.rename("later")?.wait()?;
    /// let report = engine.verify_head(&log.link)?;
    /// assert!(report.ok && report.head == Some(HeadFound::Position(log.position)));
    /// let report = engine.verify_session_head("s1", &own)?;
    /// assert!(report.ok && report.head == Some(HeadFound::Seq(4)));
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn head(&self) -> Result<Option<LogHead>> {
        verify::of_log(&*self.inner.log, self.inner.published())
    }

    /// Checks everything, as [`Engine::verify`] does, and that a link of the log that was kept is
    /// still in its chain: then nothing up to there was changed, dropped or put in between, by
    /// whomever. [`Report::head`] says where it is; where it is not, that is a problem.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it is not 64 hexadecimal digits.
    pub fn verify_head(&self, link: &str) -> Result<Report> {
        self.verify_head_with(link, &mut |_| ())
    }

    /// The same, telling how far it has come.
    pub fn verify_head_with(&self, link: &str, progress: &mut Progress<'_>) -> Result<Report> {
        self.verify_kept(Some(Kept::parse(link)?), progress)
    }

    /// Checks a session, as [`Engine::verify_sessions`] does, and that a link of it that was kept
    /// is still in its chain. That of a session that it was forked from is, up to the fork.
    ///
    /// # Errors
    /// As [`Engine::verify_head`], and `NotFound` where there is no such session.
    pub fn verify_session_head(&self, session_id: &str, link: &str) -> Result<Report> {
        let kept = Kept::parse(link)?;
        let session_ids = [session_id.to_owned()];
        self.inner.verifying(|stored| verify::sessions(stored, &session_ids, Some(kept)))
    }

    /// How many events were acknowledged and are not there any more. Only an engine opened with
    /// [`EngineBuilder::salvage`](super::EngineBuilder::salvage) is asked: others refuse a database
    /// that lost its last ones, and meet an error where they come to another that is missing. All
    /// events are counted for it.
    ///
    /// A copy that was made while another process wrote to the database may lack what it was
    /// writing; a copy made later has it.
    pub fn missing_events(&self) -> Result<u64> {
        if self.inner.committer.is_some() {
            return Ok(0);
        }
        let mark = self.inner.log.durable_mark()?.unwrap_or(0);
        let events = key::class_range(key::Class::Frame, Order::Ascending);
        let mut left = 0;
        for event in Scan::new(&*self.inner.log, events) {
            event?;
            left += 1;
        }
        Ok(mark.saturating_sub(left))
    }

    pub(super) fn verify_kept(
        &self,
        kept: Option<Kept>,
        progress: &mut Progress<'_>,
    ) -> Result<Report> {
        // While an engine writes, its mark runs ahead of what readers see; opening checked it.
        let mark = match &self.inner.committer {
            Some(_) => None,
            None => self.inner.log.durable_mark()?,
        };
        self.inner.verifying(|stored| verify::all(stored, mark, kept, progress))
    }
}

impl Session {
    /// The link of the session's last event, in hexadecimal, to be kept elsewhere.
    ///
    /// It commits to every event of the session, and to their order: to their headers, and to
    /// their bodies as they were first stored. What a fork shares is among them, and what rewinds
    /// left behind. A dump keeps it. [`Engine::verify_session_head`] takes it.
    pub fn link(&self) -> Result<String> {
        let read = || {
            let (lineage, head) = self.head()?;
            verify::link_at(&**self.inner().log(), &lineage, head)
        };
        read().with_context(|| self.place())
    }
}

impl SessionAt {
    /// The link of the last event before the point, as [`Session::link`] has it of the last one;
    /// `None` before the first.
    pub fn link(&self) -> Result<Option<String>> {
        if self.seq() == 0 {
            return Ok(None);
        }
        let session = self.session();
        let read = || {
            let (lineage, _) = session.head()?;
            verify::link_at(&**session.inner().log(), &lineage, self.seq())
        };
        read().map(Some).with_context(|| session.place())
    }
}
