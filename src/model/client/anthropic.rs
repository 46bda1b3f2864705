//! Anthropic's messages.

use serde_json::{Map, Value, json};

use super::request::{check, check_messages};
use crate::error::Result;
use crate::json::{Json, JsonObject};
use crate::limits::MODEL_ANSWER_TOKENS_DEFAULT;
use crate::message::{
    Content, Message, Metrics, Part, Role, ToolCall, check_anthropic, to_anthropic,
};
use crate::model::{ModelAnswer, ModelRequest};

/// A request's body.
pub(super) fn request(model: &str, request: &ModelRequest) -> Result<Value> {
    check(request)?;
    let prompt = to_anthropic(&request.messages);
    check_messages(&prompt.messages, check_anthropic(&prompt))?;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    let tokens = request.max_tokens.unwrap_or(MODEL_ANSWER_TOKENS_DEFAULT);
    body.insert("max_tokens".into(), tokens.into());
    if let Some(system) = prompt.system {
        body.insert("system".into(), system.into());
    }
    body.insert("messages".into(), prompt.messages.into());
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let schema = tool.parameters.to_value();
            json!({"name": tool.name, "description": tool.description, "input_schema": schema})
        });
        body.insert("tools".into(), tools.collect());
    }
    if let Some(answer) = &request.answer_schema {
        let format = json!({"type": "json_schema", "schema": answer.schema.to_value()});
        body.insert("output_config".into(), json!({ "format": format }));
    }
    Ok(Value::Object(body))
}

/// Reads an answer.
pub(super) fn answer(bytes: &[u8]) -> Result<ModelAnswer, String> {
    let answer = super::answered(bytes)?;
    let content = answer.get("content").ok_or("an answer without content")?;
    let blocks: Vec<Json> =
        serde_json::from_str(content.as_str()).map_err(|_| "an answer whose content is no list")?;
    let mut parts = Vec::new();
    let mut calls = Vec::new();
    for block in blocks {
        let members = JsonObject::parse(block.as_str())
            .map_err(|_| String::from("an answer with a block that is no object"))?;
        match text(&members, "type").as_deref() {
            Some("text") => {
                let said = text(&members, "text").ok_or("a block of text of no known shape")?;
                parts.push(if members.0.len() == 2 { Part::Text(said) } else { Part::Json(block) });
            }
            Some("tool_use") => calls.push(call(&members)?),
            Some(_) => parts.push(Part::Json(block)),
            None => return Err(String::from("an answer with a block of no type")),
        }
    }
    let mut message = Message::new(Role::Assistant, content_of(parts));
    message.tool_calls = calls;
    message.response_id = text(&answer, "id");
    let usage = answer.get("usage").map(Json::to_value).unwrap_or_default();
    let reason = text(&answer, "stop_reason");
    let answer = ModelAnswer::new(message).with_metrics(metrics(&usage));
    match reason.as_deref() {
        Some("max_tokens" | "model_context_window_exceeded") => super::cut_off(answer),
        Some(reason @ "refusal") => Ok(answer.refused(reason)),
        _ => Ok(answer),
    }
}

fn content_of(mut parts: Vec<Part>) -> Content {
    match (parts.pop(), parts.is_empty()) {
        (None, _) => Content::Null,
        (Some(Part::Text(text)), true) => Content::Text(text),
        (Some(last), _) => {
            parts.push(last);
            Content::Parts(parts)
        }
    }
}

fn call(block: &JsonObject) -> Result<ToolCall, String> {
    let named = |name: &str| text(block, name).filter(|text| !text.is_empty());
    let (Some(id), Some(name)) = (named("id"), named("name")) else {
        return Err(String::from("a tool call without an id or a name"));
    };
    let input = block.get("input").ok_or("a tool call without input")?;
    Ok(ToolCall::new(id, name, input.as_str()))
}

fn text(members: &JsonObject, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.as_str()).ok()
}

/// What is read from the cache or written to it, the provider counts apart.
fn metrics(usage: &Value) -> Metrics {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64).unwrap_or(0);
    let mut metrics = Metrics::tokens(count("input_tokens"), count("output_tokens"));
    metrics.cache_read_tokens = count("cache_read_input_tokens");
    metrics.cache_write_tokens = count("cache_creation_input_tokens");
    metrics
}
