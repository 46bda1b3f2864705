//! What is said, as the blocks that the API knows.

use serde_json::{Map, Value, json};

use super::super::image::Image;
use super::super::openai::refusal_part;
use super::super::to_function_name;
use super::kind::{is_blank, kind_of};
use super::rules::{check_served_call, check_served_result};
use super::served;
use crate::json::{Json, check_depth};
use crate::limits::PROMPT_DEPTH_MAX;
use crate::message::{Content, Message, Part, ToolCall};

fn text_block(text: &str) -> Option<Value> {
    (!is_blank(text)).then(|| json!({"type": "text", "text": text}))
}

pub(super) fn user_blocks(message: &Message) -> Vec<Value> {
    blocks(&message.content, given_block)
}

/// What the model says, without the tools that it calls of the user's. The API knows no refusals
/// and no spoken answers: they are words.
pub(super) fn said_blocks(message: &Message) -> Vec<Value> {
    let mut said = blocks(&message.content, said_block);
    let words = message.transcript().filter(|_| message.content.text().is_empty());
    let beside = words.into_iter().chain(message.refusal());
    said.extend(beside.filter_map(|words| text_block(&words)));
    said
}

/// The text of a content as blocks, and of its other parts those that `other` renders.
fn blocks(content: &Content, other: impl Fn(&Json) -> Option<Value>) -> Vec<Value> {
    match content {
        Content::Absent | Content::Null => Vec::new(),
        Content::Text(text) => text_block(text).into_iter().collect(),
        Content::Parts(parts) => {
            let render = |part: &Part| match (part.text(), part) {
                (Some(text), _) => text_block(&text),
                (None, Part::Json(json)) => other(json),
                (None, Part::Text(_)) => None,
            };
            parts.iter().filter_map(render).collect()
        }
    }
}

/// What the model may say beside text.
pub(super) fn said_block(part: &Json) -> Option<Value> {
    let part = value_of(part)?;
    let kind = kind_of(&part);
    if served::is_call(kind) {
        return served_call(part.as_object()?).map(Value::Object);
    }
    if served::is_result(kind) {
        return served_result(part.as_object()?).map(Value::Object);
    }
    thinking_block(&part).or_else(|| text_block(&refusal_part(&part)?))
}

/// What the user or a tool may give beside text.
pub(super) fn given_block(part: &Json) -> Option<Value> {
    let part = value_of(part)?;
    let image = || Image::from_part(&part)?.into_block();
    image().or_else(|| search_result(&part))
}

/// `None` for what a request could not hold and still be read.
fn value_of(part: &Json) -> Option<Value> {
    check_depth(part.as_str(), PROMPT_DEPTH_MAX).ok()?;
    Some(part.to_value())
}

/// The call as the API takes it back; `None` for one that it would not take.
fn served_call(part: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut block = of_members(part, &["type", "id", "name", "input", "server_name"]);
    if !served::is_mcp(&block) {
        block.remove("server_name");
    }
    check_served_call(&block).is_ok().then_some(block)
}

/// The result as the API takes it back; `None` for one that it would not take.
fn served_result(part: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut block = of_members(part, &["type", "tool_use_id", "content", "is_error"]);
    block.values_mut().for_each(drop_marks);
    if !served::is_mcp(&block) {
        block.remove("is_error");
    } else if let Some(Value::Array(blocks)) = block.get_mut("content") {
        // Another server's tool may say nothing, and text without a word is refused.
        blocks.retain(|block| {
            block.get("text").and_then(Value::as_str).is_none_or(|text| !is_blank(text))
        });
    }
    check_served_result(&block).is_ok().then_some(block)
}

/// What is cached is for whoever sends a request to say.
fn drop_marks(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_marks),
        Value::Object(members) => {
            members.remove("cache_control");
            members.values_mut().for_each(drop_marks);
        }
        _ => {}
    }
}

fn of_members(part: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let members = part.iter().filter(|(name, _)| names.contains(&name.as_str()));
    members.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A thought as the API made it. It takes none back that it has not signed.
fn thinking_block(part: &Value) -> Option<Value> {
    let text = |name: &str| part.get(name)?.as_str();
    match kind_of(part) {
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

fn search_result(part: &Value) -> Option<Value> {
    if kind_of(part) != "search_result" {
        return None;
    }
    let text = |name: &str| part.get(name)?.as_str().filter(|text| !text.is_empty());
    let texts = part.get("content")?.as_array()?.iter();
    let texts = texts.filter_map(|block| text_block(block.get("text")?.as_str()?));
    let texts: Vec<Value> = texts.collect();
    let (source, title) = (text("source")?, text("title")?);
    let mut block = Map::new();
    block.insert("type".into(), "search_result".into());
    block.insert("source".into(), source.into());
    block.insert("title".into(), title.into());
    if let Some(citations) = part.get("citations").filter(|citations| citations.is_object()) {
        block.insert("citations".into(), citations.clone());
    }
    let is_something = !texts.is_empty();
    block.insert("content".into(), Value::Array(texts));
    is_something.then_some(Value::Object(block))
}

pub(super) fn tool_use(call: &ToolCall, id: &str) -> Value {
    let name = to_function_name(&call.name);
    json!({"type": "tool_use", "id": id, "name": name, "input": input(&call.arguments)})
}

/// The arguments as the object that the API wants: as text in one where they are no JSON, or JSON
/// that would come out as another or could not be read again. No text at all is a call without
/// arguments.
fn input(arguments: &str) -> Value {
    if is_blank(arguments) {
        return Value::Object(Map::new());
    }
    let is_read_again =
        check_depth(arguments, PROMPT_DEPTH_MAX).is_ok() && !has_large_integer(arguments);
    match serde_json::from_str(arguments) {
        Ok(Value::Object(members)) if is_read_again => Value::Object(members),
        Ok(other) if is_read_again => json!({"arguments": other}),
        _ => json!({"arguments": arguments}),
    }
}

/// Whether JSON has an integer beyond 64 bits, of which reading it would keep the first digits.
fn has_large_integer(json: &str) -> bool {
    // Every character of a string splits, and leaves no word.
    let (mut in_string, mut escaped) = (false, false);
    let outside = json.split(|c: char| {
        let is_in = in_string;
        match c {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            _ => {}
        }
        is_in || in_string || !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    });
    let is_integer = |word: &&str| {
        let digits = word.strip_prefix('-').unwrap_or(word);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut integers = outside.filter(is_integer);
    integers.any(|integer| integer.parse::<i64>().is_err() && integer.parse::<u64>().is_err())
}

pub(super) fn is_error(result: &Message) -> bool {
    result.extra("is_error").is_some_and(|json| json.as_str() == "true")
}

/// What an error says that says nothing: the API wants words of it.
const WORDLESS_ERROR: &str = "error";

/// A result without content is left without, which the API takes; empty text it does not.
pub(super) fn tool_result(result: &Message, id: &str) -> Value {
    let mut block = Map::new();
    block.insert("type".into(), "tool_result".into());
    block.insert("tool_use_id".into(), id.into());
    let is_error = is_error(result);
    let content = match &result.content {
        Content::Text(text) if !is_blank(text) => Value::from(text.as_str()),
        // The API takes nothing but text in an error.
        content if is_error => Value::Array(blocks(content, |_| None)),
        content => Value::Array(blocks(content, given_block)),
    };
    if content.as_array().is_none_or(|blocks| !blocks.is_empty()) {
        block.insert("content".into(), content);
    } else if is_error {
        block.insert("content".into(), WORDLESS_ERROR.into());
    }
    if is_error {
        block.insert("is_error".into(), true.into());
    }
    Value::Object(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_would_come_out_as_others_go_as_text() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(125), "]".repeat(125));
        let unreadable = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for text in [
            r#"{"id":12345678901234567890123}"#,
            r#"{"a":[-9223372036854775809]}"#,
            "18446744073709551616",
            &deep,
            &unreadable,
            r#"{"a":1e999}"#,
            "{",
        ] {
            assert_eq!(input(text), json!({"arguments": text}));
        }
        for text in [
            r#"{"id":18446744073709551615,"b":-9223372036854775808}"#,
            r#"{"id":"12345678901234567890123","\"":1.5e3,"c":"\\","d":[1,2]}"#,
            r#"{"a":12345678901234567890123.5,"e":1e30}"#,
        ] {
            assert_eq!(input(text), serde_json::from_str::<Value>(text).unwrap());
        }
        assert_eq!(input(" "), json!({}));
        assert_eq!(input("[1]"), json!({"arguments": [1]}));
    }
}
