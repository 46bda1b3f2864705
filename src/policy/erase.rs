//! What is left of an event whose content is erased.

use crate::event::{
    Created, EventBody, ImportedFrom, MessageAdded, OlderRuns, RunPaused, RunStarted,
    SummaryWritten, ToolExecuted,
};
use crate::message::{Content, Message, Omitted};

/// What is left of a body: what other events and the indexes rest on, and what was spent. `None`
/// where nothing needs to be.
pub(crate) fn without_content(body: &EventBody) -> Option<EventBody> {
    Some(match body {
        EventBody::MessageAdded(added) => MessageAdded { message: bare(&added.message) }.into(),
        EventBody::RunStarted(started) => RunStarted {
            run_id: started.run_id.clone(),
            parent_run_id: started.parent_run_id.clone(),
            reduced: Some(OlderRuns::Dropped),
            ..RunStarted::default()
        }
        .into(),
        EventBody::ToolExecuted(tool) => ToolExecuted {
            tool_call_error: tool.tool_call_error,
            duration_us: tool.duration_us,
            ..ToolExecuted::default()
        }
        .into(),
        EventBody::RunPaused(_) => RunPaused::default().into(),
        EventBody::RunFinished(finished) => {
            let mut finished = finished.clone();
            finished.reason = None;
            finished.into()
        }
        EventBody::ImportedFrom(imported) => {
            ImportedFrom { source: String::new(), data: None, ..imported.clone() }.into()
        }
        // What it was a conversation with is nobody's.
        EventBody::Created(created) => Created {
            session_id: String::new(),
            user_id: None,
            component_data: None,
            metadata: None,
            state: None,
            ..created.clone()
        }
        .into(),
        EventBody::SummaryWritten(written) if written.metrics.is_some() => SummaryWritten {
            summary: String::new(),
            topics: Vec::new(),
            model: None,
            ..written.clone()
        }
        .into(),
        EventBody::RunResumed(_)
        | EventBody::PolicySet(_)
        | EventBody::RewoundTo(_)
        | EventBody::Deleted(_)
        | EventBody::Compacted(_)
        | EventBody::Erased(_) => body.clone(),
        _ => return None,
    })
}

/// The place of a message.
fn bare(message: &Message) -> Message {
    let mut left = Message::new(message.role.clone(), Content::Absent);
    left.from_history = message.from_history;
    left.metrics = message.metrics;
    let calls = u32::try_from(message.tool_calls.len()).unwrap_or(u32::MAX);
    let tool_calls = message.omitted.tool_calls.saturating_add(calls);
    left.omitted = Omitted { message: true, tool_calls, ..Omitted::default() };
    left
}
