//! Where a run lies in its session and how it stands: the index that `run:3` goes through.

use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::event::RunStatus;
use crate::id::Digest;
use crate::log::{Log, PageLimit, key};

use super::{Lineage, Stretch, Timeline};

/// A run's place and status. Each change of status is a record of its own under the seq it
/// happened at, so that what a run was at an earlier seq is known too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunRecord {
    pub(crate) run_id: String,
    /// Its number among the top-level runs, from 1; 0 for a run that is a part of another.
    pub(crate) number: u64,
    pub(crate) first_seq: u64,
    /// The seq of its last change of status.
    pub(crate) last_seq: u64,
    pub(crate) status: RunStatus,
}

impl RunRecord {
    /// What is known of a run at the end of a timeline.
    pub(crate) fn load(
        log: &dyn Log,
        lineage: &Lineage,
        timeline: &mut Timeline<'_>,
        run: Digest,
    ) -> Result<Option<Self>> {
        timeline.find_last(|stretch| Self::newest(log, lineage, run, stretch))
    }

    /// What is known of a run at a seq, whether or not it counts at the end.
    pub(crate) fn load_any(
        log: &dyn Log,
        lineage: &Lineage,
        run: Digest,
        seq: u64,
    ) -> Result<Option<Self>> {
        Self::newest(log, lineage, run, Stretch { first: 1, last: seq })
    }

    fn newest(
        log: &dyn Log,
        lineage: &Lineage,
        run: Digest,
        stretch: Stretch,
    ) -> Result<Option<Self>> {
        let mut last = stretch.last;
        while let Some(span) = lineage.last_span(stretch.first, last) {
            let range = key::run_seqs(span.stream, run, span.first, span.last);
            if let Some(record) = log.page(&range, PageLimit::records(1))?.first() {
                return Self::from_bytes(&record.value).map(Some);
            }
            last = span.first - 1;
        }
        Ok(None)
    }

    /// Pauses or ends the run. One that has ended can still be marked as replaced.
    pub(crate) fn change(&mut self, status: RunStatus, seq: u64) -> Result<()> {
        if self.status.is_terminal() && status != RunStatus::Regenerated {
            return Err(self.refused(format!("is already {}", self.status)));
        }
        // A run that is replaced ended where it ended.
        if !self.status.is_terminal() {
            self.last_seq = seq;
        }
        self.status = status;
        Ok(())
    }

    /// Lets a run that was paused or has ended go on.
    pub(crate) fn resume(&mut self, seq: u64) -> Result<()> {
        if self.status == RunStatus::Running {
            return Err(self.refused("is under way already"));
        }
        self.status = RunStatus::Running;
        self.last_seq = seq;
        Ok(())
    }

    fn refused(&self, reason: impl Into<String>) -> Error {
        Error::run_state(&self.run_id, Some(self.status.as_str()), reason)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(25 + self.run_id.len());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.last_seq.to_le_bytes());
        bytes.push(self.status as u8);
        bytes.extend_from_slice(self.run_id.as_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let (number, first_seq, last_seq) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let status = match reader.u8()? {
            0 => RunStatus::Running,
            1 => RunStatus::Paused,
            2 => RunStatus::Completed,
            3 => RunStatus::Cancelled,
            4 => RunStatus::Error,
            5 => RunStatus::Regenerated,
            6 => RunStatus::Interrupted,
            other => return Err(Error::corrupt(format!("unknown run status {other}"))),
        };
        let run_id = String::from_utf8(reader.rest().to_vec())
            .map_err(|_| Error::corrupt("a run id is no text"))?;
        Ok(Self { run_id, number, first_seq, last_seq, status })
    }
}
