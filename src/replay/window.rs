//! The window, read from the end: its cost follows the window, not the session.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{self, Frame};
use crate::error::{Context, Error, Result};
use crate::event::{ContextRecorded, Event, EventBody, EventKind};
use crate::id::Digest;
use crate::index::{Lineage, RunRecord, Stretch, Timeline, newest};
use crate::log::{Log, key};
use crate::message::Message;
use crate::projection::{Projection, RunView, Runs, Selected, Window};
use crate::stream::{EventsBack, LiveEvents};

/// The messages of a window that ends at a seq, ready to be sent.
pub(crate) fn read(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    window: &Window,
) -> Result<Selected> {
    let runs = last_runs(log, lineage, last_seq, window, &mut None)?;
    let system = newest_system_message(log, lineage, last_seq)?;
    Ok(window.select(&runs, system.map(|(_, message)| message)))
}

/// The last runs, and what was met among them.
pub(crate) struct Recent {
    /// Oldest first.
    pub(crate) runs: Vec<RunView>,
    /// The newest manifest of a model call, with its seq.
    pub(crate) context: Option<(u64, ContextRecorded)>,
}

/// The runs that a window that ends at a seq can be chosen from.
pub(crate) fn read_recent(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    window: &Window,
) -> Result<Recent> {
    let mut context = None;
    let runs = last_runs(log, lineage, last_seq, window, &mut context)?;
    Ok(Recent { runs, context })
}

/// One run with what it has up to a seq, and the newest manifest of a model call in it.
pub(crate) fn read_run(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    run_id: &str,
) -> Result<Recent> {
    let run = Digest::of_run(run_id);
    let mut timeline = Timeline::at(&**log, lineage, last_seq);
    let record = RunRecord::load(&**log, lineage, &mut timeline, run)?;
    let record = record.ok_or_else(|| Error::not_found("run").context(format!("run {run_id}")))?;
    let (mut runs, mut context) = (Runs::default(), None);
    for event in LiveEvents::between(log, lineage, record.first_seq, last_seq)? {
        let event = event?;
        if event.run == run {
            runs.apply(&event);
            note(&mut context, event);
        }
    }
    Ok(Recent { runs: runs.into_vec(), context })
}

/// Keeps the newest manifest.
fn note(context: &mut Option<(u64, ContextRecorded)>, event: Event) {
    if let EventBody::ContextRecorded(recorded) = event.body
        && context.as_ref().is_none_or(|(seq, _)| *seq < event.seq)
    {
        *context = Some((event.seq, recorded));
    }
}

/// The runs that a window can be chosen from, oldest first.
///
/// Walks back until enough runs have shown their start. A run whose start is still further
/// back began earlier than all of them, so it cannot be among the last.
fn last_runs(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    window: &Window,
    context: &mut Option<(u64, ContextRecorded)>,
) -> Result<Vec<RunView>> {
    let mut pending: HashMap<Digest, Vec<Event>> = HashMap::new();
    let mut runs: Vec<RunView> = Vec::new();
    let (mut run_count, mut message_count) = (0, 0);
    if window.runs_max() == Some(0) || window.messages == Some(0) {
        return Ok(runs);
    }
    for (at, event) in EventsBack::new(log, lineage, last_seq).enumerate() {
        let event = event?;
        if window.events.is_some_and(|events| at >= events) {
            runs.extend(begun_before(log, lineage, last_seq, pending)?);
            break;
        }
        if event.run.is_none() {
            continue;
        }
        if event.body.kind() == EventKind::ContextRecorded {
            note(context, event);
            continue;
        }
        let is_start = matches!(event.body, EventBody::RunStarted(_));
        let run = event.run;
        pending.entry(run).or_default().push(event);
        if !is_start {
            continue;
        }
        let events = pending.remove(&run).unwrap_or_default();
        let Some(mut run) = fold(&events) else { continue };
        if window.takes_run(&run) {
            run_count += 1;
            message_count += run.messages.iter().filter(|(_, m)| window.takes_message(m)).count();
        } else {
            // There may be any number of those, and nobody is told what they say.
            (run.messages, run.tools) = (Vec::new(), Vec::new());
        }
        runs.push(run);
        let is_enough = window.runs_max().is_some_and(|count| run_count >= count)
            || window.messages.is_some_and(|count| message_count >= count);
        if is_enough {
            break;
        }
    }
    runs.reverse();
    Ok(runs)
}

/// Runs of which only the events of their end were read, the one that began last first.
fn begun_before(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    pending: HashMap<Digest, Vec<Event>>,
) -> Result<Vec<RunView>> {
    let mut timeline = Timeline::at(&**log, lineage, last_seq);
    let mut runs = Vec::with_capacity(pending.len());
    for (run, mut events) in pending {
        let Some(record) = RunRecord::load(&**log, lineage, &mut timeline, run)? else { continue };
        let first_seq = record.first_seq;
        let start = LiveEvents::between(log, lineage, first_seq, first_seq)?.next().transpose()?;
        events.extend(start);
        runs.extend(fold(&events).map(|run| (first_seq, run)));
    }
    runs.sort_by_key(|(first_seq, _)| Reverse(*first_seq));
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

/// One run from its events, last first.
fn fold(events: &[Event]) -> Option<RunView> {
    let mut runs = Runs::default();
    for event in events.iter().rev() {
        runs.apply(event);
    }
    runs.into_vec().pop()
}

/// The newest system message that counts at a seq, wherever in the session it is.
pub(crate) fn newest_system_message(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
) -> Result<Option<(u64, Message)>> {
    let mut timeline = Timeline::at(&**log, lineage, last_seq);
    let found = timeline.find_last(|Stretch { first, last }| {
        newest(&**log, lineage, key::Class::SystemMessage, first, last)
    })?;
    let Some(found) = found else { return Ok(None) };
    let message = message_at(&**log, found.stream, found.seq)?;
    Ok(message.map(|message| (found.seq, message)))
}

fn message_at(log: &dyn Log, stream: Digest, seq: u64) -> Result<Option<Message>> {
    let Some(bytes) = log.get(&key::frame(stream, seq))? else { return Ok(None) };
    let frame = Frame::open(&bytes, stream, seq).with_context(|| format!("seq {seq}"))?;
    match codec::decode(&frame)?.body {
        EventBody::MessageAdded(added) => Ok(Some(added.message)),
        _ => Ok(None),
    }
}
