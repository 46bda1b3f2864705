//! What happened in an event, in a few words.

use sessionlog::{
    Created, EventBody, Json, Message, RunFinished, RunStarted, StateOp, ToolExecuted,
};

use super::{sheet, text};

/// Longer than a line on any terminal; what is cut stands in the JSON.
const CHARS_MAX: usize = 240;

/// What happened, on one line.
pub(super) fn words(body: &EventBody) -> String {
    let words = match body {
        EventBody::Created(created) => created_words(created),
        EventBody::Renamed(renamed) => match &renamed.name {
            Some(name) => format!("{name:?}"),
            None => String::from("no name"),
        },
        EventBody::MetadataChanged(changed) => changes(&changed.ops),
        EventBody::StateChanged(changed) => changes(&changed.ops),
        EventBody::OwnerChanged(changed) => owner(changed.user_id.as_deref()),
        EventBody::ForkedFrom(forked) => {
            format!("{} at seq {}", forked.parent_session_id, forked.seq)
        }
        EventBody::RewoundTo(rewound) => format!("seq {}", rewound.seq),
        EventBody::ImportedFrom(import) => format!("{} ({})", import.source, import.format),
        EventBody::RunStarted(started) => started_words(started),
        EventBody::MessageAdded(added) => message(&added.message),
        EventBody::ToolExecuted(tool) => tool_words(tool),
        EventBody::RunPaused(paused) => paused.reason.clone().unwrap_or_default(),
        EventBody::RunResumed(_) => String::new(),
        EventBody::RunFinished(finished) => finished_words(finished),
        EventBody::SummaryWritten(summary) => {
            format!("seq {} to {}: {}", summary.first_seq, summary.last_seq, summary.summary)
        }
        EventBody::SummaryWithdrawn(withdrawn) => format!("the one of seq {}", withdrawn.seq),
        EventBody::Custom(custom) => format!("{} {}", custom.kind, custom.data.as_str()),
        other => other.to_json().as_str().to_owned(),
    };
    text::cut(&text::one_line(&words), CHARS_MAX)
}

/// The changes of a state, each with its place.
pub(super) fn changes(ops: &[StateOp]) -> String {
    let words = ops.iter().map(|op| match op {
        StateOp::Set { path, value } => format!("{} = {}", path.join("."), value.as_str()),
        StateOp::Remove { path } => format!("{} removed", path.join(".")),
        StateOp::Merge { path, value } if path.is_empty() => format!("merged {}", value.as_str()),
        StateOp::Merge { path, value } => {
            format!("{} merged {}", path.join("."), value.as_str())
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

pub(super) fn owner(user_id: Option<&str>) -> String {
    user_id.map_or_else(|| String::from("of nobody"), |user_id| format!("of {user_id}"))
}

fn created_words(created: &Created) -> String {
    format!("{} session {}", created.session_type, owner(created.user_id.as_deref()))
}

fn started_words(started: &RunStarted) -> String {
    let model = started.model.as_ref().map(|model| format!(", {model}")).unwrap_or_default();
    let parent = started.parent_run_id.as_ref().map(|parent| format!(", part of {parent}"));
    format!("{}{model}{}", started.run_id, parent.unwrap_or_default())
}

pub(super) fn message(message: &Message) -> String {
    let calls =
        message.tool_calls.iter().map(|call| format!("-> {}({})", call.name, call.arguments));
    let parts: Vec<String> = std::iter::once(message.content.text())
        .filter(|text| !text.is_empty())
        .chain(calls)
        .collect();
    format!("{}: {}", message.role.as_str(), parts.join(" "))
}

fn tool_words(tool: &ToolExecuted) -> String {
    let arguments = tool.tool_args.as_ref().map(Json::as_str).unwrap_or_default();
    let result = tool.result.as_deref().unwrap_or_default();
    let failed = if tool.tool_call_error { " failed" } else { "" };
    format!("{}({arguments}){failed}: {result}", tool.tool_name)
}

fn finished_words(finished: &RunFinished) -> String {
    let spent = finished.metrics.as_ref().map(|metrics| format!(", {}", sheet::spent(metrics)));
    let reason = finished.reason.as_ref().map(|reason| format!(": {reason}"));
    format!("{}{}{}", finished.status, spent.unwrap_or_default(), reason.unwrap_or_default())
}
