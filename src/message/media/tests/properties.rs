//! Properties of generated values, against a simple model of what is a medium.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};

use super::super::kinds::{is_ambiguous, is_arguments, is_call};
use super::super::literal;
use super::*;
use crate::json::Field;
use crate::limits;
use crate::message::{Content, Message, Part, Role};

/// A literal with its quotes.
fn any_literal() -> impl Strategy<Value = String> {
    let media_types = select(vec!["image/png", "a/b;c=d", "", "a b", "image/svg+xml"]);
    let len = prop_oneof![Just(1_022_usize), 1_020..1_030_usize, 0..3_000_usize];
    let digits = (len, 0..8_u8).prop_map(|(len, way)| {
        let digits = base64(len);
        match way {
            0 => digits.replace('=', ""),
            1 => digits.replace('/', "\\/"),
            2 => format!("{digits}\\n"),
            3 => digits.replacen('A', "-", 1),
            _ => digits,
        }
    });
    let text = (digits, media_types, 0..3_u8).prop_map(|(digits, media_type, way)| match way {
        0 => digits,
        1 => format!("data:{media_type};base64,{digits}"),
        _ => format!("data:{media_type};base64,{digits}").replace('/', "\\/"),
    });
    let word =
        select(vec!["", "x", "image", "tool_use", "png", "image/gif", "\\u00e9\\\"", "ü,]}"]);
    prop_oneof![2 => text, 1 => word.prop_map(str::to_owned)].prop_map(|text| format!("\"{text}\""))
}

fn any_name() -> impl Strategy<Value = &'static str> {
    select(vec![
        "images",
        "files",
        "audio",
        "input",
        "data",
        "media_type",
        "format",
        "x",
        "im\\u0061ges",
    ])
}

fn any_space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", " ", "\n\t"])
}

/// JSON text with media in it, of any shape and spacing.
fn any_json() -> impl Strategy<Value = Json> {
    let scalar = select(vec!["null", "true", "1.50", "-1e400", "{}", "[]"]).prop_map(str::to_owned);
    let leaf = prop_oneof![3 => any_literal(), 1 => scalar];
    let value = leaf.prop_recursive(4, 24, 4, |inner| {
        let list = (vec(inner.clone(), 0..4), any_space(), any_space());
        let list = list.prop_map(|(items, before, behind)| {
            format!("[{before}{}{behind}]", items.join(&format!("{behind},{before}")))
        });
        let types = select(vec!["image", "tool_use", "text", "document", "im\\u0061ge"]);
        let kind = (proptest::option::of(types), any::<bool>());
        let members = (vec((any_name(), inner), 0..4), kind, any_space(), any_space());
        let object = members.prop_map(|(mut members, (kind, is_first), before, behind)| {
            // Of two members of one name no reader is sure.
            members.sort_by_key(|(name, _)| name.replace("\\u0061", "a"));
            members.dedup_by_key(|(name, _)| name.replace("\\u0061", "a"));
            let mut items: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\"{before}:{behind}{value}"))
                .collect();
            if let Some(kind) = kind {
                let at = if is_first { 0 } else { items.len() };
                items.insert(at, format!("\"type\":{before}\"{kind}\""));
            }
            format!("{{{before}{}{behind}}}", items.join(&format!("{behind},{before}")))
        });
        prop_oneof![1 => list, 2 => object]
    });
    (value, any_space()).prop_map(|(text, space)| Json::of_valid(format!("{space}{text}{space}")))
}

fn any_member() -> impl Strategy<Value = Option<&'static str>> {
    proptest::option::of(select(vec!["images", "files", "audio_output", "content", "input"]))
}

/// What dropping leaves, said over values.
fn without_media(value: &Value, name: Option<&str>, in_call: bool) -> Option<Value> {
    if !in_call && holds_media(value, name) {
        return None;
    }
    match value {
        Value::String(text) => (!is_medium(text)).then(|| value.clone()),
        Value::Array(items) => {
            Some(items.iter().filter_map(|item| without_media(item, None, in_call)).collect())
        }
        Value::Object(members) => {
            let kind = members.get("type").and_then(Value::as_str).unwrap_or_default();
            let left = members.iter().filter_map(|(name, value)| {
                let in_call = in_call || (is_call(kind) && is_arguments(name));
                Some((name.clone(), without_media(value, Some(name), in_call)?))
            });
            Some(Value::Object(left.collect::<Map<_, _>>()))
        }
        _ => Some(value.clone()),
    }
}

fn holds_media(value: &Value, name: Option<&str>) -> bool {
    if value.get("type").and_then(Value::as_str).is_some_and(is_media_part) {
        return true;
    }
    let Some(name) = name.filter(|name| is_media_member(name)) else { return false };
    match value {
        Value::Array(items) if is_ambiguous(name) => has_objects(value) && !items.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::String(text) => is_long(text) || literal::reference(text).is_some(),
        _ => false,
    }
}

/// Said of the text itself, which has no escapes any more.
fn is_medium(text: &str) -> bool {
    (is_long(text) && literal::data_url(text).is_some()) || literal::reference(text).is_some()
}

fn is_long(text: &str) -> bool {
    text.len() > limits::BLOB_BYTES_MIN
}

fn has_objects(value: &Value) -> bool {
    value.is_object() || value.as_array().is_some_and(|items| items.iter().any(has_objects))
}

fn message(parts: Vec<Json>, extra: Vec<(&str, Json)>) -> Message {
    let parts = parts.into_iter().map(Part::Json).collect();
    let mut message = Message::new(Role::User, Content::Parts(parts));
    let field = |(name, value): (&str, Json)| Field { name: name.to_owned(), value };
    message.extra = extra.into_iter().map(field).collect();
    message
}

/// Without numbers that no value holds.
fn value(json: &Json) -> Value {
    serde_json::from_str(&json.as_str().replace("-1e400", "-1e40")).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn what_is_detached_is_attached_again_byte_for_byte(json in any_json(), name in any_member()) {
        let mut blobs = Blobs::default();
        let detached = blobs.detach(&json, name);
        prop_assert_eq!(references_in(&detached), &blobs.1[..]);
        prop_assert!(detached.as_str().len() <= json.as_str().len());
        prop_assert!(Json::parse(detached.as_str()).is_ok());
        let again = detach_json(&detached, name, &mut |_, _| Ok(())).unwrap();
        prop_assert_eq!(again, None);
        prop_assert_eq!(&blobs.attach(&detached), &json);
        let mut out = Vec::new();
        write_attached(detached.as_str(), &mut |media| blobs.open(media), &mut out).unwrap();
        prop_assert!(out == json.as_str().as_bytes());
    }

    #[test]
    fn every_medium_of_a_message_comes_back(
        parts in vec(any_json(), 0..3),
        extra in vec((select(vec!["images", "audio", "files", "x"]), any_json()), 0..3),
    ) {
        let message = message(parts, extra);
        let mut blobs = Blobs::default();
        let detached =
            detach(message.clone(), &mut |media, bytes| blobs.put(media, bytes)).unwrap();
        prop_assert_eq!(references(&detached), &blobs.1[..]);
        let again = detach(detached.clone(), &mut |_, _| panic!("it has been")).unwrap();
        prop_assert_eq!(&again, &detached);
        let attached = attach(detached, &mut |media| blobs.get(media)).unwrap();
        prop_assert_eq!(attached, message);
    }

    #[test]
    fn dropping_leaves_what_the_model_says(json in any_json(), name in any_member()) {
        let whole = value(&json);
        let expected = without_media(&whole, name, false);
        match drop_media(&json, name) {
            None => prop_assert_eq!(expected, Some(whole)),
            Some((left, count)) => {
                prop_assert!(count > 0);
                prop_assert_eq!(left.as_ref().map(value), expected);
                if let Some(left) = left {
                    prop_assert_eq!(drop_media(&left, name), None);
                }
            }
        }
    }

    #[test]
    fn dropping_before_and_after_detaching_is_the_same(json in any_json(), name in any_member()) {
        let detached = Blobs::default().detach(&json, name);
        let dropped = drop_media(&json, name);
        if dropped.is_none() {
            prop_assert_eq!(&detached, &json);
        }
        prop_assert_eq!(drop_media(&detached, name), dropped);
    }

    #[test]
    fn no_text_makes_anything_panic(
        text in "([\\[\\]{},:\"\\\\ e1ü]|\"type\":\"image\"|\"images\":){0,40}",
    ) {
        let json = Json::of_valid(text.clone());
        for name in [None, Some("images")] {
            drop(drop_media(&json, name));
            drop(detach_json(&json, name, &mut |_, _| Ok(())));
        }
        drop(references_in(&json));
        let mut out = Vec::new();
        write_attached(&text, &mut |_| Err(Error::not_found("blob")), &mut out).unwrap();
        prop_assert_eq!(out, text.into_bytes());
    }
}
