//! Every bound of the crate, and why it is what it is.

/// How long an opening waits for whoever holds the database, in milliseconds. A process that was
/// just being started by the last holder holds its files, and so the lock, until it has become the
/// program it is to be: on a busy machine that takes a while. Behind that it is in use.
pub const LOCK_WAIT_MS_MAX: u64 = 2_000;

/// Bytes of one event's body before it is compressed. A provider's largest request is 32 MB;
/// an event is one message of it.
pub const EVENT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Events in one append: a long imported conversation is one commit.
pub const COMMIT_EVENTS_MAX: usize = 100_000;

/// Bytes of one append, all bodies together.
pub const COMMIT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Appends that may wait for the commit thread. A writer that finds the queue full waits.
pub const QUEUE_APPENDS_MAX: usize = 1_024;

/// Bytes of bodies that may wait for the commit thread, one append beyond it.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

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

/// Nesting of what a request to a model holds as somebody else's JSON: what a tool was called with,
/// what a provider's own tool found. Less than [`JSON_DEPTH_MAX`], so that the request around it can
/// be read.
pub const PROMPT_DEPTH_MAX: usize = JSON_DEPTH_MAX - 16;

/// Sessions whose tail the commit thread keeps at hand.
pub const TAIL_CACHE_SESSIONS_MAX: usize = 4_096;

/// Sessions whose keys are kept at hand, so that a read does not ask the provider: as many as have
/// their tails there.
pub const KEY_CACHE_SESSIONS_MAX: usize = TAIL_CACHE_SESSIONS_MAX;

/// The most runs of which a session handle remembers the policy.
pub const RUN_POLICIES_MAX: usize = 64;

/// Bytes of a session's key as its provider wraps it: what a slot of the key file has room for.
/// Services that keep keys answer with less than 250.
pub const WRAPPED_KEY_BYTES_MAX: usize = 440;

/// Plain bytes in one segment of a sealed blob: what a reader holds in memory at a time.
pub const SEALED_SEGMENT_BYTES: usize = 64 * 1024;

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

/// Bytes of one medium in the store of blobs.
pub const BLOB_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Stored bodies that one commit of a compaction or an erasure replaces: it holds up other
/// writers no longer than that takes.
pub const REPLACED_EVENTS_MAX: usize = 256;

/// Bytes of stored bodies that one such commit reads, unless one body alone is larger.
pub const REPLACED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far back an ending run looks for the calls of other runs that its results answer. What is
/// further back goes when the session is compacted.
pub const PAIRING_EVENTS_MAX: u64 = 4_096;

/// Events a subscriber that had caught up may be behind before it is told so, unless it says
/// otherwise.
pub const SUBSCRIBER_LAG_EVENTS: u64 = 1_024;

/// How far in the future the events of another database may have been recorded, in microseconds:
/// its clock may be ahead, by a day at most.
pub const CLOCKS_APART_US_MAX: i64 = 24 * 60 * 60 * 1_000_000;

/// Forks of forks: how many streams may hold a session's events.
pub const FORK_DEPTH_MAX: usize = 256;

/// Summaries that a view holds; older ones stay in the log. One of them does not become current
/// again when all that came after it are withdrawn: a view is made of events and reads none.
pub const VIEW_SUMMARIES_MAX: usize = 16;

/// Messages in one context, of the history and of the run under way: a manifest names each of them.
/// The longest window of any provider holds fewer.
pub const CONTEXT_MESSAGES_MAX: usize = 200_000;

/// Memories in one context: all of them go into one system text.
pub const CONTEXT_MEMORIES_MAX: usize = 10_000;

/// Bytes of the text of one memory: a fact, not a document. All of a user's lie in one view.
pub const MEMORY_BYTES_MAX: usize = 4 * 1024;

/// Bytes of the words that a memory was learned from. What is longer stays in its session, where
/// the memory's source points to it.
pub const MEMORY_INPUT_BYTES_MAX: usize = 8 * 1024;

/// Topics of one memory, each no longer than an id.
pub const MEMORY_TOPICS_MAX: usize = 32;

/// Memories that a model is shown when it is asked what to remember: those changed last.
pub const MEMORIES_SHOWN_MAX: usize = 200;

/// Bytes of a message that a model is shown when it is asked what to remember of it.
pub const MEMORY_PROMPT_BYTES_MAX: usize = 32 * 1024;

/// Messages that one call of the program has memories made of: what a mistake costs at most. Asked
/// again, it goes on behind them.
pub const MEMORY_BATCH_MESSAGES: usize = 1_000;

/// How often a model is asked about one message before what it wants so far is done.
pub const MEMORY_ROUNDS_MAX: usize = 4;

/// Calls of tools that are taken from a model about one message.
pub const MEMORY_CALLS_MAX: usize = 32;

/// Memories of one user. More of them than a model can be shown help nobody.
pub const MEMORIES_MAX: usize = 2_000;

/// Sessions on one page of a listing.
pub const LIST_PAGE_MAX: usize = 1_000;

/// Bytes that a tool of `SessionTools` answers a model with: some three thousand tokens, because an
/// answer is a part of the run under way, which no budget cuts, and a model calls several at once.
/// What is over it is left out, and the answer says so.
pub const TOOL_ANSWER_BYTES_MAX: usize = 12 * 1024;

/// Characters of one message, of a call's arguments or of its result in such an answer: one
/// message or call always has room in it.
pub const TOOL_TEXT_CHARS_MAX: usize = 1_500;

/// Messages that such a tool tells of a session.
pub const TOOL_MESSAGES_MAX: usize = 1_000;

/// Events that such a tool looks back over in a session, whatever a model asks for: a session may
/// be larger than the memory.
pub const TOOL_EVENTS_MAX: usize = 4_096;

/// Calls that such a tool tells.
pub const TOOL_CALLS_MAX: usize = 100;

/// Sessions that such a tool lists.
pub const TOOL_SESSIONS_MAX: usize = 100;

/// How far the order of the recently-updated index may lag behind, in microseconds. The index
/// is written again only when it is older, so that a turn does not pay for it.
pub const UPDATED_INDEX_LAG_US: i64 = 1_000_000;

/// Bytes from which on a medium in a message is stored as a blob. A blob costs a file (a block
/// of 4 KiB), three syncs and a reference of 120 bytes: below this, its bytes are cheaper inline.
pub const BLOB_BYTES_MIN: usize = 1_024;

/// Bytes of one JSON value with its media put back, so that few references to a large blob do
/// not fill the memory: the bytes of one append.
pub const ATTACHED_BYTES_MAX: u64 = COMMIT_BYTES_MAX as u64;

/// Memory for sled's page cache unless the caller says otherwise.
pub const CACHE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

/// Bytes of one transcript that is imported. A file is in memory as a whole while it is read.
pub const TRANSCRIPT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// Bytes of a model's answer as it comes over the wire, unless the client is told otherwise: far
/// more than any model writes, and what a server gone wild fills at most.
pub const MODEL_ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Tokens of an answer where nobody says and the provider must be told: what the smallest model of
/// Anthropic's can write.
pub const MODEL_ANSWER_TOKENS_DEFAULT: u32 = 4_096;

/// How often a request to a model is sent again at most.
pub const MODEL_RETRIES_MAX: u32 = 10;

/// How long a model's server may ask to be left alone before a request is sent again, in
/// milliseconds. One that asks for more is not waited for.
pub const MODEL_RETRY_WAIT_MS_MAX: u64 = 60_000;

/// Things in a row that a batch asks a model for and that fail although asking again may help: each
/// was sent again as often as the client does, or waited for as long, so the server is down.
pub const BATCH_FAILURES_MAX: usize = 3;

/// Bytes of a prompt of one's own for summaries.
pub const PROMPT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of one message that a model is shown for a summary; of a longer one its beginning and its
/// end.
pub const SHOWN_MESSAGE_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a conversation that a model is shown at once for a summary, unless it is told
/// otherwise: some twelve thousand tokens, which every window has room for. A longer one is
/// summarized piece by piece.
pub const SUMMARY_PIECE_BYTES: usize = 48 * 1024;

/// Pieces after which a summary is written before the next is asked for: what a failure or a crash
/// in the middle of a long session costs at most, but where one run is larger.
pub const SUMMARY_PIECES_MAX: usize = 16;

/// Runs that began and ended since anything was recorded in an open run, after which it is taken
/// for abandoned and a summary covers what it said so far.
pub const SUMMARY_OPEN_RUN_WAITS: usize = 8;

/// Bytes of a summary's text. A model that answers with more did not summarize.
pub const SUMMARY_BYTES_MAX: usize = 64 * 1024;

/// Topics of a summary; those beyond are left out.
pub const SUMMARY_TOPICS_MAX: usize = 32;

/// How often a model is asked for the same thing at most, where its answers cannot be used.
pub const ANSWER_TRIES_MAX: usize = 3;

/// How often a summary or a name is begun anew at most, where the session changed meanwhile.
pub const ASSIST_TRIES_MAX: usize = 3;

/// Sessions of which automatic summaries count what was added. Beyond them, those that were quiet
/// for longest begin anew.
pub const AUTO_SUMMARY_SESSIONS_MAX: usize = 65_536;

/// Events behind the last summary of which automatic summaries count the bytes when they first look
/// at a session, the newest. What is further back is summarized with the rest.
pub const AUTO_SUMMARY_LOOK_EVENTS: u64 = 1_024;

/// Sessions of which automatic compaction counts what was appended. Beyond them, those that were
/// quiet for longest begin anew.
pub const AUTO_COMPACTION_SESSIONS_MAX: usize = 65_536;

/// Runs of a session's beginning that a name is made from, unless it is told otherwise.
pub const NAME_RUNS: usize = 3;

/// Bytes of one message that a model is shown for a name.
pub const NAME_SHOWN_BYTES_MAX: usize = 2_000;

/// Messages that a model is shown for a name.
pub const NAME_MESSAGES_MAX: usize = 12;

/// Words of a generated name.
pub const NAME_WORDS_MAX: usize = 5;

/// Characters of a generated name: what a list shows on a line. It bounds names in scripts that
/// have no spaces between words.
pub const NAME_CHARS_MAX: usize = 80;

/// Sessions that are named at the same time.
pub const NAME_JOBS_MAX: usize = 64;

/// Bytes of one entry of the search index: a message, a name or a summary. What a longer text says
/// behind them is not found.
pub const SEARCH_TEXT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes by which one word is told from another in a search. Longer ones are no words that people
/// look for: encoded data, addresses.
pub const SEARCH_WORD_BYTES_MAX: usize = 128;

/// Bytes of a search's words.
pub const SEARCH_QUERY_BYTES_MAX: usize = 4_096;

/// Words of a search, those in quotes and those that must not be there together.
pub const SEARCH_QUERY_WORDS_MAX: usize = 64;

/// Hits of one search.
pub const SEARCH_HITS_MAX: usize = 1_000;

/// Sessions that one search names.
pub const SEARCH_SESSIONS_MAX: usize = 1_000;

/// Bytes of the text that a hit shows.
pub const SEARCH_SNIPPET_BYTES_MAX: usize = 240;

/// Memory for entries that are on their way into the search index. It takes them up by one thread.
pub const SEARCH_WRITER_BYTES: usize = 64 * 1024 * 1024;

/// Events after which the search index is made durable while it takes up many: what a process
/// that ends meanwhile has to do again.
pub const SEARCH_COMMIT_EVENTS: u64 = 262_144;

/// Events that a search takes in beside the index on disk, in memory. Where there are more, it goes
/// on with the one on disk. A process that is started anew reads so many again.
pub const SEARCH_TAIL_EVENTS: u64 = 512;

/// Memory for these events on their way into it.
pub const SEARCH_TAIL_WRITER_BYTES: usize = 16 * 1024 * 1024;

/// Bytes of the texts in these events, from which on they go to the index on disk too.
pub const SEARCH_TAIL_BYTES: usize = 4 * 1024 * 1024;

/// Entries of a part of the search index from which on it is not put together with others. So an
/// erasure has to write no more than a few times as many again.
pub const SEARCH_SEGMENT_ENTRIES: usize = 50_000;

/// Bytes of one value in sled. Larger ones never reach the disk reliably: a page fragment over
/// a quarter of a segment goes to a file that sled does not sync.
pub(crate) const CHUNK_BYTES_MAX: usize = 4 * 1024;

const _: () = {
    assert!(EVENT_BYTES_MAX <= COMMIT_BYTES_MAX);
    assert!(EVENT_BYTES_MAX / CHUNK_BYTES_MAX < u16::MAX as usize);
    assert!(SNAPSHOT_EVENTS > 1);
    // A call's arguments and its result, of the widest characters.
    assert!(2 * 4 * TOOL_TEXT_CHARS_MAX < TOOL_ANSWER_BYTES_MAX);
    // A tail that a group has changed must still be at hand when the group is written.
    assert!(GROUP_APPENDS_MAX < TAIL_CACHE_SESSIONS_MAX / 2);
    // One group must not push out of the count what it has just added to it.
    assert!(GROUP_APPENDS_MAX < AUTO_COMPACTION_SESSIONS_MAX / 2);
};
