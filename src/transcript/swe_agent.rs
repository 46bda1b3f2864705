//! SWE-agent's trajectory files (`.traj`): one object whose `history` is the conversation.
//!
//! Demonstrations (`is_demo`) stay messages like the others: the model was given them. What the
//! person says is the task in front of the model's first word; every later user message is an
//! observation, so a file is one run. Of `trajectory`, the same steps seen from the environment,
//! only what `history` does not say is kept, beside the import.

use super::conversation::{Conversation, Parsed, digest};
use super::documents;
use super::format::{Format, FormatSpec, Sign};
use super::source::{Broken, Record, Source, count_of, elements, members, real_of};
use crate::error::Result;
use crate::json::{Field, Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;
use crate::message::{Content, Message, Metrics, Role};

pub(super) const FORMAT: FormatSpec =
    FormatSpec { name: "swe-agent", recognise, read, write: None, reserved: Some(RESERVED) };

/// What all reserved names begin with.
const RESERVED: &str = "swe_agent.";

/// Marks a result that was put in for one more call that the message before it answers: which
/// of that message's `tool_call_ids` it is, from 0.
const PART: &str = "swe_agent.part";

/// Members of a step that `history` has as messages.
const STEP_MESSAGES: [&str; 6] =
    ["action", "observation", "response", "thought", "messages", "query"];

/// A history of messages may be some other program's, too; `trajectory` beside it may not.
fn recognise(record: &JsonObject) -> Sign {
    let has = |name: &str| record.get(name).is_some();
    let Some(history) = record.get("history").filter(|_| !has("messages")) else {
        return Sign::None;
    };
    let first = elements(history.as_str()).unwrap_or_default().into_iter().find_map(members);
    match (first.map(|message| message.get("role").is_some()), has("trajectory")) {
        (None | Some(true), true) => Sign::Certain,
        (Some(true), false) => Sign::Likely,
        (Some(false), _) | (None, false) => Sign::None,
    }
}

/// Reads a file. Many runs have a file of the same name, so the folder is in the session id.
fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let name = source.folder.as_deref().map(|folder| format!("{folder}-{stem}"));
    let name = name.as_deref().unwrap_or(stem);
    for record in &source.records {
        let session_id = documents::name(source, name, record.place);
        match conversation(record, session_id, &mut parsed.broken) {
            Ok(conversation) => parsed.conversations.push(conversation),
            Err(broken) => parsed.broken.push(broken),
        }
    }
    parsed
}

fn conversation(
    record: &Record<'_>,
    session_id: String,
    broken: &mut Vec<Broken>,
) -> Result<Conversation, Broken> {
    let mut object = members(record.text).unwrap_or_default();
    let history = object.take("history");
    let history = history.ok_or_else(|| record.place.broken("no trajectory: no history in it"))?;
    shorten_trajectory(&mut object);
    let data = object.to_json();
    check_depth(data.as_str(), STATE_DEPTH_MAX).map_err(|reason| record.place.broken(reason))?;
    let mut conversation = Conversation::new(Format::SweAgent, session_id, record.place);
    let mut has_acted = false;
    let read = |conversation: &mut Conversation, text: &str| {
        read_message(conversation, text, &mut has_acted)
    };
    conversation.read_list_with(history.as_str(), (record.place, "history"), read, broken)?;
    if let Some(metrics) = spent(&object) {
        conversation.spend(metrics);
    }
    conversation.data = Some(data);
    Ok(conversation)
}

fn read_message(conversation: &mut Conversation, text: &str, has_acted: &mut bool) -> Result<()> {
    let mut message = Message::from_json(text)?;
    let is_demo = message.extra("is_demo").is_some_and(|json| json.as_str() == "true");
    let is_user = message.role == Role::User && !is_demo && !*has_acted;
    *has_acted |= message.role == Role::Assistant && !is_demo;
    let ids = answered(&message);
    if let Some(first) = ids.first() {
        message.tool_call_id = Some(first.clone());
    }
    let digest = digest(text);
    conversation.push(message, digest, is_user, None);
    for (index, id) in ids.into_iter().enumerate().skip(1) {
        conversation.push(part(index, id), digest, false, None);
    }
    Ok(())
}

/// The calls that a tool's message answers, where it names them in its own way only.
fn answered(message: &Message) -> Vec<String> {
    let is_result = message.role == Role::Tool && message.tool_call_id.is_none();
    let ids = message.extra("tool_call_ids").filter(|_| is_result);
    ids.and_then(|ids| serde_json::from_str(ids.as_str()).ok()).unwrap_or_default()
}

/// A result without words: they stand in the message that names all the calls.
fn part(index: usize, id: String) -> Message {
    let mut message = Message::new(Role::Tool, Content::Text(String::new()));
    message.tool_call_id = Some(id);
    let value = Json::from(serde_json::Value::from(index));
    message.extra.push(Field { name: PART.to_owned(), value });
    message
}

/// Leaves of each step what no message says: the environment's state, how long it took.
fn shorten_trajectory(object: &mut JsonObject) {
    let steps = object.get("trajectory").and_then(|steps| elements(steps.as_str()));
    let Some(steps) = steps else { return };
    let shorten = |step: &str| match members(step) {
        Some(mut step) => {
            step.0.retain(|field| !STEP_MESSAGES.contains(&field.name.as_str()));
            step.to_json()
        }
        // Whatever it is, it is no step, and nothing else says it.
        None => serde_json::from_str(step).unwrap_or_else(|_| Json::string(step)),
    };
    let steps: Vec<Json> = steps.into_iter().map(shorten).collect();
    if steps.iter().any(|step| step.as_str() != "{}") {
        object.set("trajectory", documents::list(&steps));
    } else {
        drop(object.take("trajectory"));
    }
}

/// What the run spent, as the file says it.
fn spent(object: &JsonObject) -> Option<Metrics> {
    let info = members(object.get("info")?.as_str())?;
    let stats = members(info.get("model_stats")?.as_str())?;
    let tokens = |name: &str| stats.get(name).and_then(count_of).unwrap_or(0);
    let mut metrics = Metrics::tokens(tokens("tokens_sent"), tokens("tokens_received"));
    let cost = stats.get("instance_cost").and_then(real_of);
    metrics.cost = cost.filter(|cost| *cost > 0.0);
    Some(metrics).filter(|metrics| !metrics.is_empty())
}
