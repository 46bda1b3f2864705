//! Names of things: event ids, and the digests that stand in headers instead of personal names.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Context, Error, Result, check_limit};
use crate::limits;

/// Names one event, for ever. Appending an event under an id of the caller's own twice stores it
/// once; the ids that the engine makes are for finding an event, not for retrying it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id (uuid v7).
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id for an event recorded at `at_us`; ids made in one process increase with time.
    pub(crate) fn at(at_us: i64, counter: u64) -> Self {
        let millis = u64::try_from(at_us / 1_000).unwrap_or(0);
        let entropy = Uuid::new_v4().into_bytes();
        let mut low = [0; 10];
        let (order, random) = low.split_at_mut(4);
        // 26 bits of the counter order the ids of one millisecond, laid around the bits that
        // the version (4, in the first byte) and the variant (2, in the third) take.
        let [.., top, mid, bottom] = (counter & 0x03ff_ffff).to_be_bytes();
        let [.., high] = ((counter >> 22) & 0x0f).to_be_bytes();
        order.copy_from_slice(&[high, (top << 2) | (mid >> 6), mid & 0x3f, bottom]);
        random.copy_from_slice(entropy.last_chunk::<6>().unwrap_or(&[0; 6]));
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &low).into_uuid())
    }

    /// Whether it is one that [`EventId::at`] makes there.
    pub(crate) fn is_made_at(self, at_us: i64, counter: u64) -> bool {
        let there = Self::at(at_us, counter).to_bytes();
        self.to_bytes().first_chunk::<10>() == there.first_chunk::<10>()
    }

    /// The id that always comes out of the same parts: an import makes its ids this way, so
    /// that importing the same record again is harmless (a uuid v8).
    pub fn derive(parts: &[&[u8]]) -> Self {
        let digest = digest(EVENT_CONTEXT, parts);
        Self(uuid::Builder::from_custom_bytes(digest).into_uuid())
    }

    /// From 16 bytes as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The 16 bytes that are stored.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }

    /// The millisecond in which the engine made this id, if it did.
    pub(crate) fn unix_millis(self) -> Option<i64> {
        let timestamp = self.0.get_timestamp()?;
        let (seconds, nanos) = timestamp.to_unix();
        i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Error::invalid(format!("{text:?} is no event id: a uuid is expected")))
    }
}

/// A new run or session id (uuid v7), as text.
pub(crate) fn generate_name() -> String {
    Uuid::now_v7().to_string()
}

/// Sixteen bytes that stand for a name in headers and keys.
///
/// All zeros stands for "no name": no text digests to it in practice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Digest(pub(crate) [u8; 16]);

impl Digest {
    /// Stands for no name.
    pub const NONE: Self = Self([0; 16]);

    /// Stands for a session id: the key of its stream.
    pub fn of_session(session_id: &str) -> Self {
        Self(digest(SESSION_CONTEXT, &[session_id.as_bytes()]))
    }

    /// Stands for a run id.
    pub fn of_run(run_id: &str) -> Self {
        Self(digest(RUN_CONTEXT, &[run_id.as_bytes()]))
    }

    /// Stands for a user id.
    pub fn of_user(user_id: &str) -> Self {
        Self(digest(USER_CONTEXT, &[user_id.as_bytes()]))
    }

    /// Stands for a user's memories: the key of their stream. No session id gives the same.
    pub fn of_memories(user_id: &str) -> Self {
        Self(digest(MEMORIES_CONTEXT, &[user_id.as_bytes()]))
    }

    /// Stands for the id of a memory.
    pub fn of_memory(memory_id: &str) -> Self {
        Self(digest(MEMORY_CONTEXT, &[memory_id.as_bytes()]))
    }

    /// Whether it stands for no name.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// From the bytes as stored.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes, as stored.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A uuid without hyphens is sixteen bytes in hexadecimal, and no more than that.
        let bytes = Uuid::try_parse(&text).map_err(serde::de::Error::custom)?;
        Ok(Self(bytes.into_bytes()))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Says which stream is meant, and so under which key it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamName<'a> {
    /// A session's, by its id.
    Session(&'a str),
    /// A user's memories, by the user's id.
    Memories(&'a str),
}

impl StreamName<'_> {
    pub(crate) fn key(self) -> Digest {
        match self {
            Self::Session(session_id) => Digest::of_session(session_id),
            Self::Memories(user_id) => Digest::of_memories(user_id),
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Session(session_id) => check_name("session id", session_id),
            Self::Memories(user_id) => check_name("user id", user_id),
        }
    }
}

impl fmt::Display for StreamName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Session(session_id) => write!(f, "session {}", shown(session_id)),
            Self::Memories(user_id) => write!(f, "memories of {}", shown(user_id)),
        }
    }
}

/// An id as an error names it: one that is too long to be any is cut.
fn shown(id: &str) -> String {
    const CHARS_SHOWN: usize = 64;
    if id.len() <= limits::ID_BYTES_MAX {
        return id.to_owned();
    }
    let beginning: String = id.chars().take(CHARS_SHOWN).collect();
    format!("{beginning}…")
}

const SESSION_CONTEXT: &str = "sessionlog v1 session key";
const RUN_CONTEXT: &str = "sessionlog v1 run digest";
const USER_CONTEXT: &str = "sessionlog v1 user digest";
const MEMORIES_CONTEXT: &str = "sessionlog v1 memories key";
const MEMORY_CONTEXT: &str = "sessionlog v1 memory digest";
const EVENT_CONTEXT: &str = "sessionlog v1 derived event id";

/// The parts are length-prefixed, so that no two lists of parts run into one another.
fn digest(context: &str, parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// Refuses names that are empty, too long, or would garble a terminal or a file name.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<()> {
    if name.is_empty() {
        return Err(Error::invalid(format!("{what} must not be empty")));
    }
    check_limit("length in bytes", name.len(), limits::ID_BYTES_MAX).context(what)?;
    if name.chars().any(char::is_control) {
        return Err(Error::invalid(format!("{what} {name:?} holds a control character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_millisecond_increase_with_the_counter() {
        let ids: Vec<_> =
            (0..70_000).map(|counter| EventId::at(1_700_000_000_000_000, counter * 300)).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id.unix_millis() == Some(1_700_000_000_000)));
    }

    #[test]
    fn derived_ids_depend_on_where_one_part_ends() {
        assert_ne!(EventId::derive(&[b"ab", b"c"]), EventId::derive(&[b"a", b"bc"]));
        assert_eq!(EventId::derive(&[b"ab", b"c"]), EventId::derive(&[b"ab", b"c"]));
    }

    #[test]
    fn names_of_different_things_never_share_a_digest() {
        assert_ne!(Digest::of_session("x"), Digest::of_run("x"));
        assert_ne!(Digest::of_session("x"), Digest::of_user("x"));
        assert_ne!(Digest::of_session("x"), Digest::of_memories("x"));
        assert_ne!(Digest::of_memories("x"), Digest::of_memory("x"));
    }
}
