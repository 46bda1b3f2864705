//! Reading a session back: its events, its view at any point, its window.

mod compare;
mod point;
mod steps;
mod window;

pub(crate) use self::compare::{End, compare};
pub use self::point::Point;
pub use self::steps::{Replay, Step};
pub(crate) use self::window::{
    Recent, newest_system_message, read as read_window, read_recent, read_run,
};
