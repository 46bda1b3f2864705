//! One event as its source wrote it, of any age.

use crate::clock::parse_rfc3339;
use crate::error::{Error, Result};
use crate::json::{Json, JsonObject};
use crate::message::Metrics;
use crate::transcript::source::{count_of, elements, members, real_of, text_of};

/// An action or an observation.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) record: JsonObject,
    pub(super) is_action: bool,
    pub(super) kind: String,
    /// What an action is given. In older streams that stands in the event itself.
    pub(super) args: JsonObject,
    pub(super) call: Option<Call>,
}

/// The tool call that an event makes or answers.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// As the model wrote them.
    pub(super) arguments: Option<String>,
    /// Names the model response, where that makes several calls.
    pub(super) response_id: Option<String>,
    /// The message of the model response.
    pub(super) said: JsonObject,
    pub(super) spent: Option<Metrics>,
}

/// Kinds of actions that say nothing to anybody. A recall repeats what the person has said.
const ACTIONS_IGNORED: [&str; 5] =
    ["null", "change_agent_state", "recall", "condensation", "condensation_request"];

/// Kinds of observations that say nothing to anybody.
const OBSERVATIONS_IGNORED: [&str; 2] = ["null", "agent_state_changed"];

impl Event {
    /// Whether a record is an event. Its members are common words, so their values count too.
    pub(super) fn is_one(record: &JsonObject) -> bool {
        let is_kind = |name: &str| record.get(name).is_some_and(|kind| kind_of(kind).is_some());
        record.get("role").is_none() && (is_kind("action") || is_kind("observation"))
    }

    pub(super) fn read(text: &str) -> Result<Self> {
        let record = JsonObject::parse(text)?;
        let (is_action, kind) = match (record.get("observation"), record.get("action")) {
            (Some(kind), _) => (false, kind),
            (None, Some(kind)) => (true, kind),
            (None, None) => {
                return Err(Error::invalid("an event that is no action and no observation"));
            }
        };
        let kind =
            kind_of(kind).ok_or_else(|| Error::invalid("an event whose kind is no string"))?;
        let args = record.get("args").and_then(|args| members(args.as_str()));
        let args = args.unwrap_or_else(|| record.clone());
        let call = record.get("tool_call_metadata").and_then(Call::read);
        Ok(Self { record, is_action, kind, args, call })
    }

    /// Whether it is the program's own bookkeeping. What answers a call never is.
    pub(super) fn is_ignored(&self) -> bool {
        let kinds = if self.is_action { &ACTIONS_IGNORED[..] } else { &OBSERVATIONS_IGNORED[..] };
        self.call.is_none() && kinds.contains(&self.kind.as_str())
    }

    /// Who acts: `user`, `agent` or `environment`. Older streams do not say.
    pub(super) fn source(&self) -> Option<String> {
        self.record.get("source").and_then(text_of)
    }

    /// A text that the action is given, unless it is empty.
    pub(super) fn words(&self, name: &str) -> Option<String> {
        self.args.get(name).and_then(text_of).filter(|words| !words.is_empty())
    }

    /// When it was, in microseconds since 1970. Without a zone it is taken as UTC.
    pub(super) fn at_us(&self) -> Option<i64> {
        let time = self.record.get("timestamp").and_then(text_of)?;
        parse_rfc3339(&time).or_else(|| parse_rfc3339(&format!("{time}Z")))
    }
}

fn kind_of(json: &Json) -> Option<String> {
    if json.as_str() == "null" { Some(String::from("null")) } else { text_of(json) }
}

impl Call {
    fn read(metadata: &Json) -> Option<Self> {
        let metadata = members(metadata.as_str())?;
        let id = metadata.get("tool_call_id").and_then(text_of).filter(|id| !id.is_empty())?;
        let response = metadata.get("model_response").and_then(|json| members(json.as_str()));
        let response = response.unwrap_or_default();
        let said = said(&response, &id).unwrap_or_default();
        let function = function(&said, &id).unwrap_or_default();
        let named = |json: Option<&Json>| json.and_then(text_of);
        let name = named(metadata.get("function_name")).or_else(|| named(function.get("name")));
        // Some programs give all responses one id, so it counts only where it has to.
        let is_alone = metadata.get("total_calls_in_response").and_then(count_of) == Some(1);
        let response_id = response.get("id").and_then(text_of).filter(|id| !id.is_empty());
        Some(Self {
            id,
            name: name.unwrap_or_default(),
            arguments: named(function.get("arguments")),
            response_id: response_id.filter(|_| !is_alone),
            said,
            spent: used(&response),
        })
    }
}

/// The message that makes the call, else the first one, of a model response.
fn said(response: &JsonObject, id: &str) -> Option<JsonObject> {
    let choices = elements(response.get("choices")?.as_str())?;
    let messages =
        choices.into_iter().filter_map(|choice| members(members(choice)?.get("message")?.as_str()));
    let mut messages: Vec<JsonObject> = messages.collect();
    let calling = messages.iter().position(|message| function(message, id).is_some());
    (!messages.is_empty()).then(|| messages.swap_remove(calling.unwrap_or(0)))
}

fn function(message: &JsonObject, id: &str) -> Option<JsonObject> {
    let calls = elements(message.get("tool_calls")?.as_str())?.into_iter().filter_map(members);
    let mut calls = calls.filter(|call| call.get("id").and_then(text_of).as_deref() == Some(id));
    calls.find_map(|call| members(call.get("function")?.as_str()))
}

/// What a model response used.
fn used(response: &JsonObject) -> Option<Metrics> {
    let usage = members(response.get("usage")?.as_str())?;
    let inner = |name: &str| usage.get(name).and_then(|json| members(json.as_str()));
    let tokens = |name: &str| usage.get(name).and_then(count_of);
    let detail = |outer: &str, name: &str| inner(outer)?.get(name).and_then(count_of);
    let mut metrics = Metrics::tokens(
        tokens("prompt_tokens").unwrap_or(0),
        tokens("completion_tokens").unwrap_or(0),
    );
    metrics.cache_read_tokens = tokens("cache_read_input_tokens")
        .or_else(|| detail("prompt_tokens_details", "cached_tokens"))
        .unwrap_or(0);
    metrics.cache_write_tokens = tokens("cache_creation_input_tokens").unwrap_or(0);
    metrics.reasoning_tokens = detail("completion_tokens_details", "reasoning_tokens").unwrap_or(0);
    Some(metrics).filter(|metrics| !metrics.is_empty())
}

/// What an output says that all of it spent.
pub(super) fn accumulated(output: &JsonObject) -> Option<Metrics> {
    let spent = members(output.get("metrics")?.as_str())?;
    let usage = spent.get("accumulated_token_usage").and_then(|json| members(json.as_str()));
    let usage = usage.unwrap_or_default();
    let tokens = |name: &str| usage.get(name).and_then(count_of).unwrap_or(0);
    let mut metrics = Metrics::tokens(tokens("prompt_tokens"), tokens("completion_tokens"));
    metrics.cache_read_tokens = tokens("cache_read_tokens");
    metrics.cache_write_tokens = tokens("cache_write_tokens");
    let cost = spent.get("accumulated_cost").and_then(real_of);
    metrics.cost = cost.filter(|cost| *cost > 0.0);
    Some(metrics).filter(|metrics| !metrics.is_empty())
}
