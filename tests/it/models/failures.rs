//! Servers that are slow, busy, wrong or gone.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sessionlog::{
    Cancel, Engine, Error, ErrorKind, Message, Model, ModelProvider, ModelRequest, Naming, limits,
};

use super::{KEY, ask, builder, openai};
use crate::support::model_server::{ModelServer, Reply, Waiting, anthropic_answer, openai_answer};
use crate::support::record_turn;

/// The words of an error of a model, and whether asking again may help.
fn told(error: &Error) -> (String, bool) {
    assert!(matches!(error.kind(), ErrorKind::Model { .. }), "{error:?}");
    for shown in [format!("{error}"), format!("{error:?}")] {
        assert!(!shown.contains(KEY) && shown.lines().count() == 1, "{shown}");
    }
    (error.to_string(), error.is_retryable())
}

fn refused_by_both(openai_body: &str, anthropic_body: &str, words: &str) {
    for (provider, body) in [
        (ModelProvider::OpenAi, openai_body.to_owned()),
        (ModelProvider::Anthropic, anthropic_body.to_owned()),
    ] {
        let server = ModelServer::start(move |_, _| Reply::status(200, &body));
        let error = ask(&builder(&server, provider).build().unwrap()).unwrap_err();
        let (said, is_transient) = told(&error);
        assert!(said.contains(words) && !is_transient, "{said}");
        assert_eq!(server.sent().len(), 1, "asked again for what comes out the same");
    }
}

#[test]
fn an_answer_of_another_shape_is_an_error() {
    refused_by_both("{\"choices\": [", "{", "not JSON");
    refused_by_both("<html>", "<html>", "not JSON");
    refused_by_both("[]", "null", "not JSON");
    refused_by_both("{}", "{}", "an answer without");
    refused_by_both(r#"{"choices": {}}"#, r#"{"content": {}}"#, "an answer whose");
    refused_by_both(r#"{"choices": []}"#, r#"{"content": 1}"#, "an answer");
    refused_by_both(r#"{"choices": [{}]}"#, r#"{"content": [{}]}"#, "a");
    refused_by_both(r#"{"choices": [{"message": 1}]}"#, r#"{"content": [1]}"#, "is no");
    let calls = r#"{"choices": [{"message": {"tool_calls": [{"id": "a", "function": {}}]}}]}"#;
    let blocks = r#"{"content": [{"type": "tool_use", "name": "f", "input": {}}]}"#;
    refused_by_both(calls, blocks, "a tool call without a");
    let overloaded = r#"{"error": {"message": "overloaded"}}"#;
    refused_by_both(overloaded, overloaded, "overloaded");
    let content = r#"{"choices": [{"message": {"content": {"a": 1}}}]}"#;
    refused_by_both(content, r#"{"content": [{"type": "text"}]}"#, "of no known shape");
}

#[test]
fn an_answer_that_is_no_json_is_shown_with_its_status() {
    let page = format!("<html>\n<h1>Gateway</h1>\nno route for {KEY}{}", "x".repeat(5_000));
    refused_by_both(&page, &page, "answers 200 OK: <html> <h1>Gateway</h1> no route for [key]x");
    refused_by_both("", " \n", "answers 200 OK: with nothing");
    let server = ModelServer::start(move |_, _| Reply::status(200, &page));
    let error = ask(&builder(&server, ModelProvider::OpenAi).build().unwrap()).unwrap_err();
    assert!(error.to_string().chars().count() < 700, "{error}");
}

/// Answers of both providers that say nothing, and why.
fn nothing() -> Vec<(ModelProvider, Value, Option<&'static str>, bool)> {
    let openai = |content: Value, refusal: Value, reason: &str| {
        let mut answer = openai_answer("");
        let choice = &mut answer["choices"][0];
        (choice["message"]["content"], choice["message"]["refusal"]) = (content, refusal);
        choice["finish_reason"] = reason.into();
        answer
    };
    let anthropic = |reason: &str| anthropic_answer(&json!([]), reason);
    let (one, other) = (ModelProvider::OpenAi, ModelProvider::Anthropic);
    vec![
        (one, openai("".into(), json!(null), "stop"), None, false),
        (one, openai(json!(null), json!(null), "stop"), None, false),
        (one, openai(json!(null), json!(null), "length"), None, true),
        (one, openai(json!(null), "I may not".into(), "stop"), Some("I may not"), false),
        (one, openai(json!(null), json!(null), "content_filter"), Some("content_filter"), false),
        (one, openai(json!(null), KEY.into(), "stop"), Some("[key]"), false),
        (other, anthropic("end_turn"), None, false),
        (other, anthropic("max_tokens"), None, true),
        (other, anthropic("refusal"), Some("refusal"), false),
    ]
}

#[test]
fn an_answer_that_says_nothing_is_an_answer_and_says_why() {
    for (provider, body, refusal, is_cut_off) in nothing() {
        let server = ModelServer::start(move |_, _| Reply::json(&body));
        let answer = ask(&builder(&server, provider).build().unwrap()).unwrap();
        assert_eq!((answer.refusal.as_deref(), answer.is_cut_off), (refusal, is_cut_off));
        assert!(answer.message.content.text().is_empty() && answer.metrics.total_tokens > 0);
    }
}

#[test]
fn a_session_is_named_and_its_summary_stays_where_a_model_says_nothing() {
    for (provider, body, refusal, _) in nothing() {
        let server = ModelServer::start(move |_, _| Reply::json(&body));
        let model = Arc::new(builder(&server, provider).build().unwrap());
        let session = Engine::in_memory().unwrap().session("s1").open().unwrap();
        record_turn(&session, "Where is my parcel?", "On its way.");
        let named = session.name_generator(model.clone()).run().unwrap();
        assert!(matches!(named, Naming::Named { is_by_model: false, .. }), "{named:?}");
        assert_eq!(session.name().unwrap().as_deref(), Some("Where is my parcel?"));
        assert_eq!(server.sent().len(), limits::ANSWER_TRIES_MAX);
        let (words, is_transient) = told(&session.summarizer(model).run().unwrap_err());
        assert!(words.contains(refusal.unwrap_or("no summary")) && !is_transient, "{words}");
        assert_eq!(server.sent().len(), 2 * limits::ANSWER_TRIES_MAX);
    }
}

#[test]
fn a_tool_call_that_was_cut_off_is_refused_and_not_asked_for_again() {
    let cut = r#"{"choices": [{"finish_reason": "length", "message": {"tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]}}]}"#;
    let blocks = r#"{"stop_reason": "max_tokens", "content": [
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    ]}"#;
    refused_by_both(cut, blocks, "cut the answer off in a tool call");
}

#[test]
fn bytes_that_are_no_text_are_an_error() {
    let server = ModelServer::start(|_, _| Reply::Http(200, vec![], vec![0xff, 0xfe, 0x00]));
    assert!(told(&ask(&openai(&server)).unwrap_err()).0.contains("no text"));
}

#[test]
fn a_server_that_takes_too_long_is_left() {
    let server = ModelServer::start(|_, _| Reply::Nothing);
    // On a busy machine a short time is over before the request is sent.
    for time in (0..).map(|tries| Duration::from_millis(50 << tries)) {
        let slow = builder(&server, ModelProvider::OpenAi).timeout(time);
        let (words, is_transient) = told(&ask(&slow.build().unwrap()).unwrap_err());
        let wanted = format!("no answer from 127.0.0.1 within {} s", time.as_secs_f64());
        assert!(words.contains(&wanted) && is_transient, "{words}");
        if server.waiting.try_recv().is_ok() {
            break;
        }
    }
    // The server sees its client go.
    assert!(server.waiting.iter().any(|seen| seen == Waiting::Ends));
}

#[test]
fn a_server_that_is_not_there_is_tried_again_and_then_an_error() {
    // The port of a connection is nobody else's, and nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let address = connection.local_addr().unwrap();
    let server = ModelServer::saying("");
    let gone = builder(&server, ModelProvider::OpenAi).base_url(format!("http://{address}"));
    let (words, is_transient) = told(&ask(&gone.retries(1).build().unwrap()).unwrap_err());
    assert!(words.contains("cannot be reached") && is_transient, "{words}");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let whole = openai_answer("Hello.").to_string();
    let half =
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", whole.len(), &whole[..40]);
    let server = ModelServer::start(move |number, _| match number {
        0 => Reply::Raw(half.clone().into_bytes()),
        1 => Reply::Raw(b"HTTP/1.1 200".to_vec()),
        _ => Reply::status(200, &whole),
    });
    assert_eq!(ask(&openai(&server)).unwrap().message.content.text(), "Hello.");
    assert_eq!(server.sent().len(), 3);
    let cut = ModelServer::start(|_, _| {
        Reply::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec())
    });
    let model = builder(&cut, ModelProvider::OpenAi).retries(1).build().unwrap();
    let (words, is_transient) = told(&ask(&model).unwrap_err());
    assert!(words.contains("broke off") && is_transient, "{words}");
}

#[test]
fn a_busy_server_says_how_long_to_wait() {
    for header in ["retry-after-ms", "retry-after"] {
        let server = ModelServer::start(move |number, _| match number {
            0 => Reply::Http(429, vec![(header, "0")], b"{}".to_vec()),
            _ => Reply::json(&openai_answer("Hello.")),
        });
        // Its own wait would outlast the test.
        let patient = builder(&server, ModelProvider::OpenAi).backoff(Duration::from_secs(3_600));
        assert!(ask(&patient.build().unwrap()).is_ok(), "{header}");
    }
    let server = ModelServer::start(|_, _| Reply::Http(429, vec![("retry-after", "3600")], vec![]));
    let (words, is_transient) = told(&ask(&openai(&server)).unwrap_err());
    assert!(words.contains("asks to wait 3600 s") && is_transient, "{words}");
    assert_eq!(server.sent().len(), 1);
}

#[test]
fn a_failing_server_is_asked_again_so_often_and_no_oftener() {
    for status in [429, 500, 503, 529] {
        let server = ModelServer::start(move |_, _| Reply::status(status, "out of order"));
        let model = builder(&server, ModelProvider::Anthropic).retries(2).build().unwrap();
        let (words, is_transient) = told(&ask(&model).unwrap_err());
        assert!(words.contains(&status.to_string()) && words.contains("out of order"), "{words}");
        assert!(is_transient);
        assert_eq!(server.sent().len(), 3, "{status}");
    }
}

#[test]
fn what_asking_again_does_not_help_is_not_asked_again() {
    let broke = r#"{"error": {"message": "no money", "code": "insufficient_quota"}}"#;
    for (status, body) in [(400, "no"), (401, "no"), (403, "no"), (404, "no"), (429, broke)] {
        let server = ModelServer::start(move |_, _| Reply::status(status, body));
        let (words, is_transient) = told(&ask(&openai(&server)).unwrap_err());
        assert!(words.contains(&status.to_string()) && !is_transient, "{words}");
        assert_eq!(server.sent().len(), 1, "{status}");
    }
}

#[test]
fn what_every_request_would_get_is_told_from_what_one_got() {
    let coded = |code: &str| json!({"error": {"message": "no", "code": code}}).to_string();
    // Anthropic's, of an account without credit.
    let words = "Your credit balance is too low to access the Anthropic API.";
    let broke = json!({"type": "error",
        "error": {"type": "invalid_request_error", "message": words}});
    for (status, body, is_unavailable) in [
        (400, String::from("no"), false),
        (400, coded("model_not_found"), true),
        (400, broke.to_string(), true),
        (400, coded("billing_error"), true),
        (401, String::from("no"), true),
        (402, String::from("no"), true),
        (403, String::from("no"), true),
        (404, String::from("no"), true),
        (413, String::from("no"), false),
        (429, String::from("no"), false),
        (429, coded("insufficient_quota"), true),
        (503, String::from("no"), false),
        (307, String::from("no"), true),
        (200, String::from("{}"), false),
    ] {
        let server = ModelServer::start(move |_, _| Reply::status(status, &body));
        let error = ask(&openai(&server)).unwrap_err();
        assert_eq!(error.is_model_unavailable(), is_unavailable, "{status}: {error}");
    }
    let server = ModelServer::start(|_, _| Reply::Http(429, vec![("retry-after", "3600")], vec![]));
    assert!(ask(&openai(&server)).unwrap_err().is_model_unavailable());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let gone = builder(&server, ModelProvider::OpenAi).base_url(url).build().unwrap();
    let error = ask(&gone).unwrap_err();
    assert!(error.is_model_unavailable() && error.is_retryable(), "{error}");
    let slow = ModelServer::start(|_, _| Reply::Nothing);
    let slow = builder(&slow, ModelProvider::OpenAi).timeout(Duration::from_millis(50));
    assert!(!ask(&slow.build().unwrap()).unwrap_err().is_model_unavailable());
}

#[test]
fn a_key_is_in_no_error_and_no_debug_even_where_a_server_says_it_back() {
    let says =
        |status: u16, body: String| ModelServer::start(move |_, _| Reply::status(status, &body));
    for server in [
        says(
            401,
            json!({"error": {"message": format!("Wrong key {KEY}\n\u{1b}[31m!")}}).to_string(),
        ),
        says(401, format!("wrong: {KEY}")),
        says(200, json!({"error": {"message": format!("Wrong key {KEY}")}}).to_string()),
        says(302, KEY.into()),
    ] {
        let (words, _) = told(&ask(&openai(&server)).unwrap_err());
        assert!(words.contains("[key]"), "{words}");
    }
    let server = ModelServer::saying("");
    let builder = builder(&server, ModelProvider::Anthropic);
    let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
    assert!(!shown.contains(KEY), "{shown}");
}

#[test]
fn a_redirect_is_not_followed_because_the_key_is_for_one_server() {
    let other = ModelServer::saying("Hello.");
    let url: &'static str = Box::leak(other.url().into_boxed_str());
    let server = ModelServer::start(move |_, _| Reply::Http(307, vec![("location", url)], vec![]));
    assert!(told(&ask(&openai(&server)).unwrap_err()).0.contains("307"));
    assert_eq!(other.sent().len(), 0);
}

#[test]
fn an_answer_that_is_too_large_is_not_read() {
    let large = openai_answer(&"x".repeat(100_000)).to_string();
    let unsized_answer = format!("HTTP/1.1 200 OK\r\n\r\n{large}");
    for whole in [true, false] {
        let (large, unsized_answer) = (large.clone(), unsized_answer.clone());
        let server = ModelServer::start(move |_, _| {
            if whole {
                Reply::status(200, &large)
            } else {
                Reply::Raw(unsized_answer.clone().into_bytes())
            }
        });
        let small = builder(&server, ModelProvider::OpenAi).answer_bytes(50_000);
        let (words, is_transient) = told(&ask(&small.build().unwrap()).unwrap_err());
        assert!(words.contains("more than 50000 bytes") && !is_transient, "{words}");
        assert_eq!(server.sent().len(), 1);
        assert!(ask(&openai(&server)).is_ok());
    }
}

#[test]
fn an_answer_under_way_is_dropped_when_it_is_cancelled() {
    let server = ModelServer::start(|_, _| Reply::Nothing);
    let model = openai(&server);
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let request = ModelRequest::new([Message::user("Hello")]);
            model.answer(&request, &cancel).unwrap_err()
        });
        assert_eq!(server.waiting.recv().unwrap(), Waiting::Begins);
        cancel.cancel();
        assert_eq!(*asking.join().unwrap().kind(), ErrorKind::Cancelled);
        // The server sees its client go.
        assert_eq!(server.waiting.recv().unwrap(), Waiting::Ends);
    });
    let request = ModelRequest::new([Message::user("Hello")]);
    let error = model.answer(&request, &cancel).unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Cancelled);
    assert_eq!(server.sent().len(), 1);
}

#[test]
fn settings_that_cannot_work_are_refused_at_once() {
    let server = ModelServer::saying("");
    let with_url = |url: &str| builder(&server, ModelProvider::OpenAi).base_url(url).build();
    for url in ["", "localhost:1", "ftp://localhost", "http://", "http://a/?key=b", "http://a/#b"] {
        assert!(matches!(with_url(url).unwrap_err().kind(), ErrorKind::Invalid { .. }), "{url}");
    }
    let error = with_url("http://user:password@localhost").unwrap_err().to_string();
    assert!(error.contains("environment") && !error.contains("password"), "{error}");
    let nameless =
        sessionlog::ModelClient::builder(ModelProvider::OpenAi, " ").base_url("http://a");
    assert!(nameless.build().is_err());
    let unset = builder(&server, ModelProvider::OpenAi).key("").key_variable("SESSIONLOG_NO_SUCH");
    assert!(unset.build().unwrap_err().to_string().contains("SESSIONLOG_NO_SUCH"));
    let error = builder(&server, ModelProvider::OpenAi).key("sk-\u{e9}\n1").build().unwrap_err();
    assert!(!error.to_string().contains("sk-"), "{error}");
    // A server of one's own takes requests without a key.
    let keyless = builder(&server, ModelProvider::OpenAi).key("");
    assert!(keyless.build().is_ok());
}
