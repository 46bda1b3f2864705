//! Memories that go for good: one of them, all of a user's, or those that came from what is erased
//! elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use super::Memories;
use crate::access::Access;
use crate::engine::erase::ErasureReceipt;
use crate::engine::job::Part;
use crate::engine::{Inner, Session};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::ErasureTarget;
use crate::id::Digest;
use crate::index::{Sharers, learned_from};
use crate::policy::Trace;
use crate::replay::Point;

impl Memories {
    /// Erases one memory for good, in all its texts, whether or not it was deleted before.
    /// `authority` says on whose word or under which rule; it stands in the receipt.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the user never had such a memory, or it is erased already.
    pub fn erase(&self, memory_id: &str, authority: Option<&str>) -> Result<ErasureReceipt> {
        match self.delete(memory_id) {
            // So that no earlier text comes up while the later ones go.
            Ok(ticket) => drop(ticket.wait()?),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        let erase = || {
            let (inner, stream) = (self.stream.inner(), self.stream.key());
            let target = ErasureTarget::Memory { memory: Digest::of_memory(memory_id).to_bytes() };
            let by = (self.stream.access(), authority);
            let erased = match inner.entry(stream)? {
                Some(_) => inner.erase_here(
                    Part::now(stream),
                    target,
                    by,
                    &Trace::new(target),
                    &mut Vec::new(),
                )?,
                None => None,
            };
            erased.ok_or_else(|| Error::not_found("memory"))
        };
        erase().with_context(|| self.place_of(memory_id))
    }

    /// Erases all memories of the user, their past included, and destroys their key where they
    /// have one. `None` where there are none.
    pub fn erase_all(&self, authority: Option<&str>) -> Result<Option<ErasureReceipt>> {
        let (inner, name) = (self.stream.inner(), self.stream.stream());
        match inner.delete(name, self.stream.access(), authority, Some(Sharers::default())) {
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => Ok(None),
            erased => erased.map(Some).with_context(|| name.to_string()),
        }
    }
}

impl Session {
    /// How many texts of memories an erasure would take besides, because they came from what is
    /// erased here: a message or a run, or all of the session where there is no target. Later
    /// texts of the same memories, which go too, and forks are not counted.
    pub fn plan_memory_erasure(&self, target: Option<ErasureTarget>) -> Result<usize> {
        let (inner, stream) = (self.inner(), self.key());
        let count = || match target {
            Some(target) => {
                let (lineage, _) = self.resolve(&Point::Head)?;
                let mut texts = 0;
                for seq in self.plan_erasure(target)? {
                    texts += learned_from(&**inner.log(), lineage.holder(seq), seq, seq)?.len();
                }
                Ok(texts)
            }
            None => Ok(learned_from(&**inner.log(), stream, 1, self.seq()?)?.len()),
        };
        count().with_context(|| self.place())
    }
}

impl Inner {
    /// Erases the memories that came from messages at some seqs of a stream, whosever they are.
    pub(in crate::engine) fn erase_learned(
        &self,
        source: Digest,
        seqs: &BTreeSet<u64>,
        authority: Option<&str>,
    ) -> Result<Vec<ErasureReceipt>> {
        let (Some(first), Some(last)) = (seqs.first(), seqs.last()) else { return Ok(Vec::new()) };
        self.erase_texts(source, *first..=*last, &|seq| seqs.contains(&seq), authority)
    }

    /// The same for all messages between two seqs.
    pub(in crate::engine) fn erase_learned_between(
        &self,
        source: Digest,
        seqs: RangeInclusive<u64>,
        authority: Option<&str>,
    ) -> Result<Vec<ErasureReceipt>> {
        self.erase_texts(source, seqs, &|_| true, authority)
    }

    fn erase_texts(
        &self,
        source: Digest,
        seqs: RangeInclusive<u64>,
        is_erased: &dyn Fn(u64) -> bool,
        authority: Option<&str>,
    ) -> Result<Vec<ErasureReceipt>> {
        let mut texts: BTreeMap<Digest, BTreeSet<u64>> = BTreeMap::new();
        for learned in learned_from(&**self.log(), source, *seqs.start(), *seqs.end())? {
            if is_erased(learned.at) {
                texts.entry(learned.memories).or_default().insert(learned.seq);
            }
        }
        let target = ErasureTarget::Derived { session: source.to_bytes(), seq: *seqs.start() };
        let mut receipts = Vec::new();
        for (memories, texts) in texts {
            // Those of a user who is erased go with all the rest.
            if self.entry(memories)?.is_none() {
                continue;
            }
            let origin = Trace::of_memories(target, texts);
            let by = (&Access::Admin, authority);
            let part = Part::now(memories);
            receipts.extend(self.erase_here(part, target, by, &origin, &mut Vec::new())?);
        }
        Ok(receipts)
    }
}
