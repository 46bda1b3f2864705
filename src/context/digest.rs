//! One text for one JSON value, and the digest of a prompt.

use serde_json::Value;

use crate::message::Anthropic;

/// The value as JSON text without white space, the members of each object sorted by name: the
/// same in every build, whatever order another crate makes `serde_json` keep.
pub(crate) fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                separate(at, text);
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            text.push('{');
            for (at, (name, member)) in members.into_iter().enumerate() {
                separate(at, text);
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(member, text);
            }
            text.push('}');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

fn separate(at: usize, text: &mut String) {
    if at > 0 {
        text.push(',');
    }
}

/// The digest of the messages of a request, and of the system prompt where it stands beside them.
pub(crate) fn prompt_digest(messages: &[Value], system: Option<&str>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("sessionlog v1 prompt");
    let system = system.map_or(Value::Null, Value::from);
    hasher.update(canonical(&system).as_bytes());
    for message in messages {
        hasher.update(b"\n").update(canonical(message).as_bytes());
    }
    hasher.finalize().into()
}

impl Anthropic {
    /// The digest of the prompt.
    pub(crate) fn digest(&self) -> [u8; 32] {
        prompt_digest(&self.messages, self.system.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_has_one_text_whatever_the_order_of_its_members() {
        let one: Value = serde_json::from_str(r#"{"b":[1,{"d":null,"c":"x\n"}],"a":1.5}"#).unwrap();
        let other: Value =
            serde_json::from_str(r#"{"a":1.5,"b":[1,{"c":"x\n","d":null}]}"#).unwrap();
        assert_eq!(canonical(&one), r#"{"a":1.5,"b":[1,{"c":"x\n","d":null}]}"#);
        assert_eq!(canonical(&one), canonical(&other));
    }

    #[test]
    fn a_digest_tells_where_one_message_ends_and_another_begins() {
        let of = |messages: &[Value]| prompt_digest(messages, None);
        assert_ne!(of(&[json!("a"), json!("b")]), of(&[json!("ab")]));
        assert_ne!(of(&[json!("a")]), prompt_digest(&[], Some("a")));
    }
}
