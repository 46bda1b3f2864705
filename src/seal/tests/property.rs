//! A log that seals and a plain one answer alike.

use proptest::prelude::*;

use super::*;
use crate::log::{Op, Record};

/// An operation on one of a few keys, of every class that is sealed and of some that are not.
fn op() -> impl Strategy<Value = Op> {
    let value = proptest::collection::vec(any::<u8>(), 0..300);
    (0..6_u8, 0..3_u64, any::<bool>(), 0..4_u8, value).prop_map(
        |(class, seq, is_other, how, value)| {
            let session = if is_other { OTHER } else { SESSION };
            let key = match class {
                0 => key::frame(session, seq),
                1 => key::snapshot(session, seq),
                2 => key::catalog(session),
                3 => key::run(session, Digest::of_run("run"), seq),
                4 => key::rewind(session, seq),
                _ => key::meta(),
            };
            let is_frame = class == 0;
            let value = if is_frame { frame(session, seq, &format!("{value:?}")) } else { value };
            match how {
                0 => Op::Remove(key),
                1 => Op::Insert(Record { key, value }),
                _ => Op::Replace(Record { key, value }),
            }
        },
    )
}

fn batch(ops: &[Op]) -> Batch {
    let mut batch = Batch::new();
    for op in ops.iter().cloned() {
        match op {
            Op::Remove(key) => batch.remove(key),
            Op::Insert(Record { key, value }) => batch.insert(key, value),
            Op::Replace(Record { key, value }) => batch.replace(key, value),
        }
    }
    batch
}

proptest! {
    #[test]
    fn a_log_that_seals_answers_like_a_plain_one(
        batches in proptest::collection::vec(proptest::collection::vec(op(), 0..8), 1..6),
        limit in 1..5_usize,
        is_ascending: bool,
    ) {
        let (sealed, plain) = (Sealed::new(), MemoryLog::new());
        for (number, ops) in batches.iter().enumerate() {
            let batch = batch(ops);
            if number % 2 == 0 {
                plain.apply(&batch).unwrap();
                sealed.log.apply(&batch).unwrap();
            } else {
                let durability = crate::Durability::ProcessCrash;
                plain.append(&batch, durability, number as u64).unwrap();
                sealed.log.append(&batch, durability, number as u64).unwrap();
            }
        }
        for op in batches.iter().flatten() {
            prop_assert_eq!(sealed.log.get(op.key()).unwrap(), plain.get(op.key()).unwrap());
        }
        let order = if is_ascending { Order::Ascending } else { Order::Descending };
        let mut range = Range { order, ..key::everything() };
        loop {
            let page = plain.page(&range, PageLimit::records(limit)).unwrap();
            prop_assert_eq!(&sealed.log.page(&range, PageLimit::records(limit)).unwrap(), &page);
            let Some(last) = page.last() else { break };
            range = range.behind(&last.key);
        }
        prop_assert_eq!(sealed.log.durable_mark().unwrap(), plain.durable_mark().unwrap());
    }
}
