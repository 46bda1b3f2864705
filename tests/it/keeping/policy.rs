//! Policies where they are said: on the engine, the session, the run.

use sessionlog::{
    CompactionPlan, ErrorKind, EventId, Json, Message, Metrics, NewEvent, Point, Policy, Role,
    RunFinished, RunStatus, ToolExecuted,
};

use crate::support::shapes::{append, assert_sound, memory};
use crate::support::{Disk, record_tool_turn, texts};

const NO_TOOLS: Policy = Policy::new().store_tool_messages(false);

fn tool_messages(session: &sessionlog::Session) -> usize {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let messages = runs.iter().flat_map(|run| &run.messages);
    messages.filter(|(_, message)| message.role == Role::Tool && !message.omitted.message).count()
}

/// Who thinks that nothing is kept must not be wrong.
#[test]
fn a_policy_that_does_not_hold_is_an_error() {
    let engine = memory(Policy::new());
    let session = engine.session("s").user("alice").open().unwrap();
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let error = session.set_policy(NO_TOOLS).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Forbidden), "{error}");
}

#[test]
fn the_nearest_policy_wins() {
    let engine = memory(NO_TOOLS);
    let session = engine.session("s").open().unwrap();
    record_tool_turn(&session, "c1");
    assert_eq!(tool_messages(&session), 0);
    session.set_policy(Policy::new().store_tool_messages(true)).unwrap();
    record_tool_turn(&session, "c2");
    assert_eq!(tool_messages(&session), 1);
    let messages = [
        Message::user("q"),
        Message::assistant("").with_call("c3", "look", "{}"),
        Message::tool("c3", "x"),
        Message::assistant("a"),
    ];
    let run = session.run().policy(NO_TOOLS);
    run.record(messages.clone(), Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(tool_messages(&session), 1);
    // The run still says so when the session is compacted under another policy.
    let run = session.run().policy(Policy::new().store_tool_messages(true));
    run.record(messages, Metrics::default()).unwrap().wait().unwrap();
    session.set_policy(NO_TOOLS).unwrap();
    assert_eq!(session.policy().unwrap(), NO_TOOLS);
    session.compaction().run().unwrap();
    assert_eq!(tool_messages(&session), 1);
    // Who asks for it expressly gets it.
    session.compaction().policy(NO_TOOLS).run().unwrap();
    assert_eq!(tool_messages(&session), 0);
    assert_sound(&engine);
}

#[test]
fn what_the_caller_holds_is_untouched_and_metrics_keep_counting() {
    let engine = memory(NO_TOOLS);
    let session = engine.session("s").open().unwrap();
    let call = Message::assistant("Let me look.").with_call("c", "weather", "{}");
    let result = Message::tool("c", "4 degrees");
    let run = session.start_run().unwrap();
    run.push_all([Message::user("q"), call.clone(), result.clone()]).unwrap();
    run.push(Message::assistant("4 degrees.")).unwrap();
    run.complete(Metrics::tokens(30, 9)).unwrap().wait().unwrap();
    assert_eq!((call.tool_calls.len(), result.content.text()), (1, "4 degrees".into()));
    let history = session.window().messages().unwrap();
    assert_eq!(texts(&history), ["q", "Let me look.", "4 degrees."]);
    let view = session.view().unwrap();
    assert_eq!((view.metrics.total_tokens, view.message_count, view.tool_call_count), (39, 4, 1));
    assert_sound(&engine);
}

#[test]
fn media_of_a_tools_own_record_go_at_once_or_later() {
    let image = format!("data:image/png;base64,{}", "iVBORw0K".repeat(200));
    let part = format!(r#"{{"type":"image_url","image_url":{{"url":"{image}"}}}}"#);
    let executed = |result: &str| ToolExecuted {
        tool_name: String::from("look"),
        tool_args: Some(Json::parse(&format!(r#"{{"q":"cat","parts":[{part}]}}"#)).unwrap()),
        result: Some(result.to_owned()),
        ..ToolExecuted::default()
    };
    let results = ["a cat", &image, &format!(r#"{{"seen":"cat","shot":"{image}"}}"#)];
    let no_media = Policy::new().store_media(false);
    for is_at_once in [true, false] {
        let engine = memory(if is_at_once { no_media } else { Policy::new() });
        let session = engine.session("s").open().unwrap();
        let run = session.start_run().unwrap();
        for result in results {
            run.tool_executed(executed(result)).unwrap().wait().unwrap();
        }
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        if !is_at_once {
            session.compaction().policy(no_media).run().unwrap();
        }
        let tools = session.at(Point::Head).unwrap().runs().unwrap().remove(0).tools;
        let left: Vec<_> = tools.iter().map(|tool| tool.result.as_deref()).collect();
        assert_eq!(left, [Some("a cat"), None, Some(r#"{"seen":"cat"}"#)]);
        for tool in tools {
            assert_eq!(tool.tool_args.unwrap().as_str(), r#"{"q":"cat","parts":[]}"#);
        }
        let plans = session.compaction().policy(no_media).plan().unwrap();
        assert!(plans.iter().all(CompactionPlan::is_empty), "{plans:?}");
        assert_sound(&engine);
    }
}

#[test]
fn a_pending_call_stays_until_its_run_ends() {
    let engine = memory(NO_TOOLS);
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    let call = Message::assistant("").with_call("done", "a", "{}").with_call("wanted", "b", "{}");
    run.push_all([Message::user("q"), call, Message::tool("done", "x")]).unwrap();
    run.pause("confirm").unwrap().wait().unwrap();
    let calls = || {
        let runs = session.at(Point::Head).unwrap().runs().unwrap();
        let calls = runs[0].messages.iter().flat_map(|(_, message)| message.tool_calls.clone());
        calls.filter_map(|call| call.id).collect::<Vec<_>>()
    };
    assert_eq!(calls(), ["wanted"]);
    run.resume().unwrap().wait().unwrap();
    run.push(Message::tool("wanted", "y")).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(calls(), [""; 0]);
    assert_sound(&engine);
}

#[test]
fn a_call_that_a_later_run_answers_leaves_with_its_result() {
    let engine = memory(NO_TOOLS);
    let session = engine.session("s").open().unwrap();
    let first = session.start_run().unwrap();
    let call = Message::assistant("Wait.").with_call("c", "look", "{}");
    first.push_all([Message::user("q"), call]).unwrap();
    first.pause("elsewhere").unwrap().wait().unwrap();
    let second = session.start_run().unwrap();
    second.push_all([Message::tool("c", "found"), Message::assistant("There.")]).unwrap();
    second.complete(Metrics::default()).unwrap().wait().unwrap();
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    assert!(runs[0].messages.iter().all(|(_, message)| message.tool_calls.is_empty()));
    assert!(session.compaction().plan().unwrap()[0].is_empty());
    assert_sound(&engine);
}

#[test]
fn a_policy_is_there_after_opening_again_and_goes_back_with_a_rewind() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let before = session.seq().unwrap();
    session.set_policy(NO_TOOLS).unwrap();
    drop((session, engine));
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    record_tool_turn(&session, "c1");
    assert_eq!(tool_messages(&session), 0);
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    record_tool_turn(&fork, "c2");
    assert_eq!(tool_messages(&fork), 0);
    session.rewind(Point::seq(before)).unwrap().wait().unwrap();
    record_tool_turn(&session, "c3");
    assert_eq!(tool_messages(&session), 1);
    assert_sound(&engine);
}

#[test]
fn a_result_in_a_sources_own_record_leaves_too() {
    let engine = memory(NO_TOOLS);
    let session = engine.session("s").open().unwrap();
    let text = r#"{"role":"assistant","content":"Here.","tool_calls":[{"id":"c","type":"function",
        "function":{"name":"f","arguments":"{}"}}],"claude_code.record":{"toolUseResult":"SECRET"}}"#;
    let message = Message::from_json(text).unwrap();
    session.record_run([message, Message::tool("c", "SECRET")], Metrics::default()).unwrap();
    append(&session, sessionlog::Renamed { name: Some("n".into()), is_generated: false });
    let all: Vec<String> = session
        .events(Point::Head)
        .unwrap()
        .map(|event| event.unwrap().body.to_json().as_str().to_owned())
        .collect();
    assert!(!all.concat().contains("SECRET"));
    assert!(all.concat().contains("Here."));
}

#[test]
fn a_retry_under_another_policy_is_a_duplicate() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    let run = s.run().id("r").start().unwrap();
    run.push_all([
        Message::user("q"),
        Message::assistant("w").with_call("c", "f", "{}"),
        Message::tool("c", "x"),
    ])
    .unwrap()
    .wait()
    .unwrap();
    let end = || {
        let finished = RunFinished { status: RunStatus::Completed, metrics: None, reason: None };
        s.append([NewEvent::in_run("r", finished).with_id(EventId::derive(&[b"x"]))])
            .unwrap()
            .wait()
            .unwrap()
    };
    let first = end();
    s.set_policy(NO_TOOLS).unwrap();
    let second = end();
    assert!(second.is_duplicate);
    assert_eq!(first.last_seq, second.last_seq);
}
