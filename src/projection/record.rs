//! Views as the records of Agno's storage schema: the same fields under the same
//! names, times in whole seconds.

use serde_json::{Map, Value, json};

use super::{RunView, SessionView, Summary};
use crate::clock::rfc3339;
use crate::event::{SessionType, ToolExecuted};
use crate::json::{Field, Json};
use crate::message::Metrics;

/// The session as a record. `runs` is left out where they are not given, as in a listing.
pub fn session_record(view: &SessionView, runs: Option<&[RunView]>) -> Value {
    let mut data = Map::new();
    if let Some(name) = &view.name {
        data.insert(String::from("session_name"), json!(name));
    }
    data.insert(String::from("session_state"), Value::Object(view.state.clone()));
    data.insert(String::from("session_metrics"), metrics(&view.metrics));
    if !view.left_behind.is_empty() {
        data.insert(String::from("left_behind_metrics"), metrics(&view.left_behind));
    }
    let component = view.component_data.as_ref().map(Json::to_value);
    let data_of = |session_type| {
        if view.session_type == session_type { component.clone() } else { None }
    };
    if !view.policy.is_empty() {
        data.insert(String::from("policy"), json!(view.policy));
    }
    let mut record = json!({
        "session_id": view.session_id,
        "session_type": view.session_type,
        "agent_id": view.agent_id,
        "team_id": view.team_id,
        "workflow_id": view.workflow_id,
        "user_id": view.user_id,
        "session_data": data,
        "agent_data": data_of(SessionType::Agent),
        "team_data": data_of(SessionType::Team),
        "workflow_data": data_of(SessionType::Workflow),
        "metadata": (!view.metadata.is_empty()).then_some(&view.metadata),
        "summary": view.summary().map(summary),
        "created_at": view.created_at_us.div_euclid(1_000_000),
        "updated_at": view.updated_at_us.div_euclid(1_000_000),
    });
    if let (Some(forked), Value::Object(record)) = (&view.forked_from, &mut record) {
        record.insert(String::from("forked_from"), json!(forked));
    }
    if let (Some(runs), Value::Object(record)) = (runs, &mut record) {
        let runs = runs.iter().map(|run| run_record(run, &view.session_id)).collect();
        record.insert(String::from("runs"), Value::Array(runs));
    }
    record
}

/// A run as a record.
pub fn run_record(run: &RunView, session_id: &str) -> Value {
    let started = &run.started;
    let messages: Vec<Value> =
        run.messages.iter().map(|(_, message)| message.to_json().to_value()).collect();
    let fields = [
        ("run_id", json!(started.run_id)),
        ("parent_run_id", json!(started.parent_run_id)),
        ("session_id", json!(session_id)),
        ("agent_id", json!(started.agent_id)),
        ("team_id", json!(started.team_id)),
        ("model", json!(started.model)),
        ("model_provider", json!(started.model_provider)),
        ("input", json!(started.input.as_ref().map(Json::to_value))),
        ("status", json!(run.status)),
        ("reduced", json!(run.started.reduced)),
        ("reason", json!(run.reason)),
        ("metrics", json!(run.metrics.as_ref().map(metrics))),
        ("messages", Value::Array(messages)),
        ("tools", Value::Array(run.tools.iter().map(tool).collect())),
        ("created_at", json!(run.started_at_us.div_euclid(1_000_000))),
        ("updated_at", json!(run.updated_at_us.div_euclid(1_000_000))),
    ];
    // As in Agno, what is not there is left out.
    let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
    let mut record = fields.map(|(name, value)| (name.to_owned(), value)).collect();
    add_extra(&mut record, &started.extra);
    Value::Object(record)
}

/// Adds what the run's source said beside what a run has. Where both speak the session's own word
/// counts, but for when the run was made: that the source knows better.
fn add_extra(record: &mut Map<String, Value>, extra: &[Field]) {
    for Field { name, value } in extra {
        match (record.get_mut(name), value.to_value()) {
            (Some(Value::Object(ours)), Value::Object(theirs)) => {
                for (name, value) in theirs {
                    ours.entry(name).or_insert(value);
                }
            }
            (Some(_), _) if name != "created_at" => {}
            (_, value) => drop(record.insert(name.clone(), value)),
        }
    }
}

fn summary(summary: &Summary) -> Value {
    json!({
        "summary": summary.summary,
        "topics": summary.topics,
        "updated_at": rfc3339(summary.updated_at_us),
        "first_seq": summary.first_seq,
        "last_seq": summary.last_seq,
        "model": summary.model,
    })
}

fn metrics(metrics: &Metrics) -> Value {
    serde_json::to_value(metrics).unwrap_or_default()
}

fn tool(tool: &ToolExecuted) -> Value {
    json!({
        "tool_call_id": tool.tool_call_id,
        "tool_name": tool.tool_name,
        "tool_args": tool.tool_args.as_ref().map(Json::to_value),
        "tool_call_error": tool.tool_call_error,
        "result": tool.result,
        "metrics": tool.duration_us.map(|us| json!({ "duration": us as f64 / 1e6 })),
        "child_run_id": tool.child_run_id,
    })
}
