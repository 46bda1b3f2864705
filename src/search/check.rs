//! Every candidate against the log: only what is there, counts and may be read is a hit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::candidates::Candidate;
use super::hit::{Said, SearchHit, SearchKind, Speaker};
use super::query::SearchQuery;
use super::snippet::snippet;
use super::wanted::Wanted;
use crate::access::Access;
use crate::codec::{self, Frame};
use crate::error::Result;
use crate::event::Event;
use crate::id::Digest;
use crate::index::{Entry, Lineage, RunRecord, Stretch, Timeline};
use crate::log::{Log, Order, Scan, key};
use crate::{snapshot, stream};

/// Checks the candidates of one search.
pub(super) struct Checker<'a> {
    log: &'a Arc<dyn Log>,
    published: u64,
    request: &'a SearchQuery,
    access: Access,
    wanted: &'a Wanted,
    /// Which sessions are searched; `None` for all.
    sessions: Option<HashSet<Digest>>,
    without: HashSet<Digest>,
    seen: HashMap<Digest, Option<Subject>>,
    /// Sessions whose name is among the hits: one that was given twice is one name.
    named: HashSet<Digest>,
}

/// A session that the caller reaches.
struct Subject {
    entry: Entry,
    lineage: Lineage,
    head: u64,
    /// What counts, where the session ever went back.
    stretches: Option<Vec<Stretch>>,
    /// The seq of the summary that holds, once it was looked up; 0 where there is none.
    summary_seq: Option<u64>,
}

impl Subject {
    fn counts(&self, stream: Digest, seq: u64) -> bool {
        let is_in = (self.lineage.first_seq()..=self.head).contains(&seq);
        let counts = self.stretches.as_ref().is_none_or(|stretches| {
            stretches.iter().any(|stretch| (stretch.first..=stretch.last).contains(&seq))
        });
        is_in && counts && self.lineage.holder(seq) == stream
    }
}

impl<'a> Checker<'a> {
    pub(super) fn new(
        log: &'a Arc<dyn Log>,
        published: u64,
        request: &'a SearchQuery,
        wanted: &'a Wanted,
        sessions: Option<HashSet<Digest>>,
    ) -> Self {
        let (seen, named) = (HashMap::new(), HashSet::new());
        let access = request.reach();
        let without = request.without.iter().map(|id| Digest::of_session(id)).collect();
        Self { log, published, request, access, wanted, sessions, without, seen, named }
    }

    /// The hit that a candidate is, if it is one. What cannot be read is none.
    pub(super) fn check(&mut self, candidate: Candidate) -> Result<Option<SearchHit>> {
        match self.try_check(candidate) {
            Err(error) if error.is_corrupt() => Ok(None),
            checked => checked,
        }
    }

    fn try_check(&mut self, candidate: Candidate) -> Result<Option<SearchHit>> {
        let Candidate { stream, seq, score } = candidate;
        let Some(bytes) = self.log.get(&key::frame(stream, seq))? else { return Ok(None) };
        let frame = Frame::open(&bytes, stream, seq)?;
        if frame.position > self.published {
            return Ok(None);
        }
        let event = codec::decode(&frame)?;
        let Some(said) = Said::of(&event).filter(|said| self.is_asked_for(&event, said)) else {
            return Ok(None);
        };
        let Some(found) = self.wanted.find(&said.text) else { return Ok(None) };
        let Some(session) = self.session_of(stream, &event, &said)? else { return Ok(None) };
        if said.kind == SearchKind::Name {
            self.named.insert(session);
        }
        let Some(Some(subject)) = self.seen.get(&session) else { return Ok(None) };
        let run = if event.run.is_none() {
            None
        } else {
            RunRecord::load_any(&**self.log, &subject.lineage, event.run, subject.head)?
        };
        let (snippet, matches) = snippet(&said.text, &found);
        Ok(Some(SearchHit {
            session_id: subject.entry.session_id.clone(),
            seq,
            run_id: run.map(|run| run.run_id),
            kind: said.kind,
            role: said.role.map(Speaker::as_str),
            recorded_at_us: event.recorded_at_us,
            score,
            snippet,
            matches,
        }))
    }

    fn is_asked_for(&self, event: &Event, said: &Said) -> bool {
        let request = self.request;
        let at_us = event.recorded_at_us;
        let is_role = |role| said.role.is_some() && said.role == Speaker::of(role);
        (request.kinds.is_empty() || request.kinds.contains(&said.kind))
            && (request.roles.is_empty() || request.roles.iter().any(is_role))
            && request.since_us.is_none_or(|since| at_us >= since)
            && request.until_us.is_none_or(|until| at_us <= until)
    }

    /// The session that an event is told of: the one in which it was said, or else one that
    /// shares it.
    fn session_of(&mut self, stream: Digest, event: &Event, said: &Said) -> Result<Option<Digest>> {
        if self.is_of(stream, stream, event, said)? {
            return Ok(Some(stream));
        }
        let (log, class) = (Arc::clone(self.log), key::Class::Sharer);
        let sharers = key::seqs(class, stream, event.seq, u64::MAX, Order::Ascending);
        // The range ends before sharers at its last seq, which is none.
        for record in Scan::new(&*log, sharers) {
            let (_, sharer) = key::parse_fork(&record?.key)?;
            if self.is_of(sharer, stream, event, said)? {
                return Ok(Some(sharer));
            }
        }
        Ok(None)
    }

    /// Whether an event is a hit of a session.
    fn is_of(
        &mut self,
        session: Digest,
        stream: Digest,
        event: &Event,
        said: &Said,
    ) -> Result<bool> {
        if self.sessions.as_ref().is_some_and(|sessions| !sessions.contains(&session)) {
            return Ok(false);
        }
        if self.without.contains(&session) {
            return Ok(false);
        }
        if !self.seen.contains_key(&session) {
            let subject = match self.subject(session) {
                Err(error) if error.is_corrupt() => None,
                subject => subject?,
            };
            self.seen.insert(session, subject);
        }
        let is_named = self.named.contains(&session);
        let log = self.log;
        let Some(Some(subject)) = self.seen.get_mut(&session) else { return Ok(false) };
        if !subject.counts(stream, event.seq) {
            return Ok(false);
        }
        match said.kind {
            SearchKind::Message => Ok(true),
            SearchKind::Name => {
                Ok(!is_named && subject.entry.name.as_deref() == Some(said.text.as_str()))
            }
            SearchKind::Summary => summary_seq(log, subject).map(|seq| seq == event.seq),
        }
    }

    fn subject(&self, session: Digest) -> Result<Option<Subject>> {
        let found = stream::entry(&**self.log, session, self.published)?;
        let reached = found.filter(|(entry, _)| self.access.reaches(entry.user_id.as_deref()));
        let Some((entry, head)) = reached else { return Ok(None) };
        let lineage = entry.lineage(session);
        let stretches = if lineage.has_rewinds() {
            Some(Timeline::at(&**self.log, &lineage, head).into_stretches()?)
        } else {
            None
        };
        Ok(Some(Subject { entry, lineage, head, stretches, summary_seq: None }))
    }
}

/// The seq of the summary that holds; 0 where there is none.
fn summary_seq(log: &Arc<dyn Log>, subject: &mut Subject) -> Result<u64> {
    if let Some(seq) = subject.summary_seq {
        return Ok(seq);
    }
    let view = snapshot::view_at(log, &subject.lineage, subject.head)?;
    let seq = view.summary().map_or(0, |summary| summary.seq);
    subject.summary_seq = Some(seq);
    Ok(seq)
}
