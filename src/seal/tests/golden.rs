//! Sealed bytes of the first format open for ever.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use super::*;
use crate::seal::store::NewKey;

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sealed").join(name)
}

/// Writes the files where they are missing, if asked to.
fn bless() {
    if std::env::var_os("SESSIONLOG_BLESS").is_none() || golden("sessionlog.keys").exists() {
        return;
    }
    fs::create_dir_all(golden("")).unwrap();
    let keys = Arc::new(FileKeys::open(&golden("")).unwrap());
    let sealed = Sealed::over(Arc::new(MemoryLog::new()), keys.clone());
    for (key, value) in records(SESSION, "the words") {
        sealed.put(&key, &value);
        let name = format!("value-{}", char::from(key[0]));
        fs::write(golden(&name), sealed.inner.get(&key).unwrap().unwrap()).unwrap();
    }
    let key = sealed.vault.key(SESSION).unwrap().unwrap();
    let mut blob = SealingWriter::new(Vec::new(), SESSION, &key).unwrap();
    blob.write_all(b"the blob").unwrap();
    fs::write(golden("blob"), blob.finish().unwrap()).unwrap();
    let wrapped = b"destroyed".to_vec();
    keys.put(&[NewKey { session: OTHER, generation: 7, wrapped }]).unwrap();
    keys.destroy(OTHER).unwrap();
}

#[test]
fn a_sealed_database_of_the_first_format_opens() {
    bless();
    let keys = Arc::new(FileKeys::open_read_only(&golden("")).unwrap());
    let sealed = Sealed::over(Arc::new(MemoryLog::new()), keys.clone());
    for (key, value) in records(SESSION, "the words") {
        let stored = fs::read(golden(&format!("value-{}", char::from(key[0])))).unwrap();
        put(&*sealed.inner, &key, &stored);
        let opened = sealed.log.get(&key).unwrap().unwrap();
        if key[0] == b'f' {
            // Later versions may encode the same body otherwise.
            let frame = Frame::open(&opened, SESSION, 1).unwrap();
            assert_eq!(crate::codec::decode(&frame).unwrap().body, message("the words"));
        } else {
            assert_eq!(opened, value);
        }
    }
    let blob = fs::read(golden("blob")).unwrap();
    let mut rest = blob.as_slice();
    let header = read_header(&mut rest).unwrap().unwrap();
    let key = sealed.vault.key(header.session()).unwrap().unwrap();
    let mut plain = Vec::new();
    OpeningReader::new(rest, header, &key).unwrap().read_to_end(&mut plain).unwrap();
    assert_eq!(plain, b"the blob");
    let name = blob_name(Some(&key), [7; 32]);
    if !golden("blob-name").exists() && std::env::var_os("SESSIONLOG_BLESS").is_some() {
        fs::write(golden("blob-name"), name).unwrap();
    }
    assert_eq!(fs::read(golden("blob-name")).unwrap(), name);
    let destroyed = keys.load(OTHER).unwrap().unwrap();
    assert_eq!((destroyed.generation, destroyed.wrapped), (7, None));
}

/// The bytes that `docs/FORMAT.md` names are where it says.
#[test]
fn the_key_file_is_laid_out_as_the_format_says() {
    let bytes = fs::read(golden("sessionlog.keys")).unwrap();
    assert_eq!((bytes.len(), &bytes[..12]), (4 * 512, b"SLkeys\0\0\x01\0\0\0".as_slice()));
    let slot = |number: usize| &bytes[number * 512..(number + 1) * 512];
    let begins = |number: usize, state: u8, len: u8, generation: u8, session: Digest| {
        let fields = [state, 0, len, 0, generation, 0, 0, 0];
        slot(number)[..24] == [fields.as_slice(), &session.to_bytes()].concat()
    };
    assert!(begins(1, 1, 72, 1, Digest::NONE));
    assert!(begins(2, 1, 72, 1, SESSION));
    assert!(begins(3, 2, 0, 7, OTHER));
    for number in 0..4 {
        let (fields, check) = slot(number).split_at(496);
        assert_eq!(check, &blake3::derive_key("sessionlog v1 key slot", fields)[..16]);
    }
    let frame = fs::read(golden("value-f")).unwrap();
    assert_eq!((frame[200], &frame[201..213]), (0x80, b"SLseal1\0\x01\0\0\0".as_slice()));
    let blob = fs::read(golden("blob")).unwrap();
    let begin = [b"\x01SLblob1\0".as_slice(), &SESSION.to_bytes(), &[1, 0, 0, 0]].concat();
    assert_eq!((&blob[..29], blob.len()), (begin.as_slice(), 48 + 8 + 16));
}
