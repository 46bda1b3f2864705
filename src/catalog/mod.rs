//! Which sessions there are, a page at a time.

mod candidates;
mod list;
mod query;

pub use self::list::SessionPage;
pub(crate) use self::list::list;
#[cfg(feature = "search")]
pub(crate) use self::list::newest;
pub use self::query::{SessionQuery, SortBy, SortOrder};
