//! Takes parts out of JSON whose shape only its source knows. What stays keeps its text.

use serde_json::value::RawValue;

use crate::json::{Json, JsonObject};

/// What goes.
pub(super) trait Unwanted {
    /// Whether an object goes as a whole.
    fn is_object(&self, object: &JsonObject) -> bool;
    /// Whether a member goes, whatever it holds. It is not asked about empty ones.
    fn is_member(&self, name: &str) -> bool;
}

/// The value without what goes, and how much that was. `None` where nothing does.
pub(super) fn prune(json: &Json, unwanted: &dyn Unwanted) -> Option<(Option<Json>, u32)> {
    let mut count = 0;
    let left = walk(json, unwanted, &mut count);
    (count > 0).then_some((left, count))
}

/// Its nesting is bounded: no `Json` is deeper than [`crate::limits::JSON_DEPTH_MAX`].
fn walk(json: &Json, unwanted: &dyn Unwanted, count: &mut u32) -> Option<Json> {
    let before = *count;
    let left = match json.as_str().as_bytes().first() {
        Some(b'{') => walk_object(json, unwanted, count)?,
        Some(b'[') => {
            let Some(elements) = elements(json) else { return Some(json.clone()) };
            let left = elements.iter().filter_map(|element| walk(element, unwanted, count));
            Json::array(left.collect::<Vec<_>>())
        }
        _ => return Some(json.clone()),
    };
    // Its own text, where nothing was taken out of it.
    Some(if *count == before { json.clone() } else { left })
}

fn walk_object(json: &Json, unwanted: &dyn Unwanted, count: &mut u32) -> Option<Json> {
    let Ok(object) = serde_json::from_str::<JsonObject>(json.as_str()) else {
        return Some(json.clone());
    };
    if unwanted.is_object(&object) {
        *count += 1;
        return None;
    }
    let mut left = JsonObject::default();
    for mut field in object.0 {
        let size = size(&field.value);
        if size > 0 && unwanted.is_member(&field.name) {
            *count += size;
        } else if let Some(value) = walk(&field.value, unwanted, count) {
            field.value = value;
            left.0.push(field);
        }
    }
    Some(left.to_json())
}

/// How much a member holds: the elements of a list, one for any other value but null.
fn size(json: &Json) -> u32 {
    match json.as_str() {
        "null" | "\"\"" | "{}" => 0,
        text if text.starts_with('[') => {
            elements(json).map_or(1, |list| u32::try_from(list.len()).unwrap_or(u32::MAX))
        }
        _ => 1,
    }
}

fn elements(json: &Json) -> Option<Vec<Json>> {
    let elements: Vec<&RawValue> = serde_json::from_str(json.as_str()).ok()?;
    Some(elements.into_iter().map(Json::from).collect())
}

/// What tools were asked and what they said.
pub(super) struct ToolTalk;

impl Unwanted for ToolTalk {
    fn is_object(&self, object: &JsonObject) -> bool {
        let is_type = text_of(object, "type").is_some_and(|kind| is_tool_part(&kind));
        let is_role = text_of(object, "role").is_some_and(|role| role == "tool");
        let answers =
            ["tool_call_id", "tool_use_id"].into_iter().any(|name| text_of(object, name).is_some());
        is_type || is_role || answers
    }

    fn is_member(&self, name: &str) -> bool {
        ["tool_calls", "toolUseResult", "tool_call_metadata"].contains(&name)
    }
}

/// Types of parts that are a tool's call or a tool's result: `tool_use`, `server_tool_use`,
/// `web_search_tool_result`, `function_call`, ...
pub(super) fn is_tool_part(kind: &str) -> bool {
    ["tool_use", "tool_result", "tool_call", "function_call", "function_call_output"]
        .into_iter()
        .any(|end| kind.ends_with(end))
}

fn text_of(object: &JsonObject, name: &str) -> Option<String> {
    serde_json::from_str(object.get(name)?.as_str()).ok()
}
