//! What both protocols ask of a request.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::json::Json;
use crate::message::{MediaRef, Violation};
use crate::model::{ModelRequest, ToolDefinition};

/// Characters of the name of a tool or of a shape.
const NAME_CHARS_MAX: usize = 64;

/// Refuses names that no provider takes, and shapes that are no objects.
pub(super) fn check(request: &ModelRequest) -> Result<()> {
    for ToolDefinition { name, parameters, .. } in &request.tools {
        check_name("tool", name)?;
        check_object("tool", name, parameters)?;
    }
    request.answer_schema.as_ref().map_or(Ok(()), |answer| {
        check_name("shape", &answer.name)?;
        check_object("shape", &answer.name, &answer.schema)
    })
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=NAME_CHARS_MAX).contains(&name.len()) && name.chars().all(is_word) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name:?} is no name for a {what}")))
}

fn check_object(what: &str, name: &str, schema: &Json) -> Result<()> {
    if schema.to_value().is_object() {
        return Ok(());
    }
    Err(Error::invalid(format!("the schema of {what} {name:?} is no object")))
}

/// Refuses messages of which nothing is left, and those that break a rule of the provider.
pub(super) fn check_messages(messages: &[Value], checked: Result<(), Violation>) -> Result<()> {
    if messages.is_empty() {
        return Err(Error::invalid("a request without anything that a model can answer"));
    }
    checked.map_err(|violation| Error::invalid(violation.to_string()))?;
    if messages.iter().any(has_reference) {
        return Err(Error::invalid(
            "a message refers to a stored image: read the messages with their media inside",
        ));
    }
    Ok(())
}

/// Whether an image's bytes are elsewhere, where no provider finds them.
fn has_reference(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(members) => members.iter().any(|(name, value)| match value {
            Value::String(text) if name == "url" || name == "data" => {
                text.parse::<MediaRef>().is_ok()
            }
            // What a model calls a tool with is its own.
            Value::Object(_) if name == "input" => false,
            value => has_reference(value),
        }),
        _ => false,
    }
}
