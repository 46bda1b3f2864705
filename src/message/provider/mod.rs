//! Messages as providers write and take them.

mod anthropic;
mod image;
mod members;
mod openai;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::iter;

pub(crate) use self::anthropic::validate_anthropic_request;
pub use self::anthropic::{
    Anthropic, LEFT_OUT_IN_FRONT, check_anthropic, left_out_of_anthropic, to_anthropic,
    validate_anthropic,
};
pub use self::openai::{check_openai, left_out_of_openai, to_openai, validate_openai};
pub(crate) use self::record::{from_record, to_record};

use super::legal::legalize;
use super::{Content, Message, Part, Role};

/// Characters of a function's name that both providers take, and of a speaker's.
const FUNCTION_NAME_CHARS_MAX: usize = 64;

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether both providers take it as a function's name: `^[a-zA-Z0-9_-]{1,64}$`.
fn is_function_name(name: &str) -> bool {
    (1..=FUNCTION_NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_word_char)
}

/// Whether OpenAI takes it as a speaker's name: `^[^\s<|\\/>]{1,64}$`.
fn is_speaker_name(name: &str) -> bool {
    let is_taken = |c: char| !c.is_whitespace() && !['<', '|', '\\', '/', '>'].contains(&c);
    (1..=FUNCTION_NAME_CHARS_MAX).contains(&name.chars().count()) && name.chars().all(is_taken)
}

/// The text with `_` for every character outside `[a-zA-Z0-9_-]`.
fn to_word(text: &str) -> String {
    text.chars().map(|c| if is_word_char(c) { c } else { '_' }).collect()
}

/// The nearest name that both providers take; `_` for none at all.
fn to_function_name(name: &str) -> String {
    let mut word = to_word(name);
    word.truncate(FUNCTION_NAME_CHARS_MAX);
    if word.is_empty() { String::from("_") } else { word }
}

/// How many parts of messages that will be sent a provider is not given, by their type. What is no
/// part of a prompt at all, legalizing tells.
fn left_out(
    messages: &[Message],
    is_given: impl Fn(&Message, &Part) -> bool,
) -> BTreeMap<String, u64> {
    let (messages, _) = legalize(messages.to_vec());
    let mut counts = BTreeMap::new();
    for message in &messages {
        let Content::Parts(parts) = &message.content else { continue };
        let parts = parts.iter().filter(|part| part.text().is_none());
        for part in parts.filter(|part| !is_given(message, part)) {
            *counts.entry(part.kind()).or_default() += 1;
        }
    }
    counts
}

/// Walks over a legal list, each message with the results of its calls.
fn turns(messages: &[Message]) -> impl Iterator<Item = (&Message, &[Message])> {
    let mut rest = messages;
    iter::from_fn(move || {
        let (message, behind) = rest.split_first()?;
        let calls = if message.role == Role::Assistant { message.tool_calls.len() } else { 0 };
        let (results, after) = behind.split_at_checked(calls)?;
        rest = after;
        Some((message, results))
    })
}
