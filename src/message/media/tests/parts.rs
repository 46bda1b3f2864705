//! Media in the shapes that providers and frameworks give them.

use std::path::Path;

use serde_json::json;

use super::*;
use crate::json::Field;
use crate::message::{Content, Message, Part, Role, check_anthropic, check_openai};
use crate::message::{to_anthropic, to_openai};

/// Detaches one value and says which media were found in it.
fn found(name: Option<&str>, value: serde_json::Value) -> Vec<String> {
    let (mut blobs, value) = (Blobs::default(), Json::from(value));
    let detached = blobs.detach(&value, name);
    assert_eq!(blobs.attach(&detached), value);
    assert_eq!(references_in(&detached), blobs.1);
    let form = |media: &MediaRef| if media.form() == MediaForm::DataUrl { "url " } else { "" };
    blobs.1.iter().map(|media| format!("{}{}", form(media), media.media_type())).collect()
}

#[test]
fn media_are_found_in_every_known_shape() {
    let data = base64(1_024);
    let url = |media_type: &str| format!("data:{media_type};base64,{data}");
    let source = json!({"type": "base64", "media_type": "image/png", "data": data});
    let image = json!({"type": "image", "source": source});
    for (value, expected) in [
        (json!({"type": "image_url", "image_url": {"url": url("image/png")}}), "url image/png"),
        (json!({"type": "image_url", "image_url": url("image/gif")}), "url image/gif"),
        (json!({"type": "input_image", "image_url": url("image/gif")}), "url image/gif"),
        (json!({"type": "image", "image": url("image/png")}), "url image/png"),
        (image.clone(), "image/png"),
        (
            json!({"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}}),
            "audio/mpeg",
        ),
        (
            json!({"type": "file", "file": {"filename": "a", "file_data": url("application/pdf")}}),
            "url application/pdf",
        ),
        (
            json!({"source": {"data": data, "media_type": "application/pdf"}, "type": "document"}),
            "application/pdf",
        ),
        (json!({"type": "tool_result", "content": [{"type": "text"}, image]}), "image/png"),
        (json!({"type": "image", "data": data}), "application/octet-stream"),
        (json!({"x": [url("a/b;charset=utf-8")]}), "url a/b;charset=utf-8"),
    ] {
        assert_eq!(found(None, value.clone()), [expected], "{value}");
    }
    for (name, value, expected) in [
        ("images", json!([{"id": "1", "content": data, "mime_type": "image/webp"}]), "image/webp"),
        ("images", json!([data]), "application/octet-stream"),
        ("audio", json!({"id": "1", "data": data, "format": "wav"}), "audio/wav"),
        ("image_output", json!({"content": data, "format": "PNG"}), "image/png"),
        ("files", json!([{"content": data, "filename": "a"}]), "application/octet-stream"),
        ("response_audio", json!(data), "application/octet-stream"),
        ("provider_data", json!({"images": [{"content": data}]}), "application/octet-stream"),
    ] {
        assert_eq!(found(Some(name), value.clone()), [expected], "{name}: {value}");
    }
}

#[test]
fn what_is_no_medium_or_not_canonical_stays_inline() {
    let data = base64(1_024);
    let url = format!("data:image/png;base64,{data}");
    let image = |data: &str| json!({"type": "image", "source": {"data": data}});
    for (name, value) in [
        (None, json!({"type": "thinking", "thinking": "", "signature": data})),
        (None, json!({"type": "redacted_thinking", "data": data})),
        (None, json!({"type": "tool_use", "input": {"type": "image", "data": data}})),
        (None, json!({"type": "tool_use", "input": {"images": [{"content": data}]}})),
        (None, json!({"type": "text", "text": format!("{url} ")})),
        (None, json!({"x": "data:image png;base64,".to_owned() + &data})),
        (None, image(&base64(1_023))),
        (None, image(&data.replace('=', ""))),
        (None, image(&data.replacen('A', "-", 1).replacen('B', "_", 1))),
        (None, image(&format!("{data}\n"))),
        (None, image("https://example.org/a.png")),
        (Some("files"), json!([data])),
        (Some("metadata"), json!({"key": data})),
    ] {
        assert!(found(name, value.clone()).is_empty(), "{value}");
    }
    // The same digits with other bits where none should be.
    let sloppy = base64(1_024).replace("==", "").split_at(1_364).0.to_owned() + "AAB=";
    assert!(found(None, image(&sloppy)).is_empty());
    let escaped = json!({"type": "image", "image": url}).to_string().replace('/', "\\/");
    assert!(detach_json(&super::json(&escaped), None, &mut |_, _| panic!()).unwrap().is_none());
}

#[test]
fn only_parts_and_extra_members_of_a_message_are_looked_at() {
    let url = format!("data:image/png;base64,{}", base64(2_000));
    let media = MediaRef::of(b"abc", "image/png", MediaForm::DataUrl).unwrap();
    let mut message = Message::user(url.clone())
        .with_part(Part::Text(media.to_string()))
        .with_part(media.to_part())
        .with_part(Part::Json(Json::from(json!({"type": "image", "image": url}))));
    message.reasoning = Some(media.to_string());
    message.extra.push(Field { name: "images".into(), value: Json::from(json!([{"a": url}])) });
    assert_eq!(references(&message), std::slice::from_ref(&media));
    let mut blobs = Blobs::default();
    let detached = detach(message.clone(), &mut |media, bytes| blobs.put(media, bytes)).unwrap();
    assert_eq!((blobs.0.len(), blobs.1.len()), (1, 2));
    assert_eq!(references(&detached).len(), 3);
    let Content::Parts(parts) = &detached.content else { panic!() };
    assert_eq!(parts[0], Part::Text(url));
    let again = detach(detached.clone(), &mut |_, _| panic!("it has been")).unwrap();
    assert_eq!(again, detached);
    blobs.put(&media, b"abc").unwrap();
    let attached = attach(detached, &mut |media| blobs.get(media)).unwrap();
    let shown = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,YWJj"}});
    let Content::Parts(parts) = &mut message.content else { panic!() };
    parts[2] = Part::Json(Json::from(shown));
    assert_eq!(attached, message);
}

#[test]
fn a_medium_that_cannot_be_stored_is_an_error() {
    let value = json!({"type": "image", "data": base64(3_000)});
    let refuse = |_: &MediaRef, _: &[u8]| Err(Error::invalid("the disk is full"));
    let told = detach_json(&Json::from(value), None, &mut { refuse }).unwrap_err();
    assert_eq!(told.to_string(), "the disk is full");
}

#[test]
fn a_detached_image_is_an_image_to_both_providers() {
    let data = base64(1_500);
    let url = |media_type: &str| format!("data:{media_type};base64,{data}");
    let source = |media_type: &str, data: &str| json!({"type": "base64", "media_type": media_type, "data": data});
    let parts = [
        json!({"type": "image_url", "image_url": {"url": url("image/png"), "detail": "low"}}),
        json!({"type": "image", "source": source("image/jpg", &data)}),
        json!({"type": "image", "image": url("image/jpg")}),
        json!({"type": "image", "image": url("image/tiff")}),
        json!({"type": "image", "source": source("image/png", &url("image/png"))}),
        json!({"type": "image_url", "image_url": {"url": data}}),
    ];
    let parts: Vec<Part> = parts.into_iter().map(|part| Part::Json(Json::from(part))).collect();
    let mut result = Message::new(Role::Tool, Content::Parts(parts.clone()));
    result.tool_call_id = Some("a".into());
    let said = Message::new(Role::User, Content::Parts(parts));
    let whole = [said, Message::assistant("").with_call("a", "look", "{}"), result];
    let mut blobs = Blobs::default();
    let detached = whole
        .clone()
        .map(|message| detach(message, &mut |media, bytes| blobs.put(media, bytes)).unwrap());
    assert_eq!((blobs.0.len(), blobs.1.len()), (1, 12));

    let (openai, anthropic) = (to_openai(&detached), to_anthropic(&detached));
    assert_eq!(check_openai(&openai), Ok(()));
    assert_eq!(check_anthropic(&anthropic), Ok(()));
    let attached = |rendered: Vec<serde_json::Value>| {
        let rendered = Json::from(serde_json::Value::from(rendered));
        assert!(references_in(&rendered).len() >= 3);
        blobs.attach(&rendered).to_value()
    };
    assert_eq!(attached(openai), serde_json::Value::from(to_openai(&whole)));
    assert_eq!(
        attached(anthropic.messages),
        serde_json::Value::from(to_anthropic(&whole).messages)
    );
}

#[test]
fn a_reference_in_the_wrong_place_is_no_image() {
    let media = MediaRef::of(b"abc", "image/png", MediaForm::Base64).unwrap();
    let url = media.clone().with_form(MediaForm::DataUrl);
    let shown = |url: &MediaRef| {
        let part = json!({"type": "image_url", "image_url": {"url": url.to_string()}});
        json!({"role": "user", "content": [part]})
    };
    assert_eq!(check_openai(&[shown(&url)]), Ok(()));
    check_openai(&[shown(&media)]).unwrap_err();
    check_openai(&[shown(&url.clone().with_media_type("audio/wav"))]).unwrap_err();
    let given = |data: &MediaRef| {
        let source = json!({"type": "base64", "media_type": "image/png", "data": data.to_string()});
        let message = json!({"role": "user", "content": [{"type": "image", "source": source}]});
        crate::message::Anthropic { system: None, messages: vec![message] }
    };
    assert_eq!(check_anthropic(&given(&media)), Ok(()));
    check_anthropic(&given(&url)).unwrap_err();
}

#[test]
fn what_a_user_hands_in_becomes_a_part() {
    let part = |media_type: &str| {
        let media = MediaRef::of(b"abc", media_type, MediaForm::Base64).unwrap();
        let Part::Json(json) = media.to_part() else { panic!() };
        let same = |found: &MediaRef| found.clone().with_form(MediaForm::Base64) == media;
        assert!(references_in(&json).iter().all(same));
        assert!(is_media_part(&media.to_part().kind()));
        json.to_value()
    };
    assert!(part("image/png")["image_url"]["url"].as_str().unwrap().contains("data-url"));
    assert_eq!(part("audio/mpeg")["input_audio"]["format"], "mp3");
    assert_eq!(part("application/pdf")["type"], "file");
    for (url, kind) in [
        ("https://a/b.png", "image_url"),
        ("https://a/b", "image_url"),
        ("https://a/b.MP4?x=.pdf#y", "video_url"),
        ("https://a/b.wav", "audio_url"),
        ("https://a/b.pdf", "document"),
    ] {
        assert_eq!(url_part(url).kind(), kind, "{url}");
        assert!(is_media_part(kind));
    }
    let bytes = Media::bytes("image/png", b"abc".to_vec());
    assert_eq!(Media::base64("image/png", "YW\nJj ").unwrap(), bytes);
    assert_eq!(Media::data_url("data:image/png;base64,YWJj").unwrap(), bytes);
    Media::base64("image/png", "YW!").unwrap_err();
    Media::data_url("data:,YWJj").unwrap_err();
    assert_eq!(Media::path("a.png").0, Source::Path("a.png".into()));
    assert_eq!(Media::url("https://a").0, Source::Url("https://a".into()));
}

#[test]
fn the_first_bytes_of_an_image_count_more_than_its_name() {
    let path = Path::new("a/b.JPG");
    for (head, expected) in [
        (b"\x89PNG\r\n\x1a\n\0\0\0\0".as_slice(), "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\x01\x02\x03\x04WEBPVP8", "image/webp"),
        (b"RIFF\x01\x02\x03\x04WAVE", "image/jpeg"),
        (b"", "image/jpeg"),
    ] {
        assert_eq!(media_type_of(path, head), expected);
    }
    assert_eq!(media_type_of(Path::new("a.pdf"), b"%PDF"), "application/pdf");
    assert_eq!(media_type_of(Path::new("a"), b"x"), "application/octet-stream");
}

#[test]
fn a_part_goes_behind_what_a_message_says() {
    let part = Part::Text("b".into());
    let whole = Message::user("a").with_part(part.clone());
    assert_eq!(whole.content, Content::Parts(vec![Part::Text("a".into()), part.clone()]));
    for empty in [Content::Absent, Content::Null, Content::Text(String::new())] {
        let message = Message::new(Role::User, empty).with_part(part.clone());
        assert_eq!(message.content, Content::Parts(vec![part.clone()]));
    }
}
