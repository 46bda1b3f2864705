//! Dumps: out of one database and into another with the same links.

use serde_json::{Value, json};

use crate::transcript::{
    Format, ImportOptions, ImportReport, export, export_memories, import_text,
};
use crate::{Access, Engine, Memories, MemoryQuery, Message, Metrics, NewMemory, Point, Session};

fn turn(session: &Session, question: &str) {
    let messages = [
        Message::user(question),
        Message::assistant("").with_call("c", "look", "{}"),
        Message::tool("c", "seen"),
        Message::assistant("done"),
    ];
    session.record_run(messages, Metrics::tokens(3, 1)).unwrap().wait().unwrap();
}

/// A session that went back, and a fork of it.
fn original() -> (Engine, Session, Session) {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("parent").user("alice").state(json!({"a": 1})).open().unwrap();
    turn(&session, "q1");
    turn(&session, "q2");
    session.rename("Named").unwrap();
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    turn(&session, "q3");
    let fork = session.fork(Point::seq(4)).id("fork").open().unwrap();
    turn(&fork, "q4");
    (engine, session, fork)
}

fn lines(session: &Session) -> String {
    let lines = export(session, Format::Jsonl).unwrap();
    lines.iter().map(|line| line.as_str().to_owned() + "\n").collect()
}

fn import(engine: &Engine, text: &str) -> ImportReport {
    let report = import_text(engine, "dump", text.as_bytes(), &ImportOptions::default()).unwrap();
    let verified = engine.verify().unwrap();
    assert!(verified.ok, "{:?}", verified.problems);
    report
}

#[test]
fn a_dump_is_taken_over_with_the_same_links() {
    let (_engine, session, fork) = original();
    let (of_parent, of_fork) = (lines(&session), lines(&fork));
    let other = Engine::in_memory().unwrap();
    turn(&other.session("somebody").open().unwrap(), "q");
    let report = import(&other, &(of_parent.clone() + &of_fork));
    assert_eq!(report.skipped, []);
    assert_eq!((report.recorded.sessions, report.unchanged), (2, 1));
    for (there, dump) in [(&session, &of_parent), (&fork, &of_fork)] {
        let here = other.session(there.id()).user("alice").open_existing().unwrap();
        assert_eq!(&lines(&here), dump);
        let (now, then) = (here.at(Point::Head).unwrap(), there.at(Point::Head).unwrap());
        assert_eq!(now.view(), then.view());
        assert_eq!(now.runs().unwrap(), then.runs().unwrap());
        turn(&here, "it goes on");
    }
    assert!(other.verify().unwrap().ok);
}

#[test]
fn a_dump_of_a_fork_brings_what_it_shares() {
    let (_engine, session, fork) = original();
    let other = Engine::in_memory().unwrap();
    assert_eq!(import(&other, &lines(&fork)).skipped, []);
    let here = other.session("fork").user("alice").open_existing().unwrap();
    assert_eq!(lines(&here), lines(&fork));
    // The rest of the parent comes with its own dump.
    let report = import(&other, &lines(&session));
    assert_eq!((report.skipped.len(), report.recorded.sessions), (0, 1));
    let parent = other.session("parent").user("alice").open_existing().unwrap();
    assert_eq!(lines(&parent), lines(&session));
}

#[test]
fn taking_over_a_dump_again_adds_nothing_and_a_grown_one_what_is_new() {
    let (_engine, session, _fork) = original();
    let other = Engine::in_memory().unwrap();
    let dump = lines(&session);
    import(&other, &dump);
    let again = import(&other, &dump);
    assert_eq!((again.recorded.sessions, again.unchanged), (0, 1));
    turn(&session, "more");
    let grown = import(&other, &lines(&session));
    assert_eq!((grown.recorded.sessions, grown.recorded.runs, grown.recorded.messages), (1, 1, 4));
    // What is written here is not written there: from then on both go their own ways.
    turn(&other.session("parent").user("alice").open().unwrap(), "here");
    turn(&session, "there");
    let apart = import(&other, &lines(&session));
    assert_eq!(apart.recorded.sessions, 0);
    assert!(apart.skipped[0].reason.contains("went its own way"), "{:?}", apart.skipped);
}

#[test]
fn a_line_that_was_edited_is_refused_and_named() {
    let (_engine, session, _fork) = original();
    let dump = lines(&session);
    for (from, to) in
        [("\"q1\"", "\"qX\""), ("\"frame\":\"U", "\"frame\":\"V"), ("\"seq\":3", "\"seq\":4")]
    {
        let edited = dump.replacen(from, to, 1);
        assert_ne!(edited, dump);
        let other = Engine::in_memory().unwrap();
        let report = import(&other, &edited);
        assert!(report.skipped.iter().any(|skipped| skipped.line.is_some()), "{from}");
        let left = other.session("parent").user("alice").open_existing();
        assert!(left.is_err() || left.unwrap().seq().unwrap() < session.seq().unwrap());
    }
}

#[test]
fn a_dump_that_was_cut_leaves_out_half_a_commit() {
    let (_engine, session, _fork) = original();
    let dump = lines(&session);
    let cut: String = dump.lines().take(4).map(|line| line.to_owned() + "\n").collect();
    let other = Engine::in_memory().unwrap();
    let report = import(&other, &cut);
    assert!(report.skipped[0].reason.contains("part of a commit"), "{:?}", report.skipped);
    assert_eq!(other.session("parent").user("alice").open().unwrap().seq().unwrap(), 1);
    assert_eq!(import(&other, &dump).skipped, []);
}

/// Nothing of it is there, so it is not there unchanged.
#[test]
fn of_a_dump_that_was_cut_inside_its_first_commit_nothing_is_found() {
    let engine = Engine::in_memory().unwrap();
    let text = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    import(&engine, text);
    let all = engine.sessions(&crate::SessionQuery::new(crate::Access::Admin)).unwrap().sessions;
    let session = engine.session(&*all[0].session_id).open_existing().unwrap();
    let report = import(&Engine::in_memory().unwrap(), lines(&session).lines().next().unwrap());
    assert_eq!((report.found.sessions, report.unchanged, report.skipped.len()), (0, 0, 1));
}

#[test]
fn a_fork_without_what_it_shares_is_refused() {
    let (_engine, _session, fork) = original();
    let own: String = lines(&fork)
        .lines()
        .filter(|line| line.contains("\"session_id\":\"fork\",\"seq\""))
        .map(|line| line.to_owned() + "\n")
        .collect();
    let other = Engine::in_memory().unwrap();
    let report = import(&other, &own);
    assert_eq!((report.recorded.sessions, report.skipped.len()), (0, 1));
    assert!(report.skipped[0].reason.contains("no such session"), "{:?}", report.skipped);
}

#[test]
fn a_dump_is_for_reading_too() {
    let (_engine, session, _fork) = original();
    let first: Value = serde_json::from_str(lines(&session).lines().next().unwrap()).unwrap();
    assert_eq!((&first["kind"], &first["seq"]), (&json!("session_created"), &json!(1)));
    assert_eq!(first["body"]["session_id"], "parent");
    let options = ImportOptions { user_id: Some("bob".into()), ..ImportOptions::default() };
    let other = Engine::in_memory().unwrap();
    let report = import_text(&other, "dump", lines(&session).as_bytes(), &options).unwrap();
    assert!(report.skipped[0].reason.contains("whose its sessions are"));
}

#[test]
fn a_dump_that_ends_inside_a_run_is_gone_on_with_later() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    run.push(Message::user("q")).unwrap().wait().unwrap();
    let early = lines(&session);
    run.push(Message::assistant("a")).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    let log: std::sync::Arc<dyn crate::Log> = std::sync::Arc::new(crate::MemoryLog::new());
    let open = || Engine::builder().open_log(std::sync::Arc::clone(&log)).unwrap();
    import(&open(), &early);
    // Opening ends the runs of this database only.
    let other = open();
    assert_eq!(import(&other, &lines(&session)).skipped, []);
    assert_eq!(lines(&other.session("s").open().unwrap()), lines(&session));
}

#[test]
fn a_fork_that_is_cut_inside_its_first_commit_is_whole_in_its_indexes() {
    let (engine, session, _fork) = original();
    let fork = session.fork(Point::seq(4)).id("one").open().unwrap();
    let of_fork = fork.fork(Point::seq(5)).id("two").open().unwrap();
    assert!(engine.verify().unwrap().ok);
    let other = Engine::in_memory().unwrap();
    assert_eq!(import(&other, &lines(&of_fork)).skipped, []);
    assert_eq!(import(&other, &lines(&fork)).skipped, []);
    let here = other.session("one").user("alice").open_existing().unwrap();
    assert_eq!(lines(&here), lines(&fork));
}

/// A memory that came from a message, one that was changed and erased, and nothing of a message.
fn remembered() -> (Engine, Memories, String) {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    turn(&session, "I like tea");
    let memories = engine.memories("alice").unwrap();
    let add = |new: NewMemory| {
        let (memory_id, ticket) = memories.add(new).unwrap();
        ticket.wait().unwrap();
        memory_id
    };
    let learned = add(NewMemory::new("Likes tea.").topics(["drinks"]).from_message("s", 3));
    let gone = add(NewMemory::new("SECRET"));
    memories.erase(&gone, None).unwrap();
    (engine, memories, learned)
}

fn memory_lines(memories: &Memories) -> String {
    let lines = export_memories(memories).unwrap();
    lines.iter().map(|line| line.as_str().to_owned() + "\n").collect()
}

#[test]
fn memories_are_taken_over_with_the_same_links_and_an_erasure_still_finds_them() {
    let (engine, memories, learned) = remembered();
    let dump = memory_lines(&memories);
    assert!(!dump.contains("SECRET"));
    let session = engine.session("s").user("alice").open_existing().unwrap();
    // Whichever comes first: the memory or the session that it came from.
    for texts in [[lines(&session), dump.clone()], [dump.clone(), lines(&session)]] {
        let other = Engine::in_memory().unwrap();
        for text in &texts {
            assert_eq!(import(&other, text).skipped, []);
        }
        let here = other.memories("alice").unwrap();
        assert_eq!(memory_lines(&here), dump);
        assert_eq!(here.get(&learned).unwrap(), memories.get(&learned).unwrap());
        assert_eq!(here.history(&learned).unwrap(), memories.history(&learned).unwrap());
        let again = import(&other, &dump);
        assert_eq!((again.unchanged_memory_users, again.recorded.memory_users), (1, 0));
        here.add(NewMemory::new("It goes on.")).unwrap().1.wait().unwrap();
        let taken = other.session("s").user("alice").open_existing().unwrap();
        taken.erase_message(3, None).unwrap();
        assert!(here.get(&learned).is_err());
        assert!(other.verify().unwrap().ok);
    }
}

#[test]
fn memories_do_not_bring_back_what_was_erased_here_and_mix_with_no_others() {
    let (engine, memories, _) = remembered();
    let dump = memory_lines(&memories);
    let session = engine.session("s").user("alice").open_existing().unwrap();
    let other = Engine::in_memory().unwrap();
    import(&other, &lines(&session));
    other.session("s").user("alice").open_existing().unwrap().erase_message(3, None).unwrap();
    let report = import(&other, &dump);
    assert!(report.skipped[0].reason.contains("no such message"), "{:?}", report.skipped);
    assert_eq!(memory_lines(&other.memories("alice").unwrap()), "");
    // Under another user's name, as a session's, or changed by hand, they are none.
    let forged = [
        dump.replace("\"memories_of\":\"alice\"", "\"memories_of\":\"bob\""),
        dump.replace("\"memories_of\":\"alice\"", "\"session_id\":\"alice\""),
        dump.replace("Likes tea.", "Likes gin."),
    ];
    for text in forged {
        let third = Engine::in_memory().unwrap();
        let report = import(&third, &text);
        assert!(!report.skipped.is_empty());
        assert!(third.memory_users(&Access::Admin).unwrap().iter().all(|user| user == "alice"));
        assert!(third.memories("alice").unwrap().list(&MemoryQuery::new()).unwrap().is_empty());
    }
}
