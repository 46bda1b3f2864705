//! The rules of OpenAI's Chat Completions API, checked on a rendered prompt.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::super::image::{WEB, is_base64, is_inline, is_web};
use super::super::members::{inner, not_empty, object, only, string};
use super::super::{is_function_name, is_speaker_name};
use super::{CALLS_MAX, ID_CHARS_MAX};
use crate::message::rule::{Broken, Place, Rule, Violation};

/// Says which message is the first to break a rule of OpenAI's Chat Completions API.
///
/// It looks at the messages alone, not at how they came about.
pub fn check_openai(messages: &[Value]) -> Result<(), Violation> {
    validate_openai(messages).into_iter().next().map_or(Ok(()), Err)
}

/// Every message that breaks a rule of OpenAI's Chat Completions API, each with the first rule
/// that it breaks.
///
/// ```
/// use sessionlog::{Place, Rule, validate_openai};
///
/// let prompt = serde_json::json!([
///     {"role": "tool", "tool_call_id": "call_1", "content": "4 degrees"},
///     {"role": "user", "content": null},
/// ]);
/// let found = validate_openai(prompt.as_array().unwrap());
/// let rules: Vec<_> = found.iter().map(|violation| (violation.place, violation.rule)).collect();
/// assert_eq!(
///     rules,
///     [(Place::Message(0), Rule::AnsweringResult), (Place::Message(1), Rule::Content)],
/// );
/// ```
pub fn validate_openai(messages: &[Value]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut unanswered: HashSet<&str> = HashSet::new();
    for (at, message) in messages.iter().enumerate() {
        if let Err(broken) = check_message(message, &mut unanswered) {
            found.push(Violation::new(Place::Message(at), broken));
        }
    }
    if let Err(broken) = all_answered(&mut unanswered) {
        found.push(Violation::new(Place::End, broken));
    }
    if messages.is_empty() {
        found.push(Violation::of_no_message());
    }
    found
}

fn check_message<'a>(message: &'a Value, unanswered: &mut HashSet<&'a str>) -> Result<(), Broken> {
    let members = object(message, "the message")?;
    let role = string(members, "role")?;
    if role == "tool" {
        let id = string(members, "tool_call_id")?;
        if !unanswered.remove(id) {
            return Err(Rule::AnsweringResult
                .broken(format!("answers {id:?}, which is no unanswered call directly before")));
        }
        only(members, &["role", "content", "tool_call_id"])?;
        return check_content(members, &["text"]);
    }
    let answered = all_answered(unanswered);
    let checked = check_said(role, members, unanswered);
    answered.and(checked)
}

/// Checks what a message says that is no result.
fn check_said<'a>(
    role: &str,
    members: &'a Map<String, Value>,
    unanswered: &mut HashSet<&'a str>,
) -> Result<(), Broken> {
    let allowed: &[&str] = match role {
        "system" | "developer" | "user" => &["role", "content", "name"],
        // What comes back may be sent again as it is.
        "assistant" => {
            &["role", "content", "name", "tool_calls", "refusal", "annotations", "audio"]
        }
        other => return Err(Rule::KnownRole.broken(format!("{other:?} is no role"))),
    };
    // Its calls are known even where something else of it is wrong, so that their results are
    // not blamed for it.
    let said = match role {
        "user" => check_content(members, &["text", "image_url", "input_audio", "file"]),
        "assistant" => check_assistant(members, unanswered),
        _ => check_content(members, &["text"]),
    };
    only(members, allowed)?;
    check_beside(members)?;
    if members.contains_key("name") {
        check_speaker(string(members, "name")?)?;
    }
    said
}

/// What may stand beside a content.
fn check_beside(members: &Map<String, Value>) -> Result<(), Broken> {
    if !matches!(members.get("refusal"), None | Some(Value::Null | Value::String(_))) {
        return Err(Rule::Shape.broken("refusal is no string"));
    }
    match members.get("audio") {
        None | Some(Value::Null) => Ok(()),
        Some(audio) => not_empty(object(audio, "audio")?, "id"),
    }
}

fn check_assistant<'a>(
    members: &'a Map<String, Value>,
    unanswered: &mut HashSet<&'a str>,
) -> Result<(), Broken> {
    let Some(calls) = members.get("tool_calls") else {
        let is_said = |words: &str| !words.is_empty();
        let is_refusal = members.get("refusal").and_then(Value::as_str).is_some_and(is_said);
        let content = members.get("content");
        if is_refusal || members.get("audio").is_some_and(Value::is_object) {
            return match content {
                None | Some(Value::Null) => Ok(()),
                Some(_) => check_content(members, &["text", "refusal"]),
            };
        }
        if content.and_then(Value::as_str) == Some("") {
            return Err(Rule::Content.broken("says nothing and calls nothing"));
        }
        return check_content(members, &["text", "refusal"]);
    };
    let Some(calls) = calls.as_array().filter(|calls| !calls.is_empty()) else {
        return Err(Rule::Shape.broken("tool_calls is no list of at least one call"));
    };
    let mut checked = Ok(());
    if calls.len() > CALLS_MAX {
        let detail = format!("has {} calls, and a message may have {CALLS_MAX}", calls.len());
        checked = Err(Rule::Shape.broken(detail));
    }
    for call in calls {
        let found = check_call(call);
        let id = call.get("id").and_then(Value::as_str);
        let is_shared = id.is_some_and(|id| !unanswered.insert(id));
        checked = checked.and(found);
        if is_shared {
            let id = id.unwrap_or_default();
            let twice = Rule::UniqueCallId.broken(format!("has the call id {id:?} twice"));
            checked = checked.and(Err(twice));
        }
    }
    checked?;
    match members.get("content") {
        None | Some(Value::Null) => Ok(()),
        Some(_) => check_content(members, &["text", "refusal"]),
    }
}

fn check_call(call: &Value) -> Result<(), Broken> {
    let call = object(call, "a call")?;
    only(call, &["id", "type", "function", "custom"])?;
    let id = string(call, "id")?;
    if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
        let detail = format!("the call id {id:?} has not 1 to {ID_CHARS_MAX} characters");
        return Err(Rule::CallId.broken(detail));
    }
    // A custom tool takes any text.
    let (kind, input) = match string(call, "type")? {
        "custom" => ("custom", "input"),
        "function" => ("function", "arguments"),
        _ => {
            let detail = format!("the call {id:?} is of neither type \"function\" nor \"custom\"");
            return Err(Rule::Shape.broken(detail));
        }
    };
    only(call, &["id", "type", kind])?;
    let called = inner(call, kind)?;
    only(called, &["name", input])?;
    check_name(string(called, "name")?)?;
    string(called, input).map(|_| ())
}

/// Content is text, or a list of at least one part of the given types.
fn check_content(members: &Map<String, Value>, types: &[&str]) -> Result<(), Broken> {
    match members.get("content") {
        Some(Value::String(_)) => Ok(()),
        Some(Value::Array(parts)) if !parts.is_empty() => {
            parts.iter().try_for_each(|part| check_part(part, types))
        }
        _ => Err(Rule::Content.broken("content is neither text nor a list of at least one part")),
    }
}

fn check_part(part: &Value, types: &[&str]) -> Result<(), Broken> {
    let part = object(part, "a part")?;
    let kind = string(part, "type")?;
    if !types.contains(&kind) {
        let detail = format!("a part of type {kind:?} has no place here");
        return Err(Rule::KnownPart.broken(detail));
    }
    only(part, &["type", kind])?;
    if kind == "text" {
        let text = string(part, "text")?;
        let empty = || Rule::Content.broken("a part has empty text");
        return if text.is_empty() { Err(empty()) } else { Ok(()) };
    }
    if kind == "refusal" {
        return string(part, "refusal").map(|_| ());
    }
    let held = inner(part, kind)?;
    match kind {
        "image_url" => check_image(held),
        "input_audio" => check_audio(held),
        _ if held.contains_key("file_id") => not_empty(held, "file_id"),
        _ => not_empty(held, "file_data"),
    }
}

fn check_audio(audio: &Map<String, Value>) -> Result<(), Broken> {
    only(audio, &["data", "format"])?;
    if !is_base64(string(audio, "data")?) {
        return Err(Rule::Media.broken("a sound's data is no Base64 of at least one byte"));
    }
    match string(audio, "format")? {
        "wav" | "mp3" => Ok(()),
        format => Err(Rule::Media.broken(format!("{format:?} is no format of sounds"))),
    }
}

fn check_image(image: &Map<String, Value>) -> Result<(), Broken> {
    only(image, &["url", "detail"])?;
    let url = string(image, "url")?;
    if !is_web(url, &WEB) && !is_inline(url) {
        let detail = "an image's url is neither on the web nor an image itself";
        return Err(Rule::Media.broken(detail));
    }
    match image.get("detail").map(Value::as_str) {
        None | Some(Some("auto" | "low" | "high")) => Ok(()),
        Some(_) => Err(Rule::Media.broken("an image's detail is not auto, low or high")),
    }
}

fn check_name(name: &str) -> Result<(), Broken> {
    if is_function_name(name) {
        return Ok(());
    }
    let detail = format!("the name {name:?} does not match ^[a-zA-Z0-9_-]{{1,64}}$");
    Err(Rule::FunctionName.broken(detail))
}

fn check_speaker(name: &str) -> Result<(), Broken> {
    if is_speaker_name(name) {
        return Ok(());
    }
    let detail = format!("the name {name:?} does not match ^[^\\s<|\\\\/>]{{1,64}}$");
    Err(Rule::FunctionName.broken(detail))
}

/// Says which call was not answered, once.
fn all_answered(unanswered: &mut HashSet<&str>) -> Result<(), Broken> {
    // The least, so that the same prompt always gets the same answer.
    let Some(id) = unanswered.iter().min() else { return Ok(()) };
    let broken = Rule::AnsweredCall.broken(format!("the call {id:?} has not been answered"));
    unanswered.clear();
    Err(broken)
}
