//! Compaction, erasure and deletion beside a writer, ended at any moment: each is there whole
//! where it returned, and can be finished where it did not.

use std::path::Path;

use sessionlog::{
    Engine, ErrorKind, EventBody, Message, Metrics, Point, Policy, Result, Role, Session,
    check_anthropic, check_openai, to_anthropic, to_openai,
};

use crate::power_cut::Disk;
use crate::writer::{Acknowledged, KEEPS, Notes, Writer};
use crate::{random_moment, rounds};

const NO_TOOLS: Policy = Policy::new().store_tool_messages(false);
/// Runs of one session: enough for several commits of a compaction.
const RUNS: usize = 140;

/// Records sessions, and compacts, erases and deletes them, until something fails.
pub(crate) fn keep(database: &Path, notes: &Notes) {
    let kept = || -> Result<()> {
        let engine = Engine::open(database)?;
        let first = engine.stats()?.events;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Somebody else writes all the while.
                if let Ok(session) = engine.session("beside").open() {
                    while record(&session, "beside").is_ok() {}
                }
            });
            (first..).try_for_each(|round| keep_one(&engine, notes, &format!("k{round}")))
        })
    };
    if let Err(error) = kept() {
        notes.add(&format!("failed {error}"));
    }
}

fn keep_one(engine: &Engine, notes: &Notes, id: &str) -> Result<()> {
    let session = engine.session(id).open()?;
    for _ in 0..RUNS {
        record(&session, "needle")?;
    }
    notes.add(&format!("recorded {id}"));
    let fork = session.fork(Point::run(2)).id(format!("{id}-fork")).open()?;
    engine.compaction().sessions([id, fork.id()]).policy(NO_TOOLS).run()?;
    notes.add(&format!("compacted {id}"));
    session.erase_message(3, Some("asked"))?;
    notes.add(&format!("erased {id}"));
    record(&session, "more")?;
    session.delete(Some("asked"))?;
    notes.add(&format!("deleted {id}"));
    record(&fork, "more")
}

fn record(session: &Session, question: &str) -> Result<()> {
    let messages = [
        Message::user(question),
        Message::assistant("Let me look.").with_call("c", "look", "{}"),
        Message::tool("c", "a result"),
        Message::assistant("Done."),
    ];
    session.record_run(messages, Metrics::tokens(2, 1))?.wait().map(drop)
}

pub(crate) fn existing(engine: &Engine, id: &str) -> Option<Session> {
    match engine.session(id).open_existing() {
        Ok(session) => Some(session),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
            None
        }
    }
}

fn tool_messages(session: &Session) -> usize {
    let events = session.events(Point::Head).unwrap().map(|event| event.unwrap().body);
    let is_tool = |body: &EventBody| {
        matches!(body, EventBody::MessageAdded(added)
            if added.message.role == Role::Tool && !added.message.omitted.message)
    };
    events.filter(is_tool).count()
}

/// Opens the database, and finds all that returned, and nothing by halves.
fn check(database: &Path, notes: &str) {
    let engine = Engine::open(database).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    for line in notes.lines() {
        let (what, id) = line.split_once(' ').unwrap();
        assert_ne!(what, "failed", "{line}");
        let (session, is_deleted) =
            (existing(&engine, id), notes.contains(&format!("deleted {id}\n")));
        assert!(!(is_deleted && session.is_some()), "{id} was deleted and is there");
        let Some(session) = session else { continue };
        let messages = session.view().unwrap().message_count;
        match what {
            "recorded" => assert!(messages >= 4 * RUNS as u64, "{id} was recorded"),
            // One more run came behind it, at most.
            "compacted" => assert!(tool_messages(&session) <= 1, "{id} was compacted"),
            "erased" => {
                let runs = session.at(Point::Head).unwrap().runs().unwrap();
                assert!(runs[0].messages[0].1.omitted.message, "{id} was erased from");
            }
            _ => {}
        }
    }
    let compaction = engine.compaction().policy(NO_TOOLS);
    for plan in compaction.plan().unwrap() {
        check_history(&existing(&engine, &plan.session_id).unwrap());
    }
    compaction.run().unwrap();
    for plan in compaction.plan().unwrap() {
        assert!(plan.is_empty(), "{plan:?}");
        let session = existing(&engine, &plan.session_id).unwrap();
        assert_eq!(tool_messages(&session), 0);
        check_history(&session);
    }
    assert!(engine.verify().unwrap().ok);
}

fn check_history(session: &Session) {
    let messages = session.window().all_runs().all_statuses().messages().unwrap();
    assert_sendable(&messages);
}

#[test]
fn what_was_compacted_erased_or_deleted_is_so_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    for round in 0..rounds(8) {
        let database = directory.path().join(format!("{round}.db"));
        let writer = Writer::start(&database, KEEPS, &notes);
        let moment = random_moment(900_000);
        writer.kill(&mut Acknowledged::new());
        let lines = std::fs::read_to_string(&notes).unwrap();
        eprintln!("round {round}: killed after {moment:?}, {} done", lines.lines().count());
        check(&database, &lines);
        std::fs::remove_dir_all(&database).unwrap();
    }
}

#[test]
fn what_was_compacted_erased_or_deleted_is_so_after_a_power_cut() {
    let Some(disk) = Disk::new(320) else { return };
    let writer = disk.start("kept.db", KEEPS);
    for _ in 0..rounds(24).div_ceil(4) {
        random_moment(500_000);
        disk.cut_and(&writer, |after| check(&after.join("kept.db"), &disk.notes()));
        writer.go_on();
    }
    writer.kill(&mut Acknowledged::new());
}

/// What is handed out is legal for both providers. It may be empty: see `Rule::NotEmpty`.
fn assert_sendable(messages: &[Message]) {
    let (openai, anthropic) = (to_openai(messages), to_anthropic(messages));
    assert!(openai.is_empty() || check_openai(&openai) == Ok(()), "{openai:?}");
    let is_legal = anthropic.messages.is_empty() || check_anthropic(&anthropic) == Ok(());
    assert!(is_legal, "{anthropic:?}");
}
