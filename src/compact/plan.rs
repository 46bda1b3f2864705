//! What a compaction would do to a session.

use std::sync::Arc;

use serde::Serialize;

use crate::error::Result;
use crate::event::{EventBody, OlderRuns, Policy};
use crate::id::Digest;
use crate::index::{Entry, Lineage};
use crate::log::{Log, Order, Scan, key};
use crate::policy::{Plan, Planner, Policies};
use crate::stream::Events;

/// What a compaction would do to a session, or has done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct CompactionPlan {
    /// The session.
    pub session_id: String,
    /// What goes, as one policy: of two numbers of runs to keep the smaller, with the stronger of
    /// what becomes of older ones. No more than that goes.
    pub policy: Policy,
    /// Events that change.
    pub events: u64,
    /// Messages that go as a whole.
    pub messages: u64,
    /// Calls of tools that go, those in such messages included.
    pub tool_calls: u64,
    /// Images, recordings, videos and files that go from messages that stay.
    pub media: u64,
    /// Runs that are reduced.
    pub runs_reduced: u64,
    /// Runs that are dropped.
    pub runs_dropped: u64,
    /// Stored bytes of the events that change, before and after.
    pub bytes_before: u64,
    /// The same after.
    pub bytes_after: u64,
    /// Bytes of blobs that nothing would refer to any more.
    pub blob_bytes: u64,
    /// Events that would change and stay as they are, because a fork shares them and keeps
    /// them.
    pub kept_for_forks: u64,
}

impl CompactionPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// Bytes that it saves.
    pub fn bytes_saved(&self) -> u64 {
        self.bytes_before.saturating_sub(self.bytes_after).saturating_add(self.blob_bytes)
    }

    /// Adds what was done since an earlier count.
    pub(crate) fn add(&mut self, now: &Self, before: &Self) {
        self.events += now.events - before.events;
        self.messages += now.messages - before.messages;
        self.tool_calls += now.tool_calls - before.tool_calls;
        self.media += now.media - before.media;
        self.runs_reduced += now.runs_reduced - before.runs_reduced;
        self.runs_dropped += now.runs_dropped - before.runs_dropped;
        self.bytes_before += now.bytes_before - before.bytes_before;
        self.bytes_after += now.bytes_after - before.bytes_after;
    }

    /// Counts one body that changes.
    pub(super) fn count(&mut self, before: &EventBody, after: &EventBody) {
        self.events += 1;
        match (before, after) {
            (EventBody::MessageAdded(before), EventBody::MessageAdded(after)) => {
                let (was, is) = (&before.message.omitted, &after.message.omitted);
                self.messages += u64::from(is.message && !was.message);
                self.tool_calls += u64::from(is.tool_calls.saturating_sub(was.tool_calls));
                self.media += u64::from(is.media.saturating_sub(was.media));
            }
            (EventBody::RunStarted(before), EventBody::RunStarted(after))
                if before.reduced != after.reduced =>
            {
                match after.reduced {
                    Some(OlderRuns::Dropped) => self.runs_dropped += 1,
                    Some(OlderRuns::Reduced) => self.runs_reduced += 1,
                    None => {}
                }
            }
            _ => {}
        }
    }
}

/// A session to be compacted.
#[derive(Debug)]
pub(crate) struct Subject {
    pub(crate) session: Digest,
    pub(crate) entry: Entry,
    pub(crate) head: u64,
    pub(crate) policies: Policies,
}

impl Subject {
    pub(crate) fn lineage(&self) -> Lineage {
        self.entry.lineage(self.session)
    }

    /// The first seq that its own stream holds.
    pub(crate) fn own_seq(&self) -> u64 {
        self.entry.first_seq.max(self.lineage().shared_seq() + 1)
    }
}

/// What goes from a session, without what sessions that share a part of it keep there.
/// `other` says what is known of such a session.
pub(crate) fn plan(
    log: &Arc<dyn Log>,
    subject: &Subject,
    other: &mut dyn FnMut(Digest) -> Result<Option<Subject>>,
) -> Result<(Plan, u64)> {
    let mut plan = read(log, subject)?;
    let wanted = plan.len_from(subject.own_seq());
    let sharers = key::within(key::Class::Sharer, subject.session, Order::Ascending);
    for record in Scan::new(&**log, sharers) {
        let (last_seq, session) = key::parse_fork(&record?.key)?;
        if let Some(sharer) = other(session)? {
            plan.meet(last_seq, &read(log, &sharer)?);
        }
    }
    let kept_for_forks = wanted.saturating_sub(plan.len_from(subject.own_seq()));
    Ok((plan, kept_for_forks))
}

fn read(log: &Arc<dyn Log>, subject: &Subject) -> Result<Plan> {
    let mut planner = Planner::new(subject.policies);
    for event in Events::new(log, &subject.lineage(), subject.entry.first_seq, subject.head) {
        planner.take(&event?);
    }
    Ok(planner.finish())
}
