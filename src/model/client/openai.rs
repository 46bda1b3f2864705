//! OpenAI's chat completions.

use std::collections::BTreeSet;

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::request::{check, check_messages};
use crate::error::Result;
use crate::json::{Json, JsonObject};
use crate::message::{Message, Metrics, Role, check_openai, to_openai};
use crate::model::{ModelAnswer, ModelRequest};

/// The one server whose models insist on the newer name of the limit; the others know the older.
const OWN_HOST: &str = "api.openai.com";

/// A request's body.
pub(super) fn request(model: &str, url: &Url, request: &ModelRequest) -> Result<Value> {
    check(request)?;
    let messages = to_openai(&request.messages);
    check_messages(&messages, check_openai(&messages))?;
    let mut body = Map::new();
    body.insert("model".into(), model.into());
    body.insert("messages".into(), messages.into());
    if !request.tools.is_empty() {
        let tools = request.tools.iter().map(|tool| {
            let parameters = tool.parameters.to_value();
            let (name, description) = (&tool.name, &tool.description);
            let function =
                json!({"name": name, "description": description, "parameters": parameters});
            json!({"type": "function", "function": function})
        });
        body.insert("tools".into(), tools.collect());
    }
    if let Some(answer) = &request.answer_schema {
        let schema = answer.schema.to_value();
        let schema = json!({"name": answer.name, "schema": schema, "strict": true});
        let format = json!({"type": "json_schema", "json_schema": schema});
        body.insert("response_format".into(), format);
    }
    if let Some(tokens) = request.max_tokens {
        let is_own = url.host_str() == Some(OWN_HOST);
        let name = if is_own { "max_completion_tokens" } else { "max_tokens" };
        body.insert(name.into(), tokens.into());
    }
    Ok(Value::Object(body))
}

/// Reads an answer.
pub(super) fn answer(bytes: &[u8]) -> Result<ModelAnswer, String> {
    let answer = super::answered(bytes)?;
    let choices = answer.get("choices").ok_or("an answer without choices")?;
    let choices: Vec<JsonObject> =
        serde_json::from_str(choices.as_str()).map_err(|_| "an answer whose choices are none")?;
    let choice = choices.into_iter().next().ok_or("an answer without a choice")?;
    let message = choice.get("message").ok_or("a choice without a message")?;
    let message = JsonObject::parse(message.as_str())
        .map_err(|_| String::from("a choice whose message is none"))?;
    let reason = choice.get("finish_reason").map(Json::to_value).unwrap_or_default();
    let message = read_message(message)?;
    let refusal = message.extra("refusal").map(Json::to_value).unwrap_or_default();
    let refusal = refusal.as_str().filter(|words| !words.is_empty()).map(str::to_owned);
    let usage = answer.get("usage").map(Json::to_value).unwrap_or_default();
    let mut answer = ModelAnswer::new(message).with_metrics(metrics(&usage));
    let is_filtered = reason.as_str() == Some("content_filter");
    answer.refusal = refusal.or_else(|| is_filtered.then(|| String::from("content_filter")));
    if reason.as_str() == Some("length") { super::cut_off(answer) } else { Ok(answer) }
}

fn read_message(mut record: JsonObject) -> Result<Message, String> {
    // What says nothing is not kept: servers write out all that a message could have.
    record
        .0
        .retain(|field| field.name == "content" || !matches!(field.value.as_str(), "null" | "[]"));
    record.set("role", Json::string(Role::Assistant.as_str()));
    number_calls(&mut record);
    let message = Message::from_json(record.to_json().as_str());
    let message = message.map_err(|error| error.to_string())?;
    let is_whole = |name: &str| message.extra(name).is_none();
    if !is_whole("content") || !is_whole("tool_calls") {
        return Err(String::from("a message with content or tool calls of no known shape"));
    }
    if message.tool_calls.iter().any(|call| call.name.is_empty()) {
        return Err(String::from("a tool call without a name"));
    }
    Ok(message)
}

/// Gives an id to each call that comes without one, as several servers send them: without one, no
/// result could answer it. It is told by its place, so the same answer is read the same again.
fn number_calls(record: &mut JsonObject) {
    let calls = record.get("tool_calls").map(Json::as_str).unwrap_or_default();
    let Ok(mut calls) = serde_json::from_str::<Vec<JsonObject>>(calls) else { return };
    let id_of = |call: &JsonObject| {
        let id: String = serde_json::from_str(call.get("id")?.as_str()).ok()?;
        (!id.is_empty()).then_some(id)
    };
    let known: BTreeSet<String> = calls.iter().filter_map(id_of).collect();
    let count = calls.len();
    let nameless = calls.iter_mut().enumerate().filter(|(_, call)| id_of(call).is_none());
    for (at, call) in nameless {
        // In steps of the count, no two calls ever come to the same number.
        let mut ids = (at + 1..).step_by(count).map(|number| format!("call_{number}"));
        if let Some(id) = ids.find(|id| !known.contains(id)) {
            call.set("id", Json::string(&id));
        }
    }
    record.set("tool_calls", Json::array(calls.iter().map(JsonObject::to_json)));
}

fn metrics(usage: &Value) -> Metrics {
    let count = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let mut metrics = Metrics::tokens(count("/prompt_tokens"), count("/completion_tokens"));
    metrics.total_tokens = metrics.total_tokens.max(count("/total_tokens"));
    metrics.cache_read_tokens = count("/prompt_tokens_details/cached_tokens");
    metrics.audio_input_tokens = count("/prompt_tokens_details/audio_tokens");
    metrics.audio_output_tokens = count("/completion_tokens_details/audio_tokens");
    metrics.reasoning_tokens = count("/completion_tokens_details/reasoning_tokens");
    metrics
}
