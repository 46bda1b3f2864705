//! What is searched, and in whose name.

use super::hit::SearchKind;
use crate::access::Access;
use crate::error::{Result, check_limit};
use crate::limits::{LIST_PAGE_MAX, SEARCH_HITS_MAX, SEARCH_SESSIONS_MAX};
use crate::message::Role;

/// Which messages, names and summaries are looked for.
///
/// The words of a query must all be there, in any order. `"words in quotes"` must stand next to
/// each other, `-word` must not be there, and `word*` may go on. Case, accents, the vowel signs of
/// Arabic and Hebrew, what nobody sees (soft hyphens, joiners) and forms of writing (full width,
/// ligatures) make no difference. In scripts without spaces, and in Hangul, any part of a text is
/// found. What is no syntax is taken as words.
///
/// ```
/// use sessionlog::{Access, Engine, Message, Metrics, SearchQuery};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").user("alice").open()?;
/// session.record_run([Message::user("Where is my parcel?")], Metrics::default())?.wait()?;
///
/// let page = engine.search(&SearchQuery::new(Access::User("alice".into()), "PARCEL"))?;
/// let hit = &page.hits[0];
/// assert_eq!((hit.session_id.as_str(), hit.seq), ("s1", 3));
/// assert_eq!(&hit.snippet[hit.matches[0].clone()], "parcel");
/// // Nobody else finds it.
/// assert!(engine.search(&SearchQuery::new(Access::Nobody, "parcel"))?.hits.is_empty());
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SearchQuery {
    pub(super) access: Access,
    pub(super) user_id: Option<String>,
    pub(super) words: String,
    pub(super) session_ids: Option<Vec<String>>,
    pub(super) without: Vec<String>,
    pub(super) num_history_sessions: Option<usize>,
    pub(super) roles: Vec<Role>,
    pub(super) kinds: Vec<SearchKind>,
    pub(super) since_us: Option<i64>,
    pub(super) until_us: Option<i64>,
    pub(super) limit: usize,
}

impl SearchQuery {
    /// The best ten hits in all sessions that the access reaches.
    pub fn new(access: Access, words: impl Into<String>) -> Self {
        Self {
            access,
            user_id: None,
            words: words.into(),
            session_ids: None,
            without: Vec::new(),
            num_history_sessions: None,
            roles: Vec::new(),
            kinds: Vec::new(),
            since_us: None,
            until_us: None,
            limit: 10,
        }
    }

    /// Only this user's sessions. [`ErrorKind::Forbidden`](crate::ErrorKind::Forbidden) where the
    /// access does not reach them.
    #[must_use]
    pub fn user(mut self, user_id: impl Into<String>) -> Self {
        self.user_id = Some(user_id.into());
        self
    }

    /// Only these sessions, at most [`limits::SEARCH_SESSIONS_MAX`](crate::limits::SEARCH_SESSIONS_MAX).
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where one is not there or not within
    /// reach: which of the two is not told.
    #[must_use]
    pub fn sessions(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.session_ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// None of these sessions. What they share with others is still found there.
    #[must_use]
    pub(crate) fn without_sessions<'a>(mut self, ids: impl IntoIterator<Item = &'a str>) -> Self {
        self.without = ids.into_iter().map(str::to_owned).collect();
        self
    }

    /// Only the last so many of the sessions that are reached, by when they began.
    #[must_use]
    pub fn num_history_sessions(mut self, sessions: usize) -> Self {
        self.num_history_sessions = Some(sessions);
        self
    }

    /// Only messages of these roles. Those of users and assistants are searched, no others.
    #[must_use]
    pub fn roles(mut self, roles: impl IntoIterator<Item = Role>) -> Self {
        self.roles = roles.into_iter().collect();
        self
    }

    /// Only these kinds.
    #[must_use]
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = SearchKind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// Only what was recorded at or after this time, in microseconds since 1970.
    #[must_use]
    pub fn since(mut self, at_us: i64) -> Self {
        self.since_us = Some(at_us);
        self
    }

    /// Only what was recorded at or before this time, in microseconds since 1970.
    #[must_use]
    pub fn until(mut self, at_us: i64) -> Self {
        self.until_us = Some(at_us);
        self
    }

    /// At most so many hits, up to [`limits::SEARCH_HITS_MAX`](crate::limits::SEARCH_HITS_MAX).
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        check_limit("hits of a search", self.limit, SEARCH_HITS_MAX)?;
        let sessions = self.session_ids.as_ref().map_or(0, Vec::len);
        check_limit("sessions of a search", sessions, SEARCH_SESSIONS_MAX)?;
        check_limit("sessions of a search", self.num_history_sessions.unwrap_or(0), LIST_PAGE_MAX)?;
        match &self.user_id {
            Some(user_id) => self.access.check(Some(user_id)),
            None => Ok(()),
        }
    }

    /// In whose name it is carried out: an admin who asks for one user's sees what that user sees.
    pub(super) fn reach(&self) -> Access {
        match &self.user_id {
            Some(user_id) => Access::User(user_id.clone()),
            None => self.access.clone(),
        }
    }
}
