//! Names for many sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender};

use super::Naming;
use crate::access::Access;
use crate::catalog::{SessionQuery, SortBy, SortOrder};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::limits::{LIST_PAGE_MAX, NAME_JOBS_MAX};
use crate::model::{Cancel, Model, ModelOutage};

/// Sessions that are named at the same time unless it is said otherwise.
const JOBS_DEFAULT: usize = 4;

/// Names many sessions by a model: see [`Engine::name_batch`].
#[must_use = "names are given by `run`"]
#[derive(Debug, Clone)]
pub struct NameBatch {
    engine: Engine,
    access: Access,
    model: Arc<dyn Model>,
    jobs: usize,
    replaces_generated: bool,
    replaces_given: bool,
    cancel: Cancel,
}

impl Engine {
    /// Names the sessions that the access reaches and that have no name yet, each as
    /// [`Session::name_generator`](crate::Session::name_generator) does, several at a time.
    pub fn name_batch(&self, access: Access, model: Arc<dyn Model>) -> NameBatch {
        NameBatch {
            engine: self.clone(),
            access,
            model,
            jobs: JOBS_DEFAULT,
            replaces_generated: false,
            replaces_given: false,
            cancel: Cancel::never(),
        }
    }
}

impl NameBatch {
    /// How many sessions are named at the same time: 4 unless said otherwise, at most
    /// [`limits::NAME_JOBS_MAX`](crate::limits::NAME_JOBS_MAX).
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = jobs.clamp(1, NAME_JOBS_MAX);
        self
    }

    /// Whether sessions with a generated name get another.
    pub fn replace_generated(mut self, replaces: bool) -> Self {
        self.replaces_generated = replaces;
        self
    }

    /// Whether those do that somebody named by hand.
    pub fn replace_given(mut self, replaces: bool) -> Self {
        self.replaces_given = replaces;
        self
    }

    /// Stops when it is told to: sessions that were not named yet are left out.
    pub fn cancel(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }

    /// The ids of the sessions that would be named, the oldest first.
    pub fn session_ids(&self) -> Result<Vec<String>> {
        let query = SessionQuery::new(self.access.clone())
            .sort(SortBy::CreatedAt, SortOrder::Ascending)
            .limit(LIST_PAGE_MAX);
        let mut ids = Vec::new();
        for page in 1.. {
            let page = self.engine.sessions(&query.clone().page(page))?;
            if page.sessions.is_empty() {
                break;
            }
            let is_meant = |is_named: bool, is_generated: bool| match (is_named, is_generated) {
                (false, _) => true,
                (true, true) => self.replaces_generated,
                (true, false) => self.replaces_given,
            };
            let meant = page
                .sessions
                .into_iter()
                .filter(|view| is_meant(view.name.is_some(), view.is_name_generated));
            ids.extend(meant.map(|view| view.session_id));
        }
        Ok(ids)
    }

    /// Names the sessions that [`session_ids`](Self::session_ids) says, and tells of each what
    /// became of it as it comes, in no order. One that fails does not hold up the others; one that
    /// is gone meanwhile is told as such.
    ///
    /// # Errors
    /// Those of the model, where it cannot be asked at all ([`Error::is_model_unavailable`]), or
    /// where [`limits::BATCH_FAILURES_MAX`](crate::limits::BATCH_FAILURES_MAX) sessions in a row
    /// failed with what asking again may help ([`ModelOutage`]): no further session is begun, and
    /// those that were not told keep the names that they had. The same where it was cancelled.
    pub fn run(&self, told: &mut dyn FnMut(&str, Result<Naming>)) -> Result<()> {
        self.run_for(self.session_ids()?, told)
    }

    /// The same for these sessions, so that whoever has asked for the ids does not list them again.
    /// A name that was given by hand stays here too, unless it is to be replaced.
    pub fn run_for(
        &self,
        session_ids: Vec<String>,
        told: &mut dyn FnMut(&str, Result<Naming>),
    ) -> Result<()> {
        let (send_id, next_id) = crossbeam_channel::unbounded();
        let (send_outcome, outcomes) = crossbeam_channel::unbounded();
        let jobs = self.jobs.min(session_ids.len());
        for id in session_ids {
            // Both ends are here, so there is someone to take it.
            let _ = send_id.send(id);
        }
        drop(send_id);
        let (is_over, outage) = (AtomicBool::new(false), ModelOutage::default());
        std::thread::scope(|scope| {
            for job in 0..jobs {
                let (next_id, send_outcome) = (next_id.clone(), send_outcome.clone());
                let (is_over, outage) = (&is_over, &outage);
                let work = move || self.work(&next_id, &send_outcome, is_over, outage);
                let thread = std::thread::Builder::new().name(format!("sessionlog-name-{job}"));
                // With fewer threads it takes longer, with none it fails.
                if let Err(error) = thread.spawn_scoped(scope, work)
                    && job == 0
                {
                    return Err(Error::io(error));
                }
            }
            drop(send_outcome);
            let mut ended = Ok(());
            for (id, outcome) in outcomes {
                match outcome {
                    Err(error) if error.is_model_unavailable() => ended = ended.and(Err(error)),
                    outcome => told(&id, outcome),
                }
            }
            if self.cancel.is_cancelled() { Err(Error::cancelled()) } else { ended }
        })
    }

    /// Names one session after the other, until there is none left or it is over.
    fn work(
        &self,
        next_id: &Receiver<String>,
        send_outcome: &Sender<(String, Result<Naming>)>,
        is_over: &AtomicBool,
        outage: &ModelOutage,
    ) {
        while !self.cancel.is_cancelled()
            && !is_over.load(Ordering::Relaxed)
            && let Ok(id) = next_id.recv()
        {
            let outcome = self.name(&id).map_err(|error| outage.failed(error));
            // One that keeps its name was not asked for.
            if matches!(outcome, Ok(Naming::Named { .. })) {
                outage.answered();
            }
            if matches!(&outcome, Err(error) if error.is_model_unavailable()) {
                is_over.store(true, Ordering::Relaxed);
            }
            if send_outcome.send((id, outcome)).is_err() {
                return;
            }
        }
    }

    fn name(&self, id: &str) -> Result<Naming> {
        let builder = self.engine.session(id);
        let builder = match &self.access {
            Access::Admin => builder.admin(),
            Access::User(user_id) => builder.user(user_id),
            Access::Nobody => builder,
        };
        builder
            .open_existing()?
            .name_generator(Arc::clone(&self.model))
            .replace_given(self.replaces_given)
            .cancel(self.cancel.clone())
            .run()
    }
}
