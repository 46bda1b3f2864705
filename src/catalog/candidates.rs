//! The sessions that match, in order.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::query::{SessionQuery, SortBy, SortOrder};
use crate::codec::Frame;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::Digest;
use crate::index::Entry;
use crate::limits::UPDATED_INDEX_LAG_US;
use crate::log::{Log, Order, PageLimit, Range, key};
use crate::stream;

/// The matching sessions in order.
///
/// The index of updates may lag behind a session's last event, by less than a known time. So
/// what is found is held back in `ahead` until nothing further along the index can precede it.
pub(super) struct Candidates<'a> {
    log: &'a Arc<dyn Log>,
    query: &'a SessionQuery,
    published: u64,
    range: Option<Range>,
    found: std::vec::IntoIter<(i64, Digest)>,
    ahead: BTreeSet<(i64, Digest)>,
    seen: HashSet<Digest>,
    /// How far along the index the walk has come.
    reached: Option<i64>,
    /// Why the first session was passed over whose key could not be had.
    unread: Option<Error>,
}

impl<'a> Candidates<'a> {
    pub(super) fn new(log: &'a Arc<dyn Log>, query: &'a SessionQuery, published: u64) -> Self {
        let order = match query.order {
            SortOrder::Ascending => Order::Ascending,
            SortOrder::Descending => Order::Descending,
        };
        let (class, since, until) = match query.sort {
            SortBy::CreatedAt => {
                let since = query.since_us.unwrap_or(i64::MIN);
                (key::Class::Created, since, query.until_us.unwrap_or(i64::MAX))
            }
            SortBy::UpdatedAt => (key::Class::Updated, i64::MIN, i64::MAX),
        };
        let range = Some(key::times(class, query.scope(), since, until, order));
        let (found, ahead, seen) = (Vec::new().into_iter(), BTreeSet::new(), HashSet::new());
        Self { log, query, published, range, found, ahead, seen, reached: None, unread: None }
    }

    /// Why a session was passed over so far, if one was.
    pub(super) fn unread(self) -> Option<Error> {
        self.unread
    }

    pub(super) fn next(&mut self) -> Result<Option<Digest>> {
        loop {
            if let Some(session) = self.settled() {
                return Ok(Some(session));
            }
            let Some((indexed_at_us, session)) = self.next_indexed()? else {
                self.reached = None;
                return Ok(self.pop_ahead());
            };
            self.reached = Some(indexed_at_us);
            // A session that moves along the index while this walks is met twice.
            if !self.seen.insert(session) {
                continue;
            }
            if let Some(at_us) = self.sort_time(indexed_at_us, session)? {
                self.ahead.insert((at_us, session));
            }
        }
    }

    /// The first of those held back, if nothing further along the index can precede it.
    fn settled(&mut self) -> Option<Digest> {
        let reached = self.reached?;
        let is_settled = match (self.query.order, self.query.sort) {
            (_, SortBy::CreatedAt) => true,
            // All that follows was indexed at `reached` or before it.
            (SortOrder::Descending, SortBy::UpdatedAt) => self
                .ahead
                .last()
                .is_some_and(|(at_us, _)| *at_us >= reached.saturating_add(UPDATED_INDEX_LAG_US)),
            // All that follows was indexed at `reached` or after it, and updated no earlier.
            (SortOrder::Ascending, SortBy::UpdatedAt) => {
                self.ahead.first().is_some_and(|(at_us, _)| *at_us <= reached)
            }
        };
        if is_settled { self.pop_ahead() } else { None }
    }

    fn pop_ahead(&mut self) -> Option<Digest> {
        let next = match self.query.order {
            SortOrder::Ascending => self.ahead.pop_first(),
            SortOrder::Descending => self.ahead.pop_last(),
        };
        next.map(|(_, session)| session)
    }

    fn next_indexed(&mut self) -> Result<Option<(i64, Digest)>> {
        if let Some(next) = self.found.next() {
            return Ok(Some(next));
        }
        let Some(range) = self.range.take() else { return Ok(None) };
        let records = self.query.limit.clamp(16, PageLimit::default().records);
        let page = self.log.page(&range, PageLimit::records(records))?;
        self.range = page.last().map(|record| range.behind(&record.key));
        let found: Result<Vec<_>> =
            page.iter().map(|record| key::parse_time(&record.key)).collect();
        self.found = found?.into_iter();
        Ok(self.found.next())
    }

    /// The time the session sorts by, if it matches and is there for readers.
    fn sort_time(&mut self, indexed_at_us: i64, session: Digest) -> Result<Option<i64>> {
        let entry = match Entry::load(&**self.log, session) {
            // Without its key nobody knows what it is called. It is there all the same.
            Err(error) if matches!(error.kind(), ErrorKind::Key { .. }) => {
                self.unread.get_or_insert_with(|| error.context(format!("session {session}")));
                return Ok(None);
            }
            entry => entry.with_context(|| format!("session {session}"))?,
        };
        let Some(entry) = entry else { return Ok(None) };
        if !self.query.matches(&entry) {
            return Ok(None);
        }
        let head = stream::head_seq(&**self.log, session, self.published)?;
        if head == 0 {
            return Ok(None);
        }
        match self.query.sort {
            SortBy::CreatedAt => Ok(Some(indexed_at_us)),
            SortBy::UpdatedAt => {
                let frame = self.log.get(&key::frame(session, head))?.unwrap_or_default();
                // One that is damaged sorts by what the index says of it.
                let recorded_at_us = Frame::parse(&frame).map(|frame| frame.header.recorded_at_us);
                Ok(Some(recorded_at_us.unwrap_or(indexed_at_us)))
            }
        }
    }
}
