//! What is kept of a session: what it says itself, and what holds.

use std::io::Write;

use serde::Serialize;
use serde_json::json;
use sessionlog::{Access, Engine, KeepRuns, OlderRuns, Policy, Session, SessionQuery, limits};

use super::args::{Global, PolicyArgs};
use super::database;
use super::failure::{Outcome, Result};
use super::output::{FAINT, LABEL, Output};
use super::text;

/// What nobody says is kept.
const KEEP_ALL: Policy = Policy::new()
    .store_media(true)
    .store_tool_messages(true)
    .store_history_messages(true)
    .keep_runs(KeepRuns::All);

/// What is kept of one session.
#[derive(Serialize)]
struct Sheet {
    session_id: String,
    own: Policy,
    /// With every word said.
    effective: Policy,
}

impl Sheet {
    fn of(session: &Session) -> Result<Self> {
        let own = session.view()?.policy;
        let effective = session.policy()?.or(KEEP_ALL);
        Ok(Self { session_id: session.id().to_owned(), own, effective })
    }
}

pub(super) fn run(global: &Global, args: &PolicyArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    let Some(session_id) = &args.session else {
        write_all(&engine, out)?;
        return Ok(Outcome::Fine);
    };
    let session = database::session(&engine, session_id)?;
    let own = session.view()?.policy;
    if let Some(policy) = args.changed(own).filter(|policy| *policy != own) {
        session.set_policy(policy)?.wait()?;
    }
    let sheet = Sheet::of(&session)?;
    if out.is_json() {
        out.json(&sheet)?;
    } else {
        write_sheet(&sheet, out)?;
    }
    Ok(Outcome::Fine)
}

/// Those that say something themselves.
fn write_all(engine: &Engine, out: &mut Output) -> Result<()> {
    let query = SessionQuery::new(Access::Admin).limit(limits::LIST_PAGE_MAX);
    let mut sheets = Vec::new();
    for number in 1.. {
        let page = engine.sessions(&query.clone().page(number))?;
        if page.sessions.is_empty() {
            break;
        }
        for view in page.sessions.into_iter().filter(|view| !view.policy.is_empty()) {
            let (own, effective) = (view.policy, view.policy.or(KEEP_ALL));
            sheets.push(Sheet { session_id: view.session_id, own, effective });
        }
    }
    if out.is_json() {
        return out.json(&json!({ "sessions": sheets }));
    }
    for sheet in &sheets {
        out.line(&format!("{}: {}", sheet.session_id, words(&sheet.own)))?;
    }
    let count = text::count(sheets.len() as u64, "session");
    Ok(writeln!(out, "{FAINT}{count} with a policy of their own{FAINT:#}")?)
}

fn write_sheet(sheet: &Sheet, out: &mut Output) -> Result<()> {
    let id = out.fit(&text::one_line(&sheet.session_id), 0);
    writeln!(out, "{LABEL}{id}{LABEL:#}")?;
    let (own, effective) = (&sheet.own, &sheet.effective);
    let row = |what: &str, own: Option<bool>, holds: Option<bool>| {
        vec![what.to_owned(), yes_or_no(own), yes_or_no(holds)]
    };
    let rows = [
        row("media", own.store_media, effective.store_media),
        row("tool messages", own.store_tool_messages, effective.store_tool_messages),
        row("history messages", own.store_history_messages, effective.store_history_messages),
        vec![String::from("runs"), runs(own.keep_runs), runs(effective.keep_runs)],
    ];
    out.table(&["KEPT", "IT SAYS", "HOLDS"], 0..0, 1..3, rows)
}

fn yes_or_no(word: Option<bool>) -> String {
    String::from(match word {
        None => "-",
        Some(true) => "yes",
        Some(false) => "no",
    })
}

fn runs(keep: Option<KeepRuns>) -> String {
    keep.map_or_else(|| String::from("-"), runs_words)
}

fn runs_words(keep: KeepRuns) -> String {
    match keep {
        KeepRuns::All => String::from("all runs"),
        KeepRuns::Last { runs, older } => {
            let older = match older {
                OlderRuns::Reduced => "reduced",
                OlderRuns::Dropped => "dropped",
            };
            format!("last {}, older ones {older}", text::count(runs, "run"))
        }
    }
}

/// A policy in a few words.
pub(super) fn words(policy: &Policy) -> String {
    let says = |keep: Option<bool>, what: &str| {
        keep.map(|keep| if keep { what.to_owned() } else { format!("no {what}") })
    };
    let words = [
        says(policy.store_media, "media"),
        says(policy.store_tool_messages, "tool messages"),
        says(policy.store_history_messages, "history messages"),
        policy.keep_runs.map(runs_words),
    ];
    let words: Vec<String> = words.into_iter().flatten().collect();
    if words.is_empty() { String::from("nothing of its own") } else { words.join(", ") }
}
