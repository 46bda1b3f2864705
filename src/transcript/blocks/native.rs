//! Messages that came from elsewhere, in Anthropic's shape and as they are: unlike
//! [`to_anthropic`](crate::to_anthropic) nothing is left out to make a prompt legal.

use serde_json::{Map, Value, json};

use crate::message::{Content, Message, Part, Role};

/// The message as Anthropic has it; the instructions too, which it has elsewhere.
pub(in crate::transcript) fn native(message: &Message) -> Value {
    let (role, content) = match &message.role {
        Role::Assistant if message.tool_calls.is_empty() => ("assistant", content(message)),
        Role::Assistant => ("assistant", Value::Array(blocks(message))),
        Role::Tool => ("user", Value::Array(vec![result(message)])),
        role => (role.as_str(), content(message)),
    };
    json!({"role": role, "content": content})
}

fn content(message: &Message) -> Value {
    match &message.content {
        Content::Text(text) => Value::from(text.as_str()),
        _ => Value::Array(parts(&message.content)),
    }
}

fn parts(content: &Content) -> Vec<Value> {
    let text = |text: &str| json!({"type": "text", "text": text});
    match content {
        Content::Absent | Content::Null => Vec::new(),
        Content::Text(content) if content.is_empty() => Vec::new(),
        Content::Text(content) => vec![text(content)],
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(part) => text(part),
                Part::Json(json) => json.to_value(),
            })
            .collect(),
    }
}

/// What a model said and the calls it made.
pub(in crate::transcript) fn blocks(message: &Message) -> Vec<Value> {
    let calls = message.tool_calls.iter().map(|call| {
        let input = serde_json::from_str::<Value>(&call.arguments);
        let input = input.unwrap_or_else(|_| Value::from(call.arguments.as_str()));
        json!({"type": "tool_use", "id": call.id, "name": call.name, "input": input})
    });
    parts(&message.content).into_iter().chain(calls).collect()
}

fn result(message: &Message) -> Value {
    let members = [
        ("type", Value::from("tool_result")),
        ("tool_use_id", json!(message.tool_call_id)),
        ("content", content(message)),
    ];
    let mut block: Map<String, Value> =
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if message.extra("is_error").is_some_and(|json| json.as_str() == "true") {
        block.insert(String::from("is_error"), Value::from(true));
    }
    Value::Object(block)
}
