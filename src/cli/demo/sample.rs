//! The bundled sample sessions.

use serde::Deserialize;
use serde_json::Value;
use sessionlog::{Engine, ErrorKind, Json, Message, Metrics, Session};

use crate::cli::failure::{Failure, Result};

/// The samples, each a JSON file beside this one.
pub(super) const SAMPLES: [&str; 2] = [include_str!("parcel.json"), include_str!("menu.json")];

/// A session to be recorded.
#[derive(Deserialize)]
pub(super) struct Sample {
    pub(super) session_id: String,
    user_id: String,
    agent_id: String,
    name: String,
    runs: Vec<SampleRun>,
}

#[derive(Deserialize)]
struct SampleRun {
    run_id: String,
    model: String,
    provider: String,
    messages: Vec<Json>,
    #[serde(default)]
    metrics: Metrics,
    /// What the run merges into the state.
    state: Option<Value>,
    /// Why it was cancelled, if it was.
    cancelled: Option<String>,
}

impl Sample {
    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(|error| Failure::words(format!("a sample: {error}")))
    }

    /// Records the session unless it is there; says whether it was not.
    pub(super) fn record(&self, engine: &Engine) -> Result<bool> {
        match engine.session(&self.session_id).admin().open_existing() {
            Ok(_) => return Ok(false),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let session =
            engine.session(&self.session_id).user(&self.user_id).agent(&self.agent_id).open()?;
        for run in &self.runs {
            run.record(&session)?;
        }
        session.rename(&self.name)?.wait()?;
        Ok(true)
    }
}

impl SampleRun {
    fn record(&self, session: &Session) -> Result<()> {
        let run = session.run().id(&self.run_id).model(&self.model, &self.provider).start()?;
        for message in &self.messages {
            run.push(Message::from_json(message.as_str())?)?.wait()?;
        }
        if let Some(state) = &self.state {
            session.merge_state(state.clone())?.wait()?;
        }
        match &self.cancelled {
            Some(reason) => run.cancel(reason, self.metrics)?.wait()?,
            None => run.complete(self.metrics)?.wait()?,
        };
        Ok(())
    }
}
