//! Views as pure folds of events: the same events give the same view, every time.

mod diff;
mod history;
mod memory;
mod record;
mod runs;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use self::diff::Compared;
pub use self::diff::{Change, Diff, DiffEnd, MessageChange, Side, ValueChange};
pub(crate) use self::history::{Chosen, RunCount, Selected, Window, keep_last_calls, tool_calls};
pub use self::memory::Memory;
pub use self::record::{run_record, session_record};
pub use self::runs::{RunView, Runs};
pub use self::session::{ForkPoint, Import, OpenRun, SessionView, Summary};

use crate::event::Event;

/// A fold of events into a view. No clock, no disk, no failure: what an event says is checked
/// before it is stored.
pub trait Projection {
    /// Takes one more event in. Events come in order of seq, without a gap but those that
    /// rewinds make: what a rewind left behind is not folded, or is folded away again by
    /// starting over from the seq it went back to.
    fn apply(&mut self, event: &Event);
}
