//! The session without its messages: bounded however long the session is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Projection;
use super::memory::{Memory, upsert};
use crate::event::{
    Created, Event, EventBody, ForkedFrom, Policy, Renamed, RunFinished, RunResumed, RunStarted,
    RunStatus, SessionType, SummaryWritten, apply_ops,
};
use crate::json::Json;
use crate::limits::VIEW_SUMMARIES_MAX;
use crate::message::Metrics;

/// A session as of a point: everything but its messages and runs, which are read when asked
/// for. Its size follows the state and the metadata, not the number of turns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SessionView {
    /// The last seq that is folded in; 0 before the first event.
    pub seq: u64,
    /// The session's id.
    pub session_id: String,
    /// What it is a conversation with.
    pub session_type: SessionType,
    /// Whose it is.
    pub user_id: Option<String>,
    /// The agent, in an agent's session.
    pub agent_id: Option<String>,
    /// The team, in a team's session.
    pub team_id: Option<String>,
    /// The workflow, in a workflow's session.
    pub workflow_id: Option<String>,
    /// The agent's, team's or workflow's configuration.
    pub component_data: Option<Json>,
    /// The application's own data about the session.
    pub metadata: Map<String, Value>,
    /// The session's name.
    pub name: Option<String>,
    /// Whether a model made the name, or the source of an import: nobody gave it by hand.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_name_generated: bool,
    /// The session's state.
    pub state: Map<String, Value>,
    /// The summaries that hold, oldest first; the last one is current. At most
    /// [`limits::VIEW_SUMMARIES_MAX`](crate::limits::VIEW_SUMMARIES_MAX).
    pub summaries: Vec<Summary>,
    /// What all runs spent, each counted once, and what it took to write the summaries.
    pub metrics: Metrics,
    /// When the session began, in microseconds since 1970.
    pub created_at_us: i64,
    /// When its last event was recorded.
    pub updated_at_us: i64,
    /// How many top-level runs have started.
    pub run_count: u64,
    /// How many messages were added, those that a policy left out since included.
    pub message_count: u64,
    /// How many tool calls the messages made, those that a policy left out since included.
    pub tool_call_count: u64,
    /// The runs that have not ended, by digest.
    pub open_runs: BTreeMap<String, OpenRun>,
    /// Where the session was imported from, most recent last.
    pub imports: Vec<Import>,
    /// What the session was forked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forked_from: Option<ForkPoint>,
    /// What was spent by runs that rewinds left behind. [`SessionView::metrics`] does not count
    /// them any more.
    #[serde(default, skip_serializing_if = "Metrics::is_empty")]
    pub left_behind: Metrics,
    /// What is kept, as far as the session itself says.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub policy: Policy,
    /// The seq of the event that said so last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_seq: Option<u64>,
    /// What is remembered of a user, by id: in the user's memories, and in no session. At most
    /// [`limits::MEMORIES_MAX`](crate::limits::MEMORIES_MAX).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) memories: BTreeMap<String, Memory>,
}

/// The place in another session that a session was forked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkPoint {
    /// The other session.
    pub session_id: String,
    /// The last shared seq.
    pub seq: u64,
}

/// A summary of a part of the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The seq of the event that wrote it.
    pub seq: u64,
    /// The text.
    pub summary: String,
    /// What it is about.
    pub topics: Vec<String>,
    /// The first seq it covers.
    pub first_seq: u64,
    /// The last seq it covers.
    pub last_seq: u64,
    /// The model that wrote it.
    pub model: Option<String>,
    /// What it took to write it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Metrics>,
    /// When it was written, in microseconds since 1970.
    pub updated_at_us: i64,
}

/// A run that has not ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenRun {
    /// The run's id.
    pub run_id: String,
    /// Running or paused.
    pub status: RunStatus,
    /// What the session's metrics already count for it.
    pub counted: Metrics,
}

/// Where events came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Import {
    /// The transcript format.
    pub format: String,
    /// The file's name.
    pub source: String,
    /// The seq of the event that says so, and what the source said about the whole conversation.
    pub seq: u64,
}

impl SessionView {
    /// The current summary.
    pub fn summary(&self) -> Option<&Summary> {
        self.summaries.last()
    }

    /// The agent, team or workflow, whichever the session is a conversation with.
    pub fn component_id(&self) -> Option<&str> {
        match self.session_type {
            SessionType::Agent => self.agent_id.as_deref(),
            SessionType::Team => self.team_id.as_deref(),
            SessionType::Workflow => self.workflow_id.as_deref(),
            SessionType::Memories => None,
        }
    }

    fn create(&mut self, created: &Created, event: &Event) {
        self.session_id.clone_from(&created.session_id);
        self.session_type = created.session_type;
        self.user_id.clone_from(&created.user_id);
        self.agent_id.clone_from(&created.agent_id);
        self.team_id.clone_from(&created.team_id);
        self.workflow_id.clone_from(&created.workflow_id);
        self.component_data.clone_from(&created.component_data);
        self.metadata = object(created.metadata.as_ref());
        self.state = object(created.state.as_ref());
        self.created_at_us = event.recorded_at_us;
    }

    /// What it says of itself is its own from here on; all else is as it was at the point.
    fn fork(&mut self, forked: &ForkedFrom, event: &Event) {
        self.session_id.clone_from(&forked.session_id);
        self.user_id.clone_from(&forked.user_id);
        self.created_at_us = event.recorded_at_us;
        let session_id = forked.parent_session_id.clone();
        self.forked_from = Some(ForkPoint { session_id, seq: forked.seq });
        self.left_behind = Metrics::default();
    }

    fn start_run(&mut self, started: &RunStarted, event: &Event) {
        self.run_count += u64::from(started.parent_run_id.is_none());
        let run_id = started.run_id.clone();
        let run = OpenRun { run_id, status: RunStatus::Running, counted: Metrics::default() };
        self.open_runs.insert(event.run.to_string(), run);
    }

    /// The run's metrics replace what was counted for it before.
    fn finish_run(&mut self, finished: &RunFinished, event: &Event) {
        let counted = self.open_runs.remove(&event.run.to_string()).map(|run| run.counted);
        if let Some(metrics) = &finished.metrics {
            self.metrics.subtract(&counted.unwrap_or_default());
            self.metrics.add(metrics);
        }
    }

    /// A run that was paused is still known; one that had ended says what it counts for.
    fn resume_run(&mut self, resumed: &RunResumed, event: &Event) {
        let run = self.open_runs.entry(event.run.to_string()).or_insert_with(|| OpenRun {
            run_id: resumed.run_id.clone(),
            status: RunStatus::Running,
            counted: Metrics::default(),
        });
        run.status = RunStatus::Running;
        if let Some(counted) = resumed.counted {
            run.counted = counted;
        }
    }

    fn rename(&mut self, renamed: &Renamed) {
        self.name.clone_from(&renamed.name);
        self.is_name_generated = renamed.is_generated && renamed.name.is_some();
    }

    fn write_summary(&mut self, written: &SummaryWritten, event: &Event) {
        if let Some(metrics) = &written.metrics {
            self.metrics.add(metrics);
            // What is left of a summary that was erased says only what it took.
            if written.summary.is_empty() {
                return;
            }
        }
        self.summaries.push(Summary {
            seq: event.seq,
            summary: written.summary.clone(),
            topics: written.topics.clone(),
            first_seq: written.first_seq,
            last_seq: written.last_seq,
            model: written.model.clone(),
            metrics: written.metrics,
            updated_at_us: event.recorded_at_us,
        });
        if self.summaries.len() > VIEW_SUMMARIES_MAX {
            self.summaries.remove(0);
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

fn object(json: Option<&Json>) -> Map<String, Value> {
    match json.map(Json::to_value) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

impl Projection for SessionView {
    fn apply(&mut self, event: &Event) {
        self.seq = event.seq;
        self.updated_at_us = event.recorded_at_us;
        match &event.body {
            EventBody::Created(created) => self.create(created, event),
            EventBody::Renamed(renamed) => self.rename(renamed),
            EventBody::MetadataChanged(changed) => apply_ops(&mut self.metadata, &changed.ops),
            EventBody::ForkedFrom(forked) => self.fork(forked, event),
            // The fold has skipped what was left behind, see `Projection`.
            EventBody::RewoundTo(rewound) => {
                self.user_id.clone_from(&rewound.user_id);
                self.left_behind = rewound.left_behind.unwrap_or_default();
            }
            EventBody::OwnerChanged(changed) => self.user_id.clone_from(&changed.user_id),
            EventBody::StateChanged(changed) => apply_ops(&mut self.state, &changed.ops),
            EventBody::RunStarted(started) => self.start_run(started, event),
            EventBody::RunPaused(_) => {
                if let Some(run) = self.open_runs.get_mut(&event.run.to_string()) {
                    run.status = RunStatus::Paused;
                }
            }
            EventBody::RunResumed(resumed) => self.resume_run(resumed, event),
            EventBody::RunFinished(finished) => self.finish_run(finished, event),
            EventBody::MessageAdded(added) => {
                self.message_count += 1;
                let message = &added.message;
                self.tool_call_count += message.tool_calls.len() as u64;
                self.tool_call_count += u64::from(message.omitted.tool_calls);
            }
            EventBody::SummaryWritten(written) => self.write_summary(written, event),
            EventBody::SummaryWithdrawn(withdrawn) => {
                self.summaries.retain(|summary| summary.seq != withdrawn.seq);
            }
            EventBody::ImportedFrom(imported) => self.imports.push(Import {
                format: imported.format.clone(),
                source: imported.source.clone(),
                seq: event.seq,
            }),
            EventBody::PolicySet(set) if event.run.is_none() => {
                self.policy = set.policy;
                self.policy_seq = Some(event.seq);
            }
            EventBody::MemoryUpserted(upserted) => upsert(&mut self.memories, upserted, event),
            EventBody::MemoryDeleted(deleted) => {
                self.memories.remove(&deleted.memory_id);
            }
            EventBody::Deleted(_) => {
                *self =
                    Self { seq: event.seq, updated_at_us: event.recorded_at_us, ..Self::default() };
            }
            _ => {}
        }
    }
}
