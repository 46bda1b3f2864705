//! The program with a database of its own, started as its users start it.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) struct Db {
    pub(crate) directory: TempDir,
}

impl Db {
    pub(crate) fn empty() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// With the sessions of `demo`: `demo-parcel` of alice, `demo-menu` of bob.
    pub(crate) fn with_samples() -> Self {
        let db = Self::empty();
        db.fine(&["demo"]);
        db
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("x.db")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.arg("--db").arg(self.path()).args(args);
        // A copy that a killed program leaves goes with the test.
        command.env("TMPDIR", self.directory.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut child = piped(&mut self.command(args));
        // A program that has failed already does not read.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }

    /// Standard output of a run that ends well and has nothing to complain about.
    pub(crate) fn fine(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{args:?}");
        stdout(&output)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.fine(&[args, &["--json"]].concat());
        serde_json::from_str(&text).unwrap()
    }

    /// The one line on standard error of a run that fails.
    pub(crate) fn refused(&self, status: i32, args: &[&str]) -> String {
        only_complaint(&self.run(args), status)
    }
}

pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionlog"));
    // What whoever runs the tests has set is nothing to them.
    for name in ["DB", "KEY_FILE", "MODEL", "PROVIDER", "BASE_URL"] {
        command.env_remove(format!("SESSIONLOG_{name}"));
    }
    command.env_remove("NO_COLOR").env_remove("OPENAI_API_KEY").env_remove("ANTHROPIC_API_KEY");
    command
}

pub(crate) fn piped(command: &mut Command) -> Child {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pipes.spawn().unwrap()
}

pub(crate) fn only_complaint(output: &Output, status: i32) -> String {
    let words = stderr(output);
    assert_eq!((code(output), stdout(output).as_str()), (status, ""), "{words}");
    assert!(words.starts_with("sessionlog: ") && words.lines().count() == 1, "{words}");
    words.trim_end().to_owned()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn roles(messages: &Value) -> Vec<&str> {
    messages.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect()
}

pub(crate) fn user_line(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "role": "user", "content": text }))
}

/// Sends one message and waits until it is acknowledged.
pub(crate) fn send(child: &mut Child, acks: &mut BufReader<ChildStdout>, text: &str) -> u64 {
    let stdin = child.stdin.as_mut().unwrap();
    stdin.write_all(user_line(text).as_bytes()).unwrap();
    stdin.flush().unwrap();
    let mut line = String::new();
    acks.read_line(&mut line).unwrap();
    let ack: Value = serde_json::from_str(&line).unwrap();
    ack.get("seq").and_then(Value::as_u64).unwrap()
}

// ---- reading
