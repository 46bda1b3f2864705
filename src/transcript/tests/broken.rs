//! What cannot be read is named, and stops nothing else.

use proptest::prelude::*;

use super::agno::{AGNO, AGNO_ROWS};
use super::anthropic::{ANTHROPIC, ANTHROPIC_LINES};
use super::*;

#[test]
fn broken_records_are_named_with_their_lines() {
    let engine = engine();
    let report = import(&engine, "jsonl", OPENAI_LINES);
    let reasons = reasons(&report);
    let lines: Vec<_> = reasons.iter().map(|(line, _)| line.unwrap()).collect();
    assert_eq!(lines, [2, 2, 4, 5, 7, 8]);
    assert_eq!(reasons[0].1, "messages[1]: a message without a role");
    assert!(reasons[1].1.starts_with("messages[2]: not JSON: invalid type"), "{}", reasons[1].1);
    assert_eq!(reasons[2].1, "its messages are no list");
    assert!(reasons[3].1.starts_with("not JSON: "), "{}", reasons[3].1);
    assert!(!reasons[3].1.contains("line 1"), "{}", reasons[3].1);
    assert_eq!((report.recorded.sessions, report.recorded.messages), (3, 5));
    // The bare list is the fifth record of the file, the broken ones counted in.
    assert_eq!(exported(&engine, "jsonl-5", Format::OpenAi)[0]["messages"][0]["content"], "bare");
}

#[test]
fn broken_records_of_a_document_are_named_with_their_index() {
    let text = r#"[{"traj":[{"role":"user","content":"x"},{"content":"y"}]},{"task_id":1},7]"#;
    let report = import(&engine(), "t", text);
    let reasons = reasons(&report);
    assert_eq!(reasons[0], (None, "[0].traj[1]: a message without a role"));
    assert_eq!(reasons[1], (None, "[1]: no trial: no traj in it"));
    assert_eq!(reasons[2], (None, "[2]: no trial: no traj in it"));
    assert_eq!(report.recorded.messages, 1);
}

#[test]
fn broken_records_of_claude_code_are_named() {
    let broken = [
        r#"{"type":"user","sessionId":"s"}"#,
        r#"{"type":"assistant","message":{"content":"x"}}"#,
        r#"{"sessionId":"s"}"#,
        "[1]",
        r#"{"type":"user","mess"#,
    ];
    let text = format!("{CLAUDE_CODE}{}", broken.join("\r\n"));
    let engine = engine();
    let report = import(&engine, "any", &text);
    let reasons: Vec<_> = reasons(&report);
    assert_eq!(reasons[0], (Some(17), "a record without a message"));
    assert_eq!(reasons[1], (Some(18), "a message without a role"));
    assert_eq!(reasons[2], (Some(19), "a record without a type"));
    assert_eq!((reasons[3].0, reasons[4].0, reasons.len()), (Some(20), Some(21), 5));
    assert_eq!(report.recorded.sessions, 1);
}

#[test]
fn files_without_a_conversation_are_named_once() {
    let documents: [(&[u8], &str); 10] = [
        (b"", "empty file"),
        (b" \r\n\t", "empty file"),
        (b"\xef\xbb\xbf", "empty file"),
        (b"hello", "not JSON: expected value at column 1"),
        (
            b"[{\"role\":\"user\"},\n{\"role\":\"user\"}",
            "not JSON: EOF while parsing a list at line 2 column 15",
        ),
        (
            b"{\n\"messages\": [\n{\"role\":\"user\"}\n",
            "not JSON: EOF while parsing a list at line 4 column 0",
        ),
        (b"[]", "no conversation in it"),
        (b"3", "no conversation in it"),
        (b"{\"a\":1}\n{\"b\":2}", "no conversation in it"),
        (b"[\"\xff\"]", "not UTF-8: byte 3 is none of a character"),
    ];
    for (text, reason) in documents {
        let report = import_text(&engine(), "f", text, &ImportOptions::default()).unwrap();
        assert_eq!((report.files, reasons(&report)), (1, vec![(None, reason)]));
    }
}

#[test]
fn a_file_of_another_format_than_was_asked_for_has_no_conversation() {
    for (format, text) in [(Format::OpenAi, CLAUDE_CODE), (Format::TauBench, MESSAGE_LINES)] {
        let options = ImportOptions { format: Some(format), ..ImportOptions::default() };
        let report = import_text(&engine(), "f", text.as_bytes(), &options).unwrap();
        assert_eq!(report.found.sessions, 0);
        assert!(!report.skipped.is_empty());
    }
}

#[test]
fn a_byte_order_mark_and_other_line_ends_are_read_over() {
    let engine = engine();
    let text = format!("\u{feff}{}", MESSAGE_LINES.replace('\n', "\r\n"));
    let report = import(&engine, "count", &text);
    assert_eq!((report.recorded.messages, report.skipped.len()), (4, 0));
    assert_eq!(import(&engine, "count", MESSAGE_LINES).unchanged, 1);
}

#[test]
fn a_tear_within_a_character_costs_the_last_record_only() {
    let mut text = MESSAGE_LINES.as_bytes().to_vec();
    text.extend_from_slice(b"{\"role\":\"user\",\"content\":\"\xc3");
    let report = import_text(&engine(), "f", &text, &ImportOptions::default()).unwrap();
    assert_eq!(report.recorded.messages, 4);
    assert_eq!(report.skipped[0].line, Some(5));
}

#[test]
fn what_is_nested_too_deep_is_left_out() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let message = r#"{"role":"user","content":"x"}"#;
    let engine = engine();
    let report =
        import(&engine, "f", &format!(r#"[{message},{{"role":"user","content":{deep}}}]"#));
    assert_eq!(reasons(&report), [(None, "[1]: JSON nested deeper than 128")]);
    assert_eq!(report.recorded.messages, 1);
    let report = import(&engine, "g", &format!(r#"{{"messages":[{message}],"more":{deep}}}"#));
    assert_eq!(reasons(&report), [(None, "JSON nested deeper than 124")]);
    let record = r#"{"type":"user","sessionId":"s","message":{"role":"user","content":"x"}}"#;
    let report = import(&engine, "h", &format!("{record}\n{}", record.replace("\"x\"", &deep)));
    assert_eq!(reasons(&report), [(Some(2), "JSON nested deeper than 128")]);
}

#[test]
fn names_that_no_session_can_have_are_refused() {
    let message = r#"[{"role":"user","content":"x"}]"#;
    let long = "x".repeat(600);
    let text = format!(r#"[{{"id":"{long}","messages":{message}}},{{"id":"a\nb","messages":[]}}]"#);
    let report = import(&engine(), "f", &text);
    assert_eq!((report.recorded.sessions, report.skipped.len()), (0, 2));
    assert_eq!(
        report.skipped[0].reason,
        "session id: length in bytes of 600 is over the limit of 512"
    );
    assert_eq!(report.skipped[1].reason, r#"session id "a\nb" holds a control character"#);
    let text = format!(r#"{{"id":"ok","user":"{long}","messages":{message}}}"#);
    let report = import(&engine(), "f", &text);
    assert!(report.skipped[0].reason.contains("user id"), "{:?}", report.skipped);
}

#[test]
fn a_session_with_a_long_id_has_runs_with_other_ids() {
    let engine = engine();
    let id = "x".repeat(511);
    let text = format!(r#"{{"id":"{id}","messages":[{{"role":"user","content":"x"}}]}}"#);
    assert_eq!(import(&engine, "f", &text).recorded.runs, 1);
}

#[test]
fn too_many_broken_records_are_counted() {
    let text = format!("{MESSAGE_LINES}{}", "no\n".repeat(2_000));
    let report = import(&engine(), "f", &text);
    assert_eq!(report.skipped.len(), 1_001);
    assert_eq!(report.skipped[1_000].reason, "and 1000 more broken records");
}

#[test]
fn types_of_ignored_records_are_bounded() {
    let lines: Vec<_> =
        (0..1_000).map(|n| format!("{{\"type\":\"t{n}\",\"uuid\":\"u\"}}")).collect();
    let lines = lines.join("\n");
    let report = import(&engine(), "f", &format!("{CLAUDE_CODE}{lines}"));
    assert!(report.ignored.len() <= 257);
    assert_eq!(report.ignored.values().sum::<u64>(), 1_005);
}

/// Bytes that a careless or malicious writer might leave.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let mut fixtures = vec![OPENAI, OPENAI_LINES, MESSAGE_LINES, TAU_BENCH, CLAUDE_CODE];
    fixtures.extend([ANTHROPIC, ANTHROPIC_LINES, AGNO, AGNO_ROWS]);
    fixtures.extend([SWE_AGENT, INSPECT, OPENHANDS, OPENHANDS_EVENTS]);
    let cut = any::<prop::sample::Index>();
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (prop::sample::select(fixtures), changes, cut, any::<bool>()).prop_map(
        |(text, changes, cut, is_cut)| {
            let mut bytes = text.as_bytes().to_vec();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_is_in_a_file_is_read_or_named_and_read_once(
        bytes in damaged(),
        format in prop::option::of(prop::sample::select(Format::ALL.to_vec())),
    ) {
        let engine = engine();
        let options = ImportOptions { format, ..ImportOptions::default() };
        let first = import_text(&engine, "f", &bytes, &options).unwrap();
        prop_assert!(first.found.sessions > 0 || !first.skipped.is_empty());
        let again = import_text(&engine, "f", &bytes, &options).unwrap();
        prop_assert_eq!((again.found, again.recorded.messages), (first.found, 0));
        prop_assert!(engine.verify().unwrap().ok);
    }
}
