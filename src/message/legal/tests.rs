//! What the rules of this folder must hold, on lists as bad as real ones.
use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json::{Field, Json};
use crate::message::ToolCall;

fn legal(messages: &[Message]) -> Vec<Message> {
    legalize(messages.to_vec()).0
}

fn repairs(messages: &[Message]) -> Vec<Repair> {
    legalize(messages.to_vec()).1
}

fn part_of(response_id: &str, mut message: Message) -> Message {
    message.response_id = Some(response_id.into());
    message
}

fn calling(id: &str) -> Message {
    Message::new(Role::Assistant, Content::Null).with_call(id, "look", "{}")
}

#[test]
fn a_legal_list_comes_back_as_it_is() {
    let messages = vec![
        Message::system("Be brief."),
        Message::user(""),
        Message::assistant("Both.").with_call("a", "look", "{}").with_call("b", "look", "{}"),
        Message::tool("a", ""),
        Message::tool("b", "4 degrees"),
        Message::assistant("It is cold."),
        Message::assistant("Very cold."),
        calling("a"),
        Message::tool("a", "used again"),
    ];
    assert_eq!(legalize(messages.clone()), (messages, Vec::new()));
}

#[test]
fn an_id_used_again_answers_the_nearest_call() {
    let messages =
        vec![calling("a"), Message::tool("a", "1"), calling("a"), Message::tool("a", "2")];
    assert_eq!(legalize(messages.clone()), (messages, Vec::new()));

    let nested = [calling("a"), calling("a"), Message::tool("a", "2"), Message::tool("a", "1")];
    let expected = [calling("a"), Message::tool("a", "1"), calling("a"), Message::tool("a", "2")];
    assert_eq!(legal(&nested), expected);

    let unanswered = [calling("a"), Message::user("And?"), calling("a"), Message::tool("a", "2")];
    assert_eq!(legal(&unanswered), unanswered[1..]);
}

#[test]
fn results_stand_behind_their_message_in_the_order_of_the_calls() {
    let both = Message::assistant("").with_call("a", "look", "{}").with_call("b", "look", "{}");
    let messages =
        [both.clone(), Message::tool("b", "2"), Message::user("Hm."), Message::tool("a", "1")];
    let expected = [both, Message::tool("a", "1"), Message::tool("b", "2"), Message::user("Hm.")];
    assert_eq!(legal(&messages), expected);
    let moved = |id: &str| Repair::MovedResult { tool_call_id: id.into() };
    assert_eq!(repairs(&messages), [moved("b"), moved("a")]);
}

#[test]
fn equal_ids_in_one_message_become_different() {
    let messages = [
        Message::assistant("")
            .with_call("a", "one", "{}")
            .with_call("a", "two", "{}")
            .with_call("a-2", "three", "{}"),
        Message::tool("a", "1"),
        Message::tool("a", "2"),
        Message::tool("a-2", "3"),
    ];
    let expected = [
        Message::assistant("")
            .with_call("a", "one", "{}")
            .with_call("a-3", "two", "{}")
            .with_call("a-2", "three", "{}"),
        Message::tool("a", "1"),
        Message::tool("a-3", "2"),
        Message::tool("a-2", "3"),
    ];
    assert_eq!(legal(&messages), expected);
    assert_eq!(repairs(&messages), [Repair::RenamedCall { from: "a".into(), to: "a-3".into() }]);
}

#[test]
fn a_renamed_call_no_longer_carries_the_record_it_came_as() {
    let text = r#"{"role":"assistant","tool_calls":[
        {"id":"a","function":"one","arguments":{}},{"id":"a","function":"two","arguments":{}}]}"#;
    let message = Message::from_json(text).unwrap();
    let list = legal(&[message, Message::tool("a", "1"), Message::tool("a", "2")]);
    assert!(list[0].tool_calls[0].source.is_some());
    assert_eq!(list[0].tool_calls[1].source, None);
    assert_eq!(list[0].to_json().to_value()["tool_calls"][1]["id"], "a-2");
}

#[test]
fn what_has_no_partner_goes_and_its_text_stays() {
    let mut nameless = Message::assistant("Wait.");
    nameless.tool_calls.push(ToolCall { id: None, ..ToolCall::new("", "look", "{}") });
    let messages = [
        Message::tool("a", "before any call"),
        Message::new(Role::Tool, Content::Null),
        Message::user("Hi").with_call("a", "look", "{}"),
        nameless,
        Message::assistant("One moment.").with_call("", "look", "{}").with_call("b", "look", "{}"),
        calling("c"),
        Message::tool("", "names no call"),
    ];
    let expected =
        [Message::user("Hi"), Message::assistant("Wait."), Message::assistant("One moment.")];
    assert_eq!(legal(&messages), expected);
    let stripped =
        |id: Option<&str>| Repair::StrippedCall { id: id.map(str::to_owned), name: "look".into() };
    let dropped = |id: Option<&str>| Repair::DroppedResult { tool_call_id: id.map(str::to_owned) };
    let expected = [
        dropped(Some("a")),
        dropped(None),
        stripped(Some("a")),
        stripped(None),
        stripped(Some("")),
        stripped(Some("b")),
        stripped(Some("c")),
        Repair::DroppedMessage { role: "assistant".into() },
        dropped(Some("")),
    ];
    assert_eq!(repairs(&messages), expected);
}

#[test]
fn messages_that_no_provider_takes_are_left_out() {
    let messages = [
        Message::new(Role::Other("progress".into()), Content::Text("40%".into())),
        Message::new(Role::User, Content::Null),
        Message::new(Role::System, Content::Absent),
        Message::new(Role::Developer, Content::Parts(Vec::new())),
        Message::assistant(""),
    ];
    let (messages, repairs) = legalize(messages.to_vec());
    assert_eq!(messages, []);
    let roles = ["progress", "user", "system", "developer", "assistant"];
    assert_eq!(repairs, roles.map(|role| Repair::DroppedMessage { role: role.into() }));
}

#[test]
fn a_response_written_as_several_records_becomes_one_message() {
    let mut thought = part_of("r", Message::new(Role::Assistant, Content::Absent));
    thought.reasoning = Some("The user wants both.".into());
    let messages = [
        Message::user("Both?"),
        thought.clone(),
        part_of("r", Message::assistant("Looking.")),
        part_of("r", calling("a")),
        Message::tool("a", "1"),
        part_of("r", calling("b")),
        Message::tool("b", "2"),
        part_of("r", Message::assistant("Done.")),
        Message::user("Thanks."),
        part_of("r", Message::assistant("Not the same response any more.")),
    ];
    let mut whole = thought.with_call("a", "look", "{}").with_call("b", "look", "{}");
    whole.content = Content::Parts(vec![Part::Text("Looking.".into()), Part::Text("Done.".into())]);
    let expected = [
        Message::user("Both?"),
        whole,
        Message::tool("a", "1"),
        Message::tool("b", "2"),
        Message::user("Thanks."),
        part_of("r", Message::assistant("Not the same response any more.")),
    ];
    assert_eq!(legal(&messages), expected);
    let merged = Repair::MergedResponse { response_id: "r".into() };
    assert_eq!(repairs(&messages), [merged.clone(), merged.clone(), merged.clone(), merged]);
}

#[test]
fn a_response_with_text_only_at_its_end_keeps_it_as_text() {
    let messages = [part_of("r", calling("a")), part_of("r", Message::assistant("Done."))];
    assert_eq!(legal(&messages), [part_of("r", Message::assistant("Done."))]);
}

#[test]
fn what_is_left_out_does_not_part_a_response() {
    let messages = [
        part_of("r", Message::assistant("One.")),
        Message::new(Role::User, Content::Null),
        part_of("empty", Message::assistant("")),
        calling("unanswered"),
        part_of("r", Message::assistant("Two.")),
    ];
    let list = legal(&messages);
    assert_eq!(list.len(), 1);
    assert_eq!(list[0].content.text(), "One.\nTwo.");
}

#[test]
fn calls_that_share_an_id_across_a_split_response_are_answered_in_order() {
    let messages = [
        part_of("r", calling("a")),
        part_of("r", calling("a")),
        Message::tool("a", "1"),
        Message::tool("a", "2"),
    ];
    let list = legal(&messages);
    assert_eq!(list[1].content.text(), "1");
    assert_eq!(list[2].content.text(), "2");
    assert_eq!(list[2].tool_call_id.as_deref(), Some("a-2"));
}

#[test]
fn a_repair_is_told_in_one_plain_line() {
    let repair = Repair::RenamedCall { from: "a".into(), to: "a-2".into() };
    let line = r#"renamed a call "a" to "a-2": its message has that id twice"#;
    assert_eq!(repair.to_string(), line);
    let repair = Repair::DroppedResult { tool_call_id: Some("a\nb".into()) };
    assert_eq!(repair.to_string().lines().count(), 1);
}

#[test]
fn a_long_list_of_one_id_comes_back_whole() {
    // A square of so many steps would not end.
    let mut whole = Message::assistant("");
    let mut messages = Vec::new();
    for _ in 0..20_000 {
        whole = whole.with_call("a", "look", "{}");
        messages.push(part_of("r", calling("a")));
    }
    messages.push(whole);
    messages.extend((0..40_000).map(|_| Message::tool("a", "1")));
    let (list, _) = legalize(messages);
    assert_eq!(list.len(), 40_002);
    assert_eq!(list.last().unwrap().tool_call_id.as_deref(), Some("a-39999"));
}

#[test]
fn the_next_number_of_an_id_is_not_looked_for_from_the_start() {
    let mut ids = UniqueIds::new(usize::MAX);
    for number in 2..1_000 {
        ids.claim("a");
        assert_eq!(ids.next.get("a").copied().unwrap_or(2), number);
    }
}

fn any_part() -> impl Strategy<Value = Part> {
    let json = |value| Part::Json(Json::from(value));
    prop_oneof![
        Just(Part::Text("part".into())),
        Just(Part::Text(" \n".into())),
        Just(Part::Text(String::new())),
        Just(json(json!({"type": "text", "text": "cited", "citations": []}))),
        Just(json(json!({"type": "thinking", "thinking": "hm", "signature": "s"}))),
        Just(json(json!({"type": "thinking", "thinking": "hm"}))),
        Just(json(json!({"type": "redacted_thinking", "data": "x"}))),
        Just(json(json!({"type": "image", "image": "data:image/png;base64,AAAA"}))),
        Just(json(json!({"type": "image", "image": "data:image/png;base64,AAAAA"}))),
        Just(json(json!({"type": "image", "image": "attachment://0"}))),
        Just(json(json!({"type": "image_url", "image_url": {"url": "http://a/b", "detail": 1}}))),
        Just(json(json!({"type": "image_url", "image_url": "https://a/b"}))),
        Just(json(json!({"type": "tool_use", "id": "a", "name": "look", "input": {}}))),
        any_served(),
        Just(json(json!({"type": "search_result", "source": "x", "title": "x",
            "content": [{"type": "text", "text": "x"}, {"type": "text", "text": " "}]}))),
        Just(json(json!({"type": "refusal", "refusal": "No."}))),
        Just(json(json!(null))),
    ]
}

/// What a provider's own servers are asked for and answer, of few ids, so that many meet.
fn any_served() -> impl Strategy<Value = Part> {
    let id = prop::sample::select(vec!["srvtoolu_1", "srvtoolu_2", "srvtoolu_2", "a", "s-1"]);
    let call = prop::sample::select(vec!["server_tool_use", "mcp_tool_use"]);
    let name = prop::sample::select(vec!["web_search", "web_search", "f"]);
    let server = prop::sample::select(vec![json!("files"), json!(null)]);
    let call = (call, id.clone(), name, server).prop_map(|(kind, id, name, server)| {
        let mut call = json!({"type": kind, "id": id, "name": name, "input": {}});
        if kind == "mcp_tool_use" {
            call["server_name"] = server;
        }
        call
    });
    let result = prop::sample::select(vec!["web_search_tool_result", "mcp_tool_result"]);
    let content = prop::sample::select(vec![
        json!([]),
        json!([]),
        json!("found"),
        json!({"type": "web_search_tool_result_error", "error_code": "unavailable"}),
    ]);
    let result = (result, id, content).prop_map(
        |(kind, id, content)| json!({"type": kind, "tool_use_id": id, "content": content}),
    );
    prop_oneof![call, result].prop_map(|part| Part::Json(Json::from(part)))
}

fn any_content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Absent),
        Just(Content::Null),
        Just(Content::Text(String::new())),
        Just(Content::Text(" \t".into())),
        "[a-z]{1,3} ?".prop_map(Content::Text),
        prop::collection::vec(any_part(), 0..4).prop_map(Content::Parts),
    ]
}

fn any_id() -> impl Strategy<Value = Option<String>> {
    let long = "toolu_".repeat(9);
    prop_oneof![
        6 => prop::sample::select(vec!["a", "a-2", "b.ü"]).prop_map(|id| Some(id.to_owned())),
        1 => prop::sample::select(vec![long.clone(), long + "!"]).prop_map(Some),
        1 => prop::sample::select(vec![None, Some(String::new())]),
    ]
}

fn any_call() -> impl Strategy<Value = ToolCall> {
    let names = prop::sample::select(vec!["look", "", "a.b c", "ä"]);
    let arguments = prop::sample::select(vec!["{}", "", "[1]", "{\"a\":", "{\"a\":1}", "null"]);
    (any_id(), names, arguments).prop_map(|(id, name, arguments)| ToolCall {
        id,
        name: name.into(),
        arguments: arguments.into(),
        source: None,
    })
}

/// Lists with every role and content, whose ids meet often.
pub(in crate::message) fn any_messages() -> impl Strategy<Value = Vec<Message>> {
    let role = prop_oneof![
        1 => Just(Role::System),
        1 => Just(Role::Developer),
        2 => Just(Role::User),
        6 => Just(Role::Assistant),
        6 => Just(Role::Tool),
        1 => Just(Role::Other("note".into())),
    ];
    let response = prop::sample::select(vec![None, Some("r"), Some("s")]);
    let calls = prop::collection::vec(any_call(), 0..4);
    let name = prop::sample::select(vec![None, Some("José.b"), Some("an na")]);
    let beside = prop::sample::select(vec![
        None,
        Some(("refusal", json!("No."))),
        Some(("refusal", json!(" "))),
        Some(("audio", json!({"id": "a", "transcript": "Hm. "}))),
    ]);
    let said = (any_content(), prop_oneof![3 => Just(None), 1 => beside]);
    let message = (role, said, response, calls, any_id(), name, any::<bool>()).prop_map(
        |(role, (content, beside), response_id, tool_calls, tool_call_id, name, is_error)| {
            let mut message = Message::new(role, content);
            let beside = beside.filter(|_| message.role == Role::Assistant);
            message.extra.extend(
                beside.map(|(name, value)| Field { name: name.into(), value: value.into() }),
            );
            message.response_id = response_id.map(str::to_owned);
            if message.role != Role::User || is_error {
                message.tool_calls = tool_calls;
            }
            message.tool_call_id = tool_call_id;
            message.name = name.map(str::to_owned);
            if is_error {
                let value = Json::from(json!(true));
                message.extra.push(Field { name: "is_error".into(), value });
            }
            message
        },
    );
    prop::collection::vec(message, 0..14)
}

/// Every text of users and the model, in order of the alphabet.
fn spoken(messages: &[Message]) -> Vec<String> {
    let spoken = messages.iter().filter(|m| matches!(m.role, Role::User | Role::Assistant));
    let mut texts: Vec<String> = spoken
        .flat_map(|message| into_parts(message.content.clone()))
        .filter(|part| *part != Part::Text(String::new()))
        .map(|part| format!("{part:?}"))
        .collect();
    texts.sort();
    texts
}

/// The order of messages that legalize must not change: all but results and what was merged.
fn speakers(messages: &[Message]) -> Vec<(Role, Content)> {
    let others = messages.iter().filter(|message| {
        !matches!(message.role, Role::Tool | Role::Assistant | Role::Other(_))
            && !matches!(message.content, Content::Absent | Content::Null)
            && message.content != Content::Parts(Vec::new())
    });
    others.map(|message| (message.role.clone(), message.content.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn legal_once_is_legal_for_good(messages in any_messages()) {
        let (once, _) = legalize(messages);
        let (twice, repairs) = legalize(once.clone());
        prop_assert_eq!(repairs, Vec::new());
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn only_a_repair_changes_a_list(messages in any_messages()) {
        let (legal, repairs) = legalize(messages.clone());
        prop_assert_eq!(repairs.is_empty(), legal == messages);
    }

    #[test]
    fn every_word_of_users_and_the_model_stays(messages in any_messages()) {
        let legal = legalize(messages.clone()).0;
        prop_assert_eq!(spoken(&legal), spoken(&messages));
        prop_assert_eq!(speakers(&legal), speakers(&messages));
    }

    #[test]
    fn each_call_is_answered_directly_behind_its_message(messages in any_messages()) {
        let legal = legalize(messages).0;
        let mut expected: VecDeque<Option<String>> = VecDeque::new();
        for message in &legal {
            if message.role == Role::Tool {
                prop_assert_eq!(Some(message.tool_call_id.clone()), expected.pop_front());
                continue;
            }
            prop_assert!(expected.is_empty());
            expected.extend(message.tool_calls.iter().map(|call| call.id.clone()));
            let ids: HashSet<_> = expected.iter().flatten().filter(|id| !id.is_empty()).collect();
            prop_assert_eq!(ids.len(), message.tool_calls.len());
        }
        prop_assert!(expected.is_empty());
    }
}

#[test]
fn a_refusal_stays_when_the_parts_of_its_response_are_joined() {
    let part = |record: &str| Message::from_json(record).unwrap();
    let (legal, _) = legalize(vec![
        part(r#"{"role":"assistant","response_id":"r","content":"Well.","refusal":null}"#),
        part(r#"{"role":"assistant","response_id":"r","content":null,"refusal":"No."}"#),
        part(r#"{"role":"assistant","response_id":"r","content":null,"refusal":"Never."}"#),
    ]);
    assert_eq!(legal.len(), 1);
    assert_eq!(
        (legal[0].content.text(), legal[0].refusal()),
        ("Well.".into(), Some("No.\nNever.".into()))
    );
}
