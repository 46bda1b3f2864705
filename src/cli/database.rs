//! Opening what a command works on. Whoever runs the program reads every session, and renames or
//! changes any; messages are written in a user's name, by `record` and `import`.

use sessionlog::{Engine, Session};

use super::args::Global;
use super::failure::Result;

impl Global {
    /// The database that is there.
    pub(super) fn open(&self) -> Result<Engine> {
        self.open_or(false)
    }

    /// The database, which is made where there is none.
    pub(super) fn create(&self) -> Result<Engine> {
        self.open_or(true)
    }

    /// A session of the database that is there.
    pub(super) fn session(&self, session_id: &str) -> Result<Session> {
        session(&self.open()?, session_id)
    }

    fn open_or(&self, create: bool) -> Result<Engine> {
        Ok(Engine::builder().create(create).salvage(self.salvage).open(&self.db)?)
    }
}

/// A session that is there, whoever's it is.
pub(super) fn session(engine: &Engine, session_id: &str) -> Result<Session> {
    Ok(engine.session(session_id).admin().open_existing()?)
}
