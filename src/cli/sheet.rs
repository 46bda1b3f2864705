//! A session on one sheet, for people.

use std::io::Write;

use serde_json::Value;
use sessionlog::{Message, Metrics, Point, Role, RunView, Session, SessionAt, SessionView};

use super::failure::Result;
use super::output::{FAINT, LABEL, Output};
use super::{policy, text};

/// Runs that are shown unless somebody wants others.
pub(super) const RUNS_SHOWN: usize = 20;

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
    if !view.policy.is_empty() {
        write_field("policy", &policy::words(&view.policy), out)?;
    }
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

/// One line for each of the newest runs. A run of a member has no number, so its id stands there.
pub(super) fn write_runs(
    session: &Session,
    at: &SessionAt,
    limit: usize,
    out: &mut Output,
) -> Result<()> {
    let runs = at.runs()?;
    let numbered = runs.iter().filter(|run| !run.is_member_run()).count() as u64;
    let removed = at.view().run_count.saturating_sub(numbered);
    let older = runs.len().saturating_sub(limit);
    let mut rows = Vec::with_capacity(runs.len() - older);
    let mut number = 0;
    for (place, run) in runs.iter().enumerate() {
        number += u64::from(!run.is_member_run());
        if place < older {
            continue;
        }
        let name = match (run.is_member_run(), removed) {
            (true, _) => run.started.run_id.clone(),
            (false, 0) => number.to_string(),
            // A run that is shown no more keeps its number.
            (false, _) => session.at(Point::seq(run.first_seq))?.view().run_count.to_string(),
        };
        rows.push(vec![name, run.status.to_string(), held(run), asked(run)]);
    }
    if !rows.is_empty() {
        writeln!(out)?;
        out.table(&["RUN", "STATUS", "MESSAGES", "ASKED"], 2..3, 3..4, rows)?;
    }
    if older > 0 {
        let older = text::count(older as u64, "older run");
        writeln!(out, "{FAINT}({older} not shown: --runs N or --runs all shows them){FAINT:#}")?;
    }
    if removed > 0 {
        let removed = text::count(removed, "run");
        writeln!(out, "{FAINT}({removed} removed; what was spent is still counted){FAINT:#}")?;
    }
    Ok(())
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

/// How many messages a run has, and how many it had.
fn held(run: &RunView) -> String {
    let left = run.messages.iter().filter(|(_, message)| !message.omitted.message).count();
    let all = run.messages.len();
    if left == all { all.to_string() } else { format!("{left} of {all}") }
}

/// The run's first words of the person, as much as a table off the terminal should hold.
fn asked(run: &RunView) -> String {
    const COLUMNS_MAX: usize = 72;
    if run.started.reduced.is_some() {
        return String::from("(reduced by policy)");
    }
    let is_asked = |message: &Message| message.role == Role::User && !message.from_history;
    let first = run.messages.iter().find(|(_, message)| is_asked(message));
    let words = first.map(|(_, message)| {
        if message.omitted.message {
            String::from("(removed)")
        } else {
            text::one_line(&message.content.text())
        }
    });
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
