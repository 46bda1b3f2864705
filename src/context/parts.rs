//! What a context is made of.

use serde_json::{Map, Value};

use crate::message::Message;

/// A fact about the session's user, as it goes into a context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextMemory {
    /// The memory's id.
    pub memory_id: String,
    /// The seq of the event that wrote it, in the user's own stream.
    pub seq: u64,
    /// The fact.
    pub memory: String,
}

/// All that a context is made of, each with the seq it stands at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parts {
    pub(crate) system: Option<(u64, Message)>,
    pub(crate) instructions: Option<String>,
    pub(crate) summary: Option<(u64, String)>,
    /// Oldest first.
    pub(crate) memories: Vec<ContextMemory>,
    pub(crate) state: Option<(u64, Map<String, Value>)>,
    /// What the person had said before the history was cut by a number of messages.
    pub(crate) opening: Option<(u64, Message)>,
    /// Oldest first.
    pub(crate) history: Vec<(u64, Message)>,
    /// The messages of the run under way.
    pub(crate) run: Vec<(u64, Message)>,
    /// Of the history.
    pub(crate) max_tool_calls: Option<usize>,
    /// The tokens of the tools that are defined beside the messages.
    pub(crate) tools: u64,
}

/// The tokens of a context, as a whole and part by part.
///
/// A part is counted by itself, so the parts need not add up to the whole: words that meet may
/// share a token, and the texts of the system message share what one message costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct ContextTokens {
    /// The whole request in OpenAI's format.
    pub openai: u64,
    /// The whole request in Anthropic's format.
    pub anthropic: u64,
    /// The session's system message.
    pub system: u64,
    /// The caller's instructions.
    pub instructions: u64,
    /// The summary.
    pub summary: u64,
    /// The memories.
    pub memories: u64,
    /// The session's state.
    pub state: u64,
    /// The messages of the history.
    pub history: u64,
    /// The messages of the run under way.
    pub run: u64,
    /// The tools that are defined beside the messages.
    pub tools: u64,
}

impl ContextTokens {
    /// The tokens of the format that takes more of them: what a budget is held against.
    pub fn total(&self) -> u64 {
        self.openai.max(self.anthropic)
    }
}
