//! What is left of a value without its media.

use super::*;

/// What is left, and how many went.
fn left(name: Option<&str>, text: &str) -> Option<(Option<String>, u32)> {
    let (left, count) = drop_media(&json(text), name)?;
    Some((left.map(|json| json.as_str().to_owned()), count))
}

macro_rules! some {
    ($text:expr, $count:expr) => {
        Some((Some(String::from($text)), $count))
    };
}

const IMAGE: &str = r#"{"type": "image_url", "image_url": {"url": "https://a/b"}}"#;

#[test]
fn items_leave_with_one_comma_and_the_rest_stays_as_it_is() {
    let of = |text: &str| left(None, &text.replace('I', IMAGE));
    assert_eq!(of("[ I , 1 ]"), some!("[ 1 ]", 1));
    assert_eq!(of("[ 1 , I ]"), some!("[ 1  ]", 1));
    assert_eq!(of("[1, I,2 ,I , 3]"), some!("[1,2  , 3]", 2));
    assert_eq!(of("[I,I, I , 3, 4]"), some!("[3, 4]", 3));
    assert_eq!(of("[I, I]"), some!("[]", 2));
    assert_eq!(of(r#"{"a":I,"b" : 1.50}"#), some!(r#"{"b" : 1.50}"#, 1));
    assert_eq!(of(r#"{"b" : 1.50,"a":I }"#), some!(r#"{"b" : 1.50 }"#, 1));
    assert_eq!(
        of(r#"{"a": {"b":[I]} , "c":[I,{"d":I}]}"#),
        some!(r#"{"a": {"b":[]} , "c":[{}]}"#, 3)
    );
    assert_eq!(of("I"), Some((None, 1)));
}

#[test]
fn members_that_hold_media_go() {
    for gone in [
        r#"{"x":1,"images":[{"id":"1","url":"https://a"}]}"#,
        r#"{"x":1,"images":["https://a"]}"#,
        r#"{"x":1,"im\u0061ges":["https://a"]}"#,
        r#"{"x":1,"files":[{"filepath":"a"}]}"#,
        r#"{"x":1,"response_audio":{"content":"AAAA"}}"#,
    ] {
        assert_eq!(left(None, gone), some!(r#"{"x":1}"#, 1), "{gone}");
    }
    assert_eq!(left(Some("images"), r#"[{"url":"https://a"}]"#), Some((None, 1)));
    assert_eq!(left(Some("files"), r#"{"a":1}"#), Some((None, 1)));
}

#[test]
fn a_long_data_url_is_a_medium_wherever_it_stands() {
    let url = format!("data:image/png;base64,{}", base64(2_000));
    let text = |literal: &str| format!(r#"{{"a":"{literal}","b":["x", "{literal}"]}}"#);
    assert_eq!(left(None, &text(&url)), some!(r#"{"b":["x"]}"#, 2));
    assert_eq!(left(None, &text(&url.replace('/', "\\/"))), some!(r#"{"b":["x"]}"#, 2));
    assert_eq!(left(None, &format!("\"{url}\"")), Some((None, 1)));
    let media = MediaRef::of(b"abc", "image/png", MediaForm::DataUrl).unwrap();
    assert_eq!(left(None, &text(&media.to_string())), some!(r#"{"b":["x"]}"#, 2));
}

#[test]
fn what_is_no_medium_stays() {
    for text in [
        r#"{"type":"text","text":"image"}"#,
        r#"{"type":"tool_use","input":{"type":"file","files":[{"a":1}],"images":["a"]}}"#,
        r#"{"input":{"type":"file"},"type":"tool_use"}"#,
        r#"{"images":[],"audio":null,"files":["a.rs"],"videos":{},"image_output":"none"}"#,
        r#"{"url":"data:image/png;base64,AAAA"}"#,
        r#"["image", {"kind":"image"}]"#,
        "7",
        "\"https://a/b.png\"",
    ] {
        assert_eq!(left(None, text), None, "{text}");
    }
    assert_eq!(left(Some("images"), "null"), None);
    assert!(is_media_member("videos") && !is_media_member("content"));
}
