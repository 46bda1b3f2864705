//! What the rules of this folder must hold, on lists as bad as real ones.
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{Field, Json, JsonObject};
use crate::message::Metrics;
use crate::message::provider::{from_record, to_record};
use crate::message::{Content, Message, Part, Role};

fn read(record: &Value) -> Message {
    from_record(JsonObject::parse(&record.to_string()).unwrap()).unwrap()
}

fn assert_comes_back(record: &Value) {
    assert_eq!(to_record(&read(record)).to_json().to_value(), *record);
}

#[test]
fn openai_records_fill_the_fields() {
    let record = json!({
        "role": "assistant", "content": null, "reasoning_content": "hm", "name": "anna",
        "tool_calls": [{"id": "a", "type": "function",
            "function": {"name": "look", "arguments": "{\"x\": 1.50}"}}],
        "refusal": null,
    });
    let message = read(&record);
    assert_eq!(message.content, Content::Null);
    assert_eq!(message.reasoning.as_deref(), Some("hm"));
    assert_eq!(message.tool_calls[0].arguments, "{\"x\": 1.50}");
    assert_eq!(message.tool_calls[0].source, None);
    assert_eq!(message.extra("refusal").unwrap().as_str(), "null");
    assert_comes_back(&record);
}

#[test]
fn calls_in_inspects_shape_are_read_and_kept_as_they_came() {
    let text = r#"{"role":"assistant","tool_calls":[
        {"id":"a","function":"look","arguments":{"x": 1.50},"type":"function"}]}"#;
    let message = Message::from_json(text).unwrap();
    assert_eq!(message.tool_calls[0].name, "look");
    assert_eq!(message.tool_calls[0].arguments, r#"{"x": 1.50}"#);
    let back = message.to_json();
    assert!(back.as_str().contains(r#""arguments":{"x": 1.50}"#));
}

#[test]
fn a_record_needs_a_role_that_is_a_string() {
    for (text, reason) in [
        (r#"{"content":"Hi"}"#, "a message without a role"),
        (r#"{"role":7}"#, "a message whose role is no string"),
        (r#"{"role":"\ud800"}"#, "a message whose role is no string"),
    ] {
        assert_eq!(Message::from_json(text).unwrap_err().to_string(), reason);
    }
}

#[test]
fn text_that_no_string_holds_comes_back_as_it_was() {
    let text = r#"{"role":"user","content":"\ud800","cost":1e400,"name":null}"#;
    let message = Message::from_json(text).unwrap();
    assert_eq!(message.content, Content::Absent);
    assert_eq!(message.to_json().as_str(), text);
}

#[test]
fn an_empty_list_of_calls_is_told_from_none() {
    for calls in [json!([]), json!(null), json!([1]), json!({"a": 1})] {
        let record = json!({"role": "assistant", "tool_calls": calls});
        assert_eq!(read(&record).tool_calls, []);
        assert_comes_back(&record);
    }
}

#[test]
fn what_the_engine_adds_is_read_back() {
    let mut message = Message::assistant("Hi");
    message.response_id = Some("r".into());
    message.created_at_us = Some(-1);
    message.metrics = Some(Metrics { cost: Some(0.25), ..Metrics::tokens(1, 2) });
    assert_eq!(from_record(to_record(&message)).unwrap(), message);
    message.from_history = true;
    assert!(from_record(to_record(&message)).unwrap().from_history);
}

#[test]
fn metrics_of_another_kind_stay_as_they_are() {
    let record = json!({"role": "user", "metrics": {"input_tokens": 3, "speed": 2},
        "created_at_us": 1.5, "from_history": "yes", "created_at": 1_700_000_000});
    let message = read(&record);
    assert_eq!(message.metrics, None);
    assert!(!message.from_history);
    assert_comes_back(&record);
}

#[test]
fn of_two_members_with_one_name_the_last_counts() {
    for (first, last) in [("1", "\"a\""), ("\"a\"", "1"), ("\"a\"", "\"b\"")] {
        let field = |name: &str, value: &str| Field {
            name: name.into(),
            value: Json::parse(value).unwrap(),
        };
        let fields = [("role", "\"user\""), ("name", first), ("name", last)];
        let record = JsonObject(fields.map(|(name, value)| field(name, value)).into());
        let expected = record.to_json().to_value();
        let message = from_record(record).unwrap();
        assert_eq!(to_record(&message).to_json().to_value(), expected);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec!["", "text", "function", "a", "{}", "ü\n\"", "\u{0}"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let name = prop::sample::select(vec![
        "type",
        "text",
        "id",
        "function",
        "name",
        "arguments",
        "input_tokens",
        "cost",
        "x",
    ]);
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = prop::collection::vec((name.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| members.into_iter().collect::<Value>()),
        ]
    })
}

fn any_text_part() -> impl Strategy<Value = Value> {
    "[a-z ]{0,5}".prop_map(|text| json!({"type": "text", "text": text}))
}

fn any_call() -> impl Strategy<Value = Value> {
    let odd = (any_json(), any_json(), any_json());
    odd.prop_flat_map(|(id, name, arguments)| {
        let whole = json!({"id": "a", "type": "function",
            "function": {"name": "look", "arguments": "{}"}});
        let mut odd_id = whole.clone();
        odd_id["id"] = id;
        let mut odd_name = whole.clone();
        odd_name["function"]["name"] = name.clone();
        let mut odd_arguments = whole.clone();
        odd_arguments["function"]["arguments"] = arguments.clone();
        let inspect = json!({"id": "a", "function": "look", "arguments": arguments});
        let no_id = json!({"type": "function", "function": whole["function"]});
        prop::sample::select(vec![whole, odd_id, odd_name, odd_arguments, inspect, no_id, name])
    })
}

fn any_record() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "content",
        "tool_calls",
        "tool_call_id",
        "name",
        "reasoning_content",
        "response_id",
        "created_at_us",
        "created_at",
        "from_history",
        "metrics",
        "is_error",
        "",
    ]);
    let role = prop::sample::select(vec!["system", "user", "assistant", "tool", "", "x"]);
    let content = prop::collection::vec(prop_oneof![any_text_part(), any_json()], 0..3);
    let calls = prop::collection::vec(any_call(), 0..3);
    let odd = prop::collection::vec((names, any_json()), 0..8);
    (role, prop::option::of(content), prop::option::of(calls), odd).prop_map(
        |(role, content, calls, odd)| {
            let mut record: Value = odd.into_iter().collect();
            if let Some(content) = content {
                record["content"] = content.into();
            }
            if let Some(calls) = calls {
                record["tool_calls"] = calls.into();
            }
            record["role"] = role.into();
            record
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_record_comes_back(record in any_record()) {
        let object = JsonObject::parse(&record.to_string()).unwrap();
        let message = from_record(object).unwrap();
        prop_assert_eq!(to_record(&message).to_json().to_value(), record);
    }

    #[test]
    fn every_message_comes_back(
        text in any::<String>(), id in any::<String>(), name in any::<String>(),
    ) {
        let messages = [
            Message::user(text.clone()),
            Message::system(text.clone()),
            Message::tool(id.clone(), text.clone()),
            Message::assistant(text.clone())
                .with_call(id.clone(), name.clone(), text.clone())
                .with_call(name, id, "{}"),
            Message::new(Role::Assistant, Content::Null),
            Message::new(Role::Other("note".into()), Content::Absent),
            Message::new(Role::User, Content::Parts(vec![Part::Text(text)])),
        ];
        for message in messages {
            prop_assert_eq!(from_record(to_record(&message)).unwrap(), message);
        }
    }
}
