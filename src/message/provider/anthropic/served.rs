//! What Anthropic's servers carry out themselves: the calls and their results, which are both the
//! model's. From the reference of the Messages API (`server_tool_use`, `mcp_tool_use` and
//! the blocks that end in `_tool_result`).

use serde_json::{Map, Value};

use super::kind::kind_of;

const CALL: &str = "server_tool_use";
/// A call of a tool on another server, which the API was told of.
pub(super) const MCP_CALL: &str = "mcp_tool_use";
/// Runs code of the model's.
const CODE: &str = "code_execution";
pub(super) const MCP_RESULT: &str = "mcp_tool_result";
pub(super) const WEB_SEARCH_RESULT: &str = "web_search_tool_result";

const TOOL_SEARCH_RESULT: &str = "tool_search_tool_result";
const TOOLS_FOUND: &[Held] =
    &[("tool_search_tool_search_result", &[("tool_references", Value::is_array)])];

/// What a page that was fetched is in: a document.
pub(super) const WEB_FETCHED: &str = "web_fetch_result";

/// A tool that a [`CALL`] may name.
struct Tool {
    name: &'static str,
    /// The type of its results.
    result: &'static str,
    /// What these hold where nothing failed.
    holds: &'static [Held],
}

/// A type of what a result holds, and the members that it must have.
type Held = (&'static str, &'static [Member]);

/// A member, and whether its value is of the right type.
pub(super) type Member = (&'static str, fn(&Value) -> bool);

const RAN: &[Member] = &[
    ("stdout", Value::is_string),
    ("stderr", Value::is_string),
    ("return_code", Value::is_number),
    ("content", Value::is_array),
];

const TOOLS: [Tool; 8] = [
    // A list of pages.
    Tool { name: "web_search", result: WEB_SEARCH_RESULT, holds: &[] },
    Tool {
        name: "web_fetch",
        result: "web_fetch_tool_result",
        holds: &[(WEB_FETCHED, &[("url", Value::is_string), ("content", Value::is_object)])],
    },
    Tool {
        name: CODE,
        result: "code_execution_tool_result",
        holds: &[
            ("code_execution_result", RAN),
            (
                "encrypted_code_execution_result",
                &[
                    ("encrypted_stdout", Value::is_string),
                    ("stderr", Value::is_string),
                    ("return_code", Value::is_number),
                    ("content", Value::is_array),
                ],
            ),
        ],
    },
    Tool {
        name: "bash_code_execution",
        result: "bash_code_execution_tool_result",
        holds: &[("bash_code_execution_result", RAN)],
    },
    Tool {
        name: "text_editor_code_execution",
        result: "text_editor_code_execution_tool_result",
        holds: &[
            (
                "text_editor_code_execution_view_result",
                &[("file_type", Value::is_string), ("content", Value::is_string)],
            ),
            ("text_editor_code_execution_create_result", &[("is_file_update", Value::is_boolean)]),
            ("text_editor_code_execution_str_replace_result", &[]),
        ],
    },
    Tool { name: "tool_search_tool_regex", result: TOOL_SEARCH_RESULT, holds: TOOLS_FOUND },
    Tool { name: "tool_search_tool_bm25", result: TOOL_SEARCH_RESULT, holds: TOOLS_FOUND },
    Tool {
        name: "advisor",
        result: "advisor_tool_result",
        holds: &[
            ("advisor_result", &[("text", Value::is_string)]),
            ("advisor_redacted_result", &[("encrypted_content", Value::is_string)]),
        ],
    },
];

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

/// What a result of this type may hold; `None` for a type that no tool has.
pub(super) fn holds(result: &str) -> Option<&'static [Held]> {
    TOOLS.iter().find(|tool| tool.result == result).map(|tool| tool.holds)
}

/// Whether a call or a result is of a tool on another server.
pub(super) fn is_mcp(block: &Map<String, Value>) -> bool {
    block.get("type").is_some_and(|kind| kind == MCP_CALL || kind == MCP_RESULT)
}
