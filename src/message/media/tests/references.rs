//! References: their one text, and what they are written back as.

use proptest::prelude::*;

use super::*;

#[test]
fn a_reference_has_one_text_and_no_other_is_read_as_it() {
    let media = MediaRef::of(b"abc", "image/svg+xml", MediaForm::DataUrl).unwrap();
    let text = media.to_string();
    let digest = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
    assert_eq!(text, format!("sessionlog:blob/{digest}/3/data-url/image/svg+xml"));
    assert_eq!(text.parse::<MediaRef>().unwrap(), media);
    for wrong in [
        text.replace(digest, &digest.to_uppercase()),
        text.replace("/3/", "/03/"),
        text.replace("/3/", "/+3/"),
        text.replace("/3/", "//"),
        text.replace("/3/", "/99999999999999999999/"),
        text.replace("data-url", "url"),
        text.replace("image/svg+xml", ""),
        text.replace("svg", "s\"g"),
        text.replace("svg", "s g"),
        format!(" {text}"),
        format!("{text}\n"),
        text + &"x".repeat(128),
    ] {
        assert!(wrong.parse::<MediaRef>().is_err(), "{wrong}");
    }
    assert!(MediaRef::of(b"", "", MediaForm::Base64).is_err());
    assert!(MediaRef::of(b"", "a\\b", MediaForm::Base64).is_err());
}

#[test]
fn bytes_that_are_not_those_of_the_reference_are_an_error() {
    let media = MediaRef::of(b"abc", "image/png", MediaForm::Base64).unwrap();
    let text = json(&format!("[\"{media}\"]"));
    for wrong in ["abd", "ab", "abcd", ""] {
        let got = attach_json(&text, &mut |_| Ok(wrong.into()));
        assert!(got.unwrap_err().is_corrupt(), "{wrong}");
    }
    let got = attach_json(&text, &mut |_| Ok(b"abc".to_vec())).unwrap();
    assert_eq!(got.unwrap().as_str(), "[\"YWJj\"]");
    let gone = attach_json(&text, &mut |_| Err(Error::not_found("blob")));
    assert_eq!(gone.unwrap_err().to_string(), "no such blob");
}

#[test]
fn few_references_to_a_large_blob_do_not_fill_the_memory() {
    let large = MediaRef::new([0; 32], 30 << 20, "image/png", MediaForm::Base64).unwrap();
    let text = json(&format!("[{}]", vec![format!("\"{large}\""); 10].join(",")));
    let told = attach_json(&text, &mut |_| panic!("nothing is to be read")).unwrap_err();
    assert!(told.to_string().contains("over the limit"), "{told}");
}

#[test]
fn an_escaped_reference_is_one_too() {
    let media = MediaRef::of(b"abc", "image/png", MediaForm::Base64).unwrap();
    let escaped = media.to_string().replace('/', "\\/").replacen('s', "\\u0073", 1);
    let text = json(&format!("{{\"{media}\": [\"{escaped}\", \"x{media}\"]}}"));
    assert_eq!(references_in(&text), [media]);
}

#[test]
fn a_medium_is_written_in_steps_without_padding_between() {
    for len in [0, 1, 48 * 1024 - 1, 48 * 1024, 48 * 1024 + 1, 200_000] {
        let digits = base64(len);
        let bytes = BASE64_STANDARD.decode(&digits).unwrap();
        let media = MediaRef::of(&bytes, "video/mp4", MediaForm::DataUrl).unwrap();
        let text = format!("{{\"a\": \"{media}\" , \"b\":1}}");
        let mut out = Vec::new();
        // A reader that gives a little at a time.
        let mut open = |_: &MediaRef| -> Result<Box<dyn Read + Send>> {
            let (front, back) = bytes.split_at(bytes.len() / 3);
            Ok(Box::new(Cursor::new(front.to_vec()).chain(Cursor::new(back.to_vec()))))
        };
        write_attached(&text, &mut open, &mut out).unwrap();
        let expected = format!("{{\"a\": \"data:video/mp4;base64,{digits}\" , \"b\":1}}");
        assert!(String::from_utf8(out).unwrap() == expected, "{len}");
    }
}

proptest! {
    #[test]
    fn whatever_reads_as_a_reference_is_its_text(
        text in "sessionlog:blob/[0-9a-f]{64}/[0-9]{1,3}/(base64|data-url|url)/[a-z/+ ]{0,9}",
    ) {
        if let Ok(media) = text.parse::<MediaRef>() {
            prop_assert_eq!(media.to_string(), text);
        }
    }
}
