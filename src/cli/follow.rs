//! The events of a session as other processes append them.
//!
//! A database belongs to one process at a time, so this never opens the one that is written to:
//! it looks at a private copy of it whenever its files have changed. A copy that was taken in the
//! middle of a write may not open, or lack the newest events; the next one has them.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sessionlog::{Delivery, Engine, Event, Session};

use super::args::Global;
use super::database;
use super::failure::{Failure, Result};
use super::output::Output;

/// How long to wait before looking again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// A large database is not copied all the time: the pause is this many times as long as a look.
const PAUSES_PER_LOOK: u32 = 5;
/// Looks that may fail one after the other, because the database was written to meanwhile.
const FAILURES_MAX: u32 = 10;

/// Shows the events from a seq on and then those that come, until somebody ends the program.
pub(super) fn follow(
    global: &Global,
    session_id: &str,
    from_seq: u64,
    out: &mut Output,
    mut show: impl FnMut(&Session, &Event, &mut Output) -> Result<()>,
) -> Result<()> {
    let (mut next_seq, mut failures) = (from_seq, 0);
    let mut before = None;
    loop {
        let started = Instant::now();
        let files = Files::of(&global.db);
        if before.as_ref() != Some(&files) {
            match look(global, session_id, &mut next_seq, out, &mut show) {
                Ok(()) => (before, failures) = (Some(files), 0),
                Err(failure) if failure.may_pass() && failures < FAILURES_MAX => failures += 1,
                Err(failure) => return Err(failure),
            }
            out.flush()?;
        }
        if is_closed(&std::io::stdout()) {
            return Ok(());
        }
        std::thread::sleep((started.elapsed() * PAUSES_PER_LOOK).max(PAUSE_MIN));
    }
}

/// Whether nobody reads any more what is written there: a write would say so, but there may be
/// nothing to write for a long time.
fn is_closed(out: &impl AsFd) -> bool {
    let mut out = [PollFd::new(out, PollFlags::empty())];
    let polled = poll(&mut out, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && out.iter().any(|out| out.revents().contains(PollFlags::ERR))
}

/// Shows what has come since the last look.
fn look(
    global: &Global,
    session_id: &str,
    next_seq: &mut u64,
    out: &mut Output,
    show: &mut impl FnMut(&Session, &Event, &mut Output) -> Result<()>,
) -> Result<()> {
    let builder = database::sealed(Engine::builder(), global)?;
    let engine = builder.create(false).salvage(true).open(&global.db)?;
    let session = super::database::session(&engine, session_id)?;
    for delivery in session.subscribe(*next_seq)? {
        if let Delivery::Event(there) = delivery.map_err(Failure::from)? {
            show(&session, &there.event, out)?;
            *next_seq = there.event.seq + 1;
        }
    }
    Ok(())
}

/// What shows that a database was written to: its files' sizes and times.
#[derive(Debug, PartialEq, Eq)]
struct Files(Vec<(std::ffi::OsString, u64, Option<SystemTime>)>);

impl Files {
    fn of(path: &Path) -> Self {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((entry.file_name(), metadata.len(), metadata.modified().ok()))
            })
            .collect();
        files.sort();
        Self(files)
    }
}
