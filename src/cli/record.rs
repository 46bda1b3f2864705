//! Messages appended as they arrive, each acknowledged once it is on disk.
//!
//! Reading and acknowledging run side by side, so that many messages share a sync where many
//! arrive, and a single one is acknowledged at once where no other follows.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;
use sessionlog::transcript::Recorder;
use sessionlog::{Engine, Error, ErrorKind, Message, Role, SessionBuilder, Ticket, limits};

use super::args::{Global, RecordArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::Output;

/// Messages that may be on their way to the disk.
const AHEAD_MAX: usize = limits::QUEUE_APPENDS_MAX;
/// Bytes of one line: JSON may escape what an event stores plainly.
const LINE_BYTES_MAX: usize = 2 * limits::EVENT_BYTES_MAX;

pub(super) fn run(global: &Global, args: &RecordArgs, out: &mut Output) -> Result<Outcome> {
    let recorder = Arc::new(Shared(Mutex::new(begin(global, args)?)));
    let (sender, pushed) = sync_channel(AHEAD_MAX);
    let reader = {
        let recorder = Arc::clone(&recorder);
        thread::spawn(move || read_all(&recorder, &sender))
    };
    let acknowledged = acknowledge_all(&pushed, out);
    let finished = recorder.take().map_or(Ok(()), Recorder::finish);
    // The reader may wait for a line that never comes: it is not waited for after a failure.
    acknowledged?;
    finished?;
    let read = reader.join().map_err(|_| Failure::words("standard input: reading broke off"))??;
    if read.messages == 0 && read.broken == 0 {
        return Err(Failure::words("standard input is empty: nothing to record"));
    }
    Ok(if read.broken == 0 { Outcome::Fine } else { Outcome::Troubled })
}

/// Opens what is there, which may refuse; what is not there is made by the first message.
fn begin(global: &Global, args: &RecordArgs) -> Result<State> {
    let engine = if global.db.exists() { Some(global.create(args.keep.policy())?) } else { None };
    if let Some(engine) = &engine {
        match session(engine, args).open_existing() {
            Ok(session) => return Ok(State::Recording(Recorder::new(session))),
            Err(error) if *error.kind() == (ErrorKind::NotFound { what: "session" }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (global, args) = (global.clone(), args.clone());
    Ok(State::Waiting(Box::new(move || {
        let engine = engine.map_or_else(|| global.create(args.keep.policy()), Ok)?;
        Ok(Recorder::new(session(&engine, &args).open()?))
    })))
}

/// The session, in a user's name or in nobody's.
fn session(engine: &Engine, args: &RecordArgs) -> SessionBuilder {
    let session = engine.session(&args.session);
    match &args.user {
        Some(user) => session.user(user),
        None => session,
    }
}

/// Opens the session that messages go to.
type Open = Box<dyn FnOnce() -> sessionlog::Result<Recorder> + Send>;

/// How far the recording has come.
enum State {
    /// No message came yet.
    Waiting(Open),
    Recording(Recorder),
    /// Nothing more is recorded.
    Over,
}

/// The recorder, until someone takes it to finish.
struct Shared(Mutex<State>);

impl Shared {
    fn take(&self) -> Option<Recorder> {
        match std::mem::replace(&mut *self.lock(), State::Over) {
            State::Recording(recorder) => Some(recorder),
            State::Waiting(_) | State::Over => None,
        }
    }

    /// Whether there was such a session before.
    fn goes_on(&self) -> bool {
        matches!(*self.lock(), State::Recording(_))
    }

    /// Opens the session, if no message did yet.
    fn open(&self) -> Result<()> {
        let mut state = self.lock();
        if !matches!(*state, State::Waiting(_)) {
            return Ok(());
        }
        if let State::Waiting(open) = std::mem::replace(&mut *state, State::Over) {
            *state = State::Recording(open()?);
        }
        Ok(())
    }

    fn push(&self, message: Message) -> Option<sessionlog::Result<Ticket>> {
        match &mut *self.lock() {
            State::Recording(recorder) => Some(recorder.push(message)),
            State::Waiting(_) | State::Over => None,
        }
    }

    // The state is whole between calls, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message on its way: the line it came on, and the promise that it will be durable.
struct Pushed {
    line: u64,
    ticket: Ticket,
}

/// What standard input held.
#[derive(Default)]
struct Intake {
    messages: u64,
    broken: u64,
}

/// Reads lines until the input or the interest in them ends. A line that is no message is told
/// and passed over.
fn read_all(recorder: &Shared, sender: &SyncSender<Pushed>) -> Result<Intake> {
    let mut input = io::stdin().lock();
    let (mut read, mut bytes) = (Intake::default(), Vec::new());
    let mut calls = Calls { are_others: recorder.goes_on(), ..Calls::default() };
    for line in 1.. {
        match next_line(&mut input, &mut bytes)? {
            Line::End => break,
            Line::TooLong => complain(&mut read, line, "is too long"),
            Line::Whole if bytes.trim_ascii().is_empty() => {}
            Line::Whole => match parse(&bytes) {
                Err(words) => complain(&mut read, line, &words),
                Ok(message) => {
                    recorder.open()?;
                    let warning = calls.warning(&message);
                    match recorder.push(message) {
                        Some(Ok(ticket)) => {
                            read.messages += 1;
                            if let Some(words) = warning {
                                super::complain(&format!("line {line}: recorded, but {words}"));
                            }
                            if sender.send(Pushed { line, ticket }).is_err() {
                                break;
                            }
                        }
                        Some(Err(error)) if !is_about_the_message(&error) => {
                            return Err(error.into());
                        }
                        Some(Err(error)) => complain(&mut read, line, &error.to_string()),
                        None => break,
                    }
                }
            },
        }
    }
    Ok(read)
}

fn parse(bytes: &[u8]) -> std::result::Result<Message, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| String::from("not UTF-8"))?;
    Message::from_json(text).map_err(|error| match serde_json::from_str::<Value>(text) {
        // A list is JSON as well, and what is wrong with it is something else.
        Ok(value) if !value.is_object() => String::from("no JSON object with a role"),
        _ => error.to_string(),
    })
}

/// The calls that wait for a result, to tell one that answers none.
#[derive(Default)]
struct Calls {
    waiting: Vec<Option<String>>,
    /// Whether there may be others: those of a run that was under way before.
    are_others: bool,
}

impl Calls {
    /// Why a message goes to no provider, if it does not.
    fn warning(&mut self, message: &Message) -> Option<String> {
        match &message.role {
            Role::Other(role) => Some(format!("role {role:?} goes to no provider")),
            Role::Tool => {
                let call = |id: &Option<String>| *id == message.tool_call_id;
                match self.waiting.iter().position(call) {
                    Some(place) => {
                        self.waiting.remove(place);
                        None
                    }
                    None if self.are_others => None,
                    None => Some(String::from("a result that answers no call goes to no provider")),
                }
            }
            Role::User => {
                (self.waiting, self.are_others) = (Vec::new(), false);
                None
            }
            _ => {
                self.waiting.extend(message.tool_calls.iter().map(|call| call.id.clone()));
                None
            }
        }
    }
}

/// Whether the next message may fare better.
fn is_about_the_message(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Invalid { .. } | ErrorKind::Limit { .. } | ErrorKind::RunState { .. }
    )
}

fn complain(read: &mut Intake, line: u64, words: &str) {
    read.broken += 1;
    super::complain(&format!("line {line}: {words}"));
}

enum Line {
    Whole,
    TooLong,
    End,
}

fn next_line(input: &mut impl BufRead, bytes: &mut Vec<u8>) -> Result<Line> {
    bytes.clear();
    let mut read = || {
        let limit = LINE_BYTES_MAX as u64 + 1;
        if input.by_ref().take(limit).read_until(b'\n', bytes)? == 0 {
            return Ok(Line::End);
        }
        if bytes.len() <= LINE_BYTES_MAX {
            return Ok(Line::Whole);
        }
        input.skip_until(b'\n').map(|_| Line::TooLong)
    };
    read().map_err(|error: io::Error| Failure::io("standard input", &error))
}

/// Prints each message's seq, in order, once it is durable. Nothing is held back while there is
/// something to wait for.
fn acknowledge_all(pushed: &Receiver<Pushed>, out: &mut Output) -> Result<()> {
    loop {
        let next = match pushed.try_recv() {
            Ok(next) => next,
            Err(TryRecvError::Disconnected) => return Ok(out.flush()?),
            Err(TryRecvError::Empty) => {
                out.flush()?;
                match pushed.recv() {
                    Ok(next) => next,
                    Err(_) => return Ok(()),
                }
            }
        };
        if next.ticket.poll_now().is_none() {
            out.flush()?;
        }
        let receipt = next.ticket.wait();
        let receipt = receipt.map_err(|error| Failure::At(format!("line {}", next.line), error))?;
        writeln!(out, "{{\"seq\":{}}}", receipt.last_seq)?;
    }
}
