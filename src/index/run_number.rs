//! Top-level runs by their number: how `run:3` is found.

use super::{Lineage, Stretch, Timeline, newest};
use crate::bytes::Reader;
use crate::error::Result;
use crate::id::Digest;
use crate::log::{Log, key};

/// The start of a top-level run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NumberedRun {
    pub(crate) number: u64,
    pub(crate) run: Digest,
    /// The seq of its start.
    pub(crate) seq: u64,
}

impl NumberedRun {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        [&self.number.to_le_bytes()[..], &self.run.to_bytes()].concat()
    }

    /// The last run of a timeline.
    pub(crate) fn last(
        log: &dyn Log,
        lineage: &Lineage,
        timeline: &mut Timeline<'_>,
    ) -> Result<Option<Self>> {
        timeline.find_last(|stretch| Self::last_of(log, lineage, stretch))
    }

    /// The run of a number in a timeline. Numbers rise along a timeline, so it is found by
    /// halving.
    pub(crate) fn find(
        log: &dyn Log,
        lineage: &Lineage,
        timeline: &mut Timeline<'_>,
        number: u64,
    ) -> Result<Option<Self>> {
        let mut index = 0;
        while let Some(Stretch { first, last }) = timeline.stretch(index)? {
            index += 1;
            match Self::last_of(log, lineage, Stretch { first, last })? {
                // It starts in none of those before it either.
                Some(found) if found.number < number => return Ok(None),
                Some(_) => {}
                None => continue,
            }
            let (mut low, mut high) = (first, last);
            while low <= high {
                let middle = low + (high - low) / 2;
                match Self::last_of(log, lineage, Stretch { first, last: middle })? {
                    Some(found) if found.number == number => return Ok(Some(found)),
                    // It starts before what was found.
                    Some(found) if found.number > number => high = found.seq - 1,
                    _ => low = middle + 1,
                }
            }
        }
        Ok(None)
    }

    /// The last run that starts in a stretch.
    fn last_of(log: &dyn Log, lineage: &Lineage, stretch: Stretch) -> Result<Option<Self>> {
        let Stretch { first, last } = stretch;
        let Some(found) = newest(log, lineage, key::Class::RunNumber, first, last)? else {
            return Ok(None);
        };
        let mut reader = Reader::new(&found.value);
        Ok(Some(Self { number: reader.u64()?, run: Digest(reader.array()?), seq: found.seq }))
    }
}
