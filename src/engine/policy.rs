//! What is kept: said on the engine, the session and the run, and done to what is written.

use std::collections::HashMap;

use super::session::Session;
use crate::commit::{Append, Expected, Replacement, Ticket, is_of_keeping};
use crate::compact::{self, Batches, CompactionPlan};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Compacted, Event, EventBody, EventKind, NewEvent, Policy, PolicySet};
use crate::id::{Digest, EventId};
use crate::index::{Entry, Lineage, RunRecord, Timeline, last_rewind};
use crate::limits::{CONFLICT_TRIES_MAX, RUN_POLICIES_MAX};
use crate::policy::{Policies, Rules, Unit};
use crate::stream::{Events, LiveEvents};

/// What is known of the policies that events come under.
#[derive(Debug)]
pub(super) struct Governing {
    entry: Option<Entry>,
    /// The session's, and where it says nothing, the engine's.
    session: Policy,
}

/// Events as they will be stored, and what is to be done to stored ones in the same commit.
#[derive(Debug)]
struct Arrival {
    events: Vec<NewEvent>,
    replacements: Vec<Replacement>,
}

impl Session {
    /// What is kept of the session: what it says itself, and where it says nothing, the engine.
    pub fn policy(&self) -> Result<Policy> {
        let session = self.view()?.policy;
        Ok(session.or(self.inner().policy()))
    }

    /// Says what is kept of the session from now on, in place of what it said before. Returns
    /// once it holds: what is written afterwards, by whomever, is kept by it. What is stored
    /// already stays until the session is compacted.
    ///
    /// # Errors
    /// Whatever an append fails with: then it does not hold.
    pub fn set_policy(&self, policy: Policy) -> Result<Ticket> {
        let ticket = self.append([NewEvent::new(PolicySet { policy })])?;
        ticket.share().wait()?;
        Ok(ticket)
    }

    /// The policies that events come under; `None` where everything is kept.
    pub(super) fn governing(&self, events: &[NewEvent]) -> Result<Option<Governing>> {
        let inner = self.inner();
        let says = events.iter().any(|event| event.body.kind() == EventKind::PolicySet);
        if says {
            inner.note_policies();
        }
        // Where nobody ever said anything, nothing is looked up.
        if !inner.has_policies() && Rules::of(&inner.policy()).keep_all() {
            return Ok(None);
        }
        let entry = Entry::load(&**inner.log(), self.key())?;
        let stored = entry.as_ref().map_or(Policy::default(), |entry| entry.policy);
        let has_run_policies = entry.as_ref().is_some_and(|entry| entry.has_run_policies);
        let session = stored.or(inner.policy());
        let keeps_all = Rules::of(&session).keep_all() && !has_run_policies && !says;
        Ok((!keeps_all).then_some(Governing { entry, session }))
    }

    /// Appends events once the policies have been done to them.
    pub(super) fn append_governed(
        &self,
        expected: Expected,
        events: &[NewEvent],
        mut governing: Governing,
    ) -> Result<Ticket> {
        let mut tries = 1;
        loop {
            let Arrival { events: stored, replacements } = self.arrive(&governing, events)?;
            let replaces = !replacements.is_empty();
            let access = self.access().clone();
            let (stored, leases) = self.detach(governing.entry.as_ref(), stored)?;
            let mut append =
                Append::keeping(self.stream(), access, expected, stored, replacements)?;
            append.refer(leases);
            let ticket = self.queue(append)?;
            if !replaces {
                return Ok(ticket);
            }
            match ticket.share().wait() {
                // What was to be replaced is not there any more, and the writer insisted on nothing.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Conflict { .. })
                        && expected == Expected::Any
                        && tries < CONFLICT_TRIES_MAX =>
                {
                    tries += 1;
                    governing.entry = Entry::load(&**self.inner().log(), self.key())?;
                }
                _ => return Ok(ticket),
            }
        }
    }

    /// Does to events what the policies say, before anything of them is stored.
    fn arrive(&self, governing: &Governing, events: &[NewEvent]) -> Result<Arrival> {
        if let Some(event) = events.iter().find(|event| is_of_keeping(&event.body)) {
            let kind = event.body.kind();
            return Err(Error::invalid(format!("{kind} is appended by what it records alone")));
        }
        let mut arriving = Arriving::new(self, governing);
        let events = events.iter().map(|event| arriving.reduce(event.clone()));
        let events = events.collect::<Result<Vec<_>>>()?;
        if !arriving.drops_tools {
            return Ok(Arrival { events, replacements: Vec::new() });
        }
        let policies = Policies { session: arriving.session, asked: Policy::default() };
        self.settle_runs(events, governing.entry.as_ref(), policies)
    }

    /// Takes the calls out of the runs that end, now that nobody goes on with them.
    fn settle_runs(
        &self,
        mut events: Vec<NewEvent>,
        entry: Option<&Entry>,
        policies: Policies,
    ) -> Result<Arrival> {
        let ends = |event: &NewEvent| {
            matches!(event.body, EventBody::RunFinished(_) | EventBody::RunPaused(_))
        };
        if !events.iter().any(ends) {
            return Ok(Arrival { events, replacements: Vec::new() });
        }
        let (lineage, head) = match entry {
            Some(_) => self.head()?,
            None => (Lineage::new(self.key()), 0),
        };
        let arriving = as_stored(&events, head);
        let log = self.inner().log();
        let says = entry.is_some_and(|entry| entry.has_run_policies);
        let units = compact::settle(log, &lineage, head, policies, says, &arriving)?;
        let (stored, here): (Vec<_>, Vec<_>) =
            units.into_iter().flat_map(|Unit(unit)| unit).partition(|(seq, _)| *seq <= head);
        for (seq, reduction) in here {
            let at = usize::try_from(seq - head - 1).unwrap_or(usize::MAX);
            if let Some(event) = events.get_mut(at)
                && let Some(left) = reduction.apply(&event.body)
            {
                event.body = left;
            }
        }
        let left = |body: &EventBody| self.inner().blob_names(self.key(), body);
        let units = vec![Unit(stored)];
        let mut batches = Batches::new(log, self.key(), units, CompactionPlan::default(), &left);
        let replacements = batches.next_batch()?.unwrap_or_default();
        if !replacements.is_empty() {
            let removed = replacements.iter().map(Replacement::named).collect();
            let policy = policies.named();
            // In front: the receipt's last seq is that of the caller's last event.
            events.insert(0, NewEvent::new(Compacted { policy, removed }));
        }
        Ok(Arrival { events, replacements })
    }
}

/// The events as they will be read, once they are stored behind a head.
fn as_stored(events: &[NewEvent], head: u64) -> Vec<Event> {
    let run_of = |event: &NewEvent| event.run_id.as_deref().map_or(Digest::NONE, Digest::of_run);
    (head + 1..)
        .zip(events)
        .map(|(seq, event)| Event {
            seq,
            position: 0,
            id: event.id.unwrap_or(EventId::from_bytes([0; 16])),
            recorded_at_us: 0,
            run: run_of(event),
            actor: Digest::NONE,
            commit_index: 0,
            commit_len: 1,
            body: event.body.clone(),
        })
        .collect()
}

/// The policies on the way through the events of one append.
struct Arriving<'a> {
    session_handle: &'a Session,
    /// Where policies of stored runs are to be looked for.
    entry: Option<&'a Entry>,
    session: Policy,
    engine: Policy,
    runs: HashMap<String, Policy>,
    /// Whether any event came under a policy that keeps no messages of tools.
    drops_tools: bool,
}

impl<'a> Arriving<'a> {
    fn new(session_handle: &'a Session, governing: &'a Governing) -> Self {
        let engine = session_handle.inner().policy();
        let entry = governing.entry.as_ref().filter(|entry| entry.has_run_policies);
        let (session, runs) = (governing.session, HashMap::new());
        Self { session_handle, entry, session, engine, runs, drops_tools: false }
    }

    fn reduce(&mut self, mut event: NewEvent) -> Result<NewEvent> {
        if let EventBody::PolicySet(set) = &event.body {
            match &event.run_id {
                Some(run_id) => drop(self.runs.insert(run_id.clone(), set.policy)),
                None => self.session = set.policy.or(self.engine),
            }
            return Ok(event);
        }
        let run = match &event.run_id {
            Some(run_id) => self.run_policy(run_id)?,
            None => Policy::default(),
        };
        let policies = Policies { session: self.session, asked: Policy::default() };
        let rules = policies.of_run(&run);
        self.drops_tools |= !rules.tools;
        if let Some(left) = rules.on_arrival().apply(&event.body) {
            event.body = left;
        }
        Ok(event)
    }

    fn run_policy(&mut self, run_id: &str) -> Result<Policy> {
        if let Some(policy) = self.runs.get(run_id) {
            return Ok(*policy);
        }
        let policy = match self.entry {
            Some(entry) => self.session_handle.stored_run_policy(entry, run_id)?,
            None => Policy::default(),
        };
        self.runs.insert(run_id.to_owned(), policy);
        Ok(policy)
    }
}

impl Session {
    /// What a stored run says for itself. Reads the run, and later what came since.
    fn stored_run_policy(&self, entry: &Entry, run_id: &str) -> Result<Policy> {
        let read = || {
            let (lineage, head) = match self.inner().entry(self.key())? {
                Some((_, head)) => (entry.lineage(self.key()), head),
                None => return Ok(Policy::default()),
            };
            let (log, run) = (self.inner().log(), Digest::of_run(run_id));
            let known = self.lock_run_policies().get(&run).copied();
            if let Some((seq, policy)) =
                known.filter(|(seq, _)| (lineage.first_seq()..=head).contains(seq))
                && last_rewind(&**log, &lineage, head)?.is_none_or(|rewind| rewind.at <= seq)
            {
                let policy = said_by(policy, run, Events::new(log, &lineage, seq + 1, head))?;
                self.keep_run_policy(run, (head, policy));
                return Ok(policy);
            }
            let mut timeline = Timeline::at(&**log, &lineage, head);
            let record = RunRecord::load(&**log, &lineage, &mut timeline, run)?;
            let Some(record) = record else { return Ok(Policy::default()) };
            let events = LiveEvents::between(log, &lineage, record.first_seq, head)?;
            let policy = said_by(Policy::default(), run, events)?;
            self.keep_run_policy(run, (head, policy));
            Ok(policy)
        };
        read().with_context(|| self.place())
    }

    fn keep_run_policy(&self, run: Digest, known: (u64, Policy)) {
        let mut policies = self.lock_run_policies();
        // Those of runs that are under way come back with their next event.
        if policies.len() >= RUN_POLICIES_MAX {
            policies.clear();
        }
        policies.insert(run, known);
    }
}

/// What a run says for itself after some events.
fn said_by(
    before: Policy,
    run: Digest,
    events: impl Iterator<Item = Result<Event>>,
) -> Result<Policy> {
    let mut policy = before;
    for event in events {
        let event = event?;
        if let EventBody::PolicySet(set) = event.body
            && event.run == run
        {
            policy = set.policy;
        }
    }
    Ok(policy)
}
