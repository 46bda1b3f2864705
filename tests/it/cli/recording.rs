//! Messages that come through a pipe, and whoever looks on.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::support::program::*;

#[test]
fn each_message_is_acknowledged_while_the_input_stays_open() {
    let db = Db::empty();
    let mut child = piped(&mut db.command(&["record", "chat", "--user", "alice"]));
    let mut acks = BufReader::new(child.stdout.take().unwrap());
    let first = send(&mut child, &mut acks, "one");
    let second = send(&mut child, &mut acks, "two");
    assert!(first < second);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    let session = db.json(&["show", "chat"]);
    assert_eq!(session["user_id"], "alice");
    assert_eq!(session["runs"][0]["status"], "COMPLETED");
}

#[test]
fn what_was_acknowledged_outlives_a_killed_process() {
    let db = Db::empty();
    let mut child = piped(&mut db.command(&["record", "chat"]));
    let mut acks = BufReader::new(child.stdout.take().unwrap());
    let seqs: Vec<u64> =
        (0..20).map(|at| send(&mut child, &mut acks, &format!("message {at}"))).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let log = db.json(&["log", "chat"]);
    for (at, seq) in seqs.iter().enumerate() {
        let event = &log["events"][usize::try_from(seq - 1).unwrap()];
        assert_eq!(event["body"]["message"]["content"], format!("message {at}"));
    }
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn many_messages_are_acknowledged_in_order() {
    let db = Db::empty();
    let input: String = (0..500).map(|at| user_line(&at.to_string())).collect();
    let output = db.run_with(&["record", "chat"], input.as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let text = stdout(&output);
    let seqs: Vec<u64> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(seqs.len(), 500);
    assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]));
}

#[test]
fn what_another_process_records_is_followed() {
    let db = Db::empty();
    let mut writer = piped(db.command(&["record", "s"]).stdin(Stdio::piped()));
    let mut acks = BufReader::new(writer.stdout.take().unwrap());
    send(&mut writer, &mut acks, "first");
    let mut follower = piped(&mut db.command(&["log", "s", "--follow", "--json"]));
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut said = |text: &str| loop {
        let event: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if event["body"]["message"]["content"] == text {
            return event["seq"].as_u64().unwrap();
        }
    };
    said("first");
    for number in 0..3 {
        let text = format!("live {number}");
        let seq = send(&mut writer, &mut acks, &text);
        assert_eq!(said(&text), seq);
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    drop(writer.stdin.take());
    assert!(writer.wait().unwrap().success());
    let words = db.refused(1, &["log", "nowhere", "--follow"]);
    assert!(words.contains("nowhere: no such session"), "{words}");
}

#[test]
fn a_broken_line_is_named_and_the_rest_is_recorded() {
    let db = Db::empty();
    let input = format!("{}\n{{nonsense\n{}", user_line("one"), user_line("two"));
    let output = db.run_with(&["record", "chat"], input.as_bytes());
    assert_eq!(code(&output), 1);
    assert_eq!(stdout(&output).lines().count(), 2);
    assert!(stderr(&output).starts_with("sessionlog: line 3: not JSON"), "{}", stderr(&output));
}

#[test]
fn a_reader_that_leaves_ends_a_recording_quietly() {
    let db = Db::empty();
    let mut child = piped(&mut db.command(&["record", "chat"]));
    drop(child.stdout.take());
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(user_line("one").as_bytes()).unwrap();
    // The input stays open: the program ends by itself.
    let status = child.wait().unwrap();
    let mut words = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut words).unwrap();
    assert_eq!((status.code(), words.as_str()), (Some(0), ""));
    assert_eq!(db.json(&["show", "chat"])["runs"][0]["messages"][0]["content"], "one");
}

#[test]
fn anothers_session_is_not_recorded_into() {
    let db = Db::with_samples();
    let args = ["record", "demo-parcel", "--user", "bob"];
    let words = only_complaint(&db.run_with(&args, user_line("Hi").as_bytes()), 1);
    assert_eq!(
        words,
        "sessionlog: session demo-parcel: belongs to another user (--user says in whose name)"
    );
}

#[test]
fn a_database_in_use_says_so() {
    let db = Db::empty();
    let mut child = piped(&mut db.command(&["record", "chat"]));
    let mut acks = BufReader::new(child.stdout.take().unwrap());
    send(&mut child, &mut acks, "one");
    let words = db.refused(1, &["ls"]);
    assert!(words.contains("x.db: in use by another process, or by another engine"), "{words}");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
