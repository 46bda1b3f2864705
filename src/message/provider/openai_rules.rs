//! The rules of OpenAI's Chat Completions API, checked on a rendered prompt.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::is_function_name;
use super::openai::ID_CHARS_MAX;

/// Says which message breaks which rule of OpenAI's Chat Completions API.
///
/// It looks at the messages alone, not at how they came about. An empty list breaks no rule:
/// there is nothing to send.
pub fn check_openai(messages: &[Value]) -> Result<(), String> {
    let mut unanswered: HashSet<&str> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        let told = |broken: String| format!("message {at}: {broken}");
        check_message(message, &mut unanswered).map_err(told)?;
    }
    all_answered(&unanswered).map_err(|broken| format!("at the end: {broken}"))
}

fn check_message<'a>(message: &'a Value, unanswered: &mut HashSet<&'a str>) -> Result<(), String> {
    let members = object(message, "the message")?;
    let role = string(members, "role")?;
    let allowed: &[&str] = match role {
        "system" | "developer" | "user" => &["role", "content", "name"],
        "assistant" => &["role", "content", "name", "tool_calls"],
        "tool" => &["role", "content", "tool_call_id"],
        other => return Err(format!("{other:?} is no role")),
    };
    only(members, allowed)?;
    if role == "tool" {
        let id = string(members, "tool_call_id")?;
        if !unanswered.remove(id) {
            return Err(format!("answers {id:?}, which is no unanswered call directly before"));
        }
        return check_content(members, &["text"]);
    }
    all_answered(unanswered)?;
    if members.contains_key("name") {
        check_name(string(members, "name")?)?;
    }
    match role {
        "user" => check_content(members, &["text", "image_url"]),
        "assistant" => check_assistant(members, unanswered),
        _ => check_content(members, &["text"]),
    }
}

fn check_assistant<'a>(
    members: &'a Map<String, Value>,
    unanswered: &mut HashSet<&'a str>,
) -> Result<(), String> {
    let Some(calls) = members.get("tool_calls") else {
        if members.get("content").and_then(Value::as_str) == Some("") {
            return Err("says nothing and calls nothing".into());
        }
        return check_content(members, &["text"]);
    };
    let calls = calls.as_array().filter(|calls| !calls.is_empty());
    for call in calls.ok_or("tool_calls is no list of at least one call")? {
        let id = check_call(call)?;
        if !unanswered.insert(id) {
            return Err(format!("has the call id {id:?} twice"));
        }
    }
    match members.get("content") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => check_content(members, &["text"]),
    }
}

fn check_call(call: &Value) -> Result<&str, String> {
    let call = object(call, "a call")?;
    only(call, &["id", "type", "function"])?;
    let id = string(call, "id")?;
    if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
        return Err(format!("the call id {id:?} has not 1 to {ID_CHARS_MAX} characters"));
    }
    if string(call, "type")? != "function" {
        return Err(format!("the call {id:?} is not of type \"function\""));
    }
    let function = object(call.get("function").unwrap_or(&Value::Null), "function")?;
    only(function, &["name", "arguments"])?;
    check_name(string(function, "name")?)?;
    string(function, "arguments")?;
    Ok(id)
}

/// Content is text, or a list of at least one part of the given types.
fn check_content(members: &Map<String, Value>, types: &[&str]) -> Result<(), String> {
    match members.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            parts.iter().try_for_each(|part| check_part(part, types))
        }
        _ => Err("content is neither text nor a list of at least one part".into()),
    }
}

fn check_part(part: &Value, types: &[&str]) -> Result<(), String> {
    let part = object(part, "a part")?;
    let kind = string(part, "type")?;
    if !types.contains(&kind) {
        return Err(format!("a part of type {kind:?} has no place here"));
    }
    only(part, &["type", kind])?;
    if kind == "text" {
        let text = string(part, "text")?;
        return if text.is_empty() { Err("a part has empty text".into()) } else { Ok(()) };
    }
    let image = object(part.get("image_url").unwrap_or(&Value::Null), "image_url")?;
    only(image, &["url", "detail"])?;
    let url = string(image, "url")?;
    if !["https://", "http://", "data:image/"].iter().any(|start| url.starts_with(start)) {
        return Err("an image's url is neither on the web nor an image itself".into());
    }
    match image.get("detail").map(Value::as_str) {
        None | Some(Some("auto" | "low" | "high")) => Ok(()),
        Some(_) => Err("an image's detail is not auto, low or high".into()),
    }
}

fn check_name(name: &str) -> Result<(), String> {
    if is_function_name(name) {
        return Ok(());
    }
    Err(format!("the name {name:?} does not match ^[a-zA-Z0-9_-]{{1,64}}$"))
}

fn all_answered(unanswered: &HashSet<&str>) -> Result<(), String> {
    // The least, so that the same prompt always gets the same answer.
    match unanswered.iter().min() {
        Some(id) => Err(format!("the call {id:?} has not been answered")),
        None => Ok(()),
    }
}

pub(super) fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("{what} is no object"))
}

pub(super) fn string<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    members.get(name).and_then(Value::as_str).ok_or_else(|| format!("{name} is no string"))
}

pub(super) fn only(members: &Map<String, Value>, allowed: &[&str]) -> Result<(), String> {
    match members.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => Err(format!("the member {name:?} is unknown here")),
        None => Ok(()),
    }
}
