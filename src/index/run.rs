//! Where a run lies in its session and how it stands: the index that `run:3` goes through.

use crate::bytes::Reader;
use crate::error::{Error, Result};
use crate::event::RunStatus;
use crate::id::Digest;
use crate::log::{Log, Order, PageLimit, key};

/// A run's place and status.
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
    pub(crate) fn load(log: &dyn Log, session: Digest, run: Digest) -> Result<Option<Self>> {
        log.get(&key::run(session, run))?.map(|bytes| Self::from_bytes(&bytes)).transpose()
    }

    /// The run of a number.
    pub(crate) fn load_number(log: &dyn Log, session: Digest, number: u64) -> Result<Option<Self>> {
        let Some(bytes) = log.get(&key::run_number(session, number))? else { return Ok(None) };
        let run = Digest(Reader::new(&bytes).array()?);
        let record = Self::load(log, session, run)?;
        record.map(Some).ok_or_else(|| Error::corrupt(format!("run {number} has no record")))
    }

    /// How many top-level runs a session has.
    pub(crate) fn count(log: &dyn Log, session: Digest) -> Result<u64> {
        let range = key::within(key::Class::RunNumber, session, Order::Descending);
        let last = log.page(&range, PageLimit::records(1))?;
        last.first().map_or(Ok(0), |record| key::parse_seq(&record.key).map(|(_, number)| number))
    }

    /// Pauses or ends the run. One that has ended can still be marked as replaced.
    pub(crate) fn change(&mut self, status: RunStatus, seq: u64) -> Result<()> {
        if self.status.is_terminal() && status != RunStatus::Regenerated {
            return Err(Error::invalid(format!("run {} is already {}", self.run_id, self.status)));
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
            return Err(Error::invalid(format!("run {} is under way already", self.run_id)));
        }
        self.status = RunStatus::Running;
        self.last_seq = seq;
        Ok(())
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
