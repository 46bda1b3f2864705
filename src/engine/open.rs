//! How a session is opened: continued, or begun.

use super::Engine;
use super::session::Session;
use crate::access::Access;
use crate::commit::Expected;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Created, NewEvent, SessionType};
use crate::id::{StreamName, check_name};
use crate::json::Json;

/// A session to be opened. Made by [`Engine::session`].
#[must_use = "a session is opened by `open`"]
#[derive(Debug, Clone)]
pub struct SessionBuilder {
    engine: Engine,
    created: Created,
    access: Option<Access>,
    session_type: Option<SessionType>,
}

impl SessionBuilder {
    pub(super) fn new(engine: Engine, session_id: String) -> Self {
        let created = Created { session_id, ..Created::default() };
        Self { engine, created, access: None, session_type: None }
    }

    /// The user whose session it is.
    pub fn user(mut self, user_id: impl Into<String>) -> Self {
        self.created.user_id = Some(user_id.into());
        self
    }

    /// Reaches any user's session. A session that is new belongs to [`SessionBuilder::user`],
    /// or to nobody.
    pub fn admin(mut self) -> Self {
        self.access = Some(Access::Admin);
        self
    }

    /// A conversation with this agent.
    pub fn agent(mut self, agent_id: impl Into<String>) -> Self {
        self.created.agent_id = Some(agent_id.into());
        self.session_type(SessionType::Agent)
    }

    /// A conversation with this team.
    pub fn team(mut self, team_id: impl Into<String>) -> Self {
        self.created.team_id = Some(team_id.into());
        self.session_type(SessionType::Team)
    }

    /// A conversation with this workflow.
    pub fn workflow(mut self, workflow_id: impl Into<String>) -> Self {
        self.created.workflow_id = Some(workflow_id.into());
        self.session_type(SessionType::Workflow)
    }

    /// What it is a conversation with: an agent, unless this says otherwise.
    pub fn session_type(mut self, session_type: SessionType) -> Self {
        self.session_type = Some(session_type);
        self.created.session_type = session_type;
        self
    }

    /// The agent's, team's or workflow's configuration, for a session that is new.
    pub fn component_data(mut self, data: impl Into<Json>) -> Self {
        self.created.component_data = Some(data.into());
        self
    }

    /// The application's own data about the session, for a session that is new.
    pub fn metadata(mut self, metadata: impl Into<Json>) -> Self {
        self.created.metadata = Some(metadata.into());
        self
    }

    /// The state a session begins with if it is new. One that exists keeps its own.
    pub fn state(mut self, state: impl Into<Json>) -> Self {
        self.created.state = Some(state.into());
        self
    }

    /// Continues the session, or begins it.
    ///
    /// # Errors
    /// [`ErrorKind::Forbidden`] where it belongs to another user, and
    /// [`ErrorKind::Invalid`] where it is a conversation with something else.
    pub fn open(self) -> Result<Session> {
        let place = self.place();
        self.open_or_create().context(place)
    }

    /// Continues the session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is none.
    pub fn open_existing(self) -> Result<Session> {
        let place = self.place();
        self.continued()
            .context(place.clone())?
            .ok_or_else(|| Error::not_found("session").context(place))
    }

    fn place(&self) -> String {
        StreamName::Session(&self.created.session_id).to_string()
    }

    fn open_or_create(self) -> Result<Session> {
        loop {
            if let Some(session) = self.continued()? {
                return Ok(session);
            }
            let session = self.handle();
            let events = vec![NewEvent::new(self.created.clone())];
            match session.append_expecting(Expected::Seq(0), events)?.wait() {
                Ok(_) => return Ok(session),
                // Someone began it in between: then it is there to be continued.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && session.inner().entry(session.key())?.is_some() => {}
                Err(error) if matches!(error.kind(), ErrorKind::Conflict { .. }) => {
                    return Err(Error::corrupt("it has events, and the catalog does not list it"));
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn continued(&self) -> Result<Option<Session>> {
        check_name("session id", &self.created.session_id)?;
        if self.session_type == Some(SessionType::Memories) {
            return Err(Error::invalid("memories are no session: `Engine::memories` opens them"));
        }
        let session = self.handle();
        let Some((entry, _)) = session.inner().entry(session.key())? else { return Ok(None) };
        session.access().check(entry.user_id.as_deref())?;
        if let Some(wanted) = self.session_type
            && wanted != entry.session_type
        {
            let is = entry.session_type;
            return Err(Error::invalid(format!("is of type {is}, and {wanted} was asked for")));
        }
        let wanted = [&self.created.agent_id, &self.created.team_id, &self.created.workflow_id];
        let is = [&entry.agent_id, &entry.team_id, &entry.workflow_id];
        for (wanted, is) in wanted.into_iter().zip(is) {
            if let (Some(wanted), Some(is)) = (wanted, is)
                && wanted != is
            {
                return Err(Error::invalid(format!("is with {is}, and {wanted} was asked for")));
            }
        }
        Ok(Some(session))
    }

    /// The session as it is or will be, whether or not it is there.
    pub(crate) fn handle(&self) -> Session {
        let access = match (&self.access, &self.created.user_id) {
            (Some(access), _) => access.clone(),
            (None, Some(user_id)) => Access::User(user_id.clone()),
            (None, None) => Access::Nobody,
        };
        Session::new(self.engine.clone(), StreamName::Session(&self.created.session_id), access)
    }
}
