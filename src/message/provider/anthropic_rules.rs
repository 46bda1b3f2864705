//! The rules of Anthropic's Messages API, checked on a rendered prompt.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::anthropic::Anthropic;
use super::image::MEDIA_TYPES;
use super::openai_rules::{object, only, string};
use super::{is_function_name, is_word_char};
use crate::message::rule::{Broken, Place, Rule, Violation};
use crate::message::{MediaForm, MediaRef};

/// Says which message is the first to break a rule of Anthropic's Messages API.
///
/// It looks at the prompt alone, not at how it came about.
pub fn check_anthropic(prompt: &Anthropic) -> Result<(), Violation> {
    validate_anthropic(prompt).into_iter().next().map_or(Ok(()), Err)
}

/// Every message that breaks a rule of Anthropic's Messages API, each with the first rule that
/// it breaks, and the instructions where they do. Instructions alone are no request.
///
/// ```
/// use sessionlog::{Anthropic, Rule, validate_anthropic};
///
/// let messages = serde_json::json!([{"role": "assistant", "content": "Hello. "}]);
/// let prompt = Anthropic { system: None, messages: messages.as_array().unwrap().clone() };
/// assert_eq!(validate_anthropic(&prompt)[0].rule, Rule::Alternation);
/// ```
pub fn validate_anthropic(prompt: &Anthropic) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tell = |place, checked: Result<(), Broken>| {
        found.extend(checked.err().map(|broken| Violation::new(place, broken)));
    };
    if let Some(system) = &prompt.system {
        tell(Place::System, check_text(system));
    }
    let mut rules = Rules::default();
    for (at, message) in prompt.messages.iter().enumerate() {
        let is_last = at + 1 == prompt.messages.len();
        tell(Place::Message(at), rules.check(message, is_last));
    }
    tell(Place::End, rules.all_answered());
    if prompt.messages.is_empty() {
        found.push(Violation::of_no_message());
    }
    found
}

/// What the rules about a message depend on, as left by the messages before it.
#[derive(Default)]
struct Rules<'a> {
    /// Whether the user speaks, or spoke last.
    is_user: bool,
    /// Every call's id so far.
    used: HashSet<&'a str>,
    /// The ids of the calls in the message before.
    unanswered: HashSet<&'a str>,
    /// The ids of the calls that the provider carries out itself.
    served: HashSet<&'a str>,
}

impl<'a> Rules<'a> {
    fn check(&mut self, message: &'a Value, is_last: bool) -> Result<(), Broken> {
        let members = object(message, "the message")?;
        only(members, &["role", "content"])?;
        let expected = if self.is_user { "assistant" } else { "user" };
        let role = string(members, "role")?;
        if !["user", "assistant"].contains(&role) {
            return Err(Rule::KnownRole.broken(format!("{role:?} is no role")));
        }
        self.is_user = role == "user";
        let checked = self.check_content(members, is_last);
        if role != expected {
            let detail = format!("role {role:?} where {expected:?} must speak");
            return Err(Rule::Alternation.broken(detail));
        }
        checked
    }

    fn check_content(
        &mut self,
        members: &'a Map<String, Value>,
        is_last: bool,
    ) -> Result<(), Broken> {
        let content = members.get("content");
        let said = match content {
            Some(Value::String(text)) => {
                let answered = self.all_answered();
                check_text(text).and(answered)
            }
            // All of them, so that no result is blamed for what is wrong before its call.
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                let checked = blocks.iter().map(|block| {
                    object(block, "a block").and_then(|block| self.check_block(block))
                });
                checked.fold(Ok(()), Result::and)
            }
            _ => {
                let detail = "content is neither text nor a list of at least one block";
                Err(Rule::Content.broken(detail))
            }
        };
        let ended = if self.is_user { self.all_answered() } else { check_ending(content, is_last) };
        said.and(ended)
    }

    fn check_block(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let kind = string(block, "type")?;
        if self.is_user && kind != "tool_result" {
            self.all_answered()?;
        }
        match (kind, self.is_user) {
            ("text", _) => {
                only(block, &["type", "text", "cache_control", "citations"])?;
                check_text(string(block, "text")?)
            }
            ("image", true) => check_image(block),
            ("document", true) => check_document(block),
            ("search_result", true) => check_search_result(block),
            ("container_upload", true) => {
                only(block, &["type", "file_id", "cache_control"])?;
                not_empty(block, "file_id")
            }
            ("tool_result", true) => self.check_result(block),
            ("tool_use", false) => self.check_call(block),
            (kind, false) if SERVER_CALLS.contains(&kind) => self.check_server_call(block),
            (kind, false) if is_server_result(kind) => self.check_server_result(block),
            ("thinking", false) => {
                only(block, &["type", "thinking", "signature"])?;
                string(block, "thinking")?;
                not_empty(block, "signature")
            }
            ("redacted_thinking", false) => {
                only(block, &["type", "data"])?;
                not_empty(block, "data")
            }
            _ => {
                let detail = format!("a block of type {kind:?} has no place here");
                Err(Rule::KnownPart.broken(detail))
            }
        }
    }

    fn check_call(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        only(block, &["type", "id", "name", "input", "cache_control"])?;
        let id = string(block, "id")?;
        if !is_call_id(id) {
            let detail = format!("the call id {id:?} does not match ^[a-zA-Z0-9_-]+$");
            return Err(Rule::CallId.broken(detail));
        }
        self.unanswered.insert(id);
        if !self.used.insert(id) {
            let detail = format!("the call id {id:?} was used before");
            return Err(Rule::UniqueCallId.broken(detail));
        }
        let name = string(block, "name")?;
        if !is_function_name(name) {
            let detail = format!("the name {name:?} does not match ^[a-zA-Z0-9_-]{{1,64}}$");
            return Err(Rule::FunctionName.broken(detail));
        }
        object(block.get("input").unwrap_or(&Value::Null), "input").map(|_| ())
    }

    /// A call that the provider carries out. An answer may break off before its result.
    fn check_server_call(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let known = ["type", "id", "name", "input", "server_name", "caller", "cache_control"];
        only(block, &known)?;
        let id = string(block, "id")?;
        if !is_call_id(id) {
            let detail = format!("the call id {id:?} does not match ^[a-zA-Z0-9_-]+$");
            return Err(Rule::CallId.broken(detail));
        }
        self.served.insert(id);
        not_empty(block, "name")?;
        object(block.get("input").unwrap_or(&Value::Null), "input").map(|_| ())
    }

    fn check_server_result(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let known = ["type", "tool_use_id", "content", "is_error", "caller", "cache_control"];
        only(block, &known)?;
        let id = string(block, "tool_use_id")?;
        if !self.served.contains(id) {
            let detail = format!("answers {id:?}, which is no call of the provider's before it");
            return Err(Rule::AnsweringResult.broken(detail));
        }
        match block.get("content") {
            Some(Value::Array(_) | Value::Object(_) | Value::String(_)) => Ok(()),
            _ => Err(Rule::Content.broken("a result without content")),
        }
    }

    fn check_result(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        only(block, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
        let id = string(block, "tool_use_id")?;
        if !self.unanswered.remove(id) {
            let detail =
                format!("answers {id:?}, which is no unanswered call of the message before");
            return Err(Rule::AnsweringResult.broken(detail));
        }
        let is_error = match block.get("is_error") {
            None => false,
            Some(is_error) => is_error
                .as_bool()
                .ok_or_else(|| Rule::Shape.broken("is_error is neither true nor false"))?,
        };
        match block.get("content") {
            // A tool may have nothing to say.
            None | Some(Value::String(_)) => Ok(()),
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                blocks.iter().try_for_each(|block| check_result_block(block, is_error))
            }
            Some(_) => {
                Err(Rule::Content.broken("a result's content is neither text nor a list of blocks"))
            }
        }
    }

    /// Says which call was not answered, once.
    fn all_answered(&mut self) -> Result<(), Broken> {
        // The least, so that the same prompt always gets the same answer.
        let Some(id) = self.unanswered.iter().min() else { return Ok(()) };
        let detail = format!("the call {id:?} is not answered in the next message");
        self.unanswered.clear();
        Err(Rule::AnsweredCall.broken(detail))
    }
}

/// How the model's message may end: in no thought and, if nothing follows, in no whitespace.
fn check_ending(content: Option<&Value>, is_last: bool) -> Result<(), Broken> {
    let last_block = content.and_then(Value::as_array).and_then(|blocks| blocks.last());
    let kind = last_block.and_then(|block| block.get("type")?.as_str());
    if matches!(kind, Some("thinking" | "redacted_thinking")) {
        return Err(Rule::Ending.broken("ends in a thought"));
    }
    let text = match last_block {
        Some(block) => block.get("text").and_then(Value::as_str),
        None => content.and_then(Value::as_str),
    };
    if is_last && text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err(Rule::Ending.broken("is the last message and ends in whitespace"));
    }
    Ok(())
}

fn check_result_block(block: &Value, is_error: bool) -> Result<(), Broken> {
    let block = object(block, "a result's block")?;
    match string(block, "type")? {
        "text" => {
            only(block, &["type", "text", "cache_control", "citations"])?;
            check_text(string(block, "text")?)
        }
        "image" if is_error => Err(Rule::KnownPart.broken("an image in a result that is an error")),
        "image" => check_image(block),
        "document" => check_document(block),
        "search_result" => check_search_result(block),
        kind => {
            let detail = format!("a block of type {kind:?} has no place in a result");
            Err(Rule::KnownPart.broken(detail))
        }
    }
}

/// Calls of tools that the provider carries out itself, so that their results are the model's.
pub(super) const SERVER_CALLS: [&str; 2] = ["server_tool_use", "mcp_tool_use"];

/// Each tool of the provider's has results of a type of its own.
pub(super) fn is_server_result(kind: &str) -> bool {
    kind.ends_with("_tool_result")
}

pub(super) fn is_call_id(id: &str) -> bool {
    !id.is_empty() && id.chars().all(is_word_char)
}

fn check_search_result(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "title", "content", "citations", "cache_control"])?;
    not_empty(block, "source")?;
    not_empty(block, "title")?;
    let content = block.get("content").and_then(Value::as_array).filter(|it| !it.is_empty());
    let content = content.ok_or_else(|| {
        Rule::Content.broken("a search result's content is no list of at least one block")
    })?;
    content.iter().try_for_each(|block| {
        let block = object(block, "a block of a search result")?;
        if string(block, "type")? != "text" {
            return Err(Rule::KnownPart.broken("a search result holds nothing but text"));
        }
        check_text(string(block, "text")?)
    })
}

fn check_document(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "title", "context", "citations", "cache_control"])?;
    let source = object(block.get("source").unwrap_or(&Value::Null), "a document's source")?;
    string(source, "type").map(|_| ())
}

fn check_image(block: &Map<String, Value>) -> Result<(), Broken> {
    only(block, &["type", "source", "cache_control"])?;
    let source = object(block.get("source").unwrap_or(&Value::Null), "an image's source")?;
    match string(source, "type")? {
        "base64" => {
            only(source, &["type", "media_type", "data"])?;
            let media_type = string(source, "media_type")?;
            if !MEDIA_TYPES.contains(&media_type) {
                let detail = format!("{media_type:?} is no media type of images");
                return Err(Rule::Media.broken(detail));
            }
            let is_url = |media: MediaRef| media.form() == MediaForm::DataUrl;
            if string(source, "data")?.parse().is_ok_and(is_url) {
                return Err(Rule::Media.broken("an image's data stands for a URL"));
            }
            not_empty(source, "data")
        }
        "url" => {
            only(source, &["type", "url"])?;
            let is_https = string(source, "url")?.starts_with("https://");
            if is_https {
                Ok(())
            } else {
                Err(Rule::Media.broken("an image's url does not begin with https://"))
            }
        }
        kind => Err(Rule::Media.broken(format!("{kind:?} is no type of an image's source"))),
    }
}

fn check_text(text: &str) -> Result<(), Broken> {
    let wordless = || Rule::Content.broken("text without a word");
    if text.trim().is_empty() { Err(wordless()) } else { Ok(()) }
}

fn not_empty(members: &Map<String, Value>, name: &str) -> Result<(), Broken> {
    let empty = || Rule::Content.broken(format!("{name} is empty"));
    if string(members, name)?.is_empty() { Err(empty()) } else { Ok(()) }
}
