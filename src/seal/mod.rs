//! Encryption at rest with a key per session: destroying a key makes every copy of what was
//! sealed under it unreadable, wherever it lies.
//!
//! A log that seals the values it is given stands in front of the one that stores them, so
//! nothing above knows. The hashes of the format are over plain bytes and stay as they are.
//!
//! What this does not do: keys, sizes, times and the order of events stay clear, and so do the
//! digests of names, which show a guessed name to be right.

mod blob;
mod cipher;
mod key;
mod log;
mod provider;
#[cfg(feature = "sled")]
mod slots;
mod store;
#[cfg(test)]
mod tests;
mod value;
mod vault;

pub(crate) use self::blob::{
    OpeningReader, PLAIN, SealingWriter, blob_name, read_error, read_header,
};
pub(crate) use self::key::SessionKey;
pub(crate) use self::log::SealedLog;
pub use self::provider::{EnvKey, FileKey, KeyProvider, StaticKey};
#[cfg(feature = "sled")]
pub(crate) use self::slots::FileKeys;
pub(crate) use self::store::{KeyStore, MemoryKeys};
pub(crate) use self::vault::{Held, Vault};
