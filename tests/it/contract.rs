//! Every backend keeps the contract of a log.

use std::sync::Arc;

use sessionlog::log::contract;
use sessionlog::{Log, MemoryLog};

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
