//! What the next model call is given: parts of a session, memories and instructions, made into
//! one legal list of messages that fits a budget. Values in, values out.
//!
//! The rules have a version, [`ContextRecorded::RULES`](crate::ContextRecorded::RULES): a
//! recorded context is made again by the same functions.

mod budget;
mod compose;
mod count;
mod digest;
mod estimate;
mod parts;
mod tags;
#[cfg(feature = "tokens")]
mod tokenizer;

pub(crate) use self::budget::{Fitted, fit, is_over};
pub(crate) use self::compose::{Cut, begins, compose};
pub use self::count::{IMAGE_TOKENS, MESSAGE_TOKENS, TokenCounter};
pub(crate) use self::count::{Tally, tool_tokens};
pub(crate) use self::digest::prompt_digest;
pub use self::estimate::EstimatedTokens;
pub(crate) use self::parts::Parts;
pub use self::parts::{ContextMemory, ContextTokens};
pub(crate) use self::tags::without_tags;
#[cfg(feature = "tokens")]
pub use self::tokenizer::Tokenizer;
