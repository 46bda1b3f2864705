//! The contract of a log as a suite: one function a rule. A backend of one's own passes it in
//! one line.
//!
//! ```
//! use std::sync::Arc;
//! use sessionlog::{Log, MemoryLog};
//! use sessionlog::log::contract;
//!
//! // A log in memory is "opened again" by handing out the same one.
//! let log: Arc<dyn Log> = Arc::new(MemoryLog::new());
//! contract::check(&mut |_close| Arc::clone(&log));
//! ```
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a suite reports by panicking, as the docs of its entry say"
)]
#![expect(clippy::cast_possible_truncation, reason = "its numbers are small")]

use std::ops::Bound::{self, Excluded, Included};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Batch, Durability, Log, Order, PageLimit, Range, Record};

/// Opens the log under test again. It is handed the log it returned before, if any, to be
/// closed first.
pub type Open<'a> = dyn FnMut(Option<Arc<dyn Log>>) -> Arc<dyn Log> + 'a;

/// Runs every rule on one empty log.
///
/// # Panics
/// Where the log breaks a rule, naming it.
pub fn check(open: &mut Open<'_>) {
    let log = open(None);
    l1_what_was_applied_is_read_back(&*log);
    l2_a_batch_takes_effect_whole_and_in_order(&*log);
    l3_pages_come_in_key_order_within_bounds(&*log);
    l4_a_page_ends_at_its_limit_and_going_on_misses_nothing(&*log);
    l5_a_shorter_value_leaves_nothing_of_a_longer_one(&*log);
    l6_removing_takes_one_key_and_no_other(&*log);
    let log = l7_what_was_appended_is_there_after_opening_again(log, open);
    let log = l8_the_mark_follows_the_appends(log, open);
    l9_many_threads_read_what_one_writes(&log);
    l10_what_an_append_returned_for_is_visible_at_once(&log);
}

/// Sizes around every boundary a backend may have, up to the largest event and more.
const SIZES: [usize; 14] = [
    0, 1, 255, 4_091, 4_092, 4_093, 4_096, 4_097, 8_188, 8_192, 65_536, 131_072, 300_000,
    20_000_000,
];

/// A value that differs at every place.
fn value(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

fn key(class: u8, number: u64) -> Vec<u8> {
    [&[class], number.to_be_bytes().as_slice()].concat()
}

fn put(log: &dyn Log, records: &[(Vec<u8>, Vec<u8>)]) {
    let mut batch = Batch::new();
    for (key, value) in records {
        batch.insert(key.clone(), value.clone());
    }
    log.apply(&batch).unwrap();
}

fn all(log: &dyn Log, range: Range, limit: PageLimit) -> Vec<Record> {
    let (mut range, mut records) = (range, Vec::new());
    loop {
        let page = log.page(&range, limit).unwrap();
        let Some(last) = page.last() else { return records };
        range = range.behind(&last.key);
        records.extend(page);
    }
}

fn class(class: u8, order: Order) -> Range {
    Range::prefix(&[class], order)
}

/// L1.
pub fn l1_what_was_applied_is_read_back(log: &dyn Log) {
    assert_eq!(log.get(&key(b'1', 0)).unwrap(), None, "L1: an absent key has a value");
    for (number, size) in (0..).zip(SIZES) {
        let (key, value) = (key(b'1', number), value(size, 1));
        put(log, &[(key.clone(), value.clone())]);
        assert!(log.get(&key).unwrap() == Some(value), "L1: {size} bytes came back otherwise");
    }
    let back = all(log, class(b'1', Order::Ascending), PageLimit::default());
    for (record, size) in back.iter().zip(SIZES) {
        assert!(record.value == value(size, 1), "L1: {size} bytes differ in a page");
    }
    assert_eq!(back.len(), SIZES.len(), "L1: a page leaves records out");
}

/// L2.
pub fn l2_a_batch_takes_effect_whole_and_in_order(log: &dyn Log) {
    for size in [1, 4_096, 100_000] {
        let (twice, gone, back) = (key(b'2', 1), key(b'2', 2), key(b'2', 3));
        let mut batch = Batch::new();
        batch.insert(twice.clone(), value(size, 1));
        batch.replace(twice.clone(), b"second".to_vec());
        batch.insert(gone.clone(), value(size, 2));
        batch.remove(gone.clone());
        batch.remove(back.clone());
        batch.insert(back.clone(), value(size, 3));
        log.apply(&batch).unwrap();
        assert_eq!(log.get(&twice).unwrap().as_deref(), Some(b"second".as_slice()), "L2");
        assert_eq!(log.get(&gone).unwrap(), None, "L2: a key written and removed is there");
        assert!(log.get(&back).unwrap() == Some(value(size, 3)), "L2: removed, then written");
        let keys: Vec<_> = all(log, class(b'2', Order::Ascending), PageLimit::default())
            .into_iter()
            .map(|r| r.key)
            .collect();
        assert_eq!(keys, [twice.clone(), back.clone()], "L2: pages disagree with get");
        let mut batch = Batch::new();
        batch.remove(twice);
        batch.remove(back);
        log.apply(&batch).unwrap();
    }
    log.apply(&Batch::new()).unwrap();
}

/// L3.
pub fn l3_pages_come_in_key_order_within_bounds(log: &dyn Log) {
    // Written out of order, with values of one and of several chunks side by side.
    for number in [5_u64, 1, 4, 2, 3] {
        put(log, &[(key(b'3', number), value(number as usize * 3_000, 3))]);
    }
    let numbers = |from: Bound<u64>, until: Bound<u64>, order: Order| -> Vec<u64> {
        let bound = |bound: Bound<u64>| bound.map(|number| key(b'3', number));
        let range = Range { from: bound(from), until: bound(until), order };
        let found = all(log, range, PageLimit::records(2));
        found.iter().map(|r| u64::from_be_bytes(*r.key.last_chunk().unwrap())).collect()
    };
    assert_eq!(numbers(Included(2), Included(4), Order::Ascending), [2, 3, 4], "L3");
    assert_eq!(numbers(Included(2), Included(4), Order::Descending), [4, 3, 2], "L3");
    assert_eq!(numbers(Excluded(2), Excluded(4), Order::Ascending), [3], "L3");
    assert_eq!(numbers(Excluded(2), Excluded(4), Order::Descending), [3], "L3");
    assert_eq!(numbers(Excluded(0), Excluded(9), Order::Descending), [5, 4, 3, 2, 1], "L3");
    assert!(numbers(Included(4), Included(2), Order::Ascending).is_empty(), "L3: bounds crossed");
    assert!(numbers(Excluded(3), Excluded(3), Order::Descending).is_empty(), "L3: empty bounds");
    let whole = Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending };
    let keys: Vec<_> = all(log, whole, PageLimit::default()).into_iter().map(|r| r.key).collect();
    assert!(keys.is_sorted(), "L3: the whole log is out of order");
}

/// L4.
pub fn l4_a_page_ends_at_its_limit_and_going_on_misses_nothing(log: &dyn Log) {
    let records: Vec<_> =
        (0..100).map(|number| (key(b'4', number), value(number as usize * 200, 4))).collect();
    put(log, &records);
    for order in [Order::Ascending, Order::Descending] {
        for limit in [
            PageLimit { records: 1, bytes: usize::MAX },
            PageLimit { records: 7, bytes: usize::MAX },
            PageLimit { records: usize::MAX, bytes: 1 },
            PageLimit { records: usize::MAX, bytes: 50_000 },
        ] {
            let first = log.page(&class(b'4', order), limit).unwrap();
            assert!((1..=limit.records).contains(&first.len()), "L4: {} records", first.len());
            let (_, all_but_last) = first.split_last().unwrap();
            let bytes: usize = all_but_last.iter().map(|r| r.key.len() + r.value.len()).sum();
            assert!(bytes < limit.bytes, "L4: {bytes} bytes before the last record");
            let mut found = all(log, class(b'4', order), limit);
            if order == Order::Descending {
                found.reverse();
            }
            let found: Vec<_> = found.into_iter().map(|r| (r.key, r.value)).collect();
            assert!(found == records, "L4: going on misses or repeats something");
        }
    }
}

/// L5.
pub fn l5_a_shorter_value_leaves_nothing_of_a_longer_one(log: &dyn Log) {
    let (before, changed, after) = (key(b'5', 1), key(b'5', 2), key(b'5', 3));
    put(log, &[(before.clone(), b"before".to_vec()), (after.clone(), b"after".to_vec())]);
    for size in [100_000, 10, 9_000, 4_092, 0, 5_000, 1] {
        let mut batch = Batch::new();
        batch.replace(changed.clone(), value(size, 5));
        log.apply(&batch).unwrap();
        for order in [Order::Ascending, Order::Descending] {
            let mut found = all(log, class(b'5', order), PageLimit::default());
            if order == Order::Descending {
                found.reverse();
            }
            let found: Vec<_> = found.into_iter().map(|r| (r.key, r.value)).collect();
            let wanted = [
                (before.clone(), b"before".to_vec()),
                (changed.clone(), value(size, 5)),
                (after.clone(), b"after".to_vec()),
            ];
            assert!(found == wanted, "L5: after replacing by {size} bytes");
        }
    }
}

/// L6.
pub fn l6_removing_takes_one_key_and_no_other(log: &dyn Log) {
    let records: Vec<_> = (0..5).map(|number| (key(b'6', number), value(9_000, 6))).collect();
    put(log, &records);
    let mut batch = Batch::new();
    batch.remove(key(b'6', 2));
    batch.remove(key(b'6', 77));
    log.apply(&batch).unwrap();
    let left: Vec<_> = all(log, class(b'6', Order::Ascending), PageLimit::default())
        .into_iter()
        .map(|r| r.key)
        .collect();
    let wanted: Vec<_> = [0, 1, 3, 4].map(|number| key(b'6', number)).into();
    assert_eq!(left, wanted, "L6");
    assert_eq!(log.get(&key(b'6', 2)).unwrap(), None, "L6: a removed key has a value");
}

/// L7.
pub fn l7_what_was_appended_is_there_after_opening_again(
    log: Arc<dyn Log>,
    open: &mut Open<'_>,
) -> Arc<dyn Log> {
    let whole =
        || Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending };
    // What was only applied becomes durable with whatever is appended after it, or is lost; so
    // the suite first makes everything before it durable by closing the log in good order.
    let log = open(Some(log));
    for (number, size) in (0..).zip(SIZES) {
        let mut batch = Batch::new();
        batch.insert(key(b'7', number), value(size, 7));
        batch.replace(key(b'7', 100), value(size, 8));
        batch.insert(key(b'7', 101 + number), value(10, 9));
        batch.remove(key(b'7', 101 + number));
        log.append(&batch, Durability::PowerLoss, 1).unwrap();
    }
    let before = all(&*log, whole(), PageLimit::default());
    let log = open(Some(log));
    let after = all(&*log, whole(), PageLimit::default());
    assert!(before == after, "L7: what was appended is not what is there");
    log
}

/// L8.
pub fn l8_the_mark_follows_the_appends(log: Arc<dyn Log>, open: &mut Open<'_>) -> Arc<dyn Log> {
    log.append(&Batch::new(), Durability::PowerLoss, 41).unwrap();
    log.append(&Batch::new(), Durability::PowerLoss, 42).unwrap();
    let mark = log.durable_mark().unwrap();
    assert!(mark.is_none_or(|mark| mark == 42), "L8: the mark is {mark:?} after an append at 42");
    let log = open(Some(log));
    assert_eq!(log.durable_mark().unwrap(), mark, "L8: the mark changed by opening again");
    log
}

/// L9.
pub fn l9_many_threads_read_what_one_writes(log: &Arc<dyn Log>) {
    let last = 200;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4)
            .map(|_| {
                let log = Arc::clone(log);
                scope.spawn(move || {
                    loop {
                        let found =
                            all(&*log, class(b'9', Order::Ascending), PageLimit::records(16));
                        for record in &found {
                            let number = u64::from_be_bytes(*record.key.last_chunk().unwrap());
                            assert!(
                                record.value == value(number as usize * 50, 9),
                                "L9: a torn value"
                            );
                        }
                        if found.len() == last {
                            break;
                        }
                    }
                })
            })
            .collect();
        for number in 0..last as u64 {
            put(&**log, &[(key(b'9', number), value(number as usize * 50, 9))]);
        }
        for reader in readers {
            reader.join().unwrap_or_else(|_| panic!("L9: a reader met something wrong"));
        }
    });
}

/// L10. Each append writes a record, replaces another and removes the one eight before. Readers
/// are told of it as soon as it has returned.
pub fn l10_what_an_append_returned_for_is_visible_at_once(log: &Arc<dyn Log>) {
    let last = 400;
    let returned = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for reader in 0..4 {
            let (log, returned) = (Arc::clone(log), &returned);
            scope.spawn(move || {
                loop {
                    let told = returned.load(Ordering::Acquire);
                    let order = if reader % 2 == 0 { Order::Ascending } else { Order::Descending };
                    l10_shows(&*log, told, returned, order);
                    if told == last {
                        return;
                    }
                }
            });
        }
        for number in 1..=last {
            let mut batch = Batch::new();
            batch.insert(l10_key(number), l10_value(number));
            batch.replace(key(b'B', 0), number.to_be_bytes().to_vec());
            batch.remove(l10_key(number.saturating_sub(8)));
            log.append(&batch, Durability::ProcessCrash, number).unwrap();
            returned.store(number, Ordering::Release);
        }
    });
}

fn l10_key(number: u64) -> Vec<u8> {
    key(b'A', number)
}

/// Of one chunk, of several, and large, in turn.
fn l10_value(number: u64) -> Vec<u8> {
    let len = match number % 4 {
        0 => 100,
        1 => 9_000,
        2 => 200_000,
        _ => 4_092,
    };
    value(len, number as u8)
}

/// Checks that a log shows what appends up to `told` did. Later ones may show too, and some of
/// the records may be gone by the time they are looked for.
fn l10_shows(log: &dyn Log, told: u64, returned: &AtomicU64, order: Order) {
    let counter = log.get(&key(b'B', 0)).unwrap();
    let counter = counter.map_or(0, |bytes| u64::from_be_bytes(*bytes.last_chunk().unwrap()));
    assert!(counter >= told, "L10: a replaced value is {counter} after {told} returned");
    let found = log.get(&l10_key(told)).unwrap();
    let page = log.page(&class(b'A', order), PageLimit::records(64)).unwrap();
    // The one being appended now may have removed it, though it did not return yet.
    let is_safe = returned.load(Ordering::Acquire) + 1 < told + 8 && told > 0;
    if is_safe {
        assert!(found == Some(l10_value(told)), "L10: {told} returned and is not there");
        let record = page.iter().find(|record| record.key == l10_key(told));
        assert!(record.is_some_and(|r| r.value == l10_value(told)), "L10: {told} is in no page");
    }
    let first = l10_key(told.saturating_sub(7));
    let is_gone = page.iter().all(|record| record.key >= first);
    assert!(is_gone, "L10: what was removed before {told} returned is in a page");
    let is_sorted = match order {
        Order::Ascending => page.is_sorted_by(|a, b| a.key < b.key),
        Order::Descending => page.is_sorted_by(|a, b| a.key > b.key),
    };
    assert!(is_sorted, "L10: a page is out of order");
}
