//! Finding sessions: in lists, by ids that are nearly right, and by times.

use serde_json::Value;

use crate::support::program::*;

#[test]
fn a_list_is_counted_and_its_ids_can_be_read_by_a_script() {
    let db = Db::with_samples();
    let page = db.json(&["ls", "--user", "alice"]);
    let session = &page["sessions"][0];
    assert_eq!((&session["run_count"], &session["message_count"]), (&3.into(), &12.into()));
    assert_eq!(db.fine(&["ls", "--ids", "--order", "asc"]), "demo-parcel\ndemo-menu\n");
    assert_eq!(db.fine(&["ls", "--ids", "--user", "bob"]), "demo-menu\n");
    assert_eq!(db.json(&["ls", "--ids", "--user", "bob"])["session_ids"][0], "demo-menu");
    db.refused(2, &["ls", "--ids", "--page", "2"]);
}

#[test]
fn columns_that_say_nothing_are_not_shown() {
    let db = Db::empty();
    assert_eq!(code(&db.run_with(&["record", "chat"], user_line("Hi").as_bytes())), 0);
    let text = db.fine(&["ls"]);
    assert!(text.contains("UPDATED") && !text.contains("NAME") && !text.contains("USER"), "{text}");
    db.fine(&["rename", "chat", "Greeting"]);
    assert!(db.fine(&["ls"]).contains("NAME"));
}

#[test]
fn an_id_that_is_nearly_right_brings_the_ones_that_are() {
    let db = Db::with_samples();
    let said = [
        ("demo-parcle", "session demo-parcle: no such session: is it demo-parcel?"),
        ("demo", "session demo: no such session: is it demo-menu or demo-parcel?"),
        ("elsewhere", "session elsewhere: no such session"),
    ];
    for (id, words) in said {
        for command in ["show", "history", "log", "delete"] {
            assert_eq!(db.refused(1, &[command, id]), format!("sessionlog: {words}"));
        }
    }
}

#[test]
fn times_are_taken_as_they_are_thought_of() {
    let db = Db::with_samples();
    assert_eq!(db.json(&["ls", "--since", "2h"])["total"], 2);
    assert_eq!(db.json(&["ls", "--until", "3d"])["total"], 0);
    let before: Value = db.json(&["show", "demo-menu", "--at", "2020-01-31"]);
    let start = db.json(&["show", "demo-menu", "--at", "start"]);
    assert_eq!(before, start);
    for args in [["show", "demo-menu", "--at"], ["ls", "--order=asc", "--since"]] {
        let words = db.refused(2, &[&args[..], &["2026-01-31T12:00:00"]].concat());
        assert!(words.contains("has no zone: add Z for UTC, or +01:00"), "{words}");
    }
}
