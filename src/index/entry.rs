//! What the catalog keeps of a session: enough to find it and to guard it.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::event::{Created, Policy, SessionType};
use crate::id::{Digest, StreamName};
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
    /// What is kept, as far as the session itself says.
    #[serde(default, skip_serializing_if = "Policy::is_empty")]
    pub(crate) policy: Policy,
    /// Whether a run of it ever said for itself what is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) has_run_policies: bool,
    /// The seq of its beginning: behind a session that was deleted under the same id. A fork
    /// begins where its parent does.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub(crate) first_seq: u64,
}

const fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_one(seq: &u64) -> bool {
    *seq == 1
}

/// The index scope of a user's sessions, or of nobody's.
pub(crate) fn scope_of(user_id: Option<&str>) -> Digest {
    user_id.map_or(NOBODY, Digest::of_user)
}

impl Entry {
    pub(crate) fn new(created: &Created, first_seq: u64, at_us: i64) -> Self {
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
            // A deletion is where a timeline ends.
            has_rewinds: first_seq > 1,
            policy: Policy::default(),
            has_run_policies: false,
            first_seq,
        }
    }

    /// The entry of a session that is forked from what the view shows.
    pub(crate) fn forked(
        view: &SessionView,
        ancestors: Vec<Ancestor>,
        first_seq: u64,
        at_us: i64,
    ) -> Self {
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
            policy: view.policy,
            has_run_policies: false,
            first_seq,
        }
    }

    pub(crate) fn load(log: &dyn Log, session: Digest) -> Result<Option<Self>> {
        log.get(&key::catalog(session))?.map(|bytes| Self::from_bytes(&bytes)).transpose()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let entry: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::corrupt(format!("catalog entry: {error}")))?;
        let seqs = entry.ancestors.iter().map(|ancestor| ancestor.last_seq);
        // Whoever reads counts on from these.
        let fits = (1..u64::MAX).contains(&entry.first_seq)
            && seqs.clone().all(|seq| (1..u64::MAX).contains(&seq))
            && seqs.is_sorted_by(|a, b| a < b);
        if fits { Ok(entry) } else { Err(Error::corrupt("catalog entry: seqs that cannot be")) }
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
            SessionType::Memories => None,
        }
    }

    /// The stream that it is about.
    pub(crate) fn stream(&self) -> StreamName<'_> {
        self.session_type.stream(&self.session_id)
    }

    /// Whether it is of a user's memories, which are no session.
    pub(crate) fn is_memories(&self) -> bool {
        self.session_type == SessionType::Memories
    }

    /// Where its events lie.
    pub(crate) fn lineage(&self, own: Digest) -> Lineage {
        Lineage::from_parts(own, self.ancestors.clone(), self.has_rewinds)
            .beginning_at(self.first_seq)
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
            policy: self.policy,
            ..SessionView::default()
        }
    }

    /// The scopes whose indexes hold the session. Memories are in none, and so in no list.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = Digest> + use<> {
        let scopes = [EVERYONE, scope_of(self.user_id.as_deref())];
        let listed = if self.is_memories() { 0 } else { scopes.len() };
        scopes.into_iter().take(listed)
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
