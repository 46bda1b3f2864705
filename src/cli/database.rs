//! Opening what a command works on. Whoever runs the program reads every session, and renames or
//! changes any; messages are written in a user's name, by `record` and `import`.

use std::sync::Arc;

use sessionlog::{
    Access, Engine, EngineBuilder, ErrorKind, FileKey, Policy, Session, SessionQuery, SortBy,
    SortOrder, limits,
};

use super::args::Global;
use super::failure::{Failure, Result};
use super::near;
use super::text;

impl Global {
    /// The database that is there.
    pub(super) fn open(&self) -> Result<Engine> {
        let failure = if self.salvage { Failure::Engine } else { Failure::Opening };
        self.open_by(Engine::builder().create(false)).map_err(failure)
    }

    /// The database, which is made where there is none. What sessions do not say themselves is
    /// kept by a policy.
    pub(super) fn create(&self, policy: Policy) -> sessionlog::Result<Engine> {
        self.open_by(Engine::builder().policy(policy))
    }

    /// A session of the database that is there.
    pub(super) fn session(&self, session_id: &str) -> Result<Session> {
        session(&self.open()?, session_id)
    }

    fn open_by(&self, builder: EngineBuilder) -> sessionlog::Result<Engine> {
        let engine = sealed(builder, self)?.salvage(self.salvage).open(&self.db)?;
        self.tell_missing(&engine)?;
        Ok(engine)
    }

    /// Who reads what is left of a database is told how much that is not.
    fn tell_missing(&self, engine: &Engine) -> sessionlog::Result<()> {
        let missing = engine.missing_events()?;
        if missing > 0 {
            let of = text::count(missing.saturating_add(engine.stats()?.events), "event");
            super::complain(&format!(
                "{}: {} of {of} are missing: its files were damaged, or written to while they \
                 were copied",
                self.db.display(),
                text::grouped(missing),
            ));
        }
        Ok(())
    }
}

/// The builder, told which key opens what is sealed.
pub(super) fn sealed(builder: EngineBuilder, global: &Global) -> sessionlog::Result<EngineBuilder> {
    Ok(match &global.key_file {
        Some(path) => builder.seal(Arc::new(FileKey::open(path)?)),
        None => builder,
    })
}

/// A session that is there, whoever's it is.
pub(super) fn session(engine: &Engine, session_id: &str) -> Result<Session> {
    match engine.session(session_id).admin().open_existing() {
        Err(error) if *error.kind() == (ErrorKind::NotFound { what: "session" }) => {
            Err(Failure::Unknown(error, near_to(session_id, engine)))
        }
        opened => Ok(opened?),
    }
}

/// Ids that may have been meant. Where they cannot be listed, there are none to name.
fn near_to(session_id: &str, engine: &Engine) -> Vec<String> {
    let query = SessionQuery::new(Access::Admin).limit(near::LOOKED_AT_MAX);
    let newest = engine.sessions(&query).map(|page| page.sessions).unwrap_or_default();
    near::near(session_id, newest.into_iter().map(|view| view.session_id))
}

/// The ids of all sessions, the oldest first.
pub(super) fn session_ids(engine: &Engine) -> Result<Vec<String>> {
    session_ids_of(engine, Access::Admin)
}

/// The same of those that an access reaches.
pub(super) fn session_ids_of(engine: &Engine, access: Access) -> Result<Vec<String>> {
    found_ids(engine, SessionQuery::new(access).sort(SortBy::CreatedAt, SortOrder::Ascending))
}

/// Says that a list passed over sessions, if it did: whoever takes it for all of them must know.
pub(super) fn passed_over(total: u64, listed: usize) -> Option<Failure> {
    let missing = total.saturating_sub(listed as u64);
    let words = || {
        let sessions = text::count(missing, "session");
        format!(
            "{sessions} cannot be read, and nothing was done about what is in there: `verify` says why"
        )
    };
    (missing > 0).then(|| Failure::words(words()))
}

/// The ids on all pages of a query, in its order.
pub(super) fn found_ids(engine: &Engine, query: SessionQuery) -> Result<Vec<String>> {
    ids_and_total(engine, query).map(|(ids, _)| ids)
}

/// The same, and an error where a session that the query asks for cannot be read.
pub(super) fn all_ids(engine: &Engine, query: SessionQuery) -> Result<Vec<String>> {
    let (ids, total) = ids_and_total(engine, query)?;
    passed_over(total, ids.len()).map_or(Ok(ids), Err)
}

fn ids_and_total(engine: &Engine, query: SessionQuery) -> Result<(Vec<String>, u64)> {
    let query = query.limit(limits::LIST_PAGE_MAX);
    let mut ids = Vec::new();
    for number in 1.. {
        let page = engine.sessions(&query.clone().page(number))?;
        if page.sessions.is_empty() {
            return Ok((ids, page.total));
        }
        ids.extend(page.sessions.into_iter().map(|view| view.session_id));
    }
    Ok((ids, 0))
}
