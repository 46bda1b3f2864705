//! Messages into a session as they come, one after the other.

use super::runs::Turn;
use crate::commit::Ticket;
use crate::engine::Session;
use crate::error::Result;
use crate::event::{
    EventBody, MessageAdded, NewEvent, RunFinished, RunResumed, RunStarted, RunStatus,
};
use crate::id::generate_name;
use crate::message::{Message, Metrics, Role};

/// Puts messages into a session as they come, and finds out where its runs begin and end.
///
/// The first message goes on with the run that is under way. What the person says after the
/// model has spoken begins the next run, and ends the one before it. A message of another role
/// goes on with the last run, even if it had ended.
///
/// ```
/// use sessionlog::transcript::Recorder;
/// use sessionlog::{Engine, Message};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").open()?;
/// let mut recorder = Recorder::new(session.clone());
/// recorder.push(Message::user("Hi"))?;
/// let receipt = recorder.push(Message::assistant("Hello"))?.wait()?;
/// recorder.finish()?;
/// assert_eq!((receipt.last_seq, session.view()?.run_count), (4, 1));
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug)]
pub struct Recorder {
    session: Session,
    state: State,
}

#[derive(Debug, Clone)]
enum State {
    /// Nothing was pushed, so the session was not looked at.
    Unread,
    /// The session has no run.
    NoRun,
    Run(Box<RecordedRun>),
}

/// The run that messages go to.
#[derive(Debug, Clone)]
struct RecordedRun {
    run_id: String,
    status: RunStatus,
    turn: Turn,
    /// What the session counts for the run already.
    counted: Option<Metrics>,
    /// What the run has spent, as far as its messages say.
    spent: Option<Metrics>,
}

impl Recorder {
    /// A recorder for a session. Others may write to other runs of it meanwhile.
    pub fn new(session: Session) -> Self {
        Self { session, state: State::Unread }
    }

    /// Adds a message. The receipt's last seq is the message's.
    ///
    /// # Errors
    /// What an append is refused with; the message is not in the session then, and may be
    /// pushed again. After a ticket that failed only a new recorder knows where the session is.
    pub fn push(&mut self, message: Message) -> Result<Ticket> {
        if matches!(self.state, State::Unread) {
            self.state = RecordedRun::last_of(&self.session)?
                .map_or(State::NoRun, |run| State::Run(Box::new(run)));
        }
        let is_user = message.role == Role::User;
        let mut events = Vec::with_capacity(3);
        let mut run = match &self.state {
            State::Run(run) if run.is_left_by(is_user) => {
                events.extend(run.finished());
                RecordedRun::start(&mut events)
            }
            State::Run(run) => (**run).clone(),
            State::Unread | State::NoRun => RecordedRun::start(&mut events),
        };
        if run.status != RunStatus::Running {
            run.status = RunStatus::Running;
            events.push(run.event(RunResumed { run_id: run.run_id.clone(), counted: run.counted }));
        }
        run.add(&message);
        events.push(run.event(MessageAdded { message }));
        let ticket = self.session.append(events)?;
        self.state = State::Run(Box::new(run));
        Ok(ticket)
    }

    /// Ends the run that messages were pushed to, and waits until all of it is durable. Where
    /// nothing was pushed nothing is written.
    ///
    /// # Errors
    /// What an append fails with.
    pub fn finish(self) -> Result<()> {
        if let State::Run(run) = &self.state
            && let Some(finished) = run.finished()
        {
            self.session.append([finished])?.wait()?;
        }
        Ok(())
    }
}

impl RecordedRun {
    fn start(events: &mut Vec<NewEvent>) -> Self {
        let run = Self::new(generate_name());
        let started = RunStarted { run_id: run.run_id.clone(), ..RunStarted::default() };
        events.push(run.event(started));
        run
    }

    fn new(run_id: String) -> Self {
        let (status, turn) = (RunStatus::Running, Turn::default());
        Self { run_id, status, turn, counted: None, spent: None }
    }

    /// The last top-level run of a session, folded from its own start.
    fn last_of(session: &Session) -> Result<Option<Self>> {
        let Some((run_id, events)) = session.last_run()? else { return Ok(None) };
        let mut run = Self::new(run_id);
        for event in events {
            run.apply(&event.body);
        }
        Ok(Some(run))
    }

    fn apply(&mut self, body: &EventBody) {
        match body {
            EventBody::MessageAdded(added) => self.add(&added.message),
            EventBody::RunPaused(_) => self.status = RunStatus::Paused,
            EventBody::RunResumed(_) => self.status = RunStatus::Running,
            EventBody::RunFinished(finished) => {
                self.status = finished.status;
                self.counted = finished.metrics.or(self.counted);
                self.spent = finished.metrics.or(self.spent);
            }
            _ => {}
        }
    }

    fn add(&mut self, message: &Message) {
        self.turn.add(message.role == Role::User);
        if let Some(metrics) = &message.metrics {
            self.spent.get_or_insert_default().add(metrics);
        }
    }

    /// Whether a message begins another run.
    fn is_left_by(&self, is_user: bool) -> bool {
        self.turn.ends_before(is_user) || (is_user && self.status.is_terminal())
    }

    /// The end of the run, unless it has ended.
    fn finished(&self) -> Option<NewEvent> {
        let metrics = self.spent.filter(|metrics| !metrics.is_empty());
        let finished = RunFinished { status: RunStatus::Completed, metrics, reason: None };
        (!self.status.is_terminal()).then(|| self.event(finished))
    }

    fn event(&self, body: impl Into<EventBody>) -> NewEvent {
        NewEvent::in_run(&self.run_id, body)
    }
}
