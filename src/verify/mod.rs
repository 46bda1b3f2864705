//! Checks everything that is stored against everything else that is stored.
//!
//! What it cannot show: a log that was rewritten whole, by someone who could write all of it.
//! A link that was kept elsewhere shows that too.

mod derived;
mod head;
mod indexes;
mod kept;
mod log;
mod media;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

pub use self::head::{HeadFound, LogHead};
pub(crate) use self::head::{Kept, link_at, of_log};

use crate::error::{Error, Result};
use crate::id::Digest;
use crate::index::Entry;
use crate::log::Log;
use crate::media::MediaStore;
use crate::stream;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// How many sessions were checked.
    pub sessions: u64,
    /// How many events were checked.
    pub events: u64,
    /// What is wrong, in the order it was found.
    pub problems: Vec<Problem>,
    /// Where the link stands that was asked for. It says that nothing up to there was changed
    /// only where `ok` says that the chain holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<HeadFound>,
    /// The link of the last event of each session that was named, to be kept. Only where nothing
    /// is wrong.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub heads: BTreeMap<String, String>,
    /// The end of the log's chain, to be kept, where the whole log was checked. Only where
    /// nothing is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_head: Option<LogHead>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// The session, as far as it is known; its digest where the name is lost.
    pub session_id: Option<String>,
    /// The event, as far as it is known.
    pub seq: Option<u64>,
    /// What does not hold.
    pub problem: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(session_id) = &self.session_id {
            write!(f, "session {session_id}: ")?;
        }
        if let Some(seq) = self.seq {
            write!(f, "seq {seq}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// What is to be checked.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    /// A log that hands out of a session whose key cannot be had frames that are damaged, and
    /// nothing else.
    pub(crate) log: &'a Arc<dyn Log>,
    pub(crate) media: &'a MediaStore,
    pub(crate) published: u64,
    /// Such sessions as were met so far, and why.
    pub(crate) lost: &'a dyn Fn() -> Lost,
}

/// Sessions whose keys cannot be had, and why. Nothing more can be said of what they hold.
type Lost = BTreeMap<Digest, Error>;

/// Is told how many events were checked so far.
pub type Progress<'a> = dyn FnMut(u64) + 'a;

impl Report {
    fn add(&mut self, session_id: Option<String>, seq: Option<u64>, problem: impl Into<String>) {
        self.problems.push(Problem { session_id, seq, problem: problem.into() });
    }

    fn add_lost(&mut self, lost: &Lost) {
        for (session, error) in lost {
            self.add(Some(session.to_string()), None, error.kind().to_string());
        }
    }

    fn finish(mut self) -> Self {
        self.ok = self.problems.is_empty();
        self
    }
}

/// Checks the whole log, the memories of users too.
///
/// `mark` is the position that the log is known to have reached, where that is not what readers
/// see, and `kept` a link that must be one of a group.
pub(crate) fn all(
    stored: &Stored<'_>,
    mark: Option<u64>,
    kept: Option<Kept>,
    progress: &mut Progress<'_>,
) -> Result<Report> {
    let Stored { log, media, published, lost } = *stored;
    let mut report = Report::default();
    if let Some(mark) = mark.filter(|mark| *mark > published) {
        let problem = format!("{mark} events were acknowledged and {published} are left");
        report.add(None, None, problem);
    }
    let ends = log::check(log, published, &mut report, progress)?;
    let entries = indexes::check(stored, &ends, &mut report)?;
    // Every frame and every entry was asked for by now.
    let lost = lost();
    report.add_lost(&lost);
    for (session, own) in &ends {
        if lost.contains_key(session) {
            continue;
        }
        let entry = entries.get(session);
        report.sessions += u64::from(entry.is_some_and(|entry| !entry.is_memories()));
        session::check(log, media, *session, *own, entry, &lost, &mut report)?;
    }
    media::check(log, media, &|session| !lost.contains_key(&session), &mut report)?;
    if let Some(kept) = kept {
        head::find_group(log, kept, published, &mut report)?;
    }
    if report.problems.is_empty() {
        report.log_head = of_log(&**log, published)?;
    }
    Ok(report.finish())
}

/// Checks some sessions, and those that hold a part of their events. A link that is `kept` must
/// be one of an event of each.
pub(crate) fn sessions(
    stored: &Stored<'_>,
    session_ids: &[String],
    kept: Option<Kept>,
) -> Result<Report> {
    let Stored { log, media, published, lost } = *stored;
    let mut report = Report::default();
    let mut checked = BTreeSet::new();
    for session_id in session_ids {
        let session = Digest::of_session(session_id);
        let entry = Entry::load(&**log, session)?;
        if entry.is_none() && stream::head_seq(&**log, session, published)? == 0 {
            return Err(Error::not_found("session").context(format!("session {session_id}")));
        }
        let ancestors = entry.iter().flat_map(|entry| &entry.ancestors);
        let ancestors: Vec<_> = ancestors.map(|ancestor| ancestor.stream).collect();
        for session in ancestors.into_iter().chain([session]) {
            if checked.insert(session) {
                one(stored, session, &mut report)?;
            }
        }
        if let Some(kept) = kept {
            head::find_event(log, session_id, kept, published, &mut report)?;
        }
    }
    let lost = lost();
    report.add_lost(&lost);
    let is_meant = |session| checked.contains(&session) && !lost.contains_key(&session);
    media::check(log, media, &is_meant, &mut report)?;
    if report.problems.is_empty() {
        for session_id in session_ids {
            let link = head::of_session(&**log, session_id, published)?;
            report.heads.insert(session_id.clone(), link);
        }
    }
    Ok(report.finish())
}

fn one(stored: &Stored<'_>, session: Digest, report: &mut Report) -> Result<()> {
    let Stored { log, media, published, lost } = *stored;
    let last_seq = stream::head_seq(&**log, session, published)?;
    let entry = Entry::load(&**log, session)?;
    let lost = lost();
    if lost.contains_key(&session) {
        return Ok(());
    }
    let shared = entry.as_ref().map_or(0, |entry| entry.lineage(session).shared_seq());
    report.sessions += 1;
    report.events += last_seq.saturating_sub(shared);
    let first_seq = stream::first_seq(&**log, session)?.unwrap_or(shared + 1).min(shared + 1);
    session::check(log, media, session, (first_seq, last_seq), entry.as_ref(), &lost, report)
}
