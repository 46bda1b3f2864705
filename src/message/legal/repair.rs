//! What was done to a list to make it legal.

use std::fmt;

use crate::message::rule::Rule;
use crate::message::{Message, Role, ToolCall};

/// One thing [`legalize`](crate::legalize) did to a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// A tool's result was left out: no unanswered call in front of it has its id.
    DroppedResult {
        /// The id it gave, if any.
        tool_call_id: Option<String>,
    },
    /// A call was taken out of its message: nothing answers it, it has no id, or the message
    /// is not the model's.
    StrippedCall {
        /// The call's id, if any.
        id: Option<String>,
        /// The tool's name.
        name: String,
    },
    /// A message was left out: no provider knows its role, or it says nothing.
    DroppedMessage {
        /// The role as its source wrote it.
        role: String,
    },
    /// A tool's result was put behind the message that called for it.
    MovedResult {
        /// The call it answers.
        tool_call_id: String,
    },
    /// A call shared its id with an earlier one of the same message and got one of its own;
    /// its result follows it.
    RenamedCall {
        /// The shared id.
        from: String,
        /// The new id.
        to: String,
    },
    /// A message was joined to an earlier one of the same model response.
    MergedResponse {
        /// The response they are parts of.
        response_id: String,
    },
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DroppedResult { tool_call_id: Some(id) } => {
                write!(f, "left out the result of {id:?}: no unanswered call has that id")
            }
            Self::DroppedResult { tool_call_id: None } => {
                f.write_str("left out a result that names no call")
            }
            Self::StrippedCall { id: Some(id), name } => {
                write!(f, "left out the call {id:?} of {name:?}: it cannot be answered")
            }
            Self::StrippedCall { id: None, name } => {
                write!(f, "left out a call of {name:?}: it has no id")
            }
            Self::DroppedMessage { role } => {
                write!(f, "left out a message of role {role:?}: it says nothing a provider takes")
            }
            Self::MovedResult { tool_call_id } => {
                write!(f, "moved the result of {tool_call_id:?} behind its call")
            }
            Self::RenamedCall { from, to } => {
                write!(f, "renamed a call {from:?} to {to:?}: its message has that id twice")
            }
            Self::MergedResponse { response_id } => {
                write!(f, "joined a message to the rest of response {response_id:?}")
            }
        }
    }
}

impl Repair {
    /// The rule that was broken.
    pub(super) fn rule(&self, is_caller: bool) -> Rule {
        match self {
            Self::DroppedResult { .. } => Rule::AnsweringResult,
            Self::StrippedCall { .. } if !is_caller => Rule::CallerRole,
            Self::StrippedCall { id: Some(id), .. } if !id.is_empty() => Rule::AnsweredCall,
            Self::StrippedCall { .. } => Rule::CallId,
            Self::DroppedMessage { role } => match Role::from(role.as_str()) {
                Role::Other(_) => Rule::KnownRole,
                _ => Rule::Content,
            },
            Self::MovedResult { .. } => Rule::ResultPlace,
            Self::RenamedCall { .. } => Rule::UniqueCallId,
            Self::MergedResponse { .. } => Rule::OneResponse,
        }
    }

    /// What was found, before anything was done about it.
    pub(super) fn finding(&self) -> String {
        match self {
            Self::DroppedResult { tool_call_id: Some(id) } => {
                format!("answers {id:?}, which is no unanswered call before it")
            }
            Self::DroppedResult { tool_call_id: None } => "a result that names no call".into(),
            Self::StrippedCall { id: Some(id), name } => {
                format!("the call {id:?} of {name:?} is not answered")
            }
            Self::StrippedCall { id: None, name } => format!("a call of {name:?} has no id"),
            Self::DroppedMessage { role } => {
                format!("a message of role {role:?} says nothing that a provider takes")
            }
            Self::MovedResult { tool_call_id } => {
                format!("the result of {tool_call_id:?} is not directly behind its call")
            }
            Self::RenamedCall { from, .. } => format!("has the call id {from:?} twice"),
            Self::MergedResponse { response_id } => {
                format!("another part of the response {response_id:?} stands before it")
            }
        }
    }
}

/// Repairs, each with the place it concerns in the list as given.
#[derive(Default)]
pub(super) struct Repairs(Vec<(usize, Repair)>);

impl Repairs {
    pub(super) fn add(&mut self, at: usize, repair: Repair) {
        self.0.push((at, repair));
    }

    pub(super) fn dropped(&mut self, at: usize, message: &Message) {
        self.add(at, Repair::DroppedMessage { role: message.role.as_str().to_owned() });
    }

    pub(super) fn stripped(&mut self, at: usize, call: ToolCall) {
        self.add(at, Repair::StrippedCall { id: call.id, name: call.name });
    }

    pub(super) fn in_order(mut self) -> Vec<(usize, Repair)> {
        self.0.sort_by_key(|(at, _)| *at);
        self.0
    }
}
