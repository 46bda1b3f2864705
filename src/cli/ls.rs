//! The list of sessions.

use std::io::Write;

use serde_json::{Value, json};
use sessionlog::{Access, SessionQuery, SessionView, SortBy, SortOrder, session_record};

use super::args::{Global, LsArgs, Order, Sort};
use super::failure::{Outcome, Result};
use super::output::{FAINT, Output};
use super::text;

const HEADER: [&str; 7] = ["SESSION", "NAME", "USER", "TYPE", "RUNS", "MESSAGES", "UPDATED"];

pub(super) fn run(global: &Global, args: &LsArgs, out: &mut Output) -> Result<Outcome> {
    let page = global.open()?.sessions(&query(args))?;
    if out.is_json() {
        out.json(&json!({ "sessions": records(&page.sessions), "total": page.total }))?;
        return Ok(Outcome::Fine);
    }
    if !page.sessions.is_empty() {
        write_table(&page.sessions, out)?;
    }
    let (shown, total) = (page.sessions.len(), text::count(page.total, "session"));
    writeln!(out, "{FAINT}{shown} of {total}{FAINT:#}")?;
    Ok(Outcome::Fine)
}

/// The sessions as records of Agno's schema, without their runs.
pub(super) fn records(sessions: &[SessionView]) -> Vec<Value> {
    sessions.iter().map(|view| session_record(view, None)).collect()
}

pub(super) fn write_table(sessions: &[SessionView], out: &mut Output) -> Result<()> {
    out.table(&HEADER, 4..6, 1..3, sessions.iter().map(row))
}

fn row(view: &SessionView) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from("-"));
    vec![
        view.session_id.clone(),
        or_dash(&view.name),
        or_dash(&view.user_id),
        view.session_type.to_string(),
        text::grouped(view.run_count),
        text::grouped(view.message_count),
        text::time(view.updated_at_us),
    ]
}

fn query(args: &LsArgs) -> SessionQuery {
    let sort = match args.sort {
        Sort::CreatedAt => SortBy::CreatedAt,
        Sort::UpdatedAt => SortBy::UpdatedAt,
    };
    let order = match args.order {
        Order::Asc => SortOrder::Ascending,
        Order::Desc => SortOrder::Descending,
    };
    let query = SessionQuery::new(Access::Admin).limit(args.limit).page(args.page.get());
    let mut query = query.sort(sort, order);
    if let Some(user) = &args.user {
        query = query.user(user);
    }
    if let Some(session_type) = args.session_type {
        query = query.session_type(session_type);
    }
    if let Some(component) = &args.component {
        query = query.component(component);
    }
    if let Some(name) = &args.name {
        query = query.name(name);
    }
    if let Some(since_us) = args.since {
        query = query.since(since_us);
    }
    if let Some(until_us) = args.until {
        query = query.until(until_us);
    }
    query
}
