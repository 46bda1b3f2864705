//! The records beside the frames: how a session, a run, an event or a position is found. They
//! are written in the batch of the events they follow from.

mod entry;
mod event_id;
mod former;
mod group;
mod lineage;
mod newest;
mod run;
mod run_number;
mod source;
mod timeline;

pub(crate) use self::entry::{EVERYONE, Entry, scope_of};
pub(crate) use self::event_id::stored_seq;
pub(crate) use self::former::{Former, deletions, former_lineage};
pub(crate) use self::group::GroupRecord;
pub(crate) use self::lineage::{Ancestor, Lineage, Sharers, shared_seq, sharers};
pub(crate) use self::newest::newest;
pub(crate) use self::run::RunRecord;
pub(crate) use self::run_number::NumberedRun;
pub(crate) use self::source::{forget_source, learned_from, source_of};
pub(crate) use self::timeline::{Rewind, Stretch, Timeline, last_rewind, next_rewind};
