//! `search`: what was said, and where.

use crate::support::program::*;

#[test]
fn search_tells_where_something_was_said() {
    let db = Db::with_samples();
    let found = db.json(&["search", "order", "--role", "user"]);
    let hit = &found["hits"][0];
    assert_eq!(hit["session_id"], "demo-parcel");
    assert_eq!(hit["role"], "user");
    let (from, to) = (&hit["matches"][0]["start"], &hit["matches"][0]["end"]);
    let (from, to) = (from.as_u64().unwrap() as usize, to.as_u64().unwrap() as usize);
    assert_eq!(&hit["snippet"].as_str().unwrap()[from..to], "order");
    // The point can be gone to.
    db.fine(&["show", "demo-parcel", "--at", hit["point"].as_str().unwrap()]);
    let text = db.fine(&["search", "order"]);
    assert!(text.contains("demo-parcel") && text.contains("hit"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn search_finds_nothing_of_another_users() {
    let db = Db::with_samples();
    let all = db.json(&["search", "order"]);
    assert_ne!(all["hits"].as_array().unwrap().len(), 0);
    let none = db.json(&["search", "order", "--user", "nobody-of-that-name"]);
    assert_eq!((none["hits"].as_array().unwrap().len(), &none["has_more"]), (0, &false.into()));
}

#[test]
fn search_makes_its_index_anew_when_asked() {
    let db = Db::with_samples();
    let events = db.json(&["search", "--rebuild"])["events"].as_u64().unwrap();
    assert!(events > 0);
    assert_eq!(db.json(&["search", "--rebuild", "order"]), db.json(&["search", "order"]));
}

#[test]
fn search_within_a_session_that_is_not_there_says_so() {
    let db = Db::with_samples();
    let error = db.refused(1, &["search", "order", "--session", "nope"]);
    assert!(error.contains("session nope: no such session"), "{error}");
    assert_eq!(
        db.json(&["search", "order", "--session", "demo-parcel"])["hits"][0]["session_id"],
        "demo-parcel"
    );
}
