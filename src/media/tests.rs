//! Names of blobs while the keys of sessions come and go.

use std::collections::BTreeSet;
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::blob::MemoryBlobs;
use crate::seal::{KeyProvider, MemoryKeys, StaticKey, Vault};

const SESSION: Digest = Digest(*b"the session here");

/// A service that keeps keys, and may be out of reach.
#[derive(Debug)]
struct KeyService {
    key: StaticKey,
    is_down: AtomicBool,
}

impl KeyProvider for KeyService {
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>> {
        self.key.wrap(key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(Error::key("the key service does not answer"));
        }
        self.key.unwrap(wrapped)
    }
}

fn service() -> Arc<KeyService> {
    let key = StaticKey::new([1; 32]);
    Arc::new(KeyService { key, is_down: AtomicBool::new(false) })
}

fn media(vault: &Arc<Vault>) -> MediaStore {
    MediaStore::new(Arc::new(MemoryBlobs::new()), Cipher::sealing(Arc::clone(vault)))
}

#[test]
fn a_key_that_cannot_be_had_hides_no_name_and_one_that_was_destroyed_does() {
    let (service, keys) = (service(), Arc::new(MemoryKeys::default()));
    let open = || Arc::new(Vault::open(service.clone(), keys.clone()).unwrap());
    open().create(&BTreeSet::from([SESSION])).unwrap();
    let vault = open();
    let media = media(&vault);
    service.is_down.store(true, Ordering::SeqCst);
    let refused = media.names(SESSION, [7; 32]).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::Key { .. }), "{refused}");
    service.is_down.store(false, Ordering::SeqCst);
    assert_eq!(media.names(SESSION, [7; 32]).unwrap().len(), 2);
    vault.destroy(SESSION).unwrap();
    assert_eq!(media.names(SESSION, [7; 32]).unwrap(), [BlobName::from_bytes([7; 32])]);
}

/// Reads some bytes, and then something happens.
struct Interrupted<'a>(Cursor<Vec<u8>>, &'a dyn Fn());

impl Read for Interrupted<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let read = self.0.read(out)?;
        if read == 0 {
            (self.1)();
        }
        Ok(read)
    }
}

#[test]
fn a_medium_is_not_stored_for_a_session_that_was_erased_while_it_came_in() {
    let vault = Arc::new(Vault::open(service(), Arc::new(MemoryKeys::default())).unwrap());
    let media = media(&vault);
    let erase = || vault.destroy(SESSION).unwrap();
    let begin_anew = || {
        erase();
        vault.create(&BTreeSet::from([SESSION])).unwrap();
    };
    let put = |happens: &dyn Fn()| {
        media.put_stream(SESSION, &mut Interrupted(Cursor::new(vec![7; 5_000]), happens))
    };
    for happens in [&begin_anew as &dyn Fn(), &erase] {
        let refused = put(happens).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::Key { .. }), "{refused}");
        assert_eq!(media.blobs().names(None, 9).unwrap(), []);
        assert!(lock(&media.leases).is_empty());
    }
    let put = put(&|| ()).unwrap();
    assert_eq!(media.read(&[SESSION], put.digest, put.size).unwrap(), vec![7; 5_000]);
}
