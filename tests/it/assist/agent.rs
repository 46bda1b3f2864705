//! The agent of the README and of `examples/agent_loop.rs`, at work against a server.

use serde_json::{Value, json};
use sessionlog::{Engine, ModelClient, ModelProvider, NewMemory, Point, RunStatus};

use self::agent_loop::turn;
use crate::support::model_server::{ModelServer, Reply, openai_answer};

#[path = "../../../examples/agent_loop.rs"]
#[expect(dead_code, reason = "an example has a `main` of its own")]
mod agent_loop;

const EXAMPLE: &str = include_str!("../../../examples/agent_loop.rs");
const README: &str = include_str!("../../../README.md");

fn client(server: &ModelServer) -> ModelClient {
    let builder = ModelClient::builder(ModelProvider::OpenAi, "m-1").base_url(server.url());
    builder.key("k").retries(0).build().unwrap()
}

fn calling(name: &str, arguments: &str) -> Value {
    let mut answer = openai_answer("");
    answer["choices"][0]["message"]["tool_calls"] = json!([
        {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]);
    answer
}

#[test]
fn the_readmes_agent_is_the_example() {
    let first = EXAMPLE.find("use sessionlog").unwrap();
    let last = EXAMPLE.find("\n#[expect").unwrap();
    assert!(README.contains(&EXAMPLE[first..last]), "the README shows another agent");
    let shown = EXAMPLE[first..last].lines().filter(|line| !line.is_empty());
    assert!(shown.count() <= 34);
}

#[test]
fn the_agent_calls_tools_remembers_and_can_be_looked_into() {
    let server = ModelServer::start(|number, sent| {
        Reply::json(&match number {
            0 => calling("update_session_state", r#"{"session_state_updates":{"city":"Oslo"}}"#),
            1 => openai_answer("Noted: Oslo."),
            2 => calling("get_weather", "{}"),
            _ => openai_answer(&format!(
                "{} messages",
                sent.body["messages"].as_array().unwrap().len()
            )),
        })
    });
    let engine = Engine::in_memory().unwrap();
    engine.memories("alice").unwrap().add(NewMemory::new("Likes tea.")).unwrap();
    engine.memories("bob").unwrap().add(NewMemory::new("Likes coffee.")).unwrap();
    let session = engine.session("chat-1").user("alice").open().unwrap();
    let model = client(&server);
    assert_eq!(turn(&session, &model, "I live in Oslo").unwrap(), "Noted: Oslo.");
    assert_eq!(session.state().unwrap(), json!({"city": "Oslo"}));
    // The system message, the first turn's four, and this one's three.
    assert_eq!(turn(&session, &model, "How warm is it?").unwrap(), "8 messages");
    let sent = server.sent();
    let system = sent[3].body["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(system.starts_with("Be helpful.") && system.contains("Likes tea."), "{system}");
    assert!(!system.contains("coffee"));
    assert_eq!(sent[3].body["messages"][7]["content"], "no such tool");
    // What each call was given is what was sent, to the byte.
    for (run, numbers) in [(1, [0, 1]), (2, [2, 3])] {
        let calls = session.recorded_contexts_of(Point::run(run)).unwrap();
        for (call, number) in calls.iter().zip(numbers) {
            let rebuilt = call.rebuild().unwrap();
            assert!(rebuilt.is_exact());
            assert_eq!(Value::from(rebuilt.openai()), sent[number].body["messages"]);
        }
        assert_eq!(calls.len(), 2);
    }
    assert_eq!(session.view().unwrap().metrics.total_tokens, 4 * 110);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn a_turn_whose_model_fails_is_kept_as_failed_and_the_next_goes_on() {
    let server = ModelServer::start(|number, _| match number {
        0 => Reply::status(500, "down"),
        _ => Reply::json(&openai_answer("Here again.")),
    });
    let session = Engine::in_memory().unwrap().session("s").open().unwrap();
    let model = client(&server);
    turn(&session, &model, "Hello?").unwrap_err();
    assert_eq!(turn(&session, &model, "Hello?").unwrap(), "Here again.");
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let statuses: Vec<_> = runs.iter().map(|run| run.status).collect();
    assert_eq!(statuses, [RunStatus::Error, RunStatus::Completed]);
}
