//! What Anthropic's servers carry out themselves: the calls of it and their results, which are
//! both the model's. From the reference of the Messages API (`server_tool_use`, `mcp_tool_use` and
//! the blocks that end in `_tool_result`).

use serde_json::{Map, Value};

use super::super::members::{inner, not_empty, object, only, string};
use super::block::{is_blank, kind_of};
use super::rules::{check_plain_block, is_call_id};
use crate::message::rule::{Broken, Rule};

const CALL: &str = "server_tool_use";
/// A call of a tool on another server, which the API was told of.
const MCP_CALL: &str = "mcp_tool_use";
/// Runs code of the model's.
const CODE: &str = "code_execution";
const MCP_RESULT: &str = "mcp_tool_result";
const WEB_SEARCH_RESULT: &str = "web_search_tool_result";

/// A tool that a [`CALL`] may name.
struct Tool {
    name: &'static str,
    /// The type of its results.
    result: &'static str,
    /// What these hold where nothing failed: the type, and what it must have.
    holds: &'static [(&'static str, &'static [&'static str])],
}

const TOOLS: [Tool; 8] = [
    // A list of pages.
    Tool { name: "web_search", result: WEB_SEARCH_RESULT, holds: &[] },
    Tool {
        name: "web_fetch",
        result: "web_fetch_tool_result",
        holds: &[("web_fetch_result", &["url", "content"])],
    },
    Tool {
        name: CODE,
        result: "code_execution_tool_result",
        holds: &[
            ("code_execution_result", &["stdout", "stderr", "return_code", "content"]),
            (
                "encrypted_code_execution_result",
                &["encrypted_stdout", "stderr", "return_code", "content"],
            ),
        ],
    },
    Tool {
        name: "bash_code_execution",
        result: "bash_code_execution_tool_result",
        holds: &[("bash_code_execution_result", &["stdout", "stderr", "return_code", "content"])],
    },
    Tool {
        name: "text_editor_code_execution",
        result: "text_editor_code_execution_tool_result",
        holds: &[
            ("text_editor_code_execution_view_result", &["file_type", "content"]),
            ("text_editor_code_execution_create_result", &["is_file_update"]),
            ("text_editor_code_execution_str_replace_result", &[]),
        ],
    },
    Tool { name: "tool_search_tool_regex", result: TOOL_SEARCH_RESULT, holds: TOOLS_FOUND },
    Tool { name: "tool_search_tool_bm25", result: TOOL_SEARCH_RESULT, holds: TOOLS_FOUND },
    Tool {
        name: "advisor",
        result: "advisor_tool_result",
        holds: &[
            ("advisor_result", &["text"]),
            ("advisor_redacted_result", &["encrypted_content"]),
        ],
    },
];

const TOOL_SEARCH_RESULT: &str = "tool_search_tool_result";
const TOOLS_FOUND: &[(&str, &[&str])] = &[("tool_search_tool_search_result", &["tool_references"])];

/// Whether a call runs code, which may call the user's tools.
pub(super) fn is_code(call: &Value) -> bool {
    kind_of(call) == CALL && call.get("name").is_some_and(|name| name == CODE)
}

/// Whether a block of the model's is a call or a result, whoever carries it out.
pub(super) fn is_of_tools(kind: &str) -> bool {
    kind == "tool_use" || is_call(kind) || is_result(kind)
}

pub(super) fn is_call(kind: &str) -> bool {
    kind == CALL || kind == MCP_CALL
}

pub(super) fn is_result(kind: &str) -> bool {
    kind.ends_with("_tool_result")
}

/// The type of the result that answers a call; `None` for a tool that the API does not have.
pub(super) fn result_of(call: &Map<String, Value>) -> Option<&'static str> {
    let text = |name: &str| call.get(name).and_then(Value::as_str);
    if text("type") == Some(MCP_CALL) {
        return Some(MCP_RESULT);
    }
    TOOLS.iter().find(|tool| text("name") == Some(tool.name)).map(|tool| tool.result)
}

/// The call as the API takes it back; `None` for one that it would not take.
pub(super) fn call(part: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut block = of_members(part, &["type", "id", "name", "input", "server_name"]);
    if !is_mcp(&block) {
        block.remove("server_name");
    }
    check_call(&block).is_ok().then_some(block)
}

/// The result as the API takes it back; `None` for one that it would not take.
pub(super) fn result(part: &Map<String, Value>) -> Option<Map<String, Value>> {
    let mut block = of_members(part, &["type", "tool_use_id", "content", "is_error"]);
    if !is_mcp(&block) {
        block.remove("is_error");
    } else if let Some(Value::Array(blocks)) = block.get_mut("content") {
        // Another server's tool may say nothing, and text without a word is refused.
        blocks.retain(|block| {
            block.get("text").and_then(Value::as_str).is_none_or(|text| !is_blank(text))
        });
    }
    check_result(&block).is_ok().then_some(block)
}

fn is_mcp(block: &Map<String, Value>) -> bool {
    block.get("type").is_some_and(|kind| kind == MCP_CALL || kind == MCP_RESULT)
}

fn of_members(part: &Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    let members = part.iter().filter(|(name, _)| names.contains(&name.as_str()));
    members.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Checks a call by itself.
pub(super) fn check_call(call: &Map<String, Value>) -> Result<(), Broken> {
    let kind = string(call, "type")?;
    check_id(string(call, "id")?, kind == MCP_CALL)?;
    let name = string(call, "name")?;
    if kind == MCP_CALL {
        only(call, &["type", "id", "name", "input", "server_name", "cache_control"])?;
        not_empty(call, "name")?;
        not_empty(call, "server_name")?;
    } else {
        only(call, &["type", "id", "name", "input", "caller", "cache_control"])?;
        if result_of(call).is_none() {
            let detail = format!("{name:?} is no tool that the API carries out");
            return Err(Rule::FunctionName.broken(detail));
        }
    }
    inner(call, "input").map(|_| ())
}

/// Checks a result by itself.
pub(super) fn check_result(result: &Map<String, Value>) -> Result<(), Broken> {
    let kind = string(result, "type")?;
    check_id(string(result, "tool_use_id")?, kind == MCP_RESULT)?;
    if kind == MCP_RESULT {
        only(result, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
        if result.get("is_error").is_some_and(|is_error| !is_error.is_boolean()) {
            return Err(Rule::Shape.broken("is_error is neither true nor false"));
        }
        return check_mcp_content(result.get("content"));
    }
    let Some(tool) = TOOLS.iter().find(|tool| tool.result == kind) else {
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
    let Some((_, members)) = tool.holds.iter().find(|(kind, _)| *kind == held) else {
        return Err(Rule::Content.broken(format!("a {kind} holds no {held:?}")));
    };
    match members.iter().find(|name| content.get(**name).is_none_or(Value::is_null)) {
        Some(missing) => Err(Rule::Shape.broken(format!("a {held} without {missing}"))),
        None => Ok(()),
    }
}

fn check_id(id: &str, is_mcp: bool) -> Result<(), Broken> {
    let own = if is_mcp { Some(id) } else { id.strip_prefix("srvtoolu_") };
    if own.is_some_and(|own| is_call_id(own) && (is_mcp || !own.contains('-'))) {
        return Ok(());
    }
    let pattern = if is_mcp { "^[a-zA-Z0-9_-]+$" } else { "^srvtoolu_[a-zA-Z0-9_]+$" };
    Err(Rule::CallId.broken(format!("the call id {id:?} does not match {pattern}")))
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
    blocks.iter().try_for_each(|block| check_plain_block(block, "a result's block"))
}
