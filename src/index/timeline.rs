//! Which seqs count at a seq: all up to it, without what a rewind left behind.

use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::log::{Log, Order, PageLimit, key};

use super::{Lineage, newest};

/// Seqs that count, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// The stretches that count at a seq, found from the end back and no further than asked for.
///
/// A rewind at seq `r` to seq `s` leaves behind what lies between: from then on the session is
/// what it was at `s`, and goes on behind `r`. What counted at `s` was in turn decided by the
/// rewinds before it, so going back into what was left behind brings it back.
pub(crate) struct Timeline<'a> {
    log: &'a dyn Log,
    lineage: &'a Lineage,
    /// Those found so far, the last first.
    found: Vec<Stretch>,
    /// The seq it is the timeline of.
    end: u64,
    /// Where the next one ends; 0 when there is none.
    rest: u64,
}

/// A session goes back at one seq to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rewind {
    pub(crate) at: u64,
    pub(crate) to: u64,
}

/// The last rewind at or before a seq.
pub(crate) fn last_rewind(log: &dyn Log, lineage: &Lineage, seq: u64) -> Result<Option<Rewind>> {
    if !lineage.has_rewinds() {
        return Ok(None);
    }
    let Some(found) = newest(log, lineage, key::Class::Rewind, 1, seq)? else { return Ok(None) };
    let (at, to) = (found.seq, Reader::new(&found.value).u64()?);
    // Whoever follows rewinds must come to an end.
    if to >= at {
        return Err(Error::corrupt(format!("seq {at} goes back to seq {to}")));
    }
    Ok(Some(Rewind { at, to }))
}

/// The seq of the first rewind behind a seq, up to another.
pub(crate) fn next_rewind(
    log: &dyn Log,
    lineage: &Lineage,
    after: u64,
    last: u64,
) -> Result<Option<u64>> {
    let mut first = after.saturating_add(1);
    while let Some(span) = lineage.first_span(first, last) {
        let class = key::Class::Rewind;
        let range = key::seqs(class, span.stream, span.first, span.last, Order::Ascending);
        if let Some(record) = log.page(&range, PageLimit::records(1))?.first() {
            return key::parse_seq(&record.key).map(|(_, seq)| Some(seq));
        }
        let Some(next) = span.last.checked_add(1) else { break };
        first = next;
    }
    Ok(None)
}

impl<'a> Timeline<'a> {
    pub(crate) fn at(log: &'a dyn Log, lineage: &'a Lineage, seq: u64) -> Self {
        Self { log, lineage, found: Vec::new(), end: seq, rest: seq }
    }

    /// What comes last among the seqs that count. `find` gives what comes last in a stretch.
    pub(crate) fn find_last<T>(
        &mut self,
        find: impl Fn(Stretch) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let anywhere = find(Stretch { first: 1, last: self.end })?;
        // Without rewinds there is one stretch; and what is nowhere is in no stretch, however many
        // there are.
        if anywhere.is_none() || !self.lineage.has_rewinds() {
            return Ok(anywhere);
        }
        let mut index = 0;
        while let Some(stretch) = self.stretch(index)? {
            let found = find(stretch)?;
            if found.is_some() {
                return Ok(found);
            }
            index += 1;
        }
        Ok(None)
    }

    /// The stretch of an index, counted from the end back.
    pub(crate) fn stretch(&mut self, index: usize) -> Result<Option<Stretch>> {
        while self.found.len() <= index {
            let last = self.rest;
            if last == 0 {
                return Ok(None);
            }
            let rewind = last_rewind(self.log, self.lineage, last)?;
            let (first, rest) = rewind.map_or((1, 0), |rewind| (rewind.at, rewind.to));
            self.found.push(Stretch { first, last });
            self.rest = rest;
        }
        Ok(self.found.get(index).copied())
    }

    /// Every stretch, the first one first.
    pub(crate) fn into_stretches(mut self) -> Result<Vec<Stretch>> {
        while self.stretch(self.found.len())?.is_some() {}
        self.found.reverse();
        Ok(self.found)
    }
}
