//! The list of sessions.

use std::io::Write;
use std::ops::Range;

use serde_json::{Value, json};
use sessionlog::{Access, Engine, SessionQuery, SessionView, SortBy, SortOrder, session_record};

use super::args::{Global, LsArgs, Order, Sort};
use super::failure::{Outcome, Result};
use super::output::{FAINT, FLEXIBLE_COLUMNS_MIN, Output};
use super::{database, text};

const HEADER: [&str; 7] = ["SESSION", "NAME", "USER", "TYPE", "RUNS", "MESSAGES", "UPDATED"];
/// The column of ids.
const ID: usize = 0;
/// The columns that give way.
const WORDS: Range<usize> = 1..3;
const NUMBERS: Range<usize> = 4..6;
/// The columns, what is missed most first: the last of them go where a terminal is narrow.
const BY_WORTH: [usize; 7] = [ID, 6, 1, 4, 5, 2, 3];
/// What stands where there is nothing.
const NONE: &str = "-";

pub(super) fn run(global: &Global, args: &LsArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    if args.ids {
        write_ids(&engine, args, out)?;
        return Ok(Outcome::Fine);
    }
    let page = engine.sessions(&query(args))?;
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

/// The ids of all pages, for programs that read lines.
fn write_ids(engine: &Engine, args: &LsArgs, out: &mut Output) -> Result<()> {
    let ids = database::found_ids(engine, query(args))?;
    if out.is_json() {
        return out.json(&json!({ "session_ids": ids }));
    }
    ids.iter().try_for_each(|id| Ok(writeln!(out, "{}", text::printable(id))?))
}

/// The sessions as records of Agno's schema, without their runs, and how many there are of these.
pub(super) fn records(sessions: &[SessionView]) -> Vec<Value> {
    let record = |view: &SessionView| {
        let mut record = session_record(view, None);
        if let Some(members) = record.as_object_mut() {
            members.insert(String::from("run_count"), view.run_count.into());
            members.insert(String::from("message_count"), view.message_count.into());
        }
        record
    };
    sessions.iter().map(record).collect()
}

/// The columns that say something and have room. An id is never cut: it is what other commands
/// take.
pub(super) fn write_table(sessions: &[SessionView], out: &mut Output) -> Result<()> {
    let rows: Vec<Vec<String>> = sessions.iter().map(row).collect();
    let shown = columns(&rows, out.columns());
    if shown == [ID] {
        return rows
            .iter()
            .filter_map(|row| row.first())
            .try_for_each(|id| Ok(writeln!(out, "{id}")?));
    }
    let place = |wanted: fn(&usize) -> bool| {
        let start = shown.iter().take_while(|column| !wanted(column)).count();
        start..start + shown.iter().filter(|column| wanted(column)).count()
    };
    let pick = |cells: &[String]| -> Vec<String> {
        shown.iter().filter_map(|column| cells.get(*column).cloned()).collect()
    };
    let header: Vec<&str> =
        shown.iter().filter_map(|column| HEADER.get(*column).copied()).collect();
    let (numbers, words) =
        (place(|column| NUMBERS.contains(column)), place(|column| WORDS.contains(column)));
    out.table(&header, numbers, words, rows.iter().map(|row| pick(row)))
}

/// Which columns are shown: of what no session has, and of what a terminal has no room for, none.
fn columns(rows: &[Vec<String>], terminal: Option<usize>) -> Vec<usize> {
    const GAP: usize = 2;
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let mut room = terminal.unwrap_or(usize::MAX);
    let mut shown = Vec::new();
    for column in BY_WORTH {
        let is_said = cells(column).any(|cell| cell != NONE);
        let widest = cells(column).map(|cell| text::columns(cell)).max().unwrap_or_default();
        let header = HEADER.get(column).map_or(0, |name| name.len());
        let whole = widest.max(header);
        let width =
            GAP + if WORDS.contains(&column) { whole.min(FLEXIBLE_COLUMNS_MIN) } else { whole };
        if column == ID || is_said && width <= room {
            room = room.saturating_sub(width);
            shown.push(column);
        }
    }
    shown.sort_unstable();
    shown
}

fn row(view: &SessionView) -> Vec<String> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| String::from(NONE));
    vec![
        text::one_line(&view.session_id),
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
    let query = SessionQuery::new(Access::Admin).limit(args.limit).page(args.page);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 7]) -> Vec<String> {
        cells.map(String::from).to_vec()
    }

    #[test]
    fn a_narrow_terminal_has_whole_ids_and_what_is_missed_most() {
        let id = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
        let updated = "2026-11-21 12:00:00Z";
        let nameless = [row([id, "-", "-", "agent", "3", "12", updated])];
        assert_eq!(columns(&nameless, None), [0, 3, 4, 5, 6]);
        assert_eq!(columns(&nameless, Some(80)), [0, 4, 5, 6]);
        assert_eq!(columns(&nameless, Some(60)), [0, 6]);
        assert_eq!(columns(&nameless, Some(40)), [0]);
        assert_eq!(columns(&nameless, Some(20)), [0]);
        let named = [row(["chat-1", "Lost parcel", "alice", "agent", "3", "12", updated])];
        assert_eq!(columns(&named, Some(80)), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(columns(&named, Some(40)), [0, 4, 6]);
    }
}
