//! OpenAI's chat records to messages and back, without loss: a member that its field would not
//! give back stays in `extra`, and what is in `extra` stands for the field.

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::json::{Field, Json, JsonObject};
use crate::message::{Content, Message, Metrics, Omitted, Part, Role, ToolCall};

/// Reads a record. [`to_record`] gives an equal one back.
pub(crate) fn from_record(record: JsonObject) -> Result<Message> {
    let mut role = None;
    let mut message = Message::new(Role::User, Content::Absent);
    for Field { name, value } in record.0 {
        if name == "role" {
            role = Some(value);
        } else if read_member(&mut message, &name, &value) {
            // Of two members with one name the last counts.
            message.extra.retain(|field| field.name != name);
        } else {
            message.extra.push(Field { name, value });
        }
    }
    let role = role.ok_or_else(|| Error::invalid("a message without a role"))?;
    let Some(label) = text(&role) else {
        return Err(Error::invalid("a message whose role is no string"));
    };
    message.role = Role::from(label.as_str());
    Ok(message)
}

/// Reads a member into its field. False where the field would not give the member back.
fn read_member(message: &mut Message, name: &str, value: &Json) -> bool {
    match name {
        "content" => set(&mut message.content, read_content(value)),
        "tool_calls" => set(&mut message.tool_calls, read_calls(value)),
        "tool_call_id" => set(&mut message.tool_call_id, text(value).map(Some)),
        "name" => set(&mut message.name, text(value).map(Some)),
        "reasoning_content" => set(&mut message.reasoning, text(value).map(Some)),
        "response_id" => set(&mut message.response_id, text(value).map(Some)),
        "created_at_us" => {
            let micros = parsed(value).and_then(|value| value.as_i64());
            set(&mut message.created_at_us, micros.map(Some))
        }
        "metrics" => set(&mut message.metrics, read_metrics(value).map(Some)),
        "omitted" => set(&mut message.omitted, read_omitted(value)),
        "from_history" => {
            // Records of Agno carry it in this place, so it stays there too.
            message.from_history = value.as_str() == "true";
            false
        }
        _ => false,
    }
}

fn set<T>(field: &mut T, value: Option<T>) -> bool {
    let is_read = value.is_some();
    if let Some(value) = value {
        *field = value;
    }
    is_read
}

/// The value, where one can be made of the text: not of a number that no `f64` holds, nor of
/// half a surrogate pair.
fn parsed(json: &Json) -> Option<Value> {
    serde_json::from_str(json.as_str()).ok()
}

fn text(json: &Json) -> Option<String> {
    serde_json::from_str(json.as_str()).ok()
}

fn list(json: &Json) -> Option<Vec<Json>> {
    serde_json::from_str(json.as_str()).ok()
}

fn object(json: &Json) -> Option<JsonObject> {
    serde_json::from_str(json.as_str()).ok()
}

fn read_content(value: &Json) -> Option<Content> {
    if value.as_str() == "null" {
        return Some(Content::Null);
    }
    if let Some(text) = text(value) {
        return Some(Content::Text(text));
    }
    Some(Content::Parts(list(value)?.into_iter().map(read_part).collect()))
}

fn read_part(json: Json) -> Part {
    let text = parsed(&json).and_then(|part| {
        let text = part.get("text")?.as_str()?;
        (part == text_part(text)).then(|| text.to_owned())
    });
    text.map_or(Part::Json(json), Part::Text)
}

fn text_part(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// `None` also for an empty list, which no message without calls would give back.
fn read_calls(value: &Json) -> Option<Vec<ToolCall>> {
    let records = list(value).filter(|records| !records.is_empty())?;
    records.into_iter().map(read_call).collect()
}

/// Reads OpenAI's shape, with the name and arguments in `function`, and Inspect's, where
/// `function` is the name and the arguments stand beside it. A custom tool's are in `custom`.
fn read_call(record: Json) -> Option<ToolCall> {
    let members = object(&record)?;
    let function = members.get("function");
    let custom = members.get("custom").and_then(object);
    let (name, arguments) = match (function.and_then(object), custom) {
        (Some(function), _) => {
            (function.get("name").and_then(text), function.get("arguments").map(read_arguments))
        }
        (None, Some(custom)) if function.is_none() => {
            (custom.get("name").and_then(text), custom.get("input").map(read_arguments))
        }
        _ => (function.and_then(text), members.get("arguments").map(read_arguments)),
    };
    let mut call = ToolCall {
        id: members.get("id").and_then(text),
        name: name.unwrap_or_default(),
        arguments: arguments.unwrap_or_default(),
        source: None,
    };
    if parsed(&record).is_none_or(|record| record != call_record(&call)) {
        call.source = Some(record);
    }
    Some(call)
}

fn read_arguments(value: &Json) -> String {
    if value.as_str() == "null" {
        return String::new();
    }
    text(value).unwrap_or_else(|| value.as_str().to_owned())
}

fn call_record(call: &ToolCall) -> Value {
    let function = json!({"name": call.name, "arguments": call.arguments});
    match &call.id {
        Some(id) => json!({"id": id, "type": "function", "function": function}),
        None => json!({"type": "function", "function": function}),
    }
}

fn read_metrics(value: &Json) -> Option<Metrics> {
    let metrics: Metrics = serde_json::from_str(value.as_str()).ok()?;
    (parsed(value) == metrics_record(&metrics)).then_some(metrics)
}

/// `None` also where nothing is left out, which no whole message would give back.
fn read_omitted(value: &Json) -> Option<Omitted> {
    let omitted: Omitted = serde_json::from_str(value.as_str()).ok()?;
    let is_given_back = parsed(value) == serde_json::to_value(omitted).ok();
    (is_given_back && !omitted.is_empty()).then_some(omitted)
}

fn metrics_record(metrics: &Metrics) -> Option<Value> {
    serde_json::to_value(metrics).ok()
}

/// Writes a message as a record.
pub(crate) fn to_record(message: &Message) -> JsonObject {
    let mut record = JsonObject(Vec::new());
    let mut member = |name: &str, value: Option<Json>| {
        let is_in_extra = || message.extra.iter().any(|field| field.name == name);
        if let Some(value) = value
            && !is_in_extra()
        {
            record.0.push(Field { name: name.to_owned(), value });
        }
    };
    let string = |text: &Option<String>| text.as_deref().map(Json::string);
    member("content", content_json(&message.content));
    member("reasoning_content", string(&message.reasoning));
    member("tool_calls", calls_json(&message.tool_calls));
    member("tool_call_id", string(&message.tool_call_id));
    member("name", string(&message.name));
    member("response_id", string(&message.response_id));
    member("created_at_us", message.created_at_us.map(|micros| Json::from(Value::from(micros))));
    member("from_history", message.from_history.then(|| Json::from(Value::Bool(true))));
    let omitted = Some(&message.omitted).filter(|omitted| !omitted.is_empty());
    let omitted = omitted.and_then(|omitted| serde_json::to_value(omitted).ok());
    member("omitted", omitted.map(Json::from));
    member("metrics", message.metrics.as_ref().and_then(metrics_record).map(Json::from));

    let role = Field { name: String::from("role"), value: Json::string(message.role.as_str()) };
    record.0.insert(0, role);
    // The role is the one member that a record cannot do without, so nothing stands for it.
    record.0.extend(message.extra.iter().filter(|field| field.name != "role").cloned());
    record
}

fn content_json(content: &Content) -> Option<Json> {
    match content {
        Content::Absent => None,
        Content::Null => Some(Json::from(Value::Null)),
        Content::Text(text) => Some(Json::string(text)),
        Content::Parts(parts) => Some(list_json(parts.iter().map(|part| match part {
            Part::Text(text) => Json::from(text_part(text)),
            Part::Json(json) => json.clone(),
        }))),
    }
}

fn calls_json(calls: &[ToolCall]) -> Option<Json> {
    let records =
        calls.iter().map(|call| call.source.clone().unwrap_or_else(|| call_record(call).into()));
    (!calls.is_empty()).then(|| list_json(records))
}

/// A list whose elements keep their text.
fn list_json(elements: impl Iterator<Item = Json>) -> Json {
    let elements: Vec<Json> = elements.collect();
    let raw = serde_json::value::to_raw_value(&elements);
    raw.map_or_else(|_| Json::from(Value::Array(Vec::new())), |raw| Json::from(raw.as_ref()))
}
