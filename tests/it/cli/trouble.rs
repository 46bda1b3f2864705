//! What is said where something is in the way, and how it goes on from there.

use std::io::BufReader;

use crate::support::program::*;

/// Loses the end of a database's log.
fn damage(db: &Db) {
    let data = db.path().join("db");
    let mut bytes = std::fs::read(&data).unwrap();
    bytes[9_000..9_040].fill(0x5a);
    std::fs::write(&data, bytes).unwrap();
}

#[test]
fn whoever_salvages_a_database_is_told_what_it_lacks() {
    let db = Db::with_samples();
    let export = ["export", "--all", "--salvage"];
    let whole = db.fine(&export).lines().count();
    let events = db.json(&["stats"])["events"].as_u64().unwrap();
    damage(&db);
    let output = db.run(&export);
    assert!(!stdout(&output).is_empty() && stdout(&output).lines().count() < whole);
    assert_eq!(code(&output), 1);
    let words = stderr(&output);
    assert!(words.contains(&format!("of {events} events are missing: ")), "{words}");
    assert_eq!(words.lines().count(), 1, "{words}");
    let listed = db.run(&["ls", "--salvage"]);
    assert_eq!((code(&listed), stderr(&listed)), (0, words));
}

#[test]
fn whoever_finds_a_database_in_use_is_told_how_to_read_it() {
    let db = Db::with_samples();
    let mut child = piped(&mut db.command(&["record", "demo-new"]));
    let mut acks = BufReader::new(child.stdout.take().unwrap());
    send(&mut child, &mut acks, "Hi");
    let words = db.refused(1, &["ls"]);
    assert!(words.contains("close it there first (--salvage reads a copy of it)"), "{words}");
    assert_eq!(db.json(&["ls", "--salvage"])["total"], 3);
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_refusal_says_what_was_asked_for() {
    let db = Db::with_samples();
    let long = "x".repeat(3_000);
    let said: [(&[&str], i32, &str); 7] = [
        (&["ls", "--page", "0"], 2, "pages are numbered from 1"),
        (&["erase", "demo-menu", "--message", "99"], 1, "demo-menu: seq 99: no such message"),
        (&["erase", "demo-menu", "--run", "nope"], 1, "point run:nope: no such run"),
        (&["erase", "demo-menu", "--run", "9"], 1, "point run:9: no such run"),
        (&["show", &long], 1, "length in bytes of 3000 is over the limit of 512"),
        (
            &["context", "demo-parcel", "--budget", "3"],
            1,
            "what is never cut takes: the system message ",
        ),
        (&["record", "demo-menu", "--user", "eve"], 1, "another user (--user says in whose name)"),
    ];
    for (args, status, words) in said {
        let refused = db.refused(status, args);
        assert!(refused.contains(words) && refused.len() < 400, "{refused}");
    }
}

#[test]
fn a_link_that_leads_nowhere_is_named() {
    let db = Db::empty();
    let folder = db.directory.path().join("chats");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one.jsonl"), user_line("Hi")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.join("two.json")).unwrap();
    let report = db.json(&["import", folder.to_str().unwrap()]);
    let file = report["skipped"][0]["file"].as_str().unwrap();
    assert!(file.ends_with("two.json"), "{file}");
}

#[test]
fn what_brings_nothing_makes_nothing() {
    let db = Db::empty();
    let words = db.refused(1, &["record", "chat"]);
    assert!(words.contains("nothing to record"), "{words}");
    let broken = db.run_with(&["record", "chat"], b"no JSON\n");
    assert_eq!((code(&broken), stdout(&broken).as_str()), (1, ""));
    let file = db.directory.path().join("broken.json");
    std::fs::write(&file, "{]").unwrap();
    assert_eq!(code(&db.run(&["import", file.to_str().unwrap()])), 1);
    assert!(!db.path().exists());
    // Nor a session, where there is a database.
    db.fine(&["demo"]);
    db.refused(1, &["record", "chat"]);
    assert_eq!(db.json(&["ls"])["total"], 2);
}

#[test]
fn only_the_newest_of_many_runs_are_shown() {
    let db = Db::empty();
    let turn =
        "{\"role\":\"user\",\"content\":\"q\"}\n{\"role\":\"assistant\",\"content\":\"a\"}\n";
    assert_eq!(code(&db.run_with(&["record", "chat"], turn.repeat(23).as_bytes())), 0);
    let rows = |args: &[&str]| {
        let text = db.fine(&[&["show", "chat"], args].concat());
        let rows: Vec<&str> = text.lines().filter(|line| line.contains("COMPLETED")).collect();
        let last = rows[rows.len() - 1].split_whitespace().next().unwrap();
        (rows.len(), last.to_owned())
    };
    assert_eq!(rows(&[]), (20, String::from("23")));
    assert_eq!(rows(&["--runs", "2"]), (2, String::from("23")));
    assert_eq!(rows(&["--runs", "all"]), (23, String::from("23")));
    assert!(db.fine(&["show", "chat"]).contains("(3 older runs not shown: --runs N or --runs all"));
    let runs = |args: &[&str]| {
        db.json(&[&["show", "chat"], args].concat())["runs"].as_array().unwrap().len()
    };
    assert_eq!((runs(&[]), runs(&["--runs", "4"])), (23, 4));
}

#[test]
fn what_no_provider_takes_is_recorded_and_said() {
    let db = Db::empty();
    let call = r#"{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let lines = [
        r#"{"role":"user","content":"q"}"#,
        call,
        r#"{"role":"tool","tool_call_id":"c","content":"1"}"#,
        r#"{"role":"tool","tool_call_id":"c","content":"2"}"#,
        r#"{"role":"narrator","content":"Meanwhile"}"#,
    ];
    let output = db.run_with(&["record", "chat"], lines.join("\n").as_bytes());
    assert_eq!((code(&output), stdout(&output).lines().count()), (0, 5));
    assert_eq!(
        stderr(&output),
        "sessionlog: line 4: recorded, but a result that answers no call goes to no provider\n\
         sessionlog: line 5: recorded, but role \"narrator\" goes to no provider\n"
    );
    let list = db.run_with(&["record", "chat"], b"[1]\n");
    assert_eq!(stderr(&list), "sessionlog: line 1: no JSON object with a role\n");
}

#[test]
fn a_result_may_answer_a_call_that_was_recorded_before() {
    let db = Db::empty();
    let call = r#"{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    db.run_with(&["record", "chat"], format!("{}{call}\n", user_line("q")).as_bytes());
    let result = b"{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"1\"}\n";
    let output = db.run_with(&["record", "chat"], result);
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn a_variable_that_is_empty_is_not_set() {
    let directory = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = program();
        command.current_dir(directory.path()).args(args);
        command.env("SESSIONLOG_DB", "").env("SESSIONLOG_KEY_FILE", "").output().unwrap()
    };
    let listed = only_complaint(&run(&["ls"]), 1);
    assert!(listed.contains("./sessionlog.db: no such database"), "{listed}");
    assert!(only_complaint(&run(&["ls", "--db", ""]), 2).contains("--db is empty: name a path"));
}

#[test]
fn a_key_is_made_once_and_seals() {
    use std::os::unix::fs::PermissionsExt;
    let db = Db::empty();
    let file = db.directory.path().join("key");
    let name = file.to_str().unwrap();
    assert!(db.fine(&["key", "new", name]).contains("a lost key is a lost database"));
    let key = std::fs::read_to_string(&file).unwrap();
    assert_eq!(key.trim_end().len(), 64);
    assert!(key.trim_end().bytes().all(|digit| digit.is_ascii_hexdigit()));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    db.refused(1, &["key", "new", name]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), key);
    let args = ["record", "chat", "--key-file", name];
    assert_eq!(code(&db.run_with(&args, user_line("Hi").as_bytes())), 0);
    assert!(db.refused(1, &["ls"]).contains("sealed"));
}

#[test]
fn a_file_that_cannot_be_read_is_named_in_plain_words() {
    let db = Db::empty();
    db.run_with(&["record", "s"], user_line("Hi").as_bytes());
    let gone = "no-such/prompt.txt";
    for (args, words) in [
        (&["validate", "."][..], ".: is a directory"),
        (&["validate", gone], "no-such/prompt.txt: no such file or folder"),
        (&["import", gone], "no-such/prompt.txt: no such file or folder"),
        (
            &["summarize", "--all", "--model", "m", "--prompt", gone],
            "no-such/prompt.txt: no such file or folder",
        ),
    ] {
        let output = db.run(args);
        assert_eq!(only_complaint(&output, 1), format!("sessionlog: {words}"), "{args:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_cannot_be_printed_is_no_success() {
    for args in [&["--help"][..], &["--version"], &["memory", "--help"], &["completions", "bash"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program().args(args).stdout(full).output().unwrap();
        assert_eq!(code(&output), 1, "{args:?}");
        let words = stderr(&output);
        assert!(words.starts_with("sessionlog: standard output: no space left"), "{words}");
    }
}
