//! A page of sessions at the cost of a page.

use std::sync::Arc;

use super::candidates::Candidates;
use super::query::SessionQuery;
use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::event::SessionType;
use crate::id::Digest;
use crate::index::Entry;
use crate::log::{Log, key};
use crate::projection::SessionView;
use crate::{snapshot, stream};

/// A page of sessions.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions of this page, each as it is now.
    pub sessions: Vec<SessionView>,
    /// How many sessions there are on all pages together.
    pub total: u64,
}

/// Reads a page of sessions, and says why one was passed over whose key could not be had: whoever
/// acts on all of them must know that these were not all.
pub(crate) fn list(
    log: &Arc<dyn Log>,
    query: &SessionQuery,
    published: u64,
) -> Result<(SessionPage, Option<Error>)> {
    query.check()?;
    let skipped = (query.page - 1).saturating_mul(query.limit);
    let wanted = skipped.saturating_add(query.limit);
    let counted = if query.is_unfiltered() { Some(count(&**log, query)?) } else { None };
    let mut candidates = Candidates::new(log, query, published);
    let mut page = Vec::new();
    let mut matching = 0_u64;
    while let Some(session) = candidates.next()? {
        let place = usize::try_from(matching).unwrap_or(usize::MAX);
        if (skipped..wanted).contains(&place) {
            page.push(session);
        }
        matching += 1;
        // Without a count the walk goes on, to make one.
        if counted.is_some() && place + 1 >= wanted {
            break;
        }
    }
    let mut sessions = Vec::with_capacity(page.len());
    for session in page {
        sessions.extend(view(log, session, published)?);
    }
    let page = SessionPage { sessions, total: counted.unwrap_or(matching) };
    Ok((page, candidates.unread()))
}

/// The sessions of the first page, without their views.
#[cfg(feature = "search")]
pub(crate) fn newest(
    log: &Arc<dyn Log>,
    query: &SessionQuery,
    published: u64,
) -> Result<Vec<Digest>> {
    query.check()?;
    let mut candidates = Candidates::new(log, query, published);
    let mut found = Vec::new();
    while found.len() < query.limit
        && let Some(session) = candidates.next()?
    {
        found.push(session);
    }
    Ok(found)
}

/// The session as it is now; `None` where it was deleted meanwhile. One that is damaged is listed
/// by what the catalog says of it: reading it says what is wrong, and the others are not its
/// hostages.
fn view(log: &Arc<dyn Log>, session: Digest, published: u64) -> Result<Option<SessionView>> {
    let head = stream::head_seq(&**log, session, published)?;
    let Some(entry) = Entry::load(&**log, session)? else { return Ok(None) };
    match snapshot::view_at(log, &entry.lineage(session), head) {
        Ok(view) => Ok(Some(view)),
        Err(_) if Entry::load(&**log, session)?.is_none() => Ok(None),
        Err(error) if error.concerns_one_session() => Ok(Some(entry.to_view())),
        Err(error) => Err(error),
    }
}

/// The number of sessions in a scope, by type where one is asked for. Memories are no session.
fn count(log: &dyn Log, query: &SessionQuery) -> Result<u64> {
    let all = [SessionType::Agent, SessionType::Team, SessionType::Workflow];
    let mut total = 0;
    for session_type in all {
        if query.session_type.is_none_or(|wanted| wanted == session_type) {
            let bytes = log.get(&key::count(query.scope(), session_type as u8))?;
            total += bytes.map_or(Ok(0), |bytes| Reader::new(&bytes).u64())?;
        }
    }
    Ok(total)
}
