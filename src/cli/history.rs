//! The window: what the next model call would be given.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use sessionlog::{Message, Role, SessionAt, SessionWindow};

use super::args::{Global, HistoryArgs, Provider};
use super::failure::{Outcome, Result};
use super::output::{FAINT, Output};
use super::{event_text, text};

/// The library's own default, said here to tell people about it.
const RUNS_DEFAULT: u64 = 3;

pub(super) fn run(global: &Global, args: &HistoryArgs, out: &mut Output) -> Result<Outcome> {
    let at = global.session(&args.session)?.at(args.at.clone())?;
    let window = window(&at, args);
    if out.is_json() {
        write_json(&window, args.format, out)?;
        return Ok(Outcome::Fine);
    }
    let (messages, repairs) = window.media_as_references().read()?;
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
    // Media are written as they are read, so that a window of images fits into any memory.
    match format {
        Provider::Openai => {
            out.write_all(b"{\"messages\":")?;
            out.engine(|out| window.write_openai(out))?;
            out.write_all(b"}")?;
        }
        Provider::Anthropic => out.engine(|out| window.write_anthropic(out))?,
    }
    Ok(out.write_all(b"\n")?)
}

/// A conversation as text: who speaks, in a colour of their own, and what they say.
pub(super) fn write_messages(messages: &[Message], out: &mut Output) -> Result<()> {
    for message in messages {
        let mut speaker = message.role.as_str();
        let plain = said(message).into_iter().map(|line| (Style::new(), line));
        let faint = event_text::omitted(message).map(|words| (FAINT, format!("({words})")));
        for (faint, line) in plain.chain(faint) {
            let style = style_of(&message.role);
            // The label stands once, beside the first line.
            let label = text::one_line(std::mem::take(&mut speaker));
            let line = text::printable(&line);
            writeln!(out, "{style}{label:<10}{style:#} {faint}{line}{faint:#}")?;
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
    if lines.is_empty() && message.omitted.is_empty() {
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
