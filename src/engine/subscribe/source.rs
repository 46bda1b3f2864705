//! Where a subscription reads from: one session by seq, or the whole log by position.

use std::collections::hash_map::Entry as MapEntry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::LoggedEvent;
use crate::access::Access;
use crate::codec::Link;
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::id::Digest;
use crate::index::Entry;
use crate::limits::PAGE_RECORDS_MAX;
use crate::log::Log;
use crate::stream::{self, Events};

/// Where a subscription reads from.
pub(super) enum Source {
    Log {
        access: Access,
    },
    Session {
        key: Digest,
        id: Arc<str>,
        access: Access,
        /// The link of the last event that was read, which the next one must follow from.
        link: Option<Link>,
    },
}

/// A page of events, and where the next one begins.
type Page = (VecDeque<LoggedEvent>, u64);

impl Source {
    pub(super) fn log(access: Access) -> Self {
        Self::Log { access }
    }

    pub(super) fn session(key: Digest, id: &str, access: Access) -> Self {
        Self::Session { key, id: id.into(), access, link: None }
    }

    /// The seq of an event, or its position.
    pub(super) fn place_of(&self, event: &Event) -> u64 {
        match self {
            Self::Log { .. } => event.position,
            Self::Session { .. } => event.seq,
        }
    }

    /// Whether all that lies between two places is for this subscriber. Of what is not, it must not
    /// even learn how much there is.
    pub(super) fn is_all_within_reach(&self) -> bool {
        matches!(self, Self::Session { .. } | Self::Log { access: Access::Admin })
    }

    /// Lets go of what ties the next event to the last one.
    pub(super) fn forget(&mut self) {
        if let Self::Session { link, .. } = self {
            *link = None;
        }
    }

    /// The last seq or position that readers may see.
    pub(super) fn head(&self, log: &dyn Log, published: u64) -> Result<u64> {
        match self {
            Self::Log { .. } => Ok(published),
            Self::Session { key, .. } => stream::head_seq(log, *key, published),
        }
    }

    /// Reads a page from a place on, and no further than another. What cannot be read is an error
    /// where a page begins with it, and ends a page otherwise.
    pub(super) fn read(&mut self, log: &Arc<dyn Log>, next: u64, last: u64) -> Result<Page> {
        match self {
            Self::Log { access } => read_log(&**log, access, next, last),
            Self::Session { key, id, access, link } => {
                let place = format!("session {id}");
                let entry =
                    Entry::load(&**log, *key)?.ok_or_else(|| Error::not_found("session"))?;
                access.check(entry.user_id.as_deref()).with_context(|| place.as_str())?;
                let lineage = entry.lineage(*key);
                // What a deleted session of the same id said is nobody's business.
                let is_before = next < lineage.first_seq();
                let next = next.max(lineage.first_seq());
                let last = last.min(next.saturating_add(PAGE_RECORDS_MAX as u64 - 1));
                let mut events = match link.filter(|_| !is_before) {
                    Some(link) => Events::after(log, &lineage, next - 1, link, last),
                    None => Events::new(log, &lineage, next, last),
                };
                let (mut page, mut after) = (VecDeque::new(), next);
                for event in events.by_ref() {
                    let event = match event.with_context(|| place.as_str()) {
                        // What comes before it is given first; the next page begins with it.
                        Err(_) if !page.is_empty() => break,
                        other => other?,
                    };
                    after = event.seq.saturating_add(1);
                    page.push_back(LoggedEvent { session_id: Arc::clone(id), event });
                }
                *link = Some(events.link());
                Ok((page, after))
            }
        }
    }
}

/// A page of the whole log, without the sessions that the access does not reach.
///
/// Of a session that was deleted only its digest is left, and nobody's but the admin's to see:
/// whoever keeps something of it elsewhere learns there that it is gone.
fn read_log(log: &dyn Log, access: &Access, next: u64, last: u64) -> Result<Page> {
    let mut names: HashMap<Digest, Option<(Arc<str>, u64)>> = HashMap::new();
    let mut page = VecDeque::new();
    let events = stream::page_at(log, next, last)?;
    let after = events.back().map_or(last, |(_, event)| event.position).saturating_add(1);
    for (session, event) in events {
        let name = match names.entry(session) {
            MapEntry::Occupied(known) => known.get().clone(),
            MapEntry::Vacant(unknown) => match name_of(log, access, session) {
                Err(_) if !page.is_empty() => return Ok((page, event.position)),
                name => unknown.insert(name?).clone(),
            },
        };
        let session_id = match name {
            Some((name, first_seq)) if first_seq <= event.seq => Some(name),
            // Another user's.
            Some((_, u64::MAX)) => None,
            _ => (*access == Access::Admin).then(|| Arc::from(session.to_string())),
        };
        page.extend(session_id.map(|session_id| LoggedEvent { session_id, event }));
    }
    Ok((page, after))
}

/// A session's id and where it begins: nowhere, if the access does not reach it; `None` if there
/// is none.
fn name_of(log: &dyn Log, access: &Access, session: Digest) -> Result<Option<(Arc<str>, u64)>> {
    let Some(entry) = Entry::load(log, session)? else { return Ok(None) };
    // Memories are no session, and their user's id is no session's.
    let is_within_reach = access.reaches(entry.user_id.as_deref()) && !entry.is_memories();
    let first_seq = if is_within_reach { entry.first_seq } else { u64::MAX };
    Ok(Some((Arc::from(entry.session_id), first_seq)))
}
