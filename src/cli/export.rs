//! Sessions as transcripts, one document a line.

use std::io::Write;

use sessionlog::transcript::{self, Format};
use sessionlog::{Access, Engine, Session, SessionQuery, SortBy, SortOrder, limits};

use super::args::{ExportArgs, Global};
use super::database;
use super::failure::{Failure, Outcome, Result};
use super::output::Output;

pub(super) fn run(global: &Global, args: &ExportArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    if args.all {
        let sessions = write_all(&engine, args.format, out);
        // A dump of everything has what is remembered too, also where a session cannot be written.
        if args.format == Format::Jsonl && !matches!(sessions, Err(Failure::Output(_))) {
            write_memories(&engine, &engine.memory_users(&Access::Admin)?, out)?;
        }
        sessions?;
    }
    for session_id in &args.sessions {
        write_session(&database::session(&engine, session_id)?, args.format, out)?;
    }
    // What is not there any more was not written.
    Ok(if engine.missing_events()? == 0 { Outcome::Fine } else { Outcome::Troubled })
}

/// Every session, the oldest first, a page at a time.
fn write_all(engine: &Engine, format: Format, out: &mut Output) -> Result<()> {
    let query = SessionQuery::new(Access::Admin)
        .sort(SortBy::CreatedAt, SortOrder::Ascending)
        .limit(limits::LIST_PAGE_MAX);
    let (mut failed, mut listed) = (None, 0);
    for number in 1.. {
        let page = engine.sessions(&query.clone().page(number))?;
        if page.sessions.is_empty() {
            // A list passes over what it cannot read.
            failed = failed.or_else(|| database::passed_over(page.total, listed));
            break;
        }
        listed += page.sessions.len();
        for view in &page.sessions {
            match write_session(&database::session(engine, &view.session_id)?, format, out) {
                // One that cannot be written keeps no other from it.
                Err(error @ (Failure::Engine(_) | Failure::Unknown(..) | Failure::At(..))) => {
                    failed.get_or_insert(error);
                }
                other => other?,
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// What is remembered of users, as a dump.
pub(super) fn write_memories(engine: &Engine, users: &[String], out: &mut Output) -> Result<()> {
    for user in users {
        for line in transcript::export_memories(&engine.memories(user)?)? {
            writeln!(out, "{}", line.as_str().replace(['\n', '\r'], " "))?;
        }
    }
    Ok(())
}

fn write_session(session: &Session, format: Format, out: &mut Output) -> Result<()> {
    for document in transcript::export(session, format)? {
        // JSON that was kept as it came may be laid out over lines; a line break inside a
        // string is always escaped, so every one that is here is white space.
        writeln!(out, "{}", document.as_str().replace(['\n', '\r'], " "))?;
    }
    Ok(())
}
