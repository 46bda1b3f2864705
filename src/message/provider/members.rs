//! The members of a JSON object that a provider is sent, one by one.

use serde_json::{Map, Value};

use crate::message::rule::{Broken, Rule};

pub(super) fn object<'a>(value: &'a Value, what: &str) -> Result<&'a Map<String, Value>, Broken> {
    value.as_object().ok_or_else(|| Rule::Shape.broken(format!("{what} is no object")))
}

/// A member that is an object.
pub(super) fn inner<'a>(
    members: &'a Map<String, Value>,
    name: &str,
) -> Result<&'a Map<String, Value>, Broken> {
    object(members.get(name).unwrap_or(&Value::Null), name)
}

pub(super) fn string<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Broken> {
    let text = members.get(name).and_then(Value::as_str);
    text.ok_or_else(|| Rule::Shape.broken(format!("{name} is no string")))
}

pub(super) fn not_empty(members: &Map<String, Value>, name: &str) -> Result<(), Broken> {
    let empty = || Rule::Content.broken(format!("{name} is empty"));
    if string(members, name)?.is_empty() { Err(empty()) } else { Ok(()) }
}

/// A member that may be missing or null, and is text with a word where it is neither.
pub(super) fn maybe_text(members: &Map<String, Value>, name: &str) -> Result<(), Broken> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(()),
        Some(_) => not_empty(members, name),
    }
}

pub(super) fn only(members: &Map<String, Value>, allowed: &[&str]) -> Result<(), Broken> {
    match members.keys().find(|name| !allowed.contains(&name.as_str())) {
        Some(name) => {
            Err(Rule::UnknownMember.broken(format!("the member {name:?} is unknown here")))
        }
        None => Ok(()),
    }
}
