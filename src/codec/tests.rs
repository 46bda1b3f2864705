//! The format: its tables, its golden bytes, and what may change in a frame.
#![expect(clippy::too_many_lines, reason = "one body of every kind is a long list")]

use std::path::PathBuf;

use serde_json::json;

use super::frame::{FRAME_FIELDS, HEADER_BYTES, HEADER_FIELDS};
use super::*;
use crate::event::*;
use crate::id::{Digest, EventId};
use crate::json::{Field, Json};
use crate::message::{Content, Message, Metrics, Omitted, Part, Role};

fn header(body: &EncodedBody, salt: &[u8; 16]) -> Header {
    Header {
        kind: body.kind as u16,
        schema_version: body.schema_version,
        flags: 0,
        commit_index: 1,
        commit_len: 3,
        body_len: u32::try_from(body.bytes.len()).unwrap(),
        seq: 42,
        recorded_at_us: 1_700_000_000_123_456,
        log_id: [7; 16],
        session: Digest::of_session("golden"),
        event_id: EventId::derive(&[b"golden", body.kind.as_str().as_bytes()]),
        run: Digest::of_run("run"),
        actor: Digest::of_user("alice"),
        previous: Link([9; 32]),
        commitment: Commitment::to(salt, &body.bytes),
    }
}

const SALT: [u8; 16] = *b"0123456789abcdef";

fn frame_bytes(body: &EventBody) -> Vec<u8> {
    let encoded = EncodedBody::encode(body).unwrap();
    Frame::new(header(&encoded, &SALT), 77, SALT, &encoded.bytes).to_bytes()
}

fn open(bytes: &[u8]) -> crate::Result<Event> {
    decode(&Frame::open(bytes, Digest::of_session("golden"), 42)?)
}

#[expect(clippy::unnecessary_wraps, reason = "a field in use")]
fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn a_message() -> Message {
    let mut message = Message::assistant("").with_call("call_1", "weather", r#"{"city":"Oslo"}"#);
    message.content = Content::Parts(vec![
        Part::Text("Let me look.".into()),
        Part::Json(
            json!({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}).into(),
        ),
    ]);
    message.reasoning = text("It asks for the weather.");
    message.response_id = text("resp_1");
    message.created_at_us = Some(1_700_000_000_000_000);
    message.metrics = Some(Metrics { cost: Some(0.25), ..Metrics::tokens(10, 5) });
    message.omitted = Omitted { media: 2, ..Omitted::default() };
    message.extra.push(Field { name: "refusal".into(), value: Json::parse("null").unwrap() });
    message
}

fn a_policy() -> Policy {
    Policy::new()
        .store_media(false)
        .store_tool_messages(true)
        .keep_runs(KeepRuns::Last { runs: 9, older: OlderRuns::Dropped })
}

/// One body of every kind, with every field in use.
fn bodies() -> Vec<EventBody> {
    let ops = vec![
        StateOp::Set { path: vec!["a".into(), "b".into()], value: json!([1, 2.5]).into() },
        StateOp::Remove { path: vec!["c".into()] },
        StateOp::Merge { path: vec![], value: json!({"d": {"e": null}}).into() },
    ];
    vec![
        Created {
            session_id: "golden".into(),
            session_type: SessionType::Team,
            user_id: text("alice"),
            agent_id: text("agent"),
            team_id: text("team"),
            workflow_id: text("flow"),
            component_data: Some(json!({"name": "Team"}).into()),
            metadata: Some(json!({"ticket": 7}).into()),
            state: Some(json!({"n": 0}).into()),
        }
        .into(),
        Renamed { name: text("A name"), is_generated: true }.into(),
        MetadataChanged { ops: ops.clone() }.into(),
        OwnerChanged { user_id: text("bob") }.into(),
        Deleted { is_erased: false, authority: text("asked to"), owner: Some([8; 16]) }.into(),
        ForkedFrom {
            session_id: "child".into(),
            user_id: Some("alice".into()),
            parent_session_id: "parent".into(),
            seq: 7,
            link: [1; 32],
        }
        .into(),
        RewoundTo {
            seq: 5,
            link: [3; 32],
            user_id: Some("alice".into()),
            left_behind: Some(Metrics::tokens(9, 4)),
        }
        .into(),
        ImportedFrom {
            format: "openai".into(),
            source: "a.json".into(),
            data: Some(json!({"id": 1}).into()),
            first_record: 3,
        }
        .into(),
        RunStarted {
            run_id: "run".into(),
            parent_run_id: text("parent"),
            agent_id: text("agent"),
            team_id: text("team"),
            model: text("m-1"),
            model_provider: text("p"),
            input: Some(json!("hello").into()),
            extra: vec![Field { name: "workflow_step_id".into(), value: json!("s").into() }],
            reduced: Some(OlderRuns::Reduced),
        }
        .into(),
        MessageAdded { message: a_message() }.into(),
        ToolExecuted {
            tool_call_id: text("call_1"),
            tool_name: "weather".into(),
            tool_args: Some(json!({"city": "Oslo"}).into()),
            result: text("4 degrees"),
            tool_call_error: true,
            duration_us: Some(1_234),
            child_run_id: text("child"),
        }
        .into(),
        RunPaused { reason: text("confirm") }.into(),
        RunResumed { run_id: "run".into(), counted: Some(Metrics::tokens(1, 2)) }.into(),
        RunFinished {
            status: RunStatus::Error,
            metrics: Some(Metrics::tokens(3, 4)),
            reason: text("500"),
        }
        .into(),
        StateChanged { ops }.into(),
        SummaryWritten {
            summary: "They talked.".into(),
            topics: vec!["tea".into()],
            first_seq: 1,
            last_seq: 9,
            model: text("m-1"),
            metrics: Some(Metrics::tokens(5, 6)),
        }
        .into(),
        SummaryWithdrawn { seq: 8 }.into(),
        PolicySet { policy: a_policy() }.into(),
        Compacted {
            policy: a_policy(),
            removed: vec![
                Removed { seq: 3, replacement: Some([2; 32]) },
                Removed { seq: 4, replacement: None },
            ],
        }
        .into(),
        Erased {
            target: ErasureTarget::Run { run: [6; 16] },
            removed: vec![Removed { seq: 1, replacement: None }],
            derived: vec![1],
            blobs: vec![[7; 32]],
            authority: text("art. 17"),
        }
        .into(),
        ContextRecorded {
            rules: 1,
            format: PromptFormat::Anthropic,
            system_seq: Some(1),
            instructions: Some(Instructions::Earlier { seq: 2 }),
            summary_seq: Some(3),
            memories: vec![MemoryRef { memory_id: "m".into(), seq: 4 }],
            state_seq: Some(5),
            opening_seq: Some(6),
            history_seqs: vec![SeqSpan { first: 7, last: 8 }],
            run_seqs: vec![SeqSpan { first: 10, last: 10 }],
            max_tool_calls: Some(2),
            policy_seq: Some(9),
            tokens: 300,
            counter: "o200k".into(),
            prompt_digest: Some([5; 32]),
        }
        .into(),
        MemoryUpserted {
            memory_id: "m".into(),
            memory: "Likes tea.".into(),
            topics: vec!["tea".into()],
            input: text("I like tea"),
            agent_id: text("helper"),
            source: Some(MemorySource { session_id: "golden".into(), seq: 7 }),
            source_stream: Digest::of_session("golden").to_bytes(),
        }
        .into(),
        MemoryDeleted { memory_id: "m".into() }.into(),
        NothingLearned { source_stream: Digest::of_session("golden").to_bytes(), seq: 7 }.into(),
        Custom { kind: "app.click".into(), data: json!({"x": 1}).into() }.into(),
    ]
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1").join(name)
}

fn to_hex(bytes: &[u8]) -> String {
    let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chunks(32).map(<[String]>::concat).collect::<Vec<_>>().join("\n") + "\n"
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The bytes of every kind of event, as first released. A file that is missing is written when
/// `SESSIONLOG_BLESS` is set; one that is there is never changed.
#[test]
fn golden_frames_of_every_kind_open_and_are_still_written() {
    let bodies = bodies();
    let kinds: Vec<_> = bodies.iter().map(EventBody::kind).collect();
    assert_eq!(kinds, EventKind::ALL, "every kind has a golden frame");
    for body in bodies {
        let path = golden(&format!("{}.hex", body.kind()));
        if !path.exists() && std::env::var_os("SESSIONLOG_BLESS").is_some() {
            std::fs::write(&path, to_hex(&frame_bytes(&body))).unwrap();
        }
        let stored = from_hex(&std::fs::read_to_string(&path).unwrap());
        let event = open(&stored).unwrap();
        assert_eq!(event.body, body, "{} reads otherwise", path.display());
        assert_eq!((event.seq, event.position, event.commit_index), (42, 77, 1));
        assert!(frame_bytes(&body) == stored, "{} is written otherwise", path.display());
    }
}

#[test]
fn the_tables_of_the_format_document_are_those_of_the_code() {
    let document = include_str!("../../docs/FORMAT.md");
    for (title, fields) in [("### The header", HEADER_FIELDS), ("### The frame", FRAME_FIELDS)] {
        let section = document.split(title).nth(1).unwrap().split("\n##").next().unwrap();
        let rows = section.lines().filter_map(|line| {
            let mut cells = line.trim_matches('|').split('|').map(str::trim);
            let from: usize = cells.next()?.parse().ok()?;
            let bytes = cells.next()?.parse().unwrap_or(0);
            Some((cells.next()?.to_owned(), from, bytes))
        });
        let mut rows: Vec<_> = rows.collect();
        rows.retain(|(name, ..)| name != "body");
        let wanted: Vec<_> =
            fields.iter().map(|(name, from, bytes)| ((*name).to_owned(), *from, *bytes)).collect();
        assert_eq!(rows, wanted, "{title}");
    }
    for kind in EventKind::ALL {
        let row = format!("| {} | `{kind}` |", *kind as u16);
        assert!(document.contains(&row), "{row} is missing");
    }
}

#[test]
fn every_field_lies_where_the_table_says() {
    let encoded = EncodedBody::encode(&bodies()[0]).unwrap();
    let base = header(&encoded, &SALT);
    let bytes = base.to_bytes();
    assert_eq!(bytes.len(), HEADER_BYTES);
    let (last, from, len) = HEADER_FIELDS.last().unwrap();
    assert_eq!((*last, from + len), ("body commitment", HEADER_BYTES));
    let changed: Vec<(&str, Header)> = vec![
        ("kind", Header { kind: 300, ..base.clone() }),
        ("schema version", Header { schema_version: 300, ..base.clone() }),
        ("flags", Header { flags: 300, ..base.clone() }),
        ("commit index", Header { commit_index: 300, ..base.clone() }),
        ("commit length", Header { commit_len: 300, ..base.clone() }),
        ("body length", Header { body_len: 30_000, ..base.clone() }),
        ("seq", Header { seq: 300, ..base.clone() }),
        ("recorded at", Header { recorded_at_us: 300, ..base.clone() }),
        ("log id", Header { log_id: [0; 16], ..base.clone() }),
        ("session", Header { session: Digest::NONE, ..base.clone() }),
        ("event id", Header { event_id: EventId::from_bytes([0; 16]), ..base.clone() }),
        ("run", Header { run: Digest::NONE, ..base.clone() }),
        ("actor", Header { actor: Digest::NONE, ..base.clone() }),
        ("previous link", Header { previous: Link::START, ..base.clone() }),
        ("body commitment", Header { commitment: Commitment([0; 32]), ..base.clone() }),
    ];
    for (name, header) in changed {
        let other = header.to_bytes();
        let (_, from, len) = HEADER_FIELDS.iter().find(|(field, ..)| *field == name).unwrap();
        let differs: Vec<_> = (0..HEADER_BYTES).filter(|at| bytes[*at] != other[*at]).collect();
        assert!(
            !differs.is_empty() && differs.iter().all(|at| (*from..from + len).contains(at)),
            "{name}"
        );
        assert_ne!(Link::of_header(&bytes), Link::of_header(&other), "{name} is not in the link");
        assert_eq!(Header::parse(&other).unwrap(), header, "{name}");
    }
}

#[test]
fn a_flipped_bit_or_a_cut_anywhere_in_a_frame_is_an_error() {
    let bytes = frame_bytes(&MessageAdded { message: a_message() }.into());
    assert!(open(&bytes).is_ok());
    for at in 0..bytes.len() {
        assert!(open(&bytes[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&changed).is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn a_body_can_be_replaced_without_breaking_the_chain() {
    let encoded = EncodedBody::encode(&MessageAdded { message: a_message() }.into()).unwrap();
    let bytes = Frame::new(header(&encoded, &SALT), 77, SALT, &encoded.bytes).to_bytes();
    let frame = Frame::open(&bytes, Digest::of_session("golden"), 42).unwrap();
    let link = frame.link;
    let short = EncodedBody::encode(
        &MessageAdded { message: Message::new(Role::Assistant, Content::Null) }.into(),
    )
    .unwrap();
    let replaced = frame.with_body([3; 16], &short).unwrap().to_bytes();
    let replaced = Frame::open(&replaced, Digest::of_session("golden"), 42).unwrap();
    assert_eq!((replaced.link, replaced.form), (link, BodyForm::Replaced));
    assert_eq!(replaced.present_commitment(), Commitment::to(&[3; 16], &short.bytes));
    let EventBody::MessageAdded(added) = decode(&replaced).unwrap().body else { panic!() };
    assert_eq!(added.message.content, Content::Null);
}

#[test]
fn a_short_body_cannot_be_guessed_from_what_stays_when_it_leaves() {
    let body = EncodedBody::encode(&Custom { kind: "pin".into(), data: json!(1234).into() }.into())
        .unwrap();
    let commitments: Vec<_> =
        (0..2_u8).map(|salt| Commitment::to(&[salt; 16], &body.bytes).0).collect();
    assert_ne!(commitments[0], commitments[1]);
}

#[test]
fn a_body_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
    let mut bytes = vec![1];
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    bytes.extend_from_slice(&[0; 64]);
    let error = body::decode(EventKind::MessageAdded, 1, 0, &bytes).unwrap_err();
    assert_eq!(error.to_string(), "corrupt: a body of 4294967295 bytes is over the limit");
    let newer = body::decode(EventKind::MessageAdded, 2, 0, &bytes).unwrap_err();
    assert!(matches!(newer.kind(), crate::ErrorKind::NewerFormat { .. }));
}

proptest::proptest! {
    #[test]
    fn any_bytes_give_an_event_or_an_error(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400)) {
        for kind in EventKind::ALL {
            let _ = body::decode(*kind, 1, 0, &bytes);
        }
        let _ = open(&bytes);
    }

    /// Damage behind a header that fits is met by rkyv's checked access.
    #[test]
    fn a_damaged_archive_gives_an_event_or_an_error(
        kind in 0..24_usize, at: proptest::sample::Index, to: u8, cut: proptest::sample::Index,
    ) {
        let body = &bodies()[kind];
        let mut bytes = EncodedBody::encode(body).unwrap().bytes;
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = body::decode(body.kind(), 1, 0, &bytes);
        let _ = body::decode(body.kind(), 1, 0, &bytes[..cut.index(bytes.len())]);
    }
}
