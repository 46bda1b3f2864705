//! Every backend keeps the contract of a log.

use std::ops::Bound;
use std::sync::Arc;

use sessionlog::log::{FaultyLog, contract};
use sessionlog::testing::{seal_in_memory, seal_on_disk};
use sessionlog::{
    Batch, BlobStore, Durability, FileBlobs, KeyProvider, Log, MemoryBlobs, MemoryLog, Op,
    PageLimit, Range, Record, Result, StaticKey, blob,
};

use crate::support::Disk;

#[test]
fn the_log_in_memory_keeps_the_contract() {
    let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
    contract::check(&mut |_| Arc::clone(&log));
}

#[test]
fn the_log_on_disk_keeps_the_contract() {
    let disk = Disk::new();
    let path = disk.path();
    contract::check(&mut |before| {
        drop(before);
        sessionlog::log::open_sled(&path).unwrap()
    });
}

#[test]
fn the_log_that_fails_keeps_the_contract_while_it_does_not_fail() {
    // Closed in good order, and by a power cut: what was appended is there either way.
    for is_cut in [false, true] {
        let mut log = Arc::new(FaultyLog::new(1));
        contract::check(&mut |before| {
            if before.is_some() {
                log = Arc::new(if is_cut { log.crash() } else { log.reopen() });
            }
            Arc::clone(&log) as Arc<dyn Log>
        });
    }
}

#[test]
fn blobs_in_memory_keep_the_contract() {
    let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobs::new());
    blob::contract::check(&mut |_| Arc::clone(&store));
}

#[test]
fn blobs_in_files_keep_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    blob::contract::check(&mut |before| {
        drop(before);
        Arc::new(FileBlobs::open(directory.path().join("media")).unwrap())
    });
}

/// Puts the contract's records under keys whose values are sealed, in the same order. Without
/// optimisation sealing is slow, so those that come to many megabytes stay clear.
#[derive(Debug)]
struct AsSessions(Arc<dyn Log>);

/// A class of the suite becomes a session in a class of the engine's.
fn disguise(key: &[u8]) -> Vec<u8> {
    let (class, rest) = key.split_first().unwrap();
    let stored = match class {
        ..b'2' => b'a',
        b'2'..=b'6' => b'c',
        b'7'..=b'8' => b'd',
        b'9'..b'A' => b's',
        b'A'.. => b't',
    };
    [&[stored], [*class; 16].as_slice(), rest].concat()
}

fn undisguise(key: &[u8]) -> Vec<u8> {
    [&key[1..2], &key[17..]].concat()
}

impl Log for AsSessions {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.0.get(&disguise(key))
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        let bound = |bound: &Bound<Vec<u8>>| bound.as_ref().map(|key| disguise(key));
        let (from, until) = (bound(&range.from), bound(&range.until));
        let page = self.0.page(&Range { from, until, order: range.order }, limit)?;
        let plain = |record: Record| Record { key: undisguise(&record.key), ..record };
        Ok(page.into_iter().map(plain).collect())
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        self.0.append(&disguise_batch(batch), durability, mark)
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.0.apply(&disguise_batch(batch))
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        self.0.durable_mark()
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.0.disk_bytes()
    }
}

fn disguise_batch(batch: &Batch) -> Batch {
    let mut disguised = Batch::new();
    for op in batch.ops() {
        let key = disguise(op.key());
        match op {
            Op::Insert(record) => disguised.insert(key, record.value.clone()),
            Op::Replace(record) => disguised.replace(key, record.value.clone()),
            Op::Remove(_) => disguised.remove(key),
        }
    }
    disguised
}

fn provider() -> Arc<dyn KeyProvider> {
    Arc::new(StaticKey::new([1; 32]))
}

#[test]
fn a_log_that_seals_keeps_the_contract_where_some_values_are_not_sealed_yet() {
    let inner: Arc<dyn Log> = Arc::new(MemoryLog::new());
    // Records of the suite's own sessions, as an engine without a key left them.
    let plain = AsSessions(Arc::clone(&inner));
    contract::l3_pages_come_in_key_order_within_bounds(&plain);
    contract::l5_a_shorter_value_leaves_nothing_of_a_longer_one(&plain);
    let sealed: Arc<dyn Log> = Arc::new(AsSessions(seal_in_memory(inner, provider()).unwrap()));
    contract::check(&mut |_| Arc::clone(&sealed));
}

#[test]
fn a_log_that_seals_keeps_the_contract_on_disk() {
    let disk = Disk::new();
    let path = disk.path();
    contract::check(&mut |before| {
        drop(before);
        let inner = sessionlog::log::open_sled(&path).unwrap();
        Arc::new(AsSessions(seal_on_disk(inner, provider(), &path).unwrap()))
    });
}
