//! Messages appended as they arrive, each acknowledged once it is on disk.
//!
//! Reading and acknowledging run side by side, so that many messages share a sync where many
//! arrive, and a single one is acknowledged at once where no other follows.

use std::io::{self, BufRead, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use sessionlog::transcript::Recorder;
use sessionlog::{Engine, Error, ErrorKind, Message, Session, Ticket, limits};

use super::args::{Global, RecordArgs};
use super::failure::{Failure, Outcome, Result};
use super::output::Output;

/// Messages that may be on their way to the disk.
const AHEAD_MAX: usize = limits::QUEUE_APPENDS_MAX;
/// Bytes of one line: JSON may escape what an event stores plainly.
const LINE_BYTES_MAX: usize = 2 * limits::EVENT_BYTES_MAX;

pub(super) fn run(global: &Global, args: &RecordArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.create()?;
    let recorder = Arc::new(Shared::new(Recorder::new(open(&engine, args)?)));
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

/// The session, in a user's name or in nobody's.
fn open(engine: &Engine, args: &RecordArgs) -> Result<Session> {
    let session = engine.session(&args.session);
    Ok(match &args.user {
        Some(user) => session.user(user).open()?,
        None => session.open()?,
    })
}

/// The recorder, until someone takes it to finish.
struct Shared(Mutex<Option<Recorder>>);

impl Shared {
    fn new(recorder: Recorder) -> Self {
        Self(Mutex::new(Some(recorder)))
    }

    fn take(&self) -> Option<Recorder> {
        self.lock().take()
    }

    fn push(&self, message: Message) -> Option<sessionlog::Result<Ticket>> {
        self.lock().as_mut().map(|recorder| recorder.push(message))
    }

    // A recorder is whole between its calls, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, Option<Recorder>> {
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
    for line in 1.. {
        match next_line(&mut input, &mut bytes)? {
            Line::End => break,
            Line::TooLong => complain(&mut read, line, "is too long"),
            Line::Whole if bytes.trim_ascii().is_empty() => {}
            Line::Whole => match parse(&bytes).map(|message| recorder.push(message)) {
                Ok(Some(Ok(ticket))) => {
                    read.messages += 1;
                    if sender.send(Pushed { line, ticket }).is_err() {
                        break;
                    }
                }
                Ok(None) => break,
                Ok(Some(Err(error))) if !is_about_the_message(&error) => return Err(error.into()),
                Ok(Some(Err(error))) => complain(&mut read, line, &error.to_string()),
                Err(words) => complain(&mut read, line, &words),
            },
        }
    }
    Ok(read)
}

fn parse(bytes: &[u8]) -> std::result::Result<Message, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| String::from("not UTF-8"))?;
    Message::from_json(text).map_err(|error| error.to_string())
}

/// Whether the next message may fare better.
fn is_about_the_message(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid { .. } | ErrorKind::Limit { .. })
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
    read().map_err(|error: io::Error| Failure::words(format!("standard input: {error}")))
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
