//! Media bytes on their way into the store of blobs and out of it, and which of them may go.

mod cipher;
#[cfg(all(test, feature = "seal"))]
mod tests;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::cipher::Cipher;

use self::cipher::{BlobKey, Writer};

use crate::blob::{BlobName, BlobStore};
use crate::error::{Error, ErrorKind, Result};
use crate::id::Digest;
use crate::limits::BLOB_BYTES_MAX;
use crate::log::{Log, PageLimit, key};

/// Bytes that are moved in one step.
const STEP_BYTES: usize = 64 * 1024;

/// The blobs of a database, and who is about to refer to them.
#[derive(Debug)]
pub(crate) struct MediaStore {
    blobs: Arc<dyn BlobStore>,
    cipher: Cipher,
    /// Blobs that events on their way into the log refer to, each with the session. One of them
    /// is never collected, whatever the log says yet.
    leases: Arc<Mutex<Leases>>,
}

type Leases = HashMap<(BlobName, Digest), Leased>;

/// How many leases there are on a blob for a session.
#[derive(Debug, Default)]
struct Leased {
    count: usize,
    /// Those of whoever stored the blob for the session, or was found to have it already. Only
    /// they show that the session may refer to it: a claim takes a lease before it is known to be
    /// a good one.
    proven: usize,
}

/// Keeps a blob from being collected until an event that refers to it is in the log.
#[derive(Debug)]
pub(crate) struct Lease {
    leases: Arc<Mutex<Leases>>,
    name: BlobName,
    session: Digest,
    is_proven: bool,
}

impl Lease {
    /// The blob that is kept.
    pub(crate) fn name(&self) -> BlobName {
        self.name
    }

    fn prove(mut self) -> Self {
        if !self.is_proven {
            self.is_proven = true;
            lock(&self.leases).entry((self.name, self.session)).or_default().proven += 1;
        }
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = lock(&self.leases);
        let key = (self.name, self.session);
        if let Some(leased) = leases.get_mut(&key) {
            leased.count -= 1;
            leased.proven -= usize::from(self.is_proven);
            if leased.count == 0 {
                leases.remove(&key);
            }
        }
    }
}

// Nothing panics while the lock is held, so a poisoned one is as good as any.
fn lock(leases: &Mutex<Leases>) -> MutexGuard<'_, Leases> {
    leases.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was stored.
#[derive(Debug)]
pub(crate) struct Put {
    pub(crate) digest: [u8; 32],
    pub(crate) size: u64,
    pub(crate) lease: Lease,
}

impl MediaStore {
    pub(crate) fn new(blobs: Arc<dyn BlobStore>, cipher: Cipher) -> Self {
        Self { blobs, cipher, leases: Arc::default() }
    }

    pub(crate) fn blobs(&self) -> &dyn BlobStore {
        &*self.blobs
    }

    /// The names under which a session's blob of a digest may lie: sealed, or as it was before
    /// the database was sealed.
    ///
    /// A key that cannot be had is an error: without the sealed name, a blob that is in use would
    /// look as if it were not.
    pub(crate) fn names(&self, session: Digest, digest: [u8; 32]) -> Result<Vec<BlobName>> {
        let plain = BlobName::from_bytes(digest);
        let sealed = self.cipher.name(session, digest)?.filter(|name| *name != plain);
        Ok(sealed.into_iter().chain([plain]).collect())
    }

    fn lease(&self, name: BlobName, session: Digest) -> Lease {
        lock(&self.leases).entry((name, session)).or_default().count += 1;
        Lease { leases: Arc::clone(&self.leases), name, session, is_proven: false }
    }

    /// A lease on a blob that a session may refer to: it was stored for it, or one of the streams
    /// that hold its events refers to it already. `None` for any other.
    pub(crate) fn claim(
        &self,
        log: &dyn Log,
        streams: &[Digest],
        digest: [u8; 32],
    ) -> Result<Option<Lease>> {
        for stream in streams.iter().copied() {
            for name in self.names(stream, digest)? {
                // First the lease: nobody removes it between the look and the use.
                let lease = self.lease(name, stream);
                let is_stored =
                    lock(&self.leases).get(&(name, stream)).is_some_and(|leased| leased.proven > 0);
                let range = key::blob_uses_of(&name.to_bytes(), stream);
                let is_used = is_stored || !log.page(&range, PageLimit::records(1))?.is_empty();
                if is_used && self.blobs.size(name)?.is_some() {
                    return Ok(Some(lease.prove()));
                }
            }
        }
        Ok(None)
    }

    /// Stores bytes whose digest is known, unless they are there.
    pub(crate) fn put(&self, session: Digest, digest: [u8; 32], bytes: &[u8]) -> Result<Lease> {
        let key = self.cipher.key_to_write(session)?;
        let name = key.name(digest);
        let lease = self.lease(name, session).prove();
        if self.blobs.size(name)?.is_some() {
            return Ok(lease);
        }
        let mut writer = key.writer(self.blobs.create()?)?;
        writer.write_all(bytes).map_err(Error::io)?;
        finish(&key, writer, name)?;
        Ok(lease)
    }

    /// Stores what is read, in bounded memory.
    pub(crate) fn put_stream(&self, session: Digest, reader: &mut dyn Read) -> Result<Put> {
        let mut hasher = blake3::Hasher::new();
        let key = self.cipher.key_to_write(session)?;
        let mut writer = key.writer(self.blobs.create()?)?;
        let mut step = vec![0; STEP_BYTES];
        let mut size = 0_u64;
        loop {
            let read = reader.read(&mut step).map_err(Error::io)?;
            let bytes = step.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            size += bytes.len() as u64;
            if size > BLOB_BYTES_MAX {
                let (what, actual, max) = ("medium in bytes", size, BLOB_BYTES_MAX);
                return Err(Error::new(ErrorKind::Limit { what, actual, max }));
            }
            hasher.update(bytes);
            writer.write_all(bytes).map_err(Error::io)?;
        }
        let digest = *hasher.finalize().as_bytes();
        let name = key.name(digest);
        let lease = self.lease(name, session).prove();
        finish(&key, writer, name)?;
        Ok(Put { digest, size, lease })
    }

    /// Opens a blob that one of the streams of a session refers to.
    pub(crate) fn open(
        &self,
        streams: &[Digest],
        digest: [u8; 32],
    ) -> Result<Box<dyn Read + Send>> {
        for stream in streams {
            for name in self.names(*stream, digest)? {
                if let Some(reader) = self.blobs.open(name)? {
                    return self.cipher.reader(reader);
                }
            }
        }
        Err(Error::corrupt(format!("blob {} is missing", BlobName::from_bytes(digest))))
    }

    /// All bytes of a blob, checked against its digest.
    pub(crate) fn read(&self, streams: &[Digest], digest: [u8; 32], size: u64) -> Result<Vec<u8>> {
        let mut reader = self.open(streams, digest)?.take(size.saturating_add(1));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).map_err(cipher::read_error)?;
        if bytes.len() as u64 != size || *blake3::hash(&bytes).as_bytes() != digest {
            let name = BlobName::from_bytes(digest);
            return Err(Error::corrupt(format!("blob {name} is not what was stored")));
        }
        Ok(bytes)
    }

    /// The digest of what a stored blob holds, or what is wrong with it.
    pub(crate) fn content(&self, name: BlobName) -> std::result::Result<[u8; 32], String> {
        let hash = || -> Result<Option<[u8; 32]>> {
            let Some(reader) = self.blobs.open(name)? else { return Ok(None) };
            let mut hasher = blake3::Hasher::new();
            let mut reader = self.cipher.reader(reader)?;
            let mut step = vec![0; STEP_BYTES];
            loop {
                let read = reader.read(&mut step).map_err(cipher::read_error)?;
                let bytes = step.get(..read).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(Some(*hasher.finalize().as_bytes()));
                }
                hasher.update(bytes);
            }
        };
        match hash() {
            Ok(Some(digest)) => Ok(digest),
            Ok(None) => Err(String::from("is missing")),
            Err(error) => Err(format!("cannot be read: {error}")),
        }
    }

    /// Removes those blobs that no event refers to and none is about to. Returns them with
    /// their bytes.
    pub(crate) fn collect(
        &self,
        log: &dyn Log,
        names: impl IntoIterator<Item = BlobName>,
    ) -> Result<Vec<(BlobName, u64)>> {
        let mut removed = Vec::new();
        for name in names {
            // Held while it looks and removes, so that whoever takes a lease then finds it gone
            // and stores it again.
            let leases = lock(&self.leases);
            if leases.keys().any(|(leased, _)| *leased == name) || is_used(log, name)? {
                continue;
            }
            let bytes = self.blobs.size(name)?.unwrap_or(0);
            if self.blobs.remove(name)? {
                removed.push((name, bytes));
            }
        }
        Ok(removed)
    }
}

/// Puts what was written under its name, unless nobody could read it any more.
fn finish(key: &BlobKey, writer: Writer, name: BlobName) -> Result<()> {
    let blob = writer.finish()?;
    key.check()?;
    blob.finish(name).map(drop)
}

/// Whether any event refers to a blob.
pub(crate) fn is_used(log: &dyn Log, name: BlobName) -> Result<bool> {
    let uses = key::blob_uses(&name.to_bytes());
    Ok(!log.page(&uses, PageLimit::records(1))?.is_empty())
}
