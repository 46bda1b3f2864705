//! Summaries by themselves, in the background.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::access::Access;
use crate::assist::check_prompt;
use crate::engine::{Delivery, Engine, LoggedEvent, SessionAt, Subscription};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBody, MessageAdded};
use crate::id::Digest;
use crate::limits::{AUTO_SUMMARY_LOOK_EVENTS, AUTO_SUMMARY_SESSIONS_MAX};
use crate::model::{Cancel, Model};
use crate::projection::Summary;
use crate::replay::Point;

/// How often the worker looks whether it is to end, while nothing happens.
const LOOK: Duration = Duration::from_millis(100);

type Told = dyn Fn(&str, &Result<Option<Summary>>) + Send + Sync;

/// Settings of summaries that are written by themselves: see [`Engine::auto_summaries`].
#[must_use = "nothing is summarized before `start`"]
#[derive(Clone)]
pub struct AutoSummaries {
    engine: Engine,
    model: Arc<dyn Model>,
    runs: Option<u64>,
    bytes: Option<u64>,
    prompt: Option<String>,
    told: Option<Arc<Told>>,
}

/// Summarizes sessions in the background until it is dropped, which stops a summary under way and
/// waits for that. The database stays open as long.
#[must_use = "it ends when it is dropped"]
#[derive(Debug)]
pub struct AutoSummarizer {
    cancel: Cancel,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    last_error: Mutex<Option<Error>>,
}

impl Engine {
    /// Summaries that are written by themselves, on a thread of their own, once so much was added
    /// to a session; a run neither waits for one nor fails with it.
    ///
    /// What is added counts from the session's last summary, whoever wrote it and whenever that
    /// was, or from where this one failed to write one. A session is looked at when a run of it
    /// ends, and never at the start: what a process found there costs two views and, for bytes, at
    /// most [`limits::AUTO_SUMMARY_LOOK_EVENTS`] events. Sessions are summarized one after the
    /// other, each as by [`Session::summarizer`](crate::Session::summarizer), whoever's they are.
    ///
    /// [`limits::AUTO_SUMMARY_LOOK_EVENTS`]: crate::limits::AUTO_SUMMARY_LOOK_EVENTS
    pub fn auto_summaries(&self, model: Arc<dyn Model>) -> AutoSummaries {
        let engine = self.clone();
        AutoSummaries { engine, model, runs: None, bytes: None, prompt: None, told: None }
    }
}

impl AutoSummaries {
    /// Due after so many top-level runs that ended.
    pub fn after_runs(mut self, runs: u64) -> Self {
        self.runs = Some(runs);
        self
    }

    /// Due at the end of a run after so many bytes of text in messages.
    pub fn after_bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Asks in other words what to write.
    pub fn prompt(mut self, text: impl Into<String>) -> Self {
        self.prompt = Some(text.into());
        self
    }

    /// Is told of every session that was due and what came of it, on the worker's thread.
    pub fn on_outcome(
        mut self,
        told: impl Fn(&str, &Result<Option<Summary>>) + Send + Sync + 'static,
    ) -> Self {
        self.told = Some(Arc::new(told));
        self
    }

    /// Starts the worker. Without a threshold every run is followed by a summary.
    ///
    /// # Errors
    /// Where the prompt is too long, the log cannot be read, or no thread can be had.
    pub fn start(self) -> Result<AutoSummarizer> {
        check_prompt(self.prompt.as_deref())?;
        let next = self.engine.head()?.map_or(1, |head| head.position.saturating_add(1));
        let events = self.engine.subscribe(Access::Admin, next);
        let (cancel, shared) = (Cancel::new(), Arc::<Shared>::default());
        let worker = Worker {
            settings: self,
            cancel: cancel.clone(),
            shared: Arc::clone(&shared),
            grown: HashMap::new(),
            begun: HashMap::new(),
            clock: 0,
        };
        let thread = std::thread::Builder::new()
            .name(String::from("sessionlog-summary"))
            .spawn(move || worker.run(events))
            .map_err(Error::io)?;
        Ok(AutoSummarizer { cancel, shared, thread: Some(thread) })
    }
}

impl fmt::Debug for AutoSummaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AutoSummaries")
            .field("model", &self.model)
            .field("runs", &self.runs)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl AutoSummarizer {
    /// The last failure, of whichever session; its words name the session.
    pub fn last_error(&self) -> Option<Error> {
        self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it has ended by itself, because the log cannot be read any more.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for AutoSummarizer {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Shared {
    fn note(&self, error: &Error) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
    }
}

/// What was added to a session.
#[derive(Debug, Clone, Copy, Default)]
struct Grown {
    runs: u64,
    bytes: u64,
    /// When something was added last, in events that the worker has seen.
    seen: u64,
}

struct Worker {
    settings: AutoSummaries,
    cancel: Cancel,
    shared: Arc<Shared>,
    grown: HashMap<Arc<str>, Grown>,
    /// The runs that the worker saw begin, by session and run, and whether a run is a part of
    /// another: what a team member does is no turn of the session.
    begun: HashMap<(Arc<str>, Digest), bool>,
    clock: u64,
}

impl Worker {
    fn run(mut self, mut events: Subscription) {
        while !self.cancel.is_cancelled() {
            match events.next_within(LOOK) {
                Ok(Some(Delivery::Event(there))) => self.take(&there),
                // Nothing is left out, however far it is behind.
                Ok(Some(Delivery::Lagged { .. }) | None) => {}
                Err(error) => return self.shared.note(&error),
            }
            if events.is_over() {
                return;
            }
        }
    }

    fn take(&mut self, there: &LoggedEvent) {
        let run = there.event.run;
        match &there.event.body {
            EventBody::MessageAdded(added) => self.grow(&there.session_id, 0, said(added)),
            EventBody::RunStarted(started) => {
                // Of those that are forgotten the log knows.
                if self.begun.len() >= AUTO_SUMMARY_SESSIONS_MAX {
                    self.begun.clear();
                }
                let key = (Arc::clone(&there.session_id), run);
                self.begun.insert(key, started.parent_run_id.is_some());
            }
            EventBody::RunFinished(_) if !self.is_member_run(there) => {
                if self.grown.contains_key(&there.session_id) {
                    self.grow(&there.session_id, 1, 0);
                } else {
                    self.look_back(there);
                }
                self.summarize_if_due(&there.session_id);
            }
            // What was counted is another thing now: whoever wrote the summary, wherever the session
            // went back to, and whoever has the id next.
            EventBody::SummaryWritten(_)
            | EventBody::SummaryWithdrawn(_)
            | EventBody::RewoundTo(_)
            | EventBody::Deleted(_) => drop(self.grown.remove(&there.session_id)),
            _ => {}
        }
    }

    /// Whether a run that ended is a part of another.
    fn is_member_run(&mut self, there: &LoggedEvent) -> bool {
        let key = (Arc::clone(&there.session_id), there.event.run);
        if let Some(is_member) = self.begun.remove(&key) {
            return is_member;
        }
        let looked_up = || -> Result<bool> {
            let session = self.settings.engine.session(&*there.session_id).admin();
            let at = session.open_existing()?.at(Point::Seq(there.event.seq))?;
            at.is_member_run(there.event.run)
        };
        // What cannot be read is told where the session is looked at.
        looked_up().unwrap_or(false)
    }

    /// Adds to what is known of a session. What is not known yet is looked up when a run ends.
    fn grow(&mut self, session_id: &Arc<str>, runs: u64, bytes: u64) {
        self.clock += 1;
        let Some(grown) = self.grown.get_mut(session_id) else { return };
        grown.runs += runs;
        grown.bytes = grown.bytes.saturating_add(bytes);
        grown.seen = self.clock;
    }

    /// Counts what lies between the last summary and the end of a run.
    fn look_back(&mut self, there: &LoggedEvent) {
        let added = self.added_until(&there.session_id, there.event.seq);
        if let Err(error) = &added
            && !is_passed_over(error)
        {
            self.shared.note(error);
        }
        // Of a session that cannot be read the run that ended is known.
        let (runs, bytes) = added.unwrap_or((1, 0));
        self.remember(&there.session_id, runs, bytes);
    }

    /// The top-level runs that ended and the bytes of messages since the last summary.
    fn added_until(&self, session_id: &str, seq: u64) -> Result<(u64, u64)> {
        let session = self.settings.engine.session(session_id).admin().open_existing()?;
        let covered = session.summary()?.map_or(0, |summary| summary.last_seq.min(summary.seq));
        // A summary that was written meanwhile covers it.
        if covered >= seq {
            return Ok((0, 0));
        }
        let at = session.at(Point::Seq(seq))?;
        let runs = match self.settings.runs {
            Some(_) => {
                ended_runs(&at)?.saturating_sub(ended_runs(&session.at(Point::Seq(covered))?)?)
            }
            None => 0,
        };
        let Some(enough) = self.settings.bytes else { return Ok((runs, 0)) };
        let mut bytes = 0;
        let first_seq = (covered + 1).max(seq.saturating_sub(AUTO_SUMMARY_LOOK_EVENTS - 1));
        for stretch in at.stretches()?.into_iter().filter(|stretch| stretch.last >= first_seq) {
            let last = Point::Seq(stretch.last);
            for event in session.events_from(stretch.first.max(first_seq), last)? {
                if let EventBody::MessageAdded(added) = &event?.body {
                    bytes += said(added);
                }
                if bytes >= enough {
                    return Ok((runs, bytes));
                }
            }
        }
        Ok((runs, bytes))
    }

    fn remember(&mut self, session_id: &Arc<str>, runs: u64, bytes: u64) {
        self.clock += 1;
        let grown = Grown { runs, bytes, seen: self.clock };
        self.grown.insert(Arc::clone(session_id), grown);
        if self.grown.len() > AUTO_SUMMARY_SESSIONS_MAX {
            self.forget_the_quiet();
        }
    }

    /// Keeps the half of the sessions to which something was added last.
    fn forget_the_quiet(&mut self) {
        let mut seen: Vec<u64> = self.grown.values().map(|grown| grown.seen).collect();
        seen.sort_unstable();
        let median = seen.get(seen.len() / 2).copied().unwrap_or_default();
        self.grown.retain(|_, grown| grown.seen >= median);
    }

    fn summarize_if_due(&mut self, session_id: &Arc<str>) {
        let Some(grown) = self.grown.get(session_id) else { return };
        let (runs, bytes) = (self.settings.runs, self.settings.bytes);
        let is_due = runs.is_some_and(|runs| grown.runs >= runs)
            || bytes.is_some_and(|bytes| grown.bytes >= bytes)
            || (runs.is_none() && bytes.is_none());
        if !is_due {
            return;
        }
        // A model of somebody's own may panic; the next session has a right to its summary.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.summarize(session_id)))
            .unwrap_or_else(|_| Err(Error::model("the model panicked", false)));
        if matches!(&outcome, Err(error) if is_passed_over(error)) {
            return;
        }
        if let Err(error) = &outcome {
            self.shared.note(error);
        }
        match &outcome {
            // What was added meanwhile is behind it.
            Ok(Some(_)) => drop(self.grown.remove(session_id)),
            // Where other runs are still under way, their end is the next occasion.
            Ok(None) => {}
            // A model that fails is not asked again by every run.
            Err(_) => self.remember(session_id, 0, 0),
        }
        if let Some(told) = &self.settings.told {
            let _ = catch_unwind(AssertUnwindSafe(|| told(session_id, &outcome)));
        }
    }

    fn summarize(&self, session_id: &str) -> Result<Option<Summary>> {
        let session = self.settings.engine.session(session_id).admin().open_existing()?;
        let model = Arc::clone(&self.settings.model);
        let mut summarizer = session.summarizer(model).cancel(self.cancel.clone());
        if let Some(prompt) = &self.settings.prompt {
            summarizer = summarizer.prompt(prompt);
        }
        summarizer.run()
    }
}

/// Bytes of text in a message.
fn said(added: &MessageAdded) -> u64 {
    added.message.content.text().len() as u64
}

/// How many top-level runs have started and are not under way.
fn ended_runs(at: &SessionAt) -> Result<u64> {
    let mut ended = at.view().run_count;
    for run in at.view().open_runs.values() {
        ended -= u64::from(ended > 0 && !at.is_member_run(Digest::of_run(&run.run_id))?);
    }
    Ok(ended)
}

/// The session is gone, or the worker is to end: nothing that anyone must be told.
fn is_passed_over(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound { .. } | ErrorKind::Cancelled)
}
