//! A session's state, shown or changed key by key.

use std::io::Write;
use std::str::FromStr;

use serde_json::Value;
use sessionlog::{Json, StatePatch};

use super::args::{Global, StateArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::Output;
use super::text;

/// One `KEY=JSON`: a new value at a place, or none.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    path: Vec<String>,
    value: Option<Json>,
}

pub(super) fn run(global: &Global, args: &StateArgs, out: &mut Output) -> Result<Outcome> {
    let session = global.session(&args.session)?;
    if !args.assignments.is_empty() {
        let patch = args.assignments.iter().cloned().fold(StatePatch::new(), Assignment::add_to);
        session.patch_state(patch)?.wait()?;
    }
    let state = session.state()?;
    if out.is_json() {
        out.json(&state)?;
    } else {
        write_pretty(&state, out)?;
    }
    Ok(Outcome::Fine)
}

/// JSON laid out for people.
pub(super) fn write_pretty(value: &Value, out: &mut Output) -> Result<()> {
    let pretty = serde_json::to_string_pretty(value).map_err(Failure::from)?;
    Ok(writeln!(out, "{}", text::printable(&pretty))?)
}

impl Assignment {
    fn add_to(patch: StatePatch, assignment: Self) -> StatePatch {
        match assignment.value {
            Some(value) => patch.set(assignment.path, value),
            None => patch.remove(assignment.path),
        }
    }
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or("a change is KEY=JSON, or KEY= to remove the key")?;
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(format!(
                "{key:?} is no key: names with a dot between them, as in cart.items"
            ));
        }
        if value.is_empty() {
            return Ok(Self { path, value: None });
        }
        match Json::parse(value) {
            Ok(value) => Ok(Self { path, value: Some(value) }),
            Err(error) => {
                let quoted = Json::string(value);
                Err(format!("{error}; text takes quotes, as in {key}='{}'", quoted.as_str()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_lead_into_nested_objects_and_nothing_removes() {
        let set: Assignment = "cart.items=[1, 2]".parse().unwrap();
        assert_eq!(set.path, ["cart", "items"]);
        assert_eq!(set.value.unwrap().as_str(), "[1, 2]");
        assert!("cart.coupon=".parse::<Assignment>().unwrap().value.is_none());
    }

    #[test]
    fn text_without_quotes_is_told_how_to_get_them() {
        let error = "name=Alice".parse::<Assignment>().unwrap_err();
        assert!(error.ends_with(r#"as in name='"Alice"'"#), "{error}");
    }
}
