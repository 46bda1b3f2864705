//! Whether blobs are sealed, and under whose key.

use std::io::{self, Read, Write};

use crate::blob::{BlobName, BlobWriter};
use crate::error::{Error, Result};
use crate::id::Digest;
#[cfg(feature = "seal")]
use crate::seal::{self, Held, OpeningReader, SealingWriter, SessionKey, Vault};
#[cfg(feature = "seal")]
use std::{collections::BTreeSet, sync::Arc};

/// The first byte of a blob that is not sealed.
#[cfg(not(feature = "seal"))]
const PLAIN: u8 = 0;
#[cfg(feature = "seal")]
use crate::seal::PLAIN;

/// Seals blobs under the keys of sessions, or leaves them as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cipher {
    #[cfg(feature = "seal")]
    vault: Option<Arc<Vault>>,
}

/// What one blob is stored under, from its name to its last byte: a session that is erased and
/// begins again meanwhile has another key.
#[derive(Debug, Default)]
pub(super) struct BlobKey {
    #[cfg(feature = "seal")]
    under: Option<Under>,
}

#[cfg(feature = "seal")]
#[derive(Debug)]
struct Under {
    vault: Arc<Vault>,
    session: Digest,
    key: SessionKey,
}

/// What bytes of one blob are written to.
pub(super) enum Writer {
    Plain(Box<dyn BlobWriter>),
    #[cfg(feature = "seal")]
    Sealing(Box<SealingWriter<Box<dyn BlobWriter>>>),
}

impl Cipher {
    #[cfg(feature = "seal")]
    pub(crate) fn sealing(vault: Arc<Vault>) -> Self {
        Self { vault: Some(vault) }
    }

    /// Where a session's blob lies: a sealed one's name gives nothing away. `None` where the key
    /// was destroyed, which took the blob with it.
    #[cfg_attr(
        not(feature = "seal"),
        expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "a build without the feature seals nothing"
        )
    )]
    pub(super) fn name(&self, session: Digest, digest: [u8; 32]) -> Result<Option<BlobName>> {
        #[cfg(feature = "seal")]
        if let Some(vault) = &self.vault {
            let key = match vault.held(session)? {
                Held::Live(key) => Some(key),
                Held::None => None,
                Held::Destroyed(_) => return Ok(None),
            };
            return Ok(Some(BlobName::from_bytes(seal::blob_name(key.as_ref(), digest))));
        }
        let _ = session;
        Ok(Some(BlobName::from_bytes(digest)))
    }

    /// What a blob of a session is about to be stored under.
    #[cfg_attr(
        not(feature = "seal"),
        expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "a build without the feature seals nothing"
        )
    )]
    pub(super) fn key_to_write(&self, session: Digest) -> Result<BlobKey> {
        #[cfg(feature = "seal")]
        if let Some(vault) = &self.vault {
            let mut keys = vault.create(&BTreeSet::from([session]))?;
            let key = keys.remove(&session).ok_or_else(|| Error::key("no key was made"))?;
            let vault = Arc::clone(vault);
            return Ok(BlobKey { under: Some(Under { vault, session, key }) });
        }
        let _ = session;
        Ok(BlobKey::default())
    }

    #[cfg_attr(
        not(feature = "seal"),
        expect(clippy::unused_self, reason = "a build without the feature seals nothing")
    )]
    pub(super) fn reader(&self, mut inner: Box<dyn Read + Send>) -> Result<Box<dyn Read + Send>> {
        #[cfg(feature = "seal")]
        {
            let Some(header) = seal::read_header(&mut inner)? else { return Ok(inner) };
            let needs = || Error::key("it is sealed: open the database with its key");
            let vault = self.vault.as_ref().ok_or_else(needs)?;
            let key = vault.key(header.session())?.ok_or_else(needs)?;
            Ok(Box::new(OpeningReader::new(inner, header, &key)?))
        }
        #[cfg(not(feature = "seal"))]
        {
            let mut form = [0];
            inner.read_exact(&mut form).map_err(Error::io)?;
            if form == [PLAIN] {
                return Ok(inner);
            }
            Err(Error::invalid("it is sealed, and this build has no feature `seal`"))
        }
    }
}

/// What reading a blob failed with.
pub(super) fn read_error(error: io::Error) -> Error {
    #[cfg(feature = "seal")]
    return seal::read_error(error);
    #[cfg(not(feature = "seal"))]
    Error::io(error)
}

impl BlobKey {
    /// The name of a blob that is stored under it.
    #[cfg_attr(
        not(feature = "seal"),
        expect(clippy::unused_self, reason = "a build without the feature seals nothing")
    )]
    pub(super) fn name(&self, digest: [u8; 32]) -> BlobName {
        #[cfg(feature = "seal")]
        if let Some(Under { key, .. }) = &self.under {
            return BlobName::from_bytes(seal::blob_name(Some(key), digest));
        }
        BlobName::from_bytes(digest)
    }

    #[cfg_attr(
        not(feature = "seal"),
        expect(clippy::unused_self, reason = "a build without the feature seals nothing")
    )]
    pub(super) fn writer(&self, mut inner: Box<dyn BlobWriter>) -> Result<Writer> {
        #[cfg(feature = "seal")]
        if let Some(Under { session, key, .. }) = &self.under {
            let writer = SealingWriter::new(inner, *session, key)?;
            return Ok(Writer::Sealing(Box::new(writer)));
        }
        inner.write_all(&[PLAIN]).map_err(Error::io)?;
        Ok(Writer::Plain(inner))
    }

    /// Refuses where the session's key is another by now: nobody could read what was written.
    #[cfg_attr(
        not(feature = "seal"),
        expect(
            clippy::unused_self,
            clippy::unnecessary_wraps,
            reason = "a build without the feature seals nothing"
        )
    )]
    pub(super) fn check(&self) -> Result<()> {
        #[cfg(feature = "seal")]
        if let Some(Under { vault, session, key }) = &self.under {
            let held = vault.held(*session)?;
            let is_same = matches!(held, Held::Live(live) if live.generation() == key.generation());
            if !is_same {
                let reason = format!("the key of {session} was destroyed while it was stored");
                return Err(Error::key(reason));
            }
        }
        Ok(())
    }
}

impl Writer {
    #[cfg_attr(
        not(feature = "seal"),
        expect(clippy::unnecessary_wraps, reason = "a build without the feature seals nothing")
    )]
    pub(super) fn finish(self) -> Result<Box<dyn BlobWriter>> {
        match self {
            Self::Plain(inner) => Ok(inner),
            #[cfg(feature = "seal")]
            Self::Sealing(writer) => writer.finish(),
        }
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.write(bytes),
            #[cfg(feature = "seal")]
            Self::Sealing(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(inner) => inner.flush(),
            #[cfg(feature = "seal")]
            Self::Sealing(writer) => writer.flush(),
        }
    }
}
