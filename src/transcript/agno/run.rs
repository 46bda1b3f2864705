//! One run of Agno's, with the runs of members inside it.

use std::time::Duration;

use serde_json::Value;

use crate::event::{RunStarted, RunStatus, ToolExecuted};
use crate::id::check_name;
use crate::json::{Field, Json, JsonObject, check_depth};
use crate::limits::{JSON_DEPTH_MAX, STATE_DEPTH_MAX};
use crate::message::Metrics;
use crate::transcript::conversation::Conversation;
use crate::transcript::kept::KeptRun;
use crate::transcript::source::{Broken, Place, elements, members, text_of};

/// Reads runs into a session, and names what is broken by its place.
pub(super) struct Reader<'a> {
    pub(super) place: Place,
    pub(super) broken: &'a mut Vec<Broken>,
    /// Runs inside the runs that were read. They wait until all others are: Agno stores most of
    /// them a second time, as runs of their own, and those say more.
    pub(super) nested: Vec<Nested>,
}

/// The runs of members inside a run.
pub(super) struct Nested {
    pub(super) path: String,
    pub(super) parent: String,
    pub(super) runs: Json,
}

impl<'a> Reader<'a> {
    pub(super) fn new(place: Place, broken: &'a mut Vec<Broken>) -> Self {
        Self { place, broken, nested: Vec::new() }
    }

    pub(super) fn broken(&mut self, path: &str, reason: impl std::fmt::Display) {
        let reason = match (path, self.place) {
            ("", place) => return self.broken.push(place.broken(reason)),
            (path, Place::Index(index)) => format!("[{index}].{path}: {reason}"),
            (path, _) => format!("{path}: {reason}"),
        };
        self.broken.push(Broken { line: self.place.line(), reason });
    }

    /// Reads a list of runs; `parent` is the run they are in.
    pub(super) fn read_list(
        &mut self,
        session: &mut Conversation,
        runs: &Json,
        path: &str,
        parent: Option<&str>,
    ) {
        for (index, text) in elements(runs.as_str()).into_iter().flatten().enumerate() {
            let path = format!("{path}[{index}]");
            match members(text) {
                Some(run) => self.read(session, run, &path, parent),
                None => self.broken(&path, "a run is no object"),
            }
        }
    }

    pub(super) fn read(
        &mut self,
        session: &mut Conversation,
        mut run: JsonObject,
        path: &str,
        parent: Option<&str>,
    ) {
        if let Some(inner) = run.get("run").and_then(|inner| members(inner.as_str())) {
            run = inner;
        }
        let nested = self.list(&mut run, "member_responses", path);
        let nested_depth =
            nested.as_ref().map_or(Ok(()), |runs| check_depth(runs.as_str(), JSON_DEPTH_MAX));
        let (messages, tools) =
            (self.list(&mut run, "messages", path), self.list(&mut run, "tools", path));
        let depth = check_depth(run.to_json().as_str(), STATE_DEPTH_MAX);
        if let Err(reason) = depth.and(nested_depth) {
            return self.broken(path, reason);
        }
        let Some(kept) = session.kept.as_deref_mut() else { return };
        let run_id = take_text(&mut run, "run_id").filter(|id| !id.is_empty());
        let run_id =
            run_id.unwrap_or_else(|| format!("{}/{}", session.session_id, kept.runs.len() + 1));
        if let Err(reason) = check_name("run id", &run_id) {
            return self.broken(path, reason);
        }
        if kept.run_ids.insert(run_id.clone()) {
            let mut run = kept_run(run, run_id.clone(), parent);
            self.messages(&mut run, &session.session_id, messages.as_ref(), path);
            self.tools(&mut run, tools.as_ref(), path);
            kept.runs.push(run);
        } else if parent.is_none() {
            return self.broken(path, format!("run {run_id} is there already"));
        }
        let path = join(path, "member_responses");
        self.nested.extend(nested.map(|runs| Nested { path, parent: run_id, runs }));
    }

    /// Takes a member that should be a list.
    fn list(&mut self, run: &mut JsonObject, name: &str, path: &str) -> Option<Json> {
        let list = run.take(name).filter(|list| list.as_str() != "null")?;
        if elements(list.as_str()).is_none() {
            self.broken(&join(path, name), "no list");
            return None;
        }
        Some(list)
    }

    fn messages(
        &mut self,
        run: &mut KeptRun,
        session_id: &str,
        messages: Option<&Json>,
        path: &str,
    ) {
        let messages = messages.and_then(|messages| elements(messages.as_str()));
        for (index, text) in messages.into_iter().flatten().enumerate() {
            if let Err(reason) = run.read_message(session_id, text) {
                self.broken(&join(path, &format!("messages[{index}]")), reason);
            }
        }
    }

    fn tools(&mut self, run: &mut KeptRun, tools: Option<&Json>, path: &str) {
        let tools = tools.and_then(|tools| elements(tools.as_str()));
        for (index, text) in tools.into_iter().flatten().enumerate() {
            match JsonObject::parse(text) {
                // What a paused run waits for has not run.
                Ok(tool) if !run.status.is_terminal() && !has_run(&tool) => {}
                Ok(tool) => run.tools.push(tool_executed(&tool)),
                Err(reason) => self.broken(&join(path, &format!("tools[{index}]")), reason),
            }
        }
    }
}

fn join(path: &str, member: &str) -> String {
    if path.is_empty() { member.to_owned() } else { format!("{path}.{member}") }
}

/// Takes a member that is text. What is not stays where it is.
fn take_text(object: &mut JsonObject, name: &str) -> Option<String> {
    let text = object.get(name).and_then(text_of)?;
    drop(object.take(name));
    Some(text)
}

fn kept_run(mut run: JsonObject, run_id: String, parent: Option<&str>) -> KeptRun {
    drop((run.take("session_id"), run.take("updated_at")));
    let status = status(run.take("status").and_then(|json| text_of(&json)).as_deref());
    let reason = if status == RunStatus::Running { None } else { take_text(&mut run, "reason") };
    let metrics = if status.is_terminal() { take_metrics(&mut run) } else { None };
    let parent_run_id = take_text(&mut run, "parent_run_id").filter(|id| !id.is_empty());
    let started = RunStarted {
        run_id,
        parent_run_id: parent_run_id.or_else(|| parent.map(str::to_owned)),
        agent_id: take_text(&mut run, "agent_id"),
        team_id: take_text(&mut run, "team_id"),
        model: take_text(&mut run, "model"),
        model_provider: take_text(&mut run, "model_provider"),
        input: run.take("input").filter(|input| input.as_str() != "null"),
        extra: run.0,
        reduced: None,
    };
    KeptRun { status, reason, metrics, ..KeptRun::new(started) }
}

/// Agno's words, in any case. What has not begun is under way here; a word that nobody knows is
/// that of a run which is over.
fn status(word: Option<&str>) -> RunStatus {
    let word = word.unwrap_or_default().to_uppercase();
    let known = serde_json::from_value(Value::from(word.as_str()));
    known.unwrap_or(if word == "PENDING" { RunStatus::Running } else { RunStatus::Completed })
}

/// Takes what a run spent, and leaves what there is no count for.
fn take_metrics(run: &mut JsonObject) -> Option<Metrics> {
    let json = run.get("metrics")?;
    let metrics: Metrics = serde_json::from_str(json.as_str()).ok()?;
    let mut left = members(json.as_str())?;
    left.0.retain(|field: &Field| !COUNTED.contains(&field.name.as_str()));
    drop(run.take("metrics"));
    if !left.0.is_empty() {
        run.set("metrics", left.to_json());
    }
    metrics.is_finite().then_some(metrics)
}

/// The members of `Metrics`.
const COUNTED: [&str; 11] = [
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost",
    "time_to_first_token",
    "duration",
];

fn has_run(tool: &JsonObject) -> bool {
    let has = |name: &str| tool.get(name).is_some_and(|json| json.as_str() != "null");
    has("result") || tool.get("tool_call_error").is_some_and(|json| json.as_str() == "true")
}

fn tool_executed(tool: &JsonObject) -> ToolExecuted {
    let given = |name: &str| tool.get(name).filter(|json| json.as_str() != "null");
    let text = |name: &str| tool.get(name).and_then(text_of);
    let duration =
        given("metrics").and_then(|metrics| metrics.to_value().get("duration")?.as_f64());
    let duration = duration.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    ToolExecuted {
        tool_call_id: text("tool_call_id"),
        tool_name: text("tool_name").unwrap_or_default(),
        tool_args: given("tool_args").cloned(),
        result: given("result").map(|json| text_of(json).unwrap_or_else(|| json.as_str().into())),
        tool_call_error: given("tool_call_error").is_some_and(|json| json.as_str() == "true"),
        duration_us: duration.and_then(|duration| u64::try_from(duration.as_micros()).ok()),
        child_run_id: text("child_run_id"),
    }
}
