//! Every bound of the crate, and why it is what it is.

/// Bytes of one event's body before it is compressed. A provider's largest request is 32 MB;
/// an event is one message of it.
pub const EVENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events in one append: a long imported conversation is one commit.
pub const COMMIT_EVENTS_MAX: usize = 100_000;

/// Bytes of one append, all bodies together.
pub const COMMIT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Appends that may wait for the commit thread. A writer that finds the queue full waits.
pub const QUEUE_APPENDS_MAX: usize = 1_024;

/// How long an append waits for room in the queue before it is refused.
pub const QUEUE_WAIT_MS_MAX: u64 = 10_000;

/// Appends that share one sync.
pub const GROUP_APPENDS_MAX: usize = 512;

/// Bytes after which a group takes no further append, so that a sync stays short.
pub const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of a session id, run id, user id, or agent, team or workflow id.
pub const ID_BYTES_MAX: usize = 512;

/// Bytes of a session's name.
pub const NAME_BYTES_MAX: usize = 4_096;

/// Keys in one state path.
pub const PATH_KEYS_MAX: usize = 64;

/// Nesting of a JSON document, `serde_json`'s own bound.
pub const JSON_DEPTH_MAX: usize = 128;

/// Nesting of a session's state, metadata and configuration: they lie inside larger documents.
pub const STATE_DEPTH_MAX: usize = JSON_DEPTH_MAX - 4;

/// Sessions whose tail the commit thread keeps at hand.
pub const TAIL_CACHE_SESSIONS_MAX: usize = 4_096;

/// Events between two snapshots of a session: a view at any point folds fewer than this.
pub const SNAPSHOT_EVENTS: u64 = 256;

/// Records read from a log in one step.
pub const PAGE_RECORDS_MAX: usize = 256;

/// Bytes read from a log in one step; one record may exceed it alone.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Events that are looked through to find out whether a writer that saw the session earlier is
/// late: it holds up the commit thread.
pub const CONFLICT_EVENTS_MAX: u64 = 4_096;

/// How often an append that follows from what is there is tried while others move the session on.
pub const CONFLICT_TRIES_MAX: usize = 64;

/// Events a subscriber that had caught up may be behind before it is told so, unless it says
/// otherwise.
pub const SUBSCRIBER_LAG_EVENTS: u64 = 1_024;

/// How far in the future the events of another database may have been recorded, in microseconds:
/// its clock may be ahead, by a day at most.
pub const CLOCKS_APART_US_MAX: i64 = 24 * 60 * 60 * 1_000_000;

/// Forks of forks: how many streams may hold a session's events.
pub const FORK_DEPTH_MAX: usize = 256;

/// Summaries that a view holds; older ones stay in the log.
pub const VIEW_SUMMARIES_MAX: usize = 16;

/// Sessions on one page of a listing.
pub const LIST_PAGE_MAX: usize = 1_000;

/// How far the order of the recently-updated index may lag behind, in microseconds. The index
/// is written again only when it is older, so that a turn does not pay for it.
pub const UPDATED_INDEX_LAG_US: i64 = 1_000_000;

/// Memory for sled's page cache unless the caller says otherwise.
pub const CACHE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Bytes of one transcript that is imported. A file is in memory as a whole while it is read.
pub const TRANSCRIPT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes of one value in sled. Larger ones never reach the disk reliably: a page fragment over
/// a quarter of a segment goes to a file that sled does not sync.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 * 1024;

const _: () = {
    assert!(EVENT_BYTES_MAX <= COMMIT_BYTES_MAX);
    assert!(EVENT_BYTES_MAX / CHUNK_BYTES_MAX < u16::MAX as usize);
    assert!(SNAPSHOT_EVENTS > 1);
    // A tail that a group has changed must still be at hand when the group is written.
    assert!(GROUP_APPENDS_MAX < TAIL_CACHE_SESSIONS_MAX / 2);
};
