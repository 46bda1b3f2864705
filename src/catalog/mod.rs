//! Which sessions there are, a page at a time.

mod candidates;
mod list;
mod query;

pub use self::list::SessionPage;
pub(crate) use self::list::list;
pub use self::query::{SessionQuery, SortBy, SortOrder};
