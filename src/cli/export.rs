//! Sessions as transcripts, one document a line.

use std::io::Write;

use sessionlog::transcript::{self, Format};
use sessionlog::{Access, Engine, Session, SessionQuery, SortBy, SortOrder, limits};

use super::args::{ExportArgs, Global};
use super::database;
use super::failure::{Outcome, Result};
use super::output::Output;

pub(super) fn run(global: &Global, args: &ExportArgs, out: &mut Output) -> Result<Outcome> {
    let engine = global.open()?;
    if args.all {
        write_all(&engine, args.format, out)?;
    }
    for session_id in &args.sessions {
        write_session(&database::session(&engine, session_id)?, args.format, out)?;
    }
    Ok(Outcome::Fine)
}

/// Every session, the oldest first, a page at a time.
fn write_all(engine: &Engine, format: Format, out: &mut Output) -> Result<()> {
    let query = SessionQuery::new(Access::Admin)
        .sort(SortBy::CreatedAt, SortOrder::Ascending)
        .limit(limits::LIST_PAGE_MAX);
    for number in 1.. {
        let page = engine.sessions(&query.clone().page(number))?;
        if page.sessions.is_empty() {
            break;
        }
        for view in &page.sessions {
            write_session(&database::session(engine, &view.session_id)?, format, out)?;
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
