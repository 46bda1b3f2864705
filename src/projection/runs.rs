//! The runs of a session with their messages.

use std::collections::HashMap;

use super::Projection;
use crate::event::{Event, EventBody, OlderRuns, Policy, RunStarted, RunStatus, ToolExecuted};
use crate::id::Digest;
use crate::message::{Message, Metrics};

/// One interaction of a session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RunView {
    /// How it began.
    pub started: RunStarted,
    /// How it stands.
    pub status: RunStatus,
    /// The error, or why it was cancelled or paused.
    pub reason: Option<String>,
    /// What it spent, once it has ended.
    pub metrics: Option<Metrics>,
    /// Its messages, each with its seq.
    pub messages: Vec<(u64, Message)>,
    /// The tools that ran.
    pub tools: Vec<ToolExecuted>,
    /// What is kept of it, as far as it says so itself.
    pub policy: Policy,
    /// The seq of its start.
    pub first_seq: u64,
    /// When it began, in microseconds since 1970.
    pub started_at_us: i64,
    /// When its last event was recorded.
    pub updated_at_us: i64,
}

impl RunView {
    fn new(started: &RunStarted, event: &Event) -> Self {
        Self {
            started: started.clone(),
            status: RunStatus::Running,
            reason: None,
            metrics: None,
            messages: Vec::new(),
            tools: Vec::new(),
            policy: Policy::default(),
            first_seq: event.seq,
            started_at_us: event.recorded_at_us,
            updated_at_us: event.recorded_at_us,
        }
    }

    /// Whether it is a part of another run: a team member's.
    pub fn is_member_run(&self) -> bool {
        self.started.parent_run_id.is_some()
    }

    /// Whether a policy has dropped it: it is not shown, and only what it spent is counted.
    pub fn is_dropped(&self) -> bool {
        self.started.reduced == Some(OlderRuns::Dropped)
    }

    fn apply(&mut self, event: &Event) {
        self.updated_at_us = event.recorded_at_us;
        match &event.body {
            EventBody::MessageAdded(added) => {
                self.messages.push((event.seq, added.message.clone()));
            }
            EventBody::ToolExecuted(tool) => self.tools.push(tool.clone()),
            EventBody::PolicySet(set) => self.policy = set.policy,
            EventBody::RunPaused(paused) => {
                self.status = RunStatus::Paused;
                self.reason.clone_from(&paused.reason);
            }
            EventBody::RunResumed(_) => {
                self.status = RunStatus::Running;
                self.reason = None;
            }
            EventBody::RunFinished(finished) => {
                self.status = finished.status;
                self.reason.clone_from(&finished.reason);
                if finished.metrics.is_some() {
                    self.metrics = finished.metrics;
                }
            }
            _ => {}
        }
    }
}

/// All runs in the order they started.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Runs {
    runs: Vec<RunView>,
    places: HashMap<Digest, usize>,
}

impl Runs {
    /// The runs, in the order they started.
    pub fn as_slice(&self) -> &[RunView] {
        &self.runs
    }

    /// The runs, in the order they started.
    pub fn into_vec(self) -> Vec<RunView> {
        self.runs
    }
}

impl Projection for Runs {
    fn apply(&mut self, event: &Event) {
        if let EventBody::RunStarted(started) = &event.body {
            self.places.insert(event.run, self.runs.len());
            self.runs.push(RunView::new(started, event));
        } else if let Some(run) = self.places.get(&event.run).and_then(|at| self.runs.get_mut(*at))
        {
            run.apply(event);
        }
    }
}
