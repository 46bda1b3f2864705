//! The window, read from the end: its cost follows the window, not the session.

use std::collections::HashMap;
use std::sync::Arc;

use crate::codec::{self, Frame};
use crate::error::{Context, Result};
use crate::event::{Event, EventBody};
use crate::id::Digest;
use crate::index::{Lineage, Stretch, Timeline, newest};
use crate::log::{Log, key};
use crate::message::Message;
use crate::projection::{Projection, RunView, Runs, Selected, Window};
use crate::stream::EventsBack;

/// The messages of a window that ends at a seq, ready to be sent.
pub(crate) fn read(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    window: &Window,
) -> Result<Selected> {
    let runs = last_runs(log, lineage, last_seq, window)?;
    let system = newest_system_message(log, lineage, last_seq)?;
    Ok(window.select(&runs, system))
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
) -> Result<Vec<RunView>> {
    let mut pending: HashMap<Digest, Vec<Event>> = HashMap::new();
    let mut runs: Vec<RunView> = Vec::new();
    let (mut run_count, mut message_count) = (0, 0);
    if window.runs_max() == Some(0) || window.messages == Some(0) {
        return Ok(runs);
    }
    for event in EventsBack::new(log, lineage, last_seq) {
        let event = event?;
        if event.run.is_none() {
            continue;
        }
        let is_start = matches!(event.body, EventBody::RunStarted(_));
        let run = event.run;
        pending.entry(run).or_default().push(event);
        if !is_start {
            continue;
        }
        let events = pending.remove(&run).unwrap_or_default();
        let Some(run) = fold(&events) else { continue };
        if window.takes_run(&run) {
            run_count += 1;
            message_count += run.messages.iter().filter(|(_, m)| window.takes_message(m)).count();
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

/// One run from its events, last first.
fn fold(events: &[Event]) -> Option<RunView> {
    let mut runs = Runs::default();
    for event in events.iter().rev() {
        runs.apply(event);
    }
    runs.into_vec().pop()
}

/// The newest system message that counts at a seq, wherever in the session it is.
fn newest_system_message(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
) -> Result<Option<Message>> {
    let class = key::Class::SystemMessage;
    // Where there is none at all, it is in no stretch, however many there are.
    if newest(&**log, lineage, class, 1, last_seq)?.is_none() {
        return Ok(None);
    }
    let mut timeline = Timeline::at(&**log, lineage, last_seq);
    let mut index = 0;
    while let Some(Stretch { first, last }) = timeline.stretch(index)? {
        if let Some(found) = newest(&**log, lineage, class, first, last)? {
            return message_at(&**log, found.stream, found.seq);
        }
        index += 1;
    }
    Ok(None)
}

fn message_at(log: &dyn Log, stream: Digest, seq: u64) -> Result<Option<Message>> {
    let Some(bytes) = log.get(&key::frame(stream, seq))? else { return Ok(None) };
    let frame = Frame::open(&bytes, stream, seq).with_context(|| format!("seq {seq}"))?;
    match codec::decode(&frame)?.body {
        EventBody::MessageAdded(added) => Ok(Some(added.message)),
        _ => Ok(None),
    }
}
