//! One conversation: opened under a name and an access, written and read through it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::at::{SessionAt, SessionWindow};
use super::run::{Run, RunBuilder};
use super::{Engine, Inner};
use crate::access::Access;
use crate::commit::{self, Append, Expected, Ticket};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{
    Created, EventBody, MetadataChanged, NewEvent, OwnerChanged, Renamed, SessionType,
    StateChanged, StatePatch, SummaryWithdrawn, SummaryWritten,
};
use crate::id::{Digest, check_name};
use crate::index::RunRecord;
use crate::json::Json;
use crate::limits::CONFLICT_TRIES_MAX;
use crate::message::{Message, Metrics};
use crate::projection::{SessionView, Summary};
use crate::replay::{self, Point, Replay};
use crate::stream::Events;

/// A session to be opened. Made by [`Engine::session`].
#[must_use = "a session is opened by `open`"]
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    engine: Engine,
    created: Created,
    access: Option<Access>,
    session_type: Option<SessionType>,
}

impl SessionBuilder {
    pub(super) fn new(engine: Engine, session_id: String) -> Self {
        let created = Created { session_id, ..Created::default() };
        Self { engine, created, access: None, session_type: None }
    }

    /// The user whose session it is.
    pub fn user(mut self, user_id: impl Into<String>) -> Self {
        self.created.user_id = Some(user_id.into());
        self
    }

    /// Reaches any user's session. A session that is new belongs to [`SessionBuilder::user`],
    /// or to nobody.
    pub fn admin(mut self) -> Self {
        self.access = Some(Access::Admin);
        self
    }

    /// A conversation with this agent.
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.created.agent_id = Some(agent_id.into());
        self.session_type(SessionType::Agent)
    }

    /// A conversation with this team.
    pub fn team(mut self, team_id: impl Into<String>) -> Self {
        self.created.team_id = Some(team_id.into());
        self.session_type(SessionType::Team)
    }

    /// A conversation with this workflow.
    pub fn workflow(mut self, workflow_id: impl Into<String>) -> Self {
        self.created.workflow_id = Some(workflow_id.into());
        self.session_type(SessionType::Workflow)
    }

    /// What it is a conversation with: an agent, unless this says otherwise.
    pub fn session_type(mut self, session_type: SessionType) -> Self {
        self.session_type = Some(session_type);
        self.created.session_type = session_type;
        self
    }

    /// The agent's, team's or workflow's configuration, for a session that is new.
    pub fn component_data(mut self, data: impl Into<Json>) -> Self {
        self.created.component_data = Some(data.into());
        self
    }

    /// The application's own data about the session, for a session that is new.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.created.metadata = Some(metadata.into());
        self
    }

    /// The state a session begins with if it is new. One that exists keeps its own.
    pub fn state(mut self, state: impl Into<Json>) -> Self {
        self.created.state = Some(state.into());
        self
    }

    /// Continues the session, or begins it.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] where it belongs to another user, and
    /// [`ErrorKind::Invalid`] where it is a conversation with something else.
    pub fn open(self) -> Result<Session> {
        let place = self.place();
        self.open_or_create().context(place)
    }

    /// Continues the session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none.
    pub fn open_existing(self) -> Result<Session> {
        let place = self.place();
        self.continued()
            .context(place.clone())?
            .ok_or_else(|| Error::not_found("session").context(place))
    }

    fn place(&self) -> String {
        format!("session {}", self.created.session_id)
    }

    fn open_or_create(self) -> Result<Session> {
        loop {
            if let Some(session) = self.continued()? {
                return Ok(session);
            }
            let session = self.handle();
            let events = vec![NewEvent::new(self.created.clone())];
            match session.append_expecting(Expected::Seq(0), events)?.wait() {
                Ok(_) => return Ok(session),
                // Someone began it in between: then it is there to be continued.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && session.inner().entry(session.key)?.is_some() => {}
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                    return Err(Error::corrupt("it has events, and the catalog does not list it"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn continued(&self) -> Result<Option<Session>> {
        check_name("session id", &self.created.session_id)?;
        let session = self.handle();
        let Some((entry, _)) = session.inner().entry(session.key)? else { return Ok(None) };
        session.access.check(entry.user_id.as_deref())?;
        if let Some(wanted) = self.session_type
            && wanted != entry.session_type
        {
            let is = entry.session_type;
            return Err(Error::invalid(format!("is of type {is}, and {wanted} was asked for")));
        }
        let wanted = [&self.created.agent_id, &self.created.team_id, &self.created.workflow_id];
        let is = [&entry.agent_id, &entry.team_id, &entry.workflow_id];
        for (wanted, is) in wanted.into_iter().zip(is) {
            if let (Some(wanted), Some(is)) = (wanted, is)
                && wanted != is
            {
                return Err(Error::invalid(format!("is with {is}, and {wanted} was asked for")));
            }
        }
        Ok(Some(session))
    }

    fn handle(&self) -> Session {
        let access = match (&self.access, &self.created.user_id) {
            (Some(access), _) => access.clone(),
            (None, Some(user_id)) => Access::User(user_id.clone()),
            (None, None) => Access::Nobody,
        };
        Session {
            engine: self.engine.clone(),
            key: Digest::of_session(&self.created.session_id),
            id: self.created.session_id.as_str().into(),
            access,
            last: Arc::default(),
        }
    }
}

/// A session, open under someone's access. Cheap to clone, usable from many threads.
///
/// Every call looks at the log as it is then: a session that another handle writes to is never
/// stale, and one that was given to another user is out of reach at once. A read waits for what
/// was appended through the same handle, its clones and its runs before it, and so sees it.
#[derive(Debug, Clone)]
pub struct Session {
    engine: Engine,
    key: Digest,
    id: Arc<str>,
    access: Access,
    /// The last append through this handle, its clones and its runs.
    last: Arc<Mutex<Option<Ticket>>>,
}

impl Session {
    /// The session's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The seq of its last event.
    pub fn seq(&self) -> Result<u64> {
        self.head().with_context(|| self.place())
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
        let events = events.into_iter().collect();
        let append = Append::prepare(&self.id, self.access.clone(), expected, events)
            .with_context(|| self.place())?;
        let committer = self.inner().committer().with_context(|| self.place())?;
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

    /// Takes a summary back; the one before it holds again.
    pub fn withdraw_summary(&self, seq: u64) -> Result<Ticket> {
        self.append([NewEvent::new(SummaryWithdrawn { seq })])
    }

    // ---- reading

    /// The session as it is now: everything but its runs and messages.
    pub fn view(&self) -> Result<SessionView> {
        Ok(self.at(Point::Head)?.into_view())
    }

    /// The session as it was at a point.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn at(&self, point: Point) -> Result<SessionAt> {
        let read = || {
            let head = self.head()?;
            let seq = point.resolve(&**self.inner().log(), self.key, head)?;
            let view = replay::view_at(self.inner().log(), self.key, seq)?;
            Ok(SessionAt::new(self.clone(), view))
        };
        read().with_context(|| self.place())
    }

    /// The part of the history that goes to the model: the last three runs, unless the builder
    /// that is returned is told otherwise.
    pub fn window(&self) -> SessionWindow {
        SessionWindow::new(self.clone(), None)
    }

    /// The events up to a point, oldest first.
    pub fn events(&self, until: Point) -> Result<Events> {
        self.events_from(1, until)
    }

    /// The events from a seq up to a point.
    #[expect(clippy::needless_pass_by_value, reason = "a point reads best where it stands")]
    pub fn events_from(&self, first_seq: u64, until: Point) -> Result<Events> {
        let last = self.resolve(&until)?;
        Ok(Events::new(self.inner().log(), self.key, first_seq, last).named(self.place()))
    }

    /// Every event and the session after it, oldest first.
    pub fn replay(&self) -> Result<Replay> {
        Ok(Replay::new(self.events(Point::Head)?))
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

    /// Appends what follows from the session as it is, and looks again if it has moved on
    /// meanwhile. The ticket is decided when this returns.
    pub(super) fn decide(
        &self,
        mut events: impl FnMut() -> Result<Vec<NewEvent>>,
    ) -> Result<Ticket> {
        let mut tries = 1;
        loop {
            let seen = Expected::Seq(self.seq()?);
            let ticket = self.append_expecting(seen, events()?)?;
            match ticket.share().wait() {
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && tries < CONFLICT_TRIES_MAX =>
                {
                    tries += 1;
                }
                _ => return Ok(ticket),
            }
        }
    }

    /// Whether the handle still reaches the session.
    pub(super) fn check_access(&self) -> Result<()> {
        self.reach().map(drop).with_context(|| self.place())
    }

    /// What the session's metrics count for a run that has ended: its last report. Reads from
    /// the run's start to its last change of status.
    pub(super) fn counted_metrics(&self, run_id: &str) -> Result<Option<Metrics>> {
        let read = || {
            self.reach()?;
            let (log, run) = (self.inner().log(), Digest::of_run(run_id));
            let Some(record) = RunRecord::load(&**log, self.key, run)? else { return Ok(None) };
            let mut counted = None;
            for event in Events::new(log, self.key, record.first_seq, record.last_seq) {
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

    pub(crate) fn resolve(&self, point: &Point) -> Result<u64> {
        let resolve = || point.resolve(&**self.inner().log(), self.key, self.head()?);
        resolve().with_context(|| self.place())
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.engine.inner
    }

    pub(crate) fn key(&self) -> Digest {
        self.key
    }

    pub(crate) fn place(&self) -> String {
        format!("session {}", self.id)
    }

    fn lock_last(&self) -> MutexGuard<'_, Option<Ticket>> {
        // Nothing panics while the lock is held, so a poisoned one is as good as any.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until what was appended through this handle is decided.
    fn settle(&self) {
        // Another thread may be about to wait for the same one, so it stays until it is decided.
        let last = self.lock_last().as_ref().map(Ticket::share);
        if let Some(last) = last {
            // Whether it succeeded is for the holder of its own end to know.
            drop(last.wait());
        }
    }

    /// The last seq, once the access is known to reach the session.
    fn head(&self) -> Result<u64> {
        self.settle();
        self.reach()
    }

    /// The last seq as it is now, if the access reaches the session.
    fn reach(&self) -> Result<u64> {
        let found = self.inner().entry(self.key)?;
        let (entry, head) = found.ok_or_else(|| Error::not_found("session"))?;
        self.access.check(entry.user_id.as_deref())?;
        Ok(head)
    }
}
