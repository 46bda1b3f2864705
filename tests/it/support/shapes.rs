//! Conversations of all shapes, and what must hold of what is left of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use sessionlog::{
    Content, Engine, Json, Message, Metrics, NewEvent, Part, Point, Policy, Role, RunStatus,
    Session, ToolExecuted,
};

use super::assert_sendable;

/// Something that happens in one of three runs.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Say { run: usize, message: Box<Message> },
    Tool { run: usize, id: u8 },
    Pause { run: usize },
    Finish { run: usize, status: u8 },
    Rewind { back: u64 },
}

/// Half of what a model asks of its provider's own tools: the call, or what was found.
fn served() -> impl Strategy<Value = Value> {
    let search = |id: u8| {
        json!({"type": "server_tool_use", "id": format!("srvtoolu_{id}"), "name": "web_search",
            "input": {"query": "x"}})
    };
    let found = |id: u8| {
        json!({"type": "web_search_tool_result", "tool_use_id": format!("srvtoolu_{id}"),
            "content": []})
    };
    let remote = json!({"type": "mcp_tool_use", "id": "m", "name": "read", "server_name": "files",
        "input": {}});
    let read = json!({"type": "mcp_tool_result", "tool_use_id": "m", "content": "Seen."});
    prop_oneof![(0_u8..2).prop_map(search), (0_u8..2).prop_map(found), Just(remote), Just(read),]
}

fn content() -> impl Strategy<Value = Content> {
    let part = prop_oneof![
        "[a-c]{1,3}".prop_map(Part::Text),
        Just(Part::Json(Json::from(json!({
            "type": "image_url", "image_url": {"url": "https://example.com/a.png"}
        })))),
        Just(Part::Json(Json::from(json!({"type": "thinking", "thinking": "hm"})))),
        served().prop_map(|block| Part::Json(Json::from(block))),
    ];
    prop_oneof![
        Just(Content::Absent),
        Just(Content::Null),
        Just(Content::Text(String::new())),
        "[a-c]{1,4}".prop_map(Content::Text),
        proptest::collection::vec(part, 0..3).prop_map(Content::Parts),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    let role = prop_oneof![
        1 => Just(Role::System),
        3 => Just(Role::User),
        5 => Just(Role::Assistant),
        5 => Just(Role::Tool),
    ];
    let calls = proptest::collection::vec(0_u8..3, 0..3);
    let id = proptest::option::weighted(0.9, 0_u8..3);
    (role, content(), calls, id, proptest::bool::weighted(0.1), proptest::bool::weighted(0.2))
        .prop_map(|(role, content, calls, id, from_history, is_response)| {
            let is_tool = role == Role::Tool;
            // Now and then a person makes calls, as real transcripts have it.
            let makes_calls = role == Role::Assistant || (role == Role::User && calls.len() == 2);
            let mut message = Message::new(role, content);
            if is_tool {
                message.tool_call_id = id.map(|id| format!("c{id}"));
            }
            if makes_calls {
                for id in calls {
                    message = message.with_call(format!("c{id}"), "look", "{\"at\":1}");
                }
            }
            if is_response && message.role == Role::Assistant {
                message.response_id = Some(String::from("r"));
            }
            message.from_history = from_history;
            message.metrics = Some(Metrics::tokens(2, 1));
            message
        })
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = 0_usize..3;
    let step = prop_oneof![
        8 => (run.clone(), message()).prop_map(|(run, message)| Step::Say { run, message: Box::new(message) }),
        1 => (run.clone(), 0_u8..3).prop_map(|(run, id)| Step::Tool { run, id }),
        1 => run.clone().prop_map(|run| Step::Pause { run }),
        2 => (run, 0_u8..4).prop_map(|(run, status)| Step::Finish { run, status }),
    ];
    proptest::collection::vec(step, 1..40)
}

/// The same, with rewinds in between.
pub(crate) fn steps_with_rewinds() -> impl Strategy<Value = Vec<Step>> {
    let rewind = (1_u64..12).prop_map(|back| Step::Rewind { back });
    (steps(), proptest::collection::vec((any::<proptest::sample::Index>(), rewind), 0..3)).prop_map(
        |(mut steps, rewinds)| {
            for (at, rewind) in rewinds {
                steps.insert(at.index(steps.len()), rewind);
            }
            steps
        },
    )
}

/// Lets it happen. Every run that is left is ended.
pub(crate) fn play(session: &Session, prefix: &str, steps: &[Step]) {
    let mut play = Play { session, prefix, names: [0; 3], open: BTreeMap::new() };
    for step in steps {
        play.step(step);
    }
    for run in play.open.into_values() {
        session.existing_run(run).complete(Metrics::tokens(7, 3)).unwrap().wait().unwrap();
    }
}

struct Play<'a> {
    session: &'a Session,
    /// What the names of its runs begin with.
    prefix: &'a str,
    names: [usize; 3],
    open: BTreeMap<usize, String>,
}

impl Play<'_> {
    /// The run that is under way, or another one.
    fn run(&mut self, run: usize) -> String {
        if let Some(name) = self.open.get(&run) {
            return name.clone();
        }
        self.names[run] += 1;
        let name = format!("{}run-{run}-{}", self.prefix, self.names[run]);
        self.session.run().id(name.clone()).start().unwrap();
        self.open.insert(run, name.clone());
        name
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Say { run, message } => {
                let run = self.run(*run);
                self.session.existing_run(run).push((**message).clone()).unwrap();
            }
            Step::Tool { run, id } => {
                let run = self.run(*run);
                let tool = ToolExecuted {
                    tool_call_id: Some(format!("c{id}")),
                    tool_name: "look".into(),
                    tool_args: Some(Json::from(json!({"at": 1}))),
                    result: Some("secret result".into()),
                    ..ToolExecuted::default()
                };
                self.session.existing_run(run).tool_executed(tool).unwrap();
            }
            Step::Pause { run } => {
                let run = self.run(*run);
                let run = self.session.existing_run(run);
                run.pause("wait").unwrap().wait().unwrap();
                run.resume().unwrap().wait().unwrap();
            }
            Step::Finish { run, status } => {
                let name = self.run(*run);
                self.open.remove(run);
                let run = self.session.existing_run(name);
                let spent = Metrics::tokens(7, 3);
                let ticket = match status {
                    0 => run.fail("500", spent),
                    1 => run.cancel("stop", spent),
                    2 => run.pause("for good"),
                    _ => run.complete(spent),
                };
                ticket.unwrap().wait().unwrap();
            }
            Step::Rewind { back } => {
                let seq = self.session.seq().unwrap();
                let to = seq.saturating_sub(*back).max(1);
                self.session.rewind(Point::seq(to)).unwrap().wait().unwrap();
                // What was under way was interrupted, or left behind.
                self.open.clear();
            }
        }
    }
}

/// Everything a reader sees, but for seqs, times and what says that something went.
pub(crate) fn content_of(session: &Session) -> Value {
    let at = session.at(Point::Head).unwrap();
    let runs: Vec<Value> = at
        .runs()
        .unwrap()
        .iter()
        .map(|run| {
            let messages: Vec<Value> =
                run.messages.iter().map(|(_, message)| message.to_json().to_value()).collect();
            json!({
                "id": run.started.run_id,
                "status": run.status,
                "metrics": run.metrics,
                "messages": messages,
                "tools": run.tools.iter().map(|tool| json!([tool.tool_name, tool.result]))
                    .collect::<Vec<_>>(),
            })
        })
        .collect();
    let view = at.view();
    json!({
        "runs": runs,
        "metrics": view.metrics,
        "messages": view.message_count,
        "calls": view.tool_call_count,
        "name": view.name,
        "state": view.state,
        "history": at.window().all_runs().all_statuses().openai().unwrap(),
    })
}

/// The words that a model said to the person, message by message.
pub(crate) fn words(session: &Session) -> Vec<String> {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    runs.iter()
        .flat_map(|run| &run.messages)
        .filter(|(_, message)| message.role == Role::Assistant && !message.from_history)
        .map(|(_, message)| message.content.text())
        .filter(|text| !text.is_empty())
        .collect()
}

/// What is left is legal, and holds no result without its call and no call without its result,
/// but for calls of runs that can go on.
pub(crate) fn check_left(session: &Session, policy: &Policy) {
    let at = session.at(Point::Head).unwrap();
    for window in [at.window().all_runs(), at.window().all_runs().all_statuses()] {
        let messages = window.messages().unwrap();
        assert_sendable(&messages);
    }
    for run in at.runs().unwrap() {
        let can_go_on = !run.status.is_terminal() || run.status == RunStatus::Interrupted;
        for (seq, message) in &run.messages {
            if policy.store_tool_messages == Some(false) {
                assert!(message.role != Role::Tool || message.omitted.message, "seq {seq}");
                assert!(message.tool_calls.is_empty() || can_go_on, "seq {seq}");
                assert!(!message.to_json().as_str().contains("secret"), "seq {seq}");
            }
            if policy.store_history_messages == Some(false) {
                assert!(!message.from_history || message.omitted.message, "seq {seq}");
            }
            if policy.store_media == Some(false) {
                assert!(!message.to_json().as_str().contains("image_url"), "seq {seq}");
            }
        }
        for tool in &run.tools {
            let keeps = policy.store_tool_messages != Some(false);
            assert!(keeps || (tool.result.is_none() && tool.tool_args.is_none()));
        }
    }
}

/// Every combination of the three.
pub(crate) fn policies() -> Vec<Policy> {
    (0_u8..8)
        .map(|bits| {
            let says = |bit: u8| (bits & bit != 0).then_some(false);
            Policy {
                store_media: says(1),
                store_tool_messages: says(2),
                store_history_messages: says(4),
                keep_runs: None,
            }
        })
        .collect()
}

pub(crate) fn memory(policy: Policy) -> Engine {
    let log = std::sync::Arc::new(sessionlog::MemoryLog::new());
    Engine::builder().policy(policy).open_log(log).unwrap()
}

pub(crate) fn assert_sound(engine: &Engine) {
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems.first());
}

pub(crate) fn append(session: &Session, body: impl Into<sessionlog::EventBody>) {
    session.append([NewEvent::new(body)]).unwrap().wait().unwrap();
}
