//! Places one append behind a session's tail: frames, and every record that follows from them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::append::{Append, Effect, Prepared};
use super::tail::Tail;
use crate::bytes::Reader;
use crate::codec::{Frame, Header};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Created, RunStatus, SessionType};
use crate::id::{Digest, EventId};
use crate::index::{Entry, NumberedRun, RunRecord, scope_of};
use crate::limits::CLOCKS_APART_US_MAX;
use crate::log::{Batch, Log, key};

/// One append being placed, on a copy of the tail, so that a refusal half-way changes nothing.
pub(super) struct Commit {
    /// The tail behind it.
    pub(super) tail: Tail,
    pub(super) batch: Batch,
    pub(super) bytes: usize,
    pub(super) first_seq: u64,
    /// Of events under callers' ids: the seqs.
    pub(super) ids: Vec<(EventId, u64)>,
    /// Counts of sessions that it changes.
    pub(super) counts: HashMap<Vec<u8>, u64>,
    /// Seqs whose view is worth a snapshot, wherever they are.
    pub(super) due: Vec<u64>,
}

/// What a commit is placed into.
pub(super) struct Site<'a> {
    pub(super) log: &'a Arc<dyn Log>,
    pub(super) log_id: [u8; 16],
    pub(super) now_us: i64,
    /// The position of its first event.
    pub(super) next_position: u64,
    /// Counts of sessions that its group has changed and the log does not show yet.
    pub(super) counts: &'a HashMap<Vec<u8>, u64>,
    /// The sessions that its group deletes, which the log still shows.
    pub(super) deleted: &'a HashSet<Digest>,
}

impl Commit {
    pub(super) fn place(
        site: &Site<'_>,
        tail: Tail,
        append: &Append,
        events: &[&Prepared],
    ) -> Result<Self> {
        let mut commit = Self {
            first_seq: tail.seq + 1,
            tail,
            batch: Batch::new(),
            bytes: 0,
            ids: Vec::new(),
            counts: HashMap::new(),
            due: Vec::new(),
        };
        if let Some(Effect::Forked(forked)) = events.first().map(|event| &event.effect) {
            commit.begin_at(site, append, forked)?;
        }
        // What comes from another log was recorded when it was recorded there.
        if events.iter().all(|event| event.header.is_none()) {
            commit.tail.recorded_at_us = commit.tail.recorded_at_us.max(site.now_us);
        }
        let commit_len = u32::try_from(events.len())
            .map_err(|_| Error::invalid("too many events in one append"))?;
        for (commit_index, event) in (0..commit_len).zip(events) {
            commit.place_event(site, append, event, (commit_index, commit_len))?;
        }
        commit.replace(site, append)?;
        commit.touch(append.session);
        Ok(commit)
    }

    fn place_event(
        &mut self,
        site: &Site<'_>,
        append: &Append,
        event: &Prepared,
        (commit_index, commit_len): (u32, u32),
    ) -> Result<()> {
        let session = append.session;
        let seq = self.tail.seq + 1;
        let position = site.next_position + u64::from(commit_index);
        let header = match &event.header {
            Some(header) => self.restored(session, header, site.now_us)?,
            None => Header {
                kind: event.body.kind as u16,
                schema_version: event.body.schema_version,
                flags: 0,
                commit_index,
                commit_len,
                body_len: u32::try_from(event.body.bytes.len())
                    .map_err(|_| Error::invalid("a body is too long"))?,
                seq,
                recorded_at_us: self.tail.recorded_at_us,
                log_id: site.log_id,
                session,
                event_id: event
                    .id
                    .unwrap_or_else(|| EventId::at(self.tail.recorded_at_us, position)),
                run: event.run,
                actor: append.access.actor(),
                previous: self.tail.link,
                commitment: event.commitment,
            },
        };
        self.tail.recorded_at_us = header.recorded_at_us;
        self.apply_effect(site, append, seq, event)?;
        let mut frame = Frame::new(header, position, event.salt, &event.body.bytes);
        // A dump was checked as a whole: an event in it names what stands there.
        frame.form = event.form;
        let bytes = frame.to_bytes();
        self.bytes += bytes.len();
        self.tail.seq = seq;
        self.tail.link = frame.link;
        self.batch.insert(key::frame(session, seq), bytes);
        self.refer(session, seq, &[], &event.blobs);
        if let Some(id) = event.id {
            self.batch.insert(key::event_id(session, id), seq.to_le_bytes().to_vec());
            self.ids.push((id, seq));
        }
        Ok(())
    }

    /// The header of an event of another log, if the event belongs here.
    fn restored(&self, session: Digest, header: &Header, now_us: i64) -> Result<Header> {
        let follows = header.session == session
            && header.seq == self.tail.seq + 1
            && header.previous == self.tail.link
            && header.recorded_at_us >= self.tail.recorded_at_us
            && header.recorded_at_us <= now_us.saturating_add(CLOCKS_APART_US_MAX);
        if follows {
            return Ok(header.clone());
        }
        let reason = format!("seq {} does not follow from what is here", header.seq);
        Err(Error::invalid(reason))
    }

    fn apply_effect(
        &mut self,
        site: &Site<'_>,
        append: &Append,
        seq: u64,
        event: &Prepared,
    ) -> Result<()> {
        let session = append.session;
        match &event.effect {
            Effect::None => Ok(()),
            Effect::Created(created) => {
                if created.session_type.stream(&created.session_id).key() != session {
                    return Err(Error::invalid("a session begins under its own id"));
                }
                self.create(site, session, seq, created)
            }
            Effect::Forked(forked) => self.fork(site, session, seq, forked),
            Effect::Rewound(rewound) => self.rewind(site, session, seq, rewound),
            Effect::Renamed(name) => {
                self.change_entry(session, |entry| entry.name.clone_from(name));
                Ok(())
            }
            Effect::OwnerChanged(user_id) => self.change_owner(site, session, user_id.as_deref()),
            Effect::RunStarted { run_id, is_top_level } => {
                self.start_run(site, session, event.run, seq, (run_id, *is_top_level))
            }
            Effect::RunStatus(status) => {
                self.change_run(site, session, event.run, seq, |run| run.change(*status, seq))
            }
            Effect::Resumed => {
                self.change_run(site, session, event.run, seq, |run| run.resume(seq))
            }
            Effect::PolicySet(policy) => {
                self.change_entry(session, |entry| entry.policy = *policy);
                self.batch.replace(key::policies(), Vec::new());
                Ok(())
            }
            Effect::RunPolicySet => {
                self.run(site, event.run)?;
                self.change_entry(session, |entry| entry.has_run_policies = true);
                self.batch.replace(key::policies(), Vec::new());
                Ok(())
            }
            Effect::Deleted => self.delete(site, session, seq),
            Effect::Erased => self.erase(site, append, seq),
            Effect::Learned(stream, at) => {
                let place = [&stream.to_bytes()[..], &at.to_le_bytes()].concat();
                self.batch.insert(key::source(session, seq), place);
                self.batch.insert(key::learned(*stream, *at, session, seq), Vec::new());
                Ok(())
            }
            Effect::InRun => self.running(site, event.run).map(drop),
            Effect::SystemMessage => {
                // A member's instructions are not the session's.
                if self.running(site, event.run)?.number > 0 {
                    self.batch.insert(key::system_message(session, seq), Vec::new());
                }
                Ok(())
            }
        }
    }

    fn create(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        seq: u64,
        created: &Created,
    ) -> Result<()> {
        if self.tail.entry.is_some() {
            return Err(Error::new(ErrorKind::Conflict { expected: 0, actual: self.tail.seq }));
        }
        let entry = Entry::new(created, seq, self.tail.recorded_at_us);
        self.list(site, session, entry)
    }

    /// Puts a new session into the catalog.
    pub(super) fn list(&mut self, site: &Site<'_>, session: Digest, entry: Entry) -> Result<()> {
        for scope in entry.scopes() {
            entry.index(scope, session, &mut self.batch);
            self.count(site, scope, entry.session_type, 1)?;
        }
        self.batch.replace(key::catalog(session), entry.to_bytes());
        self.tail.entry = Some(Arc::new(entry));
        Ok(())
    }

    pub(super) fn change_entry(&mut self, session: Digest, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.tail.entry {
            let entry = Arc::make_mut(entry);
            change(entry);
            self.batch.replace(key::catalog(session), entry.to_bytes());
        }
    }

    fn change_owner(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        user_id: Option<&str>,
    ) -> Result<()> {
        let Some(entry) = self.tail.entry.clone() else { return Ok(()) };
        let before = scope_of(entry.user_id.as_deref());
        entry.unindex(before, session, &mut self.batch);
        self.count(site, before, entry.session_type, -1)?;
        self.change_entry(session, |entry| entry.user_id = user_id.map(str::to_owned));
        let Some(entry) = self.tail.entry.clone() else { return Ok(()) };
        let after = scope_of(user_id);
        entry.index(after, session, &mut self.batch);
        self.count(site, after, entry.session_type, 1)
    }

    /// Counts sessions, over what this group already changed and the log does not show yet.
    pub(super) fn count(
        &mut self,
        site: &Site<'_>,
        scope: Digest,
        of: SessionType,
        by: i64,
    ) -> Result<()> {
        let key = key::count(scope, of as u8);
        let before = match self.counts.get(&key).or_else(|| site.counts.get(&key)) {
            Some(count) => *count,
            None => site.log.get(&key)?.map_or(Ok(0), |bytes| Reader::new(&bytes).u64())?,
        };
        let after = before.saturating_add_signed(by);
        self.batch.replace(key.clone(), after.to_le_bytes().to_vec());
        self.counts.insert(key, after);
        Ok(())
    }

    fn start_run(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        run: Digest,
        seq: u64,
        (run_id, is_top_level): (&str, bool),
    ) -> Result<()> {
        if let Some(run) = self.tail.run(&**site.log, run)? {
            let status = Some(run.status.as_str());
            return Err(Error::run_state(run_id, status, "has already started"));
        }
        let number = if is_top_level { self.tail.runs + 1 } else { 0 };
        if is_top_level {
            self.tail.runs = number;
            let numbered = NumberedRun { number, run, seq };
            self.batch.insert(key::run_number(session, seq), numbered.to_bytes());
        }
        let (run_id, status) = (run_id.to_owned(), RunStatus::Running);
        let record = RunRecord { run_id, number, first_seq: seq, last_seq: seq, status };
        self.write_run(session, run, seq, record);
        Ok(())
    }

    fn change_run(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        run: Digest,
        seq: u64,
        change: impl FnOnce(&mut RunRecord) -> Result<()>,
    ) -> Result<()> {
        let mut record = self.run(site, run)?;
        change(&mut record)?;
        self.write_run(session, run, seq, record);
        Ok(())
    }

    fn write_run(&mut self, session: Digest, run: Digest, seq: u64, record: RunRecord) {
        self.batch.insert(key::run(session, run, seq), record.to_bytes());
        if record.status == RunStatus::Running {
            self.batch.replace(key::open_run(session, run), Vec::new());
        } else {
            self.batch.remove(key::open_run(session, run));
        }
        self.tail.open_runs.insert(run, record);
    }

    /// The run, which must be under way.
    fn running(&self, site: &Site<'_>, run: Digest) -> Result<RunRecord> {
        let record = self.run(site, run)?;
        if record.status == RunStatus::Running {
            return Ok(record);
        }
        let reason = format!("is {}: resume it first", record.status);
        Err(Error::run_state(&record.run_id, Some(record.status.as_str()), reason))
    }

    pub(super) fn run(&self, site: &Site<'_>, run: Digest) -> Result<RunRecord> {
        if let Some(record) = self.tail.run(&**site.log, run)? {
            return Ok(record);
        }
        let lineage = self.tail.lineage();
        match RunRecord::load_any(&**site.log, &lineage, run, u64::MAX)? {
            Some(record) => {
                let reason = "was left behind when the session went back: start another";
                Err(Error::run_state(&record.run_id, None, reason))
            }
            None => Err(Error::not_found("run")),
        }
    }

    fn touch(&mut self, session: Digest) {
        let at_us = self.tail.recorded_at_us;
        if self.tail.entry.as_ref().is_some_and(|entry| entry.lags_behind(at_us)) {
            let mut touched = Batch::new();
            self.change_entry(session, |entry| entry.touch(at_us, session, &mut touched));
            self.batch.extend(touched);
        }
    }
}
