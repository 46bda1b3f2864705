//! The packed file against an ordered map, and what damage does to it.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;

use super::index::HEADER_BYTES;
use super::*;

const ID: PackId = PackId(7);

fn written(records: &BTreeMap<Vec<u8>, Vec<u8>>) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut writer = PackWriter::create(directory.path(), ID).unwrap();
    for (key, value) in records {
        writer.push(&Record { key: key.clone(), value: value.clone() }).unwrap();
    }
    writer.finish().unwrap();
    directory
}

/// Some blocks of what compresses and what does not, with a value larger than a block.
fn sample() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut noise = vec![0; 70_000];
    getrandom::fill(&mut noise).unwrap();
    let mut records: BTreeMap<_, _> =
        (0..60_u8).map(|number| (vec![b'f', number], vec![number; 1_700])).collect();
    records.insert(vec![b'f', 9, 9], noise);
    records.insert(vec![b'g'], Vec::new());
    records
}

fn everything(pack: &Pack) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let range = Range { from: Bound::Unbounded, until: Bound::Unbounded, order: Order::Ascending };
    let limit = PageLimit { records: usize::MAX, bytes: usize::MAX };
    Ok(pack.page(&range, limit)?.into_iter().map(|record| (record.key, record.value)).collect())
}

#[test]
fn whatever_is_changed_in_it_is_found_and_the_rest_stays_readable() {
    let wanted = sample();
    let directory = written(&wanted);
    let path = ID.path_in(directory.path());
    let whole = fs::read(&path).unwrap();
    let mut readable = 0;
    for at in (0..whole.len()).step_by(131).chain(whole.len() - 200..whole.len()) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, changed).unwrap();
        let Ok(pack) = Pack::open(directory.path(), ID) else { continue };
        everything(&pack).unwrap_err();
        for (key, value) in &wanted {
            match pack.get(key) {
                Ok(found) => assert_eq!(found.as_ref(), Some(value), "{key:?}, flip at {at}"),
                Err(error) => {
                    assert!(
                        error.is_corrupt() && error.to_string().contains("block at"),
                        "{error}"
                    );
                    continue;
                }
            }
            readable += 1;
        }
    }
    assert!(readable > wanted.len());
    for len in (0..whole.len()).step_by(997) {
        fs::write(&path, &whole[..len]).unwrap();
        Pack::open(directory.path(), ID).unwrap_err();
    }
}

#[test]
fn a_file_of_another_id_or_a_newer_version_is_refused() {
    let wanted = sample();
    let directory = written(&wanted);
    let (path, other) = (ID.path_in(directory.path()), PackId(8));
    fs::copy(&path, other.path_in(directory.path())).unwrap();
    assert!(Pack::open(directory.path(), other).unwrap_err().is_corrupt());
    let mut newer = fs::read(&path).unwrap();
    newer[4] = 9;
    fs::write(&path, &newer).unwrap();
    let error = Pack::open(directory.path(), ID).unwrap_err();
    assert!(matches!(error.kind(), crate::ErrorKind::NewerFormat { found: 9, .. }), "{error}");
    // A flipped bit says the same, and then the blocks are as this version writes them.
    let left = Pack::salvage(directory.path(), ID).unwrap();
    assert_eq!(everything(&left).unwrap(), wanted);
    newer[HEADER_BYTES..].fill(9);
    fs::write(&path, &newer).unwrap();
    let error = Pack::salvage(directory.path(), ID).unwrap_err();
    assert!(matches!(error.kind(), crate::ErrorKind::NewerFormat { found: 9, .. }), "{error}");
}

/// The index is lost too: what is in front of a length that cannot be is left.
#[test]
fn blocks_in_front_of_one_of_any_length_are_left() {
    let wanted = sample();
    let directory = written(&wanted);
    let path = ID.path_in(directory.path());
    let second =
        usize::try_from(Pack::open(directory.path(), ID).unwrap().blocks[1].offset).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    for len in [u32::MAX, u32::MAX - 1_000, 1 << 20, 0] {
        bytes[second + 1..second + 5].copy_from_slice(&len.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        let left = everything(&Pack::salvage(directory.path(), ID).unwrap()).unwrap();
        assert!(!left.is_empty() && left.len() < wanted.len(), "{len}: {}", left.len());
        assert!(left.iter().all(|(key, value)| wanted.get(key) == Some(value)));
    }
}

#[test]
fn a_page_that_is_full_needs_no_block_behind_it() {
    let wanted: BTreeMap<_, _> = (0..9_u8).map(|number| (vec![number], vec![1; 40_000])).collect();
    let directory = written(&wanted);
    let path = ID.path_in(directory.path());
    let mut bytes = fs::read(&path).unwrap();
    let pack = Pack::open(directory.path(), ID).unwrap();
    assert_eq!(pack.blocks.len(), wanted.len());
    bytes[usize::try_from(pack.blocks[4].offset).unwrap() + 20] ^= 1;
    fs::write(&path, bytes).unwrap();
    let pack = Pack::open(directory.path(), ID).unwrap();
    for (order, number) in [(Order::Ascending, 3), (Order::Descending, 5)] {
        let range =
            Range { from: Bound::Included(vec![3]), until: Bound::Included(vec![5]), order };
        let page = pack.page(&range, PageLimit::records(1)).unwrap();
        assert_eq!(page.iter().map(|record| &record.key).collect::<Vec<_>>(), [&vec![number]]);
        assert!(pack.page(&range, PageLimit::records(2)).unwrap_err().is_corrupt());
    }
}

#[test]
fn blocks_that_change_places_are_found() {
    let same: BTreeMap<_, _> = (0..120_u8).map(|number| (vec![number], vec![1; 1_024])).collect();
    let directory = written(&same);
    let path = ID.path_in(directory.path());
    let pack = Pack::open(directory.path(), ID).unwrap();
    let [_, first, second, ..] = &pack.blocks[..] else { panic!("too few blocks") };
    let mut bytes = fs::read(&path).unwrap();
    let lies_at = |place: &BlockPlace| usize::try_from(place.offset).unwrap();
    let (at, len) = (lies_at(first), first.len as usize);
    assert_eq!((lies_at(second), second.len), (at + len, first.len));
    bytes[at..at + 2 * len].rotate_left(len);
    fs::write(&path, bytes).unwrap();
    assert!(everything(&Pack::open(directory.path(), ID).unwrap()).unwrap_err().is_corrupt());
}

#[test]
fn what_it_keeps_in_memory_is_bounded() {
    let mut records: BTreeMap<_, _> =
        (0..400_u16).map(|number| (number.to_be_bytes().to_vec(), vec![3; 40_000])).collect();
    records.insert(vec![9, 9], vec![4; CACHE_BYTES_MAX + 1]);
    let directory = written(&records);
    let pack = Pack::open(directory.path(), ID).unwrap();
    for _ in 0..2 {
        for (key, value) in &records {
            assert_eq!(pack.get(key).unwrap().as_ref(), Some(value));
            let cache = pack.cache();
            let bytes: usize = cache.blocks.iter().map(|(_, block)| block.bytes()).sum();
            assert_eq!(bytes, cache.bytes);
            assert!(bytes <= CACHE_BYTES_MAX || cache.blocks.len() == 1);
        }
    }
}

fn any_key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4_u8, 1..4)
}

fn any_bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        any_key().prop_map(Bound::Included),
        any_key().prop_map(Bound::Excluded),
        Just(Bound::Unbounded),
    ]
}

proptest! {
    /// Pages of any range, either way, are those of an ordered map.
    #[test]
    fn it_answers_like_an_ordered_map(
        records in prop::collection::btree_map(any_key(), 0..30_000_usize, 0..40),
        (from, until) in (any_bound(), any_bound()),
        is_ascending: bool,
        (most_records, most_bytes) in (1..50_usize, 1..200_000_usize),
    ) {
        let records: BTreeMap<_, _> =
            records.into_iter().map(|(key, len)| (key.clone(), key.repeat(len / key.len()))).collect();
        let directory = written(&records);
        let pack = Pack::open(directory.path(), ID).unwrap();
        for key in records.keys().chain([&vec![9], &vec![0]]) {
            prop_assert_eq!(&pack.get(key).unwrap(), &records.get(key).cloned());
            prop_assert_eq!(pack.has(key).unwrap(), records.contains_key(key));
        }
        let order = if is_ascending { Order::Ascending } else { Order::Descending };
        let range = Range { from, until, order };
        let limit = PageLimit { records: most_records, bytes: most_bytes };
        let mut wanted = Vec::new();
        if !range.is_empty() {
            let bounds = (range.from.clone(), range.until.clone());
            wanted.extend(records.range(bounds).map(|(key, value)| (key.clone(), value.clone())));
        }
        if !is_ascending {
            wanted.reverse();
        }
        let (mut rest, mut found) = (range, Vec::new());
        loop {
            let page = pack.page(&rest, limit).unwrap();
            let Some(last) = page.last() else { break };
            prop_assert!(page.len() <= most_records);
            rest = rest.behind(&last.key);
            found.extend(page.into_iter().map(|record| (record.key, record.value)));
        }
        prop_assert_eq!(found, wanted);
    }
}
