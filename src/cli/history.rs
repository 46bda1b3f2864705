//! The window: what the next model call would be given.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use serde_json::json;
use sessionlog::{Message, Role, SessionAt, SessionWindow};

use super::args::{Global, HistoryArgs, Provider};
use super::failure::{Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

/// The library's own default, said here to tell people about it.
const RUNS_DEFAULT: u64 = 3;

pub(super) fn run(global: &Global, args: &HistoryArgs, out: &mut Output) -> Result<Outcome> {
    let at = global.session(&args.session)?.at(args.at.clone())?;
    let window = window(&at, args);
    if out.is_json() {
        write_json(&window, args.format, out)?;
        return Ok(Outcome::Fine);
    }
    let (messages, repairs) = window.read()?;
    write_messages(&messages, out)?;
    for repair in &repairs {
        let repair = text::one_line(&repair.to_string());
        writeln!(out, "{FAINT}({repair}){FAINT:#}")?;
    }
    if messages.is_empty() {
        writeln!(out, "{FAINT}no messages{FAINT:#}")?;
    }
    let runs = at.view().run_count;
    if args.runs.is_none() && args.messages.is_none() && runs > RUNS_DEFAULT {
        let more = format!("of the last {RUNS_DEFAULT} of {runs} runs; --runs N for more");
        writeln!(
            out,
            "{FAINT}({} {more}){FAINT:#}",
            text::count(messages.len() as u64, "message")
        )?;
    }
    Ok(Outcome::Fine)
}

fn window(at: &SessionAt, args: &HistoryArgs) -> SessionWindow {
    let mut window = at.window();
    if let Some(runs) = args.runs {
        window = window.runs(runs);
    }
    if let Some(messages) = args.messages {
        window = window.last_messages(messages);
    }
    if let Some(calls) = args.max_tool_calls {
        window = window.max_tool_calls(calls);
    }
    window
}

fn write_json(window: &SessionWindow, format: Provider, out: &mut Output) -> Result<()> {
    match format {
        Provider::Openai => out.json(&json!({ "messages": window.openai()? })),
        Provider::Anthropic => {
            let prompt = window.anthropic()?;
            let mut document = json!({ "messages": prompt.messages });
            // A provider takes no system prompt for none, but not for null.
            if let (Some(system), Some(fields)) = (prompt.system, document.as_object_mut()) {
                fields.insert(String::from("system"), system.into());
            }
            out.json(&document)
        }
    }
}

/// A conversation as text: who speaks, in a colour of their own, and what they say.
pub(super) fn write_messages(messages: &[Message], out: &mut Output) -> Result<()> {
    for message in messages {
        let mut speaker = message.role.as_str();
        for line in said(message) {
            let style = style_of(&message.role);
            // The label stands once, beside the first line.
            let label = text::one_line(std::mem::take(&mut speaker));
            writeln!(out, "{style}{label:<10}{style:#} {}", text::printable(&line))?;
        }
    }
    Ok(())
}

/// The lines of what a message says: its text, what is in it besides, and its calls.
fn said(message: &Message) -> Vec<String> {
    let content = message.content.text();
    let mut lines: Vec<String> = content.lines().map(str::to_owned).collect();
    if let sessionlog::Content::Parts(parts) = &message.content {
        let others = parts.iter().filter(|part| part.text().is_none());
        lines.extend(others.map(|part| format!("[{}]", part.kind())));
    }
    for call in &message.tool_calls {
        lines.push(format!("-> {}({})", call.name, text::one_line(&call.arguments)));
    }
    if lines.is_empty() {
        lines.push(String::from("(nothing)"));
    }
    lines
}

fn style_of(role: &Role) -> Style {
    let color = match role {
        Role::User => AnsiColor::Green,
        Role::Assistant => AnsiColor::Cyan,
        Role::Tool => AnsiColor::Yellow,
        Role::System | Role::Developer | Role::Other(_) => AnsiColor::Magenta,
    };
    color.on_default().bold()
}
