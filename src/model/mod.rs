//! Language models: what is asked of one, and what it answers. Who answers is behind a trait.

mod cancel;
#[cfg(feature = "models")]
mod client;
mod outage;

use std::fmt;

pub use self::cancel::Cancel;
#[cfg(feature = "models")]
pub use self::client::{ModelClient, ModelClientBuilder, ModelProvider};
pub use self::outage::ModelOutage;

use crate::error::Result;
use crate::json::Json;
use crate::message::{Message, Metrics};

/// A language model, or whatever else answers prompts.
///
/// Summaries, generated names and memories are made through it. An implementation waits no
/// longer than [`Cancel`] says, and gives back [`ErrorKind::Model`] or [`ErrorKind::Cancelled`].
///
/// ```
/// use sessionlog::{Cancel, Message, Model, ModelAnswer, ModelRequest, Result};
///
/// /// Says back what it was told.
/// #[derive(Debug)]
/// struct Echo;
///
/// impl Model for Echo {
///     fn id(&self) -> &str {
///         "echo"
///     }
///
///     fn answer(&self, request: &ModelRequest, _cancel: &Cancel) -> Result<ModelAnswer> {
///         let said = request.messages.last().map(|message| message.content.text());
///         Ok(ModelAnswer::new(Message::assistant(said.unwrap_or_default())))
///     }
/// }
///
/// let request = ModelRequest::new([Message::user("Hello")]);
/// let answer = Echo.answer(&request, &Cancel::never())?;
/// assert_eq!(answer.message.content.text(), "Hello");
/// # Ok::<(), sessionlog::Error>(())
/// ```
///
/// [`ErrorKind::Model`]: crate::ErrorKind::Model
/// [`ErrorKind::Cancelled`]: crate::ErrorKind::Cancelled
pub trait Model: fmt::Debug + Send + Sync {
    /// The model's name, as it is noted beside what it made.
    fn id(&self) -> &str;

    /// Answers a prompt. It blocks until the answer is whole.
    ///
    /// An answer that came and says nothing is an answer with an empty message, no error: whoever
    /// asked knows what to do without one.
    fn answer(&self, request: &ModelRequest, cancel: &Cancel) -> Result<ModelAnswer>;
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ModelRequest {
    /// The conversation, legal to send, system messages first.
    pub messages: Vec<Message>,
    /// The tools that it may call.
    pub tools: Vec<ToolDefinition>,
    /// The shape that the answer must have, where it is to be JSON.
    pub answer_schema: Option<AnswerSchema>,
    /// Tokens of the answer at most, where not the model's own limit decides.
    pub max_tokens: Option<u32>,
}

impl ModelRequest {
    /// Asks with these messages and nothing else.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), ..Self::default() }
    }

    /// Lets the model call these tools.
    #[must_use]
    pub fn with_tools(mut self, tools: impl IntoIterator<Item = ToolDefinition>) -> Self {
        self.tools.extend(tools);
        self
    }

    /// Asks for JSON of a shape.
    #[must_use]
    pub fn with_answer_schema(mut self, name: impl Into<String>, schema: Json) -> Self {
        self.answer_schema = Some(AnswerSchema { name: name.into(), schema });
        self
    }

    /// Bounds the answer.
    #[must_use]
    pub fn with_max_tokens(mut self, tokens: u32) -> Self {
        self.max_tokens = Some(tokens);
        self
    }
}

/// The shape of an answer that is to be JSON. Not every provider holds its models to it, so
/// whoever asks checks what comes.
#[derive(Debug, Clone, PartialEq)]
pub struct AnswerSchema {
    /// A name for the shape, of letters, digits, `_` and `-`.
    pub name: String,
    /// Its JSON schema.
    pub schema: Json,
}

/// A tool that a model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolDefinition {
    /// The name it is called by: letters, digits, `_` and `-`, 64 at most.
    pub name: String,
    /// What it does, in words for the model.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Json,
}

/// What a model answered.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelAnswer {
    /// The assistant's message: words, calls of tools, or both.
    pub message: Message,
    /// What the answer took.
    pub metrics: Metrics,
    /// Whether the limit of its tokens ended it, so that its last words are missing.
    pub is_cut_off: bool,
    /// Why the model answers nothing, or no more: its own words, or the provider's for it. Where
    /// it is there, the message is often empty.
    pub refusal: Option<String>,
}

impl ModelAnswer {
    /// An answer whose cost is not known.
    pub fn new(message: Message) -> Self {
        Self { message, metrics: Metrics::default(), is_cut_off: false, refusal: None }
    }

    /// With what it took.
    #[must_use]
    pub fn with_metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Ended by the limit of its tokens.
    #[must_use]
    pub fn cut_off(mut self) -> Self {
        self.is_cut_off = true;
        self
    }

    /// Refused, and why.
    #[must_use]
    pub fn refused(mut self, reason: impl Into<String>) -> Self {
        self.refusal = Some(reason.into());
        self
    }
}
