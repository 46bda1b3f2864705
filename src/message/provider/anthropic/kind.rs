//! What a block is.

use serde_json::Value;

/// The type of a block; nothing for what is none.
pub(super) fn kind_of(block: &Value) -> &str {
    block.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// The id of a call; nothing for what is none.
pub(super) fn id_of(block: &Value) -> &str {
    block.get("id").and_then(Value::as_str).unwrap_or_default()
}

/// Whether the user gives results and nothing else, so that the model goes on where it was.
pub(super) fn is_of_results(blocks: &[Value]) -> bool {
    blocks.iter().all(|block| kind_of(block) == "tool_result")
}

pub(super) fn is_thinking(block: &Value) -> bool {
    matches!(kind_of(block), "thinking" | "redacted_thinking")
}

pub(super) fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
