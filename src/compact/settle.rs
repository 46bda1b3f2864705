//! What goes when a run ends whose tools' messages are not kept: the calls that had to be there
//! while it could still go on.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::Result;
use crate::event::{Event, EventBody, Policy, RunStatus};
use crate::id::Digest;
use crate::index::{Lineage, RunRecord, Timeline, shared_seq};
use crate::limits::PAIRING_EVENTS_MAX;
use crate::log::Log;
use crate::message::{Pairing, Role};
use crate::policy::{Planner, Policies, Unit};
use crate::stream::Events;

/// What goes once `arriving` is behind the head: of the runs that end with it, and of others the
/// calls that their results answer. Events of `arriving` itself are among it.
pub(crate) fn settle(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    head: u64,
    policies: Policies,
    has_run_policies: bool,
    arriving: &[Event],
) -> Result<Vec<Unit>> {
    let ends =
        |event: &&Event| matches!(event.body, EventBody::RunFinished(_) | EventBody::RunPaused(_));
    let runs: BTreeSet<Digest> = arriving.iter().filter(ends).map(|event| event.run).collect();
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let events = window(log, lineage, head, has_run_policies, arriving, &runs)?;
    // How many runs are kept is for a compaction.
    let session = Policy { keep_runs: None, ..policies.session };
    let mut planner = Planner::new(Policies { session, ..policies });
    events.iter().chain(arriving).for_each(|event| planner.take(event));
    let own: BTreeSet<u64> = events
        .iter()
        .chain(arriving)
        .filter(|event| runs.contains(&event.run))
        .map(|event| event.seq)
        .collect();
    // What forks share is not this session's alone: a compaction asks them.
    let shared = lineage.shared_seq().max(shared_seq(&**log, lineage.own(), u64::MAX)?);
    let mut units = planner.finish().units(shared.saturating_add(1), u64::MAX);
    units.retain(|Unit(unit)| unit.iter().any(|(seq, _)| own.contains(seq)));
    Ok(units)
}

/// The stored events that decide what goes when `ending` end: these runs from where they begin,
/// and as much before as it takes to know which calls are answered.
fn window(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    head: u64,
    has_run_policies: bool,
    arriving: &[Event],
    ending: &BTreeSet<Digest>,
) -> Result<Vec<Event>> {
    let mut events: Vec<Event> = Vec::new();
    let mut first = head.saturating_add(1);
    let mut back = first_seq(log, lineage, head, ending)?;
    while let Some(at) = back.filter(|at| *at < first) {
        let before = Events::new(log, lineage, at, first - 1).collect::<Result<Vec<Event>>>()?;
        events.splice(..0, before);
        first = at;
        let lone = answering_elsewhere(events.iter().chain(arriving));
        let begun_before = begun_before(&events);
        // Such a result may answer a call of its own run that lies before.
        back = first_seq(log, lineage, head, &(&lone & &begun_before))?;
        if back.is_none_or(|at| at >= first) && (!lone.is_empty() || has_run_policies) {
            // Or one of any other run, which the results of that run may have answered. And what
            // a run says for itself, it may have said before.
            back = first_seq(log, lineage, head, &begun_before)?;
            if !lone.is_disjoint(ending) {
                let far = head.saturating_sub(PAIRING_EVENTS_MAX) + 1;
                let far = far.max(lineage.first_seq());
                back = Some(back.unwrap_or(far).min(far));
            }
        }
    }
    Ok(events)
}

/// The runs that events belong to, without those that begin among them.
fn begun_before(events: &[Event]) -> BTreeSet<Digest> {
    let begins = |event: &&Event| matches!(event.body, EventBody::RunStarted(_));
    let begun: BTreeSet<Digest> = events.iter().filter(begins).map(|event| event.run).collect();
    let runs = events.iter().map(|event| event.run).filter(|run| !run.is_none());
    runs.filter(|run| !begun.contains(run)).collect()
}

/// The runs that have a result that answers no call of its own run among these events.
fn answering_elsewhere<'a>(events: impl Iterator<Item = &'a Event>) -> BTreeSet<Digest> {
    let mut pairings: HashMap<Digest, Pairing<u64>> = HashMap::new();
    let mut lone = BTreeSet::new();
    for event in events {
        match &event.body {
            EventBody::MessageAdded(added) if !added.message.from_history => {
                let message = &added.message;
                let found = pairings.entry(event.run).or_default().take(message, event.seq);
                let is_answer = message.role == Role::Tool && message.tool_call_id.is_some();
                if is_answer && found.is_none() {
                    lone.insert(event.run);
                }
            }
            // The planner forgets an ended run's calls, too.
            EventBody::RunFinished(finished) if finished.status != RunStatus::Interrupted => {
                pairings.remove(&event.run);
            }
            _ => {}
        }
    }
    lone
}

/// Where the first of the runs begins, of those that are stored.
fn first_seq(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    head: u64,
    runs: &BTreeSet<Digest>,
) -> Result<Option<u64>> {
    let mut first: Option<u64> = None;
    for run in runs {
        let mut timeline = Timeline::at(&**log, lineage, head);
        if let Some(record) = RunRecord::load(&**log, lineage, &mut timeline, *run)? {
            first = Some(first.unwrap_or(record.first_seq).min(record.first_seq));
        }
    }
    Ok(first)
}
