//! The contract of a blob store as a suite: one function a rule. A store of one's own passes it
//! in one line.
//!
//! ```
//! use std::sync::Arc;
//! use sessionlog::{BlobStore, MemoryBlobs};
//! use sessionlog::blob::contract;
//!
//! // A store in memory is "opened again" by handing out the same one.
//! let store: Arc<dyn BlobStore> = Arc::new(MemoryBlobs::new());
//! contract::check(&mut |_close| Arc::clone(&store));
//! ```
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite reports by panicking, as the docs of its entry say"
)]

use std::io::{Read, Write};
use std::sync::{Arc, Barrier};

use super::{BlobName, BlobStore};

/// Opens the store under test again. It is handed the store it returned before, if any, to be
/// closed first.
pub type Open<'a> = dyn FnMut(Option<Arc<dyn BlobStore>>) -> Arc<dyn BlobStore> + 'a;

/// Runs every rule on one empty store.
///
/// # Panics
/// Where the store breaks a rule, naming it.
pub fn check(open: &mut Open<'_>) {
    let store = open(None);
    assert_eq!(store.names(None, 1).unwrap(), [], "the store is not empty");
    b1_what_was_written_is_read_back(&*store);
    b2_nothing_shows_before_it_is_finished(&*store);
    b3_a_name_keeps_the_bytes_it_has(&*store);
    b4_of_writers_of_one_name_one_is_the_first(&*store);
    b5_removing_takes_one_blob_and_no_other(&*store);
    b6_names_come_in_order_each_once(&*store);
    let store = b7_what_was_finished_is_there_after_opening_again(store, open);
    b8_an_opened_blob_is_read_to_its_end(&*store);
}

/// Names of one rule, in the order of their numbers, and in several folders where there are any.
fn name(rule: u8, number: u8) -> BlobName {
    let mut bytes = [0; 32];
    blake3::Hasher::new().update(&[rule, number]).finalize_xof().fill(&mut bytes);
    let [first, second, ..] = &mut bytes;
    (*first, *second) = (rule << 4 | number >> 4, number);
    BlobName::from_bytes(bytes)
}

/// Bytes that differ at every place.
fn value(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn put(store: &dyn BlobStore, name: BlobName, bytes: &[u8]) -> bool {
    let mut writer = store.create().unwrap();
    writer.write_all(bytes).unwrap();
    writer.finish(name).unwrap()
}

fn read(store: &dyn BlobStore, name: BlobName) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    store.open(name).unwrap()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// B1.
pub fn b1_what_was_written_is_read_back(store: &dyn BlobStore) {
    assert!(store.open(name(1, 0)).unwrap().is_none(), "B1: an absent name has bytes");
    assert_eq!(store.size(name(1, 0)).unwrap(), None, "B1: an absent name has a size");
    for (number, len) in (0..).zip([0, 1, 4_096, 65_537, 20_000_000]) {
        let bytes = value(len, number);
        assert!(put(store, name(1, number), &bytes), "B1: a new blob was there already");
        assert_eq!(store.size(name(1, number)).unwrap(), Some(len as u64), "B1: the size");
        assert!(read(store, name(1, number)) == Some(bytes), "B1: {len} bytes came back otherwise");
    }
    let bytes = value(10_000, 9);
    let mut writer = store.create().unwrap();
    for piece in bytes.chunks(77) {
        writer.write_all(piece).unwrap();
    }
    writer.finish(name(1, 9)).unwrap();
    assert!(read(store, name(1, 9)) == Some(bytes), "B1: many writes came back otherwise");
}

/// B2.
pub fn b2_nothing_shows_before_it_is_finished(store: &dyn BlobStore) {
    let (names, bytes) = (store.names(None, 100).unwrap(), store.disk_bytes().unwrap());
    let mut writer = store.create().unwrap();
    writer.write_all(&value(100_000, 2)).unwrap();
    writer.flush().unwrap();
    assert_eq!(store.names(None, 100).unwrap(), names, "B2: an unfinished blob has a name");
    drop(writer);
    assert_eq!(store.names(None, 100).unwrap(), names, "B2: a dropped blob has a name");
    assert_eq!(store.disk_bytes().unwrap(), bytes, "B2: a dropped blob takes room");
}

/// B3.
pub fn b3_a_name_keeps_the_bytes_it_has(store: &dyn BlobStore) {
    assert!(put(store, name(3, 0), b"first"), "B3: a new blob was there already");
    assert!(!put(store, name(3, 0), b"the second"), "B3: a blob that is there was new");
    assert_eq!(read(store, name(3, 0)).as_deref(), Some(b"first".as_slice()), "B3");
}

/// B4.
pub fn b4_of_writers_of_one_name_one_is_the_first(store: &dyn BlobStore) {
    let bytes = value(50_000, 4);
    for number in 0..16 {
        let barrier = Barrier::new(4);
        let firsts = std::thread::scope(|scope| {
            let write = || {
                let mut writer = store.create().unwrap();
                writer.write_all(&bytes).unwrap();
                barrier.wait();
                writer.finish(name(4, number)).unwrap()
            };
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            let told = writers.into_iter().map(|writer| {
                writer.join().unwrap_or_else(|_| panic!("B4: a writer met something wrong"))
            });
            told.filter(|is_first| *is_first).count()
        });
        assert_eq!(firsts, 1, "B4: so many were told that they were the first");
        assert!(read(store, name(4, number)).as_ref() == Some(&bytes), "B4: a torn blob");
    }
}

/// B5.
pub fn b5_removing_takes_one_blob_and_no_other(store: &dyn BlobStore) {
    put(store, name(5, 0), b"stays");
    put(store, name(5, 1), b"goes");
    assert!(store.remove(name(5, 1)).unwrap(), "B5: what was there was not");
    assert!(!store.remove(name(5, 1)).unwrap(), "B5: what is gone was there");
    assert!(read(store, name(5, 1)).is_none(), "B5: a removed blob has bytes");
    assert_eq!(store.size(name(5, 1)).unwrap(), None, "B5: a removed blob has a size");
    assert_eq!(read(store, name(5, 0)).as_deref(), Some(b"stays".as_slice()), "B5: another went");
    assert!(put(store, name(5, 1), b"back"), "B5: a removed name cannot be written again");
    assert_eq!(read(store, name(5, 1)).as_deref(), Some(b"back".as_slice()), "B5");
}

/// B6.
pub fn b6_names_come_in_order_each_once(store: &dyn BlobStore) {
    for number in (0..100_u8).rev() {
        put(store, name(6, number), &value(usize::from(number), 6));
    }
    let all = store.names(None, usize::MAX).unwrap();
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "B6: names are out of order");
    for (number, size) in (0..100).zip(0..) {
        assert!(all.contains(&(name(6, number), size)), "B6: {number} is not listed as it is");
    }
    for limit in [1, 7, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.names(after, limit).unwrap();
            assert!(page.len() <= limit, "B6: a page is longer than its limit");
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            found.extend(page);
        }
        assert_eq!(found, all, "B6: pages of {limit} differ from the whole");
    }
}

/// B7.
pub fn b7_what_was_finished_is_there_after_opening_again(
    store: Arc<dyn BlobStore>,
    open: &mut Open<'_>,
) -> Arc<dyn BlobStore> {
    put(&*store, name(7, 0), b"stays");
    put(&*store, name(7, 1), b"goes");
    store.remove(name(7, 1)).unwrap();
    let names = store.names(None, usize::MAX).unwrap();
    let store = open(Some(store));
    assert_eq!(store.names(None, usize::MAX).unwrap(), names, "B7: names differ");
    assert_eq!(read(&*store, name(7, 0)).as_deref(), Some(b"stays".as_slice()), "B7");
    assert!(read(&*store, name(7, 1)).is_none(), "B7: a removed blob is back");
    store
}

/// B8.
pub fn b8_an_opened_blob_is_read_to_its_end(store: &dyn BlobStore) {
    let bytes = value(1_000_000, 8);
    put(store, name(8, 0), &bytes);
    let mut reader = store.open(name(8, 0)).unwrap().unwrap();
    let mut found = vec![0; 10];
    reader.read_exact(&mut found).unwrap();
    store.remove(name(8, 0)).unwrap();
    reader.read_to_end(&mut found).unwrap();
    assert!(found == bytes, "B8: a blob that was removed meanwhile came otherwise");
}
