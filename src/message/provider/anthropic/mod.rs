//! Messages as Anthropic's Messages API takes them.

mod block;
mod conversation;
mod kind;
mod rules;
mod served;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use self::block::{
    given_block, is_error, said_block, said_blocks, tool_result, tool_use, user_blocks,
};
use self::conversation::{Conversation, Speaker};
use self::kind::is_blank;
pub(crate) use self::rules::validate_anthropic_request;
pub use self::rules::{check_anthropic, validate_anthropic};
use super::{left_out, turns};
use crate::message::legal::legalize;
use crate::message::{Message, Part, Role};

/// A prompt for Anthropic's Messages API: the two members of a request that hold it, and as JSON
/// these two.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Anthropic {
    /// The instructions, which the API takes beside the messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The messages, user and assistant by turns.
    pub messages: Vec<Value>,
}

/// Renders messages for Anthropic's Messages API.
///
/// The list is made legal first, so any list will do; [`check_anthropic`]
/// finds nothing to say about what comes out. Instructions go to the system prompt wherever
/// they stand, and what the model says before the first word of the user is left out, because
/// the API wants the user to begin. So is a call that the API carries out on its own servers, and
/// what it found, where one has come without the other; only at the end, where the model may go
/// on, such a call stays. [`left_out_of_anthropic`] tells of both.
///
/// ```
/// use sessionlog::{Message, check_anthropic, to_anthropic};
///
/// let prompt = to_anthropic(&[
///     Message::system("Be brief."),
///     Message::user("Hello"),
///     Message::user("Are you there?"),
/// ]);
/// assert_eq!(prompt.system.as_deref(), Some("Be brief."));
/// assert_eq!(prompt.messages.len(), 1);
/// assert_eq!(check_anthropic(&prompt), Ok(()));
/// // A request is these members with a model and a bound.
/// let mut request = serde_json::to_value(&prompt)?;
/// request["model"] = "claude-sonnet-4-5".into();
/// assert_eq!(request["system"], "Be brief.");
/// let bare = serde_json::to_string(&to_anthropic(&[Message::user("Hi")]))?;
/// assert!(bare.starts_with(r#"{"messages":[{"#));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn to_anthropic(messages: &[Message]) -> Anthropic {
    render(messages).0
}

/// What [`left_out_of_anthropic`] counts whole messages under: those of the model, and of the
/// tools it calls, that stand before the first words of the user.
pub const LEFT_OUT_IN_FRONT: &str = "message-before-user";

/// How many parts of messages [`to_anthropic`] leaves out, by their type: those that the API does
/// not know, thoughts that end a message, and what its own tools were asked or found where the
/// other half is missing. Under [`LEFT_OUT_IN_FRONT`], how many messages, because the API wants
/// the user to begin. No other text is left out.
///
/// ```
/// use sessionlog::{LEFT_OUT_IN_FRONT, Message, left_out_of_anthropic};
///
/// let messages = [Message::assistant("How can I help?"), Message::user("Hello")];
/// assert_eq!(left_out_of_anthropic(&messages)[LEFT_OUT_IN_FRONT], 1);
/// ```
pub fn left_out_of_anthropic(messages: &[Message]) -> BTreeMap<String, u64> {
    let mut counts = left_out(messages, |message, part| {
        let Part::Json(json) = part else { return true };
        match message.role {
            Role::User => given_block(json).is_some(),
            Role::Assistant => said_block(json).is_some(),
            Role::Tool => !is_error(message) && given_block(json).is_some(),
            Role::System | Role::Developer | Role::Other(_) => false,
        }
    });
    for (kind, count) in render(messages).1 {
        *counts.entry(kind).or_default() += count;
    }
    counts
}

/// The prompt, and what of the blocks and messages that the API knows it is without, by type.
fn render(messages: &[Message]) -> (Anthropic, BTreeMap<String, u64>) {
    let (messages, _) = legalize(messages.to_vec());
    let mut system = Vec::new();
    let mut conversation = Conversation::new();
    let mut in_front = 0;
    for (message, results) in turns(&messages) {
        match message.role {
            Role::System | Role::Developer => {
                system.push(message.content.text());
            }
            Role::User => conversation.say(Speaker::User, user_blocks(message)),
            Role::Assistant if conversation.is_empty() => {
                let is_something = !results.is_empty() || !said_blocks(message).is_empty();
                in_front += if is_something { 1 + results.len() as u64 } else { 0 };
            }
            Role::Assistant => {
                conversation.say(Speaker::Assistant, said_blocks(message));
                let calls = message.tool_calls.iter();
                let ids: Vec<String> = calls.map(|call| conversation.call_id(call)).collect();
                let calls = message.tool_calls.iter().zip(&ids);
                let calls = calls.map(|(call, id)| tool_use(call, id)).collect();
                conversation.say(Speaker::Assistant, calls);
                let results = results.iter().zip(&ids);
                let results = results.map(|(result, id)| tool_result(result, id)).collect();
                conversation.say(Speaker::User, results);
            }
            Role::Tool | Role::Other(_) => {}
        }
    }
    system.retain(|text| !is_blank(text));
    let system = (!system.is_empty()).then(|| system.join("\n\n"));
    let (messages, mut left_out) = conversation.finish();
    if in_front > 0 {
        left_out.insert(LEFT_OUT_IN_FRONT.to_owned(), in_front);
    }
    (Anthropic { system, messages }, left_out)
}
