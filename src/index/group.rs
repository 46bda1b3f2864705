//! Which commits share a group, and the chain over all groups.

use crate::bytes::Reader;
use crate::codec::GroupLink;
use crate::error::{Error, Result};
use crate::id::Digest;
use crate::limits::COMMIT_EVENTS_MAX;
use crate::log::{Log, Order, PageLimit, key};

/// What a log keeps of a group. It is what shows that the last event of a session was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupRecord {
    pub(crate) link: GroupLink,
    /// Of each commit: the session, the first seq, and the number of events.
    pub(crate) commits: Vec<(Digest, u64, u32)>,
}

impl GroupRecord {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32 + self.commits.len() * 28);
        bytes.extend_from_slice(&self.link.0);
        for (session, first_seq, events) in &self.commits {
            bytes.extend_from_slice(&session.to_bytes());
            bytes.extend_from_slice(&first_seq.to_le_bytes());
            bytes.extend_from_slice(&events.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let link = GroupLink(reader.array()?);
        let mut commits = Vec::new();
        let mut rest = reader.rest();
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            let commit = (Digest(reader.array()?), reader.u64()?, reader.u32()?);
            let (_, first_seq, events) = commit;
            // So that sums over seqs and positions never overflow.
            let is_sane = first_seq > 0
                && first_seq < u64::MAX / 2
                && (1..=COMMIT_EVENTS_MAX).contains(&(events as usize));
            if !is_sane {
                return Err(Error::corrupt("a group lists a commit that cannot be"));
            }
            commits.push(commit);
            rest = reader.rest();
        }
        if commits.is_empty() {
            return Err(Error::corrupt("a group lists no commit"));
        }
        Ok(Self { link, commits })
    }

    /// The last group of a log and the position of its last event.
    pub(crate) fn last(log: &dyn Log) -> Result<Option<(Self, u64)>> {
        let range = key::class_range(key::Class::Group, Order::Descending);
        let last = log.page(&range, PageLimit::records(1))?;
        let Some(record) = last.first() else { return Ok(None) };
        let group = Self::from_bytes(&record.value)?;
        let position = group.end(&record.key)?;
        Ok(Some((group, position)))
    }

    /// The position of its last event, where it stands under that key.
    pub(crate) fn end(&self, record_key: &[u8]) -> Result<u64> {
        let position = key::parse_group(record_key)?.checked_add(self.events() - 1);
        position.ok_or_else(|| Error::corrupt("a position is too large"))
    }

    /// How many events the group has.
    pub(crate) fn events(&self) -> u64 {
        self.commits.iter().map(|(_, _, events)| u64::from(*events)).sum()
    }
}
