//! What a database holds.

use std::collections::BTreeMap;

use serde::Serialize;

use super::media::BlobUse;
use crate::codec::Frame;
use crate::error::Result;
use crate::event::EventKind;
use crate::index::Entry;
use crate::log::{Log, Scan, key};

/// What a database holds, counted by walking through it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions.
    pub sessions: u64,
    /// Sessions and users' memories whose key cannot be had, which are not among the others.
    #[serde(skip_serializing_if = "is_zero")]
    pub unreadable: u64,
    /// Users who have memories, or had some and did not have them erased.
    pub memory_users: u64,
    /// Top-level runs.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Frames of each kind of event.
    pub kinds: BTreeMap<String, KindStats>,
    /// Bytes of all frames.
    pub frame_bytes: u64,
    /// Snapshots.
    pub snapshots: u64,
    /// Bytes of all snapshots.
    pub snapshot_bytes: u64,
    /// Bytes of the catalog, the indexes and the groups.
    pub index_bytes: u64,
    /// Stored media.
    pub blobs: u64,
    /// Bytes of the stored media.
    pub blob_bytes: u64,
    /// Bytes of those that no event refers to: `Engine::collect_blobs` removes them.
    pub unused_blob_bytes: u64,
    /// Bytes of the files on disk.
    pub disk_bytes: u64,
    /// Bytes of the keys and values of all records.
    pub live_bytes: u64,
    /// Bytes that the files of these records take beyond that, which a rewrite gives back. None where
    /// they are packed and take less than they hold.
    pub dead_bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The frames of one kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct KindStats {
    /// How many.
    pub events: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

pub(super) fn read(log: &dyn Log, published: u64) -> Result<Stats> {
    let mut stats = Stats { disk_bytes: log.disk_bytes()?, ..Stats::default() };
    for record in Scan::new(log, key::everything()) {
        let record = record?;
        stats.count(&record.key, &record.value);
    }
    // Others may be on their way meanwhile; of what is salvaged some may be missing.
    let found: u64 = stats.kinds.values().map(|kind| kind.events).sum();
    stats.events = found.min(published);
    stats.live_bytes = stats.frame_bytes + stats.snapshot_bytes + stats.index_bytes;
    stats.dead_bytes = log.record_file_bytes()?.saturating_sub(stats.live_bytes);
    Ok(stats)
}

impl Stats {
    pub(super) fn count_blobs(&mut self, blobs: &[BlobUse]) {
        let bytes = |blobs: &mut dyn Iterator<Item = &BlobUse>| blobs.map(|blob| blob.bytes).sum();
        self.blobs = blobs.len() as u64;
        self.blob_bytes = bytes(&mut blobs.iter());
        self.unused_blob_bytes = bytes(&mut blobs.iter().filter(|blob| blob.uses == 0));
    }

    fn count(&mut self, record_key: &[u8], value: &[u8]) {
        let bytes = (record_key.len() + value.len()) as u64;
        let is = |class: key::Class| record_key.first() == Some(&(class as u8));
        if is(key::Class::Frame) {
            // A frame that cannot be read is counted, under no kind; `verify` says what is wrong.
            let kind = Frame::parse(value)
                .ok()
                .and_then(|frame| EventKind::from_ordinal(frame.header.kind));
            let name = kind.map_or("unreadable", EventKind::as_str);
            let kind = self.kinds.entry(name.to_owned()).or_default();
            kind.events += 1;
            kind.bytes += bytes;
            self.frame_bytes += bytes;
        } else if is(key::Class::Snapshot) {
            self.snapshots += 1;
            self.snapshot_bytes += bytes;
        } else {
            if is(key::Class::Catalog) {
                // One that cannot be read is counted as a session; `verify` says what is wrong.
                let is_memories = Entry::from_bytes(value).is_ok_and(|entry| entry.is_memories());
                self.memory_users += u64::from(is_memories);
                self.sessions += u64::from(!is_memories);
            }
            self.runs += u64::from(is(key::Class::RunNumber));
            self.index_bytes += bytes;
        }
    }
}
