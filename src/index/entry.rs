//! What the catalog keeps of a session: enough to find it and to guard it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::{Created, SessionType};
use crate::id::Digest;
use crate::limits::UPDATED_INDEX_LAG_US;
use crate::log::{Batch, Log, key};
use crate::projection::{ForkPoint, SessionView};

use super::{Ancestor, Lineage};

/// All sessions, whoever's they are.
pub(crate) const EVERYONE: Digest = Digest::NONE;
/// The sessions that are nobody's.
pub(crate) const NOBODY: Digest = Digest([0xff; 16]);

/// A session in the catalog. Written when one of its fields changes, not on every append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) session_id: String,
    pub(crate) session_type: SessionType,
    pub(crate) user_id: Option<String>,
    pub(crate) agent_id: Option<String>,
    pub(crate) team_id: Option<String>,
    pub(crate) workflow_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) created_at_us: i64,
    /// Where the session stands in the index of updates: not after its last event, and behind
    /// it by less than [`UPDATED_INDEX_LAG_US`].
    pub(crate) touched_at_us: i64,
    /// What it was forked from, as whoever forked it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forked_from: Option<ForkPoint>,
    /// The streams that hold its events before its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ancestors: Vec<Ancestor>,
    /// Whether it or an ancestor ever went back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_rewinds: bool,
}

/// The index scope of a user's sessions, or of nobody's.
pub(crate) fn scope_of(user_id: Option<&str>) -> Digest {
    user_id.map_or(NOBODY, Digest::of_user)
}

impl Entry {
    pub(crate) fn new(created: &Created, at_us: i64) -> Self {
        Self {
            session_id: created.session_id.clone(),
            session_type: created.session_type,
            user_id: created.user_id.clone(),
            agent_id: created.agent_id.clone(),
            team_id: created.team_id.clone(),
            workflow_id: created.workflow_id.clone(),
            name: None,
            created_at_us: at_us,
            touched_at_us: at_us,
            forked_from: None,
            ancestors: Vec::new(),
            has_rewinds: false,
        }
    }

    /// The entry of a session that is forked from what the view shows.
    pub(crate) fn forked(view: &SessionView, ancestors: Vec<Ancestor>, at_us: i64) -> Self {
        Self {
            session_id: view.session_id.clone(),
            session_type: view.session_type,
            user_id: view.user_id.clone(),
            agent_id: view.agent_id.clone(),
            team_id: view.team_id.clone(),
            workflow_id: view.workflow_id.clone(),
            name: view.name.clone(),
            created_at_us: at_us,
            touched_at_us: at_us,
            forked_from: view.forked_from.clone(),
            ancestors,
            has_rewinds: false,
        }
    }

    pub(crate) fn load(log: &dyn Log, session: Digest) -> Result<Option<Self>> {
        log.get(&key::catalog(session))?.map(|bytes| Self::from_bytes(&bytes)).transpose()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes)
            .map_err(|error| Error::corrupt(format!("catalog entry: {error}")))
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // A struct of strings and numbers always serialises.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The agent, team or workflow, whichever the session is a conversation with.
    pub(crate) fn component_id(&self) -> Option<&str> {
        match self.session_type {
            SessionType::Agent => self.agent_id.as_deref(),
            SessionType::Team => self.team_id.as_deref(),
            SessionType::Workflow => self.workflow_id.as_deref(),
        }
    }

    /// Where its events lie.
    pub(crate) fn lineage(&self, own: Digest) -> Lineage {
        Lineage::from_parts(own, self.ancestors.clone(), self.has_rewinds)
    }

    /// As much of the session's view as the catalog knows.
    pub(crate) fn to_view(&self) -> SessionView {
        SessionView {
            session_id: self.session_id.clone(),
            session_type: self.session_type,
            user_id: self.user_id.clone(),
            agent_id: self.agent_id.clone(),
            team_id: self.team_id.clone(),
            workflow_id: self.workflow_id.clone(),
            name: self.name.clone(),
            created_at_us: self.created_at_us,
            updated_at_us: self.touched_at_us,
            forked_from: self.forked_from.clone(),
            ..SessionView::default()
        }
    }

    /// The scopes whose indexes hold the session.
    pub(crate) fn scopes(&self) -> [Digest; 2] {
        [EVERYONE, scope_of(self.user_id.as_deref())]
    }

    /// Whether the index of updates lags too far behind.
    pub(crate) fn lags_behind(&self, at_us: i64) -> bool {
        at_us.saturating_sub(self.touched_at_us) >= UPDATED_INDEX_LAG_US
    }

    /// Moves the session up in the index of updates.
    pub(crate) fn touch(&mut self, at_us: i64, session: Digest, batch: &mut Batch) {
        for scope in self.scopes() {
            batch.remove(key::updated(scope, self.touched_at_us, session));
            batch.replace(key::updated(scope, at_us, session), Vec::new());
        }
        self.touched_at_us = at_us;
    }

    /// Puts the session into the indexes of one scope.
    pub(crate) fn index(&self, scope: Digest, session: Digest, batch: &mut Batch) {
        batch.replace(key::created(scope, self.created_at_us, session), Vec::new());
        batch.replace(key::updated(scope, self.touched_at_us, session), Vec::new());
    }

    /// Takes the session out of the indexes of one scope.
    pub(crate) fn unindex(&self, scope: Digest, session: Digest, batch: &mut Batch) {
        batch.remove(key::created(scope, self.created_at_us, session));
        batch.remove(key::updated(scope, self.touched_at_us, session));
    }
}
