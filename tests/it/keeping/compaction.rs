//! Compaction of what is stored.

use serde_json::json;
use sessionlog::{
    Custom, EventBody, Instructions, KeepRuns, Message, Metrics, NewEvent, OlderRuns, Point,
    Policy, RunStatus, limits,
};

use crate::support::shapes::{assert_sound, memory};
use crate::support::{Disk, record_tool_turn, record_turn, texts};

const NO_TOOLS: Policy = Policy::new().store_tool_messages(false);

fn keep(runs: u64, older: OlderRuns) -> Policy {
    Policy::new().keep_runs(KeepRuns::Last { runs, older })
}

#[test]
fn older_runs_are_reduced_and_what_they_spent_is_counted() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    session.record_run([Message::system("Be brief.")], Metrics::tokens(1, 1)).unwrap();
    for number in 1..=5 {
        record_turn(&session, &format!("q{number}"), &format!("a{number}"));
    }
    let before = session.view().unwrap();
    let done = session.compaction().policy(keep(2, OlderRuns::Reduced)).run().unwrap();
    assert_eq!((done[0].runs_reduced, done[0].messages), (4, 6));
    assert!(done[0].bytes_saved() > 0);
    let after = session.view().unwrap();
    assert_eq!((after.metrics, after.run_count), (before.metrics, before.run_count));
    // The newest system message stays: every window needs it.
    let history = session.window().all_runs().messages().unwrap();
    assert_eq!(texts(&history), ["Be brief.", "q4", "a4", "q5", "a5"]);
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    assert_eq!(runs.len(), 6);
    assert!(runs[1].status == RunStatus::Completed && runs[1].metrics.is_some());
    assert_eq!(runs[1].started.reduced, Some(OlderRuns::Reduced));
    // Points before it still replay, and show what is gone as gone.
    let past = session.at(Point::run(3)).unwrap();
    assert_eq!(past.view().run_count, 3);
    assert!(past.runs().unwrap()[1].messages[0].1.omitted.message);
    assert_sound(&engine);
}

#[test]
fn dropped_runs_are_not_shown_and_keep_their_number_and_id() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    for number in 1..=4 {
        let run = session.run().id(format!("turn-{number}"));
        run.record([Message::user(format!("q{number}"))], Metrics::tokens(5, 0)).unwrap();
    }
    session.compaction().policy(keep(1, OlderRuns::Dropped)).run().unwrap();
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!(session.view().unwrap().metrics.total_tokens, 20);
    assert_eq!(
        session.at(Point::run(4)).unwrap().seq(),
        session.at(Point::run_id("turn-4")).unwrap().seq()
    );
    let again = session.run().id("turn-2").record([Message::user("q2")], Metrics::default());
    assert!(again.unwrap().wait().is_err() || session.view().unwrap().run_count == 4);
    assert_sound(&engine);
}

#[test]
fn what_is_asked_for_keeps_no_run_that_the_session_lets_go() {
    let said = keep(2, OlderRuns::Dropped);
    for (asked, left) in [
        (keep(1_000, OlderRuns::Reduced), vec![None, None]),
        (keep(2, OlderRuns::Reduced), vec![None, None]),
        (keep(1, OlderRuns::Reduced), vec![Some(OlderRuns::Reduced), None]),
        (Policy::new().keep_runs(KeepRuns::All), vec![None, None]),
    ] {
        let engine = memory(Policy::new());
        let session = engine.session("s").open().unwrap();
        for number in 1..=4 {
            record_turn(&session, &format!("q{number}"), "a");
        }
        session.set_policy(said).unwrap();
        let done = session.compaction().policy(asked).run().unwrap();
        let runs = session.at(Point::Head).unwrap().runs().unwrap();
        // Dropped ones are shown no more.
        let shown: Vec<_> = runs.iter().map(|run| run.started.reduced).collect();
        assert_eq!(shown, left, "{asked:?}");
        let most = Some(KeepRuns::Last {
            runs: left.iter().filter(|run| run.is_none()).count() as u64,
            older: OlderRuns::Dropped,
        });
        assert_eq!(done[0].policy.keep_runs, most);
        assert!(session.compaction().policy(asked).plan().unwrap()[0].is_empty());
        assert_sound(&engine);
    }
}

#[test]
fn runs_that_count_are_kept_after_a_rewind() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    for number in 1..=6 {
        record_turn(&session, &format!("q{number}"), "a");
    }
    session.rewind(Point::run(2)).unwrap().wait().unwrap();
    session.compaction().policy(keep(2, OlderRuns::Dropped)).run().unwrap();
    assert_eq!(texts(&session.window().messages().unwrap()), ["q1", "a", "q2", "a"]);
    assert_sound(&engine);
}

#[test]
fn what_a_fork_shares_goes_only_as_far_as_the_fork_agrees() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    record_tool_turn(&session, "c1");
    let fork = session.fork(Point::run(1)).id("fork").open().unwrap();
    record_tool_turn(&session, "c2");
    record_tool_turn(&fork, "c3");
    let done = session.compaction().policy(NO_TOOLS).run().unwrap();
    assert!(done[0].kept_for_forks > 0);
    let tools = |session: &sessionlog::Session| {
        let history = session.window().messages().unwrap();
        history.iter().filter(|message| message.role == sessionlog::Role::Tool).count()
    };
    assert_eq!((tools(&session), tools(&fork)), (1, 2));
    let done = engine.compaction().policy(NO_TOOLS).run().unwrap();
    assert_eq!(done.len(), 2);
    assert_eq!((tools(&session), tools(&fork)), (0, 0));
    assert!(
        engine
            .compaction()
            .policy(NO_TOOLS)
            .plan()
            .unwrap()
            .iter()
            .all(sessionlog::CompactionPlan::is_empty)
    );
    assert_sound(&engine);
}

#[test]
fn a_long_session_is_compacted_in_bounded_commits_beside_a_writer() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    for number in 0..400 {
        record_tool_turn(&session, &format!("c{number}"));
    }
    let writer = engine.session("s").open().unwrap();
    let thread = std::thread::spawn(move || {
        for number in 0..50 {
            record_tool_turn(&writer, &format!("w{number}"));
        }
    });
    session.compaction().policy(NO_TOOLS).run().unwrap();
    thread.join().unwrap();
    session.compaction().policy(NO_TOOLS).run().unwrap();
    let mut commits = 0;
    for event in session.events(Point::Head).unwrap() {
        if let EventBody::Compacted(compacted) = event.unwrap().body {
            commits += 1;
            assert!(compacted.removed.len() <= limits::REPLACED_EVENTS_MAX);
            assert!(compacted.removed.windows(2).all(|pair| pair[0].seq < pair[1].seq));
        }
    }
    assert!(commits > 2);
    assert!(session.compaction().policy(NO_TOOLS).plan().unwrap()[0].is_empty());
    drop(session);
    assert_sound(&engine);
    drop(engine);
    assert_sound(&disk.open());
}

#[test]
fn what_the_application_says_for_itself_stays_of_older_runs() {
    let engine = memory(Policy::new());
    let session = engine.session("s").open().unwrap();
    let turn = |number: u64| {
        let run = session.start_run().unwrap();
        run.push(Message::user(format!("q{number}"))).unwrap().wait().unwrap();
        let context = run.context().instructions("Be brief.");
        let seq = context.build().unwrap().record(&run).unwrap().wait().unwrap().last_seq;
        let noted = Custom { kind: "note".into(), data: json!({ "noted": number }).into() };
        session.append([NewEvent::in_run(run.id(), noted)]).unwrap();
        run.complete(Metrics::default()).unwrap().wait().unwrap();
        seq
    };
    let (first, last) = (turn(1), turn(2));
    session.compaction().policy(keep(1, OlderRuns::Dropped)).run().unwrap();
    let left: String = session
        .events(Point::Head)
        .unwrap()
        .map(|event| event.unwrap().body.to_json().as_str().to_owned())
        .collect();
    assert!(!left.contains("q1") && left.contains(r#""noted":1"#), "{left}");
    // The kept run's context names the instructions in the manifest of the older one.
    let recorded = session.recorded_context(last).unwrap();
    let named = Some(Instructions::Earlier { seq: first });
    assert_eq!(recorded.manifest().instructions, named);
    let rebuilt = format!("{:?}", recorded.rebuild_with(&[]).unwrap().openai());
    assert!(rebuilt.contains("Be brief.") && rebuilt.contains("q2"), "{rebuilt}");
    assert_sound(&engine);
}
