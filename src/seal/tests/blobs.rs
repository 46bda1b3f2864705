//! Blobs, sealed and plain.

use std::collections::BTreeSet;
use std::io::{Read, Write};

use super::*;
use crate::error::{ErrorKind, Result};
use crate::limits::SEALED_SEGMENT_BYTES as SEGMENT;
use crate::seal::key::SessionKey;

const HEADER: usize = 48;
const SEALED_SEGMENT: usize = SEGMENT + 16;

fn vault() -> Vault {
    let vault = Vault::open(provider(1), Arc::new(MemoryKeys::default())).unwrap();
    vault.create(&BTreeSet::from([SESSION, OTHER])).unwrap();
    vault
}

fn key(vault: &Vault) -> SessionKey {
    vault.key(SESSION).unwrap().unwrap()
}

/// Bytes that differ from segment to segment.
fn content(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(b"content").finalize_xof().fill(&mut bytes);
    bytes
}

fn seal(key: &SessionKey, plain: &[u8]) -> Vec<u8> {
    let mut writer = SealingWriter::new(Vec::new(), SESSION, key).unwrap();
    writer.write_all(plain).unwrap();
    writer.flush().unwrap();
    writer.finish().unwrap()
}

fn open(key: &SessionKey, mut sealed: &[u8]) -> Result<Vec<u8>> {
    let header = read_header(&mut sealed)?.expect("it is sealed");
    assert_eq!(header.session(), SESSION);
    let mut plain = Vec::new();
    OpeningReader::new(sealed, header, key)?.read_to_end(&mut plain).map_err(read_error)?;
    Ok(plain)
}

#[test]
fn what_was_sealed_comes_back_whatever_its_size() {
    let key = key(&vault());
    let around = |len: usize| [len - 1, len, len + 1];
    let sizes = [[0, 1, 100], around(SEGMENT), around(2 * SEGMENT), around(3 * SEGMENT)];
    for size in sizes.into_iter().flatten() {
        let plain = content(size);
        let sealed = seal(&key, &plain);
        let segments = size.div_ceil(SEGMENT).max(1);
        assert_eq!(sealed.len(), HEADER + size + segments * 16);
        assert!(open(&key, &sealed).unwrap() == plain, "{size} bytes came back otherwise");
        let part = plain.get(..32).unwrap_or(b"an empty blob has no part");
        assert!(!contains(&sealed, part));
    }
}

#[test]
fn it_does_not_matter_in_which_pieces_a_blob_is_written_and_read() {
    let (key, plain) = (key(&vault()), content(2 * SEGMENT + 5));
    let mut writer = SealingWriter::new(Vec::new(), SESSION, &key).unwrap();
    plain.chunks(7_919).for_each(|piece| writer.write_all(piece).unwrap());
    let sealed = writer.finish().unwrap();
    let mut rest = sealed.as_slice();
    let header = read_header(&mut rest).unwrap().unwrap();
    let mut reader = OpeningReader::new(rest, header, &key).unwrap();
    let (mut back, mut piece) = (Vec::new(), [0; 4_099]);
    loop {
        let read = reader.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        back.extend_from_slice(&piece[..read]);
    }
    assert!(back == plain);
}

#[test]
fn a_blob_that_is_cut_short_anywhere_is_an_error() {
    let key = key(&vault());
    let sealed = seal(&key, &content(100));
    for len in 0..sealed.len() {
        assert!(open(&key, &sealed[..len]).unwrap_err().is_corrupt(), "{len} bytes");
    }
    // At the ends of segments too, where each that is left is whole.
    let sealed = seal(&key, &content(3 * SEGMENT));
    for segments in 0..3 {
        let len = HEADER + segments * SEALED_SEGMENT;
        assert!(open(&key, &sealed[..len]).unwrap_err().is_corrupt(), "{segments} segments");
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_blob_is_an_error() {
    let key = key(&vault());
    let sealed = seal(&key, b"a small blob");
    for bit in 0..sealed.len() * 8 {
        let mut damaged = sealed.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let mut rest = damaged.as_slice();
        let Ok(header) = read_header(&mut rest) else { continue };
        // One bit makes it a plain one. Its digest, which is its name, tells then.
        let Some(header) = header else {
            assert_eq!(bit, 0);
            continue;
        };
        let opened = OpeningReader::new(rest, header, &key)
            .and_then(|mut reader| reader.read_to_end(&mut Vec::new()).map_err(read_error));
        assert!(opened.is_err(), "bit {bit}");
    }
}

#[test]
fn segments_that_changed_places_or_files_are_an_error() {
    let key = key(&vault());
    let (sealed, other) = (seal(&key, &content(3 * SEGMENT)), seal(&key, &content(3 * SEGMENT)));
    let segment = |number: usize| {
        let from = HEADER + number * SEALED_SEGMENT;
        from..from + SEALED_SEGMENT
    };
    for (to, from) in [(0, 1), (1, 2), (0, 2)] {
        let mut swapped = sealed.clone();
        swapped[segment(to)].copy_from_slice(&sealed[segment(from)]);
        swapped[segment(from)].copy_from_slice(&sealed[segment(to)]);
        assert!(open(&key, &swapped).unwrap_err().is_corrupt(), "{to} and {from}");
    }
    let mut mixed = sealed.clone();
    mixed[segment(1)].copy_from_slice(&other[segment(1)]);
    assert!(open(&key, &mixed).unwrap_err().is_corrupt());
    let longer = [sealed.as_slice(), &sealed[segment(2)]].concat();
    assert!(open(&key, &longer).unwrap_err().is_corrupt());
}

#[test]
fn a_reader_that_failed_hands_out_nothing_more() {
    let key = key(&vault());
    let mut sealed = seal(&key, &content(2 * SEGMENT));
    sealed[HEADER] ^= 1;
    let mut rest = sealed.as_slice();
    let header = read_header(&mut rest).unwrap().unwrap();
    let mut reader = OpeningReader::new(rest, header, &key).unwrap();
    for _ in 0..3 {
        assert!(read_error(reader.read(&mut [0; 10]).unwrap_err()).is_corrupt());
    }
}

#[test]
fn a_blob_opens_under_the_key_it_was_sealed_under_and_no_other() {
    let vault = vault();
    let old = key(&vault);
    let sealed = seal(&old, b"a blob");
    assert!(open(&vault.key(OTHER).unwrap().unwrap(), &sealed).unwrap_err().is_corrupt());
    vault.destroy(SESSION).unwrap();
    vault.create(&BTreeSet::from([SESSION])).unwrap();
    let error = open(&key(&vault), &sealed).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
}

#[test]
fn a_plain_blob_may_begin_like_a_sealed_one() {
    let sealed = seal(&key(&vault()), b"a blob");
    let file = [&[PLAIN], sealed.as_slice()].concat();
    let mut rest = file.as_slice();
    assert!(read_header(&mut rest).unwrap().is_none());
    assert_eq!(rest, sealed);
}

#[test]
fn the_name_of_a_sealed_blob_gives_nothing_away() {
    let vault = vault();
    let (key, other) = (key(&vault), vault.key(OTHER).unwrap().unwrap());
    let digest = [7; 32];
    assert_eq!(blob_name(None, digest), digest);
    assert_eq!(blob_name(Some(&key), digest), blob_name(Some(&key), digest));
    assert_ne!(blob_name(Some(&key), digest), digest);
    assert_ne!(blob_name(Some(&key), digest), blob_name(Some(&other), digest));
}
