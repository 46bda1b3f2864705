//! One stream as an erasure finds it: whose it is, where its events lie, how far they reach.

use std::collections::BTreeMap;

use super::Inner;
use super::erase::ErasureReceipt;
use crate::access::Access;
use crate::commit::{Append, Expected, NameLeft, Replacement};
use crate::error::{Error, Result};
use crate::event::{ErasureTarget, Event, EventBody, NewEvent};
use crate::id::Digest;
use crate::index::{Ancestor, Entry, Former, Lineage};
use crate::log::{Batch, Log, Order, Scan, key};
use crate::policy::Trace;
use crate::snapshot;
use crate::stream::LiveEvents;

/// The part of a stream that belongs to one session: to the one that is there, or to one that was
/// deleted and that forks share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub(super) stream: Digest,
    /// A seq of it; `None` for the session that is there, whatever its seqs.
    at: Option<u64>,
}

impl Part {
    /// The session that is there.
    pub(super) const fn now(stream: Digest) -> Self {
        Self { stream, at: None }
    }

    /// The session that a seq is of.
    pub(super) const fn with(stream: Digest, seq: u64) -> Self {
        Self { stream, at: Some(seq) }
    }
}

/// What is to be erased from one stream.
pub(super) struct Job<'a> {
    pub(super) session: Digest,
    pub(super) lineage: Lineage,
    /// The last seq of the session; of one that was deleted, the last that a fork shares.
    pub(super) head: u64,
    pub(super) target: ErasureTarget,
    pub(super) authority: Option<&'a str>,
    access: &'a Access,
    whose: Whose,
}

enum Whose {
    /// Of a session that is there, or of a user's memories.
    Listed(Box<Entry>),
    /// Of a session that was deleted: its id, or its digest where no event says the id any more.
    Former(String),
}

impl Job<'_> {
    /// A receipt that says nothing yet but what it is about.
    pub(super) fn receipt(&self) -> ErasureReceipt {
        match &self.whose {
            Whose::Listed(entry) => ErasureReceipt::of(entry.stream()),
            Whose::Former(name) => {
                ErasureReceipt { session_id: name.clone(), ..ErasureReceipt::default() }
            }
        }
    }

    /// What it is about, for errors.
    pub(super) fn place(&self) -> String {
        match &self.whose {
            Whose::Listed(entry) => entry.stream().to_string(),
            Whose::Former(name) => format!("session {name}"),
        }
    }

    /// The last seq whose snapshot may say what is erased.
    pub(super) fn last_snapshot(&self) -> u64 {
        match self.whose {
            Whose::Listed(_) => u64::MAX,
            // Behind it, another session has its own.
            Whose::Former(_) => self.head,
        }
    }

    /// The append of what says that it was erased.
    pub(super) fn append(
        &self,
        expected: Expected,
        erased: NewEvent,
        replacements: Vec<Replacement>,
    ) -> Result<Append> {
        let access = self.access.clone();
        match &self.whose {
            Whose::Listed(entry) => {
                Append::keeping(entry.stream(), access, expected, vec![erased], replacements)
            }
            Whose::Former(_) => {
                Append::of_former(self.session, self.place(), access, erased, replacements)
            }
        }
    }
}

impl Inner {
    /// What there is to do in a part of a stream, if the access reaches it.
    pub(super) fn job<'a>(
        &self,
        part: Part,
        target: ErasureTarget,
        access: &'a Access,
        authority: Option<&'a str>,
    ) -> Result<Job<'a>> {
        let session = part.stream;
        let listed = self.entry(session)?;
        let listed = listed.filter(|(entry, _)| part.at.is_none_or(|at| at >= entry.first_seq));
        if let Some((entry, head)) = listed {
            access.check(entry.user_id.as_deref())?;
            let lineage = entry.lineage(session);
            let whose = Whose::Listed(Box::new(entry));
            return Ok(Job { session, lineage, head, target, authority, access, whose });
        }
        let former = match part.at {
            Some(at) => Former::at(&**self.log(), session, at)?,
            None => None,
        };
        let former = former.ok_or_else(|| Error::not_found("session"))?;
        self.check_former(session, &former, access)?;
        let whose = Whose::Former(self.name_of_former(session, &former)?);
        let (lineage, head) = (former.lineage, former.last_seq);
        Ok(Job { session, lineage, head, target, authority, access, whose })
    }

    /// Those who share a seq of a stream between two, each behind those that it shares itself.
    /// Sessions that were deleted are among them, as far as others share them in turn.
    pub(super) fn sharers_between(
        &self,
        stream: Digest,
        first: u64,
        last: u64,
    ) -> Result<Vec<(Part, Vec<Ancestor>)>> {
        let mut found = BTreeMap::new();
        // The range ends before the sharers at its last seq.
        let (class, last) = (key::Class::Sharer, last.saturating_add(1));
        for record in
            Scan::new(&**self.log(), key::seqs(class, stream, first, last, Order::Ascending))
        {
            let (_, sharer) = key::parse_fork(&record?.key)?;
            let Some((entry, _)) = self.entry(sharer)? else { continue };
            let own = entry.ancestors.iter().position(|it| it.stream == stream);
            for (at, between) in entry.ancestors.iter().enumerate().skip(own.unwrap_or(0) + 1) {
                if let Some(part) = self.former_part(*between)? {
                    let before = entry.ancestors.get(..at).unwrap_or_default();
                    found.insert(part, before.to_vec());
                }
            }
            found.insert(Part::now(sharer), entry.ancestors);
        }
        let mut found: Vec<_> = found.into_iter().collect();
        found.sort_by_key(|(_, ancestors)| ancestors.len());
        Ok(found)
    }

    /// The part that a fork shares, where the session was deleted.
    fn former_part(&self, shared: Ancestor) -> Result<Option<Part>> {
        let Ancestor { stream, last_seq } = shared;
        if Entry::load(&**self.log(), stream)?.is_some_and(|entry| entry.first_seq <= last_seq) {
            return Ok(None);
        }
        let former = Former::at(&**self.log(), stream, last_seq)?;
        // By its first seq, which is shared as long as any is.
        Ok(former.map(|former| Part::with(stream, former.own_seq())))
    }

    /// The name that the session has without what is erased, where that is another.
    pub(super) fn name_without(&self, job: &Job<'_>, trace: &Trace) -> Result<Option<NameLeft>> {
        let Whose::Listed(entry) = &job.whose else { return Ok(None) };
        let mut name = None;
        for event in LiveEvents::between(self.log(), &job.lineage, entry.first_seq, job.head)? {
            let Event { seq, body, .. } = event?;
            if let EventBody::Renamed(renamed) = body
                && !trace.erases(seq)
            {
                name = renamed.name;
            }
        }
        Ok((name != entry.name).then_some(NameLeft(name)))
    }

    /// Writes the snapshots again that fell with what was erased.
    pub(super) fn rebuild_snapshots(&self, job: &Job<'_>) -> Result<()> {
        let (session, mut head) = (job.session, job.head);
        if let Whose::Listed(_) = job.whose {
            let Some((_, last_seq)) = self.entry(session)? else { return Ok(()) };
            head = last_seq;
        }
        let lineage = lineage_with(&**self.log(), session, head)?;
        let Some(lineage) = lineage else { return Ok(()) };
        for seq in snapshot::missing(&**self.log(), &lineage, head)? {
            // One at a time: each is folded from the one before it, and from what is there then.
            // Something else may have been erased, or the session deleted, since this look.
            self.committer()?.maintain_with(Box::new(move |log| {
                let Some(lineage) = lineage_with(&**log, session, seq)? else { return Ok(None) };
                let record = snapshot::record(log, &lineage, seq)?;
                Ok(record.map(|record| {
                    let mut batch = Batch::new();
                    batch.replace(record.key, record.value);
                    batch
                }))
            }))?;
        }
        Ok(())
    }
}

/// Where the events lie of the session that a seq is of, while it is there or forks share the seq.
fn lineage_with(log: &dyn Log, session: Digest, seq: u64) -> Result<Option<Lineage>> {
    match Entry::load(log, session)?.filter(|entry| entry.first_seq <= seq) {
        Some(entry) => Ok(Some(entry.lineage(session))),
        None => Ok(Former::at(log, session, seq)?.map(|former| former.lineage)),
    }
}
