//! The past as a place to work in: forks, rewinds, forks of rewound forks.

mod model;

use std::sync::Arc;

use serde_json::json;
use sessionlog::{Engine, ErrorKind, Message, Metrics, Point, Repair, RunStatus, Session, Side};

use crate::support::counting::Counting;
use crate::support::{Disk, assert_sendable, record_tool_turn, record_turn, texts};

fn all_messages(session: &Session) -> Vec<String> {
    texts(&session.window().all_runs().messages().unwrap())
}

fn verified(engine: &Engine) {
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
}

#[test]
fn a_fork_shares_the_past_and_goes_its_own_way() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("parent").user("alice").open().unwrap();
    record_turn(&session, "q1", "a1");
    session.rename("Named").unwrap();
    record_turn(&session, "q2", "a2");
    let fork = session.fork(Point::run(1)).id("child").open().unwrap();
    record_turn(&fork, "q3", "a3");
    record_turn(&session, "q4", "a4");
    assert_eq!(all_messages(&fork), ["q1", "a1", "q3", "a3"]);
    assert_eq!(all_messages(&session), ["q1", "a1", "q2", "a2", "q4", "a4"]);
    let view = fork.view().unwrap();
    assert_eq!((view.session_id.as_str(), view.name.as_deref()), ("child", None));
    assert_eq!((view.user_id.as_deref(), view.run_count), (Some("alice"), 2));
    let from = view.forked_from.unwrap();
    assert_eq!((from.session_id.as_str(), from.seq), ("parent", 5));
    let before = fork.at(Point::run(1)).unwrap();
    assert_eq!((before.seq(), before.view().session_id.as_str()), (5, "child"));
    let seqs: Vec<_> = fork.events(Point::Head).unwrap().map(|event| event.unwrap().seq).collect();
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    verified(&engine);
}

#[test]
fn forks_of_forks_read_from_every_ancestor() {
    let engine = Engine::in_memory().unwrap();
    let mut session = engine.session("0").open().unwrap();
    record_turn(&session, "q0", "a");
    for depth in 1..20 {
        session = session.fork(Point::Head).id(depth.to_string()).open().unwrap();
        record_turn(&session, &format!("q{depth}"), "a");
    }
    assert_eq!(all_messages(&session).len(), 40);
    assert_eq!(texts(&session.window().runs(2).messages().unwrap()), ["q18", "a", "q19", "a"]);
    for depth in 1..20 {
        let there = session.at(Point::run(depth)).unwrap();
        assert_eq!(there.view().run_count, depth);
    }
    // In the part that an ancestor holds, the fork leaves out the streams between.
    let early = session.fork(Point::run(3)).id("early").open().unwrap();
    assert_eq!(all_messages(&early), ["q0", "a", "q1", "a", "q2", "a"]);
    verified(&engine);
    assert!(engine.verify_sessions(&["early".to_owned()]).unwrap().ok);
}

#[test]
fn a_fork_between_a_call_and_its_result_can_be_sent_and_says_what_it_leaves_out() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("parent").open().unwrap();
    record_tool_turn(&session, "call_1"); // start 2, question 3, call 4, result 5
    let fork = session.fork(Point::seq(4)).open().unwrap();
    let (messages, repairs) = fork.window().read().unwrap();
    assert_eq!(texts(&messages), ["How warm is it in Oslo?", "Let me look."]);
    let left_out =
        Repair::StrippedCall { id: Some("call_1".to_owned()), name: "weather".to_owned() };
    assert_eq!(repairs, [left_out]);
    assert_sendable(&messages);
    let run = fork.at(Point::Head).unwrap().runs().unwrap().remove(0);
    assert_eq!(run.status, RunStatus::Interrupted);
    // Where the run is resumed, the call can still be answered.
    let run = fork.existing_run(run.started.run_id);
    run.resume().unwrap();
    run.push(Message::tool("call_1", "5 degrees")).unwrap();
    assert_eq!(all_messages(&fork)[2], "5 degrees");
    verified(&engine);
}

#[test]
fn a_fork_made_again_under_the_same_id_is_the_same_fork() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("parent").open().unwrap();
    record_turn(&session, "q1", "a1");
    record_turn(&session, "q2", "a2");
    let fork = session.fork(Point::run(1)).id("fork").open().unwrap();
    record_turn(&fork, "q3", "a3");
    let again = session.fork(Point::run(1)).id("fork").open().unwrap();
    assert_eq!(again.seq().unwrap(), fork.seq().unwrap());
    for taken in ["fork", "parent"] {
        let error = session.fork(Point::run(2)).id(taken).open().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{error}");
    }
}

#[test]
fn what_cannot_be_forked_or_gone_back_to_is_refused_and_leaves_no_trace() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q", "a");
    let before = session.seq().unwrap();
    assert!(session.fork(Point::seq(99)).open().is_err());
    assert!(session.fork(Point::Start).open().is_err());
    assert!(session.rewind(Point::run(7)).is_err());
    assert!(session.rewind(Point::Start).is_err());
    assert_eq!(session.seq().unwrap(), before);
    assert!(session.forks().unwrap().is_empty());
    assert_eq!(engine.stats().unwrap().sessions, 1);
}

#[test]
fn only_who_reaches_a_session_forks_it_and_sees_its_forks() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    session.fork(Point::Head).id("hers").open().unwrap();
    let given = session.fork(Point::Head).id("given").open().unwrap();
    given.change_owner(Some("bob")).unwrap().wait().unwrap();
    let forks = |session: &Session| {
        let forks = session.forks().unwrap().into_iter();
        forks.map(|fork| fork.session_id).collect::<Vec<_>>()
    };
    assert_eq!(forks(&session), ["hers"]);
    let mut all = forks(&engine.session("s").admin().open().unwrap());
    all.sort();
    assert_eq!(all, ["given", "hers"]);
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let error = session.fork(Point::Head).id("stolen").open().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Forbidden);
    assert_eq!(session.rewind(Point::seq(1)).unwrap_err().kind(), &ErrorKind::Forbidden);
}

#[test]
fn a_session_that_went_back_is_what_it_was_and_its_earlier_future_stays_readable() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    session.merge_state(json!({"step": 1})).unwrap();
    session.rename("First").unwrap();
    record_turn(&session, "q1", "a1");
    let there = session.view().unwrap();
    session.merge_state(json!({"step": 2, "more": true})).unwrap();
    session.rename("Second").unwrap();
    record_turn(&session, "q2", "a2");
    let future = session.view().unwrap();
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    let now = session.view().unwrap();
    assert_eq!((&now.state, &now.name), (&there.state, &there.name));
    assert_eq!((now.run_count, now.message_count, now.metrics), (1, 2, there.metrics));
    assert_eq!(now.left_behind, Metrics::tokens(10, 5));
    assert_eq!(all_messages(&session), ["q1", "a1"]);
    let page = engine.sessions(&sessionlog::SessionQuery::new(sessionlog::Access::Admin)).unwrap();
    assert_eq!(page.sessions[0].name.as_deref(), Some("First"));
    // The earlier future, by seq, by replay, and brought back.
    assert_eq!(session.at(Point::seq(future.seq)).unwrap().view(), &future);
    let steps: Vec<_> = session.replay().unwrap().map(Result::unwrap).collect();
    assert_eq!(&*steps[usize::try_from(future.seq).unwrap() - 1].view, &future);
    assert_eq!(&*steps.last().unwrap().view, &now);
    session.rewind(Point::seq(future.seq)).unwrap().wait().unwrap();
    let back = session.view().unwrap();
    assert_eq!((&back.state, &back.name, back.run_count), (&future.state, &future.name, 2));
    assert!(back.left_behind.is_empty());
    assert_eq!(all_messages(&session), ["q1", "a1", "q2", "a2"]);
    record_turn(&session, "q3", "a3");
    assert_eq!(session.at(Point::run(3)).unwrap().seq(), session.seq().unwrap());
    verified(&engine);
}

#[test]
fn a_rewind_does_not_give_a_session_back_to_an_earlier_owner() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").user("alice").open().unwrap();
    let at = session.seq().unwrap();
    session.change_owner(Some("bob")).unwrap().wait().unwrap();
    let session = engine.session("s").user("bob").open().unwrap();
    session.rewind(Point::seq(at)).unwrap().wait().unwrap();
    assert_eq!(session.view().unwrap().user_id.as_deref(), Some("bob"));
    assert!(engine.session("s").user("alice").open().is_err());
    verified(&engine);
}

#[test]
fn a_run_that_a_rewind_left_behind_takes_no_more_messages() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q1", "a1");
    let run = session.run().id("late").start().unwrap();
    run.push(Message::user("q2")).unwrap().wait().unwrap();
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    let error = run.push(Message::assistant("a2")).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("left behind"), "{error}");
    // Its number and its id are free again.
    let run = session.run().id("late").start().unwrap();
    run.push(Message::user("q3")).unwrap();
    run.complete(Metrics::default()).unwrap().wait().unwrap();
    assert_eq!(all_messages(&session), ["q1", "a1", "q3"]);
    verified(&engine);
}

#[test]
fn a_run_under_way_at_the_point_is_interrupted_and_can_be_resumed() {
    let disk = Disk::new();
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let run = session.start_run().unwrap();
    let at = run.push(Message::user("q1")).unwrap().wait().unwrap().last_seq;
    run.push(Message::assistant("wrong")).unwrap().wait().unwrap();
    session.rewind(Point::seq(at)).unwrap().wait().unwrap();
    let error = run.push(Message::assistant("more")).unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("INTERRUPTED"), "{error}");
    run.resume().unwrap().wait().unwrap();
    run.push(Message::assistant("right")).unwrap().wait().unwrap();
    assert_eq!(all_messages(&session), ["q1", "right"]);
    drop((run, session, engine));
    // Only the run that counts is under way when its process ends.
    let engine = disk.open();
    let session = engine.session("s").open().unwrap();
    let runs = session.at(Point::Head).unwrap().runs().unwrap();
    assert_eq!(runs.iter().map(|run| run.status).collect::<Vec<_>>(), [RunStatus::Interrupted]);
    verified(&engine);
}

#[test]
fn an_event_that_was_left_behind_is_still_stored_only_once() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    let record = || {
        let run = session.run().id("r").record([Message::user("q")], Metrics::default());
        run.unwrap().wait().unwrap()
    };
    let first = record();
    session.rewind(Point::seq(1)).unwrap().wait().unwrap();
    let again = record();
    assert!(again.is_duplicate);
    assert_eq!((again.first_seq, again.last_seq), (first.first_seq, first.last_seq));
    let fork = session.fork(Point::seq(first.last_seq)).open().unwrap();
    assert_eq!(all_messages(&fork), ["q"]);
}

#[test]
fn forking_and_going_back_read_no_more_of_a_long_session_than_of_a_short_one() {
    let reads = |turns: usize| {
        let log = Arc::new(Counting::default());
        let engine = Engine::builder().open_log(log.clone()).unwrap();
        let session = engine.session("s").open().unwrap();
        for turn in 0..turns {
            record_turn(&session, &format!("q{turn}"), "a");
        }
        // A snapshot may still be under way; the next append waits for it.
        session.rename("s").unwrap().wait().unwrap();
        let before = log.read();
        let fork = session.fork(Point::Head).open().unwrap();
        fork.window().messages().unwrap();
        session.rewind(Point::run(5)).unwrap().wait().unwrap();
        session.window().messages().unwrap();
        log.read() - before
    };
    let (short, long) = (reads(128), reads(1_280));
    // Both sessions end half-way between two snapshots.
    assert!(long < short + 50, "{short} records, then {long}");
}

#[test]
fn a_diff_shows_what_lies_between_two_points_of_a_session() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q1", "a1");
    session.merge_state(json!({"a": {"b": 1}, "kept": true})).unwrap();
    let before = session.at(Point::Head).unwrap();
    record_turn(&session, "q2", "a2");
    session.rename("Named").unwrap();
    session.merge_state(json!({"a": {"b": 2}})).unwrap();
    let now = session.at(Point::Head).unwrap();
    let diff = before.diff(&now).unwrap();
    assert_eq!((diff.messages_in_both, diff.messages.len()), (2, 2));
    assert!(diff.messages.iter().all(|change| change.side == Side::New));
    let name = diff.name.clone().unwrap();
    assert_eq!((name.from, name.to.as_deref()), (None, Some("Named")));
    assert_eq!(diff.state.len(), 1);
    assert_eq!(diff.state[0].path, ["a", "b"]);
    assert_eq!((&diff.state[0].from, &diff.state[0].to), (&Some(json!(1)), &Some(json!(2))));
    assert_eq!(diff.metrics.as_ref().unwrap().to.input_tokens, 20);
    let back = now.diff(&before).unwrap();
    assert!(back.messages.iter().all(|change| change.side == Side::Gone));
    assert!(now.diff(&session.at(Point::Head).unwrap()).unwrap().is_empty());
    let other = Engine::in_memory().unwrap().session("s").open().unwrap();
    assert!(now.diff(&other.at(Point::Head).unwrap()).is_err());
}

#[test]
fn a_diff_of_a_fork_or_across_a_rewind_leaves_out_what_is_shared() {
    let engine = Engine::in_memory().unwrap();
    let session = engine.session("s").open().unwrap();
    record_turn(&session, "q1", "a1");
    record_turn(&session, "q2", "a2");
    let future = session.at(Point::Head).unwrap();
    let fork = session.fork(Point::run(1)).open().unwrap();
    record_turn(&fork, "q3", "a2");
    let of = |diff: &sessionlog::Diff, side| {
        let messages = diff.messages.iter().filter(|change| change.side == side);
        messages.map(|change| change.seq).collect::<Vec<_>>()
    };
    let diff = future.diff(&fork.at(Point::Head).unwrap()).unwrap();
    // The shared first run, and an answer that is the same in both.
    assert_eq!(diff.messages_in_both, 3);
    assert_eq!((of(&diff, Side::Gone), of(&diff, Side::New)), (vec![7], vec![8]));
    session.rewind(Point::run(1)).unwrap().wait().unwrap();
    let diff = future.diff(&session.at(Point::Head).unwrap()).unwrap();
    assert_eq!((diff.messages_in_both, of(&diff, Side::Gone)), (2, vec![7, 8]));
    // Two sessions that share nothing are compared by what they say.
    let other = engine.session("other").open().unwrap();
    record_turn(&other, "q1", "a1");
    let diff = session.at(Point::Head).unwrap().diff(&other.at(Point::Head).unwrap()).unwrap();
    assert_eq!((diff.messages_in_both, diff.messages.len()), (2, 0));
}
