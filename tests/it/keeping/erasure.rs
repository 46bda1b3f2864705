//! Erasure of messages, runs and users, with what was derived from them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use sessionlog::transcript::{ImportOptions, import_text};
use sessionlog::{
    Batch, Durability, Engine, ErasureTarget, Error, EventBody, KeepRuns, Log, Media, MemoryLog,
    Message, Metrics, NewEvent, NewMemory, OlderRuns, PageLimit, Point, Policy, Range, Record,
    Renamed, Result, RunStatus, Session, StateChanged, StatePatch, SummaryWritten, ToolExecuted,
};

use crate::support::counting::Counting;
use crate::support::shapes::{append, assert_sound, memory};
use crate::support::{record_turn, texts};

fn summary(first_seq: u64, last_seq: u64, text: &str) -> SummaryWritten {
    SummaryWritten {
        summary: text.into(),
        topics: vec![text.into()],
        first_seq,
        last_seq,
        model: None,
        metrics: None,
    }
}

/// Everything that can be read of a session, as text.
pub(super) fn everything(session: &Session) -> String {
    let mut all = String::new();
    for event in session.events(Point::Head).unwrap() {
        let event = event.unwrap();
        all.push_str(event.body.to_json().as_str());
        let at = session.at(Point::seq(event.seq)).unwrap();
        all.push_str(&at.to_record().unwrap().to_string());
    }
    all.push_str(&serde_json::to_string(&session.view().unwrap()).unwrap());
    all
}

fn needle(engine: &Engine) -> (Session, u64) {
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "before", "a");
    let seq = session.seq().unwrap() + 2;
    record_turn(&session, "NEEDLE here", "b");
    append(&session, summary(1, seq + 2, "about NEEDLE"));
    append(&session, Renamed { name: Some("The NEEDLE".into()), is_generated: true });
    let run = session.start_run().unwrap();
    let mut copy = Message::user("NEEDLE here");
    copy.from_history = true;
    run.push_all([copy, Message::user("after"), Message::assistant("c")]).unwrap();
    run.complete(Metrics::tokens(3, 3)).unwrap().wait().unwrap();
    (session, seq)
}

#[test]
fn an_erased_message_is_gone_with_all_that_was_derived_from_it() {
    let engine = memory(Policy::new());
    let (session, seq) = needle(&engine);
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    append(&fork, summary(1, 10, "also NEEDLE"));
    fork.rename("Mine").unwrap().wait().unwrap();
    let metrics = session.view().unwrap().metrics;
    assert!(everything(&session).contains("NEEDLE") && everything(&fork).contains("NEEDLE"));
    let receipt = session.erase_message(seq, Some("art. 17")).unwrap();
    assert_eq!(receipt.derived.len(), 3);
    assert_eq!(receipt.forks.len(), 1);
    for session in [&session, &fork] {
        assert!(!everything(session).contains("NEEDLE"), "{}", session.id());
    }
    assert_eq!(session.name().unwrap(), None);
    assert_eq!(fork.name().unwrap().as_deref(), Some("Mine"));
    assert_eq!((session.summary().unwrap(), fork.summary().unwrap()), (None, None));
    assert_eq!(session.view().unwrap().metrics, metrics);
    assert!(session.erase_message(seq, None).is_err());
    assert_eq!(texts(&session.window().messages().unwrap()), ["before", "a", "b", "after", "c"]);
    assert_sound(&engine);
}

#[test]
fn an_erased_run_leaves_its_id_and_what_it_spent() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "before", "a");
    let run = session.run().id("secret-run").input(serde_json::json!("NEEDLE")).start().unwrap();
    run.push(Message::user("NEEDLE")).unwrap();
    let state =
        StateChanged { ops: StatePatch::new().set(["k"], serde_json::json!("NEEDLE")).into_ops() };
    session.append([NewEvent::in_run("secret-run", state)]).unwrap();
    run.fail("NEEDLE", Metrics::tokens(4, 4)).unwrap().wait().unwrap();
    for number in 0..130 {
        record_turn(&session, &format!("q{number}"), "a");
    }
    assert!(session.state().unwrap().to_string().contains("NEEDLE"));
    let before = session.view().unwrap();
    session.erase_run("secret-run", None).unwrap();
    assert!(!everything(&session).contains("NEEDLE"));
    let after = session.view().unwrap();
    assert_eq!((after.metrics, after.run_count), (before.metrics, before.run_count));
    assert_eq!(session.at(Point::Head).unwrap().runs().unwrap().len(), 131);
    assert!(session.erase_run("no-such-run", None).is_err());
    assert_sound(&engine);
}

#[test]
fn erasing_through_a_fork_reaches_what_it_shares() {
    let engine = memory(Policy::new());
    let (session, seq) = needle(&engine);
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    let receipt = fork.erase_message(seq, None).unwrap();
    assert_eq!(receipt.session_id, "s");
    assert!(!everything(&session).contains("NEEDLE") && !everything(&fork).contains("NEEDLE"));
    assert_sound(&engine);
}

#[test]
fn an_erased_user_is_gone_from_forks_of_others_too() {
    let engine = memory(Policy::new());
    let session = engine.session("s").user("alice").open().unwrap();
    record_turn(&session, "NEEDLE", "a");
    let fork = session.fork(Point::Head).id("fork").open().unwrap();
    record_turn(&fork, "mine", "a");
    fork.change_owner(Some("bob")).unwrap().wait().unwrap();
    let fork = engine.session("fork").user("bob").open().unwrap();
    assert!(everything(&fork).contains("NEEDLE"));
    let receipts = engine.erase_user("alice", Some("art. 17")).unwrap();
    assert_eq!((receipts.len(), receipts[0].forks.len()), (1, 1));
    assert!(!everything(&fork).contains("NEEDLE"));
    assert_eq!(texts(&fork.window().messages().unwrap()), ["mine", "a"]);
    assert_sound(&engine);
}

#[test]
fn copies_of_what_a_policy_took_go_with_the_first_of_them() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "NEEDLE", "a");
    for _ in 0..2 {
        let mut copy = Message::user("NEEDLE");
        copy.from_history = true;
        session.record_run([copy, Message::user("more")], Metrics::default()).unwrap();
    }
    let keep = KeepRuns::Last { runs: 2, older: OlderRuns::Reduced };
    session.compaction().policy(Policy::new().keep_runs(keep)).run().unwrap();
    // The words of the first are gone, and nothing says what they were.
    assert!(session.erase_message(3, None).is_err());
    assert!(everything(&session).contains("NEEDLE"));
    let first = session.events(Point::Head).unwrap().map(Result::unwrap);
    let first = first.filter(|event| event.body.to_json().as_str().contains("NEEDLE"));
    let first = first.map(|event| event.seq).next().unwrap();
    assert_eq!(session.erase_message(first, None).unwrap().events, 2);
    assert!(!everything(&session).contains("NEEDLE"));
    assert_sound(&engine);
}

#[test]
fn copies_of_a_call_without_words_go_with_it() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let call = || Message::assistant("").with_call("c1", "lookup", r#"{"ssn":"NEEDLE"}"#);
    let other = || Message::assistant("").with_call("c2", "lookup", r#"{"ssn":"kept"}"#);
    let messages = [Message::user("q"), call(), Message::tool("c1", "ok")];
    session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
    let copied = |mut message: Message| {
        message.from_history = true;
        message
    };
    let mut thought = Message::assistant("");
    thought.reasoning = Some(String::from("NEEDLE, hm"));
    let messages = [copied(call()), copied(other()), thought.clone(), Message::user("next")];
    session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
    session.record_run([copied(thought)], Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(session.erase_message(4, None).unwrap().derived, [8]);
    assert_eq!(session.erase_message(10, None).unwrap().derived, [14]);
    assert!(!everything(&session).contains("NEEDLE") && everything(&session).contains("kept"));
    assert_sound(&engine);
}

#[test]
fn an_erasure_takes_what_its_plan_said_and_leaves_what_was_said_before() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    session.record_run([Message::user("hello")], Metrics::default()).unwrap().wait().unwrap();
    for _ in 0..3 {
        let mut copy = Message::user("hello");
        copy.from_history = true;
        session.record_run([copy], Metrics::default()).unwrap().wait().unwrap();
    }
    let target = ErasureTarget::Message { seq: 9 };
    assert_eq!(session.plan_erasure(target).unwrap(), [9, 12]);
    let receipt = session.erase_message(9, None).unwrap();
    assert_eq!((receipt.events, receipt.derived), (2, vec![12]));
    let left = session.events(Point::Head).unwrap().map(Result::unwrap);
    let left = left.filter(|event| event.body.to_json().as_str().contains("hello"));
    assert_eq!(left.map(|event| event.seq).collect::<Vec<_>>(), [3, 6]);
    assert_sound(&engine);
}

/// A log in memory that fails one append.
#[derive(Debug)]
pub(super) struct FailsOnce {
    inner: MemoryLog,
    good: AtomicU64,
}

impl FailsOnce {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { inner: MemoryLog::new(), good: AtomicU64::new(u64::MAX) })
    }

    /// Lets the append fail that comes after so many.
    pub(super) fn fail(&self, append: u64) {
        self.good.store(append, Ordering::SeqCst);
    }
}

impl Log for FailsOnce {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.inner.get(key)
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        self.inner.page(range, limit)
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        if self.good.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Err(Error::key("this one fails"));
        }
        self.inner.append(batch, durability, mark)
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.inner.apply(batch)
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}

#[test]
fn an_erasure_that_broke_off_is_finished_by_doing_it_again() {
    for failing in 1.. {
        let log = FailsOnce::new();
        let open = || Engine::builder().open_log(log.clone()).unwrap();
        let engine = open();
        let (session, seq) = needle(&engine);
        let fork = session.fork(Point::Head).id("fork").open().unwrap();
        let run = fork.start_run().unwrap();
        let mut copy = Message::user("NEEDLE here");
        copy.from_history = true;
        run.push(copy).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        log.fail(failing);
        let broke_off = session.erase_message(seq, None).is_err();
        log.fail(u64::MAX);
        drop((session, fork, engine));
        let engine = open();
        let session = engine.session("s").open_existing().unwrap();
        let fork = engine.session("fork").open_existing().unwrap();
        if broke_off {
            // Where only snapshots were left to be made, it is done.
            drop(session.erase_message(seq, None));
        }
        assert!(!everything(&session).contains("NEEDLE"), "{failing}");
        assert!(!everything(&fork).contains("NEEDLE"), "{failing}");
        assert_sound(&engine);
        assert!(session.erase_message(seq, None).is_err());
        if !broke_off {
            assert!(failing > 2);
            return;
        }
    }
}

#[test]
fn erasing_a_long_run_beside_a_writer_takes_the_copies_too() {
    let engine = memory(Policy::new());
    let s = engine.session("s").open().unwrap();
    let run = s.run().id("secret").start().unwrap();
    for n in 0..500 {
        run.push(Message::user(format!("NEEDLE {n}"))).unwrap();
    }
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    let run = s.start_run().unwrap();
    for n in 0..100 {
        let mut copy = Message::user(format!("NEEDLE {n}"));
        copy.from_history = true;
        run.push(copy).unwrap();
    }
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let (writer, theirs) = (engine.session("s").open().unwrap(), stop.clone());
    let thread = std::thread::spawn(move || {
        let mut n = 0;
        while !theirs.load(Ordering::SeqCst) {
            record_turn(&writer, &format!("w{n}"), "a");
            n += 1;
        }
    });
    let erased = s.erase_run("secret", None);
    stop.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    erased.unwrap();
    let mut events = s.events(Point::Head).unwrap();
    assert!(!events.any(|event| event.unwrap().body.to_json().as_str().contains("NEEDLE")));
    assert_sound(&engine);
}

#[test]
fn two_erasures_at_once_leave_no_snapshot_that_still_knows() {
    for round in 0..4 {
        let engine = memory(Policy::new());
        let s = engine.session("s").open().unwrap();
        record_turn(&s, "one", "a");
        record_turn(&s, "two", "a");
        append(
            &s,
            SummaryWritten {
                summary: "ONE".into(),
                topics: vec![],
                first_seq: 3,
                last_seq: 3,
                model: None,
                metrics: None,
            },
        );
        append(
            &s,
            SummaryWritten {
                summary: "TWO".into(),
                topics: vec![],
                first_seq: 7,
                last_seq: 7,
                model: None,
                metrics: None,
            },
        );
        for number in 0..130 {
            record_turn(&s, &format!("q{number}"), "a");
        }
        std::thread::scope(|scope| {
            let e = &engine;
            scope.spawn(move || e.session("s").open().unwrap().erase_message(3, None).unwrap());
            scope.spawn(move || e.session("s").open().unwrap().erase_message(7, None).unwrap());
        });
        let report = engine.verify().unwrap();
        assert!(report.ok, "{round} {:?}", report.problems.first());
    }
}

#[test]
fn the_receipt_of_a_session_counts_what_went_from_the_part_that_forks_share() {
    let counted = |is_forked: bool| {
        let engine = memory(Policy::new());
        let session = engine.session("s").user("alice").open().unwrap();
        let photo = session.store_media(Media::bytes("image/png", vec![9; 5_000])).unwrap();
        let message = Message::user("I like tea").with_part(photo.part());
        let messages = [message, Message::assistant("ok")];
        session.record_run(messages, Metrics::default()).unwrap().wait().unwrap();
        drop(photo);
        let memory = NewMemory::new("likes tea").from_message("s", 3);
        engine.memories("alice").unwrap().add(memory).unwrap().1.wait().unwrap();
        if is_forked {
            session.fork(Point::Head).id("fork").open().unwrap();
        }
        let receipt = session.erase_all(None).unwrap();
        assert_sound(&engine);
        (receipt.events, receipt.blobs.len(), receipt.memories.len(), receipt.forks.len())
    };
    let (events, blobs, memories, forks) = counted(false);
    assert_eq!((blobs, memories, forks), (1, 1, 0));
    let (shared_events, shared_blobs, shared_memories, shared_forks) = counted(true);
    assert_eq!((shared_blobs, shared_memories, shared_forks), (1, 1, 1));
    // That there were a session and a run stays for the fork.
    assert!((2..=events).contains(&shared_events), "{shared_events} of {events}");
}

#[test]
fn an_erased_message_takes_the_reasons_of_its_run_with_it() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let run = session.run().id("r").start().unwrap();
    run.push(Message::user("send NEEDLE")).unwrap();
    run.pause("confirm: send NEEDLE?").unwrap();
    run.resume().unwrap();
    run.fail("refused: send NEEDLE", Metrics::tokens(4, 2)).unwrap().wait().unwrap();
    let other = session.run().id("other").start().unwrap();
    other.push(Message::user("q")).unwrap();
    other.fail("too slow", Metrics::default()).unwrap().wait().unwrap();
    let before = session.view().unwrap();
    assert_eq!(session.erase_message(3, None).unwrap().derived, [4, 6]);
    assert!(!everything(&session).contains("NEEDLE") && everything(&session).contains("too slow"));
    assert_eq!(session.view().unwrap().metrics, before.metrics);
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    assert_eq!(runs[0].status, RunStatus::Error);
    assert_sound(&engine);
}

/// A run in which a tool is called and says a word, once for each. Every call has the same id.
fn uses(session: &Session, words: &[&str], is_record_first: bool) {
    let run = session.start_run().unwrap();
    for word in words {
        let call = Message::assistant("").with_call("c1", "f", format!("{{\"n\":\"{word}\"}}"));
        let record = ToolExecuted {
            tool_call_id: Some("c1".into()),
            result: Some((*word).into()),
            ..ToolExecuted::default()
        };
        if is_record_first {
            run.tool_executed(record.clone()).unwrap();
        }
        run.push(call).unwrap();
        if !is_record_first {
            run.tool_executed(record).unwrap();
        }
        run.push(Message::tool("c1", *word)).unwrap();
    }
    run.complete(Metrics::default()).unwrap().wait().unwrap();
}

fn records(session: &Session) -> Vec<Option<String>> {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    runs.iter().flat_map(|run| &run.tools).map(|tool| tool.result.clone()).collect()
}

#[test]
fn erasing_a_call_leaves_the_records_of_others_with_its_id() {
    // The first call, the first result, the second call; and the records that are left.
    for (seq, left) in
        [(3, ["", "two", "three"]), (5, ["", "two", "three"]), (6, ["one", "", "three"])]
    {
        let engine = memory(Policy::new());
        let session = engine.session("s").open().unwrap();
        uses(&session, &["one", "two", "three"], false);
        session.erase_message(seq, None).unwrap();
        let found: Vec<_> = records(&session).into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(found, left, "seq {seq}");
        // What is left of it does not blur the others.
        session.erase_message(11, None).unwrap();
        let found: Vec<_> = records(&session).into_iter().map(Option::unwrap_or_default).collect();
        assert_eq!(found, [left[0], left[1], ""], "seq {seq}");
        assert_sound(&engine);
    }
}

#[test]
fn where_nobody_knows_of_which_call_a_record_is_an_erasure_takes_it() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    uses(&session, &["one", "two"], true);
    // The second call, in front of which its record lies.
    session.erase_message(7, None).unwrap();
    assert_eq!(records(&session), [None, None]);
    assert_sound(&engine);
}

/// Local servers give none, and so do older transcripts.
#[test]
fn records_of_calls_without_an_id_go_with_any_call_of_their_run() {
    let unnamed = |word: &str| {
        let mut call = Message::assistant("").with_call("", "f", format!("{{\"n\":\"{word}\"}}"));
        call.tool_calls[0].id = None;
        let mut result = Message::tool("", word);
        result.tool_call_id = None;
        [call, result]
    };
    let record = |id: Option<&str>, word: &str| ToolExecuted {
        tool_call_id: id.map(Into::into),
        result: Some(word.into()),
        ..ToolExecuted::default()
    };
    // What goes: a question, the call, its result, and a call of another run that has an id.
    for (seq, left) in [
        (3, [Some("one"), Some("two"), Some("three"), Some("four")]),
        (4, [None, None, Some("three"), Some("four")]),
        (5, [None, None, Some("three"), Some("four")]),
        (11, [Some("one"), Some("two"), None, None]),
    ] {
        let engine = memory(Policy::new());
        let session = engine.session("s").open().unwrap();
        let run = session.start_run().unwrap();
        run.push_all([Message::user("q")]).unwrap();
        run.push_all(unnamed("one")).unwrap();
        run.tool_executed(record(None, "one")).unwrap();
        run.tool_executed(record(Some("elsewhere"), "two")).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        let run = session.start_run().unwrap();
        run.push(Message::user("q")).unwrap();
        run.push(Message::assistant("").with_call("c1", "f", "{}")).unwrap();
        run.tool_executed(record(Some("c1"), "three")).unwrap();
        run.tool_executed(record(None, "four")).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        session.erase_message(seq, None).unwrap();
        let found = records(&session);
        let found: Vec<_> = found.iter().map(Option::as_deref).collect();
        assert_eq!(found, left, "seq {seq}");
        assert_sound(&engine);
    }
}

/// It stands in front of the messages that it was made of.
#[test]
fn a_title_that_an_import_brought_goes_with_what_it_came_from() {
    let said = |id: &str, before: Option<&str>, message: serde_json::Value| {
        let role = &message["role"];
        let mut line = json!({ "type": role, "uuid": id, "parentUuid": before, "sessionId": "s" });
        line["message"] = message;
        line
    };
    let text = json!([{ "type": "text", "text": "well" }]);
    let lines = [
        json!({ "type": "summary", "summary": "The NEEDLE", "leafUuid": "2" }),
        said("1", None, json!({ "role": "user", "content": "about it" })),
        said("2", Some("1"), json!({ "id": "m", "role": "assistant", "content": text })),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    for is_run in [false, true] {
        let engine = memory(Policy::new());
        import_text(&engine, "s", text.as_bytes(), &ImportOptions::default()).unwrap();
        let session = engine.session("s").open_existing().unwrap();
        assert_eq!(session.view().unwrap().name.as_deref(), Some("The NEEDLE"));
        if is_run {
            session.erase_run(
                &session.at(Point::Head).unwrap().runs().unwrap()[0].started.run_id,
                None,
            )
        } else {
            let events = session.events(Point::Head).unwrap().map(Result::unwrap);
            let messages = events.filter(|event| matches!(event.body, EventBody::MessageAdded(_)));
            session.erase_message(messages.last().unwrap().seq, None)
        }
        .unwrap();
        assert!(!everything(&session).contains("NEEDLE"));
        assert_eq!(session.view().unwrap().name, None);
        assert_sound(&engine);
    }
}

#[test]
fn an_erasure_reads_in_proportion_to_what_it_takes() {
    let reads = |messages: usize| {
        let log = Arc::new(Counting::default());
        let engine = Engine::builder().open_log(log.clone()).unwrap();
        let session = engine.session("s").open().unwrap();
        let run = session.run().id("secret").start().unwrap();
        for n in 0..messages {
            run.push(Message::user(format!("NEEDLE {n}"))).unwrap();
        }
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        let before = log.read();
        session.erase_run("secret", None).unwrap();
        assert!(!everything_said(&session).contains("NEEDLE"));
        log.read() - before
    };
    let (short, long) = (reads(1_024), reads(4_096));
    assert!(long < short * 5, "{short} records, then {long}");
}

fn everything_said(session: &Session) -> String {
    let events = session.events(Point::Head).unwrap();
    events.map(|event| event.unwrap().body.to_json().as_str().to_owned()).collect()
}
