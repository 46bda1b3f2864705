//! Which streams hold a session's events: its own, and before a fork those of its ancestors.

use serde::{Deserialize, Serialize};

use crate::error::{Result, check_limit};
use crate::id::Digest;
use crate::limits::FORK_DEPTH_MAX;
use crate::log::{Log, Order, PageLimit, Scan, key};

/// Where the events of a session lie. A fork shares the frames of its ancestors: it holds none
/// of its own up to the seq it was forked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lineage {
    own: Digest,
    /// The oldest first, so their last seqs rise.
    ancestors: Vec<Ancestor>,
    /// Whether the session or an ancestor ever went back. Without it, every seq counts.
    has_rewinds: bool,
    /// Where the session begins: behind one that was deleted under the same id.
    first_seq: u64,
}

/// A stream that holds the first part of a session's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ancestor {
    pub(crate) stream: Digest,
    /// The last seq that is shared.
    pub(crate) last_seq: u64,
}

/// Seqs that one stream holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) stream: Digest,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Lineage {
    /// A session that was not forked and never went back.
    pub(crate) fn new(own: Digest) -> Self {
        Self { own, ancestors: Vec::new(), has_rewinds: false, first_seq: 1 }
    }

    /// What a catalog entry says.
    pub(crate) fn from_parts(own: Digest, ancestors: Vec<Ancestor>, has_rewinds: bool) -> Self {
        Self { own, ancestors, has_rewinds, first_seq: 1 }
    }

    /// The same of a session that begins at a later seq.
    pub(crate) fn beginning_at(self, first_seq: u64) -> Self {
        Self { first_seq, ..self }
    }

    /// The first seq of the session.
    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The ancestors of a session that is forked from this one at a seq.
    pub(crate) fn fork_at(&self, seq: u64) -> Result<Vec<Ancestor>> {
        let mut ancestors = self.ancestors.clone();
        ancestors.retain(|ancestor| ancestor.last_seq < seq);
        check_limit("depth of forks", ancestors.len() + 1, FORK_DEPTH_MAX)?;
        ancestors.push(Ancestor { stream: self.holder(seq), last_seq: seq });
        Ok(ancestors)
    }

    pub(crate) fn own(&self) -> Digest {
        self.own
    }

    pub(crate) fn has_rewinds(&self) -> bool {
        self.has_rewinds
    }

    /// The last seq that is shared with an ancestor; 0 for a session that was not forked.
    pub(crate) fn shared_seq(&self) -> u64 {
        self.ancestors.last().map_or(0, |ancestor| ancestor.last_seq)
    }

    /// The stream that holds a seq.
    pub(crate) fn holder(&self, seq: u64) -> Digest {
        let holder = self.ancestors.iter().find(|ancestor| seq <= ancestor.last_seq);
        holder.map_or(self.own, |ancestor| ancestor.stream)
    }

    /// The part of the seqs from `first` to `last` that is held by the stream that holds `last`.
    pub(crate) fn last_span(&self, first: u64, last: u64) -> Option<Span> {
        let begins = |ancestor: &Ancestor| ancestor.last_seq.saturating_add(1);
        let before = self.ancestors.iter().rfind(|ancestor| ancestor.last_seq < last);
        let first = before.map_or(first, begins).max(first);
        (first <= last).then(|| Span { stream: self.holder(last), first, last })
    }

    /// The part of the seqs from `first` to `last` that is held by the stream that holds `first`.
    pub(crate) fn first_span(&self, first: u64, last: u64) -> Option<Span> {
        let holder = self.ancestors.iter().find(|ancestor| first <= ancestor.last_seq);
        let last = holder.map_or(last, |ancestor| ancestor.last_seq).min(last);
        (first <= last).then(|| Span { stream: self.holder(first), first, last })
    }

    /// The streams that hold its events, its own first.
    pub(crate) fn streams(&self) -> impl Iterator<Item = Digest> + '_ {
        let ancestors = self.ancestors.iter().rev().map(|ancestor| ancestor.stream);
        std::iter::once(self.own).chain(ancestors)
    }

    /// The seqs up to one by the streams that hold them, the last first.
    pub(crate) fn spans_back(&self, last: u64) -> impl Iterator<Item = Span> + '_ {
        let mut rest = last;
        std::iter::from_fn(move || {
            let span = self.last_span(1, rest)?;
            rest = span.first - 1;
            Some(span)
        })
    }
}

/// Which sessions share a stream, and how far, to be compared: another may come as one goes.
/// By default, none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sharers(Option<blake3::Hash>);

pub(crate) fn sharers(log: &dyn Log, stream: Digest) -> Result<Sharers> {
    let mut hasher = blake3::Hasher::new();
    for record in Scan::new(log, key::within(key::Class::Sharer, stream, Order::Ascending)) {
        hasher.update(&record?.key);
    }
    Ok(Sharers((hasher.count() > 0).then(|| hasher.finalize())))
}

/// The last seq before another that a fork of a stream shares; 0 where none does.
pub(crate) fn shared_seq(log: &dyn Log, stream: Digest, before: u64) -> Result<u64> {
    // Whose session follows that seq comes behind it.
    let class = key::Class::Sharer;
    let range = key::seqs(class, stream, 0, before, Order::Descending);
    let last = log.page(&range, PageLimit::records(1))?;
    last.first().map_or(Ok(0), |record| Ok(key::parse_fork(&record.key)?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(name: &str) -> Digest {
        Digest::of_session(name)
    }

    #[test]
    fn every_seq_of_a_fork_of_a_fork_is_held_by_one_stream() {
        let parent = Lineage::new(stream("a"));
        let child = Lineage::from_parts(stream("b"), parent.fork_at(10).unwrap(), false);
        let grandchild = Lineage::from_parts(stream("c"), child.fork_at(15).unwrap(), false);
        let span = |name, first, last| Span { stream: stream(name), first, last };
        let spans: Vec<_> = grandchild.spans_back(20).collect();
        assert_eq!(spans, [span("c", 16, 20), span("b", 11, 15), span("a", 1, 10)]);
        assert_eq!(grandchild.first_span(5, 20), Some(span("a", 5, 10)));
        assert_eq!(grandchild.first_span(11, 13), Some(span("b", 11, 13)));
        assert_eq!(grandchild.last_span(12, 14), Some(span("b", 12, 14)));
        assert_eq!(grandchild.first_span(21, 20), None);
    }

    #[test]
    fn a_fork_in_the_shared_part_skips_the_streams_behind_it() {
        let parent = Lineage::new(stream("a"));
        let child = Lineage::from_parts(stream("b"), parent.fork_at(10).unwrap(), false);
        let ancestors = child.fork_at(7).unwrap();
        assert_eq!(ancestors, [Ancestor { stream: stream("a"), last_seq: 7 }]);
    }

    #[test]
    fn forks_of_forks_have_a_limit() {
        let mut lineage = Lineage::new(stream("0"));
        for depth in 1..=FORK_DEPTH_MAX as u64 {
            let ancestors = lineage.fork_at(depth).unwrap();
            lineage = Lineage::from_parts(stream(&depth.to_string()), ancestors, false);
        }
        assert!(lineage.fork_at(FORK_DEPTH_MAX as u64 + 1).is_err());
    }
}
