//! One conversation: opened under a name and an access, written and read through it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::at::{SessionAt, SessionWindow};
use super::run::{Run, RunBuilder};
use super::{Engine, Inner};
use crate::access::Access;
use crate::commit::{self, Append, Expected, Ticket};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{
    Event, EventBody, MetadataChanged, NewEvent, OwnerChanged, Policy, Renamed, RunStatus,
    StateChanged, StatePatch, SummaryWithdrawn, SummaryWritten,
};
use crate::id::{Digest, StreamName};
use crate::index::{Lineage, NumberedRun, RunRecord, Timeline};
use crate::json::Json;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::message::{Message, Metrics};
use crate::projection::{Import, SessionView, Summary};
use crate::replay::{Point, Replay};
use crate::snapshot::{self, Snapshot};
use crate::stream::{Events, LiveEvents};

/// A session, open under someone's access. Cheap to clone, usable from many threads.
///
/// Every call looks at the log as it is then: a session that another handle writes to is never
/// stale, and one that was given to another user is out of reach at once. A read waits for what
/// was appended through the same handle, its clones and its runs before it, and so sees it.
#[derive(Clone)]
pub struct Session {
    engine: Engine,
    key: Digest,
    id: Arc<str>,
    /// Whether it is no session but a user's memories, under the user's id.
    is_memories: bool,
    access: Access,
    /// The last append through this handle, its clones and its runs.
    last: Arc<Mutex<Option<Ticket>>>,
    /// The last view of the head, for the handle and its clones. Never served as it is: what was
    /// appended since, by whomever, is folded in first.
    cached: Arc<Mutex<Option<Snapshot>>>,
    /// What runs say for themselves that is kept of them, each as of a seq.
    run_policies: Arc<Mutex<HashMap<Digest, (u64, Policy)>>>,
}

/// Which session it is, and not what is at hand of it.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(engine: Engine, stream: StreamName<'_>, access: Access) -> Self {
        let (id, is_memories) = match stream {
            StreamName::Session(session_id) => (session_id, false),
            StreamName::Memories(user_id) => (user_id, true),
        };
        Self {
            engine,
            key: stream.key(),
            id: id.into(),
            is_memories,
            access,
            last: Arc::default(),
            cached: Arc::default(),
            run_policies: Arc::default(),
        }
    }

    /// The session's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The seq of its last event.
    pub fn seq(&self) -> Result<u64> {
        self.head().map(|(_, head)| head).with_context(|| self.place())
    }

    // ---- writing

    /// Appends events, all of them or none.
    pub fn append(&self, events: impl IntoIterator<Item = NewEvent>) -> Result<Ticket> {
        self.append_expecting(Expected::Any, events)
    }

    /// Appends events if the session is where the writer thinks it is.
    ///
    /// The ticket fails with [`ErrorKind::Conflict`] where it is not. Events whose ids are
    /// stored already do not count: a retry succeeds.
    pub fn append_expecting(
        &self,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Ticket> {
        let events: Vec<NewEvent> = events.into_iter().collect();
        let append = || {
            if let Some(governing) = self.governing(&events)? {
                return self.append_governed(expected, &events, governing);
            }
            let (events, leases) = self.detach(None, events)?;
            let mut append = Append::prepare(self.stream(), self.access.clone(), expected, events)?;
            append.refer(leases);
            self.queue(append)
        };
        append().with_context(|| self.place())
    }

    /// Queues an append of the handle's own.
    pub(super) fn queue(&self, append: Append) -> Result<Ticket> {
        let committer = self.inner().committer().with_context(|| self.place())?;
        self.inner().prepare_key(self.key)?;
        let try_append = |append| {
            // Queued and noted under one lock, so that the last one noted is the last one queued.
            let mut last = self.lock_last();
            let ticket = committer.try_append(append)?;
            *last = Some(ticket.share());
            Ok(ticket)
        };
        commit::queue(try_append, append).with_context(|| self.place())
    }

    /// Starts a run under a new id.
    ///
    /// End it by [`Run::complete`], [`Run::fail`] or [`Run::cancel`] on every path. One that is
    /// dropped without an end stays open, so that another handle can go on with it
    /// ([`Session::existing_run`]); it is marked as interrupted when the database is next opened.
    /// Until then a summary covers only what came before it, unless nothing was recorded in it
    /// while [`limits::SUMMARY_OPEN_RUN_WAITS`](crate::limits::SUMMARY_OPEN_RUN_WAITS) later runs
    /// began and ended: then it is summed up as far as it came.
    pub fn start_run(&self) -> Result<Run> {
        self.run().start()
    }

    /// A run with settings, to be started.
    pub fn run(&self) -> RunBuilder {
        RunBuilder::new(self.clone())
    }

    /// The run of an id, to go on with. One that was paused, interrupted or has ended is
    /// resumed by [`Run::resume`] first.
    pub fn existing_run(&self, run_id: impl Into<String>) -> Run {
        Run::new(self.clone(), run_id.into())
    }

    /// Records a whole run, from start to end, in one commit.
    pub fn record_run(
        &self,
        messages: impl IntoIterator<Item = Message>,
        metrics: Metrics,
    ) -> Result<Ticket> {
        self.run().record(messages, metrics)
    }

    /// Names the session. There is no limit on how often.
    pub fn rename(&self, name: impl Into<String>) -> Result<Ticket> {
        let renamed = Renamed { name: Some(name.into()), is_generated: false };
        self.append([NewEvent::new(renamed)])
    }

    /// Changes the state.
    pub fn patch_state(&self, patch: StatePatch) -> Result<Ticket> {
        self.append([NewEvent::new(StateChanged { ops: patch.into_ops() })])
    }

    /// Merges an object into the state: nested objects merge, lists are replaced.
    pub fn merge_state(&self, changes: Value) -> Result<Ticket> {
        self.patch_state(StatePatch::new().merge([] as [&str; 0], changes))
    }

    /// Changes the metadata.
    pub fn patch_metadata(&self, patch: StatePatch) -> Result<Ticket> {
        self.append([NewEvent::new(MetadataChanged { ops: patch.into_ops() })])
    }

    /// Gives the session to another user, or to nobody. The handle may be out of reach then.
    pub fn change_owner(&self, user_id: Option<&str>) -> Result<Ticket> {
        let user_id = user_id.map(str::to_owned);
        self.append([NewEvent::new(OwnerChanged { user_id })])
    }

    /// Keeps a summary of a part of the session; the ones before it stay readable.
    pub fn write_summary(&self, written: SummaryWritten) -> Result<Ticket> {
        self.append([NewEvent::new(written)])
    }

    /// Takes a summary back; the one before it holds again, if it is among the last
    /// [`limits::VIEW_SUMMARIES_MAX`](crate::limits::VIEW_SUMMARIES_MAX).
    pub fn withdraw_summary(&self, seq: u64) -> Result<Ticket> {
        self.append([NewEvent::new(SummaryWithdrawn { seq })])
    }

    // ---- reading

    /// The session as it is now: everything but its runs and messages.
    ///
    /// The handle keeps what it folded, so a view costs what was appended since the last one,
    /// through whichever handle.
    pub fn view(&self) -> Result<SessionView> {
        self.view_now().with_context(|| self.place())
    }

    fn view_now(&self) -> Result<SessionView> {
        let (lineage, head) = self.head()?;
        self.view_at_head(&lineage, head)
    }

    /// The view at what was the head a moment ago, from the last one that the handle folded.
    pub(super) fn view_at_head(&self, lineage: &Lineage, head: u64) -> Result<SessionView> {
        let log = self.inner().log();
        let cached = self.lock_cached().take();
        let now = match cached {
            Some(cached) => cached.advanced(log, lineage, head)?,
            None => Snapshot::at(log, lineage, head)?,
        };
        let view = now.view.clone();
        *self.lock_cached() = Some(now);
        Ok(view)
    }

    /// The session as it was at a point.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn at(&self, point: Point) -> Result<SessionAt> {
        let read = || {
            let (lineage, seq) = self.find(&point)?;
            let mut view = snapshot::view_at(self.inner().log(), &lineage, seq)?;
            // In the part that a fork shares, the events name the session it was forked from.
            if seq <= lineage.shared_seq() {
                self.id().clone_into(&mut view.session_id);
            }
            Ok(SessionAt::new(self.clone(), view))
        };
        read().with_context(|| self.place())
    }

    /// The part of the history that goes to the model: the last three runs, unless the builder
    /// that is returned is told otherwise.
    pub fn window(&self) -> SessionWindow {
        SessionWindow::new(self.clone(), None)
    }

    /// The events up to a point, oldest first, those that a rewind left behind included.
    pub fn events(&self, until: Point) -> Result<Events> {
        self.events_from(1, until)
    }

    /// The events from a seq up to a point.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn events_from(&self, first_seq: u64, until: Point) -> Result<Events> {
        let (lineage, last) = self.resolve(&until)?;
        let first_seq = first_seq.max(lineage.first_seq());
        Ok(Events::new(self.inner().log(), &lineage, first_seq, last).named(self.place()))
    }

    /// The id of a run, [`Point::run`] or [`Point::run_id`], also of one that a rewind left behind.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such run.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn run_id_of(&self, run: Point) -> Result<String> {
        let read = || {
            let (lineage, head) = self.head()?;
            Ok(run.run_record(&**self.inner().log(), &lineage, head)?.run_id)
        };
        read().with_context(|| self.place())
    }

    /// Every event and the session after it, oldest first.
    pub fn replay(&self) -> Result<Replay> {
        let (lineage, last) = self.resolve(&Point::Head)?;
        let first = lineage.first_seq();
        let events = Events::new(self.inner().log(), &lineage, first, last).named(self.place());
        Ok(Replay::new(self.inner().log(), lineage, events))
    }

    /// What the source of an import said about the whole conversation, as JSON.
    pub fn import_data(&self, import: &Import) -> Result<Option<Json>> {
        let imported = self.events_from(import.seq, Point::Seq(import.seq))?.next().transpose()?;
        Ok(match imported.map(|event| event.body) {
            Some(EventBody::ImportedFrom(imported)) => imported.data,
            _ => None,
        })
    }

    /// The session's name.
    pub fn name(&self) -> Result<Option<String>> {
        Ok(self.view()?.name)
    }

    /// The session's state.
    pub fn state(&self) -> Result<Value> {
        Ok(Value::Object(self.view()?.state))
    }

    /// The current summary.
    pub fn summary(&self) -> Result<Option<Summary>> {
        Ok(self.view()?.summary().cloned())
    }

    /// Appends what follows from the session as it is, and looks again if what the writer
    /// insists on no longer holds. The ticket is decided when this returns.
    pub(super) fn decide(
        &self,
        insist: fn(u64) -> Expected,
        mut events: impl FnMut() -> Result<Vec<NewEvent>>,
    ) -> Result<Ticket> {
        let mut tries = 1;
        loop {
            let seen = insist(self.seq()?);
            let ticket = self.append_expecting(seen, events()?)?;
            match ticket.share().wait() {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && tries < CONFLICT_TRIES_MAX =>
                {
                    tries += 1;
                }
                done => return done.map(|_| ticket),
            }
        }
    }

    /// Whose the session is now.
    pub(super) fn owner(&self) -> Result<Option<String>> {
        let found = self.inner().entry(self.key)?;
        Ok(found.and_then(|(entry, _)| entry.user_id))
    }

    /// The id of the last top-level run that counts, and its events.
    pub(crate) fn last_run(&self) -> Result<Option<(String, Vec<Event>)>> {
        let read = || {
            let (lineage, head) = self.head()?;
            let log = self.inner().log();
            let mut timeline = Timeline::at(&**log, &lineage, head);
            let Some(last) = NumberedRun::last(&**log, &lineage, &mut timeline)? else {
                return Ok(None);
            };
            let mut events = Vec::new();
            for event in LiveEvents::between(log, &lineage, last.seq, head)? {
                let event = event?;
                if event.run == last.run {
                    events.push(event);
                }
            }
            Ok(match events.first().map(|event| &event.body) {
                Some(EventBody::RunStarted(started)) => Some((started.run_id.clone(), events)),
                _ => None,
            })
        };
        read().with_context(|| self.place())
    }

    /// Whether the handle still reaches the session.
    pub(super) fn check_access(&self) -> Result<()> {
        self.reach().map(drop).with_context(|| self.place())
    }

    /// How a run stands.
    pub(super) fn run_status(&self, run_id: &str) -> Result<RunStatus> {
        let read = || {
            let (lineage, head) = self.head()?;
            let log = self.inner().log();
            let mut timeline = Timeline::at(&**log, &lineage, head);
            let run = Digest::of_run(run_id);
            let record = RunRecord::load(&**log, &lineage, &mut timeline, run)?;
            let record = record.ok_or_else(|| Error::not_found("run"));
            record.map(|record| record.status).with_context(|| format!("run {run_id}"))
        };
        read().with_context(|| self.place())
    }

    /// What the session's metrics count for a run that has ended: its last report. Reads from
    /// the run's start to its last change of status.
    pub(super) fn counted_metrics(&self, run_id: &str) -> Result<Option<Metrics>> {
        let read = || {
            let (lineage, head) = self.reach()?;
            let (log, run) = (self.inner().log(), Digest::of_run(run_id));
            let mut timeline = Timeline::at(&**log, &lineage, head);
            let record = RunRecord::load(&**log, &lineage, &mut timeline, run)?;
            let Some(record) = record else { return Ok(None) };
            let mut counted = None;
            let (first, last) = (record.first_seq, record.last_seq);
            for event in LiveEvents::between(log, &lineage, first, last)? {
                let event = event?;
                if let EventBody::RunFinished(finished) = event.body
                    && event.run == run
                {
                    counted = finished.metrics.or(counted);
                }
            }
            Ok(counted)
        };
        read().with_context(|| self.place())
    }

    /// Where the session's events lie, and the last seq before a point.
    pub(crate) fn resolve(&self, point: &Point) -> Result<(Lineage, u64)> {
        self.find(point).with_context(|| self.place())
    }

    fn find(&self, point: &Point) -> Result<(Lineage, u64)> {
        let (lineage, head) = self.head()?;
        let seq = point.resolve(&**self.inner().log(), &lineage, head)?;
        Ok((lineage, seq))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.engine.inner
    }

    /// The engine that it was opened through.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn key(&self) -> Digest {
        self.key
    }

    pub(crate) fn stream(&self) -> StreamName<'_> {
        if self.is_memories {
            StreamName::Memories(&self.id)
        } else {
            StreamName::Session(&self.id)
        }
    }

    pub(crate) fn place(&self) -> String {
        self.stream().to_string()
    }

    fn lock_cached(&self) -> MutexGuard<'_, Option<Snapshot>> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock_run_policies(&self) -> MutexGuard<'_, HashMap<Digest, (u64, Policy)>> {
        self.run_policies.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_last(&self) -> MutexGuard<'_, Option<Ticket>> {
        // Nothing panics while the lock is held, so a poisoned one is as good as any.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was appended through this handle is decided.
    pub(super) fn settle(&self) {
        // Another thread may be about to wait for the same one, so it stays until it is decided.
        let last = self.lock_last().as_ref().map(Ticket::share);
        if let Some(last) = last {
            // Whether it succeeded is for the holder of its own end to know.
            drop(last.wait());
        }
    }

    /// Where the session's events lie, and the last seq, once all that was appended through
    /// this handle is decided.
    pub(super) fn head(&self) -> Result<(Lineage, u64)> {
        self.settle();
        self.reach()
    }

    /// The same as it is now, if the access reaches the session.
    fn reach(&self) -> Result<(Lineage, u64)> {
        let found = self.inner().entry(self.key)?;
        let (entry, head) = found.ok_or_else(|| Error::not_found("session"))?;
        self.access.check(entry.user_id.as_deref())?;
        Ok((entry.lineage(self.key), head))
    }
}
