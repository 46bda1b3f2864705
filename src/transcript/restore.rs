//! What an import does to a session whose source says which runs it had: what the source has
//! more than the session is added, run by run.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::conversation::Conversation;
use super::kept::{Kept, KeptRun};
use super::plan::{Plan, changes};
use super::report::Counts;
use super::stored::{KnownRun, Standing, Stored};
use crate::commit::Expected;
use crate::event::{
    Created, EventBody, ImportedFrom, MessageAdded, MetadataChanged, NewEvent, Renamed,
    RunFinished, RunPaused, RunResumed, RunStatus, StateChanged, SummaryWritten, ToolExecuted,
};
use crate::id::Digest;
use crate::json::Json;

/// The plan for a session that is not there yet.
pub(super) fn begin(conversation: &Conversation, kept: &Kept, source: &str) -> Plan {
    let created = Created {
        session_id: conversation.session_id.clone(),
        session_type: kept.session_type,
        user_id: conversation.user_id.clone(),
        agent_id: kept.agent_id.clone(),
        team_id: kept.team_id.clone(),
        workflow_id: kept.workflow_id.clone(),
        component_data: kept.component_data.clone(),
        metadata: conversation.metadata.clone(),
        state: kept.state.clone(),
    };
    let mut restore = Restore::default();
    restore.add(created);
    restore.add(imported(conversation, source, 0));
    restore.rename(conversation.title.as_deref());
    kept.runs.iter().for_each(|run| restore.start(run));
    restore.summarize(kept, 0);
    restore.into_plan(0)
}

/// The plan for a session that an import made. `Err` says why there is none.
pub(super) fn grow(
    stored: &Stored,
    conversation: &Conversation,
    kept: &Kept,
    source: &str,
) -> Result<Plan, String> {
    let mut restore = Restore::default();
    restore.add(imported(conversation, source, stored.messages.len()));
    let before = stored.import.as_ref().and_then(|import| import.data.as_ref());
    let now = conversation.data.as_ref();
    let name = |data| text(data, "/session_data/session_name");
    if name(before) != name(now) && !stored.is_named_by_hand {
        restore.rename(conversation.title.as_deref());
    }
    let metadata = changes(&object(before, "/metadata"), &object(now, "/metadata"));
    if !metadata.is_empty() {
        restore.add(MetadataChanged { ops: metadata });
    }
    let state = "/session_data/session_state";
    let state = changes(&object(before, state), &object(now, state));
    if !state.is_empty() {
        restore.add(StateChanged { ops: state });
    }
    for run in &kept.runs {
        match stored.runs.get(&Digest::of_run(&run.started.run_id)) {
            Some(known) => restore.go_on(run, known)?,
            None => restore.start(run),
        }
    }
    if object(before, "/summary").get("summary") != object(now, "/summary").get("summary") {
        restore.summarize(kept, stored.view.seq);
    }
    Ok(if restore.events.len() > 1 { restore.into_plan(stored.view.seq) } else { Plan::Nothing })
}

fn imported(conversation: &Conversation, source: &str, known: usize) -> ImportedFrom {
    ImportedFrom {
        format: conversation.format.as_str().to_owned(),
        source: source.to_owned(),
        data: conversation.data.clone(),
        first_record: known as u64,
    }
}

fn value(data: Option<&Json>, pointer: &str) -> Option<Value> {
    data?.to_value().pointer(pointer).cloned()
}

fn object(data: Option<&Json>, pointer: &str) -> Map<String, Value> {
    value(data, pointer).and_then(|value| value.as_object().cloned()).unwrap_or_default()
}

fn text(data: Option<&Json>, pointer: &str) -> Option<String> {
    value(data, pointer)?.as_str().map(str::to_owned)
}

/// The events of one append, as they come together.
#[derive(Default)]
struct Restore {
    events: Vec<NewEvent>,
    counts: Counts,
}

impl Restore {
    fn add(&mut self, body: impl Into<EventBody>) {
        self.events.push(NewEvent::new(body));
    }

    fn add_to(&mut self, run: &KeptRun, body: impl Into<EventBody>) {
        self.events.push(NewEvent::in_run(&run.started.run_id, body));
    }

    fn rename(&mut self, title: Option<&str>) {
        if let Some(title) = title {
            self.add(Renamed { name: Some(title.to_owned()), is_generated: true });
        }
    }

    /// It covers all that is there before it.
    fn summarize(&mut self, kept: &Kept, seq: u64) {
        if let Some(summary) = &kept.summary {
            self.add(SummaryWritten {
                summary: summary.text.clone(),
                topics: summary.topics.clone(),
                first_seq: 1,
                last_seq: seq + self.events.len() as u64,
                model: summary.model.clone(),
                metrics: None,
            });
        }
    }

    fn start(&mut self, run: &KeptRun) {
        self.begin(run);
        self.add_messages(run, 0);
        run.tools.iter().for_each(|tool| self.add_to(run, tool.clone()));
        self.end(run);
    }

    fn begin(&mut self, run: &KeptRun) {
        self.add_to(run, run.started.clone());
        self.counts.runs += u64::from(run.started.parent_run_id.is_none());
    }

    fn add_messages(&mut self, run: &KeptRun, known: usize) {
        for kept in run.messages.iter().skip(known) {
            self.counts.add_message(&kept.message);
            let added = MessageAdded { message: kept.message.clone() };
            let event = NewEvent::in_run(&run.started.run_id, added);
            self.events.push(event.with_id(kept.id));
        }
    }

    fn end(&mut self, run: &KeptRun) {
        let reason = run.reason.clone();
        match run.status {
            RunStatus::Running => {}
            RunStatus::Paused => self.add_to(run, RunPaused { reason }),
            status => self.add_to(run, RunFinished { status, metrics: run.metrics, reason }),
        }
    }

    /// Adds what the source has more of a run that is there, in whatever state it is.
    fn go_on(&mut self, run: &KeptRun, known: &KnownRun) -> Result<(), String> {
        let both = known.messages.iter().zip(&run.messages);
        let mut both = both.map(|(known, kept)| known.is(kept));
        if let Some(at) = both.position(|is_same| !is_same) {
            let run_id = &run.started.run_id;
            return Err(format!(
                "differs from what was recorded at message {} of run {run_id}",
                at + 1
            ));
        }
        let tools = new_tools(run, known);
        let has_more = run.messages.len() > known.messages.len() || !tools.is_empty();
        let now = known.now.map(|now| now.status);
        // Whoever goes on with a run outside imports also ends it.
        let is_shared = now == Some(RunStatus::Running) && known.is_own;
        // An end alone does not bring back what was left behind.
        let ends_now = now.is_some() && ends_now(run.status, known);
        if has_more || ends_now && now.is_some_and(RunStatus::is_terminal) {
            self.reopen(run, known.now);
            self.add_messages(run, known.messages.len());
            for tool in tools {
                self.add_to(run, tool.clone());
            }
        }
        if has_more && !is_shared || ends_now {
            self.end(run);
        } else if run.status == RunStatus::Regenerated && now.is_some_and(RunStatus::is_terminal) {
            self.regenerate(run, known);
        }
        Ok(())
    }

    /// Lets a run take more messages. One that was left behind begins anew, with what is new.
    fn reopen(&mut self, run: &KeptRun, now: Option<Standing>) {
        match now {
            None => self.begin(run),
            Some(now) if now.status == RunStatus::Running => {}
            Some(now) => {
                let run_id = run.started.run_id.clone();
                self.add_to(run, RunResumed { run_id, counted: now.counted });
            }
        }
    }

    /// Marks a run that had ended as replaced. What it spent is counted already.
    fn regenerate(&mut self, run: &KeptRun, known: &KnownRun) {
        if known.seen != RunStatus::Regenerated {
            let (status, reason) = (RunStatus::Regenerated, run.reason.clone());
            self.add_to(run, RunFinished { status, metrics: None, reason });
        }
    }

    fn into_plan(self, seq: u64) -> Plan {
        let counts = Counts { sessions: 1, ..self.counts };
        Plan::Append { expected: Expected::Seq(seq), events: self.events, counts }
    }
}

/// Whether the source has seen the end, or a pause, of a run that was left open here. A run that
/// the engine marked as interrupted was left open, too.
fn ends_now(status: RunStatus, known: &KnownRun) -> bool {
    match known.seen {
        RunStatus::Running => status != RunStatus::Running && !known.is_own,
        RunStatus::Paused => status.is_terminal() && !known.is_own,
        RunStatus::Interrupted => status.is_terminal() && status != RunStatus::Interrupted,
        _ => false,
    }
}

/// The tools that ran since. One id may stand for several calls.
fn new_tools<'a>(run: &'a KeptRun, known: &KnownRun) -> Vec<&'a ToolExecuted> {
    let mut counts: HashMap<_, u64> = HashMap::new();
    for (id, name) in &known.tools {
        *counts.entry((id.as_deref(), name.as_str())).or_default() += 1;
    }
    let is_new = |tool: &&'a ToolExecuted| {
        let key = (tool.tool_call_id.as_deref(), tool.tool_name.as_str());
        match counts.get_mut(&key) {
            Some(count) if *count > 0 => {
                *count -= 1;
                false
            }
            _ => true,
        }
    };
    run.tools.iter().filter(is_new).collect()
}
