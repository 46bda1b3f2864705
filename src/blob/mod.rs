//! What stores media: bytes under a name, each stored once, beside the log.

#[cfg(feature = "testing")]
pub mod contract;
#[cfg(feature = "sled")]
mod files;
mod memory;

use std::fmt::{self, Debug};
use std::io::{Read, Write};
use std::str::FromStr;

#[cfg(feature = "sled")]
pub use self::files::FileBlobs;
pub use self::memory::MemoryBlobs;

use crate::error::{Error, Result};

/// Names stored bytes: 32 bytes, shown as 64 digits of lowercase hexadecimal.
///
/// A store gives it no meaning; whoever writes a blob chooses it, as a rule a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(pub(crate) [u8; 32]);

impl BlobName {
    /// The name of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn to_bytes(self) -> [u8; 32] {
        self.0
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BlobName {
    type Err = Error;

    /// Reads what `Display` writes, and nothing else.
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid(format!("{text:?} is no blob name: 64 lowercase hexadecimal digits"));
        let (digits, rest) = text.as_bytes().as_chunks::<2>();
        let mut name = [0; 32];
        if digits.len() != name.len() || !rest.is_empty() {
            return Err(wrong());
        }
        for (byte, [high, low]) in name.iter_mut().zip(digits) {
            let (high, low) = (nibble(*high), nibble(*low));
            *byte = high.zip(low).map(|(high, low)| high << 4 | low).ok_or_else(wrong)?;
        }
        Ok(Self(name))
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Stores blobs. A backend implements this and passes the suite in `contract` (feature
/// `testing`).
///
/// The contract, each point a function of the suite:
///
/// - **B1** What was written is read back, byte for byte, from nothing to 20 MB, however many
///   writes it came in; `size` is its length.
/// - **B2** Nothing shows under a name before `finish`; a writer that is dropped leaves nothing.
/// - **B3** A name that is there keeps the bytes it has, and `finish` says so.
/// - **B4** Of writers that finish one name at the same time, one is told that it was the first.
/// - **B5** `remove` takes one blob and no other, and says whether it was there. Its name can be
///   written again.
/// - **B6** `names` lists every blob once, in the order of the names, and going on behind the
///   last one misses nothing.
/// - **B7** What was finished is there after the store is opened again, what was removed is not.
/// - **B8** Who has opened a blob reads all of it, also when it is removed meanwhile.
///
/// A store knows no references. Who removes a blob makes sure that nobody is about to rely on it.
pub trait BlobStore: Send + Sync + Debug {
    /// Begins a blob whose name is not known yet.
    fn create(&self) -> Result<Box<dyn BlobWriter>>;

    /// The bytes of a blob; `None` where there is none of that name.
    fn open(&self, name: BlobName) -> Result<Option<Box<dyn Read + Send>>>;

    /// How many bytes are stored under a name.
    fn size(&self, name: BlobName) -> Result<Option<u64>>;

    /// Removes a blob for good. Returns whether it was there.
    fn remove(&self, name: BlobName) -> Result<bool>;

    /// At most `limit` names behind `after`, or from the first one, with the bytes of each.
    fn names(&self, after: Option<BlobName>, limit: usize) -> Result<Vec<(BlobName, u64)>>;

    /// Bytes on disk, where there is one.
    fn disk_bytes(&self) -> Result<u64>;
}

/// A blob that is being written.
pub trait BlobWriter: Write + Send {
    /// Gives the blob its name. Returns once it survives what the store survives, for files a
    /// power cut: `true` if it is new, `false` if the name was there already.
    fn finish(self: Box<Self>, name: BlobName) -> Result<bool>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_only_as_it_is_shown() {
        let mut bytes = [0; 32];
        bytes[0] = 0x0a;
        bytes[31] = 0xf9;
        let name = BlobName::from_bytes(bytes);
        let text = name.to_string();
        assert!(text.starts_with("0a00") && text.ends_with("00f9") && text.len() == 64);
        assert_eq!(text.parse::<BlobName>().unwrap(), name);
        let other = [text.to_uppercase(), format!("{text}0"), text.replace('f', "g")];
        for wrong in other.iter().map(String::as_str).chain(["", "ä"]) {
            assert!(wrong.parse::<BlobName>().is_err(), "{wrong}");
        }
    }
}
