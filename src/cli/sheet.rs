//! A session on one sheet, for people.

use std::io::Write;

use serde_json::Value;
use sessionlog::{Metrics, Role, RunView, SessionView};

use super::failure::Result;
use super::output::{LABEL, Output};
use super::text;

/// Everything but the runs. Nothing is there yet before the first event.
pub(super) fn write_view(view: &SessionView, out: &mut Output) -> Result<()> {
    if view.seq == 0 {
        return Ok(writeln!(out, "nothing yet: the first event has seq 1")?);
    }
    let component = view.component_id().map(|id| format!(" ({id})")).unwrap_or_default();
    let updated = format!("{}, at seq {}", text::time(view.updated_at_us), view.seq);
    let open = view.open_runs.len() as u64;
    let open = if open == 0 { String::new() } else { format!(", {open} not ended") };
    write_field("session", &view.session_id, out)?;
    write_field("type", &format!("{}{component}", view.session_type), out)?;
    write_field("owner", view.user_id.as_deref().unwrap_or("nobody"), out)?;
    write_field("name", view.name.as_deref().unwrap_or("-"), out)?;
    write_field("created", &text::time(view.created_at_us), out)?;
    write_field("updated", &updated, out)?;
    write_field("runs", &format!("{}{open}", text::grouped(view.run_count)), out)?;
    write_field("messages", &messages(view), out)?;
    write_field("spent", &spent(&view.metrics), out)?;
    if !view.left_behind.is_empty() {
        write_field("left", &format!("{} in runs left behind", spent(&view.left_behind)), out)?;
    }
    write_object("state", &view.state, out)?;
    write_object("metadata", &view.metadata, out)?;
    if let Some(summary) = view.summary() {
        let covered = format!("(seq {} to {})", summary.first_seq, summary.last_seq);
        write_field("summary", &format!("{} {covered}", summary.summary), out)?;
    }
    if let Some(forked) = &view.forked_from {
        write_field("forked", &format!("from {} at seq {}", forked.session_id, forked.seq), out)?;
    }
    for import in &view.imports {
        write_field("from", &format!("{} ({})", import.source, import.format), out)?;
    }
    Ok(())
}

/// One line a run.
pub(super) fn write_runs(runs: &[RunView], out: &mut Output) -> Result<()> {
    if runs.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut number = 0_u64;
    let rows = runs.iter().map(|run| {
        number += u64::from(!run.is_member_run());
        let number = if run.is_member_run() { String::new() } else { number.to_string() };
        vec![number, run.status.to_string(), run.messages.len().to_string(), asked(run)]
    });
    out.table(&["RUN", "STATUS", "MESSAGES", "ASKED"], 2..3, 3..4, rows)
}

/// What was spent, in a few words.
pub(super) fn spent(metrics: &Metrics) -> String {
    let (input, output) =
        (text::grouped(metrics.input_tokens), text::grouped(metrics.output_tokens));
    let cost = metrics.cost.map(|cost| format!(", cost {cost:.4}")).unwrap_or_default();
    format!("{input} tokens in, {output} out{cost}")
}

fn messages(view: &SessionView) -> String {
    let calls = text::count(view.tool_call_count, "tool call");
    format!("{}, with {calls}", text::grouped(view.message_count))
}

/// The run's first words of the person, as much as a table off the terminal should hold.
fn asked(run: &RunView) -> String {
    const COLUMNS_MAX: usize = 72;
    let first = run.messages.iter().find(|(_, message)| message.role == Role::User);
    let words = first.map(|(_, message)| text::one_line(&message.content.text()));
    text::cut(&words.unwrap_or_default(), COLUMNS_MAX)
}

fn write_object(
    label: &str,
    object: &serde_json::Map<String, Value>,
    out: &mut Output,
) -> Result<()> {
    if object.is_empty() {
        return Ok(());
    }
    write_field(label, &Value::Object(object.clone()).to_string(), out)
}

fn write_field(label: &str, value: &str, out: &mut Output) -> Result<()> {
    const LABEL_COLUMNS: usize = 10;
    let value = out.fit(&text::one_line(value), LABEL_COLUMNS);
    Ok(writeln!(out, "{LABEL}{label:<LABEL_COLUMNS$}{LABEL:#}{value}")?)
}
