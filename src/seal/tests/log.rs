//! Values through a log that seals.

use super::*;
use crate::error::ErrorKind;
use crate::seal::vault::Held;

const WORDS: &str = "the secret is a blue parcel";

#[test]
fn nothing_of_a_value_is_found_in_what_is_stored() {
    let sealed = Sealed::new();
    for (key, value) in records(SESSION, WORDS) {
        sealed.put(&key, &value);
        let stored = sealed.inner.get(&key).unwrap().unwrap();
        assert!(contains(&value, WORDS.as_bytes()) && !contains(&stored, WORDS.as_bytes()));
        // Not even parts of it.
        let clear = if key[0] == b'f' { 201 } else { 0 };
        for part in value[clear..].chunks_exact(6) {
            assert!(!contains(&stored[clear..], part), "{part:?} of {key:?}");
        }
        assert_eq!(sealed.log.get(&key).unwrap().as_deref(), Some(value.as_slice()));
    }
    assert_eq!(everything(&sealed.log), records(SESSION, WORDS));
}

#[test]
fn the_header_of_a_sealed_frame_can_be_read_without_its_key() {
    let sealed = Sealed::new();
    let (key, plain) = (key::frame(SESSION, 1), frame(SESSION, 1, WORDS));
    sealed.put(&key, &plain);
    let stored = sealed.inner.get(&key).unwrap().unwrap();
    assert_eq!(stored[..200], plain[..200]);
    assert_eq!(stored[200], 0x80);
}

#[test]
fn the_same_value_is_never_sealed_the_same_way() {
    let sealed = Sealed::new();
    let key = key::snapshot(SESSION, 1);
    let once = |sealed: &Sealed| {
        sealed.put(&key, b"a view");
        sealed.inner.get(&key).unwrap()
    };
    assert_ne!(once(&sealed), once(&sealed));
}

#[test]
fn values_of_any_size_come_back() {
    let sealed = Sealed::new();
    for size in [0, 1, 7, 8, 63, 64, 65, 4_096, 200_000] {
        let value: Vec<u8> = (0..size).map(|at: u32| at.to_le_bytes()[at as usize % 3]).collect();
        sealed.put(&key::snapshot(SESSION, 1), &value);
        assert!(sealed.log.get(&key::snapshot(SESSION, 1)).unwrap() == Some(value), "{size}");
    }
}

#[test]
fn what_says_nothing_personal_stays_clear() {
    let sealed = Sealed::new();
    let body = EncodedBody::encode(&message(WORDS)).unwrap();
    let kinds = [EventKind::Deleted, EventKind::PolicySet, EventKind::Compacted, EventKind::Erased];
    for (seq, kind) in (1..).zip(kinds) {
        let value = frame_of_kind(kind, SESSION, seq, &body);
        sealed.put(&key::frame(SESSION, seq), &value);
        assert_eq!(sealed.inner.get(&key::frame(SESSION, seq)).unwrap(), Some(value));
    }
    let whole = frame(SESSION, 9, WORDS);
    let removed = Frame::bodiless(&whole, crate::codec::BodyForm::Removed).unwrap().to_bytes();
    sealed.put(&key::frame(SESSION, 9), &removed);
    assert_eq!(sealed.inner.get(&key::frame(SESSION, 9)).unwrap(), Some(removed));
    sealed.put(&key::meta(), b"{}");
    assert_eq!(sealed.inner.get(&key::meta()).unwrap().as_deref(), Some(b"{}".as_slice()));
    assert!(sealed.vault.key(SESSION).unwrap().is_none(), "a key that seals nothing was made");
}

#[test]
fn what_was_written_before_sealing_is_read_as_it_is() {
    let inner = Arc::new(MemoryLog::new());
    for (key, value) in records(SESSION, WORDS) {
        put(&*inner, &key, &value);
    }
    let sealed = Sealed::over(inner, Arc::new(MemoryKeys::default()));
    for (key, value) in records(OTHER, WORDS) {
        sealed.put(&key, &value);
    }
    let mut wanted = [records(SESSION, WORDS), records(OTHER, WORDS)].concat();
    wanted.sort();
    assert_eq!(everything(&sealed.log), wanted);
}

#[test]
fn a_key_is_durable_before_anything_is_sealed_under_it() {
    let keys = Arc::new(MemoryKeys::default());
    let sealed = Sealed::over(Arc::new(MemoryLog::new()), keys.clone());
    sealed.put(&key::snapshot(SESSION, 1), b"a view");
    sealed.put(&key::snapshot(OTHER, 1), b"a view");
    assert_eq!(keys.list().unwrap().len(), 3, "two sessions and the probe");
    let again = Sealed::over(Arc::clone(&sealed.inner), keys);
    assert_eq!(everything(&again.log), everything(&sealed.log));
}

#[test]
fn every_flipped_bit_of_a_sealed_value_is_an_error() {
    let sealed = Sealed::new();
    for (key, value) in records(SESSION, WORDS) {
        sealed.put(&key, &value);
        let stored = sealed.inner.get(&key).unwrap().unwrap();
        for bit in 0..stored.len() * 8 {
            let mut damaged = stored.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            put(&*sealed.inner, &key, &damaged);
            let page =
                sealed.log.page(&Range::prefix(&key, Order::Ascending), PageLimit::default());
            let got = sealed.log.get(&key);
            if key[0] == b'f' {
                // Whoever reads it is told, and those beside it are not hidden.
                let (got, page) = (got.unwrap().unwrap(), page.unwrap());
                assert!(Frame::open(&got, SESSION, 1).is_err(), "bit {bit}");
                assert_eq!(page[0].value, got);
            } else {
                assert!(got.unwrap_err().is_corrupt(), "bit {bit}");
                assert!(page.unwrap_err().is_corrupt(), "bit {bit} in a page");
            }
        }
        put(&*sealed.inner, &key, &stored);
    }
}

#[test]
fn a_sealed_value_that_is_cut_short_is_an_error() {
    let sealed = Sealed::new();
    for (key, value) in records(SESSION, WORDS) {
        sealed.put(&key, &value);
        let stored = sealed.inner.get(&key).unwrap().unwrap();
        let marked = if key[0] == b'f' { 201 } else { 8 };
        for len in marked..stored.len() {
            put(&*sealed.inner, &key, &stored[..len]);
            let got = sealed.log.get(&key);
            let opened = got.and_then(|got| Frame::open(&got.unwrap(), SESSION, 1).map(|_| ()));
            assert!(opened.unwrap_err().is_corrupt(), "{len} bytes");
        }
    }
}

#[test]
fn a_sealed_value_opens_only_where_it_was_put() {
    let sealed = Sealed::new();
    let (first, second) = (key::snapshot(SESSION, 1), key::snapshot(SESSION, 2));
    sealed.put(&first, b"first");
    put(&*sealed.inner, &second, &sealed.inner.get(&first).unwrap().unwrap());
    assert!(sealed.log.get(&second).unwrap_err().is_corrupt());
}

#[test]
fn a_damaged_frame_does_not_hide_those_beside_it() {
    let sealed = Sealed::new();
    for seq in 1..=3 {
        sealed.put(&key::frame(SESSION, seq), &frame(SESSION, seq, WORDS));
    }
    let mut damaged = sealed.inner.get(&key::frame(SESSION, 2)).unwrap().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    put(&*sealed.inner, &key::frame(SESSION, 2), &damaged);
    let found = everything(&sealed.log);
    assert_eq!(found[0].1, frame(SESSION, 1, WORDS));
    assert_eq!(found[2].1, frame(SESSION, 3, WORDS));
    let words = Frame::open(&found[1].1, SESSION, 2).unwrap_err().to_string();
    assert_eq!(words, "corrupt: the body was changed");
    // The chain can still be followed.
    let (there, was) = (found[1].1.as_slice(), frame(SESSION, 2, WORDS));
    assert_eq!(Frame::parse(there).unwrap().link, Frame::parse(&was).unwrap().link);
}

#[test]
fn what_stands_before_a_damaged_record_is_handed_out_first() {
    let sealed = Sealed::new();
    for seq in 1..=3 {
        sealed.put(&key::snapshot(SESSION, seq), b"a view");
    }
    let mut damaged = sealed.inner.get(&key::snapshot(SESSION, 2)).unwrap().unwrap();
    *damaged.last_mut().unwrap() ^= 1;
    put(&*sealed.inner, &key::snapshot(SESSION, 2), &damaged);
    let range = key::class_range(key::Class::Snapshot, Order::Ascending);
    let page = sealed.log.page(&range, PageLimit::default()).unwrap();
    assert_eq!(page.len(), 1);
    let rest = sealed.log.page(&range.behind(&page[0].key), PageLimit::default());
    assert!(rest.unwrap_err().is_corrupt());
}

#[test]
fn a_destroyed_key_takes_the_values_and_leaves_the_headers() {
    let sealed = Sealed::new();
    for (key, value) in [records(SESSION, WORDS), records(OTHER, WORDS)].concat() {
        sealed.put(&key, &value);
    }
    sealed.vault.destroy(SESSION).unwrap();
    assert!(matches!(sealed.vault.key(SESSION).unwrap_err().kind(), ErrorKind::Key { .. }));
    let stored = sealed.log.get(&key::frame(SESSION, 1)).unwrap().unwrap();
    let there = Frame::open(&stored, SESSION, 1).unwrap();
    let plain = frame(SESSION, 1, WORDS);
    let was = Frame::open(&plain, SESSION, 1).unwrap();
    assert_eq!((there.form, there.body), (crate::codec::BodyForm::Removed, [].as_slice()));
    assert_eq!((&there.header, there.position), (&was.header, was.position));
    assert_eq!(sealed.log.get(&key::catalog(SESSION)).unwrap(), None);
    let left: Vec<_> = everything(&sealed.log).into_iter().map(|(key, _)| key).collect();
    let mut wanted: Vec<_> = records(OTHER, WORDS).into_iter().map(|(key, _)| key).collect();
    wanted.push(key::frame(SESSION, 1));
    wanted.sort();
    assert_eq!(left, wanted);
}

#[test]
fn a_page_goes_on_behind_records_that_are_gone() {
    let sealed = Sealed::new();
    for seq in 1..=50 {
        sealed.put(&key::snapshot(OTHER, seq), b"a view");
    }
    sealed.put(&key::snapshot(SESSION, 1), b"a view");
    sealed.vault.destroy(OTHER).unwrap();
    for order in [Order::Ascending, Order::Descending] {
        let range = key::class_range(key::Class::Snapshot, order);
        let page = sealed.log.page(&range, PageLimit::records(3)).unwrap();
        assert_eq!(page.len(), 1);
        assert_eq!(page[0].key, key::snapshot(SESSION, 1));
        let end = sealed.log.page(&range.behind(&page[0].key), PageLimit::records(3)).unwrap();
        assert_eq!(end, []);
    }
}

#[test]
fn what_is_written_after_a_key_is_destroyed_has_a_new_one() {
    let sealed = Sealed::new();
    for (key, value) in records(SESSION, "old") {
        sealed.put(&key, &value);
    }
    sealed.vault.destroy(SESSION).unwrap();
    sealed.put(&key::catalog(SESSION), b"{\"name\":\"new\"}");
    sealed.put(&key::frame(SESSION, 2), &frame(SESSION, 2, "new"));
    let found = everything(&sealed.log);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], (key::catalog(SESSION), b"{\"name\":\"new\"}".to_vec()));
    let removed = Frame::open(&found[1].1, SESSION, 1).unwrap();
    assert_eq!(removed.form, crate::codec::BodyForm::Removed);
    assert_eq!(found[2].1, frame(SESSION, 2, "new"));
    assert!(
        matches!(sealed.vault.held(SESSION).unwrap(), Held::Live(key) if key.generation() == 2)
    );
}

#[test]
fn what_can_be_lost_goes_with_a_destroyed_key() {
    let sealed = Sealed::new();
    sealed.put(&key::catalog(SESSION), b"{}");
    sealed.vault.destroy(SESSION).unwrap();
    let mut batch = Batch::new();
    batch.replace(key::snapshot(SESSION, 1), b"a view of what is gone".to_vec());
    batch.replace(key::snapshot(OTHER, 1), b"a view".to_vec());
    sealed.log.apply(&batch).unwrap();
    assert_eq!(sealed.inner.get(&key::snapshot(SESSION, 1)).unwrap(), None);
    assert_eq!(
        sealed.log.get(&key::snapshot(OTHER, 1)).unwrap().as_deref(),
        Some(b"a view".as_slice())
    );
    assert!(matches!(sealed.vault.held(SESSION).unwrap(), Held::Destroyed(1)));
}

#[test]
fn a_value_whose_key_is_missing_is_an_error_about_the_key() {
    let sealed = Sealed::new();
    sealed.put(&key::catalog(SESSION), b"{}");
    let keyless = Sealed::over(Arc::clone(&sealed.inner), Arc::new(MemoryKeys::default()));
    let error = keyless.log.get(&key::catalog(SESSION)).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
    let error = keyless.log.page(&key::everything(), PageLimit::default()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
}

#[test]
fn what_is_no_frame_is_not_stored_as_one() {
    let sealed = Sealed::new();
    let mut batch = Batch::new();
    batch.insert(key::frame(SESSION, 1), b"short".to_vec());
    assert!(sealed.log.apply(&batch).is_err());
    assert_eq!(everything(&*sealed.inner), []);
}
