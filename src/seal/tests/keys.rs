//! The vault, and the key file.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::seal::store::{NewKey, StoredKey};
use crate::seal::vault::Held;

const SLOT: usize = 512;

fn new_key(session: Digest, generation: u32, wrapped: &[u8]) -> NewKey {
    NewKey { session, generation, wrapped: wrapped.to_vec() }
}

fn live(generation: u32, wrapped: &[u8]) -> StoredKey {
    StoredKey { generation, wrapped: Some(wrapped.to_vec()) }
}

fn file(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("sessionlog.keys")
}

fn open(directory: &TempDir) -> FileKeys {
    FileKeys::open(directory.path()).unwrap()
}

fn open_vault(key: u8, directory: &Path) -> Result<Vault> {
    Vault::open(provider(key), Arc::new(FileKeys::open(directory)?))
}

#[test]
fn keys_are_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let keys = open(&directory);
    assert!(!file(&directory).exists(), "a file without a key was made");
    let wrapped = [7; crate::limits::WRAPPED_KEY_BYTES_MAX];
    keys.put(&[new_key(SESSION, 1, &wrapped), new_key(OTHER, 3, b"short")]).unwrap();
    for keys in [keys, open(&directory)] {
        assert_eq!(keys.load(SESSION).unwrap(), Some(live(1, &wrapped)));
        assert_eq!(keys.load(OTHER).unwrap(), Some(live(3, b"short")));
        assert_eq!(keys.load(Digest([1; 16])).unwrap(), None);
        let mut sessions = vec![SESSION, OTHER];
        sessions.sort();
        assert_eq!(keys.list().unwrap(), sessions);
    }
    assert_eq!(fs::read(file(&directory)).unwrap().len(), 3 * SLOT);
}

#[test]
fn destroying_a_key_writes_over_it() {
    let directory = tempfile::tempdir().unwrap();
    let keys = open(&directory);
    let wrapped = b"a wrapped key that must go";
    keys.put(&[new_key(SESSION, 1, wrapped), new_key(OTHER, 1, b"another that stays")]).unwrap();
    assert!(contains(&fs::read(file(&directory)).unwrap(), wrapped));
    keys.destroy(SESSION).unwrap();
    let bytes = fs::read(file(&directory)).unwrap();
    assert!(!wrapped.chunks_exact(5).any(|part| contains(&bytes, part)));
    assert!(bytes[SLOT + 24..2 * SLOT - 16].iter().all(|byte| *byte == 0), "noise was left");
    assert!(contains(&bytes, b"another that stays"));
    for keys in [keys, open(&directory)] {
        assert_eq!(keys.load(SESSION).unwrap(), Some(StoredKey { generation: 1, wrapped: None }));
        assert_eq!(keys.list().unwrap(), [OTHER]);
        keys.destroy(SESSION).unwrap();
        keys.destroy(Digest([1; 16])).unwrap();
    }
}

#[test]
fn a_session_that_comes_back_uses_its_slot_again() {
    let directory = tempfile::tempdir().unwrap();
    let keys = open(&directory);
    keys.put(&[new_key(SESSION, 1, b"first"), new_key(OTHER, 1, b"other")]).unwrap();
    keys.destroy(SESSION).unwrap();
    keys.put(&[new_key(SESSION, 2, b"second")]).unwrap();
    assert_eq!(fs::read(file(&directory)).unwrap().len(), 3 * SLOT);
    assert_eq!(open(&directory).load(SESSION).unwrap(), Some(live(2, b"second")));
}

#[test]
fn a_key_in_use_is_never_written_over_nor_a_large_one_stored() {
    let directory = tempfile::tempdir().unwrap();
    let stores: [Arc<dyn KeyStore>; 2] =
        [Arc::new(open(&directory)), Arc::new(MemoryKeys::default())];
    for keys in stores {
        keys.put(&[new_key(SESSION, 1, b"first")]).unwrap();
        assert!(keys.put(&[new_key(SESSION, 2, b"second")]).is_err());
        let large = [0; crate::limits::WRAPPED_KEY_BYTES_MAX + 1];
        let error = keys.put(&[new_key(OTHER, 1, &large)]).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::Limit { what: "wrapped key in bytes", .. }),
            "{error}"
        );
        assert_eq!(keys.load(SESSION).unwrap(), Some(live(1, b"first")));
    }
}

#[test]
fn a_slot_that_was_torn_is_free_and_the_others_stay() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory).put(&[new_key(SESSION, 1, b"there")]).unwrap();
    let before = fs::read(file(&directory)).unwrap();
    open(&directory).put(&[new_key(OTHER, 1, &[0x55; 440])]).unwrap();
    let after = fs::read(file(&directory)).unwrap();
    for torn in 0..SLOT {
        // The end of the slot did not reach the disk: as zeros, and as a shorter file.
        let mut zeros = after.clone();
        zeros[2 * SLOT + torn..].fill(0);
        let mut shorter = after.clone();
        shorter.truncate(2 * SLOT + torn);
        for bytes in [zeros, shorter] {
            fs::write(file(&directory), bytes).unwrap();
            let keys = open(&directory);
            assert_eq!(keys.load(OTHER).unwrap(), None, "{torn} bytes of the slot");
            assert_eq!(keys.load(SESSION).unwrap(), Some(live(1, b"there")));
            keys.put(&[new_key(OTHER, 1, b"again")]).unwrap();
            let again = open(&directory);
            assert_eq!(again.load(OTHER).unwrap(), Some(live(1, b"again")));
            assert_eq!(again.load(SESSION).unwrap(), Some(live(1, b"there")));
        }
    }
    assert_eq!(before, after[..2 * SLOT]);
}

#[test]
fn any_flipped_bit_of_a_slot_makes_it_a_free_one() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory).put(&[new_key(SESSION, 1, b"there")]).unwrap();
    let bytes = fs::read(file(&directory)).unwrap();
    for bit in SLOT * 8..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        fs::write(file(&directory), damaged).unwrap();
        assert_eq!(open(&directory).load(SESSION).unwrap(), None, "bit {bit}");
    }
}

#[test]
fn a_slot_that_rots_is_told_from_a_key_that_never_was() {
    let directory = tempfile::tempdir().unwrap();
    let vault = open_vault(1, directory.path()).unwrap();
    vault.create(&BTreeSet::from([SESSION])).unwrap();
    vault.create(&BTreeSet::from([OTHER])).unwrap();
    let bytes = fs::read(file(&directory)).unwrap();
    assert_eq!(open(&directory).damaged(), []);
    // Behind the header and the probe.
    for at in [0, 4, 24, 100, 470, SLOT - 1] {
        let mut damaged = bytes.clone();
        damaged[2 * SLOT + at] ^= 1;
        fs::write(file(&directory), damaged).unwrap();
        assert_eq!(open(&directory).damaged(), [(2, SESSION)]);
        let vault = open_vault(1, directory.path()).unwrap();
        let error = vault.held(SESSION).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
        assert!(error.to_string().contains("slot 2 of sessionlog.keys"), "{error}");
        assert!(matches!(vault.held(OTHER).unwrap(), Held::Live(_)));
        assert!(matches!(vault.held(Digest([1; 16])).unwrap(), Held::None));
    }
    // Whose key it was is damaged too.
    let mut damaged = bytes.clone();
    damaged[2 * SLOT + 8] ^= 1;
    fs::write(file(&directory), damaged).unwrap();
    let vault = open_vault(1, directory.path()).unwrap();
    assert!(vault.lost(SESSION).to_string().contains("slot 2 of that file is damaged"));
    // A slot of zeros is one that was never written.
    let mut free = bytes;
    free[2 * SLOT..3 * SLOT].fill(0);
    fs::write(file(&directory), free).unwrap();
    let vault = open_vault(1, directory.path()).unwrap();
    assert!(vault.lost(SESSION).to_string().contains("never had a key of it"));
    vault.create(&BTreeSet::from([SESSION])).unwrap();
    assert!(matches!(vault.held(SESSION).unwrap(), Held::Live(_)));
}

#[test]
fn a_slot_that_changes_under_an_open_file_is_damage() {
    let directory = tempfile::tempdir().unwrap();
    let keys = open(&directory);
    keys.put(&[new_key(SESSION, 1, b"there")]).unwrap();
    let mut bytes = fs::read(file(&directory)).unwrap();
    bytes[SLOT + 30] ^= 1;
    fs::write(file(&directory), bytes).unwrap();
    assert!(keys.load(SESSION).unwrap_err().is_corrupt());
}

#[test]
fn garbage_is_no_key_file() {
    let directory = tempfile::tempdir().unwrap();
    let keys = open(&directory);
    keys.put(&[new_key(SESSION, 1, b"there")]).unwrap();
    let bytes = fs::read(file(&directory)).unwrap();
    let mut without_header = bytes.clone();
    without_header[..SLOT].fill(0);
    for garbage in [b"garbage".to_vec(), vec![0xaa; 3 * SLOT], without_header] {
        fs::write(file(&directory), &garbage).unwrap();
        let error = FileKeys::open(directory.path()).unwrap_err();
        assert!(error.is_corrupt() && error.to_string().contains("sessionlog.keys"), "{error}");
        assert_eq!(fs::read(file(&directory)).unwrap(), garbage);
    }
    let mut newer = bytes;
    newer[8] = 2;
    fs::write(file(&directory), newer).unwrap();
    let error = FileKeys::open(directory.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NewerFormat { found: 2, .. }), "{error}");
    // What a crash left before the header was on disk.
    for begun in [0, SLOT] {
        fs::write(file(&directory), vec![0; begun]).unwrap();
        open(&directory).put(&[new_key(SESSION, 1, b"there")]).unwrap();
        assert_eq!(open(&directory).load(SESSION).unwrap(), Some(live(1, b"there")));
    }
}

#[cfg(unix)]
#[test]
fn the_key_file_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    open(&directory).put(&[new_key(SESSION, 1, b"there")]).unwrap();
    let mode = fs::metadata(file(&directory)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn who_only_looks_changes_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let read_only = || Arc::new(FileKeys::open_read_only(directory.path()).unwrap());
    let vault = Vault::open(provider(1), read_only()).unwrap();
    assert!(!file(&directory).exists());
    let create = |vault: &Vault| vault.create(&BTreeSet::from([SESSION])).map(drop);
    assert_eq!(*create(&vault).unwrap_err().kind(), ErrorKind::ReadOnly);
    create(&open_vault(1, directory.path()).unwrap()).unwrap();
    let vault = Vault::open(provider(1), read_only()).unwrap();
    assert!(vault.key(SESSION).unwrap().is_some());
    assert_eq!(*vault.destroy(SESSION).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(vault.key(SESSION).unwrap().is_some());
}

#[test]
fn a_wrong_key_is_told_when_the_database_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    assert!(!Vault::is_sealed(&open(&directory)).unwrap());
    open_vault(1, directory.path()).unwrap();
    assert!(Vault::is_sealed(&open(&directory)).unwrap());
    let before = fs::read(file(&directory)).unwrap();
    let error = open_vault(2, directory.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Key { .. }), "{error}");
    assert!(error.to_string().contains("the key is wrong"), "{error}");
    assert_eq!(fs::read(file(&directory)).unwrap(), before);
    open_vault(1, directory.path()).unwrap();
}

#[test]
fn a_wrong_key_is_told_even_where_the_probe_was_lost() {
    let directory = tempfile::tempdir().unwrap();
    let vault = open_vault(1, directory.path()).unwrap();
    vault.create(&BTreeSet::from([SESSION])).unwrap();
    let mut bytes = fs::read(file(&directory)).unwrap();
    bytes[SLOT..2 * SLOT].fill(0xff);
    fs::write(file(&directory), bytes).unwrap();
    assert!(Vault::is_sealed(&open(&directory)).unwrap());
    assert!(open_vault(2, directory.path()).is_err());
    open_vault(1, directory.path()).unwrap();
}

#[test]
fn a_destroyed_key_is_gone_from_memory_too() {
    let keys = Arc::new(MemoryKeys::default());
    let vault = Vault::open(provider(1), keys).unwrap();
    assert!(vault.key(SESSION).unwrap().is_none());
    vault.create(&BTreeSet::from([SESSION, OTHER])).unwrap();
    assert!(vault.key(SESSION).unwrap().is_some());
    vault.destroy(SESSION).unwrap();
    assert!(matches!(vault.key(SESSION).unwrap_err().kind(), ErrorKind::Key { .. }));
    assert!(matches!(vault.held(SESSION).unwrap(), Held::Destroyed(1)));
    assert!(vault.key(OTHER).unwrap().is_some());
    assert!(vault.destroy(Digest::NONE).is_err(), "the probe is not for destroying");
    vault.create(&BTreeSet::from([SESSION])).unwrap();
    assert_eq!(vault.key(SESSION).unwrap().unwrap().generation(), 2);
}

#[test]
fn readers_never_bring_a_destroyed_key_back() {
    let vault = Vault::open(provider(1), Arc::new(MemoryKeys::default())).unwrap();
    for generation in 1..=50 {
        vault.create(&BTreeSet::from([SESSION])).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while let Held::Live(key) = vault.held(SESSION).unwrap() {
                        assert_eq!(key.generation(), generation);
                    }
                });
            }
            vault.destroy(SESSION).unwrap();
            assert!(
                matches!(vault.held(SESSION).unwrap(), Held::Destroyed(last) if last == generation)
            );
        });
        assert!(vault.key(SESSION).is_err());
    }
}

#[test]
fn more_sessions_than_are_kept_at_hand_have_their_keys() {
    let vault = Vault::open(provider(1), Arc::new(MemoryKeys::default())).unwrap();
    let last = crate::limits::KEY_CACHE_SESSIONS_MAX as u64 + 10;
    let session = |number: u64| Digest::of_session(&number.to_string());
    let sessions: BTreeSet<Digest> = (0..last).map(session).collect();
    vault.create(&sessions).unwrap();
    vault.create(&sessions).unwrap();
    for number in 0..last {
        assert_eq!(vault.key(session(number)).unwrap().unwrap().generation(), 1);
    }
}
