//! `memory`: what is remembered of users.

use serde_json::{Value, json};

use crate::support::model_server::{ModelServer, Reply, openai_answer};
use crate::support::program::*;

fn texts(list: &Value) -> Vec<&str> {
    let memories = list["memories"].as_array().unwrap();
    memories.iter().map(|memory| memory["memory"].as_str().unwrap()).collect()
}

#[test]
fn memories_are_added_listed_found_and_changed() {
    let db = Db::empty();
    let tea = db.json(&[
        "memory",
        "add",
        "--user",
        "alice",
        "Likes tea.",
        "--topic",
        "drinks",
        "--topic",
        "likes",
    ]);
    db.fine(&["memory", "add", "--user", "alice", "Lives in Oslo.", "--input", "I moved to Oslo"]);
    let id = tea["memory_id"].as_str().unwrap();
    assert_eq!(tea["topics"], json!(["drinks", "likes"]));
    let list = db.json(&["memory", "list", "--user", "alice"]);
    assert_eq!(texts(&list), ["Lives in Oslo.", "Likes tea."]);
    let args = ["memory", "list", "--user", "alice"];
    assert_eq!(texts(&db.json(&[&args[..], &["--topic", "drinks"]].concat())), ["Likes tea."]);
    assert_eq!(texts(&db.json(&[&args[..], &["--limit", "1"]].concat())), ["Lives in Oslo."]);
    let found = db.json(&["memory", "search", "--user", "alice", "MOVED", "oslo"]);
    assert_eq!(texts(&found), ["Lives in Oslo."]);
    let updated = db.json(&["memory", "update", "--user", "alice", id, "Likes green tea."]);
    assert_eq!(
        (&updated["memory"], &updated["topics"]),
        (&json!("Likes green tea."), &tea["topics"])
    );
    let text = db.fine(&args);
    assert!(text.starts_with("ID ") && text.ends_with("2 memories\n"), "{text}");
    assert!(text.contains("drinks, likes") && text.contains("Likes green tea."), "{text}");
    let history = db.json(&["memory", "history", "--user", "alice", id]);
    assert_eq!(history["changes"][0]["memory"]["memory"], "Likes tea.");
    assert_eq!(history["changes"].as_array().unwrap().len(), 2);
    assert_eq!(db.json(&["ls"])["total"], 0);
    let stats = db.fine(&["stats"]);
    assert!(stats.starts_with("0 sessions, 0 runs, 4 events\nmemories of 1 user\n"), "{stats}");
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn memories_of_another_user_are_not_there() {
    let db = Db::empty();
    let tea = db.json(&["memory", "add", "--user", "alice", "Likes tea."]);
    let id = tea["memory_id"].as_str().unwrap();
    for args in [
        &["memory", "update", "--user", "bob", id, "x"][..],
        &["memory", "delete", "--user", "bob", id],
        &["memory", "delete", "--user", "bob", id, "--erase"],
        &["memory", "history", "--user", "bob", id],
    ] {
        let words = db.refused(1, args);
        assert!(words.contains("no such memory"), "{words}");
    }
    assert_eq!(texts(&db.json(&["memory", "list", "--user", "bob"])), [""; 0]);
    assert_eq!(db.fine(&["memory", "search", "--user", "bob", "tea"]), "0 memories\n");
    assert_eq!(texts(&db.json(&["memory", "list", "--user", "alice"])), ["Likes tea."]);
}

#[test]
fn memories_are_deleted_cleared_and_erased() {
    let db = Db::empty();
    let mut ids = Vec::new();
    for text in ["a", "b", "c", "d"] {
        let added = db.json(&["memory", "add", "--user", "alice", text]);
        ids.push(added["memory_id"].as_str().unwrap().to_owned());
    }
    let delete = |more: &[&str]| {
        db.json(&[&["memory", "delete", "--user", "alice", ids[0].as_str()][..], more].concat())
    };
    assert_eq!(delete(&["--dry-run"])["dry_run"], true);
    assert_eq!(delete(&[])["memories"][0]["memory"], "a");
    let both = ["memory", "delete", "--user", "alice", &ids[1], &ids[0]];
    db.refused(1, &both);
    let erased = delete(&["--erase", "--reason", "asked"]);
    assert_eq!(erased["receipts"][0]["memories_of"], "alice");
    let text = db.fine(&["memory", "delete", "--user", "alice", &ids[1], "--erase"]);
    assert!(text.starts_with("erased from the memories of alice: 1 event\n"), "{text}");
    let clear = ["memory", "clear", "--user", "alice"];
    let text = db.fine(&[&clear[..], &["--dry-run"]].concat());
    assert!(text.starts_with("would delete ") && text.lines().count() == 2, "{text}");
    assert_eq!(texts(&db.json(&clear)), ["d", "c"]);
    assert_eq!(db.fine(&clear), "nothing to delete\n");
    let text = db.fine(&["erase", "--user", "alice", "--dry-run"]);
    assert_eq!(text, "would erase the memories of alice: 2 texts\n");
    let text = db.fine(&["erase", "--user", "alice"]);
    assert!(text.starts_with("erased the memories of alice: "), "{text}");
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn a_memory_goes_with_the_message_it_came_from_and_the_receipt_says_so() {
    let db = Db::empty();
    db.run_with(&["record", "s", "--user", "alice"], user_line("I like tea").as_bytes());
    let engine = sessionlog::Engine::open(db.path()).unwrap();
    let memories = engine.memories("alice").unwrap();
    let new = sessionlog::NewMemory::new("Likes tea.").from_message("s", 3);
    memories.add(new).unwrap().1.wait().unwrap();
    drop((memories, engine));
    let plan = db.json(&["erase", "s", "--message", "3", "--dry-run"]);
    assert_eq!(plan["sessions"][0]["memory_texts"], 1);
    let text = db.fine(&["erase", "s", "--dry-run"]);
    assert!(text.contains("\n  memories  1 text that came from it\n"), "{text}");
    let text = db.fine(&["erase", "s", "--message", "3"]);
    assert!(text.contains("\nerased from the memories of alice: 1 event\n"), "{text}");
    assert_eq!(db.fine(&["memory", "list", "--user", "alice"]), "0 memories\n");
}

/// A model that remembers what somebody drinks, and nothing else.
fn waiter() -> ModelServer {
    ModelServer::start(|_, sent| {
        let messages = sent.body["messages"].as_array().unwrap();
        let asked = messages[1]["content"].as_str().unwrap();
        let mut answer = openai_answer("");
        let drink = ["tea", "milk"].into_iter().find(|it| asked.contains(&format!("I drink {it}")));
        if let Some(drink) = drink.filter(|_| messages.len() == 2) {
            let arguments = json!({"memory": format!("Likes {drink}.")}).to_string();
            let call = json!({"id": "c", "type": "function",
                "function": {"name": "add_memory", "arguments": arguments}});
            answer["choices"][0]["message"]["tool_calls"] = json!([call]);
        }
        Reply::json(&answer)
    })
}

#[test]
fn memories_are_extracted_from_what_a_user_said_and_each_message_is_read_once() {
    let db = Db::empty();
    for (id, user, drink) in
        [("a", "alice", "I drink tea"), ("b", "alice", "I drink milk"), ("c", "bob", "I drink tea")]
    {
        for words in [drink, "Where is my parcel?"] {
            db.run_with(&["record", id, "--user", user], user_line(words).as_bytes());
        }
    }
    let server = waiter();
    let url = server.url();
    let extract = |more: &[&str]| {
        db.json(&[&["memory", "extract", "--model", "m", "--base-url", &url], more].concat())
    };
    let plan = db.json(&["memory", "extract", "--user", "alice", "--dry-run"]);
    let planned = plan["messages"].as_array().unwrap();
    assert_eq!((planned.len(), &planned[0]["text"]), (4, &json!("I drink tea")));
    assert_eq!((server.sent().len(), &plan["has_more"]), (0, &json!(false)));
    let some = extract(&["--user", "alice", "--limit", "1"]);
    assert_eq!(
        (&some["has_more"], &some["messages"][0]["outcome"]),
        (&json!(true), &json!("learned"))
    );
    assert_eq!(some["metrics"]["total_tokens"], 220);
    let rest = extract(&["a", "b"]);
    let outcomes: Vec<_> =
        rest["messages"].as_array().unwrap().iter().map(|one| one["outcome"].clone()).collect();
    assert_eq!(outcomes, ["nothing", "learned", "nothing"]);
    let asked = server.sent().len();
    let again = extract(&["--user", "alice"]);
    assert_eq!((again["messages"].as_array().unwrap().len(), server.sent().len()), (0, asked));
    let listed = db.json(&["memory", "list", "--user", "alice"]);
    assert_eq!(texts(&listed), ["Likes milk.", "Likes tea."]);
    assert_eq!(listed["memories"][0]["source"]["session_id"], "b");
    assert_eq!(texts(&db.json(&["memory", "list", "--user", "bob"])), [""; 0]);
    let shown = db.fine(&["memory", "extract", "c", "--model", "m", "--base-url", &url]);
    assert!(
        shown.contains("c seq 3\n  Likes tea.\n2 messages read, 1 change of memories"),
        "{shown}"
    );
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn an_extraction_ends_where_the_model_cannot_be_asked_and_goes_on_later() {
    let db = Db::empty();
    db.run_with(&["record", "a", "--user", "alice"], user_line("I drink tea").as_bytes());
    db.run_with(&["record", "a", "--user", "alice"], user_line("FAIL").as_bytes());
    db.run_with(&["record", "a", "--user", "alice"], user_line("Last words").as_bytes());
    db.run_with(&["record", "nobodys"], user_line("tea").as_bytes());
    let refusing = ModelServer::start(|_, sent| match sent.body.to_string() {
        body if body.contains("FAIL") => Reply::status(400, "no"),
        body if body.contains("Last words") => Reply::status(403, "go away"),
        _ => Reply::json(&openai_answer("")),
    });
    let url = refusing.url();
    let args = ["memory", "extract", "a", "--model", "m", "--base-url", &url, "--json"];
    let output = db.run(&args);
    let words = stderr(&output);
    assert!(words.contains("2 messages done, 1 not done") && words.contains("go away"), "{words}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), &report["failed"], &report["not_done"]), (1, &1.into(), &1.into()));
    let server = waiter();
    let url = server.url();
    let rest = db.json(&["memory", "extract", "a", "--model", "m", "--base-url", &url]);
    assert_eq!(rest["messages"].as_array().unwrap().len(), 2);
    db.refused(2, &["memory", "extract", "a"]);
    db.refused(2, &["memory", "extract", "--dry-run"]);
    db.refused(2, &["memory", "extract", "a", "--user", "alice", "--dry-run"]);
    db.refused(2, &["memory", "extract", "a", "--limit", "0", "--dry-run"]);
    let words = db.refused(1, &["memory", "extract", "nobodys", "--dry-run"]);
    assert!(words.contains("belongs to nobody"), "{words}");
}

#[test]
fn memories_are_taken_over_into_another_database() {
    let db = Db::empty();
    db.run_with(&["record", "s", "--user", "alice"], user_line("I like tea").as_bytes());
    for user in ["alice", "bob"] {
        db.fine(&["memory", "add", "--user", user, "Likes tea.", "--topic", "drinks"]);
    }
    let list = |db: &Db, user: &str| db.json(&["memory", "list", "--user", user]);
    let whole = db.fine(&["export", "--all", "--format", "jsonl"]);
    let other = Db::empty();
    let report = other.run_with(&["import", "-", "--json"], whole.as_bytes());
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["sessions"], &report["memory_users"]), (&1.into(), &2.into()), "{report}");
    for user in ["alice", "bob"] {
        assert_eq!(list(&other, user), list(&db, user));
    }
    assert_eq!(other.json(&["verify"])["ok"], true);
    let again = other.run_with(&["import", "-"], whole.as_bytes());
    assert!(stdout(&again).contains("unchanged memories of 2 users"), "{}", stdout(&again));
    // One user's alone, and what went its own way.
    let alices = db.fine(&["memory", "export", "--user", "alice"]);
    assert!(alices.contains("\"memories_of\":\"alice\"") && !alices.contains("bob"), "{alices}");
    let third = Db::empty();
    third.fine(&["memory", "add", "--user", "alice", "Likes milk."]);
    let output = third.run_with(&["import", "-"], alices.as_bytes());
    assert!(stderr(&output).contains("memories of alice: another event is here"), "{output:?}");
    assert_eq!(texts(&list(&third, "alice")), ["Likes milk."]);
    assert_eq!(db.fine(&["memory", "export", "--all"]).lines().count(), 4);
    assert_eq!(db.fine(&["memory", "export", "--user", "nobody"]), "");
    db.refused(2, &["memory", "export"]);
    // No other format has a place for them.
    assert!(!db.fine(&["export", "--all"]).contains("memories_of"));
}

#[test]
fn what_is_missing_or_wrong_is_said_in_one_line() {
    let db = Db::empty();
    db.refused(1, &["memory", "list", "--user", "alice"]);
    db.fine(&["memory", "add", "--user", "alice", "x"]);
    db.refused(2, &["memory", "list"]);
    db.refused(2, &["memory", "list", "--user", "alice", "--limit", "0"]);
    db.refused(2, &["memory", "delete", "--user", "alice"]);
    db.refused(2, &["memory", "delete", "--user", "alice", "x", "--reason", "y"]);
    let words = db.refused(1, &["memory", "add", "--user", "alice", " "]);
    assert!(words.contains("a memory needs a text"), "{words}");
    db.refused(1, &["memory", "add", "--user", "", "x"]);
}
