//! Compaction: what policies say about what is stored already.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::auto::Control;
use super::session::Session;
use super::{Engine, Inner};
use crate::access::Access;
use crate::catalog::SessionQuery;
use crate::commit::{Append, Expected, Replacement};
use crate::compact::{self, Batches, CompactionPlan, Subject};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Compacted, EventBody, NewEvent, Policy};
use crate::id::{Digest, StreamName};
use crate::index::sharers;
use crate::limits::{CONFLICT_TRIES_MAX, LIST_PAGE_MAX};
use crate::policy::{Plan, Policies};

/// A compaction to be planned or run. Made by [`Engine::compaction`] and [`Session::compaction`].
#[must_use = "a compaction is run by `run`, or only looked at by `plan`"]
#[derive(Debug, Clone)]
pub struct Compaction {
    engine: Engine,
    access: Access,
    /// `None` for every session.
    session_ids: Option<Vec<String>>,
    policy: Policy,
    /// Says when it is to stop between two commits, where it runs in the background.
    until: Option<Arc<Control>>,
}

impl Engine {
    /// A compaction of every session, unless it is told of which. Reaches every user's: it is
    /// for whoever runs the program.
    ///
    /// Each session is compacted by its own policy, its runs' and the engine's; what
    /// [`Compaction::policy`] says goes besides. A part that sessions share goes only as far as
    /// all of them agree.
    pub fn compaction(&self) -> Compaction {
        let (access, policy) = (Access::Admin, Policy::default());
        let engine = self.clone();
        Compaction { engine, access, session_ids: None, policy, until: None }
    }
}

impl Session {
    /// A compaction of this session.
    ///
    /// ```
    /// use sessionlog::{Engine, Message, Metrics, Policy};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").open()?;
    /// session.record_run([
    ///     Message::user("How warm is it in Oslo?"),
    ///     Message::assistant("Let me look.").with_call("call_1", "weather", "{}"),
    ///     Message::tool("call_1", "4 degrees"),
    ///     Message::assistant("4 degrees."),
    /// ], Metrics::default())?.wait()?;
    /// let compaction = session.compaction().policy(Policy::new().store_tool_messages(false));
    /// assert_eq!(compaction.plan()?[0].messages, 1); // the result; the words beside the call stay
    /// compaction.run()?;
    /// assert_eq!(session.window().messages()?.len(), 3);
    /// assert!(compaction.plan()?[0].is_empty());
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn compaction(&self) -> Compaction {
        // What was appended through this handle is there.
        self.settle();
        Compaction {
            engine: self.engine().clone(),
            access: self.access().clone(),
            session_ids: Some(vec![self.id().to_owned()]),
            policy: Policy::default(),
            until: None,
        }
    }
}

impl Compaction {
    /// Stops where it is once that is over.
    pub(super) fn until(mut self, control: Arc<Control>) -> Self {
        self.until = Some(control);
        self
    }

    fn is_abandoned(&self) -> bool {
        self.until.as_ref().is_some_and(|control| control.is_over())
    }

    /// What goes besides what the policies in force say. It keeps nothing that those let go: of
    /// two numbers of runs to keep, each does what it would do by itself.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Only these sessions.
    pub fn sessions(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.session_ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// What it would do, session by session. Nothing is written.
    pub fn plan(&self) -> Result<Vec<CompactionPlan>> {
        let (mut plans, mut left) = (Vec::new(), HashMap::new());
        self.each(&mut |id| {
            plans.push(self.plan_one(id, &mut left)?);
            Ok(())
        })?;
        Ok(plans)
    }

    /// Does it, and says what was done.
    ///
    /// It works in commits of at most
    /// [`limits::REPLACED_EVENTS_MAX`](crate::limits::REPLACED_EVENTS_MAX) bodies, so that other
    /// writers do not wait for it. Each is there whole or not at all: where it breaks off,
    /// running it again does the rest.
    pub fn run(&self) -> Result<Vec<CompactionPlan>> {
        let mut done = Vec::new();
        self.run_with(&mut |one| done.push(one.clone()))?;
        Ok(done)
    }

    /// The same, telling what was done to each session as soon as it is.
    pub fn run_with(&self, progress: &mut dyn FnMut(&CompactionPlan)) -> Result<()> {
        let inner = &self.engine.inner;
        inner.erasing_many(|streams| {
            self.each(&mut |id| {
                let done = self.run_one(id);
                if done.as_ref().map_or(true, |done| !done.is_empty()) {
                    streams.extend(inner.streams_around(Digest::of_session(id))?);
                }
                progress(&done?);
                Ok(())
            })
        })
    }

    fn each(&self, visit: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
        if let Some(ids) = &self.session_ids {
            return ids.iter().try_for_each(|id| visit(id));
        }
        let (mut page, mut first_unread) = (1, None);
        loop {
            // Compacting neither adds sessions nor moves them among those by creation.
            let query = SessionQuery::new(self.access.clone()).limit(LIST_PAGE_MAX).page(page);
            let (found, unread) = self.engine.sessions_and_unread(&query)?;
            first_unread = first_unread.or(unread);
            for view in &found.sessions {
                match visit(&view.session_id) {
                    // It was deleted in the meantime.
                    Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {}
                    other => other?,
                }
            }
            if found.sessions.len() < LIST_PAGE_MAX {
                // The others are done; that this one is not must be told.
                return first_unread.map_or(Ok(()), Err);
            }
            page += 1;
        }
    }

    /// `left` has the sessions of earlier plans that let go of a blob: the last one frees it.
    fn plan_one(
        &self,
        id: &str,
        left: &mut HashMap<[u8; 32], BTreeSet<Digest>>,
    ) -> Result<CompactionPlan> {
        let mut read = || {
            let (subject, plan, summary) = self.prepare(id)?;
            let inner = &self.engine.inner;
            let names = |body: &EventBody| inner.blob_names(subject.session, body);
            let units = plan.units(subject.own_seq(), subject.head);
            let mut batches = Batches::new(inner.log(), subject.session, units, summary, &names);
            let mut dropped = BTreeSet::new();
            while let Some(batch) = batches.next_batch()? {
                dropped.extend(dropped_blobs(&batch));
            }
            batches.summary.blob_bytes = inner.bytes_of_unused(subject.session, dropped, left)?;
            Ok(batches.summary)
        };
        read().with_context(|| format!("session {id}"))
    }

    fn run_one(&self, id: &str) -> Result<CompactionPlan> {
        let mut done = CompactionPlan::default();
        let mut tries = 1;
        loop {
            match self.try_run(id, &mut done) {
                // Somebody else replaced some of it.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && tries < CONFLICT_TRIES_MAX =>
                {
                    tries += 1;
                }
                other => return other.map(|()| done).with_context(|| format!("session {id}")),
            }
        }
    }

    fn try_run(&self, id: &str, done: &mut CompactionPlan) -> Result<()> {
        let inner = &self.engine.inner;
        // Counted before they are asked: whoever comes later makes it begin again.
        let asked = sharers(&**inner.log(), Digest::of_session(id))?;
        let (subject, plan, summary) = self.prepare(id)?;
        let left = |body: &EventBody| inner.blob_names(subject.session, body);
        let units = plan.units(subject.own_seq(), subject.head);
        done.session_id.clone_from(&summary.session_id);
        (done.policy, done.kept_for_forks) = (summary.policy, summary.kept_for_forks);
        let mut batches = Batches::new(inner.log(), subject.session, units, summary, &left);
        let mut before = batches.summary.clone();
        while let Some(batch) = batches.next_batch()? {
            if self.is_abandoned() {
                return Ok(());
            }
            if batch.is_empty() {
                continue;
            }
            let dropped = dropped_blobs(&batch);
            let removed = batch.iter().map(Replacement::named).collect();
            let compacted = NewEvent::new(Compacted { policy: done.policy, removed });
            let (access, expected) = (self.access.clone(), Expected::Any);
            let mut append =
                Append::keeping(StreamName::Session(id), access, expected, vec![compacted], batch)?;
            append.sharers = Some(asked);
            inner.append(append)?.wait()?;
            done.add(&batches.summary, &before);
            before = batches.summary.clone();
            let removed = inner.collect_dropped(&dropped)?;
            done.blob_bytes += removed.iter().map(|(_, bytes)| bytes).sum::<u64>();
        }
        Ok(())
    }

    fn prepare(&self, id: &str) -> Result<(Subject, Plan, CompactionPlan)> {
        let inner = &self.engine.inner;
        let session = Digest::of_session(id);
        let subject = inner.subject(session, self.policy)?;
        let subject = subject.ok_or_else(|| Error::not_found("session"))?;
        self.access.check(subject.entry.user_id.as_deref())?;
        let named: Option<BTreeSet<Digest>> = self
            .session_ids
            .as_ref()
            .map(|ids| ids.iter().map(|id| Digest::of_session(id)).collect());
        let mut other = |session: Digest| {
            let is_named = named.as_ref().is_none_or(|named| named.contains(&session));
            inner.subject(session, if is_named { self.policy } else { Policy::default() })
        };
        let (plan, kept_for_forks) = compact::plan(inner.log(), &subject, &mut other)?;
        let policy = subject.policies.named();
        let session_id = id.to_owned();
        let summary =
            CompactionPlan { session_id, policy, kept_for_forks, ..CompactionPlan::default() };
        Ok((subject, plan, summary))
    }
}

fn dropped_blobs(batch: &[Replacement]) -> Vec<[u8; 32]> {
    let dropped = |replacement: &Replacement| {
        let after = replacement.blobs_after.clone();
        let before = replacement.blobs_before.clone().into_iter();
        before.filter(move |name| !after.contains(name)).collect::<Vec<_>>()
    };
    batch.iter().flat_map(dropped).collect()
}

impl Inner {
    /// A session as a compaction looks at it.
    fn subject(&self, session: Digest, asked: Policy) -> Result<Option<Subject>> {
        let Some((entry, head)) = self.entry(session)? else { return Ok(None) };
        let policies = Policies { session: entry.policy.or(self.policy), asked };
        Ok(Some(Subject { session, entry, head, policies }))
    }
}
