//! The commands that decide what is kept, and what is left to be seen of the rest.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};

use crate::support::program::*;

/// Everything that is stored, as it goes out.
fn dump(db: &Db) -> String {
    db.fine(&["export", "--all", "--format", "jsonl"])
}

/// A database whose `demo-parcel` has a fork after its first run.
fn with_fork() -> Db {
    let db = Db::with_samples();
    db.fine(&["fork", "demo-parcel", "--at", "run:1", "--id", "again"]);
    db
}

fn len(list: &Value) -> usize {
    list.as_array().unwrap().len()
}

// ---- compact

#[test]
fn a_compaction_is_planned_done_and_has_nothing_more_to_do() {
    let db = Db::with_samples();
    let args = ["compact", "demo-parcel", "demo-menu", "--no-tool-messages"];
    let before = dump(&db);
    let planned = db.json(&[&args[..], &["--dry-run"]].concat());
    let text = db.fine(&[&args[..], &["--dry-run"]].concat());
    assert!(text.contains("SAVED\n") && text.contains("\nwould save "), "{text}");
    assert_eq!(dump(&db), before);
    let done = db.json(&args);
    assert_eq!((&planned["dry_run"], &done["dry_run"]), (&true.into(), &false.into()));
    assert_eq!((&planned["sessions"], &planned["total"]), (&done["sessions"], &done["total"]));
    let plan = &done["sessions"][0];
    assert_eq!((&plan["session_id"], &plan["messages"]), (&"demo-parcel".into(), &4.into()));
    assert_eq!(plan["policy"], json!({ "store_tool_messages": false }));
    assert_eq!((&done["total"]["sessions"], &done["total"]["tool_calls"]), (&1.into(), &4.into()));
    let saved = plan["bytes_before"].as_u64().unwrap() - plan["bytes_after"].as_u64().unwrap();
    assert_eq!(done["total"]["bytes_saved"], saved);
    assert!(done.get("rewritten").is_none());
    assert_eq!(db.fine(&args), "nothing to remove in 2 sessions\n");
    assert_eq!(db.json(&["verify"])["ok"], true);
    assert_eq!(
        roles(&db.json(&["history", "demo-parcel", "--runs", "1"])["messages"]),
        ["system", "user", "assistant"]
    );
}

#[test]
fn older_runs_are_reduced_or_dropped_and_keep_their_numbers() {
    let db = Db::with_samples();
    let reduced = db.json(&["compact", "demo-parcel", "--keep-runs", "1"]);
    assert_eq!(reduced["total"]["runs_reduced"], 2);
    assert!(db.fine(&["show", "demo-parcel"]).contains("CANCELLED    0 of 2  (reduced by policy)"));
    let text = db.fine(&["compact", "--all", "--keep-runs", "1", "--drop"]);
    assert!(text.contains("\nall of them ") && text.contains("\nsaved "), "{text}");
    let text = db.fine(&["show", "demo-parcel"]);
    assert!(text.contains("\n3    COMPLETED         5  Wait, don't."), "{text}");
    assert!(text.ends_with("(2 runs removed; what was spent is still counted)\n"), "{text}");
    assert!(text.contains("600 tokens in"), "{text}");
}

#[test]
fn a_compaction_without_options_does_what_the_policies_say() {
    let db = Db::with_samples();
    db.fine(&["policy", "demo-parcel", "--store-tool-messages", "false"]);
    let done = db.json(&["compact", "--all"]);
    assert_eq!((len(&done["sessions"]), &done["total"]["messages"]), (2, &4.into()));
}

#[test]
fn what_a_fork_shares_and_keeps_is_counted() {
    let db = with_fork();
    let plan = db.json(&["compact", "demo-parcel", "--no-tool-messages", "--dry-run"]);
    assert!(plan["sessions"][0]["kept_for_forks"].as_u64().unwrap() >= 2);
    assert_eq!(plan["sessions"][0]["messages"], 3);
    let args = ["compact", "demo-parcel", "--no-tool-messages", "--dry-run"];
    assert!(db.fine(&args).contains("SAVED  FORKS KEEP\n"));
    let plan = db.json(&["compact", "--all", "--no-tool-messages", "--dry-run"]);
    assert_eq!(plan["total"]["kept_for_forks"], 0);
}

#[test]
fn a_rewrite_goes_alone_or_behind_a_compaction() {
    let db = Db::with_samples();
    let before = dump(&db);
    let alone = db.json(&["compact", "--rewrite"]);
    assert_eq!((len(&alone["sessions"]), dump(&db)), (0, before));
    assert!(alone["rewritten"]["records"].as_u64().unwrap() > 0);
    let text = db.fine(&["compact", "--all", "--no-tool-messages", "--rewrite"]);
    assert!(text.contains("\nsaved ") && text.contains("\nrewritten from "), "{text}");
    assert_eq!(db.json(&["verify"])["ok"], true);
    db.refused(1, &["compact", "--rewrite", "--salvage"]);
}

#[test]
fn nothing_is_compacted_or_deleted_if_any_session_is_not_there() {
    let db = Db::with_samples();
    let before = dump(&db);
    for args in [
        &["compact", "demo-parcel", "nope", "--no-tool-messages"][..],
        &["compact", "demo-parcel", "nope", "--no-tool-messages", "--json"],
        &["delete", "demo-parcel", "nope"],
        &["delete", "demo-parcel", "nope", "--json"],
    ] {
        assert_eq!(db.refused(1, args), "sessionlog: session nope: no such session");
    }
    assert_eq!(dump(&db), before);
}

// ---- what is left to be seen

#[test]
fn what_was_removed_is_said_in_one_line_each() {
    let db = Db::with_samples();
    db.fine(&["policy", "demo-parcel", "--store-tool-messages", "false", "--keep-runs", "9"]);
    db.fine(&["compact", "demo-parcel"]);
    db.fine(&["erase", "demo-parcel", "--message", "15", "--reason", "art. 17"]);
    assert!(db.fine(&["show", "demo-parcel"]).contains("\npolicy    no tool messages, last 9"));
    let log = db.fine(&["log", "demo-parcel"]);
    for line in [
        "assistant: Let me look. (removed by policy: 1 tool call)",
        "tool: (removed: tool result)",
        "assistant: (removed: 2 tool calls)",
        "user: (removed)",
        "policy_set        no tool messages, last 9 runs, older ones reduced",
        "compacted         6 events from seq 5 to 18, by policy: no tool messages, last 9 runs",
        "erased            the message of seq 15: 1 event at seq 15 (art. 17)",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    let replay = db.fine(&["replay", "demo-parcel"]);
    assert!(replay.contains("messages 3 -> 4, tool: (removed: tool result)"), "{replay}");
    let history = db.fine(&["history", "demo-parcel"]);
    let words = "assistant  Let me look.\n           (removed by policy: 1 tool call)\n";
    assert!(history.contains(words), "{history}");
}

// ---- policy

#[test]
fn a_policy_is_said_word_by_word_and_taken_back() {
    let db = Db::with_samples();
    let shown = db.json(&["policy", "demo-menu"]);
    let all = json!({
        "store_media": true,
        "store_tool_messages": true,
        "store_history_messages": true,
        "keep_runs": "all",
    });
    assert_eq!((&shown["own"], &shown["effective"]), (&json!({}), &all));
    db.fine(&["policy", "demo-menu", "--store-media", "false"]);
    let shown = db.json(&["policy", "demo-menu", "--keep-runs", "3", "--drop"]);
    let keep = json!({ "last": { "runs": 3, "older": "dropped" } });
    assert_eq!(shown["own"], json!({ "store_media": false, "keep_runs": keep }));
    assert_eq!(shown["effective"]["store_tool_messages"], true);
    let seq = len(&db.json(&["log", "demo-menu"])["events"]);
    let text = db.fine(&["policy", "demo-menu", "--store-media", "false"]);
    assert!(text.contains("media             no"), "{text}");
    // What it says already is not said again.
    assert_eq!(len(&db.json(&["log", "demo-menu"])["events"]), seq);
    let listed = db.json(&["policy"]);
    assert_eq!((len(&listed["sessions"]), &listed["sessions"][0]["own"]), (1, &shown["own"]));
    assert!(db.fine(&["policy"]).starts_with("demo-menu: no media, last 3 runs, older ones drop"));
    assert_eq!(db.json(&["policy", "demo-menu", "--inherit"])["own"], json!({}));
    assert_eq!(db.fine(&["policy"]), "0 sessions with a policy of their own\n");
}

#[test]
fn what_is_imported_or_recorded_may_be_told_what_to_leave_out() {
    let db = Db::empty();
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let lines = [
        json!({"role": "user", "content": "How warm is it?"}),
        json!({"role": "assistant", "content": "Let me look.", "tool_calls": [call]}),
        json!({"role": "tool", "tool_call_id": "c", "content": "SECRET"}),
        json!({"role": "assistant", "content": "4 degrees."}),
    ];
    let input = lines.map(|line| line.to_string()).join("\n");
    let output = db.run_with(&["record", "piped", "--no-tool-messages"], input.as_bytes());
    assert_eq!((code(&output), stdout(&output).lines().count()), (0, 4), "{}", stderr(&output));
    let file = db.directory.path().join("filed.jsonl");
    std::fs::write(&file, &input).unwrap();
    let args = ["import", "--no-tool-messages", file.to_str().unwrap()];
    db.fine(&args);
    let again = db.json(&args);
    assert_eq!((&again["unchanged"], &again["messages"]), (&1.into(), &0.into()));
    assert!(!dump(&db).contains("SECRET"));
    for session in ["piped", "filed"] {
        let history = db.json(&["history", session]);
        assert_eq!(roles(&history["messages"]), ["user", "assistant", "assistant"], "{session}");
    }
    assert_eq!(db.json(&["verify"])["ok"], true);
}

// ---- delete and erase

#[test]
fn what_would_be_erased_of_a_session_names_the_forks_that_share_it() {
    let db = with_fork();
    let call = |seq: &str| db.json(&["erase", "demo-parcel", "--message", seq, "--dry-run"]);
    let forks = |plan: serde_json::Value| plan["sessions"][0]["forks"].clone();
    assert_eq!(forks(call("3")), json!(["again"]));
    let done = db.json(&["erase", "demo-parcel", "--message", "3"]);
    assert_eq!(done["receipts"][0]["forks"][0]["session_id"], "again");
    // Behind the fork it is the session's own.
    let events = db.json(&["log", "demo-parcel"])["events"].clone();
    let is_message = |event: &&serde_json::Value| event["kind"] == "message_added";
    let last = events.as_array().unwrap().iter().rfind(is_message).unwrap()["seq"].to_string();
    assert_eq!(forks(call(&last)), json!([]));
}

#[test]
fn a_deleted_session_leaves_a_receipt_and_its_forks() {
    let db = with_fork();
    let before = dump(&db);
    let planned = db.json(&["delete", "demo-parcel", "--dry-run"]);
    let text = db.fine(&["delete", "demo-parcel", "--dry-run"]);
    assert_eq!(text, "would delete demo-parcel: 13 events\n  shared by again\n");
    assert_eq!((len(&planned["receipts"]), &planned["dry_run"]), (0, &true.into()));
    assert_eq!(dump(&db), before);
    let done = db.json(&["delete", "demo-parcel", "demo-parcel", "--reason", "asked by alice"]);
    let receipt = &done["receipts"][0];
    assert_eq!((len(&done["receipts"]), &receipt["session_id"]), (1, &"demo-parcel".into()));
    assert_eq!(receipt["events"], planned["sessions"][0]["events"]);
    assert_eq!(receipt["link"].as_str().unwrap().len(), 64);
    db.refused(1, &["show", "demo-parcel"]);
    assert_eq!(db.json(&["show", "again"])["runs"][0]["run_id"], "parcel-1");
    let text = db.fine(&["delete", "demo-menu"]);
    assert!(text.starts_with("deleted demo-menu: 11 events\n  receipt   seq 12, link "), "{text}");
    let receipts = db.json(&["erase", "--receipts"]);
    assert_eq!(len(&receipts["receipts"]), 2);
    for receipt in receipts["receipts"].as_array().unwrap() {
        assert_eq!(receipt["kind"], "session_deleted");
        assert!(receipt["recorded_at"].as_str().unwrap().ends_with('Z'));
        assert!(receipt["body"]["is_erased"].is_boolean());
    }
    assert!(db.fine(&["erase", "--receipts"]).ends_with("2 receipts\n"));
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn a_message_and_a_run_are_erased_and_nothing_else() {
    let db = Db::with_samples();
    let before = dump(&db);
    let planned = db.json(&["erase", "demo-parcel", "--message", "19", "--dry-run"]);
    let forks: [(); 0] = [];
    let plan = json!({
        "session_id": "demo-parcel", "seqs": [19], "memory_texts": 0, "forks": forks,
    });
    assert_eq!(planned["sessions"], json!([plan]));
    let text = db.fine(&["erase", "demo-parcel", "--run", "parcel-1", "--dry-run"]);
    assert!(text.starts_with("would erase from demo-parcel: up to "), "{text}");
    assert_eq!(dump(&db), before);
    let done = db.json(&["erase", "demo-parcel", "--message", "19"]);
    assert_eq!(done["receipts"][0]["events"], 1);
    let text = db.fine(&["erase", "demo-parcel", "--run", "parcel-1"]);
    assert!(text.starts_with("erased from demo-parcel: "), "{text}");
    let after = dump(&db);
    let gone = ["charge", "T-1042 never came"];
    assert!(gone.iter().all(|words| before.contains(words) && !after.contains(words)));
    assert!(db.fine(&["log", "demo-parcel"]).contains("Wait, don't."));
    let words = db.refused(1, &["erase", "demo-parcel", "--message", "1"]);
    assert_eq!(words, "sessionlog: session demo-parcel: seq 1: no such message");
    let words = db.refused(1, &["erase", "demo-parcel", "--run", "nope"]);
    assert_eq!(words, "sessionlog: session demo-parcel: point run:nope: no such run");
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn an_erased_session_is_gone_from_its_forks_too() {
    let db = with_fork();
    let text = db.fine(&["erase", "demo-parcel", "--dry-run"]);
    assert_eq!(text, "would erase demo-parcel: 22 events\n  and from  again\n");
    let text = db.fine(&["erase", "demo-parcel"]);
    assert!(text.starts_with("erased demo-parcel: ") && text.contains("from the fork again: "));
    assert!(!db.fine(&["log", "again"]).contains("T-1042"));
    assert!(!db.fine(&["export", "--all"]).contains("T-1042"));
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn a_user_is_erased_and_nobody_else() {
    let db = Db::with_samples();
    let before = dump(&db);
    let planned = db.json(&["erase", "--user", "bob", "--dry-run"]);
    assert_eq!(planned["sessions"][0]["session_id"], "demo-menu");
    assert_eq!(dump(&db), before);
    let done = db.json(&["erase", "--user", "bob", "--reason", "art. 17"]);
    assert_eq!(len(&done["receipts"]), 1);
    assert_eq!(db.fine(&["erase", "--user", "bob"]), "bob has no sessions and no memories\n");
    assert_eq!(db.json(&["erase", "--user", "bob"])["receipts"], json!([]));
    assert_eq!(db.json(&["ls"])["sessions"][0]["session_id"], "demo-parcel");
}

#[test]
fn what_forks_share_of_a_deleted_session_is_erased_with_it_or_with_its_user() {
    for erase in [&["erase", "demo-parcel"][..], &["erase", "--user", "alice"]] {
        let db = with_fork();
        let user = db.json(&["ls"])["sessions"][0]["user_id"].as_str().unwrap().to_owned();
        let erase: Vec<&str> =
            erase.iter().map(|word| if *word == "alice" { &user } else { *word }).collect();
        db.fine(&["delete", "demo-parcel"]);
        let before = dump(&db);
        assert!(before.contains("T-1042"));
        let planned = db.json(&[&erase[..], &["--dry-run"]].concat());
        let former = planned["sessions"].as_array().unwrap().last().unwrap().clone();
        assert_eq!((&former["is_former"], &former["forks"]), (&true.into(), &json!(["again"])));
        let text = db.fine(&[&erase[..], &["--dry-run"]].concat());
        assert!(text.contains("would erase what forks share of demo-parcel: "), "{text}");
        assert_eq!(dump(&db), before);
        let done = db.json(&erase);
        let receipts = done["receipts"].as_array().unwrap();
        if erase.len() == 2 {
            assert_eq!(receipts[0]["session_id"], "demo-parcel");
            assert_eq!(receipts[0]["events"], former["events"]);
            assert_eq!(receipts[0]["forks"][0]["session_id"], "again");
            assert!(!db.fine(&["log", "again"]).contains("T-1042"));
        }
        db.refused(1, &["erase", "demo-parcel"]);
        assert_eq!(db.json(&["verify"])["ok"], true);
    }
}

#[test]
fn a_session_under_the_id_of_a_deleted_one_is_replayed_to_where_it_is_asked() {
    let db = Db::with_samples();
    db.fine(&["delete", "demo-menu"]);
    let input: String = (0..3).map(|at| user_line(&format!("new {at}"))).collect();
    assert_eq!(code(&db.run_with(&["record", "demo-menu", "--user", "eve"], input.as_bytes())), 0);
    let events = db.json(&["log", "demo-menu"])["events"].clone();
    let second = events[1]["seq"].to_string();
    assert_eq!(len(&db.json(&["replay", "demo-menu", "--to", &second])["steps"]), 2);
}

// ---- media

/// A message with an image in it, as a line of input.
fn picture_line() -> String {
    let bytes: Vec<u8> = (0..9_000_u32).map(|at| (at * 7) as u8).collect();
    let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes));
    let part = json!({ "type": "image_url", "image_url": { "url": url } });
    let text = json!({ "type": "text", "text": "What is this?" });
    format!("{}\n", json!({ "role": "user", "content": [text, part] }))
}

#[test]
fn stored_media_are_listed_and_go_with_what_refers_to_them() {
    let db = Db::with_samples();
    assert_eq!(db.fine(&["blobs"]), "0 blobs, 0 B\n");
    let input = [picture_line(), picture_line()].concat();
    assert_eq!(code(&db.run_with(&["record", "seen"], input.as_bytes())), 0);
    let listed = db.json(&["blobs"]);
    assert_eq!((len(&listed["blobs"]), &listed["blobs"][0]["uses"]), (1, &2.into()));
    let bytes = listed["blobs"][0]["bytes"].as_u64().unwrap();
    assert_eq!(listed["total"], json!({ "blobs": 1, "bytes": bytes }));
    assert!(db.fine(&["blobs"]).ends_with("\n1 blob, 8.8 KiB\n"));
    // Both are in use.
    assert_eq!(db.json(&["blobs", "--collect"])["removed"], json!([]));
    let before = dump(&db);
    let args = ["compact", "seen", "--no-media"];
    let planned = db.json(&[&args[..], &["--dry-run"]].concat());
    assert_eq!((dump(&db), len(&db.json(&["blobs"])["blobs"])), (before, 1));
    let total = &planned["total"];
    assert_eq!((&total["media"], total["blob_bytes"].as_u64()), (&2.into(), Some(bytes)));
    assert_eq!(db.json(&args)["total"], *total);
    assert_eq!(db.fine(&["blobs"]), "0 blobs, 0 B\n");
    let history = db.fine(&["history", "seen", "--runs", "1"]);
    assert!(history.contains("(removed by policy: 1 image or file)"), "{history}");
    let planned = db.json(&["blobs", "--collect", "--dry-run"]);
    assert_eq!((&planned["dry_run"], &planned["removed"]), (&true.into(), &json!([])));
    assert_eq!(db.fine(&["blobs", "--collect"]), "removed 0 blobs, 0 B\n");
    assert_eq!(db.json(&["verify"])["ok"], true);
}

#[test]
fn media_that_are_not_to_be_kept_are_never_stored() {
    let db = Db::empty();
    let output = db.run_with(&["record", "seen", "--no-media"], picture_line().as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(db.json(&["blobs"])["blobs"], json!([]));
    assert!(db.fine(&["history", "seen"]).starts_with("user       What is this?\n"));
}

// ---- sealed databases

#[test]
fn a_sealed_database_opens_with_its_key_and_erasing_destroys_that_of_the_session() {
    let db = Db::empty();
    let key = db.directory.path().join("key");
    std::fs::write(&key, "0123456789abcdef".repeat(4)).unwrap();
    let key = key.to_str().unwrap();
    let output = db.run_with(&["record", "chat", "--key-file", key], user_line("Hi").as_bytes());
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let words = db.refused(1, &["ls"]);
    assert!(words.contains("the database is sealed") && words.contains("--key-file"), "{words}");
    assert_eq!(db.json(&["ls", "--key-file", key])["total"], 1);
    let mut command = db.command(&["history", "chat"]);
    let output = command.env("SESSIONLOG_KEY_FILE", key).output().unwrap();
    assert_eq!(stdout(&output), "user       Hi\n", "{}", stderr(&output));
    db.fine(&["compact", "--all", "--rewrite", "--key-file", key]);
    let text = db.fine(&["erase", "chat", "--key-file", key]);
    assert!(text.contains("that of chat was destroyed: what was sealed under it"), "{text}");
    assert_eq!(db.json(&["verify", "--key-file", key])["ok"], true);
    let words = db.refused(1, &["ls", "--key-file", "/no/such/key"]);
    assert!(words.contains("/no/such/key: "), "{words}");
}

// ---- wrong usage

#[test]
fn options_that_do_not_go_together_are_wrong_usage() {
    let db = Db::with_samples();
    let before = dump(&db);
    let mistakes: [(&[&str], &str); 20] = [
        (&["compact"], "<SESSION|--all|--rewrite>"),
        (&["compact", "--keep-runs", "1"], "<SESSION|--all|--rewrite>"),
        (&["compact", "--rewrite", "--no-media"], "name the sessions that these options are for"),
        (&["compact", "--all", "demo-menu"], "cannot be used with"),
        (&["compact", "--all", "--drop"], "--keep-runs <N>"),
        (&["compact", "--all", "--keep-runs", "-1"], "'-1'"),
        (&["compact", "--all", "--keep-runs", "0"], "0 is not in 1.."),
        (&["compact", "--all", "--rewrite", "--dry-run"], "cannot be used with"),
        (&["delete"], "<SESSION>..."),
        (&["erase"], "<SESSION|--user <USER>|--receipts>"),
        (&["erase", "demo-menu", "--user", "bob"], "cannot be used with"),
        (&["erase", "--user", "bob", "--message", "3"], "cannot be used with"),
        (&["erase", "demo-menu", "--message", "3", "--run", "menu-1"], "cannot be used with"),
        (&["erase", "--receipts", "--dry-run"], "cannot be used with"),
        (&["policy", "--inherit"], "<SESSION>"),
        (&["policy", "demo-menu", "--drop"], "--keep-runs <N|all>"),
        (&["policy", "demo-menu", "--keep-runs", "few"], "use a number of runs from 1 on, or all"),
        (&["policy", "demo-menu", "--keep-runs", "all", "--drop"], "no run is dropped where all"),
        (&["policy", "demo-menu", "--inherit", "--store-media", "true"], "cannot be used with"),
        (&["blobs", "--dry-run"], "--collect"),
    ];
    for (args, words) in mistakes {
        let said = db.refused(2, args);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    assert_eq!(dump(&db), before);
}

#[test]
fn a_run_is_erased_by_its_number_and_receipts_are_found_by_session_and_user() {
    let db = Db::with_samples();
    let by_id = db.json(&["erase", "demo-parcel", "--run", "parcel-2", "--dry-run"]);
    for number in ["2", "run:2"] {
        assert_eq!(db.json(&["erase", "demo-parcel", "--run", number, "--dry-run"]), by_id);
    }
    db.fine(&["erase", "demo-parcel", "--run", "2", "--reason", "asked by alice"]);
    db.fine(&["delete", "demo-menu"]);
    let found = |args: &[&str]| {
        let receipts = db.json(&[&["erase", "--receipts"], args].concat())["receipts"].clone();
        let ids = receipts.as_array().unwrap().iter().map(|it| it["session_id"].clone());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(found(&[]).len(), 2);
    assert_eq!(found(&["demo-parcel"]), ["demo-parcel"]);
    // It is gone itself.
    assert_eq!(found(&["demo-menu"]), ["demo-menu"]);
    assert_eq!(found(&["--user", "alice"]), ["demo-parcel"]);
    assert_eq!(found(&["--user", "nobody-else"]), Vec::<Value>::new());
    let text = db.fine(&["erase", "--receipts", "demo-parcel"]);
    assert!(text.contains("asked by alice") && text.contains(" events from seq "), "{text}");
    db.refused(2, &["erase", "--receipts", "demo-menu", "--user", "bob"]);
    db.refused(2, &["erase", "demo-menu", "--user", "bob"]);
}

#[test]
fn the_receipts_of_a_user_name_sessions_that_somebody_else_erased() {
    let db = Db::with_samples();
    db.fine(&["erase", "demo-parcel", "--reason", "cleaning up"]);
    let found = |user: &str| {
        db.json(&["erase", "--receipts", "--user", user])["receipts"].as_array().unwrap().clone()
    };
    let receipts = found("alice");
    assert_eq!(receipts.len(), 1, "{receipts:?}");
    assert_eq!(receipts[0]["body"]["authority"], "cleaning up");
    assert_eq!(found("nobody-else"), Vec::<Value>::new());
    // Whose it was says no more that something is left.
    let text = db.fine(&["erase", "--user", "alice"]);
    assert!(!text.contains("demo-parcel"), "{text}");
}

#[test]
fn a_damaged_slot_of_the_key_file_is_named_by_whoever_meets_it() {
    let db = Db::empty();
    let key = db.directory.path().join("key");
    let key = key.to_str().unwrap();
    db.fine(&["key", "new", key]);
    for id in ["one", "other"] {
        let args = ["record", id, "--user", "alice", "--key-file", key];
        assert_eq!(code(&db.run_with(&args, user_line("Hi").as_bytes())), 0);
    }
    let path = db.path().join("sessionlog.keys");
    let mut bytes = std::fs::read(&path).unwrap();
    // The header, the probe, and then the first session.
    bytes[2 * 512 + 100] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let verified = db.run(&["verify", "--key-file", key]);
    let words = stdout(&verified);
    assert_eq!(code(&verified), 1);
    assert!(words.contains(": slot 2 of sessionlog.keys, "), "{words}");
    assert!(words.contains("\n1 problem in 1 session, "), "{words}");
    let words = db.fine(&["stats", "--key-file", key]);
    assert!(words.starts_with("1 session, ") && words.contains("\n1 more cannot be "), "{words}");
    assert_eq!(len(&db.json(&["ls", "--key-file", key])["sessions"]), 1);
    // What is there is exported, and what is not is told.
    let output = db.run(&["export", "--all", "--key-file", key]);
    assert_eq!((code(&output), stdout(&output).lines().count()), (1, 1));
    assert!(stderr(&output).contains("1 session cannot be read"), "{}", stderr(&output));
    db.refused(1, &["erase", "--user", "alice", "--dry-run", "--key-file", key]);
    for args in [&["search", "Hi"][..], &["erase", "one"], &["erase", "--user", "alice"]] {
        let output = db.run(&[args, &["--key-file", key]].concat());
        let words = stderr(&output);
        assert!(code(&output) == 1 && words.contains("slot 2 of sessionlog.keys"), "{words}");
        assert!(!words.contains("--key-file"), "{words}");
    }
    // The other one went all the same.
    assert_eq!(len(&db.json(&["ls", "--key-file", key])["sessions"]), 0);
}
