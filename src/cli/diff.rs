//! What changed between two points.

use std::io::Write;

use sessionlog::{Change, Diff, Message, MessageChange, Side, ValueChange};

use super::args::{DiffArgs, Global};
use super::failure::{Outcome, Result};
use super::output::{BAD, FAINT, GOOD, LABEL, Output};
use super::{database, event_text, sheet, text};

pub(super) fn run(global: &Global, args: &DiffArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let session = database::session(&engine, &args.session)?;
    let other = match &args.with {
        Some(other) => database::session(&engine, other)?,
        None => session.clone(),
    };
    let diff = session.at(args.from.clone())?.diff(&other.at(args.to.clone())?)?;
    if out.is_json() {
        out.json(&diff)?;
    } else {
        write(&diff, out)?;
    }
    Ok(Outcome::Fine)
}

fn write(diff: &Diff, out: &mut Output) -> Result<()> {
    let end = |end: &sessionlog::DiffEnd| format!("{} at seq {}", end.session_id, end.seq);
    writeln!(out, "{BAD}- {}{BAD:#}", text::one_line(&end(&diff.from)))?;
    writeln!(out, "{GOOD}+ {}{GOOD:#}", text::one_line(&end(&diff.to)))?;
    write_change("name", diff.name.as_ref(), |name| name.clone().unwrap_or_else(nothing), out)?;
    let owner = |owner: &Option<String>| event_text::owner(owner.as_deref());
    write_change("owner", diff.user_id.as_ref(), owner, out)?;
    let summary = |summary: &Option<String>| summary.clone().unwrap_or_else(nothing);
    write_change("summary", diff.summary.as_ref(), summary, out)?;
    write_change("spent", diff.metrics.as_ref(), sheet::spent, out)?;
    write_values("state", &diff.state, out)?;
    write_values("metadata", &diff.metadata, out)?;
    let both = text::count(diff.messages_in_both, "message");
    writeln!(out, "{LABEL}messages{LABEL:#} {FAINT}{both} in both{FAINT:#}")?;
    diff.messages.iter().try_for_each(|change| write_message(change, out))
}

fn nothing() -> String {
    String::from("-")
}

fn write_change<T>(
    label: &str,
    change: Option<&Change<T>>,
    words: impl Fn(&T) -> String,
    out: &mut Output,
) -> Result<()> {
    let Some(change) = change else { return Ok(()) };
    writeln!(out, "{LABEL}{label}{LABEL:#}")?;
    write_side(Side::Gone, &words(&change.from), out)?;
    write_side(Side::New, &words(&change.to), out)
}

fn write_values(label: &str, changes: &[ValueChange], out: &mut Output) -> Result<()> {
    if !changes.is_empty() {
        writeln!(out, "{LABEL}{label}{LABEL:#}")?;
    }
    for change in changes {
        let path = change.path.join(".");
        for (side, value) in [(Side::Gone, &change.from), (Side::New, &change.to)] {
            if let Some(value) = value {
                write_side(side, &format!("{path} = {value}"), out)?;
            }
        }
    }
    Ok(())
}

fn write_message(change: &MessageChange, out: &mut Output) -> Result<()> {
    let words = match Message::from_json(change.message.as_str()) {
        Ok(message) => event_text::message(&message),
        Err(_) => change.message.as_str().to_owned(),
    };
    write_side(change.side, &format!("{:>6}  {words}", change.seq), out)
}

fn write_side(side: Side, words: &str, out: &mut Output) -> Result<()> {
    let (style, sign) = match side {
        Side::Gone => (BAD, '-'),
        Side::New => (GOOD, '+'),
    };
    let words = out.fit(&text::flat(words), 2);
    Ok(writeln!(out, "{style}{sign} {words}{style:#}")?)
}
