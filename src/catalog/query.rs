//! What is asked of the catalog.

use crate::access::Access;
use crate::error::{Error, Result, check_limit};
use crate::event::SessionType;
use crate::id::Digest;
use crate::index::{EVERYONE, Entry, scope_of};
use crate::limits::LIST_PAGE_MAX;

/// Which sessions to list, in which order. Reading across users takes [`Access::Admin`].
///
/// ```
/// use sessionlog::{Access, Engine, SessionQuery};
///
/// let engine = Engine::in_memory()?;
/// engine.session("s1").user("alice").open()?;
/// engine.session("s2").user("bob").open()?;
/// let page = engine.sessions(&SessionQuery::new(Access::User("alice".into())).limit(10))?;
/// assert_eq!((page.sessions.len(), page.total), (1, 1));
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionQuery {
    access: Access,
    user_id: Option<String>,
    pub(super) session_type: Option<SessionType>,
    component_id: Option<String>,
    name: Option<String>,
    pub(super) since_us: Option<i64>,
    pub(super) until_us: Option<i64>,
    pub(super) sort: SortBy,
    pub(super) order: SortOrder,
    pub(super) limit: usize,
    pub(super) page: usize,
}

/// What sessions are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// When they began.
    #[default]
    CreatedAt,
    /// When their last event was recorded.
    UpdatedAt,
}

/// Which end comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// The oldest first.
    Ascending,
    /// The newest first.
    #[default]
    Descending,
}

impl SessionQuery {
    /// All sessions that the access reaches, the newest twenty first.
    pub fn new(access: Access) -> Self {
        Self {
            access,
            user_id: None,
            session_type: None,
            component_id: None,
            name: None,
            since_us: None,
            until_us: None,
            sort: SortBy::default(),
            order: SortOrder::default(),
            limit: 20,
            page: 1,
        }
    }

    /// Only this user's sessions.
    #[must_use]
    pub fn user(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Only sessions of this type.
    #[must_use]
    pub fn session_type(mut self, session_type: SessionType) -> Self {
        self.session_type = Some(session_type);
        self
    }

    /// Only sessions with this agent, team or workflow.
    #[must_use]
    pub fn component(mut self, component_id: impl Into<String>) -> Self {
        self.component_id = Some(component_id.into());
        self
    }

    /// Only sessions whose name contains this, in upper or lower case.
    #[must_use]
    pub fn name(mut self, part: &str) -> Self {
        self.name = Some(part.to_lowercase());
        self
    }

    /// Only sessions created at or after this time, in microseconds since 1970.
    #[must_use]
    pub fn since(mut self, at_us: i64) -> Self {
        self.since_us = Some(at_us);
        self
    }

    /// Only sessions created at or before this time, in microseconds since 1970.
    #[must_use]
    pub fn until(mut self, at_us: i64) -> Self {
        self.until_us = Some(at_us);
        self
    }

    /// Sorted by this.
    #[must_use]
    pub fn sort(mut self, sort: SortBy, order: SortOrder) -> Self {
        (self.sort, self.order) = (sort, order);
        self
    }

    /// At most so many sessions on a page.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// The page of this number, from 1.
    #[must_use]
    pub fn page(mut self, page: usize) -> Self {
        self.page = page;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_limit("page of sessions", self.limit, LIST_PAGE_MAX)?;
        if self.page == 0 {
            return Err(Error::invalid("pages count from 1"));
        }
        match &self.user_id {
            Some(user_id) => self.access.check(Some(user_id)),
            None => Ok(()),
        }
    }

    /// The index scope that holds every session the query can return.
    pub(super) fn scope(&self) -> Digest {
        match (&self.user_id, &self.access) {
            (Some(user_id), _) | (None, Access::User(user_id)) => scope_of(Some(user_id)),
            (None, Access::Nobody) => scope_of(None),
            (None, Access::Admin) => EVERYONE,
        }
    }

    /// Whether the index alone tells which sessions match.
    pub(super) fn is_unfiltered(&self) -> bool {
        self.component_id.is_none()
            && self.name.is_none()
            && self.since_us.is_none()
            && self.until_us.is_none()
    }

    pub(super) fn matches(&self, entry: &Entry) -> bool {
        let is_type = |wanted| entry.session_type == wanted;
        let has_name = |part: &String| {
            entry.name.as_ref().is_some_and(|name| name.to_lowercase().contains(part))
        };
        self.session_type.is_none_or(is_type)
            && self.component_id.as_deref().is_none_or(|id| entry.component_id() == Some(id))
            && self.name.as_ref().is_none_or(has_name)
            && self.since_us.is_none_or(|since| entry.created_at_us >= since)
            && self.until_us.is_none_or(|until| entry.created_at_us <= until)
            // The index goes by a digest of the user; the name itself decides.
            && self.access.reaches(entry.user_id.as_deref())
            && self.user_id.as_ref().is_none_or(|user_id| entry.user_id.as_ref() == Some(user_id))
    }
}
