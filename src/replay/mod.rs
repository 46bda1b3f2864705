//! Reading a session back: its events, its view at any point, its window.

mod point;
mod steps;
mod window;

use std::sync::Arc;

pub use self::point::Point;
pub use self::steps::{Replay, Step};
pub(crate) use self::window::read as read_window;

use crate::error::Result;
use crate::id::Digest;
use crate::log::Log;
use crate::projection::{Projection, SessionView};
use crate::snapshot::Snapshot;
use crate::stream::Events;

/// The view after a seq: the nearest snapshot, and the events since.
pub(crate) fn view_at(log: &Arc<dyn Log>, session: Digest, seq: u64) -> Result<SessionView> {
    let Snapshot { mut view, link } = Snapshot::load(&**log, session, seq)?;
    for event in Events::after(log, session, view.seq, link, seq) {
        view.apply(&event?);
    }
    Ok(view)
}
