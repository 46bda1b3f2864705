//! Which commits share a group, and the chain over all groups.

use crate::bytes::Reader;
use crate::codec::GroupLink;
use crate::error::Result;
use crate::id::Digest;

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
            commits.push((Digest(reader.array()?), reader.u64()?, reader.u32()?));
            rest = reader.rest();
        }
        Ok(Self { link, commits })
    }

    /// How many events the group has.
    pub(crate) fn events(&self) -> u64 {
        self.commits.iter().map(|(_, _, events)| u64::from(*events)).sum()
    }
}
