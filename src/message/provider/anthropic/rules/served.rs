//! The rules of what Anthropic carries out itself, each call and each result by itself.

use serde_json::{Map, Value};

use super::super::super::is_word_char;
use super::super::super::members::{inner, not_empty, object, only, string};
use super::super::served::{self, MCP_CALL, MCP_RESULT, Member, WEB_FETCHED, WEB_SEARCH_RESULT};
use super::block::{check_document, check_plain_blocks};
use super::check_call_id;
use crate::message::rule::{Broken, Rule};

/// Checks a call by itself.
pub(in super::super) fn check_call(call: &Map<String, Value>) -> Result<(), Broken> {
    let kind = string(call, "type")?;
    check_id(string(call, "id")?, kind == MCP_CALL)?;
    let name = string(call, "name")?;
    if kind == MCP_CALL {
        only(call, &["type", "id", "name", "input", "server_name", "cache_control"])?;
        not_empty(call, "name")?;
        not_empty(call, "server_name")?;
    } else {
        only(call, &["type", "id", "name", "input", "caller", "cache_control"])?;
        if served::result_of(call).is_none() {
            let detail = format!("{name:?} is no tool that the API carries out");
            return Err(Rule::FunctionName.broken(detail));
        }
    }
    inner(call, "input").map(|_| ())
}

/// Checks a result by itself.
pub(in super::super) fn check_result(result: &Map<String, Value>) -> Result<(), Broken> {
    let kind = string(result, "type")?;
    check_id(string(result, "tool_use_id")?, kind == MCP_RESULT)?;
    if kind == MCP_RESULT {
        only(result, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
        if result.get("is_error").is_some_and(|is_error| !is_error.is_boolean()) {
            return Err(Rule::Shape.broken("is_error is neither true nor false"));
        }
        return check_mcp_content(result.get("content"));
    }
    let Some(holds) = served::holds(kind) else {
        let detail = format!("a block of type {kind:?} has no place here");
        return Err(Rule::KnownPart.broken(detail));
    };
    only(result, &["type", "tool_use_id", "content", "caller", "cache_control"])?;
    if let Some(Value::Array(pages)) = result.get("content")
        && kind == WEB_SEARCH_RESULT
    {
        return pages.iter().try_for_each(check_page);
    }
    let content = inner(result, "content")?;
    let held = string(content, "type")?;
    if held == format!("{kind}_error") {
        return not_empty(content, "error_code");
    }
    let Some((_, members)) = holds.iter().find(|(kind, _)| *kind == held) else {
        return Err(Rule::Content.broken(format!("a {kind} holds no {held:?}")));
    };
    let is_wrong = |(name, is_right): &&Member| !content.get(*name).is_some_and(is_right);
    match members.iter().find(is_wrong) {
        Some((name, _)) => {
            Err(Rule::Shape.broken(format!("{name} of a {held} is missing or of another type")))
        }
        None if held == WEB_FETCHED => check_document(inner(content, "content")?),
        None => Ok(()),
    }
}

fn check_id(id: &str, is_mcp: bool) -> Result<(), Broken> {
    if is_mcp {
        return check_call_id(id);
    }
    let own = id.strip_prefix("srvtoolu_").filter(|own| !own.is_empty());
    if own.is_some_and(|own| own.chars().all(|c| is_word_char(c) && c != '-')) {
        return Ok(());
    }
    let detail = format!("the call id {id:?} does not match ^srvtoolu_[a-zA-Z0-9_]+$");
    Err(Rule::CallId.broken(detail))
}

/// A page that a search of the web found. What it says is sealed by the API.
fn check_page(page: &Value) -> Result<(), Broken> {
    let page = object(page, "a page")?;
    only(page, &["type", "url", "title", "encrypted_content", "page_age"])?;
    let kind = string(page, "type")?;
    if kind != "web_search_result" {
        return Err(Rule::Content.broken(format!("a {WEB_SEARCH_RESULT} holds no {kind:?}")));
    }
    ["url", "title", "encrypted_content"].iter().try_for_each(|name| string(page, name).map(|_| ()))
}

fn check_mcp_content(content: Option<&Value>) -> Result<(), Broken> {
    let blocks = match content {
        None | Some(Value::String(_)) => return Ok(()),
        Some(Value::Array(blocks)) => blocks,
        Some(_) => {
            let detail = "a result's content is neither text nor a list of blocks";
            return Err(Rule::Content.broken(detail));
        }
    };
    check_plain_blocks(blocks, "a result's block")
}
