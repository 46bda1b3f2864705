//! Erasure: what goes for good, with all that was derived from it, and the receipt that says so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Inner;
use super::job::{Job, Part};
use super::session::Session;
use crate::access::Access;
use crate::blob::BlobName;
use crate::commit::{Expected, NameLeft, Replacement, SaltedBody};
use crate::compact::{frame_of, read_blobs};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Erased, ErasureTarget, EventBody, NewEvent};
use crate::id::{Digest, StreamName};
use crate::limits::{CONFLICT_TRIES_MAX, REPLACED_EVENTS_MAX};
use crate::log::{Order, Scan, key};
use crate::policy::{Trace, without_content};
use crate::stream::Events;

/// What is not there where all of it is erased already.
pub(super) const NOTHING_LEFT: &str = "content, for it is erased already";

/// What an erasure or a deletion did to one session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct ErasureReceipt {
    /// The session; empty where it is about a user's memories. Of one that was deleted before, and
    /// whose id no event says any more, the digest.
    pub session_id: String,
    /// The seq of the event that records it.
    pub seq: u64,
    /// The link of that event: whoever keeps it can prove later that it was recorded.
    pub link: String,
    /// How many events lost their content.
    pub events: u64,
    /// The seqs among them of what was only derived: summaries, generated names, copies.
    pub derived: Vec<u64>,
    /// The blobs that went, because nothing refers to them any more.
    pub blobs: Vec<String>,
    /// Whether the session's key was destroyed, so that no old copy can be read either.
    pub key_destroyed: bool,
    /// What was done to sessions that share what was erased.
    pub forks: Vec<ErasureReceipt>,
    /// What was done to memories that came from what was erased.
    pub memories: Vec<ErasureReceipt>,
    /// The user, where it is about a user's memories: then there is no session id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memories_of: Option<String>,
}

impl ErasureReceipt {
    /// About nothing yet, of that stream.
    pub(super) fn of(stream: StreamName<'_>) -> Self {
        let mut receipt = Self::default();
        match stream {
            StreamName::Session(session_id) => session_id.clone_into(&mut receipt.session_id),
            StreamName::Memories(user_id) => receipt.memories_of = Some(user_id.to_owned()),
        }
        receipt
    }

    /// What was done in one go and then in another.
    pub(super) fn and(mut self, later: Self) -> Self {
        self.events += later.events;
        self.derived.extend(later.derived);
        self.derived.sort_unstable();
        self.blobs.extend(later.blobs);
        self.forks.extend(later.forks);
        self.memories.extend(later.memories);
        self.key_destroyed |= later.key_destroyed;
        Self { seq: later.seq, link: later.link, ..self }
    }
}

impl ErasureReceipt {
    /// The same of what may not have been done.
    pub(super) fn both(first: Option<Self>, later: Option<Self>) -> Option<Self> {
        match (first, later) {
            (Some(first), Some(later)) => Some(first.and(later)),
            (first, later) => first.or(later),
        }
    }
}

/// What was traced, and what every piece of it asks for. An erasure goes in many pieces, so none
/// of them may read the whole session.
struct Found<'a> {
    trace: &'a Trace,
    /// What is erased of the stream, in order.
    seqs: Vec<u64>,
    /// The name that the session has without it, where that is another.
    name_left: Option<NameLeft>,
}

impl Session {
    /// Erases one message for good: what it said, its copies in later runs, the summaries that
    /// cover it, generated names, what its run and its import say besides, and the memories that
    /// came from it, whosever they are. `authority` says on whose word or under which rule; it
    /// stands in the receipt, for good and not sealed.
    ///
    /// What stays is that there was a message of that role, and what was spent on it. Where the
    /// message lies in a part that was shared by a fork, it is erased for all that share it: by
    /// whom the session belongs to that holds it, or belonged to before it was deleted.
    ///
    /// Copies are found by what the message says. Where a policy took its words before, they are
    /// not: erase the first of the copies, and the later ones go with it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where no message is at that seq or it is erased already,
    /// [`ErrorKind::Forbidden`] where it lies in a session of somebody else's.
    pub fn erase_message(&self, seq: u64, authority: Option<&str>) -> Result<ErasureReceipt> {
        self.erase(ErasureTarget::Message { seq }, authority)
    }

    /// Erases a run for good: its messages, tools, input and reasons, and what was derived from
    /// them, memories too. That there was a run of that id stays, and what it spent.
    ///
    /// Runs that it started, as of a team's members, are runs of their own and stay, with what was
    /// delegated to them: their [`RunStarted::parent_run_id`](crate::RunStarted::parent_run_id)
    /// names it. Erase them too where they say what is to go.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such run, or all of it is erased already.
    pub fn erase_run(&self, run_id: &str, authority: Option<&str>) -> Result<ErasureReceipt> {
        let run = Digest::of_run(run_id).to_bytes();
        self.erase(ErasureTarget::Run { run }, authority)
    }

    /// What an erasure would take, without erasing it: the seqs, what is derived included.
    pub fn plan_erasure(&self, target: ErasureTarget) -> Result<Vec<u64>> {
        let plan = || {
            let job = self.inner().job(self.holder(target)?, target, self.access(), None)?;
            let found = self.inner().trace(&job, None)?;
            Ok(found.own_seqs().collect())
        };
        plan().with_context(|| self.place())
    }

    pub(super) fn erase(
        &self,
        target: ErasureTarget,
        authority: Option<&str>,
    ) -> Result<ErasureReceipt> {
        self.seq()?;
        let erase = || {
            let held = self.holder(target)?;
            let erased = self.inner().erase(held, target, self.access(), authority)?;
            erased.ok_or_else(|| Error::not_found(NOTHING_LEFT))
        };
        self.inner().erasing(self.key(), erase).with_context(|| self.place())
    }

    /// Where what is to be erased is held.
    fn holder(&self, target: ErasureTarget) -> Result<Part> {
        let (lineage, head) = self.head()?;
        let seq = match target {
            ErasureTarget::Message { seq } if (1..=head).contains(&seq) => seq,
            ErasureTarget::Run { run } => {
                let record = crate::index::RunRecord::load_any(
                    &**self.inner().log(),
                    &lineage,
                    Digest::from_bytes(run),
                    head,
                )?;
                record.ok_or_else(|| Error::not_found("run"))?.first_seq
            }
            ErasureTarget::Message { seq } => {
                return Err(Error::not_found("message").context(format!("seq {seq}")));
            }
            _ => return Err(Error::not_found("message")),
        };
        Ok(Part::with(lineage.holder(seq), seq))
    }
}

impl Inner {
    /// Erases from the stream that holds it, and from those that share it; `None` where that was
    /// done before.
    ///
    /// What was derived is found by what the erased said, so it goes first, the last of it before
    /// the first: where this breaks off, doing it again finds the rest. Forks are told at the end,
    /// once nothing of it can be folded into a view of theirs any more.
    pub(super) fn erase(
        &self,
        part: Part,
        target: ErasureTarget,
        access: &Access,
        authority: Option<&str>,
    ) -> Result<Option<ErasureReceipt>> {
        let job = self.job(part, target, access, authority)?;
        let session = job.session;
        let trace = self.trace(&job, None)?;
        let first = trace.first_seq().unwrap_or(u64::MAX);
        let sharers = self.traced(&job, trace, first)?;
        let (mut forks, mut memories) = (BTreeMap::new(), Vec::new());
        for (sharer, origin) in sharers.iter().rev() {
            let derived = ErasureTarget::Derived { session: session.to_bytes(), seq: first };
            // A fork that was given away is cleaned all the same.
            let by = (&Access::Admin, authority);
            let erased = self.erase_here(*sharer, derived, by, origin, &mut memories)?;
            forks.extend(erased.map(|receipt| (*sharer, receipt)));
        }
        let (by, origin) = ((access, authority), Trace::new(target));
        let erased = self.erase_here(part, target, by, &origin, &mut memories)?;
        let mut is_done = erased.is_none() && forks.is_empty() && memories.is_empty();
        let earlier = self.find_receipt(session, target)?;
        // Nothing of it was ever here.
        if is_done && earlier.is_none() {
            return Ok(None);
        }
        let mut receipt = match erased {
            Some(receipt) => receipt,
            // What was here a policy took before, but not what came of it.
            None if earlier.is_none() => self.tell(part, target, authority, &origin)?,
            None => self.earlier_receipt(&job)?,
        };
        receipt.memories = memories;
        for (sharer, origin) in &sharers {
            let derived = ErasureTarget::Derived { session: session.to_bytes(), seq: receipt.seq };
            if self.find_receipt(sharer.stream, derived)?.is_some() {
                continue;
            }
            is_done = false;
            let told = self.tell(*sharer, derived, authority, origin)?;
            let fork = forks.entry(*sharer).or_insert_with(|| told.clone());
            (fork.seq, fork.link) = (told.seq, told.link);
        }
        receipt.forks = forks.into_values().collect();
        Ok((!is_done).then_some(receipt))
    }

    /// Those who share what is erased, each behind those that it shares itself, and what is traced
    /// from these.
    fn traced(&self, job: &Job<'_>, trace: Trace, first: u64) -> Result<Vec<(Part, Trace)>> {
        let (session, target) = (job.session, job.target);
        let mut traces = BTreeMap::from([(session, trace)]);
        let mut found = Vec::new();
        for (sharer, ancestors) in self.sharers_between(session, first, job.head)? {
            let begins = std::iter::once(1).chain(ancestors.iter().map(|it| it.last_seq + 1));
            let parts = ancestors.iter().zip(begins).filter_map(|(ancestor, begins)| {
                Some((traces.get(&ancestor.stream)?, begins..=ancestor.last_seq))
            });
            let derived = ErasureTarget::Derived { session: session.to_bytes(), seq: first };
            // A run may go on in a fork; the seqs behind what is shared are the fork's own.
            let is_run = matches!(target, ErasureTarget::Run { .. });
            let origin = Trace::of_sharer(if is_run { target } else { derived }, parts);
            let job = self.job(sharer, derived, &Access::Admin, None)?;
            traces.insert(sharer.stream, self.trace(&job, Some(&origin))?);
            found.push((sharer, origin));
        }
        Ok(found)
    }

    /// Tells a fork that what it shares was erased: its snapshots and the views that are kept of
    /// it may still say it.
    fn tell(
        &self,
        part: Part,
        target: ErasureTarget,
        authority: Option<&str>,
        origin: &Trace,
    ) -> Result<ErasureReceipt> {
        let mut tries = 1;
        loop {
            let job = self.job(part, target, &Access::Admin, authority)?;
            let trace = self.trace(&job, Some(origin))?;
            match self.append_erased(&job, &self.found(&job, &trace)?, &[], job.head) {
                Err(error) if is_late(&error, tries) => tries += 1,
                told => {
                    let (receipt, _) = told?;
                    self.rebuild_snapshots(&job)?;
                    return Ok(receipt);
                }
            }
        }
    }

    /// The receipt for the same erasure, where it was made before.
    fn earlier_receipt(&self, job: &Job<'_>) -> Result<ErasureReceipt> {
        let found = self.find_receipt(job.session, job.target)?;
        let seq = found.ok_or_else(|| Error::not_found(NOTHING_LEFT))?;
        let link = self.link_of(job.session, seq)?;
        Ok(ErasureReceipt { seq, link, ..job.receipt() })
    }

    /// The last receipt of a session for a target.
    fn find_receipt(&self, session: Digest, target: ErasureTarget) -> Result<Option<u64>> {
        let receipts = key::within(key::Class::Receipt, session, Order::Descending);
        for record in Scan::new(&**self.log(), receipts) {
            let (_, seq) = key::parse_seq(&record?.key)?;
            if let EventBody::Erased(erased) = frame_of(&**self.log(), session, seq)?.body
                && erased.target == target
            {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// Erases what one stream holds, and the memories that came from it; `None` where nothing is
    /// left to erase. Tries again while others move the session on.
    pub(super) fn erase_here(
        &self,
        part: Part,
        target: ErasureTarget,
        (access, authority): (&Access, Option<&str>),
        origin: &Trace,
        memories: &mut Vec<ErasureReceipt>,
    ) -> Result<Option<ErasureReceipt>> {
        let (mut tries, mut known) = (1, origin.clone());
        let mut seqs = BTreeSet::new();
        let mut whole: Option<ErasureReceipt> = None;
        loop {
            let job = self.job(part, target, access, authority)?;
            let place = job.place();
            let trace = self.trace(&job, Some(&known))?;
            known.remember(&trace);
            seqs.extend(trace.own_seqs().filter(|seq| !trace.is_partial(*seq)));
            // The last look finds nothing more to erase, and no memory comes of what is erased.
            memories.extend(self.erase_learned(part.stream, &seqs, authority)?);
            match self.try_erase(&job, &trace).context(place) {
                // What others derived meanwhile is looked for once more.
                Ok(Some(receipt)) => {
                    whole = Some(match whole.take() {
                        Some(before) => before.and(receipt),
                        None => receipt,
                    });
                }
                Ok(None) => return Ok(whole),
                Err(error) if is_late(&error, tries) => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Finds what is to be erased, and what was derived from it.
    fn trace(&self, job: &Job<'_>, origin: Option<&Trace>) -> Result<Trace> {
        let lineage = &job.lineage;
        let first = lineage.first_seq().max(lineage.shared_seq() + 1);
        let mut trace = match origin {
            Some(origin) => origin.clone(),
            None => Trace::new(job.target),
        };
        // What is derived may come before what is erased: how its run began.
        for pass in [Trace::mark, Trace::derive] {
            for event in Events::new(self.log(), lineage, first, job.head) {
                pass(&mut trace, &event?);
            }
        }
        if origin.is_none() && trace.is_empty() {
            return Err(match job.target {
                ErasureTarget::Run { .. } => Error::not_found("run"),
                ErasureTarget::Memory { .. } => Error::not_found("memory"),
                ErasureTarget::Message { seq } => {
                    Error::not_found("message").context(format!("seq {seq}"))
                }
                _ => Error::not_found("message"),
            });
        }
        Ok(trace)
    }

    fn try_erase(&self, job: &Job<'_>, trace: &Trace) -> Result<Option<ErasureReceipt>> {
        let found = self.found(job, trace)?;
        let mut whole: Option<ErasureReceipt> = None;
        for piece in found.seqs.rchunks(REPLACED_EVENTS_MAX) {
            let head = whole.as_ref().map_or(job.head, |receipt| receipt.seq);
            let (mut receipt, blobs) = self.append_erased(job, &found, piece, head)?;
            if receipt.events == 0 {
                continue;
            }
            receipt.blobs = names_of(self.collect_dropped(&blobs)?);
            whole = Some(match whole.take() {
                Some(before) => before.and(receipt),
                None => receipt,
            });
        }
        if whole.is_some() {
            self.rebuild_snapshots(job)?;
        }
        Ok(whole)
    }

    fn found<'a>(&self, job: &Job<'_>, trace: &'a Trace) -> Result<Found<'a>> {
        let seqs = trace.own_seqs().collect();
        Ok(Found { trace, seqs, name_left: self.name_without(job, trace)? })
    }

    /// Appends the event that erases some of what was traced, with the replacements. Nothing is
    /// appended where all of these are erased already. Returns the blobs that they referred to
    /// besides.
    fn append_erased(
        &self,
        job: &Job<'_>,
        Found { trace, seqs: all, name_left }: &Found<'_>,
        seqs: &[u64],
        head: u64,
    ) -> Result<(ErasureReceipt, Vec<[u8; 32]>)> {
        let mut receipt = job.receipt();
        let replacements = self.replacements(job, trace, seqs)?;
        if replacements.is_empty() && !seqs.is_empty() {
            return Ok((receipt, Vec::new()));
        }
        let blobs: Vec<[u8; 32]> =
            replacements.iter().flat_map(|one| one.blobs_before.clone()).collect();
        let derived = replacements.iter().map(|one| one.seq);
        receipt.derived = derived.filter(|seq| trace.is_derived(*seq)).collect();
        receipt.events = replacements.len() as u64;
        let erased = Erased {
            target: job.target,
            removed: replacements.iter().map(Replacement::named).collect(),
            derived: receipt.derived.clone(),
            blobs: self.unused_without(&blobs, job.session, all)?,
            authority: job.authority.map(str::to_owned),
        };
        // A name is right only as long as nobody gives another; bodies guard themselves.
        let expected = name_left.as_ref().map_or(Expected::Any, |_| Expected::Seq(head));
        let mut append = job.append(expected, NewEvent::new(erased), replacements)?;
        append.name_left.clone_from(name_left);
        append.snapshots_left = Some((trace.first_seq().unwrap_or(0), job.last_snapshot()));
        receipt.seq = self.append(append)?.wait()?.last_seq;
        receipt.link = self.link_of(job.session, receipt.seq)?;
        Ok((receipt, blobs))
    }

    fn replacements(&self, job: &Job<'_>, trace: &Trace, seqs: &[u64]) -> Result<Vec<Replacement>> {
        let log = &**self.log();
        let mut replacements = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let stored = frame_of(log, job.session, *seq)?;
            let left = if trace.is_partial(*seq) {
                Some(Trace::partial(&stored.body))
            } else {
                without_content(&stored.body)
            };
            if left.as_ref() == Some(&stored.body) || matches!(stored.body, EventBody::Gone(_)) {
                continue;
            }
            replacements.push(Replacement {
                seq: *seq,
                present: stored.present,
                body: left.map(|body| SaltedBody::new(&body)).transpose()?,
                blobs_before: read_blobs(log, job.session, *seq)?,
                blobs_after: Vec::new(),
            });
        }
        Ok(replacements)
    }

    /// Those of some blobs that nothing refers to but these events.
    fn unused_without(
        &self,
        names: &[[u8; 32]],
        session: Digest,
        seqs: &[u64],
    ) -> Result<Vec<[u8; 32]>> {
        let mut unused = BTreeSet::new();
        for name in names {
            let mut is_used = false;
            for record in Scan::new(&**self.log(), key::blob_uses(name)) {
                let (user, seq) = key::parse_blob_use(&record?.key)?;
                is_used |= user != session || seqs.binary_search(&seq).is_err();
            }
            if !is_used {
                unused.insert(*name);
            }
        }
        Ok(unused.into_iter().collect())
    }
}

/// Whether somebody else was faster, and it is worth another try.
pub(super) fn is_late(error: &Error, tries: usize) -> bool {
    matches!(error.kind(), ErrorKind::Conflict { .. }) && tries < CONFLICT_TRIES_MAX
}

pub(super) fn names_of(removed: Vec<(BlobName, u64)>) -> Vec<String> {
    removed.into_iter().map(|(name, _)| name.to_string()).collect()
}
