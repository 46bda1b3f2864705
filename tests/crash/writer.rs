//! The process that is killed: this test binary again, told to write until it dies. It notes
//! every append that was acknowledged in a file, which lies beside what is cut, and prints a line
//! for it, which wakes whoever waits.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use serde_json::json;
use sessionlog::{
    Durability, Engine, EventBody, Message, Metrics, Point, Receipt, Result, Session, StateOp,
    StatePatch, Ticket,
};

use crate::disk::run;

const DATABASE: &str = "SESSIONLOG_CRASH_DATABASE";
const VALUE_BYTES: &str = "SESSIONLOG_CRASH_VALUE_BYTES";
const NOTES: &str = "SESSIONLOG_CRASH_NOTES";
/// As many bytes of a value: nothing is written, and the database is rewritten instead.
pub(crate) const REWRITES: usize = 0;
/// The same: sessions are compacted, erased from and deleted.
pub(crate) const KEEPS: usize = 1;
/// The same: sessions are summarized and named.
pub(crate) const ASSISTS: usize = 2;
/// The same: words are said, searched for and taken back.
#[cfg(feature = "search")]
pub(crate) const SEARCHES: usize = 3;
/// The same: what may be lost is written, to other sessions.
pub(crate) const VOLATILE: usize = 4;
/// Sessions written to at the same time.
const WRITERS: usize = 3;

/// Not a test by itself: does nothing unless a test of this binary started it.
#[test]
fn writer() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    let value_bytes: usize = std::env::var(VALUE_BYTES).unwrap().parse().unwrap();
    let notes = File::options().append(true).open(std::env::var_os(NOTES).unwrap()).unwrap();
    let notes = Notes(Mutex::new(notes));
    if value_bytes == REWRITES {
        return rewrite(database.as_ref(), &notes);
    }
    if value_bytes == KEEPS {
        return crate::keeping::keep(database.as_ref(), &notes);
    }
    if value_bytes == ASSISTS {
        return crate::assisting::assist(database.as_ref(), &notes);
    }
    #[cfg(feature = "search")]
    if value_bytes == SEARCHES {
        return crate::searching::search(database.as_ref(), &notes);
    }
    if value_bytes == VOLATILE {
        let Err(error) = write_volatile(database.as_ref(), &notes);
        return notes.add(&format!("failed {}", one_line(&error)));
    }
    let engine = match Engine::open(database) {
        Ok(engine) => engine,
        Err(error) => return notes.add(&format!("failed {}", one_line(&error))),
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (engine, notes) = (&engine, &notes);
            scope.spawn(move || {
                let writing = Writing { engine, notes, writer, value_bytes };
                let session = match writing.open() {
                    Ok(session) => session,
                    Err(error) => return notes.add(&format!("failed {}", one_line(&error))),
                };
                if let Err(error) = writing.go_on(&session) {
                    notes.add(&format!("failed {}", one_line(&error)));
                    // sled may answer no read any more, so the handle is the one from before. And
                    // where it was a read that failed, this write is the first to be told.
                    let error = session.rename("x").and_then(Ticket::wait).unwrap_err();
                    notes.add(&format!("failed {}", one_line(&error)));
                    let error = session.rename("y").and_then(Ticket::wait).unwrap_err();
                    notes.add(&format!("refused {}", one_line(&error)));
                }
            });
        }
    });
}

/// Rewrites the database again and again, until something fails.
fn rewrite(database: &Path, notes: &Notes) {
    loop {
        if let Err(error) = Engine::rewrite(database) {
            return notes.add(&format!("failed {}", one_line(&error)));
        }
        notes.add("rewritten");
    }
}

/// Writes to many sessions, so that sled moves its pages, until something fails.
fn write_volatile(database: &Path, notes: &Notes) -> Result<Infallible> {
    let engine = Engine::builder().durability(Durability::Volatile).open(database)?;
    let mut step = 0;
    loop {
        let session = engine.session(format!("volatile {}", step % 200)).open()?;
        let message = Message::user(text(WRITERS, step, 2_000));
        session.record_run([message], Metrics::tokens(1, 0))?.wait()?;
        notes.add("volatile");
        step += 1;
    }
}

fn one_line(error: &sessionlog::Error) -> String {
    error.to_string().replace('\n', "<a second line>")
}

pub(crate) struct Notes(Mutex<File>);

impl Notes {
    pub(crate) fn add(&self, line: &str) {
        self.0.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut out = std::io::stdout().lock();
        if writeln!(out, ".").and_then(|()| out.flush()).is_err() {
            // The tests were killed: nobody else would end this, and it writes for ever.
            std::process::exit(1);
        }
    }
}

/// One session's writer, which does what real use does, in turns.
struct Writing<'a> {
    engine: &'a Engine,
    notes: &'a Notes,
    writer: usize,
    value_bytes: usize,
}

impl Writing<'_> {
    fn open(&self) -> Result<Session> {
        self.engine.session(format!("s{}", self.writer)).open()
    }

    /// Writes until something fails.
    fn go_on(&self, session: &Session) -> Result<()> {
        // So that no two steps of a session have one number, also after it is opened again.
        let first = session.seq()?;
        for step in first.. {
            match step % 4 {
                0 => self.record(session, step)?,
                1 => self.converse(session, step)?,
                2 => {
                    let patch = StatePatch::new().set(["step"], json!(step));
                    self.acknowledge(What::State, step, session.patch_state(patch)?.wait()?);
                }
                _ => {
                    let renamed = session.rename(format!("step {step}"))?.wait()?;
                    self.acknowledge(What::Name, step, renamed);
                }
            }
        }
        Ok(())
    }

    fn acknowledge(&self, what: What, step: u64, receipt: Receipt) {
        let Self { writer, value_bytes, .. } = self;
        let seq = receipt.last_seq;
        self.notes.add(&format!("ack {writer} {seq} {} {step} {value_bytes}", what as u8));
    }

    /// A whole run in one commit.
    fn record(&self, session: &Session, step: u64) -> Result<()> {
        let text = text(self.writer, step, self.value_bytes);
        let ticket = session.record_run([Message::user(text)], Metrics::tokens(1, 0))?;
        self.acknowledge(What::Run, step, ticket.wait()?);
        Ok(())
    }

    /// A run as it happens. Two messages are on their way at the same time.
    fn converse(&self, session: &Session, step: u64) -> Result<()> {
        let run = session.start_run()?;
        let tickets = [
            run.push(Message::user(text(self.writer, step, self.value_bytes)))?,
            run.push(Message::assistant(text(self.writer, step, 100)))?,
        ];
        for (ticket, what) in tickets.into_iter().zip([What::Message, What::ShortMessage]) {
            self.acknowledge(what, step, ticket.wait()?);
        }
        // Now and then the power fails, or the process ends, while a run is under way.
        let ended = run.complete(Metrics::tokens(1, 0))?.wait()?;
        self.acknowledge(What::End, step, ended);
        Ok(())
    }
}

/// What an acknowledged event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The end of a run that was recorded whole; its message stands before it.
    Run,
    Message,
    ShortMessage,
    End,
    State,
    Name,
}

const WHAT: [What; 6] =
    [What::Run, What::Message, What::ShortMessage, What::End, What::State, What::Name];

/// What the message of that step says: its number, and filling that does not compress.
fn text(writer: usize, step: u64, value_bytes: usize) -> String {
    let mut state = (step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ writer as u64;
    let mut text = format!("{writer}-{step} ");
    text.reserve(value_bytes + 16);
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
    child: Child,
    wakes: Receiver<()>,
    notes: PathBuf,
    /// How far its notes were read.
    read: u64,
}

/// What was acknowledged: per session and seq, what it is, its step and the size of its value.
pub(crate) type Acknowledged = BTreeMap<(usize, u64), (What, u64, usize)>;

/// How a writer ended that was not killed.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// The errors it met.
    pub(crate) failed: Vec<String>,
    /// What it was told when it tried again.
    pub(crate) refused: Vec<String>,
}

impl Writer {
    pub(crate) fn start(database: &Path, value_bytes: usize, notes: &Path) -> Self {
        Self::start_under(&[], database, value_bytes, notes)
    }

    /// Starts it by way of a command that is given the program and its arguments.
    pub(crate) fn start_under(
        command: &[&str],
        database: &Path,
        value_bytes: usize,
        notes: &Path,
    ) -> Self {
        let this = std::env::current_exe().unwrap();
        let program = command.first().map_or(this.as_os_str(), |first| first.as_ref());
        let mut starting = Command::new(program);
        if let [_, args @ ..] = command {
            starting.args(args).arg(&this);
        }
        fs::write(notes, "").unwrap();
        let mut child = starting
            .args(["--exact", "writer::writer", "--nocapture", "--test-threads=1"])
            .env(DATABASE, database)
            .env(VALUE_BYTES, value_bytes.to_string())
            .env(NOTES, notes)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, wakes) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for _ in out.lines().map_while(std::result::Result::ok) {
                if sender.send(()).is_err() {
                    break;
                }
            }
        });
        Self { child, wakes, notes: notes.to_owned(), read: 0 }
    }

    /// Waits for so many acknowledgements.
    pub(crate) fn wait_for(&mut self, count: usize, acknowledged: &mut Acknowledged) {
        let before = acknowledged.len();
        self.drain(acknowledged);
        while acknowledged.len() < before + count {
            self.wakes.recv().unwrap();
            self.drain(acknowledged);
        }
    }

    /// Kills the process and takes in every acknowledgement it still got out.
    pub(crate) fn kill(mut self, acknowledged: &mut Acknowledged) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.drain(acknowledged);
    }

    /// Waits until it ends by itself, and takes in all that it noted.
    pub(crate) fn finish(mut self, acknowledged: &mut Acknowledged) -> Ending {
        self.child.wait().unwrap();
        self.drain(acknowledged);
        let mut ending = Ending::default();
        for line in fs::read_to_string(&self.notes).unwrap().lines() {
            if let Some(error) = line.strip_prefix("failed ") {
                ending.failed.push(error.to_owned());
            }
            if let Some(error) = line.strip_prefix("refused ") {
                ending.refused.push(error.to_owned());
            }
        }
        ending
    }

    /// Stops it where it is. Returns once none of its threads runs any more, in the kernel
    /// neither.
    pub(crate) fn stop(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: fs::DirEntry| {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which stands in brackets. A thread that ended has none.
            stat.rsplit(") ")
                .next()
                .is_none_or(|rest| rest.is_empty() || rest.starts_with(['T', 'Z']))
        };
        while !fs::read_dir(&tasks).unwrap().all(|task| task.map_or(true, is_stopped)) {
            std::thread::yield_now();
        }
    }

    pub(crate) fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        assert!(run("kill", &[&format!("-{name}"), &self.child.id().to_string()]));
    }

    /// The acknowledgements that came since.
    pub(crate) fn drain(&mut self, acknowledged: &mut Acknowledged) {
        let mut file = File::open(&self.notes).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        // A line that is being written is read the next time.
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        for line in text.get(..whole).unwrap_or_default().lines() {
            note(line, acknowledged);
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
    let Some(numbers) = line.strip_prefix("ack ") else { return };
    let numbers: Vec<usize> = numbers.split(' ').map(|word| word.parse().unwrap()).collect();
    if let [writer, seq, what, step, value_bytes] = numbers[..] {
        let what = *WHAT.get(what).unwrap();
        acknowledged.insert((writer, seq as u64), (what, step as u64, value_bytes));
    }
}

/// Opens the database, finds every acknowledged event, and writes to it.
pub(crate) fn check(database: &Path, acknowledged: &Acknowledged) {
    let engine = Engine::open(database).unwrap();
    let report = engine.verify().unwrap();
    assert!(report.ok, "{:?}", report.problems);
    check_acknowledged(&engine, acknowledged);
}

/// The same where other sessions may be there by halves.
pub(crate) fn check_among_volatile(database: &Path, acknowledged: &Acknowledged) {
    let engine = Engine::open(database).unwrap();
    let sessions: Vec<_> = (0..WRITERS).map(|writer| format!("s{writer}")).collect();
    let report = engine.verify_sessions(&sessions).unwrap();
    assert!(report.ok, "{:?}", report.problems);
    check_acknowledged(&engine, acknowledged);
}

fn check_acknowledged(engine: &Engine, acknowledged: &Acknowledged) {
    for writer in 0..WRITERS {
        let of_writer = acknowledged.range((writer, 0)..(writer + 1, 0));
        let builder = engine.session(format!("s{writer}"));
        let session = if of_writer.clone().next().is_some() {
            builder.open_existing()
        } else {
            builder.open()
        };
        let session = session.unwrap();
        let events = session.events(Point::Head).unwrap();
        let bodies: Vec<EventBody> = events.map(|event| event.unwrap().body).collect();
        for ((_, seq), (what, step, value_bytes)) in of_writer {
            let at = usize::try_from(*seq - 1).unwrap();
            let (before, found) = (bodies.get(at.saturating_sub(1)), bodies.get(at));
            let is_there = is_it(
                *what,
                found,
                before,
                |bytes| text(writer, *step, bytes),
                *step,
                *value_bytes,
            );
            assert!(
                is_there,
                "session s{writer}: seq {seq}, {what:?} was acknowledged and is gone"
            );
        }
        session.rename("still writable").unwrap().wait().unwrap();
    }
}

/// Whether an event is what was acknowledged.
fn is_it(
    what: What,
    found: Option<&EventBody>,
    before: Option<&EventBody>,
    text: impl Fn(usize) -> String,
    step: u64,
    value_bytes: usize,
) -> bool {
    let says = |body: Option<&EventBody>, bytes: usize| match body {
        Some(EventBody::MessageAdded(added)) => added.message.content.text() == text(bytes),
        _ => false,
    };
    let is_end = matches!(found, Some(EventBody::RunFinished(_)));
    match what {
        What::Run => is_end && says(before, value_bytes),
        What::Message => says(found, value_bytes),
        What::ShortMessage => says(found, 100),
        What::End => is_end,
        What::State => match found {
            Some(EventBody::StateChanged(changed)) => matches!(
                &changed.ops[..],
                [StateOp::Set { value, .. }] if value.to_value() == json!(step)
            ),
            _ => false,
        },
        What::Name => match found {
            Some(EventBody::Renamed(renamed)) => renamed.name == Some(format!("step {step}")),
            _ => false,
        },
    }
}
