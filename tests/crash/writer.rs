//! The process that is killed: this test binary again, told to write until it dies. It prints a
//! line for every append that was acknowledged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use sessionlog::{Engine, EventBody, Message, Metrics, Point};

const DATABASE: &str = "SESSIONLOG_CRASH_DATABASE";
const VALUE_BYTES: &str = "SESSIONLOG_CRASH_VALUE_BYTES";
/// Sessions written to at the same time.
const WRITERS: usize = 3;

/// Not a test by itself: does nothing unless a test of this binary started it.
#[test]
fn writer() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let value_bytes: usize = std::env::var(VALUE_BYTES).unwrap().parse().unwrap();
    let engine = Engine::open(database).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let engine = engine.clone();
            scope.spawn(move || write(&engine, writer, value_bytes));
        }
    });
}

fn write(engine: &Engine, writer: usize, value_bytes: usize) {
    let session = engine.session(format!("s{writer}")).open().unwrap();
    let first = session.view().unwrap().message_count;
    for number in first.. {
        let text = text(writer, number, value_bytes);
        let run = session.run().record([Message::user(text)], Metrics::tokens(1, 0));
        run.unwrap().wait().unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "ack {writer} {number} {value_bytes}").unwrap();
        out.flush().unwrap();
    }
}

/// What the message of that number says: its number, and filling that does not compress.
fn text(writer: usize, number: u64, value_bytes: usize) -> String {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ writer as u64;
    let mut text = format!("{writer}-{number} ");
    while text.len() < value_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        write!(text, "{state:016x}").unwrap();
    }
    text.truncate(value_bytes.max(8));
    text
}

/// A writing process and what it has acknowledged so far.
pub(crate) struct Writer {
    pub(crate) child: Child,
    lines: Receiver<String>,
}

/// What was acknowledged: per session and message number, the size of its value.
pub(crate) type Acknowledged = BTreeMap<(usize, u64), usize>;

impl Writer {
    pub(crate) fn start(database: &Path, value_bytes: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer::writer", "--nocapture", "--test-threads=1"])
            .env(DATABASE, database)
            .env(VALUE_BYTES, value_bytes.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for so many acknowledgements.
    pub(crate) fn wait_for(&self, count: usize, acknowledged: &mut Acknowledged) {
        let before = acknowledged.len();
        while acknowledged.len() < before + count {
            note(&self.lines.recv().unwrap(), acknowledged);
        }
    }

    /// Kills the process and takes in every acknowledgement it still got out.
    pub(crate) fn kill(mut self, acknowledged: &mut Acknowledged) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        for line in &self.lines {
            note(&line, acknowledged);
        }
    }

    /// The acknowledgements that came since.
    pub(crate) fn drain(&self, acknowledged: &mut Acknowledged) {
        while let Ok(line) = self.lines.try_recv() {
            note(&line, acknowledged);
        }
    }
}

impl Drop for Writer {
    /// A test that failed leaves no writer behind, stopped or not.
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn note(line: &str, acknowledged: &mut Acknowledged) {
    // The harness prints lines of its own, and may put its words in front of the first of ours.
    let Some(at) = line.find("ack ") else { return };
    let numbers: Vec<u64> =
        line[at + 4..].split(' ').filter_map(|word| word.parse().ok()).collect();
    if let [writer, number, value_bytes] = numbers[..] {
        acknowledged.insert(
            (usize::try_from(writer).unwrap(), number),
            usize::try_from(value_bytes).unwrap(),
        );
    }
}

/// Opens the database, finds every acknowledged message, and writes to it.
pub(crate) fn check(database: &Path, acknowledged: &Acknowledged) {
    let engine = Engine::open(database).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    for writer in 0..WRITERS {
        let of_writer = acknowledged.range((writer, 0)..(writer + 1, 0));
        let builder = engine.session(format!("s{writer}"));
        let session = if of_writer.clone().next().is_some() {
            builder.open_existing()
        } else {
            builder.open()
        };
        let session = session.unwrap();
        let messages: Vec<String> = session
            .events(Point::Head)
            .unwrap()
            .filter_map(|event| match event.unwrap().body {
                EventBody::MessageAdded(added) => Some(added.message.content.text()),
                _ => None,
            })
            .collect();
        for ((_, number), value_bytes) in of_writer {
            let found = messages.get(usize::try_from(*number).unwrap());
            let is_there = found.is_some_and(|found| *found == text(writer, *number, *value_bytes));
            assert!(is_there, "session s{writer}: message {number} was acknowledged and is gone");
        }
        session.rename("still writable").unwrap().wait().unwrap();
    }
}
