//! Full text search: an index that follows the log, and hits that the log confirms.
//!
//! The index only proposes. It may be behind, or say what is no longer so; every hit is read from
//! the log and checked there, so what it says wrongly is not seen.

mod candidates;
mod check;
mod feed;
mod hit;
mod index;
mod query;
mod schema;
mod snippet;
mod store;
mod wanted;
mod words;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

pub use self::feed::SearchProgress;
pub use self::hit::{SearchHit, SearchKind, SearchPage};
pub(crate) use self::index::SearchIndex;
pub use self::query::SearchQuery;
pub(crate) use self::words::fold_text;

use self::candidates::Candidates;
use self::check::Checker;
use self::wanted::Wanted;
use crate::access::Access;
use crate::catalog::{self, SessionQuery};
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::index::Entry;
use crate::log::{Log, Order, PageLimit, key};
use crate::stream;

/// Candidates that are asked for at first, beyond the hits that are wanted.
const CANDIDATES_MORE: usize = 32;
/// How many times as many, where that was not enough.
const CANDIDATES_GROWTH: usize = 4;

/// Searches what the log has up to a position.
pub(crate) fn search(
    log: &Arc<dyn Log>,
    index: &SearchIndex,
    request: &SearchQuery,
    published: u64,
) -> Result<SearchPage> {
    request.check()?;
    let wanted = Wanted::parse(&request.words)?;
    let sessions = sessions(log, request, published)?;
    let streams = sessions.as_ref().map(|sessions| streams(log, sessions)).transpose()?;
    let searching = index.searching(log, published)?;
    let without = unshared(log, &request.without)?;
    let candidates = Candidates::new(&searching, request, &wanted, streams.as_deref(), &without)?;
    let mut checker = Checker::new(log, published, request, &wanted, sessions);
    let mut page = SearchPage { hits: Vec::new(), has_more: false };
    let mut looked_at = 0;
    let mut count = request.limit.saturating_add(CANDIDATES_MORE);
    loop {
        let found = candidates.best(count)?;
        let is_all = found.len() < count;
        for candidate in found.into_iter().skip(looked_at) {
            looked_at += 1;
            let Some(hit) = checker.check(candidate)? else { continue };
            if page.hits.len() == request.limit {
                page.has_more = true;
                return Ok(page);
            }
            page.hits.push(hit);
        }
        if is_all {
            return Ok(page);
        }
        count = count.saturating_mul(CANDIDATES_GROWTH);
    }
}

/// The sessions that are searched; `None` for all that are reached.
fn sessions(
    log: &Arc<dyn Log>,
    request: &SearchQuery,
    published: u64,
) -> Result<Option<HashSet<Digest>>> {
    let access = request.reach();
    let named = request.session_ids.as_ref();
    let named = named.map(|ids| named_sessions(log, ids, &access, published)).transpose()?;
    let Some(last) = request.num_history_sessions else { return Ok(named) };
    let query = SessionQuery::new(access).limit(last);
    let recent = catalog::newest(log, &query, published)?;
    Ok(Some(match named {
        Some(named) => {
            recent.into_iter().filter(|session| HashSet::contains(&named, session)).collect()
        }
        None => recent.into_iter().collect(),
    }))
}

/// Sessions by their ids. One that is another's is as if it were not there.
fn named_sessions(
    log: &Arc<dyn Log>,
    ids: &[String],
    access: &Access,
    published: u64,
) -> Result<HashSet<Digest>> {
    let is_reached = |session| match stream::entry(&**log, session, published) {
        // Whose it is cannot be read either.
        Err(error) if error.is_corrupt() && *access != Access::Admin => Ok(false),
        Err(error) => Err(error),
        Ok(found) => Ok(found.is_some_and(|(entry, _)| access.reaches(entry.user_id.as_deref()))),
    };
    let mut named = HashSet::new();
    for id in ids {
        let session = Digest::of_session(id);
        let place = || format!("session {id}");
        if !is_reached(session).with_context(place)? {
            return Err(Error::not_found("session").context(place()));
        }
        named.insert(session);
    }
    Ok(named)
}

/// The streams that hold the events of sessions.
fn streams(log: &Arc<dyn Log>, sessions: &HashSet<Digest>) -> Result<Vec<Digest>> {
    let mut streams = BTreeSet::new();
    for session in sessions {
        streams.insert(*session);
        if let Some(entry) = Entry::load(&**log, *session)? {
            streams.extend(entry.lineage(*session).streams());
        }
    }
    Ok(streams.into_iter().collect())
}

/// Of sessions those whose own streams no other shares: what lies there is said nowhere else.
fn unshared(log: &Arc<dyn Log>, ids: &[String]) -> Result<Vec<Digest>> {
    let mut streams = Vec::with_capacity(ids.len());
    for stream in ids.iter().map(|id| Digest::of_session(id)) {
        let sharers = key::within(key::Class::Sharer, stream, Order::Ascending);
        if log.page(&sharers, PageLimit::records(1))?.is_empty() {
            streams.push(stream);
        }
    }
    Ok(streams)
}

/// Where the words of a query stand in a text.
#[cfg(feature = "testing")]
pub(crate) fn find_words(query: &str, text: &str) -> Result<Option<Vec<std::ops::Range<usize>>>> {
    Ok(Wanted::parse(query)?.find(text))
}
