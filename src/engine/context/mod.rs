//! What the next model call is given, put together from a session, and noted in it.

mod builder;
mod recorded;

pub use self::builder::ContextBuilder;
pub use self::recorded::{ContextChange, RebuiltContext, RecordedContext};

use std::collections::BTreeMap;

use serde_json::Value;

use super::run::Run;
use super::session::Session;
use crate::commit::{Expected, Ticket};
use crate::context::ContextTokens;
use crate::error::{Error, Result};
use crate::event::{ContextRecorded, PromptFormat};
use crate::message::{
    Anthropic, Message, Repair, left_out_of_anthropic, left_out_of_openai, to_anthropic, to_openai,
};
use crate::model::{ModelRequest, ToolDefinition};

/// The messages of a model call, legal to send, and what they were made of.
///
/// Made by [`Session::context`] or [`Run::context`].
#[derive(Debug, Clone)]
pub struct Context {
    session: Session,
    /// The run that the call is a part of, where it was made for one.
    run_id: Option<String>,
    messages: Vec<Message>,
    opened: Vec<Message>,
    repairs: Vec<Repair>,
    tools: Vec<ToolDefinition>,
    tokens: ContextTokens,
    manifest: ContextRecorded,
    /// The session's last seq when it was made.
    as_of_seq: u64,
}

impl Context {
    /// The messages, the system message first. They can be sent to a provider as they are.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The messages, by value.
    pub fn into_messages(self) -> Vec<Message> {
        self.messages
    }

    /// The messages as OpenAI's chat completions take them.
    pub fn openai(&self) -> Vec<Value> {
        to_openai(&self.messages)
    }

    /// The messages as Anthropic's messages API takes them. Its requests begin with the person, so
    /// where [`ContextBuilder::num_history_messages`] cuts a run after that, the person's last
    /// message before the cut comes in front.
    pub fn anthropic(&self) -> Anthropic {
        to_anthropic(&self.opened)
    }

    /// What to ask a [`Model`](crate::Model): these messages and the tools that the builder was
    /// given, in the form that it was told they are sent in, so that a manifest's digest is that of
    /// what goes out.
    pub fn request(&self) -> ModelRequest {
        ModelRequest::new(match self.manifest.format {
            PromptFormat::OpenAi => self.messages.clone(),
            PromptFormat::Anthropic => self.opened.clone(),
        })
        .with_tools(self.tools.iter().cloned())
    }

    /// The tokens of the request in the format that takes more of them, the tools included.
    pub fn tokens(&self) -> u64 {
        self.tokens.total()
    }

    /// The tokens of each format, and of each part.
    pub fn token_parts(&self) -> &ContextTokens {
        &self.tokens
    }

    /// What was done to the messages to make them legal.
    pub fn repairs(&self) -> &[Repair] {
        &self.repairs
    }

    /// How many parts of the messages the request leaves out, by their type: files, audio and
    /// whatever else the format has no place for, and what a provider's own tools were asked or
    /// found where the other half is missing. Under
    /// [`LEFT_OUT_IN_FRONT`](crate::LEFT_OUT_IN_FRONT), whole messages: those of the model before
    /// the first words of the person, where the format is Anthropic's.
    pub fn left_out(&self) -> BTreeMap<String, u64> {
        match self.manifest.format {
            PromptFormat::OpenAi => left_out_of_openai(&self.messages),
            PromptFormat::Anthropic => left_out_of_anthropic(&self.opened),
        }
    }

    /// What the prompt was made of: all that is needed to make it again.
    pub fn manifest(&self) -> &ContextRecorded {
        &self.manifest
    }

    /// Notes in a run that a model call of it was given this. What is noted is the manifest:
    /// nothing that is in the log already is stored again.
    ///
    /// The ticket fails with [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) where something
    /// of the session was erased or went back since it was made: the digest of the prompt would
    /// say something of what is gone. Make it anew then.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a run of another session, or another
    /// run than it was made for.
    pub fn record(&self, run: &Run) -> Result<Ticket> {
        let is_of = self.run_id.as_ref().is_none_or(|run_id| run_id == run.id());
        if run.session().key() != self.session.key() || !is_of {
            let words = "a context is recorded in the run that it was made for";
            return Err(Error::invalid(words).context(self.session.place()));
        }
        run.append_expecting(Expected::Unchanged(self.as_of_seq), self.manifest.clone())
    }
}
