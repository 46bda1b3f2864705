//! A user reaches what is that user's, through every door there is.

use std::fmt::Debug;
use std::time::Duration;

use serde_json::json;
use sessionlog::transcript::{Format, export, export_memories};
use sessionlog::{
    Access, Cancel, Context, Engine, ErasureTarget, ErrorKind, Media, MemoryManager, Message,
    Metrics, NewMemory, Point, Result, SearchQuery, Session, SessionQuery, SummaryWritten, Ticket,
};

use crate::support::scripted::Scripted;

/// Everything of one user carries the user's mark.
fn fill(engine: &Engine, user: Option<&str>) -> Session {
    let mark = format!("mark-of-{}", user.unwrap_or("nobody"));
    let builder = engine.session(format!("{mark}-1"));
    let builder = match user {
        Some(user) => builder.user(user),
        None => builder,
    };
    let session = builder.state(json!({"note": mark.clone()})).open().unwrap();
    let run = session.start_run().unwrap();
    run.push(Message::user(format!("parcel {mark}"))).unwrap();
    let asked = run.push(Message::assistant("Look.").with_call(
        "c",
        "find",
        json!({"q": mark}).to_string(),
    ));
    asked.unwrap();
    run.push(Message::tool("c", format!("found {mark}"))).unwrap();
    run.context().build().unwrap().record(&run).unwrap();
    run.push(Message::assistant(format!("The parcel: {mark}"))).unwrap();
    run.complete(Metrics::tokens(1, 1)).unwrap().wait().unwrap();
    session.rename(format!("parcel {mark}")).unwrap();
    let summary = SummaryWritten {
        summary: format!("About a parcel, {mark}."),
        topics: vec![mark.clone()],
        first_seq: 1,
        last_seq: session.seq().unwrap(),
        model: None,
        metrics: None,
    };
    session.write_summary(summary).unwrap();
    if let Some(user) = user {
        let memory = NewMemory::new(format!("Waits for a parcel, {mark}.")).topics([mark.clone()]);
        engine.memories(user).unwrap().add(memory).unwrap().1.wait().unwrap();
    }
    session.fork(Point::Head).id(format!("{mark}-fork")).open().unwrap();
    session
}

fn engine() -> Engine {
    let engine = Engine::in_memory().unwrap();
    for user in [Some("alice"), Some("bob"), None] {
        fill(&engine, user);
    }
    engine
}

fn show(value: &impl Debug) -> String {
    format!("{value:?}")
}

/// What one access gets out of the calls that list and search.
fn listed(engine: &Engine, access: &Access, user: Option<&str>) -> Vec<(&'static str, String)> {
    let delivered = || {
        let mut subscription = engine.subscribe(access.clone(), 1);
        let mut seen = Vec::new();
        while let Some(delivery) = subscription.next_within(Duration::ZERO).unwrap() {
            seen.push(show(&delivery));
        }
        seen.concat()
    };
    let search = |words: &str| {
        let query = SearchQuery::new(access.clone(), words).limit(1_000);
        show(&engine.search(&query).unwrap())
    };
    let mut out = vec![
        (
            "sessions",
            show(&engine.sessions(&SessionQuery::new(access.clone()).limit(1_000)).unwrap()),
        ),
        (
            "sessions by name",
            show(&engine.sessions(&SessionQuery::new(access.clone()).name("parcel")).unwrap()),
        ),
        ("subscription", delivered()),
        ("search", search("parcel")),
        ("search for the mark of another", search("mark-of-bob")),
        ("search for a beginning", search("mark*")),
        ("search for what is not there", search("-nowhere par*")),
    ];
    if let Some(user) = user {
        let memories = engine.memories(user).unwrap();
        out.push(("memories", show(&memories.list(&sessionlog::MemoryQuery::new()).unwrap())));
        out.push(("memory dump", show(&export_memories(&memories).unwrap())));
        out.push(("memory search", show(&memories.search("parcel").unwrap())));
        out.push(("memory topics", show(&memories.topics().unwrap())));
    }
    out
}

/// What a session's handle gives out.
fn read(session: &Session) -> Vec<(&'static str, String)> {
    let at = session.at(Point::Head).unwrap();
    let tools = session.tools();
    let tool = |name: &str, arguments: &str| show(&tools.execute(name, arguments).unwrap());
    let past = ["mark-of-alice-1", "mark-of-bob-1", "mark-of-nobody-1"];
    // What was asked for is told back, so only what was said there counts.
    let read_past = |id: &str| {
        let asked = json!({ "session_id": id }).to_string();
        tool("read_past_session", &asked).replace(&format!("{id:?}").replace('"', "\\\""), "")
    };
    let context: Context = session
        .context()
        .add_memories_to_context(true)
        .add_session_summary_to_context(true)
        .add_session_state_to_context(true)
        .build()
        .unwrap();
    let recorded = session.recorded_contexts().unwrap();
    let rebuilt: Vec<_> = recorded.iter().map(|context| context.rebuild().unwrap()).collect();
    let mut out = vec![
        ("view", show(&session.view().unwrap())),
        ("record", at.to_record().unwrap().to_string()),
        ("runs", show(&at.runs().unwrap())),
        ("window", show(&session.window().messages().unwrap())),
        ("context", show(&context.messages())),
        ("recorded contexts", show(&rebuilt)),
        (
            "events",
            session.events(Point::Head).unwrap().map(|event| show(&event.unwrap())).collect(),
        ),
        ("replay", session.replay().unwrap().map(|step| show(&step.unwrap())).collect()),
        ("summaries", show(&session.summaries().unwrap())),
        ("search", show(&session.search("parcel").unwrap())),
        ("export", show(&export(session, Format::OpenAi).unwrap())),
        ("dump", show(&export(session, Format::Jsonl).unwrap())),
        ("get_chat_history", tool("get_chat_history", "{}")),
        ("get_tool_call_history", tool("get_tool_call_history", "{}")),
        ("search_past_sessions", tool("search_past_sessions", "{}")),
        ("read_past_session", past.iter().map(|id| read_past(id)).collect()),
        ("search_past_sessions for words", tool("search_past_sessions", r#"{"query":"parcel"}"#)),
    ];
    if let Ok(memories) = session.memories() {
        out.push(("memories", show(&memories.list(&sessionlog::MemoryQuery::new()).unwrap())));
    }
    out
}

#[test]
fn whatever_a_user_asks_for_nothing_of_anybody_else_comes_out() {
    let engine = engine();
    for (user, access) in [
        (Some("alice"), Access::User("alice".into())),
        (Some("bob"), Access::User("bob".into())),
        (None, Access::Nobody),
    ] {
        let own = format!("mark-of-{}", user.unwrap_or("nobody"));
        let builder = engine.session(format!("{own}-1"));
        let builder = if let Some(user) = user { builder.user(user) } else { builder };
        let session = builder.open_existing().unwrap();
        for (what, told) in listed(&engine, &access, user).into_iter().chain(read(&session)) {
            for other in ["alice", "bob", "nobody"].map(|name| format!("mark-of-{name}")) {
                // What was asked for stands in no answer; what is the user's own may.
                assert!(
                    other == own || !told.contains(&other),
                    "{what} of {own} tells {other}: {told}"
                );
            }
        }
    }
    let users = |access: Access| engine.memory_users(&access).unwrap();
    assert_eq!(users(Access::User("alice".into())), ["alice"]);
    assert_eq!(users(Access::Nobody), [""; 0]);
    assert_eq!(users(Access::Admin), ["alice", "bob"]);
    // The test would not see it if nothing came out at all.
    let alices = engine.session("mark-of-alice-1").user("alice").open().unwrap();
    let silent: Vec<_> =
        read(&alices).into_iter().filter(|(_, told)| !told.contains("mark-of-alice")).collect();
    assert_eq!(silent, []);
    let seen: String = listed(&engine, &Access::User("alice".into()), Some("alice"))
        .into_iter()
        .map(|(what, told)| if told.contains("mark-of-alice") { what } else { "" })
        .collect::<Vec<_>>()
        .join(",");
    assert!(
        seen.starts_with("sessions,sessions by name,subscription,search,,search for a beginning"),
        "{seen}"
    );
}

#[test]
fn a_session_of_anybody_else_is_refused_at_every_door() {
    let engine = engine();
    let bobs = "mark-of-bob-1";
    let kinds = [
        engine.session(bobs).user("alice").open_existing().map(|_| ()),
        engine.session(bobs).user("alice").open().map(|_| ()),
        engine.session(bobs).open().map(|_| ()),
        engine.session("mark-of-nobody-1").user("alice").open().map(|_| ()),
        engine
            .search(&SearchQuery::new(Access::User("alice".into()), "parcel").user("bob"))
            .map(|_| ()),
    ];
    for refused in kinds {
        let error = refused.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Forbidden), "{error}");
        assert!(!error.to_string().contains("parcel"), "{error}");
    }
    // Asked for by name within one's own reach, it is as if it were not there.
    let refused = |id: &str| {
        let named = SearchQuery::new(Access::User("alice".into()), "parcel").sessions([id]);
        engine.search(&named).unwrap_err().to_string().replace(id, "ID")
    };
    assert_eq!(refused(bobs), refused("nowhere"));
}

/// A handle that outlives the day on which the session was given to somebody else.
#[test]
fn a_handle_reads_and_writes_nothing_once_the_session_is_somebody_elses() {
    let engine = engine();
    let session = engine.session("mark-of-alice-1").user("alice").open().unwrap();
    let (run, tools) = (session.existing_run("r"), session.tools());
    let (context, window) = (session.context(), session.window());
    let model = Scripted::saying(&["stolen"]);
    let (manager, never) = (MemoryManager::new(model.clone()), Cancel::never());
    let message = ErasureTarget::Message { seq: 3 };
    let past = json!({"session_id": "mark-of-bob-1"}).to_string();
    let generous = engine.session("mark-of-alice-1").admin().open_existing().unwrap();
    generous.change_owner(Some("bob")).unwrap().wait().unwrap();
    let forbidden: Vec<(&str, Result<()>)> = vec![
        ("view", session.view().map(drop)),
        ("at", session.at(Point::Head).map(drop)),
        ("events", session.events(Point::Head).map(drop)),
        ("replay", session.replay().map(drop)),
        ("window", window.messages().map(drop)),
        ("context", context.build().map(drop)),
        ("recorded contexts", session.recorded_contexts().map(drop)),
        ("summaries", session.summaries().map(drop)),
        ("memories", session.memories().map(drop)),
        ("contexts of a run", session.recorded_contexts_of(Point::run(1)).map(drop)),
        ("a context", session.recorded_context(8).map(drop)),
        ("summary", session.summary_plan().map(drop)),
        ("summarizer", session.summarizer(model.clone()).run().map(drop)),
        ("name", session.name_generator(model.clone()).run().map(drop)),
        ("withdrawal", session.withdraw_summary(1).and_then(Ticket::wait).map(drop)),
        ("messages to learn from", session.memory_inputs(9).map(drop)),
        ("memories of a run", manager.update_memory_on_run(&session, "r", &never).map(drop)),
        ("memories of a message", manager.update_memory_from(&session, 3, &never).map(drop)),
        ("forks", session.forks().map(drop)),
        ("what an erasure would take", session.plan_erasure(message).map(drop)),
        ("what it would take of memories", session.plan_memory_erasure(Some(message)).map(drop)),
        ("media", session.store_media(Media::bytes("text/plain", b"words".to_vec())).map(drop)),
        ("compaction plan", session.compaction().plan().map(drop)),
        ("search", session.search("parcel").map(drop)),
        ("tools", tools.execute("get_chat_history", "{}").map(drop)),
        ("a past session", tools.execute("read_past_session", &past).map(drop)),
        ("past sessions", tools.execute("search_past_sessions", "{}").map(drop)),
        ("export", export(&session, Format::Jsonl).map(drop)),
        ("policy", session.policy().map(drop)),
        ("push", run.push(Message::user("x")).and_then(Ticket::wait).map(drop)),
        ("rename", session.rename("x").and_then(Ticket::wait).map(drop)),
        ("state", session.merge_state(json!({"a": 1})).and_then(Ticket::wait).map(drop)),
        ("fork", session.fork(Point::Head).id("theft").open().map(drop)),
        ("rewind", session.rewind(Point::Start).and_then(Ticket::wait).map(drop)),
        ("compaction", session.compaction().run().map(drop)),
        ("delete", session.delete(None).map(drop)),
        ("erase", session.erase_all(None).map(drop)),
        ("erase a message", session.erase_message(3, None).map(drop)),
    ];
    for (door, result) in forbidden {
        let error = result.expect_err(door);
        assert!(matches!(error.kind(), ErrorKind::Forbidden), "{door}: {error}");
    }
    assert_eq!(generous.view().unwrap().name.unwrap(), "parcel mark-of-alice");
    assert_eq!(model.calls(), 0);
}
