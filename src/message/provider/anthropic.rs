//! Messages as Anthropic's Messages API takes them.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::anthropic_rules::{SERVER_CALLS, is_call_id, is_server_result};
use super::image::Image;
use super::openai::refusal_part;
use super::{left_out, to_function_name, to_word, turns};
use crate::message::legal::{UniqueIds, legalize};
use crate::message::{Content, Message, Part, Role, ToolCall};

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
/// The list is made legal first, so any list will do; [`check_anthropic`](super::check_anthropic)
/// finds nothing to say about what comes out. Instructions go to the system prompt wherever
/// they stand, and what the model says before the first word of the user is left out, because
/// the API wants the user to begin; [`left_out_of_anthropic`] tells of it.
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
    let (messages, _) = legalize(messages.to_vec());
    let mut system = Vec::new();
    let mut conversation = Conversation::default();
    let mut ids = UniqueIds::new(usize::MAX);
    for (message, results) in turns(&messages) {
        match message.role {
            Role::System | Role::Developer => {
                system.push(message.content.text());
            }
            Role::User => conversation.say(Speaker::User, user_blocks(message)),
            Role::Assistant if !conversation.0.is_empty() => {
                let turn_ids: Vec<String> =
                    message.tool_calls.iter().map(|call| call_id(call, &mut ids)).collect();
                let mut said = said_blocks(message);
                let calls = message.tool_calls.iter().zip(&turn_ids);
                said.extend(calls.map(|(call, id)| tool_use(call, id)));
                conversation.say(Speaker::Assistant, said);
                let answers = results.iter().zip(&turn_ids);
                let answers = answers.map(|(result, id)| tool_result(result, id)).collect();
                conversation.say(Speaker::User, answers);
            }
            Role::Assistant | Role::Tool | Role::Other(_) => {}
        }
    }
    system.retain(|text| !is_blank(text));
    let system = (!system.is_empty()).then(|| system.join("\n\n"));
    Anthropic { system, messages: conversation.finish() }
}

/// What [`left_out_of_anthropic`] counts whole messages under: those of the model, and of the
/// tools it calls, that stand before the first words of the user.
pub const LEFT_OUT_IN_FRONT: &str = "message-before-user";

/// How many parts of messages [`to_anthropic`] leaves out, by their type, and under
/// [`LEFT_OUT_IN_FRONT`] how many messages, because the API wants the user to begin. No other text
/// is left out.
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
            Role::User => given_block(&json.to_value()).is_some(),
            Role::Assistant => said_block(&json.to_value()).is_some(),
            Role::Tool => !is_error(message) && given_block(&json.to_value()).is_some(),
            Role::System | Role::Developer | Role::Other(_) => false,
        }
    });
    let in_front = said_in_front(messages);
    if in_front > 0 {
        counts.insert(LEFT_OUT_IN_FRONT.to_owned(), in_front);
    }
    counts
}

/// How many messages that say something stand before the first words of the user.
fn said_in_front(messages: &[Message]) -> u64 {
    let (messages, _) = legalize(messages.to_vec());
    let mut count = 0;
    for (message, results) in turns(&messages) {
        match message.role {
            Role::User if !user_blocks(message).is_empty() => break,
            Role::Assistant if !results.is_empty() || !said_blocks(message).is_empty() => {
                count += 1 + results.len() as u64;
            }
            _ => {}
        }
    }
    count
}

fn user_blocks(message: &Message) -> Vec<Value> {
    blocks(&message.content, |part| given_block(&part))
}

/// What the model says, without what it calls. The API knows no refusals and no spoken answers:
/// they are words.
fn said_blocks(message: &Message) -> Vec<Value> {
    let mut said = blocks(&message.content, |part| said_block(&part));
    answer_server_calls(&mut said);
    let words = message.transcript().filter(|_| message.content.text().is_empty());
    let beside = words.into_iter().chain(message.refusal());
    said.extend(beside.filter_map(|words| text_block(&words)));
    said
}

fn said_block(part: &Value) -> Option<Value> {
    let served = || server_call(part).or_else(|| server_result(part));
    thinking_block(part).or_else(served).or_else(|| text_block(&refusal_part(part)?))
}

/// A call that the API carried out itself, and takes back with its result.
fn server_call(part: &Value) -> Option<Value> {
    let kind = part.get("type")?.as_str().filter(|kind| SERVER_CALLS.contains(kind))?;
    let id = part.get("id")?.as_str().filter(|id| is_call_id(id))?;
    let name = part.get("name")?.as_str().filter(|name| !name.is_empty())?;
    let input = part.get("input").filter(|input| input.is_object())?;
    let mut block = json!({"type": kind, "id": id, "name": name, "input": input});
    keep(&mut block, part, "server_name", Value::is_string);
    Some(block)
}

fn server_result(part: &Value) -> Option<Value> {
    let kind = part.get("type")?.as_str().filter(|kind| is_server_result(kind))?;
    let id = part.get("tool_use_id")?.as_str()?;
    let content = part.get("content")?;
    let is_content = content.is_array() || content.is_object() || content.is_string();
    let mut block = json!({"type": kind, "tool_use_id": id, "content": content});
    keep(&mut block, part, "is_error", Value::is_boolean);
    is_content.then_some(block)
}

fn keep(block: &mut Value, part: &Value, name: &str, is_right: fn(&Value) -> bool) {
    if let (Some(member), Some(block)) =
        (part.get(name).filter(|it| is_right(it)), block.as_object_mut())
    {
        block.insert(name.to_owned(), member.clone());
    }
}

/// Leaves out the results whose calls are not there, as of an answer that was cut in front.
fn answer_server_calls(said: &mut Vec<Value>) {
    let mut called = HashSet::new();
    said.retain(|block| {
        let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or_default();
        if SERVER_CALLS.contains(&text("type")) {
            called.insert(text("id").to_owned());
        }
        !is_server_result(text("type")) || called.contains(text("tool_use_id"))
    });
}

/// What the user or a tool may give beside text.
fn given_block(part: &Value) -> Option<Value> {
    image_block(part).or_else(|| search_result(part))
}

fn search_result(part: &Value) -> Option<Value> {
    if part.get("type").is_none_or(|kind| kind != "search_result") {
        return None;
    }
    let text = |name: &str| part.get(name)?.as_str().filter(|text| !text.is_empty());
    let texts = part.get("content")?.as_array()?.iter();
    let texts = texts.filter_map(|block| text_block(block.get("text")?.as_str()?));
    let texts: Vec<Value> = texts.collect();
    let (source, title) = (text("source")?, text("title")?);
    let mut block =
        json!({"type": "search_result", "source": source, "title": title, "content": texts});
    keep(&mut block, part, "citations", Value::is_object);
    (!texts.is_empty()).then_some(block)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    User,
    Assistant,
}

/// What was said by turns: the speakers alternate and none says nothing.
#[derive(Default)]
struct Conversation(Vec<(Speaker, Vec<Value>)>);

impl Conversation {
    fn say(&mut self, speaker: Speaker, blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        if speaker == Speaker::User {
            self.end_assistant();
        }
        match self.0.last_mut() {
            Some((last, said)) if *last == speaker => said.extend(blocks),
            _ => self.0.push((speaker, blocks)),
        }
    }

    /// The model's message may not end in a thought. One that was all thought is gone then.
    fn end_assistant(&mut self) {
        if let Some((Speaker::Assistant, blocks)) = self.0.last_mut() {
            while blocks.last().is_some_and(is_thinking) {
                blocks.pop();
            }
            if blocks.is_empty() {
                self.0.pop();
            }
        }
    }

    fn finish(mut self) -> Vec<Value> {
        self.end_assistant();
        // A last message of the model is a beginning for it to go on with, and the API refuses
        // one that ends in whitespace.
        if let Some((Speaker::Assistant, blocks)) = self.0.last_mut()
            && let Some(Value::String(text)) =
                blocks.last_mut().and_then(|last| last.get_mut("text"))
        {
            text.truncate(text.trim_end().len());
        }
        let messages = self.0.into_iter().map(|(speaker, blocks)| {
            let role = if speaker == Speaker::User { "user" } else { "assistant" };
            json!({"role": role, "content": blocks})
        });
        messages.collect()
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn text_block(text: &str) -> Option<Value> {
    (!is_blank(text)).then(|| json!({"type": "text", "text": text}))
}

/// The text of a content as blocks, and of its other parts those that `other` renders.
fn blocks(content: &Content, other: impl Fn(Value) -> Option<Value>) -> Vec<Value> {
    match content {
        Content::Absent | Content::Null => Vec::new(),
        Content::Text(text) => text_block(text).into_iter().collect(),
        Content::Parts(parts) => {
            let render = |part: &Part| match (part.text(), part) {
                (Some(text), _) => text_block(&text),
                (None, Part::Json(json)) => other(json.to_value()),
                (None, Part::Text(_)) => None,
            };
            parts.iter().filter_map(render).collect()
        }
    }
}

fn image_block(part: &Value) -> Option<Value> {
    Image::from_part(part)?.into_block()
}

fn is_thinking(block: &Value) -> bool {
    matches!(block.get("type").and_then(Value::as_str), Some("thinking" | "redacted_thinking"))
}

/// A thought as the API made it. It takes none back that it has not signed.
fn thinking_block(part: &Value) -> Option<Value> {
    let text = |name: &str| part.get(name)?.as_str();
    match text("type")? {
        "thinking" => {
            let signature = text("signature").filter(|signature| !signature.is_empty())?;
            let thinking = text("thinking")?;
            Some(json!({"type": "thinking", "thinking": thinking, "signature": signature}))
        }
        "redacted_thinking" => {
            let data = text("data").filter(|data| !data.is_empty())?;
            Some(json!({"type": "redacted_thinking", "data": data}))
        }
        _ => None,
    }
}

/// An id that the API takes and that no earlier call of the prompt has.
fn call_id(call: &ToolCall, ids: &mut UniqueIds) -> String {
    ids.claim(&to_word(call.id.as_deref().unwrap_or_default()))
}

fn tool_use(call: &ToolCall, id: &str) -> Value {
    let name = to_function_name(&call.name);
    json!({"type": "tool_use", "id": id, "name": name, "input": input(&call.arguments)})
}

/// The arguments as the object that the API wants. No text at all is a call without arguments.
fn input(arguments: &str) -> Value {
    if is_blank(arguments) {
        return Value::Object(Map::new());
    }
    match serde_json::from_str(arguments) {
        Ok(Value::Object(members)) => Value::Object(members),
        Ok(other) => json!({"arguments": other}),
        Err(_) => json!({"arguments": arguments}),
    }
}

fn is_error(result: &Message) -> bool {
    result.extra("is_error").is_some_and(|json| json.as_str() == "true")
}

/// A result without content is left without, which the API takes; empty text it does not.
fn tool_result(result: &Message, id: &str) -> Value {
    let mut block = Map::new();
    block.insert("type".into(), "tool_result".into());
    block.insert("tool_use_id".into(), id.into());
    let is_error = is_error(result);
    let content = match &result.content {
        Content::Text(text) if !is_blank(text) => Value::from(text.as_str()),
        // The API takes nothing but text in an error.
        content if is_error => Value::Array(blocks(content, |_| None)),
        content => Value::Array(blocks(content, |part| given_block(&part))),
    };
    if content.as_array().is_none_or(|blocks| !blocks.is_empty()) {
        block.insert("content".into(), content);
    }
    if is_error {
        block.insert("is_error".into(), true.into());
    }
    Value::Object(block)
}
