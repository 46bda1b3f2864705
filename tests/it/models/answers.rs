//! What goes over, and what comes back.

use serde_json::json;
use sessionlog::{
    Cancel, Content, Json, MediaForm, MediaRef, Message, Metrics, Model, ModelRequest, Part,
    ToolDefinition,
};

use super::{KEY, anthropic, ask, openai};
use crate::support::model_server::{ModelServer, Reply, anthropic_answer, openai_answer};

const PNG: &str = "iVBORw0KGgo=";

fn image() -> Part {
    let url = format!("data:image/png;base64,{PNG}");
    Part::Json(json!({"type": "image_url", "image_url": {"url": url}}).into())
}

/// Words, an image, a call and its result.
fn everything() -> ModelRequest {
    let arguments = r#"{"city": "Oslo", "n": 1.50}"#;
    let tool = ToolDefinition {
        name: "weather".into(),
        description: "How warm it is".into(),
        parameters: json!({"type": "object", "properties": {"city": {"type": "string"}}}).into(),
    };
    ModelRequest::new([
        Message::system("Be brief."),
        Message::user("Where is this?").with_part(image()),
        Message::assistant("Let me look.").with_call("call_1", "weather", arguments),
        Message::tool("call_1", "4 degrees"),
    ])
    .with_tools([tool])
    .with_answer_schema("place", Json::from(json!({"type": "object"})))
    .with_max_tokens(50)
}

#[test]
fn an_answer_in_openais_words_comes_whole_with_what_it_took() {
    let server = ModelServer::saying("  Hello, you.\n");
    let answer = ask(&openai(&server)).unwrap();
    assert_eq!(answer.message.content, Content::Text("  Hello, you.\n".into()));
    assert!(answer.message.extra.is_empty(), "{:?}", answer.message.extra);
    let mut metrics = Metrics::tokens(100, 10);
    (metrics.cache_read_tokens, metrics.reasoning_tokens) = (64, 4);
    metrics.duration = answer.metrics.duration;
    assert_eq!(answer.metrics, metrics);
    assert!(answer.metrics.duration.unwrap() > 0.0);
    let sent = &server.sent()[0];
    assert_eq!(sent.path, "/chat/completions");
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    let body = json!({"model": "m-1", "messages": [{"role": "user", "content": "Hello"}]});
    assert_eq!(sent.body, body);
}

#[test]
fn an_answer_in_anthropics_words_comes_whole_with_what_it_took() {
    let server = ModelServer::start(|_, _| {
        Reply::json(&anthropic_answer(
            &json!([{"type": "text", "text": "Hello, you."}]),
            "end_turn",
        ))
    });
    let answer = ask(&anthropic(&server)).unwrap();
    assert_eq!(answer.message.content, Content::Text("Hello, you.".into()));
    assert_eq!(answer.message.response_id.as_deref(), Some("msg_1"));
    let metrics = answer.metrics;
    assert_eq!((metrics.input_tokens, metrics.output_tokens, metrics.total_tokens), (90, 10, 100));
    assert_eq!((metrics.cache_read_tokens, metrics.cache_write_tokens), (30, 20));
    let sent = &server.sent()[0];
    assert_eq!(sent.path, "/v1/messages");
    assert_eq!((sent.header("x-api-key"), sent.header("authorization")), (Some(KEY), None));
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(sent.body["max_tokens"], 4096);
}

#[test]
fn words_images_calls_and_results_go_over_whole() {
    let server = ModelServer::saying("Oslo.");
    openai(&server).answer(&everything(), &Cancel::never()).unwrap();
    let body = &server.sent()[0].body;
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 4);
    assert!(messages[1]["content"][1]["image_url"]["url"].as_str().unwrap().ends_with(PNG));
    let call = &messages[2]["tool_calls"][0];
    assert_eq!(call["function"]["arguments"], r#"{"city": "Oslo", "n": 1.50}"#);
    assert_eq!(
        (&messages[3]["tool_call_id"], &messages[3]["content"]),
        (&call["id"], &"4 degrees".into())
    );
    assert_eq!(body["tools"][0]["function"]["name"], "weather");
    assert_eq!(body["response_format"]["json_schema"]["name"], "place");
    assert_eq!(body["max_tokens"], 50);

    let server = ModelServer::start(|_, _| {
        Reply::json(&anthropic_answer(&json!([{"type": "text", "text": "Oslo."}]), "end_turn"))
    });
    anthropic(&server).answer(&everything(), &Cancel::never()).unwrap();
    let body = &server.sent()[0].body;
    assert_eq!(body["system"], "Be brief.");
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages[0]["content"][1]["source"]["data"], PNG);
    let call = &messages[1]["content"][1];
    assert_eq!((&call["type"], &call["input"]["city"]), (&"tool_use".into(), &"Oslo".into()));
    assert_eq!(messages[2]["content"][0]["tool_use_id"], call["id"]);
    assert_eq!(body["tools"][0]["input_schema"]["type"], "object");
    assert_eq!(body["output_config"]["format"]["schema"]["type"], "object");
    assert_eq!(body["max_tokens"], 50);
}

#[test]
fn tool_calls_come_back_as_the_model_wrote_them() {
    // Not JSON, and with a number that no parser gives back as it is: both are the model's words.
    for arguments in ["{\"city\": \"Oslo\", \"n\": 1.50}", "{\"city\": "] {
        let mut answer = openai_answer("");
        answer["choices"][0]["message"] = json!({
            "role": "assistant",
            "content": null,
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}},
                {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        });
        let server = ModelServer::start(move |_, _| Reply::json(&answer));
        let message = ask(&openai(&server)).unwrap().message;
        assert_eq!(message.content, Content::Null);
        let calls: Vec<_> = message.tool_calls.iter().map(|call| call.name.as_str()).collect();
        assert_eq!(calls, ["weather", "time"]);
        assert_eq!(message.tool_calls[0].arguments, arguments);
    }
    let body = r#"{"id": "msg_1", "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"n": 1.50}}
    ], "stop_reason": "tool_use"}"#;
    let server = ModelServer::start(move |_, _| Reply::status(200, body));
    let message = ask(&anthropic(&server)).unwrap().message;
    assert_eq!(message.content.text(), "Let me look.");
    let call = &message.tool_calls[0];
    assert_eq!((call.id.as_deref(), call.arguments.as_str()), (Some("toolu_1"), r#"{"n": 1.50}"#));
    // The signed thought goes back with it.
    let result = Message::tool("toolu_1", "4 degrees");
    let request = ModelRequest::new([Message::user("How warm is it?"), message, result]);
    anthropic(&server).answer(&request, &Cancel::never()).unwrap();
    let blocks = &server.sent()[1].body["messages"][1]["content"];
    assert_eq!((&blocks[0]["signature"], &blocks[2]["id"]), (&"sig".into(), &"toolu_1".into()));
}

#[test]
fn calls_that_come_without_ids_get_ones_that_no_other_call_has() {
    let function = json!({"name": "weather", "arguments": "{}"});
    let calls = json!([
        {"id": "", "type": "function", "function": function},
        {"type": "function", "function": function, "extra_content": {"google": {"n": 1}}},
        {"id": null, "function": function},
        {"id": "call_1", "type": "function", "function": function},
        {"id": "call_2", "type": "function", "function": function},
    ]);
    let mut answer = openai_answer("");
    answer["choices"][0]["message"] = json!({"role": "assistant", "tool_calls": calls});
    let server =
        ModelServer::start(move |_, sent| match sent.body["messages"].as_array().unwrap().len() {
            1 => Reply::json(&answer),
            _ => Reply::json(&openai_answer("Done.")),
        });
    let message = ask(&openai(&server)).unwrap().message;
    let ids_of = |message: &Message| -> Vec<String> {
        message.tool_calls.iter().map(|call| call.id.clone().unwrap()).collect()
    };
    assert_eq!(ids_of(&message), ["call_6", "call_7", "call_3", "call_1", "call_2"]);
    assert!(message.to_json().as_str().contains("extra_content"));
    assert_eq!(ids_of(&ask(&openai(&server)).unwrap().message), ids_of(&message));
    // The results go back to the calls that they answer.
    let results = ids_of(&message).into_iter().map(|id| Message::tool(&id, "4 degrees"));
    let mut messages = vec![Message::user("How warm is it?"), message];
    messages.extend(results);
    openai(&server).answer(&ModelRequest::new(messages), &Cancel::never()).unwrap();
    let sent = server.sent();
    let messages = sent[2].body["messages"].as_array().unwrap();
    for (call, result) in messages[1]["tool_calls"].as_array().unwrap().iter().zip(&messages[2..]) {
        assert_eq!(call["id"], result["tool_call_id"]);
    }
    assert_eq!(messages.len(), 7);
}

#[test]
fn an_answer_that_the_limit_of_its_tokens_cut_off_says_so() {
    let mut answer = openai_answer("Where is");
    assert!(!ask(&openai(&ModelServer::saying("Where is"))).unwrap().is_cut_off);
    answer["choices"][0]["finish_reason"] = "length".into();
    let server = ModelServer::start(move |_, _| Reply::json(&answer));
    let cut = ask(&openai(&server)).unwrap();
    assert!(cut.is_cut_off && cut.message.content.text() == "Where is");
    for (reason, is_cut_off) in [("end_turn", false), ("max_tokens", true)] {
        let answer = anthropic_answer(&json!([{"type": "text", "text": "Where is"}]), reason);
        let server = ModelServer::start(move |_, _| Reply::json(&answer));
        assert_eq!(ask(&anthropic(&server)).unwrap().is_cut_off, is_cut_off);
    }
}

#[test]
fn a_server_that_knows_no_shapes_is_asked_without_one() {
    let server = ModelServer::start(|_, sent| match sent.body.get("response_format") {
        Some(_) => Reply::status(400, r#"{"error": {"message": "unknown response_format"}}"#),
        None => Reply::json(&openai_answer("Oslo.")),
    });
    let answer = openai(&server).answer(&everything(), &Cancel::never()).unwrap();
    assert_eq!((answer.message.content.text().as_str(), server.sent().len()), ("Oslo.", 2));
}

#[test]
fn a_client_remembers_that_its_server_knows_no_shapes() {
    let server = ModelServer::start(|number, sent| match sent.body.get("response_format") {
        Some(_) => Reply::status(422, r#"{"detail": "extra fields not permitted"}"#),
        None if number == 1 => Reply::status(400, "not now"),
        None => Reply::json(&openai_answer("Oslo.")),
    });
    let model = openai(&server);
    let ask = || model.answer(&everything(), &Cancel::never());
    // Where the plain form is refused too, the shape may not have been what was wrong.
    assert!(ask().is_err());
    assert_eq!(server.sent().len(), 2);
    assert!(ask().is_ok());
    assert_eq!(server.sent().len(), 4);
    for count in 5..8 {
        assert!(ask().is_ok());
        assert_eq!(server.sent().len(), count);
        assert!(server.sent()[count - 1].body.get("response_format").is_none());
    }
}

#[test]
fn a_refusal_that_names_another_cause_is_not_taken_for_one_of_the_shape() {
    let coded = |words: &str, code: &str| json!({"error": {"message": words, "code": code, "type": "invalid_request_error"}});
    for (body, count) in [
        (coded("no", "context_length_exceeded"), 1),
        (coded("This model's maximum context length is 4096 tokens", "400"), 1),
        (json!({"error": {"message": "no", "code": 400, "type": "exceed_context_size_error"}}), 1),
        (json!({"error": {"message": "prompt is too long: 9 > 8"}}), 1),
        (coded("blocked", "content_filter"), 1),
        (coded("no such model", "model_not_found"), 1),
        (coded("the schema has too many tokens", "invalid"), 2),
        (coded("bad request", "invalid"), 2),
    ] {
        let shown = body.to_string();
        let server = ModelServer::start(move |_, _| Reply::status(400, &body.to_string()));
        assert!(openai(&server).answer(&everything(), &Cancel::never()).is_err());
        assert_eq!(server.sent().len(), count, "{shown}");
    }
}

#[test]
fn many_threads_and_tasks_ask_at_once() {
    let server = ModelServer::start(|_, sent| {
        let asked = sent.body["messages"][0]["content"].as_str().unwrap();
        Reply::json(&openai_answer(asked))
    });
    let model = openai(&server);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let model = &model;
            scope.spawn(move || {
                let said = format!("number {number}");
                let request = ModelRequest::new([Message::user(said.clone())]);
                let answer = model.answer(&request, &Cancel::never()).unwrap();
                assert_eq!(answer.message.content.text(), said);
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(ask(&model).is_ok());
        // It goes inside of a runtime too.
        drop(model);
    });
}

#[test]
fn what_no_provider_takes_is_refused_before_anything_is_sent() {
    let server = ModelServer::saying("Oslo.");
    let reference = MediaRef::of(b"...", "image/png", MediaForm::DataUrl).unwrap().to_string();
    let stored = json!({"type": "image_url", "image_url": {"url": reference}});
    let tool = |name: &str| ToolDefinition {
        name: name.into(),
        description: String::new(),
        parameters: Json::from(json!({})),
    };
    let hello = || ModelRequest::new([Message::user("Hello")]);
    let refused = [
        ModelRequest::default(),
        hello().with_tools([tool("no name")]),
        hello().with_tools([tool("")]),
        hello().with_answer_schema("a b", Json::from(json!({}))),
        ModelRequest::new([Message::user("Look:").with_part(Part::Json(stored.into()))]),
        hello().with_answer_schema("list", Json::from(json!([]))),
    ];
    for request in refused {
        for model in [openai(&server), anthropic(&server)] {
            let error = model.answer(&request, &Cancel::never()).unwrap_err();
            assert!(matches!(error.kind(), sessionlog::ErrorKind::Invalid { .. }), "{error:?}");
        }
    }
    assert_eq!(server.sent().len(), 0);
}
