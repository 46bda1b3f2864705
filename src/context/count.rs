//! How large a prompt is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use serde_json::Value;

use super::digest::canonical;
use crate::message::Anthropic;

/// What each message of a request costs beside its words: providers frame it with its role and
/// its ends. OpenAI documents three for its models, and one for a name.
pub const MESSAGE_TOKENS: u64 = 4;

/// What an image counts for, whatever its size. Anthropic counts width times height over 750 and
/// scales down what comes to more than about 1,600; OpenAI's models count less for most images.
pub const IMAGE_TOKENS: u64 = 1_600;

/// Counts the tokens of a text.
///
/// A prompt counts as the sum over its messages, in the form in which it is sent:
/// [`MESSAGE_TOKENS`] each, and its texts (a call's name and arguments and a tool's result among
/// them), and [`IMAGE_TOKENS`] for each image. A tool that is defined beside the messages
/// ([`ContextBuilder::tools`](crate::ContextBuilder::tools)) counts as a message of three texts:
/// its name, its description and the JSON schema of its arguments, without white space. Any
/// counter, the estimate and `Tokenizer` alike, is asked for those texts.
///
/// ```
/// use sessionlog::TokenCounter;
///
/// /// Counts words.
/// #[derive(Debug)]
/// struct Words;
///
/// impl TokenCounter for Words {
///     fn name(&self) -> &str {
///         "words"
///     }
///
///     fn count(&self, text: &str) -> usize {
///         text.split_whitespace().count()
///     }
/// }
/// assert_eq!(Words.count("How are you?"), 3);
/// ```
pub trait TokenCounter: fmt::Debug + Send + Sync {
    /// Which counter it is, as it is noted in a manifest.
    fn name(&self) -> &str;

    /// The tokens of a text. The same text must always give the same number.
    fn count(&self, text: &str) -> usize;
}

/// The tokens of texts, each text counted once.
pub(crate) struct Tally<'a> {
    counter: &'a dyn TokenCounter,
    known: RefCell<HashMap<[u8; 32], u64>>,
}

/// Bytes from which on hashing a text costs less than counting it again.
const REMEMBERED_BYTES_MIN: usize = 256;

impl<'a> Tally<'a> {
    pub(crate) fn new(counter: &'a dyn TokenCounter) -> Self {
        Self { counter, known: RefCell::default() }
    }

    pub(crate) fn count(&self, text: &str) -> u64 {
        if text.len() < REMEMBERED_BYTES_MIN {
            return self.counter.count(text) as u64;
        }
        let digest = blake3::hash(text.as_bytes()).into();
        if let Some(tokens) = self.known.borrow().get(&digest) {
            return *tokens;
        }
        let tokens = self.counter.count(text) as u64;
        self.known.borrow_mut().insert(digest, tokens);
        tokens
    }

    fn member(&self, value: &Value, name: &str) -> u64 {
        value.get(name).and_then(Value::as_str).map_or(0, |text| self.count(text))
    }
}

/// The tokens of a request in OpenAI's format.
pub(crate) fn openai_tokens(messages: &[Value], tally: &Tally<'_>) -> u64 {
    messages.iter().map(|message| openai_message(message, tally)).fold(0, u64::saturating_add)
}

fn openai_message(message: &Value, tally: &Tally<'_>) -> u64 {
    let calls = message.get("tool_calls").and_then(Value::as_array).into_iter().flatten();
    let calls = calls.filter_map(|call| call.get("function").or_else(|| call.get("custom")));
    let inputs = ["name", "arguments", "input"];
    let calls = calls.map(|call| sum(inputs.into_iter().map(|name| tally.member(call, name))));
    let content = message.get("content").unwrap_or(&Value::Null);
    let beside = tally.member(message, "name") + tally.member(message, "refusal");
    MESSAGE_TOKENS + beside + content_tokens(content, tally) + sum(calls)
}

/// The tokens of a request in Anthropic's format.
pub(crate) fn anthropic_tokens(prompt: &Anthropic, tally: &Tally<'_>) -> u64 {
    let system = prompt.system.as_deref().map_or(0, |text| MESSAGE_TOKENS + tally.count(text));
    let content = |message: &Value| {
        MESSAGE_TOKENS + content_tokens(message.get("content").unwrap_or(&Value::Null), tally)
    };
    system + sum(prompt.messages.iter().map(content))
}

/// The tokens of the definition of a tool, in either format.
pub(crate) fn tool_tokens(name: &str, description: &str, schema: &Value, tally: &Tally<'_>) -> u64 {
    MESSAGE_TOKENS + tally.count(name) + tally.count(description) + tally.count(&canonical(schema))
}

/// A content: text, or a list of parts.
fn content_tokens(content: &Value, tally: &Tally<'_>) -> u64 {
    match content {
        Value::String(text) => tally.count(text),
        Value::Array(parts) => sum(parts.iter().map(|part| part_tokens(part, tally))),
        _ => 0,
    }
}

fn part_tokens(part: &Value, tally: &Tally<'_>) -> u64 {
    match part.get("type").and_then(Value::as_str).unwrap_or_default() {
        "image" | "image_url" => IMAGE_TOKENS,
        "tool_use" | "server_tool_use" | "mcp_tool_use" => {
            let input = part.get("input").map_or(0, |input| tally.count(&canonical(input)));
            tally.member(part, "name") + input
        }
        "tool_result" => content_tokens(part.get("content").unwrap_or(&Value::Null), tally),
        "search_result" => {
            let content = content_tokens(part.get("content").unwrap_or(&Value::Null), tally);
            tally.member(part, "source") + tally.member(part, "title") + content
        }
        // What a tool of the provider's found.
        kind if kind.ends_with("_tool_result") => {
            part.get("content").map_or(0, |content| tally.count(&canonical(content)))
        }
        "thinking" => tally.member(part, "thinking"),
        "redacted_thinking" => tally.member(part, "data"),
        _ => tally.member(part, "text"),
    }
}

fn sum(tokens: impl Iterator<Item = u64>) -> u64 {
    tokens.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::context::EstimatedTokens;

    #[test]
    fn a_tool_counts_its_name_its_description_and_its_schema() {
        let tally = Tally::new(&EstimatedTokens);
        let schema = json!({"type": "object"});
        let texts = ["look", "Looks around", r#"{"type":"object"}"#];
        let words: u64 = texts.iter().map(|text| tally.count(text)).sum();
        let counted = tool_tokens(texts[0], texts[1], &schema, &tally);
        assert_eq!(counted, MESSAGE_TOKENS + words);
    }

    #[test]
    fn a_prompt_counts_its_words_its_calls_and_its_images() {
        let tally = Tally::new(&EstimatedTokens);
        let call = json!({"name": "look", "arguments": "far away"});
        let messages = [
            json!({"role": "user", "content": [
                {"type": "text", "text": "one two"},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ]}),
            json!({"role": "assistant", "content": null, "tool_calls": [
                {"id": "c", "type": "function", "function": call},
            ]}),
            json!({"role": "tool", "tool_call_id": "c", "content": "nothing there"}),
        ];
        assert_eq!(openai_tokens(&messages, &tally), 3 * MESSAGE_TOKENS + 2 + IMAGE_TOKENS + 3 + 2);
    }
}
