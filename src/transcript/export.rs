//! Sessions out into transcripts.

use super::format::Format;
use super::{claude_code, openai, tau_bench};
use crate::engine::Session;
use crate::error::Result;
use crate::json::Json;
use crate::message::Message;
use crate::projection::SessionView;
use crate::replay::Point;

/// Writes a session as a transcript: one document in [`Format::OpenAi`] and
/// [`Format::TauBench`], one record a line in [`Format::ClaudeCode`].
///
/// In the format that a session was imported from it comes back equal as JSON, with what was
/// added since in the same manner.
///
/// ```
/// use sessionlog::transcript::{Format, ImportOptions, export, import_text};
/// use sessionlog::Engine;
///
/// let engine = Engine::in_memory()?;
/// let text = r#"{"id":"s1","messages":[{"role":"user","content":"Hi","note":null}]}"#;
/// import_text(&engine, "stdin", text.as_bytes(), &ImportOptions::default())?;
/// let session = engine.session("s1").open()?;
/// let out = export(&session, Format::OpenAi)?;
/// let given: serde_json::Value = serde_json::from_str(text).unwrap();
/// assert_eq!(out[0].to_value(), given);
/// # Ok::<(), sessionlog::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) where the session was given to
/// somebody else, and whatever reading the log fails with.
pub fn export(session: &Session, format: Format) -> Result<Vec<Json>> {
    let now = session.at(Point::Head)?;
    let mut messages = Vec::new();
    for run in now.runs()? {
        let at_us = run.started_at_us;
        messages.extend(run.messages.into_iter().map(|(seq, message)| (seq, at_us, message)));
    }
    // Runs may have been under way at the same time.
    messages.sort_by_key(|(seq, _, _)| *seq);
    let view = now.view();
    Ok(match format {
        Format::OpenAi => vec![openai::document(view, &plain(view, messages))],
        Format::TauBench => vec![tau_bench::document(view, &plain(view, messages))],
        Format::ClaudeCode => claude_code::records(&view.session_id, &messages),
    })
}

/// The messages as `OpenAI` records.
fn plain(view: &SessionView, messages: Vec<(u64, i64, Message)>) -> Vec<Json> {
    let is_claude_code =
        view.imports.iter().any(|import| import.format == Format::ClaudeCode.as_str());
    let messages = messages.into_iter().map(|(_, _, message)| message);
    if is_claude_code {
        messages.map(|message| claude_code::without_reserved(message).to_json()).collect()
    } else {
        messages.map(|message| message.to_json()).collect()
    }
}
