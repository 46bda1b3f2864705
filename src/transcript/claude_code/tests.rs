//! Records into messages and back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::record::{begins_record, continues_record, messages_of, record_of};
use crate::json::{Json, JsonObject};
use crate::message::{Content, Message, Part, Role};

fn messages(text: &str) -> Vec<Message> {
    messages_of(&JsonObject::parse(text).unwrap()).unwrap()
}

fn of_content(kind: &str, content: &Value) -> Vec<Message> {
    let message = json!({"role": kind, "id": "msg", "content": content});
    let record =
        json!({"type": kind, "uuid": "u", "timestamp": "2026-01-02T03:04:05Z", "message": message});
    let messages = messages(&record.to_string());
    assert_eq!(record_of(&messages).unwrap().to_value(), record);
    messages
}

#[test]
fn a_record_of_many_results_becomes_a_message_each() {
    let result = |id: &str| json!({"type": "tool_result", "tool_use_id": id, "content": id});
    let messages = of_content("user", &json!([result("a"), result("b"), result("c")]));
    let ids: Vec<_> =
        messages.iter().map(|message| message.tool_call_id.as_deref().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(begins_record(&messages[0]) && !begins_record(&messages[1]));
    assert!(messages[1..].iter().all(continues_record));
}

#[test]
fn the_parts_of_a_message_go_where_every_message_has_them() {
    let call = json!({"type": "tool_use", "id": "t", "name": "f", "input": {"x": 1}, "caller": 2});
    let text = json!({"type": "text", "text": "hi"});
    let thinking = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let message = of_content("assistant", &json!([thinking, call, text])).remove(0);
    assert_eq!(message.role, Role::Assistant);
    let thinking = Part::Json(Json::from(thinking));
    assert_eq!(message.content, Content::Parts(vec![thinking, Part::Text("hi".into())]));
    assert_eq!(message.tool_calls[0].arguments, r#"{"x":1}"#);
    assert_eq!(message.response_id.as_deref(), Some("msg"));
    assert_eq!(message.created_at_us, Some(1_767_323_045_000_000));
    let kept: usize = message.extra.iter().map(|field| field.value.as_str().len()).sum();
    assert!(kept < 200, "the content is stored twice: {:?}", message.extra);
}

#[test]
fn text_without_blocks_stays_text() {
    let message = of_content("user", &json!("hello")).remove(0);
    assert_eq!(message.content, Content::Text("hello".into()));
}

#[test]
fn what_the_messages_would_not_give_back_is_kept_whole() {
    let half = r#"{"type":"user","message":{"role":"user","content":"\ud800"}}"#;
    let huge = r#"{"type":"user","n":1e400,"message":{"role":"user","content":"x"}}"#;
    for text in [half, huge] {
        assert_eq!(record_of(&messages(text)).unwrap().as_str(), text);
    }
}

#[test]
fn messages_of_other_sources_come_from_no_record() {
    assert_eq!(record_of(&[Message::user("x")]), None);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Names that mean something, and some that do not.
fn name() -> impl Strategy<Value = String> {
    let known =
        ["type", "id", "name", "input", "text", "role", "content", "tool_use_id", "is_error"];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(String::from), "[a-z]{1,3}"]
}

fn any_block() -> impl Strategy<Value = Value> {
    let kinds = ["text", "thinking", "tool_use", "tool_result", "image"];
    let members = prop::collection::btree_map(name(), any_json(), 0..6);
    let id = prop::option::of("[a-z]{1,3}");
    let block =
        (prop::sample::select(kinds.to_vec()), members, id).prop_map(|(kind, mut members, id)| {
            members.insert("type".into(), kind.into());
            if let Some(id) = id {
                members.insert("id".into(), id.clone().into());
                members.insert("name".into(), id.clone().into());
                members.insert("tool_use_id".into(), id.into());
            }
            Value::Object(members.into_iter().collect())
        });
    prop_oneof![9 => block, 1 => any_json()]
}

proptest! {
    #[test]
    fn any_record_with_a_role_comes_back_equal(
        blocks in prop::collection::vec(any_block(), 0..6),
        other in prop::collection::btree_map(name(), any_json(), 0..6),
        role in prop::sample::select(&["user", "assistant", "tool", "x"][..]),
    ) {
        let mut message = json!({"role": role, "content": blocks});
        let mut record = json!({"type": "user", "message": null});
        for (name, value) in other {
            if !["role", "content"].contains(&name.as_str()) {
                message[name.as_str()] = value.clone();
            }
            record[format!("x{name}")] = value;
        }
        record["message"] = message;
        let messages = messages(&record.to_string());
        prop_assert!(messages[1..].iter().all(continues_record));
        prop_assert_eq!(record_of(&messages).unwrap().to_value(), record);
    }
}
