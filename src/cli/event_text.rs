//! What happened in an event, in a few words.

use anstyle::Style;
use sessionlog::{
    Compacted, Created, Deleted, Erased, ErasureTarget, EventBody, ImportedFrom, Json, Message,
    OlderRuns, Removed, Role, RunFinished, RunStarted, StateOp, ToolExecuted,
};

use super::output::FAINT;
use super::{policy, sheet, text};

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
        EventBody::ImportedFrom(import) => imported_words(import),
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
        EventBody::PolicySet(set) => policy::words(&set.policy),
        EventBody::Compacted(compacted) => compacted_words(compacted),
        EventBody::Erased(erased) => erased_words(erased),
        EventBody::Deleted(deleted) => deleted_words(deleted),
        EventBody::Gone(_) => String::from("erased"),
        EventBody::Custom(custom) => format!("{} {}", custom.kind, custom.data.as_str()),
        other => other.to_json().as_str().to_owned(),
    };
    text::cut(&text::one_line(&words), CHARS_MAX)
}

/// What is left of what was removed matters less.
pub(super) fn style(body: &EventBody) -> Style {
    let is_removed = match body {
        EventBody::Gone(_) => true,
        EventBody::MessageAdded(added) => added.message.omitted.message,
        EventBody::RunStarted(started) => started.reduced == Some(OlderRuns::Dropped),
        _ => false,
    };
    if is_removed { FAINT } else { Style::new() }
}

/// What a policy left out of a message that is there, or why the message is not.
pub(super) fn omitted(message: &Message) -> Option<String> {
    let omitted = &message.omitted;
    if omitted.is_empty() {
        return None;
    }
    if omitted.message {
        // An erasure leaves the same; that it was one, its own event says.
        return Some(match &message.role {
            _ if message.from_history => String::from("removed: copy of an earlier message"),
            Role::Tool => String::from("removed: tool result"),
            _ if omitted.tool_calls > 0 => {
                format!("removed: {}", counted(omitted.tool_calls, "tool call"))
            }
            _ => String::from("removed"),
        });
    }
    let parts = [
        (omitted.tool_calls, "tool call"),
        (omitted.tool_parts, "tool part"),
        (omitted.media, "image or file"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| counted(count, word))
        .collect();
    Some(format!("removed by policy: {}", parts.join(", ")))
}

fn counted(count: u32, word: &str) -> String {
    match (count, word) {
        (2.., "image or file") => format!("{count} images or files"),
        _ => text::count(count.into(), word),
    }
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

fn imported_words(import: &ImportedFrom) -> String {
    let source = if import.source.is_empty() { "erased" } else { &import.source };
    format!("{source} ({})", import.format)
}

fn compacted_words(compacted: &Compacted) -> String {
    let removed = removed_words(&compacted.removed);
    format!("{removed}, by policy: {}", policy::words(&compacted.policy))
}

fn erased_words(erased: &Erased) -> String {
    let target = match erased.target {
        ErasureTarget::Message { seq } => format!("the message of seq {seq}"),
        ErasureTarget::Run { .. } => String::from("a run"),
        ErasureTarget::Shared { last_seq } => format!("what forks share, to seq {last_seq}"),
        ErasureTarget::Derived { .. } => {
            String::from("what came of something erased in another session")
        }
        ErasureTarget::Memory { .. } => String::from("a memory"),
    };
    let derived = match erased.derived.len() as u64 {
        0 => String::new(),
        derived => format!(", {} of them derived", text::grouped(derived)),
    };
    let blobs = match erased.blobs.len() as u64 {
        0 => String::new(),
        blobs => format!(", {}", text::count(blobs, "blob")),
    };
    let removed = removed_words(&erased.removed);
    format!("{target}: {removed}{derived}{blobs}{}", reason(erased.authority.as_deref()))
}

fn deleted_words(deleted: &Deleted) -> String {
    let how = if deleted.is_erased { "erased, in its forks too" } else { "deleted" };
    format!("{how}{}", reason(deleted.authority.as_deref()))
}

fn reason(authority: Option<&str>) -> String {
    authority.map(|authority| format!(" ({authority})")).unwrap_or_default()
}

fn removed_words(removed: &[Removed]) -> String {
    let events = text::count(removed.len() as u64, "event");
    match (removed.first(), removed.last()) {
        (Some(first), Some(last)) if first.seq < last.seq => {
            format!("{events} from seq {} to {}", first.seq, last.seq)
        }
        (Some(one), _) => format!("{events} at seq {}", one.seq),
        _ => events,
    }
}

fn started_words(started: &RunStarted) -> String {
    let model = started.model.as_ref().map(|model| format!(", {model}")).unwrap_or_default();
    let parent = started.parent_run_id.as_ref().map(|parent| format!(", part of {parent}"));
    let reduced = match started.reduced {
        None => "",
        Some(OlderRuns::Reduced) => ", reduced by policy",
        Some(OlderRuns::Dropped) => ", removed",
    };
    format!("{}{model}{}{reduced}", started.run_id, parent.unwrap_or_default())
}

pub(super) fn message(message: &Message) -> String {
    let calls =
        message.tool_calls.iter().map(|call| format!("-> {}({})", call.name, call.arguments));
    let parts: Vec<String> = std::iter::once(message.content.text())
        .filter(|text| !text.is_empty())
        .chain(calls)
        .chain(omitted(message).map(|words| format!("({words})")))
        .collect();
    format!("{}: {}", message.role.as_str(), parts.join(" "))
}

fn tool_words(tool: &ToolExecuted) -> String {
    if tool.tool_name.is_empty() {
        return String::from("erased");
    }
    if tool.tool_args.is_none() && tool.result.is_none() {
        return tool.tool_name.clone();
    }
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
