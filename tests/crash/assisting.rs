//! Summaries and names beside a writer, ended at any moment: what returned is there, and what is
//! there says of what it covers neither more nor less.

use std::path::Path;
use std::sync::Arc;

use sessionlog::{
    Cancel, Engine, EventBody, Message, Metrics, Model, ModelAnswer, ModelRequest, Naming, Point,
    Result, Role, Session,
};

use crate::writer::{ASSISTS, Acknowledged, Notes, Writer};
use crate::{random_moment, rounds};

const SESSIONS: usize = 2;

/// Sums up by counting what the user said, and names after the count.
#[derive(Debug)]
struct Counting;

impl Model for Counting {
    fn id(&self) -> &'static str {
        "counting"
    }

    fn answer(&self, request: &ModelRequest, _: &Cancel) -> Result<ModelAnswer> {
        let asked = request.messages.last().map(|message| message.content.text());
        let asked = asked.unwrap_or_default();
        let before = asked
            .split_once("<previous_summary>\n")
            .and_then(|(_, behind)| behind.split_once('\n')?.0.parse::<usize>().ok());
        let count = before.unwrap_or(0) + asked.matches("\nUser: ").count();
        let answer = match &request.answer_schema {
            Some(_) => {
                serde_json::json!({ "summary": count.to_string(), "topics": [] }).to_string()
            }
            None => format!("Named {count}"),
        };
        Ok(ModelAnswer::new(Message::assistant(answer)).with_metrics(Metrics::tokens(7, 1)))
    }
}

/// Records runs, sums them up and names their sessions, until something fails.
pub(crate) fn assist(database: &Path, notes: &Notes) {
    let assisted = || -> Result<()> {
        let engine = Engine::open(database)?;
        std::thread::scope(|scope| {
            let work = |number| assist_one(&engine, notes, number);
            let others: Vec<_> =
                (1..SESSIONS).map(|number| scope.spawn(move || work(number))).collect();
            let first = work(0);
            others.into_iter().map(|other| other.join().unwrap()).fold(first, Result::and)
        })
    };
    if let Err(error) = assisted() {
        notes.add(&format!("failed {error}"));
    }
}

fn assist_one(engine: &Engine, notes: &Notes, number: usize) -> Result<()> {
    let session = engine.session(format!("a{number}")).open()?;
    let id = session.id().to_owned();
    loop {
        for _ in 0..3 {
            record(&session)?;
        }
        if let Some(summary) = session.summarizer(Arc::new(Counting)).piece_bytes(40).run()? {
            notes.add(&format!("summarized {id} {}", summary.seq));
        }
        if let Naming::Named { seq, .. } = session.name_generator(Arc::new(Counting)).run()? {
            notes.add(&format!("named {id} {seq}"));
        }
        if session.view()?.run_count > 20 {
            session.rewind(Point::run(10))?.wait()?;
        }
    }
}

fn record(session: &Session) -> Result<()> {
    let messages = [Message::user("a question"), Message::assistant("an answer")];
    session.record_run(messages, Metrics::tokens(2, 1))?.wait().map(drop)
}

/// Opens the database, and finds all that returned; what is there is right, and can be gone on
/// from.
fn check(database: &Path, notes: &str) {
    let engine = Engine::open(database).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    assert!(!notes.contains("failed"), "{notes}");
    for number in 0..SESSIONS {
        let session = engine.session(format!("a{number}")).open().unwrap();
        let events = session.events(Point::Head).unwrap();
        let events: Vec<_> = events.map(|event| event.unwrap()).collect();
        for line in notes.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let (what, id, seq) = (words[0], words[1], words[2]);
            if id != session.id() {
                continue;
            }
            let at = seq.parse::<usize>().unwrap() - 1;
            let is_there = match &events.get(at).unwrap().body {
                EventBody::SummaryWritten(_) => what == "summarized",
                EventBody::Renamed(renamed) => what == "named" && renamed.is_generated,
                _ => false,
            };
            assert!(is_there, "{line} is gone");
        }
        check_summaries(&session);
        record(&session).unwrap();
        session.summarizer(Arc::new(Counting)).run().unwrap().unwrap();
        session.name_generator(Arc::new(Counting)).run().unwrap();
        check_summaries(&session);
    }
    assert!(engine.verify().unwrap().ok);
}

/// Each says how often the user spoke in what it covers.
fn check_summaries(session: &Session) {
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    let said: Vec<u64> = runs
        .iter()
        .flat_map(|run| &run.messages)
        .filter(|(_, message)| message.role == Role::User)
        .map(|(seq, _)| *seq)
        .collect();
    for summary in session.summaries().unwrap() {
        let covered = summary.first_seq..=summary.last_seq;
        let count = said.iter().filter(|seq| covered.contains(seq)).count();
        assert_eq!(summary.summary, count.to_string(), "the summary of seq {}", summary.seq);
    }
}

#[test]
fn summaries_and_names_are_there_whole_or_not_at_all_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let notes = directory.path().join("notes");
    for round in 0..rounds(6) {
        let database = directory.path().join(format!("{round}.db"));
        // Killed twice: what the first left is gone on from.
        for _ in 0..2 {
            let writer = Writer::start(&database, ASSISTS, &notes);
            let moment = random_moment(700_000);
            writer.kill(&mut Acknowledged::new());
            let lines = std::fs::read_to_string(&notes).unwrap();
            eprintln!("round {round}: killed after {moment:?}, {} done", lines.lines().count());
            check(&database, &lines);
        }
        std::fs::remove_dir_all(&database).unwrap();
    }
}
