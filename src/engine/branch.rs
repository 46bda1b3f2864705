//! The past as a place to work in: forks, rewinds.

use super::session::Session;
use crate::codec::Link;
use crate::commit::{Expected, Ticket};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{ForkedFrom, NewEvent, RewoundTo, RunFinished, RunStatus};
use crate::id::{StreamName, generate_name};
use crate::index::{Entry, Lineage};
use crate::log::{Order, Scan, key};
use crate::message::Metrics;
use crate::projection::{ForkPoint, SessionView};
use crate::replay::Point;
use crate::snapshot::{self, Snapshot};

/// A session to be forked. Made by [`Session::fork`].
#[must_use = "a fork is made by `open`"]
#[derive(Debug, Clone)]
pub struct ForkBuilder {
    session: Session,
    point: Point,
    session_id: String,
}

/// A session that was forked from another.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fork {
    /// The fork's id.
    pub session_id: String,
    /// Its name.
    pub name: Option<String>,
    /// The last seq that it shares with the other.
    pub seq: u64,
    /// When it was forked, in microseconds since 1970.
    pub created_at_us: i64,
}

impl ForkBuilder {
    /// The caller's own id for the fork.
    pub fn id(mut self, session_id: impl Into<String>) -> Self {
        self.session_id = session_id.into();
        self
    }

    /// Forks the session, or continues the fork that was made under this id at this point.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such point, and [`ErrorKind::Invalid`] where
    /// there is another session under the id.
    pub fn open(self) -> Result<Session> {
        let parent = &self.session;
        let fork = Session::new(
            parent.engine().clone(),
            StreamName::Session(&self.session_id),
            parent.access().clone(),
        );
        let (lineage, seq) = parent.resolve(&self.point)?;
        if seq == 0 {
            let reason = "a fork shares at least one event, and there is none before the start";
            return Err(Error::invalid(reason).context(parent.place()));
        }
        if !self.is_made(&fork, seq)? {
            let events = self.events(&lineage, seq).with_context(|| parent.place())?;
            match fork.append_expecting(Expected::Seq(0), events)?.wait() {
                // Someone made it in between.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                    if !self.is_made(&fork, seq)? {
                        return Err(error);
                    }
                }
                other => drop(other?),
            }
        }
        Ok(fork)
    }

    /// Whether this very fork is there already.
    fn is_made(&self, fork: &Session, seq: u64) -> Result<bool> {
        let Some((entry, _)) = fork.inner().entry(fork.key())? else { return Ok(false) };
        fork.access().check(entry.user_id.as_deref()).with_context(|| fork.place())?;
        let wanted = ForkPoint { session_id: self.session.id().to_owned(), seq };
        if entry.forked_from == Some(wanted) {
            return Ok(true);
        }
        let reason = "there is another session under this id";
        Err(Error::invalid(reason).context(fork.place()))
    }

    fn events(&self, lineage: &Lineage, seq: u64) -> Result<Vec<NewEvent>> {
        let parent = &self.session;
        let there = Snapshot::at(parent.inner().log(), lineage, seq)?;
        let forked = ForkedFrom {
            session_id: self.session_id.clone(),
            user_id: parent.owner()?,
            parent_session_id: parent.id().to_owned(),
            seq,
            link: there.link.0,
        };
        Ok(std::iter::once(NewEvent::new(forked)).chain(interrupted(&there.view)).collect())
    }
}

impl Session {
    /// A new session that begins with what this one was at a point, and goes its own way from
    /// there. Nothing is copied: the cost does not depend on how long the session is.
    ///
    /// A run that was under way at the point is interrupted in the fork, and can be resumed
    /// there. A point between a tool's call and its result is fine: windows leave out what
    /// would be illegal, and [`SessionWindow::read`](crate::SessionWindow::read) says what.
    ///
    /// ```
    /// use sessionlog::{Engine, Message, Metrics, Point};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("tea").open()?;
    /// session.record_run([Message::user("Green or black?")], Metrics::default())?.wait()?;
    /// let fork = session.fork(Point::run(1)).id("coffee").open()?;
    /// fork.record_run([Message::user("Coffee, then.")], Metrics::default())?.wait()?;
    /// assert_eq!((session.view()?.run_count, fork.view()?.run_count), (1, 2));
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn fork(&self, point: Point) -> ForkBuilder {
        ForkBuilder { session: self.clone(), point, session_id: generate_name() }
    }

    /// Goes back to a point: from here on the session is what it was then, and goes on from
    /// there. What came after the point stays in the log and can be read, forked from, and gone
    /// back to; only it no longer counts. What its runs had spent is in
    /// [`SessionView::left_behind`].
    ///
    /// The session's owner stays. A run that was under way at the point is interrupted, one
    /// that began after it takes no more messages. The ticket is decided when this returns.
    ///
    /// ```
    /// use sessionlog::{Engine, Message, Metrics, Point};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").open()?;
    /// session.record_run([Message::user("Draft one")], Metrics::default())?.wait()?;
    /// session.record_run([Message::user("Draft two")], Metrics::default())?.wait()?;
    /// let before = session.seq()?;
    /// session.rewind(Point::run(1))?.wait()?;
    /// assert_eq!(session.view()?.run_count, 1);
    /// assert_eq!(session.at(Point::seq(before))?.view().run_count, 2); // still there
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such point, and [`ErrorKind::Invalid`] for the
    /// start: before its first event there is no session.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn rewind(&self, point: Point) -> Result<Ticket> {
        self.decide(Expected::Seq, || self.rewind_events(&point))
    }

    fn rewind_events(&self, point: &Point) -> Result<Vec<NewEvent>> {
        let read = || {
            let log = self.inner().log();
            let (lineage, head) = self.head()?;
            let seq = point.resolve(&**log, &lineage, head)?;
            let now = snapshot::view_at(log, &lineage, head)?;
            let there = Snapshot::at(log, &lineage, seq)?;
            let left_behind = left_behind(&now, &there.view);
            let Link(link) = there.link;
            let user_id = now.user_id;
            let rewound = RewoundTo { seq, link, user_id, left_behind };
            Ok(std::iter::once(NewEvent::new(rewound)).chain(interrupted(&there.view)).collect())
        };
        read().with_context(|| self.place())
    }

    /// The sessions that were forked from this one directly, by the seq they were forked at, as
    /// far as the access reaches them. A fork of a fork is a fork of the session it was made
    /// from, wherever the point was.
    pub fn forks(&self) -> Result<Vec<Fork>> {
        let (lineage, _) = self.resolve(&Point::Head)?;
        let first_seq = lineage.first_seq();
        let read = || {
            let log = self.inner().log();
            let mut forks = Vec::new();
            for record in
                Scan::new(&**log, key::within(key::Class::Fork, self.key(), Order::Ascending))
            {
                let (seq, fork) = key::parse_fork(&record?.key)?;
                // One that is not yet durable is not there for readers.
                let Some((entry, _)) = self.inner().entry(fork)? else { continue };
                // Of a session that was deleted under the same id.
                if seq < first_seq {
                    continue;
                }
                if self.access().reaches(entry.user_id.as_deref()) {
                    forks.push(Fork::new(entry, seq));
                }
            }
            Ok(forks)
        };
        read().with_context(|| self.place())
    }
}

impl Fork {
    fn new(entry: Entry, seq: u64) -> Self {
        let Entry { session_id, name, created_at_us, .. } = entry;
        Self { session_id, name, seq, created_at_us }
    }
}

/// Nobody goes on with a run in a past that it was taken out of. Whoever wants to resumes it.
fn interrupted(view: &SessionView) -> impl Iterator<Item = NewEvent> + '_ {
    let running = view.open_runs.values().filter(|run| run.status == RunStatus::Running);
    running.map(|run| NewEvent::in_run(&run.run_id, RunFinished::interrupted()))
}

/// What was ever spent and is not counted at the point.
fn left_behind(now: &SessionView, there: &SessionView) -> Option<Metrics> {
    let mut left_behind = now.metrics;
    left_behind.add(&now.left_behind);
    left_behind.subtract(&there.metrics);
    (!left_behind.is_empty()).then_some(left_behind)
}
