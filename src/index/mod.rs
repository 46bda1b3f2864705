//! The records beside the frames: how a session, a run, an event or a position is found. They
//! are written in the batch of the events they follow from.

mod entry;
mod event_id;
mod group;
mod run;

pub(crate) use self::entry::{EVERYONE, Entry, scope_of};
pub(crate) use self::event_id::stored_seq;
pub(crate) use self::group::GroupRecord;
pub(crate) use self::run::RunRecord;
