//! The `sessionlog` program from outside: what it prints, what it says when it cannot, and what
//! it leaves behind when it is killed.

mod assist;
mod context;
mod keep;
mod listing;
mod memory;
mod recording;
mod search;
mod trouble;
mod validate;

use std::path::Path;

use serde_json::{Value, json};

use crate::support::program::*;

const COMMANDS: [&str; 29] = [
    "demo",
    "import",
    "record",
    "export",
    "ls",
    "show",
    "history",
    "context",
    "search",
    "log",
    "replay",
    "diff",
    "fork",
    "forks",
    "rewind",
    "rename",
    "summarize",
    "memory",
    "state",
    "policy",
    "compact",
    "delete",
    "erase",
    "blobs",
    "key",
    "validate",
    "verify",
    "stats",
    "completions",
];

#[test]
fn the_past_is_forked_gone_back_to_and_compared() {
    let db = Db::with_samples();
    let fork = db.json(&["fork", "demo-parcel", "--at", "run:1", "--id", "again"]);
    assert_eq!(fork["forked_from"]["session_id"], "demo-parcel");
    let forks = db.json(&["forks", "again"]);
    let names: Vec<_> = forks["forks"].as_array().unwrap().iter().collect();
    assert_eq!(
        (&names[0]["session_id"], &names[1]["session_id"]),
        (&"demo-parcel".into(), &"again".into())
    );
    assert_eq!(db.json(&["show", "again"])["forked_from"], fork["forked_from"]);
    let before = db.json(&["show", "demo-parcel"]);
    let there = db.json(&["show", "demo-parcel", "--at", "run:1"]);
    let seq = db.json(&["rewind", "demo-parcel", "--to", "run:1"]);
    let now = db.json(&["show", "demo-parcel"]);
    assert_eq!(now["runs"], there["runs"]);
    assert_ne!(now["runs"], before["runs"]);
    let last = (seq["rewound_to"].as_u64().unwrap() + 1).to_string();
    assert!(db.fine(&["log", "demo-parcel", "--from", &last]).contains("rewound_to"));
    let diff = db.json(&["diff", "demo-parcel", "head", "head", "--with", "again"]);
    assert_eq!(diff["messages"].as_array().unwrap().len(), 0);
    assert!(db.fine(&["diff", "demo-parcel", "start", "head"]).contains("+ "));
    assert_eq!(db.json(&["verify"])["ok"], true);
    let words = db.refused(1, &["fork", "demo-parcel", "--id", "again"]);
    assert!(words.contains("there is another session under this id"), "{words}");
    db.refused(1, &["rewind", "demo-parcel", "--to", "start"]);
    db.refused(2, &["rewind", "demo-parcel"]);
}

#[test]
fn a_listing_has_the_schemas_fields_and_the_total() {
    let db = Db::with_samples();
    let page = db.json(&["ls", "--limit", "1", "--order", "asc"]);
    assert_eq!(page["total"], 2);
    let session = &page["sessions"][0];
    assert_eq!(session["session_id"], "demo-parcel");
    assert_eq!(session["session_data"]["session_name"], "Lost parcel");
    assert!(session.get("runs").is_none());
    let of_bob = db.json(&["ls", "--user", "bob"]);
    assert_eq!((&of_bob["total"], &of_bob["sessions"][0]["user_id"]), (&1.into(), &"bob".into()));
    assert_eq!(db.json(&["ls", "--name", "PARCEL", "--type", "agent"])["total"], 1);
    assert_eq!(db.json(&["ls", "--component", "cook", "--since", "2020-01-01"])["total"], 1);
    assert_eq!(db.json(&["ls", "--until", "2020-01-01"])["total"], 0);
    assert!(db.fine(&["ls"]).ends_with("2 of 2 sessions\n"));
}

#[test]
fn a_session_is_shown_as_it_was() {
    let db = Db::with_samples();
    let now = db.json(&["show", "demo-parcel"]);
    assert_eq!(now["runs"].as_array().unwrap().len(), 3);
    assert_eq!(now["session_data"]["session_state"]["order"], "T-1055");
    let earlier = db.json(&["show", "demo-parcel", "--at", "run:1"]);
    assert_eq!(earlier["runs"].as_array().unwrap().len(), 1);
    assert_eq!(earlier["session_data"]["session_state"]["order"], "T-1042");
    assert!(earlier["session_data"].get("session_name").is_none());
    assert!(db.fine(&["show", "demo-parcel"]).contains("CANCELLED"));
}

#[test]
fn history_is_what_a_provider_takes() {
    let db = Db::with_samples();
    let openai = db.json(&["history", "demo-parcel"]);
    let whole = [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
        "assistant",
        "tool",
        "tool",
        "assistant",
    ];
    assert_eq!(roles(&openai["messages"]), whole);
    assert!(!openai.to_string().contains("cancel_order"));
    let anthropic = db.json(&["history", "demo-parcel", "--runs", "1", "--format", "anthropic"]);
    assert_eq!(anthropic["system"], "You help customers of a tea shop. Be brief.");
    assert_eq!(roles(&anthropic["messages"]), ["user", "assistant", "user", "assistant"]);
    assert_eq!(db.json(&["history", "demo-menu", "--format", "anthropic"])["system"], Value::Null);
    let last = db.json(&["history", "demo-parcel", "--messages", "2"]);
    assert_eq!(roles(&last["messages"]), ["system", "assistant"]);
    let early = db.json(&["history", "demo-parcel", "--at", "4", "--max-tool-calls", "0"]);
    assert_eq!(roles(&early["messages"]), ["system", "user"]);
    assert!(db.fine(&["history", "demo-parcel"]).contains("-> stock({\"item\":\"oolong\"})"));
}

#[test]
fn the_log_shows_each_event_with_its_place_run_and_body() {
    let db = Db::with_samples();
    let log = db.json(&["log", "demo-parcel", "--from", "4", "--to", "5"]);
    let events = log["events"].as_array().unwrap();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, [4, 5]);
    let event = &events[0];
    assert_eq!((&event["kind"], &event["run_id"]), (&"message_added".into(), &"parcel-1".into()));
    assert_eq!(event["body"]["message"]["role"], "user");
    assert!(event["recorded_at"].as_str().unwrap().ends_with('Z'));
    assert!(event["event_id"].is_string() && event["position"].is_u64());
    let all = db.json(&["log", "demo-parcel"]);
    assert_eq!(
        all["events"].as_array().unwrap().len(),
        db.fine(&["log", "demo-parcel"]).lines().count()
    );
    assert_eq!(db.json(&["log", "demo-parcel", "--from", "99"])["events"], Value::Array(vec![]));
}

#[test]
fn replay_tells_what_each_event_changed() {
    let db = Db::with_samples();
    let replay = db.json(&["replay", "demo-parcel", "--to", "run:1"]);
    let steps = replay["steps"].as_array().unwrap();
    let counts: Vec<u64> =
        steps.iter().map(|step| step["view"]["message_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [0, 0, 1, 2, 3, 4, 5, 5, 5]);
    assert_eq!(steps[8]["kind"], "run_finished");
    assert_eq!(steps[8]["view"]["state"]["customer"]["name"], "Alice");
    let text = db.fine(&["replay", "demo-parcel"]);
    assert!(text.contains("runs 0 -> 1") && text.contains("CANCELLED"), "{text}");
}

#[test]
fn verify_and_stats_count_the_same_events() {
    let db = Db::with_samples();
    let report = db.json(&["verify"]);
    assert_eq!((&report["ok"], &report["sessions"]), (&true.into(), &2.into()));
    assert_eq!(report["problems"], Value::Array(vec![]));
    let stats = db.json(&["stats"]);
    assert_eq!(stats["events"], report["events"]);
    assert_eq!(stats["kinds"]["message_added"]["events"], 16);
    assert!(stats["live_bytes"].as_u64() > Some(0) && stats["dead_bytes"].is_u64());
    assert!(db.fine(&["stats"]).contains("all records"));
    assert!(db.fine(&["verify", "demo-menu"]).starts_with("ok: 1 session, "));
    assert!(db.fine(&["stats"]).contains("message_added"));
}

#[test]
fn a_head_that_was_kept_is_found_again() {
    let db = Db::with_samples();
    let report = db.json(&["verify", "demo-menu"]);
    let own = report["heads"]["demo-menu"].as_str().unwrap();
    assert_eq!(db.json(&["show", "demo-menu"])["link"], own);
    let log = db.json(&["verify"])["log_head"]["link"].as_str().unwrap().to_owned();
    assert!(db.fine(&["verify"]).contains(&log));
    db.fine(&["rename", "demo-menu", "Risotto"]);
    let found = db.json(&["verify", "demo-menu", "--head", &own.to_uppercase()]);
    assert_ne!(db.json(&["show", "demo-menu"])["link"], own);
    assert!(found["ok"] == true && found["head"]["seq"].is_u64(), "{found}");
    assert!(db.json(&["verify", "--head", &log])["head"]["position"].is_u64());
    let text = db.fine(&["verify", "demo-menu", "--head", own]);
    assert!(text.contains("nothing up to there was changed\nhead of demo-menu: "), "{text}");
    // Of another session, and of none.
    let other = db.run(&["verify", "demo-parcel", "--head", own]);
    assert_eq!(code(&other), 1);
    assert!(stdout(&other).starts_with("session demo-parcel: no event has this link: "));
    assert_eq!(code(&db.run(&["verify", "--head", own, "--json"])), 1);
    assert!(db.refused(2, &["verify", "--head", "abc"]).contains("64 hexadecimal digits"));
    let words = db.refused(2, &["verify", "demo-menu", "demo-parcel", "--head", own]);
    assert!(words.contains("a head is of one session"), "{words}");
}

// ---- writing

#[test]
fn a_new_name_is_there_at_once() {
    let db = Db::with_samples();
    let renamed = db.json(&["rename", "demo-menu", "Risotto"]);
    assert_eq!(renamed["session_name"], "Risotto");
    assert!(renamed["seq"].is_u64());
    assert_eq!(db.json(&["ls", "--name", "risotto"])["total"], 1);
}

#[test]
fn state_is_set_and_removed_by_key_path() {
    let db = Db::with_samples();
    let args = ["state", "demo-menu", "cart.items=[\"rice\"]", "diet=", "note=\"soon\""];
    let expected = serde_json::json!({"guests": 6, "cart": {"items": ["rice"]}, "note": "soon"});
    assert_eq!(db.json(&args), expected);
    assert_eq!(db.json(&["state", "demo-menu"]), expected);
}

#[test]
fn what_was_recorded_is_exported() {
    let db = Db::with_samples();
    let one = db.fine(&["export", "demo-menu"]);
    assert!(one.contains("480 grams"), "{one}");
    let all = db.fine(&["export", "--all"]);
    let documents = all.lines().map(serde_json::from_str::<Value>);
    assert!(documents.clone().all(|document| document.is_ok()));
    assert!(all.contains("480 grams") && all.contains("lost in the depot"));
}

#[test]
fn an_import_counts_what_it_records_and_what_it_skips() {
    let db = Db::empty();
    let file = db.directory.path().join("chat.jsonl");
    let text = format!("{}{}", user_line("Hi"), "{\"role\":\"assistant\",\"content\":\"Hello\"}\n");
    std::fs::write(&file, &text).unwrap();
    let file = file.to_str().unwrap();
    let report = db.json(&["import", "--format", "openai", "--user", "alice", file]);
    assert_eq!((&report["files"], &report["messages"]), (&1.into(), &2.into()));
    assert_eq!(report["skipped"], Value::Array(vec![]));
    assert_eq!(db.json(&["ls", "--user", "alice"])["total"], 1);
    let again = db.json(&["import", file]);
    assert_eq!((&again["messages"], &again["unchanged"]), (&0.into(), &1.into()));
    assert_eq!(again["found"]["messages"], 2);
}

#[test]
fn conversations_through_a_pipe_do_not_run_into_one_another() {
    let db = Db::empty();
    for (text, sessions) in [("one", 1), ("two", 2), ("one", 2)] {
        let output = db.run_with(&["import", "-"], user_line(text).as_bytes());
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        assert_eq!(db.json(&["ls"])["total"], sessions);
    }
}

#[test]
fn an_import_of_nothing_says_so_and_makes_nothing() {
    let db = Db::empty();
    let empty = only_complaint(&db.run_with(&["import", "-"], b" \n"), 1);
    assert!(empty.contains("standard input is empty"), "{empty}");
    let missing = db.refused(1, &["import", "/no/such/file.json"]);
    assert!(missing.contains("/no/such/file.json: no such file"), "{missing}");
    assert!(!db.path().exists());
    let broken = db.run_with(&["import", "--format", "openai", "-"], b"{]\n");
    assert_eq!(code(&broken), 1);
}

// ---- mistakes

#[test]
fn a_missing_database_says_how_to_make_one() {
    let db = Db::empty();
    let words = db.refused(1, &["ls"]);
    assert!(words.contains("x.db: no such database (import, record or demo makes one)"), "{words}");
    assert!(!db.path().exists());
}

#[test]
fn a_path_that_holds_something_else_is_left_alone() {
    let db = Db::empty();
    std::fs::write(db.path(), "my diary").unwrap();
    for args in [&["ls"][..], &["demo"], &["record", "chat"]] {
        let words = db.refused(1, args);
        assert!(words.contains("x.db: not a sessionlog database"), "{words}");
    }
    assert_eq!(std::fs::read_to_string(db.path()).unwrap(), "my diary");
}

#[test]
fn an_unknown_session_is_named() {
    let db = Db::with_samples();
    let commands: [&[&str]; 14] = [
        &["compact", "demo-menu", "nope"],
        &["delete", "demo-menu", "nope"],
        &["erase", "nope"],
        &["erase", "nope", "--message", "3"],
        &["policy", "nope"],
        &["show", "nope"],
        &["history", "nope"],
        &["log", "nope"],
        &["replay", "nope"],
        &["rename", "nope", "x"],
        &["state", "nope"],
        &["export", "nope"],
        &["verify", "nope"],
        &["show", "nope", "--json"],
    ];
    for args in commands {
        assert_eq!(db.refused(1, args), "sessionlog: session nope: no such session", "{args:?}");
    }
}

#[test]
fn wrong_usage_is_one_line_and_status_two() {
    let db = Db::with_samples();
    let mistakes: [(&[&str], &str); 9] = [
        (&["ls", "--colour"], "unexpected argument '--colour'"),
        (&["frobnicate"], "unrecognized subcommand 'frobnicate'"),
        (&["show"], "required arguments were not provided: <SESSION>"),
        (&["show", "demo-menu", "--at", "yesterday"], "\"yesterday\" is no point: use head"),
        (&["state", "demo-menu", "name=Alice"], "as in name='\"Alice\"'"),
        (&["ls", "--since", "soon"], "use 2026-01-31"),
        (&["ls", "--limit", "0"], "a page holds 1 to 1000"),
        (&["export"], "<SESSION>..."),
        (&["export", "--all", "demo-menu"], "cannot be used with"),
    ];
    for (args, words) in mistakes {
        let said = db.refused(2, args);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_point_that_is_not_there_is_named() {
    let db = Db::with_samples();
    let words = db.refused(1, &["show", "demo-menu", "--at", "run:9"]);
    assert_eq!(words, "sessionlog: session demo-menu: point run:9: no such run");
}

#[test]
fn a_damaged_database_says_so_and_what_is_left_can_be_read() {
    let db = Db::with_samples();
    let data = db.path().join("db");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[9_000..9_040].fill(0x5a);
    std::fs::write(&data, bytes).unwrap();
    let words = db.refused(1, &["verify"]);
    assert!(words.contains("x.db: corrupt: its files were damaged"), "{words}");
    let left = db.run(&["ls", "--salvage", "--json"]);
    let left: Value = serde_json::from_str(&stdout(&left)).unwrap();
    assert_eq!(left["total"], 1);
    let renamed = db.run(&["rename", "demo-parcel", "x", "--salvage"]);
    assert_eq!(code(&renamed), 1);
    let words = stderr(&renamed);
    assert!(words.contains("opened for reading only"), "{words}");
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let db = Db::with_samples();
    let commands: [&[&str]; 9] = [
        &["policy", "demo-menu"],
        &["compact", "--all", "--keep-runs", "1"],
        &["erase", "--receipts"],
        &["blobs"],
        &["log", "demo-parcel"],
        &["export", "--all"],
        &["replay", "demo-parcel", "--json"],
        &["completions", "bash"],
        &["demo"],
    ];
    for args in commands {
        let mut child = piped(&mut db.command(args));
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn what_was_found_is_told_by_the_status_also_where_nobody_reads_on() {
    let db = Db::with_samples();
    // More than a pipe holds.
    let broken = json!([{"role": "critic", "content": ""}]).to_string();
    let lines = vec![broken; 20_000].join("\n");
    let file = db.path().with_extension("jsonl");
    std::fs::write(&file, lines).unwrap();
    let file = file.to_str().unwrap();
    for (args, status) in [
        (&["verify"][..], 0),
        (&["verify", "--head", &"0".repeat(64)], 1),
        (&["validate", file], 1),
        (&["validate", file, "--json"], 1),
    ] {
        let mut child = piped(&mut db.command(args));
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (status, ""), "{args:?}");
    }
}

// ---- finding one's way

#[test]
fn the_demo_is_short_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = program();
    let output = command.arg("demo").env("TMPDIR", directory.path()).output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
    let text = stdout(&output);
    assert!(text.lines().count() < 64, "{text}");
    assert!(text.contains("saved ") && text.contains("ok: 3 sessions"), "{text}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_runs_twice_in_a_database_of_ones_own() {
    let db = Db::empty();
    let first = db.json(&["demo"]);
    assert_eq!(first["recorded"].as_array().unwrap().len(), 2);
    assert_eq!(first["database"].as_str().map(Path::new), Some(db.path().as_path()));
    let second = db.json(&["demo"]);
    assert_eq!(second["already_there"], first["recorded"]);
    assert_eq!(second["verify"], first["verify"]);
    assert!(db.fine(&["demo"]).contains("Already there"));
}

#[test]
fn a_database_from_the_environment_is_no_playground() {
    let db = Db::empty();
    let mut command = program();
    let output = command.arg("demo").env("SESSIONLOG_DB", db.path()).output().unwrap();
    assert_eq!(code(&output), 0);
    assert!(!db.path().exists());
}

#[test]
fn options_of_every_command_stand_before_or_after_it() {
    let db = Db::with_samples();
    let path = db.path();
    let before = program().arg("--json").arg("--db").arg(&path).arg("ls").output().unwrap();
    let after = program().args(["ls", "--json", "--db"]).arg(&path).output().unwrap();
    assert_eq!(code(&before), 0);
    assert_eq!(stdout(&before), stdout(&after));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = program().args(["completions", shell]).output().unwrap();
        let script = stdout(&output);
        assert_eq!(code(&output), 0);
        assert!(COMMANDS.iter().all(|command| script.contains(command)), "{shell}");
        let document = program().args(["completions", shell, "--json"]).output().unwrap();
        let document: Value = serde_json::from_str(&stdout(&document)).unwrap();
        assert_eq!(document, json!({"shell": shell, "script": script}));
    }
}

#[test]
fn help_has_examples_of_commands_that_exist() {
    let pages = COMMANDS.iter().map(|command| vec![*command, "--help"]).chain([vec!["--help"]]);
    for args in pages {
        let output = program().args(&args).output().unwrap();
        let text = stdout(&output);
        let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{args:?}"));
        let mut used = 0;
        for line in examples.lines().filter(|line| line.starts_with("  ")) {
            let Some((_, call)) = line.split_once("sessionlog ") else { continue };
            let command = call.split_whitespace().next().unwrap();
            assert!(COMMANDS.contains(&command), "{line}");
            used += 1;
        }
        assert!(used > 0, "{args:?}");
    }
}

#[test]
fn no_command_at_all_gets_the_help_of_what_was_named() {
    for named in [&[][..], &["memory"], &["key"], &["--json", "memory"]] {
        let usage = named.iter().filter(|name| !name.starts_with("--"));
        let usage = usage.fold(String::from("Usage: sessionlog"), |usage, name| usage + " " + name);
        for database in ["", "x"] {
            let output = program().env("SESSIONLOG_DB", database).args(named).output().unwrap();
            assert_eq!(code(&output), 2);
            let help = stderr(&output);
            assert!(help.contains(&format!("{usage} [OPTIONS] <COMMAND>")), "{help}");
        }
    }
}
