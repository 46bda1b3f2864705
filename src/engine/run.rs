//! One interaction, written as it happens.

use super::session::Session;
use crate::commit::{Expected, Ticket};
use crate::error::Result;
use crate::event::{
    EventBody, MessageAdded, NewEvent, Policy, PolicySet, RunFinished, RunPaused, RunResumed,
    RunStarted, RunStatus, ToolExecuted,
};
use crate::id::{EventId, generate_name};
use crate::json::Json;
use crate::message::{Message, Metrics};

/// A run to be started. Made by [`Session::run`].
#[must_use = "a run is started by `start`"]
#[derive(Debug, Clone)]
pub struct RunBuilder {
    session: Session,
    started: RunStarted,
    /// Whether the run's id is the caller's own.
    is_named: bool,
    /// What is kept of the run, where it says so itself.
    policy: Policy,
}

impl RunBuilder {
    pub(super) fn new(session: Session) -> Self {
        let started = RunStarted { run_id: generate_name(), ..RunStarted::default() };
        Self { session, started, is_named: false, policy: Policy::default() }
    }

    /// The caller's own id for the run.
    pub fn id(mut self, run_id: impl Into<String>) -> Self {
        self.started.run_id = run_id.into();
        self.is_named = true;
        self
    }

    /// The run that this one is a part of: a team member's run is not in the team's history.
    pub fn parent(mut self, run_id: impl Into<String>) -> Self {
        self.started.parent_run_id = Some(run_id.into());
        self
    }

    /// The agent that runs.
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.started.agent_id = Some(agent_id.into());
        self
    }

    /// The team that runs.
    pub fn team(mut self, team_id: impl Into<String>) -> Self {
        self.started.team_id = Some(team_id.into());
        self
    }

    /// The model, and who makes it available.
    pub fn model(mut self, model: impl Into<String>, provider: impl Into<String>) -> Self {
        self.started.model = Some(model.into());
        self.started.model_provider = Some(provider.into());
        self
    }

    /// What is kept of the run, whatever the session says.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// What the run was given, where that is more than its user message.
    pub fn input(mut self, input: impl Into<Json>) -> Self {
        self.started.input = Some(input.into());
        self
    }

    /// Starts the run. Under an id of the caller's own it waits until the start is durable,
    /// because a run of that id may be there already.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where the session was deleted or erased,
    /// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) where it was given away, and
    /// [`ErrorKind::RunState`](crate::ErrorKind::RunState) where a run has the caller's own id.
    pub fn start(self) -> Result<Run> {
        self.session.check_access()?;
        let run = Run::new(self.session, self.started.run_id.clone());
        let said = said(self.policy);
        let ticket = run.append_all(std::iter::once(self.started.into()).chain(said))?;
        if self.is_named {
            ticket.wait()?;
        }
        Ok(run)
    }

    /// Records the whole run, from start to end, in one commit. Under an id of the caller's own
    /// a retry is harmless: the same run is stored once. That holds for a run too that a rewind has
    /// left behind: the receipt says that it is a duplicate, and it still does not count. Another
    /// try under the same name takes another id.
    pub fn record(
        self,
        messages: impl IntoIterator<Item = Message>,
        metrics: Metrics,
    ) -> Result<Ticket> {
        let run = Run::new(self.session, self.started.run_id.clone());
        let messages = messages.into_iter().map(|message| MessageAdded { message }.into());
        let bodies = std::iter::once(EventBody::from(self.started))
            .chain(said(self.policy))
            .chain(messages)
            .chain([finished(RunStatus::Completed, Some(metrics), None)]);
        let events = (0_u64..).zip(bodies).map(|(index, body)| {
            let event = NewEvent::in_run(&run.run_id, body);
            if !self.is_named {
                return event;
            }
            let parts = [run.session.id().as_bytes(), run.run_id.as_bytes(), &index.to_le_bytes()];
            event.with_id(EventId::derive(&parts))
        });
        run.session.append(events)
    }
}

/// A run under way.
///
/// Each call is an event of its own, so that a crash leaves all that had happened. A run whose
/// process ends before it does is marked as interrupted when the database is next opened.
#[derive(Debug, Clone)]
pub struct Run {
    session: Session,
    run_id: String,
}

impl Run {
    pub(super) fn new(session: Session, run_id: String) -> Self {
        Self { session, run_id }
    }

    /// The run's id.
    pub fn id(&self) -> &str {
        &self.run_id
    }

    /// Adds a message.
    ///
    /// What makes no sense by itself or is over a limit is refused here, and nothing is queued.
    /// What the log refuses (the session was erased or given away, a write failed, another handle
    /// ended the run) fails the ticket, and the ticket of [`Run::complete`] or of another end as
    /// well: whoever waits for the end need not keep the others. There is one exception: a run that
    /// another handle has paused takes no message, and can be ended.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit),
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid); the ticket fails with
    /// [`ErrorKind::RunState`](crate::ErrorKind::RunState) where the run is not under way.
    pub fn push(&self, message: Message) -> Result<Ticket> {
        self.append(MessageAdded { message })
    }

    /// Adds messages in one commit.
    pub fn push_all(&self, messages: impl IntoIterator<Item = Message>) -> Result<Ticket> {
        self.append_all(messages.into_iter().map(|message| MessageAdded { message }.into()))
    }

    /// Records that a tool ran.
    pub fn tool_executed(&self, tool: ToolExecuted) -> Result<Ticket> {
        self.append(tool)
    }

    /// Waits for someone: a confirmation, an input, a tool run elsewhere.
    pub fn pause(&self, reason: impl Into<String>) -> Result<Ticket> {
        self.append(RunPaused { reason: Some(reason.into()) })
    }

    /// Goes on with a run that was paused, was interrupted or had ended. What it had spent is
    /// counted once, whatever it reports when it ends.
    pub fn resume(&self) -> Result<Ticket> {
        let run_id = &self.run_id;
        self.session.decide(Expected::Unchanged, || {
            let counted = self.session.counted_metrics(run_id)?;
            let resumed = RunResumed { run_id: run_id.clone(), counted };
            Ok(vec![NewEvent::in_run(run_id, resumed)])
        })
    }

    /// Ends the run well.
    pub fn complete(self, metrics: Metrics) -> Result<Ticket> {
        self.append(finished(RunStatus::Completed, Some(metrics), None))
    }

    /// Ends the run because of an error.
    pub fn fail(self, error: impl Into<String>, metrics: Metrics) -> Result<Ticket> {
        self.append(finished(RunStatus::Error, Some(metrics), Some(error.into())))
    }

    /// Ends the run on request.
    pub fn cancel(self, reason: impl Into<String>, metrics: Metrics) -> Result<Ticket> {
        self.append(finished(RunStatus::Cancelled, Some(metrics), Some(reason.into())))
    }

    /// Marks the run as replaced by a later one. It may have ended before.
    pub fn mark_regenerated(self) -> Result<Ticket> {
        self.append(finished(RunStatus::Regenerated, None, None))
    }

    /// How the run stands. A lookup: no message is read.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is no such run at the head
    /// of the session: it was never started, or a rewind left it behind.
    pub fn status(&self) -> Result<RunStatus> {
        self.session.run_status(&self.run_id)
    }

    /// What the run has reported that it spent: at its end, or at the last one before it went on.
    /// Reads from its start to its last change of status.
    pub fn metrics(&self) -> Result<Option<Metrics>> {
        self.session.settle();
        self.session.counted_metrics(&self.run_id)
    }

    /// The session that it is a run of.
    pub fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn append(&self, body: impl Into<EventBody>) -> Result<Ticket> {
        self.append_all([body.into()])
    }

    /// The same, if the session did not change in what this changes.
    pub(super) fn append_expecting(
        &self,
        expected: Expected,
        body: impl Into<EventBody>,
    ) -> Result<Ticket> {
        self.session.append_expecting(expected, [NewEvent::in_run(&self.run_id, body.into())])
    }

    fn append_all(&self, bodies: impl IntoIterator<Item = EventBody>) -> Result<Ticket> {
        self.session.append(bodies.into_iter().map(|body| NewEvent::in_run(&self.run_id, body)))
    }
}

/// What a run says that is kept of it.
fn said(policy: Policy) -> Option<EventBody> {
    (!policy.is_empty()).then(|| PolicySet { policy }.into())
}

fn finished(status: RunStatus, metrics: Option<Metrics>, reason: Option<String>) -> EventBody {
    let metrics = metrics.filter(|metrics| !metrics.is_empty());
    RunFinished { status, metrics, reason }.into()
}
