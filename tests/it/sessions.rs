//! Sessions, runs, state, names, metrics: what Agno's documents describe.

use serde_json::{Value, json};
use sessionlog::{
    Access, Engine, Message, Metrics, Point, RunStatus, SessionType, StatePatch, SummaryWritten,
    session_record,
};

use crate::support::{Disk, engine_at, record_tool_turn, record_turn, texts};

#[test]
fn the_same_id_is_the_same_conversation() {
    let disk = Disk::new();
    {
        let engine = disk.open();
        let session = engine.session("conversation_123").open().unwrap();
        record_turn(&session, "My name is Alice", "Hello Alice");
    }
    let session = disk.open().session("conversation_123").open().unwrap();
    let prompt = session.window().messages().unwrap();
    assert_eq!(texts(&prompt), ["My name is Alice", "Hello Alice"]);
}

#[test]
fn a_read_sees_what_the_same_handle_has_appended() {
    let disk = Disk::new();
    let session = disk.open().session("s").open().unwrap();
    for number in 1..=20 {
        let run = session.start_run().unwrap();
        run.push(Message::user(format!("{number}"))).unwrap();
        let prompt = session.window().runs(1).messages().unwrap();
        assert_eq!(texts(&prompt), [format!("{number}")]);
        session.rename(format!("after {number}")).unwrap();
        assert_eq!(session.name().unwrap(), Some(format!("after {number}")));
    }
}

/// An application prints its own values, handles among them, into its logs.
#[test]
fn printing_a_handle_prints_nothing_of_what_is_stored() {
    let disk = Disk::new();
    for engine in [disk.open(), Engine::in_memory().unwrap()] {
        let session = engine.session("s1").user("alice").open().unwrap();
        record_turn(&session, "A secret.", &"Hush. ".repeat(500));
        let run = session.start_run().unwrap();
        let printed = [
            format!("{engine:?}"),
            format!("{session:?}"),
            format!("{run:?}"),
            format!("{:?}", session.window()),
            format!("{:?}", session.context()),
            format!("{:?}", session.replay().unwrap()),
            format!("{:?}", engine.memories("alice").unwrap()),
            format!("{:?}", engine.subscribe(Access::Admin, 1)),
        ];
        for printed in printed {
            assert!(printed.len() < 2_000, "{printed}");
        }
        let printed = format!("{engine:?} {session:?} {run:?}");
        let bytes = format!("{:?}", b"secret").replace(['[', ']'], "");
        assert!(!printed.contains("secret") && !printed.contains(&bytes), "{printed}");
    }
}

#[test]
fn many_users_and_sessions_live_side_by_side() {
    let engine = Engine::in_memory().unwrap();
    for (user, session) in [("mark", "m1"), ("mark", "m2"), ("john", "j1")] {
        let handle = engine.session(session).user(user).open().unwrap();
        record_turn(&handle, &format!("I am {user} in {session}"), "ok");
    }
    let mark = engine.session("m1").user("mark").open().unwrap();
    assert_eq!(texts(&mark.window().messages().unwrap()), ["I am mark in m1", "ok"]);
    assert_ne!(
        engine.new_session().open().unwrap().id(),
        engine.new_session().open().unwrap().id()
    );
}

#[test]
fn sessions_are_of_an_agent_a_team_or_a_workflow() {
    let engine = Engine::in_memory().unwrap();
    engine.session("a").agent("helper").open().unwrap();
    engine.session("t").team("crew").open().unwrap();
    engine.session("w").workflow("steps").component_data(json!({"n": 1})).open().unwrap();
    let types =
        ["a", "t", "w"].map(|id| engine.session(id).open().unwrap().view().unwrap().session_type);
    assert_eq!(types, [SessionType::Agent, SessionType::Team, SessionType::Workflow]);
    let error = engine.session("t").agent("helper").open().unwrap_err();
    assert_eq!(error.to_string(), "session t: is of type team, and agent was asked for");
    let record = engine.session("w").open().unwrap().at(Point::Head).unwrap().to_record().unwrap();
    assert_eq!((&record["workflow_data"], &record["agent_data"]), (&json!({"n": 1}), &Value::Null));
}

#[test]
fn a_record_has_every_field_of_the_storage_schema() {
    let (engine, clock) = engine_at(1_700_000_000_000_000);
    let session = engine
        .session("s")
        .user("alice")
        .agent("helper")
        .component_data(json!({"name": "Helper"}))
        .metadata(json!({"ticket": 7}))
        .state(json!({"cart": []}))
        .open()
        .unwrap();
    clock.advance(5_000_000);
    session.rename("Planning").unwrap().wait().unwrap();
    record_tool_turn(&session, "call_1");
    let record = session.at(Point::Head).unwrap().to_record().unwrap();
    let fields = [
        "session_id",
        "session_type",
        "agent_id",
        "team_id",
        "workflow_id",
        "user_id",
        "session_data",
        "agent_data",
        "team_data",
        "workflow_data",
        "metadata",
        "runs",
        "summary",
        "created_at",
        "updated_at",
    ];
    for field in fields {
        assert!(record.get(field).is_some(), "{field} is missing");
    }
    assert_eq!(record["session_data"]["session_name"], "Planning");
    assert_eq!(record["session_data"]["session_state"], json!({"cart": []}));
    assert_eq!(record["session_data"]["session_metrics"]["total_tokens"], 30);
    assert_eq!(record["metadata"], json!({"ticket": 7}));
    assert_eq!(record["created_at"], 1_700_000_000);
    assert_eq!(record["updated_at"], 1_700_000_005);
    assert_eq!(record["runs"][0]["messages"].as_array().unwrap().len(), 4);
    assert_eq!(record["runs"][0]["status"], "COMPLETED");
    assert!(session_record(&session.view().unwrap(), None).get("runs").is_none());
}

#[test]
fn state_patches_of_two_writers_are_both_kept() {
    let engine = Engine::in_memory().unwrap();
    let session =
        engine.session("s").state(json!({"user": {"name": "A"}, "list": [1, 2]})).open().unwrap();
    session.merge_state(json!({"user": {"age": 30}, "list": [3]})).unwrap().wait().unwrap();
    let other = engine.session("s").open().unwrap();
    let patch = StatePatch::new().set(["user", "city"], json!("Oslo")).remove(["user", "name"]);
    other.patch_state(patch).unwrap().wait().unwrap();
    let wanted = json!({"user": {"age": 30, "city": "Oslo"}, "list": [3]});
    assert_eq!(session.state().unwrap(), wanted);
    // The default state is for a session that is new.
    let again = engine.session("s").state(json!({"user": "reset"})).open().unwrap();
    assert_eq!(again.state().unwrap(), wanted);
}

#[test]
fn a_session_is_renamed_as_often_as_one_likes() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    assert_eq!(session.name().unwrap(), None);
    for name in ["one", "two", "three"] {
        session.rename(name).unwrap().wait().unwrap();
        assert_eq!(session.name().unwrap().as_deref(), Some(name));
    }
    assert!(session.rename(" ").is_err());
    let before = session.at(Point::seq(3)).unwrap();
    assert_eq!(before.view().name.as_deref(), Some("two"));
}

#[test]
fn metrics_count_every_run_once() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    let run = session.run().id("long").start().unwrap();
    run.push(Message::user("book it")).unwrap();
    run.pause("confirm").unwrap();
    run.resume().unwrap();
    run.clone().complete(Metrics::tokens(100, 50)).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().metrics.total_tokens, 165);
    // Resumed after it ended, it reports for the whole run again.
    run.resume().unwrap().wait().unwrap();
    run.push(Message::assistant("done")).unwrap();
    run.clone().complete(Metrics::tokens(130, 70)).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().metrics.total_tokens, 215);
    // Nothing needs to be waited for on the way.
    let quick = session.run().id("quick").start().unwrap();
    quick.clone().complete(Metrics::tokens(1, 0)).unwrap();
    quick.resume().unwrap();
    assert_eq!(session.view().unwrap().open_runs.values().next().unwrap().run_id, "quick");
    quick.complete(Metrics::tokens(3, 0)).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().metrics.total_tokens, 218);
    // Marking it as replaced takes nothing back: the tokens were spent.
    run.mark_regenerated().unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().metrics.total_tokens, 218);
    assert!(engine.verify().unwrap().ok);
}

#[test]
fn summaries_are_kept_as_events_and_can_be_undone() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    let summary = |text: &str, last_seq| SummaryWritten {
        summary: text.into(),
        topics: vec!["tea".into()],
        first_seq: 1,
        last_seq,
        model: None,
        metrics: None,
    };
    let first = session.write_summary(summary("first", 3)).unwrap().wait().unwrap();
    let second = session.write_summary(summary("second", 5)).unwrap().wait().unwrap();
    assert_eq!(session.summary().unwrap().unwrap().summary, "second");
    session.withdraw_summary(second.last_seq).unwrap().wait().unwrap();
    assert_eq!(session.summary().unwrap().unwrap().summary, "first");
    let past = session.at(Point::seq(first.last_seq - 1)).unwrap();
    assert!(past.view().summary().is_none());
    assert!(session.write_summary(summary("none", 0)).is_err());
}

#[test]
fn a_crash_in_the_middle_of_a_turn_leaves_what_had_happened_marked_interrupted() {
    let disk = Disk::new();
    {
        let engine = disk.open();
        let session = engine.session("s").open().unwrap();
        record_turn(&session, "first", "done");
        let run = session.run().id("cut").start().unwrap();
        run.push(Message::user("second")).unwrap();
        let call = Message::assistant("").with_call("c1", "weather", "{}");
        run.push(call).unwrap().wait().unwrap();
        let paused = session.run().id("waiting").start().unwrap();
        paused.pause("confirm").unwrap().wait().unwrap();
    }
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let statuses: Vec<_> = runs.iter().map(|run| run.status).collect();
    assert_eq!(statuses, [RunStatus::Completed, RunStatus::Interrupted, RunStatus::Paused]);
    assert_eq!(runs[1].messages.len(), 2);
    // The session goes on, and its unanswered call is not sent.
    record_turn(&session, "third", "fine");
    let prompt = session.window().messages().unwrap();
    assert_eq!(texts(&prompt), ["first", "done", "second", "third", "fine"]);
    // An interrupted run can be taken up again.
    let run = session.existing_run("cut");
    run.resume().unwrap().wait().unwrap();
    run.push(Message::tool("c1", "4 degrees")).unwrap().wait().unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    assert!(engine.verify().unwrap().ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_write_and_read_without_blocking_the_runtime() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.blocking(|engine| engine.session("s").open()).await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let session = session.clone();
            tokio::spawn(async move {
                let messages = [Message::user(format!("{number}"))];
                session.record_run(messages, Metrics::tokens(1, 0)).unwrap().await.unwrap()
            })
        })
        .collect();
    let mut seqs = Vec::new();
    for task in tasks {
        seqs.push(task.await.unwrap().last_seq);
    }
    seqs.sort_unstable();
    assert!(seqs.into_iter().eq((1..=50).map(|run| 1 + run * 3)));
    let reader = session.clone();
    let view = engine.blocking(move |_| reader.view()).await.unwrap();
    assert_eq!(view.message_count, 50);
}
