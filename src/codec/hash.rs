//! The hashes of the format, each under a context of its own, so that no hash of one kind can
//! stand for one of another.

use std::fmt;
use std::sync::LazyLock;

use blake3::Hasher;

use crate::id::Digest;

/// Commits to a body as it was first stored, without giving a short one away: the salt that
/// goes in is random and leaves with the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commitment(pub(crate) [u8; 32]);

/// The hash of a header. The next header of the session holds it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) [u8; 32]);

/// The hash of a group of commits and of the group before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct GroupLink(pub(crate) [u8; 32]);

/// Deriving a key takes a hash of its own, so each is done once.
static COMMITMENT: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::new_derive_key("sessionlog v1 body commitment"));
static LINK: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::new_derive_key("sessionlog v1 event link"));
static CHECK: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::new_derive_key("sessionlog v1 frame check"));
static START: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::new_derive_key("sessionlog v1 log start"));
static GROUP: LazyLock<Hasher> =
    LazyLock::new(|| Hasher::new_derive_key("sessionlog v1 group link"));

impl Commitment {
    /// The commitment to a body under a salt.
    pub(crate) fn to(salt: &[u8; 16], body: &[u8]) -> Self {
        let mut hasher = COMMITMENT.clone();
        hasher.update(salt);
        hasher.update(&(body.len() as u64).to_le_bytes());
        hasher.update(body);
        Self(hasher.finalize().into())
    }
}

impl Link {
    /// What stands before a session's first event.
    pub(crate) const START: Self = Self([0; 32]);

    pub(crate) fn of_header(header: &[u8]) -> Self {
        Self(LINK.clone().update(header).finalize().into())
    }

    /// What stands beside a frame, so that damage to its header or to what surrounds it shows by
    /// itself: of the link, the position, the form of the body and the salt; of a body that is
    /// not the one the header commits to, also of the commitment to it.
    pub(crate) fn check(
        self,
        position: u64,
        form: u8,
        salt: &[u8; 16],
        replaced: Option<Commitment>,
    ) -> [u8; 8] {
        let mut hasher = CHECK.clone();
        hasher.update(&self.0).update(&position.to_le_bytes()).update(&[form]).update(salt);
        if let Some(Commitment(commitment)) = &replaced {
            hasher.update(commitment);
        }
        let mut check = [0; 8];
        hasher.finalize_xof().fill(&mut check);
        check
    }
}

impl GroupLink {
    /// What stands before the first group of a log, so that its chain is no other log's.
    pub(crate) fn start(log_id: [u8; 16]) -> Self {
        Self(START.clone().update(&log_id).finalize().into())
    }
}

/// The link of a group: the one before it, where the group begins, and of each of its commits
/// the session, the first seq, the number of events and the link of the last event.
pub(crate) fn group_link(
    previous: GroupLink,
    first_position: u64,
    commits: impl IntoIterator<Item = (Digest, u64, u32, Link)>,
) -> GroupLink {
    let mut hasher = GROUP.clone();
    hasher.update(&previous.0);
    hasher.update(&first_position.to_le_bytes());
    for (session, first_seq, events, link) in commits {
        hasher.update(&session.to_bytes());
        hasher.update(&first_seq.to_le_bytes());
        hasher.update(&events.to_le_bytes());
        hasher.update(&link.0);
    }
    GroupLink(hasher.finalize().into())
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for GroupLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}
