//! The rules of Anthropic's Messages API, checked on a rendered prompt.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::anthropic::Anthropic;
use super::image::MEDIA_TYPES;
use super::openai_rules::{object, only, string};
use super::{is_function_name, is_word_char};

/// Says which message breaks which rule of Anthropic's Messages API.
///
/// It looks at the prompt alone, not at how it came about. An empty list breaks no rule: there
/// is nothing to send.
pub fn check_anthropic(prompt: &Anthropic) -> Result<(), String> {
    if let Some(system) = &prompt.system {
        check_text(system).map_err(|broken| format!("system: {broken}"))?;
    }
    let mut rules = Rules { is_user_next: true, used: HashSet::new(), unanswered: HashSet::new() };
    for (at, message) in prompt.messages.iter().enumerate() {
        let is_last = at + 1 == prompt.messages.len();
        rules.check(message, is_last).map_err(|broken| format!("message {at}: {broken}"))?;
    }
    rules.all_answered().map_err(|broken| format!("at the end: {broken}"))
}

/// What the rules about a message depend on, as left by the messages before it.
struct Rules<'a> {
    is_user_next: bool,
    /// Every call's id so far.
    used: HashSet<&'a str>,
    /// The ids of the calls in the message before.
    unanswered: HashSet<&'a str>,
}

impl<'a> Rules<'a> {
    fn check(&mut self, message: &'a Value, is_last: bool) -> Result<(), String> {
        let members = object(message, "the message")?;
        only(members, &["role", "content"])?;
        let expected = if self.is_user_next { "user" } else { "assistant" };
        let role = string(members, "role")?;
        if role != expected {
            return Err(format!("role {role:?} where {expected:?} must speak"));
        }
        match members.get("content") {
            Some(Value::String(text)) => {
                check_text(text)?;
                self.all_answered()?;
            }
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                for block in blocks {
                    self.check_block(object(block, "a block")?)?;
                }
            }
            _ => return Err("content is neither text nor a list of at least one block".into()),
        }
        if self.is_user_next {
            self.all_answered()?;
        } else {
            check_ending(members.get("content"), is_last)?;
        }
        self.is_user_next = !self.is_user_next;
        Ok(())
    }

    fn check_block(&mut self, block: &'a Map<String, Value>) -> Result<(), String> {
        let kind = string(block, "type")?;
        if self.is_user_next && kind != "tool_result" {
            self.all_answered()?;
        }
        match (kind, self.is_user_next) {
            ("text", _) => {
                only(block, &["type", "text"])?;
                check_text(string(block, "text")?)
            }
            ("image", true) => check_image(block),
            ("tool_result", true) => self.check_result(block),
            ("tool_use", false) => self.check_call(block),
            ("thinking", false) => {
                only(block, &["type", "thinking", "signature"])?;
                string(block, "thinking")?;
                not_empty(block, "signature")
            }
            ("redacted_thinking", false) => {
                only(block, &["type", "data"])?;
                not_empty(block, "data")
            }
            _ => Err(format!("a block of type {kind:?} has no place here")),
        }
    }

    fn check_call(&mut self, block: &'a Map<String, Value>) -> Result<(), String> {
        only(block, &["type", "id", "name", "input"])?;
        let id = string(block, "id")?;
        if id.is_empty() || !id.chars().all(is_word_char) {
            return Err(format!("the call id {id:?} does not match ^[a-zA-Z0-9_-]+$"));
        }
        if !self.used.insert(id) {
            return Err(format!("the call id {id:?} was used before"));
        }
        let name = string(block, "name")?;
        if !is_function_name(name) {
            return Err(format!("the name {name:?} does not match ^[a-zA-Z0-9_-]{{1,64}}$"));
        }
        object(block.get("input").unwrap_or(&Value::Null), "input")?;
        self.unanswered.insert(id);
        Ok(())
    }

    fn check_result(&mut self, block: &'a Map<String, Value>) -> Result<(), String> {
        only(block, &["type", "tool_use_id", "content", "is_error"])?;
        let id = string(block, "tool_use_id")?;
        if !self.unanswered.remove(id) {
            return Err(format!(
                "answers {id:?}, which is no unanswered call of the message before"
            ));
        }
        let is_error = match block.get("is_error") {
            None => false,
            Some(is_error) => is_error.as_bool().ok_or("is_error is neither true nor false")?,
        };
        match block.get("content") {
            None => Ok(()),
            Some(Value::String(text)) => check_text(text),
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                blocks.iter().try_for_each(|block| check_result_block(block, is_error))
            }
            Some(_) => Err("a result's content is neither text nor a list of blocks".into()),
        }
    }

    fn all_answered(&self) -> Result<(), String> {
        // The least, so that the same prompt always gets the same answer.
        match self.unanswered.iter().min() {
            Some(id) => Err(format!("the call {id:?} is not answered in the next message")),
            None => Ok(()),
        }
    }
}

/// How the model's message may end: in no thought and, if nothing follows, in no whitespace.
fn check_ending(content: Option<&Value>, is_last: bool) -> Result<(), String> {
    let last_block = content.and_then(Value::as_array).and_then(|blocks| blocks.last());
    let kind = last_block.and_then(|block| block.get("type")?.as_str());
    if matches!(kind, Some("thinking" | "redacted_thinking")) {
        return Err("ends in a thought".into());
    }
    let text = match last_block {
        Some(block) => block.get("text").and_then(Value::as_str),
        None => content.and_then(Value::as_str),
    };
    if is_last && text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err("is the last message and ends in whitespace".into());
    }
    Ok(())
}

fn check_result_block(block: &Value, is_error: bool) -> Result<(), String> {
    let block = object(block, "a result's block")?;
    match string(block, "type")? {
        "text" => {
            only(block, &["type", "text"])?;
            check_text(string(block, "text")?)
        }
        "image" if is_error => Err("an image in a result that is an error".into()),
        "image" => check_image(block),
        kind => Err(format!("a block of type {kind:?} has no place in a result")),
    }
}

fn check_image(block: &Map<String, Value>) -> Result<(), String> {
    only(block, &["type", "source"])?;
    let source = object(block.get("source").unwrap_or(&Value::Null), "an image's source")?;
    match string(source, "type")? {
        "base64" => {
            only(source, &["type", "media_type", "data"])?;
            let media_type = string(source, "media_type")?;
            if !MEDIA_TYPES.contains(&media_type) {
                return Err(format!("{media_type:?} is no media type of images"));
            }
            not_empty(source, "data")
        }
        "url" => {
            only(source, &["type", "url"])?;
            let is_https = string(source, "url")?.starts_with("https://");
            if is_https {
                Ok(())
            } else {
                Err("an image's url does not begin with https://".into())
            }
        }
        kind => Err(format!("{kind:?} is no type of an image's source")),
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("text without a word".into()) } else { Ok(()) }
}

fn not_empty(members: &Map<String, Value>, name: &str) -> Result<(), String> {
    if string(members, name)?.is_empty() { Err(format!("{name} is empty")) } else { Ok(()) }
}
