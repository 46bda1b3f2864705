//! XChaCha20-Poly1305: what it seals cannot be read without the key, nor changed unseen.

use std::fmt;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, Result};

/// Long enough for random nonces never to meet.
pub(super) const NONCE_BYTES: usize = 24;
/// What sealing adds behind the bytes.
pub(super) const TAG_BYTES: usize = 16;

/// A key that never prints and goes from memory when it is let go. It lies on the heap: whatever
/// holds it can be moved without leaving a copy behind.
#[derive(Clone)]
pub(super) struct Secret(pub(super) Box<Zeroizing<[u8; 32]>>);

impl Secret {
    /// One whose bytes are still to be filled in.
    pub(super) fn empty() -> Self {
        Self(Box::default())
    }

    /// Takes a key over, and wipes it where it was.
    pub(super) fn take(key: &mut [u8; 32]) -> Self {
        let mut taken = Self::empty();
        taken.0.copy_from_slice(key);
        key.zeroize();
        taken
    }

    pub(super) fn random() -> Result<Self> {
        let mut key = Self::empty();
        fill_random(&mut **key.0)?;
        Ok(key)
    }

    /// A key for one purpose, from which this one cannot be found.
    pub(super) fn derive(&self, context: &str) -> Self {
        let mut derived = Self::empty();
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&**self.0).finalize_xof().fill(&mut **derived.0);
        derived
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Seals and opens under one key.
pub(super) struct Cipher(XChaCha20Poly1305);

impl Cipher {
    pub(super) fn new(key: &Secret) -> Self {
        Self(XChaCha20Poly1305::new((&**key.0).into()))
    }

    /// Seals what lies behind `from`, in place, and adds the tag. Opening it takes the same
    /// `beside`.
    pub(super) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        beside: &[u8],
        bytes: &mut Vec<u8>,
        from: usize,
    ) -> Result<()> {
        let plain = bytes.get_mut(from..).unwrap_or_default();
        let tag = self
            .0
            .encrypt_inout_detached(&XNonce::from(nonce), beside, plain.into())
            .map_err(|_| Error::invalid("too large to be sealed"))?;
        bytes.extend_from_slice(&tag);
        Ok(())
    }

    /// Opens what lies behind `from`, in place, and takes the tag away; whether it is what was
    /// sealed. If not, it is left as it was.
    pub(super) fn open(
        &self,
        nonce: [u8; NONCE_BYTES],
        beside: &[u8],
        bytes: &mut Vec<u8>,
        from: usize,
    ) -> bool {
        let Some(sealed) = bytes.get_mut(from..) else { return false };
        let Some((plain, tag)) = sealed.split_last_chunk_mut::<TAG_BYTES>() else { return false };
        let (nonce, tag) = (XNonce::from(nonce), Tag::from(*tag));
        if self.0.decrypt_inout_detached(&nonce, beside, plain.into(), &tag).is_err() {
            return false;
        }
        bytes.truncate(bytes.len().saturating_sub(TAG_BYTES));
        true
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(..)")
    }
}

/// Bytes from the operating system that nobody can guess.
pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill_random(&mut bytes)?;
    Ok(bytes)
}

fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes).map_err(|error| Error::io(std::io::Error::other(error.to_string())))
}
