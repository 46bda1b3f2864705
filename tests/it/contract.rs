//! Every backend keeps the contract of a log.

use std::sync::Arc;

use sessionlog::log::{FaultyLog, contract};
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
