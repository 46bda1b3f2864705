//! Memories that a model makes of what a user said.

mod desk;
mod prompt;

use std::sync::Arc;

use self::desk::Desk;
use super::conversation::Reading;
use super::unusable;
use crate::engine::{Lesson, Session};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::MemorySource;
use crate::limits::{MEMORY_INPUT_BYTES_MAX, MEMORY_ROUNDS_MAX};
use crate::message::{Message, Metrics, Role};
use crate::model::{Cancel, Model, ModelRequest};
use crate::replay::Point;

/// Lets a model decide what to remember of a user.
///
/// The model is shown one message of the user's and the user's memories, as data, and may add,
/// change and delete memories of that user. It reaches nothing else, whatever the message says.
///
/// ```
/// use std::sync::Arc;
/// use sessionlog::{
///     Cancel, Engine, MemoryManager, Message, Metrics, Model, ModelAnswer, ModelRequest, Result,
/// };
///
/// /// Remembers that the user likes tea, once.
/// #[derive(Debug)]
/// struct Waiter;
///
/// impl Model for Waiter {
///     fn id(&self) -> &str {
///         "waiter"
///     }
///
///     fn answer(&self, request: &ModelRequest, _cancel: &Cancel) -> Result<ModelAnswer> {
///         let is_asked_first = request.messages.len() == 2;
///         let answer = Message::assistant("");
///         Ok(ModelAnswer::new(if is_asked_first {
///             answer.with_call("1", "add_memory", r#"{"memory":"Likes tea.","topics":["drinks"]}"#)
///         } else {
///             answer
///         }))
///     }
/// }
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").user("alice").open()?;
/// session.run().id("r1").record([Message::user("A tea, please.")], Metrics::default())?.wait()?;
///
/// let manager = MemoryManager::new(Arc::new(Waiter));
/// let update = manager.update_memory_on_run(&session, "r1", &Cancel::never())?;
/// let memory = session.memories()?.get(&update.memory_ids[0])?;
/// assert_eq!(memory.memory, "Likes tea.");
/// assert_eq!(memory.source.map(|source| source.seq), Some(3));
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MemoryManager {
    model: Arc<dyn Model>,
    instructions: Option<String>,
    agent_id: Option<String>,
}

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct MemoryUpdate {
    /// The memories that were added, changed or deleted, by id.
    pub memory_ids: Vec<String>,
    /// What the model asked for and did not get, each with the reason that it was told.
    pub refused: Vec<String>,
    /// Whether the message was read before, whatever came of it: then nothing was asked or changed.
    pub is_repeat: bool,
    /// What the model spent.
    pub metrics: Metrics,
}

/// A message of the user's that memories can be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryInput {
    /// Its seq in the session: what [`MemoryManager::update_memory_from`] is given.
    pub seq: u64,
    /// What it says.
    pub text: String,
}

impl Session {
    /// The messages of the user that nobody has made memories of yet, oldest first, so many at
    /// most: in top-level runs that were not cancelled, replaced or failed, and in front of the
    /// first run that is under way. It reads the session.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the session belongs to nobody.
    pub fn memory_inputs(&self, max: usize) -> Result<Vec<MemoryInput>> {
        let memories = self.memories()?;
        let read = || {
            let mut inputs = Vec::new();
            for said in Reading::new(&self.at(Point::Head)?, 1)?.said() {
                if inputs.len() == max {
                    break;
                }
                let (seq, message) = said?;
                let text = message.content.text();
                let is_input = is_of_user(&message) && !message.omitted.message;
                if is_input && !text.trim().is_empty() && !memories.has_read(self, seq)? {
                    inputs.push(MemoryInput { seq, text });
                }
            }
            Ok(inputs)
        };
        read().with_context(|| self.place())
    }
}

fn is_of_user(message: &Message) -> bool {
    message.role == Role::User && !message.from_history
}

impl MemoryManager {
    /// Asks this model.
    pub fn new(model: Arc<dyn Model>) -> Self {
        Self { model, instructions: None, agent_id: None }
    }

    /// What is worth remembering, in place of the usual words on it.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// The agent that keeps the memories: the session's, unless this says otherwise.
    #[must_use]
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.agent_id = Some(agent_id.into());
        self
    }

    /// Makes memories of the newest message of the user in a run. All changes are durable when it
    /// returns, or none was made. Doing it again changes nothing more.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such run, or no message of the user in it;
    /// [`ErrorKind::Invalid`] where the session belongs to nobody; [`ErrorKind::Model`] and
    /// [`ErrorKind::Cancelled`] as the model says. Nothing is changed then.
    pub fn update_memory_on_run(
        &self,
        session: &Session,
        run_id: &str,
        cancel: &Cancel,
    ) -> Result<MemoryUpdate> {
        let asked = session.last_asked(run_id)?.ok_or_else(|| Error::not_found("message"));
        let seq = asked.with_context(|| format!("{}: run {run_id}", session.place()))?;
        self.update_memory_from(session, seq, cancel)
    }

    /// The same of the message at a seq, which must be the user's.
    pub fn update_memory_from(
        &self,
        session: &Session,
        seq: u64,
        cancel: &Cancel,
    ) -> Result<MemoryUpdate> {
        let memories = session.memories()?;
        let (stream, message) = session.message_at(seq)?;
        if !is_of_user(&message) {
            let reason = "memories are made of what the user says";
            return Err(Error::invalid(reason).context(format!("{}: seq {seq}", session.place())));
        }
        let said = message.content.text();
        let agent_id = match &self.agent_id {
            Some(agent_id) => Some(agent_id.clone()),
            None => session.view()?.agent_id,
        };
        let lesson = Lesson {
            source: MemorySource { session_id: session.id().to_owned(), seq },
            stream,
            input: Some(prompt::cut(&said, MEMORY_INPUT_BYTES_MAX).to_owned()),
            agent_id,
        };
        if said.trim().is_empty() {
            return Ok(MemoryUpdate::default());
        }
        if memories.has_learned(&lesson)? {
            return Ok(MemoryUpdate { is_repeat: true, ..MemoryUpdate::default() });
        }
        let mut desk = Desk::new(memories.present()?);
        let metrics = self.ask(&said, &mut desk, cancel)?;
        if cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled));
        }
        let memory_ids = memories.learn(&lesson, desk.drafts())?;
        Ok(MemoryUpdate { memory_ids, refused: desk.into_refused(), is_repeat: false, metrics })
    }

    /// Asks until the model has nothing more to change, a bounded number of times.
    fn ask(&self, said: &str, desk: &mut Desk, cancel: &Cancel) -> Result<Metrics> {
        let instructions = prompt::system(self.instructions.as_deref());
        let question = prompt::user(said, desk.shown());
        let mut request =
            ModelRequest::new([Message::system(instructions), Message::user(question)])
                .with_tools(prompt::tools());
        let mut metrics = Metrics::default();
        for _ in 0..MEMORY_ROUNDS_MAX {
            let answer = self.model.answer(&request, cancel)?;
            metrics.add(&answer.metrics);
            if let Some(reason) = unusable(&answer) {
                return Err(Error::model(reason, false));
            }
            let mut message = answer.message;
            if message.tool_calls.is_empty() {
                break;
            }
            let mut results = Vec::with_capacity(message.tool_calls.len());
            let begun = request.messages.len();
            for (at, call) in message.tool_calls.iter_mut().enumerate() {
                // Without an id nothing could answer the call.
                if call.id.is_none() {
                    (call.id, call.source) = (Some(format!("memory_{begun}_{at}")), None);
                }
                let result = desk.take(&call.name, &call.arguments);
                results.push(Message::tool(call.id.clone().unwrap_or_default(), result));
            }
            request.messages.push(message);
            request.messages.extend(results);
        }
        Ok(metrics)
    }
}
