//! A recorder puts each message where it belongs.

use super::*;
use crate::message::{Message, Metrics};
use crate::transcript::Recorder;

fn recorder(engine: &Engine) -> Recorder {
    Recorder::new(engine.session("s").open().unwrap())
}

fn push(recorder: &mut Recorder, message: Message) -> u64 {
    recorder.push(message).unwrap().wait().unwrap().last_seq
}

#[test]
fn what_the_person_says_after_the_model_begins_a_run() {
    let engine = engine();
    let mut recorder = recorder(&engine);
    let messages = [
        Message::system("Be brief."),
        Message::user("a"),
        Message::user("b"),
        Message::assistant("c"),
        Message::user("d"),
        Message::tool("call", "e"),
    ];
    let seqs = messages.map(|message| push(&mut recorder, message));
    // Created, started, three messages and one; then finished and started before the next.
    assert_eq!(seqs, [3, 4, 5, 6, 9, 10]);
    recorder.finish().unwrap();
    assert_eq!(
        runs(&engine, "s"),
        [vec!["system", "user", "user", "assistant"], vec!["user", "tool"]]
    );
}

#[test]
fn a_recorder_goes_on_with_the_run_that_is_under_way() {
    let engine = engine();
    let mut first = recorder(&engine);
    push(&mut first, Message::user("a"));
    drop(first);
    let mut second = recorder(&engine);
    push(&mut second, Message::assistant("b"));
    push(&mut second, Message::user("c"));
    second.finish().unwrap();
    assert_eq!(runs(&engine, "s"), [vec!["user", "assistant"], vec!["user"]]);
}

#[test]
fn the_models_word_goes_on_with_a_run_that_had_ended() {
    let engine = engine();
    let session = engine.session("s").open().unwrap();
    session.record_run([Message::user("a")], Metrics::tokens(3, 4)).unwrap().wait().unwrap();
    let mut recorder = recorder(&engine);
    let mut message = Message::assistant("b");
    message.metrics = Some(Metrics::tokens(10, 20));
    push(&mut recorder, message);
    recorder.finish().unwrap();
    assert_eq!(runs(&engine, "s"), [["user", "assistant"]]);
    assert_eq!(session.view().unwrap().metrics, Metrics::tokens(13, 24));
}

#[test]
fn the_persons_word_begins_a_run_where_the_last_one_ended() {
    let engine = engine();
    let session = engine.session("s").open().unwrap();
    session.record_run([Message::user("a")], Metrics::default()).unwrap().wait().unwrap();
    let mut recorder = recorder(&engine);
    push(&mut recorder, Message::user("b"));
    recorder.finish().unwrap();
    assert_eq!(runs(&engine, "s"), [["user"], ["user"]]);
}

#[test]
fn a_recorder_that_got_nothing_writes_nothing() {
    let engine = engine();
    let run = engine.session("s").open().unwrap().start_run().unwrap();
    run.push(Message::user("a")).unwrap().wait().unwrap();
    recorder(&engine).finish().unwrap();
    assert_eq!(events(&engine, "s"), 3);
}

#[test]
fn a_message_over_the_limit_is_refused_and_the_next_one_is_not() {
    let engine = engine();
    let mut recorder = recorder(&engine);
    let large = "x".repeat(crate::limits::EVENT_BYTES_MAX + 1);
    assert!(recorder.push(Message::user(large)).is_err());
    assert_eq!(push(&mut recorder, Message::user("small")), 3);
}
