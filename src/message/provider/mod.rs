//! Messages as providers write and take them.

mod anthropic;
mod anthropic_rules;
mod image;
mod openai;
mod openai_rules;
mod record;
#[cfg(test)]
mod tests;

use std::iter;

pub use self::anthropic::{Anthropic, to_anthropic};
pub use self::anthropic_rules::check_anthropic;
pub use self::openai::to_openai;
pub use self::openai_rules::check_openai;
pub(crate) use self::record::{from_record, to_record};

use super::{Message, Role};

/// Characters of a function's name that both providers take.
const FUNCTION_NAME_CHARS_MAX: usize = 64;

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Whether both providers take it as a function's name: `^[a-zA-Z0-9_-]{1,64}$`.
fn is_function_name(name: &str) -> bool {
    (1..=FUNCTION_NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_word_char)
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
