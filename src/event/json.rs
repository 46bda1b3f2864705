//! What happened in an event, as JSON: the names are those of the fields.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{
    Compacted, ContextRecorded, Created, Erased, ErasureTarget, EventBody, ForkedFrom,
    ImportedFrom, MemoryUpserted, Removed, RunFinished, RunResumed, RunStarted, StateOp,
    SummaryWritten, ToolExecuted,
};
use crate::json::{Field, Json, JsonObject};
use crate::message::Metrics;

impl EventBody {
    /// The body as a JSON object. JSON that came from outside, messages above all, keeps its
    /// text; digests are hexadecimal.
    ///
    /// ```
    /// use sessionlog::{EventBody, Renamed};
    ///
    /// let body = EventBody::from(Renamed { name: Some("Tea".into()), is_generated: false });
    /// assert_eq!(body.to_json().as_str(), r#"{"name":"Tea","is_generated":false}"#);
    /// ```
    pub fn to_json(&self) -> Json {
        match self {
            Self::Created(body) => created(body),
            Self::Renamed(body) => {
                object([("name", json!(body.name)), ("is_generated", json!(body.is_generated))])
            }
            Self::MetadataChanged(body) => {
                raw_object([("ops", Json::array(body.ops.iter().map(op)))])
            }
            Self::OwnerChanged(body) => object([("user_id", json!(body.user_id))]),
            Self::Deleted(body) => object([
                ("is_erased", json!(body.is_erased)),
                ("authority", json!(body.authority)),
                ("owner", json!(body.owner.map(|owner| hex(&owner)))),
            ]),
            Self::ForkedFrom(body) => forked_from(body),
            Self::RewoundTo(body) => object([
                ("seq", json!(body.seq)),
                ("link", json!(hex(&body.link))),
                ("user_id", json!(body.user_id)),
                ("left_behind", metrics(body.left_behind)),
            ]),
            Self::ImportedFrom(body) => imported_from(body),
            Self::RunStarted(body) => run_started(body),
            Self::MessageAdded(body) => raw_object([("message", body.message.to_json())]),
            Self::ToolExecuted(body) => tool_executed(body),
            Self::RunPaused(body) => object([("reason", json!(body.reason))]),
            Self::RunResumed(RunResumed { run_id, counted }) => {
                object([("run_id", json!(run_id)), ("counted", metrics(*counted))])
            }
            Self::RunFinished(RunFinished { status, metrics: spent, reason }) => object([
                ("status", json!(status)),
                ("metrics", metrics(*spent)),
                ("reason", json!(reason)),
            ]),
            Self::StateChanged(body) => raw_object([("ops", Json::array(body.ops.iter().map(op)))]),
            Self::SummaryWritten(body) => summary_written(body),
            Self::SummaryWithdrawn(body) => object([("seq", json!(body.seq))]),
            Self::PolicySet(body) => object([("policy", json!(body.policy))]),
            Self::Compacted(body) => compacted(body),
            Self::Erased(body) => erased(body),
            Self::ContextRecorded(body) => context_recorded(body),
            Self::MemoryUpserted(body) => memory_upserted(body),
            Self::MemoryDeleted(body) => object([("memory_id", json!(body.memory_id))]),
            Self::NothingLearned(body) => object([
                ("source_stream", json!(hex(&body.source_stream))),
                ("seq", json!(body.seq)),
            ]),
            Self::Custom(body) => {
                raw_object([("kind", json!(body.kind).into()), ("data", body.data.clone())])
            }
            Self::Gone(_) => object([("gone", json!(true))]),
        }
    }
}

fn created(body: &Created) -> Json {
    raw_object([
        ("session_id", json!(body.session_id).into()),
        ("session_type", json!(body.session_type).into()),
        ("user_id", json!(body.user_id).into()),
        ("agent_id", json!(body.agent_id).into()),
        ("team_id", json!(body.team_id).into()),
        ("workflow_id", json!(body.workflow_id).into()),
        ("component_data", or_null(body.component_data.as_ref())),
        ("metadata", or_null(body.metadata.as_ref())),
        ("state", or_null(body.state.as_ref())),
    ])
}

fn forked_from(body: &ForkedFrom) -> Json {
    object([
        ("session_id", json!(body.session_id)),
        ("user_id", json!(body.user_id)),
        ("parent_session_id", json!(body.parent_session_id)),
        ("seq", json!(body.seq)),
        ("link", json!(hex(&body.link))),
    ])
}

fn imported_from(body: &ImportedFrom) -> Json {
    raw_object([
        ("format", json!(body.format).into()),
        ("source", json!(body.source).into()),
        ("data", or_null(body.data.as_ref())),
        ("first_record", json!(body.first_record).into()),
    ])
}

fn run_started(body: &RunStarted) -> Json {
    raw_object([
        ("run_id", json!(body.run_id).into()),
        ("parent_run_id", json!(body.parent_run_id).into()),
        ("agent_id", json!(body.agent_id).into()),
        ("team_id", json!(body.team_id).into()),
        ("model", json!(body.model).into()),
        ("model_provider", json!(body.model_provider).into()),
        ("input", or_null(body.input.as_ref())),
        ("extra", JsonObject(body.extra.clone()).to_json()),
        ("reduced", json!(body.reduced).into()),
    ])
}

fn tool_executed(body: &ToolExecuted) -> Json {
    raw_object([
        ("tool_call_id", json!(body.tool_call_id).into()),
        ("tool_name", json!(body.tool_name).into()),
        ("tool_args", or_null(body.tool_args.as_ref())),
        ("result", json!(body.result).into()),
        ("tool_call_error", json!(body.tool_call_error).into()),
        ("duration_us", json!(body.duration_us).into()),
        ("child_run_id", json!(body.child_run_id).into()),
    ])
}

fn summary_written(body: &SummaryWritten) -> Json {
    object([
        ("summary", json!(body.summary)),
        ("topics", json!(body.topics)),
        ("first_seq", json!(body.first_seq)),
        ("last_seq", json!(body.last_seq)),
        ("model", json!(body.model)),
        ("metrics", metrics(body.metrics)),
    ])
}

fn removed(removed: &[Removed]) -> Json {
    Json::array(removed.iter().map(|removed| {
        let replacement = removed.replacement.as_ref().map(|digest| hex(digest));
        object([("seq", json!(removed.seq)), ("replacement", json!(replacement))])
    }))
}

fn compacted(body: &Compacted) -> Json {
    raw_object([("policy", json!(body.policy).into()), ("removed", removed(&body.removed))])
}

fn erased(body: &Erased) -> Json {
    let target = match body.target {
        ErasureTarget::Message { seq } => json!({"message": seq}),
        ErasureTarget::Run { run } => json!({"run": hex(&run)}),
        ErasureTarget::Shared { last_seq } => json!({"shared_until": last_seq}),
        ErasureTarget::Derived { session, seq } => {
            json!({"derived_from": {"session": hex(&session), "seq": seq}})
        }
        ErasureTarget::Memory { memory } => json!({"memory": hex(&memory)}),
    };
    let blobs: Vec<String> = body.blobs.iter().map(|digest| hex(digest)).collect();
    raw_object([
        ("target", target.into()),
        ("removed", removed(&body.removed)),
        ("derived", json!(body.derived).into()),
        ("blobs", json!(blobs).into()),
        ("authority", json!(body.authority).into()),
    ])
}

fn context_recorded(body: &ContextRecorded) -> Json {
    object([
        ("rules", json!(body.rules)),
        ("format", json!(body.format)),
        ("system_seq", json!(body.system_seq)),
        ("instructions", json!(body.instructions)),
        ("summary_seq", json!(body.summary_seq)),
        ("memories", json!(body.memories)),
        ("state_seq", json!(body.state_seq)),
        ("opening_seq", json!(body.opening_seq)),
        ("history_seqs", json!(body.history_seqs)),
        ("run_seqs", json!(body.run_seqs)),
        ("max_tool_calls", json!(body.max_tool_calls)),
        ("policy_seq", json!(body.policy_seq)),
        ("tokens", json!(body.tokens)),
        ("counter", json!(body.counter)),
        ("prompt_digest", json!(body.prompt_digest.as_ref().map(|digest| hex(digest)))),
    ])
}

fn memory_upserted(body: &MemoryUpserted) -> Json {
    object([
        ("memory_id", json!(body.memory_id)),
        ("memory", json!(body.memory)),
        ("topics", json!(body.topics)),
        ("input", json!(body.input)),
        ("agent_id", json!(body.agent_id)),
        ("source", json!(body.source)),
    ])
}

fn op(op: &StateOp) -> Json {
    let named = |name: &str, path: &[String]| [("op", json!(name)), ("path", json!(path))];
    let with_value = |name, path: &[String], value: &Json| {
        let [op, path] = named(name, path);
        raw_object([(op.0, op.1.into()), (path.0, path.1.into()), ("value", value.clone())])
    };
    match op {
        StateOp::Set { path, value } => with_value("set", path, value),
        StateOp::Remove { path } => object(named("remove", path)),
        StateOp::Merge { path, value } => with_value("merge", path, value),
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Json {
    raw_object(members.map(|(name, value)| (name, value.into())))
}

/// An object whose members keep their order and their text.
fn raw_object<const N: usize>(members: [(&str, Json); N]) -> Json {
    let fields = members.map(|(name, value)| Field { name: name.to_owned(), value });
    JsonObject(fields.into()).to_json()
}

fn or_null(json: Option<&Json>) -> Json {
    json.cloned().unwrap_or_else(|| Value::Null.into())
}

fn metrics(metrics: Option<Metrics>) -> Value {
    json!(metrics)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Custom, MessageAdded, StateChanged, StatePatch};
    use crate::message::Message;

    #[test]
    fn a_message_keeps_the_text_it_came_as() {
        let text = r#"{"role":"user","content":"Hi","price":1.50}"#;
        let message = Message::from_json(text).unwrap();
        let json = EventBody::from(MessageAdded { message }).to_json();
        assert_eq!(json.as_str(), format!(r#"{{"message":{text}}}"#));
    }

    #[test]
    fn changes_of_the_state_say_what_they_do_and_where() {
        let patch = StatePatch::new().set(["a", "b"], json!(1)).remove(["c"]);
        let body = EventBody::from(StateChanged { ops: patch.ops().to_vec() });
        let ops = json!([
            {"op": "set", "path": ["a", "b"], "value": 1},
            {"op": "remove", "path": ["c"]},
        ]);
        assert_eq!(body.to_json().to_value(), json!({ "ops": ops }));
    }

    #[test]
    fn an_applications_own_data_goes_out_as_it_came() {
        let data = Json::parse("[1e400, 2.0]").unwrap();
        let body = EventBody::from(Custom { kind: "vote".into(), data });
        assert_eq!(body.to_json().as_str(), r#"{"kind":"vote","data":[1e400, 2.0]}"#);
    }
}
