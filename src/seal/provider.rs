//! Who keeps the key that the keys of sessions are wrapped under.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use zeroize::Zeroizing;

use super::cipher::{Cipher, NONCE_BYTES, Secret, random};
use crate::error::{Context, Error, Result};

/// Wraps and unwraps the keys of sessions under a key of the embedder's: a file, a variable, a
/// service that keeps keys.
///
/// It is asked once for each session's key, not for each value; what it answers is kept in
/// memory for as long as the session is in use. [`Error::key`] makes the error to refuse with.
pub trait KeyProvider: Send + Sync + fmt::Debug {
    /// Wraps a key so that only this provider can unwrap it. At most
    /// [`WRAPPED_KEY_BYTES_MAX`](crate::limits::WRAPPED_KEY_BYTES_MAX) bytes.
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>>;

    /// The key that was wrapped. Refuses what was wrapped under another key, or changed since.
    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]>;
}

/// Keeps wrapped keys apart from whatever else may be sealed under the embedder's key.
const WRAPPED: &[u8] = b"sessionlog v1 wrapped key";

/// A key of 32 bytes that the embedder hands over.
#[derive(Clone)]
pub struct StaticKey(Secret);

impl StaticKey {
    /// Wraps under this key, which must not be guessable: random, not a password.
    pub fn new(mut key: [u8; 32]) -> Self {
        Self(Secret::take(&mut key))
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticKey(..)")
    }
}

impl KeyProvider for StaticKey {
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>> {
        let nonce = random()?;
        let mut wrapped = nonce.to_vec();
        wrapped.extend_from_slice(key);
        Cipher::new(&self.0).seal(nonce, WRAPPED, &mut wrapped, NONCE_BYTES)?;
        Ok(wrapped)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]> {
        let wrong = || Error::key("the key is wrong: what is stored was wrapped under another");
        let (nonce, sealed) = wrapped.split_first_chunk().ok_or_else(wrong)?;
        let mut key = Zeroizing::new(sealed.to_vec());
        if !Cipher::new(&self.0).open(*nonce, WRAPPED, &mut key, 0) {
            return Err(wrong());
        }
        key.as_slice().try_into().map_err(|_| wrong())
    }
}

/// A key in a file: 32 bytes, or 64 hexadecimal digits with or without an end of line.
///
/// Keep the file where backups of the database do not reach, and readable by its owner only:
/// this does not look at who may read it.
#[derive(Clone)]
pub struct FileKey(StaticKey);

impl FileKey {
    /// Reads the key from a file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        read_key(path).map(Self).with_context(|| path.display().to_string())
    }

    /// Makes a random key and writes it to a new file, as hexadecimal digits, for its owner
    /// only. Refuses a path where something is.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        create_key(path).map(Self).with_context(|| path.display().to_string())
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(..)")
    }
}

impl KeyProvider for FileKey {
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>> {
        self.0.wrap(key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]> {
        self.0.unwrap(wrapped)
    }
}

/// A key in an environment variable: 64 hexadecimal digits.
#[derive(Clone)]
pub struct EnvKey(StaticKey);

impl EnvKey {
    /// Reads the key from a variable, `SESSIONLOG_KEY` by custom.
    pub fn new(variable: &str) -> Result<Self> {
        let text = std::env::var_os(variable)
            .ok_or_else(|| Error::key(format!("the variable {variable} is not set")))?;
        let text = Zeroizing::new(text.into_encoded_bytes());
        let key = parse_hex(&text).ok_or_else(|| {
            Error::key(format!("the variable {variable} holds no key: 64 hexadecimal digits"))
        })?;
        Ok(Self(StaticKey(key)))
    }
}

impl fmt::Debug for EnvKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnvKey(..)")
    }
}

impl KeyProvider for EnvKey {
    fn wrap(&self, key: &[u8; 32]) -> Result<Vec<u8>> {
        self.0.wrap(key)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<[u8; 32]> {
        self.0.unwrap(wrapped)
    }
}

/// The longest form of a key in a file: its digits and an end of line of two bytes.
const KEY_FILE_BYTES_MAX: usize = 66;

fn read_key(path: &Path) -> Result<StaticKey> {
    let file = File::open(path).map_err(Error::io)?;
    // Room for all of it from the start: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 * KEY_FILE_BYTES_MAX));
    file.take(KEY_FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(Error::io)?;
    if let Ok(key) = bytes.as_mut_slice().try_into() {
        return Ok(StaticKey(Secret::take(key)));
    }
    let digits = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let digits = digits.strip_suffix(b"\r").unwrap_or(digits);
    let key = parse_hex(digits).ok_or_else(|| {
        Error::key("the file holds no key: 32 bytes or 64 hexadecimal digits are expected")
    })?;
    Ok(StaticKey(key))
}

fn create_key(path: &Path) -> Result<StaticKey> {
    let key = Secret::random()?;
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
    for byte in key.0.iter() {
        text.extend([byte >> 4, byte & 0x0f].map(hex_digit));
    }
    text.push(b'\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(Error::io)?;
    file.write_all(&text).and_then(|()| file.sync_all()).map_err(Error::io)?;
    sync_parent(path)?;
    Ok(StaticKey(key))
}

/// A key that is lost takes the database with it, so its directory entry is on disk too.
#[cfg(unix)]
fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = File::open(parent.unwrap_or_else(|| Path::new("."))).map_err(Error::io)?;
    parent.sync_all().map_err(Error::io)
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "only Unix syncs directories")]
fn sync_parent(_: &Path) -> Result<()> {
    Ok(())
}

fn hex_digit(half: u8) -> u8 {
    if half < 10 { b'0' + half } else { b'a' + half - 10 }
}

fn parse_hex(digits: &[u8]) -> Option<Secret> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut key = Secret::empty();
    if pairs.len() != key.0.len() {
        return None;
    }
    for (byte, [high, low]) in key.0.iter_mut().zip(pairs) {
        *byte = (parse_digit(*high)? << 4) | parse_digit(*low)?;
    }
    Some(key)
}

fn parse_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
