//! Transcripts of other programs: read into sessions, and most of them written back as they came.
//!
//! An import is idempotent. Every message gets an event id that is derived from its session,
//! its place and its content, so importing a file again adds nothing, and importing one that
//! has grown adds what is new. A conversation is one append: all of it is there, or none.

mod agno;
mod anthropic;
mod blocks;
mod claude_code;
mod conversation;
mod documents;
mod export;
mod files;
mod format;
mod import;
mod inspect;
mod jsonl;
mod kept;
mod openai;
mod openhands;
mod plan;
mod recorder;
mod report;
mod restore;
mod runs;
mod source;
mod stored;
mod swe_agent;
mod tau_bench;
#[cfg(test)]
mod tests;
mod validate;

pub use self::export::{export, export_memories};
pub use self::format::Format;
pub use self::import::{Importer, import_paths, import_text};
pub use self::recorder::Recorder;
pub use self::report::{Counts, ImportOptions, ImportProgress, ImportReport, Skipped};
pub use self::validate::{Validated, validate_text};
