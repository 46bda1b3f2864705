//! Gives every event of a group its place and turns the group into one batch. Nothing is
//! written here: an append that is refused leaves no trace, and the batch is for the log.

use std::collections::HashMap;
use std::sync::Arc;

use super::append::{Append, Effect, Expected, Prepared};
use super::tail::Tail;
use super::ticket::Receipt;
use crate::bytes::Reader;
use crate::codec::{Frame, GroupLink, Header, Link, group_link};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Created, RunStatus, SessionType};
use crate::id::{Digest, EventId};
use crate::index::{Entry, GroupRecord, RunRecord, stored_seq};
use crate::limits::{GROUP_BYTES_MAX, SNAPSHOT_EVENTS};
use crate::log::{Batch, Log, key};

/// Where the log ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// The last position.
    pub(crate) position: u64,
    /// The link of the last group.
    pub(crate) link: GroupLink,
}

/// The commits of one append each that share one batch and one sync.
pub(crate) struct Group<'a> {
    log: &'a dyn Log,
    log_id: [u8; 16],
    now_us: i64,
    head: Head,
    next_position: u64,
    batch: Batch,
    bytes: usize,
    commits: Vec<(Digest, u64, u32, Link)>,
    /// What this group has written already and the log does not show yet.
    counts: HashMap<Vec<u8>, u64>,
    /// Of events under callers' ids: seq and position.
    ids: HashMap<(Digest, EventId), (u64, u64)>,
    /// Sessions and seqs at which a snapshot falls due.
    due: Vec<(Digest, u64)>,
}

/// A group that is ready to be applied.
pub(crate) struct Placed {
    pub(crate) batch: Batch,
    pub(crate) head: Head,
    pub(crate) due: Vec<(Digest, u64)>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(log: &'a dyn Log, log_id: [u8; 16], now_us: i64, head: Head) -> Self {
        Self {
            log,
            log_id,
            now_us,
            head,
            next_position: head.position + 1,
            batch: Batch::new(),
            bytes: 0,
            commits: Vec::new(),
            counts: HashMap::new(),
            ids: HashMap::new(),
            due: Vec::new(),
        }
    }

    /// Whether the group should be synced before it takes more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= GROUP_BYTES_MAX
    }

    /// Places one append behind a session's tail, or refuses it and changes nothing.
    pub(crate) fn admit(&mut self, tail: &mut Tail, append: &Append) -> Result<Receipt> {
        check_access(tail, append)?;
        let stored = self.stored_seqs(append)?;
        let fresh: Vec<&Prepared> = append
            .events
            .iter()
            .zip(&stored)
            .filter(|(_, seq)| seq.is_none())
            .map(|(event, _)| event)
            .collect();
        if fresh.is_empty() {
            return self.receipt_of_duplicate(append.session, &stored);
        }
        check_expected(tail, append, &fresh)?;
        let commit = Commit::place(self, tail.clone(), append, &fresh)?;
        Ok(self.accept(tail, append.session, commit))
    }

    /// The seqs of events that are there already, under ids that the caller gave.
    fn stored_seqs(&self, append: &Append) -> Result<Vec<Option<u64>>> {
        let mut seen = HashMap::new();
        let mut seqs = Vec::with_capacity(append.events.len());
        for (index, event) in append.events.iter().enumerate() {
            let Some(id) = event.id else {
                seqs.push(None);
                continue;
            };
            if seen.insert(id, index).is_some() {
                return Err(Error::invalid(format!("two events of one append have the id {id}")));
            }
            let seq = match self.ids.get(&(append.session, id)) {
                Some((seq, _)) => Some(*seq),
                None => stored_seq(self.log, append.session, id)?,
            };
            seqs.push(seq);
        }
        Ok(seqs)
    }

    fn receipt_of_duplicate(&self, session: Digest, stored: &[Option<u64>]) -> Result<Receipt> {
        let seqs = || stored.iter().flatten().copied();
        let (first_seq, last_seq) = (seqs().min().unwrap_or(0), seqs().max().unwrap_or(0));
        // An event of this very group is not in the log yet.
        let here = self.ids.iter().find(|((of, _), (seq, _))| *of == session && *seq == last_seq);
        let position = match (here, self.log.get(&key::frame(session, last_seq))?) {
            (Some((_, (_, position))), _) => *position,
            (None, Some(bytes)) => Frame::open(&bytes, session, last_seq)?.position,
            (None, None) => return Err(Error::corrupt("the event is missing")),
        };
        Ok(Receipt { first_seq, last_seq, position, is_duplicate: true })
    }

    fn accept(&mut self, tail: &mut Tail, session: Digest, commit: Commit) -> Receipt {
        let Commit { tail: next, batch, bytes, ids, counts, first_seq } = commit;
        let last_seq = next.seq;
        let events = u32::try_from(last_seq - first_seq + 1).unwrap_or(u32::MAX);
        self.batch.extend(batch);
        self.bytes += bytes;
        let offset = self.next_position - first_seq;
        self.ids.extend(ids.into_iter().map(|(id, seq)| ((session, id), (seq, seq + offset))));
        self.counts.extend(counts);
        self.commits.push((session, first_seq, events, next.link));
        self.next_position += u64::from(events);
        let boundaries = (first_seq - 1) / SNAPSHOT_EVENTS + 1..=last_seq / SNAPSHOT_EVENTS;
        self.due.extend(boundaries.map(|boundary| (session, boundary * SNAPSHOT_EVENTS)));
        *tail = next;
        Receipt { first_seq, last_seq, position: self.next_position - 1, is_duplicate: false }
    }

    /// The batch of all that was admitted; `None` if nothing was.
    pub(crate) fn finish(mut self) -> Option<Placed> {
        if self.commits.is_empty() {
            return None;
        }
        let first_position = self.head.position + 1;
        let link = group_link(self.head.link, first_position, self.commits.iter().copied());
        let record = GroupRecord {
            link,
            commits: self
                .commits
                .iter()
                .map(|(session, seq, events, _)| (*session, *seq, *events))
                .collect(),
        };
        self.batch.insert(key::group(first_position), record.to_bytes());
        let head = Head { position: self.next_position - 1, link };
        Some(Placed { batch: self.batch, head, due: self.due })
    }
}

fn check_access(tail: &Tail, append: &Append) -> Result<()> {
    match &tail.entry {
        Some(entry) => append.access.check(entry.user_id.as_deref()),
        None => Ok(()),
    }
}

fn check_expected(tail: &Tail, append: &Append, fresh: &[&Prepared]) -> Result<()> {
    let conflict = |expected| Err(Error::new(ErrorKind::Conflict { expected, actual: tail.seq }));
    let creates = matches!(fresh.first().map(|event| &event.effect), Some(Effect::Created(_)));
    match append.expected {
        Expected::Seq(expected) if expected != tail.seq => conflict(expected),
        // Two who create one session at the same time must not both succeed.
        _ if creates && tail.seq > 0 => conflict(0),
        _ if !creates && tail.entry.is_none() => Err(Error::not_found("session")),
        _ => Ok(()),
    }
}

/// One append being placed, on a copy of the tail, so that a refusal half-way changes nothing.
struct Commit {
    tail: Tail,
    batch: Batch,
    bytes: usize,
    first_seq: u64,
    ids: Vec<(EventId, u64)>,
    counts: HashMap<Vec<u8>, u64>,
}

impl Commit {
    fn place(group: &Group<'_>, tail: Tail, append: &Append, events: &[&Prepared]) -> Result<Self> {
        let mut commit = Self {
            first_seq: tail.seq + 1,
            tail,
            batch: Batch::new(),
            bytes: 0,
            ids: Vec::new(),
            counts: HashMap::new(),
        };
        commit.tail.recorded_at_us = commit.tail.recorded_at_us.max(group.now_us);
        let commit_len = u32::try_from(events.len())
            .map_err(|_| Error::invalid("too many events in one append"))?;
        for (commit_index, event) in (0..commit_len).zip(events) {
            commit.place_event(group, append, event, (commit_index, commit_len))?;
        }
        commit.touch(append.session);
        Ok(commit)
    }

    fn place_event(
        &mut self,
        group: &Group<'_>,
        append: &Append,
        event: &Prepared,
        (commit_index, commit_len): (u32, u32),
    ) -> Result<()> {
        let session = append.session;
        let seq = self.tail.seq + 1;
        self.apply_effect(group, session, seq, event)?;
        let position = group.next_position + u64::from(commit_index);
        let recorded_at_us = self.tail.recorded_at_us;
        let body_len = u32::try_from(event.body.bytes.len())
            .map_err(|_| Error::invalid("a body is too long"))?;
        let header = Header {
            kind: event.body.kind as u16,
            schema_version: event.body.schema_version,
            flags: 0,
            commit_index,
            commit_len,
            body_len,
            seq,
            recorded_at_us,
            log_id: group.log_id,
            session,
            event_id: event.id.unwrap_or_else(|| EventId::at(recorded_at_us, position)),
            run: event.run,
            actor: append.access.actor(),
            previous: self.tail.link,
            commitment: event.commitment,
        };
        let frame = Frame::new(header, position, event.salt, &event.body.bytes);
        let bytes = frame.to_bytes();
        self.bytes += bytes.len();
        self.tail.seq = seq;
        self.tail.link = frame.link;
        self.batch.insert(key::frame(session, seq), bytes);
        if let Some(id) = event.id {
            self.batch.insert(key::event_id(session, id), seq.to_le_bytes().to_vec());
            self.ids.push((id, seq));
        }
        Ok(())
    }

    fn apply_effect(
        &mut self,
        group: &Group<'_>,
        session: Digest,
        seq: u64,
        event: &Prepared,
    ) -> Result<()> {
        match &event.effect {
            Effect::None => Ok(()),
            Effect::Created(created) => self.create(group, session, seq, created),
            Effect::Renamed(name) => {
                self.change_entry(session, |entry| entry.name.clone_from(name));
                Ok(())
            }
            Effect::OwnerChanged(user_id) => self.change_owner(group, session, user_id.as_deref()),
            Effect::RunStarted { run_id, is_top_level } => {
                self.start_run(group, session, event.run, seq, (run_id, *is_top_level))
            }
            Effect::RunStatus(status) => {
                self.change_run(group, session, event.run, |run| run.change(*status, seq))
            }
            Effect::Resumed => self.change_run(group, session, event.run, |run| run.resume(seq)),
            Effect::InRun => self.running(group, session, event.run).map(drop),
            Effect::SystemMessage => {
                // A member's instructions are not the session's.
                if self.running(group, session, event.run)?.number > 0 {
                    self.batch.insert(key::system_message(session, seq), Vec::new());
                }
                Ok(())
            }
        }
    }

    fn create(
        &mut self,
        group: &Group<'_>,
        session: Digest,
        seq: u64,
        created: &Created,
    ) -> Result<()> {
        if seq != 1 {
            return Err(Error::new(ErrorKind::Conflict { expected: 0, actual: self.tail.seq }));
        }
        let entry = Entry::new(created, self.tail.recorded_at_us);
        for scope in entry.scopes() {
            entry.index(scope, session, &mut self.batch);
            self.count(group, scope, entry.session_type, 1)?;
        }
        self.batch.replace(key::catalog(session), entry.to_bytes());
        self.tail.entry = Some(Arc::new(entry));
        Ok(())
    }

    fn change_entry(&mut self, session: Digest, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = &mut self.tail.entry {
            let entry = Arc::make_mut(entry);
            change(entry);
            self.batch.replace(key::catalog(session), entry.to_bytes());
        }
    }

    fn change_owner(
        &mut self,
        group: &Group<'_>,
        session: Digest,
        user_id: Option<&str>,
    ) -> Result<()> {
        let Some(entry) = self.tail.entry.clone() else { return Ok(()) };
        let [_, before] = entry.scopes();
        entry.unindex(before, session, &mut self.batch);
        self.count(group, before, entry.session_type, -1)?;
        self.change_entry(session, |entry| entry.user_id = user_id.map(str::to_owned));
        let Some(entry) = self.tail.entry.clone() else { return Ok(()) };
        let [_, after] = entry.scopes();
        entry.index(after, session, &mut self.batch);
        self.count(group, after, entry.session_type, 1)
    }

    /// Counts sessions, over what this group already changed and the log does not show yet.
    fn count(&mut self, group: &Group<'_>, scope: Digest, of: SessionType, by: i64) -> Result<()> {
        let key = key::count(scope, of as u8);
        let before = match self.counts.get(&key).or_else(|| group.counts.get(&key)) {
            Some(count) => *count,
            None => group.log.get(&key)?.map_or(Ok(0), |bytes| Reader::new(&bytes).u64())?,
        };
        let after = before.saturating_add_signed(by);
        self.batch.replace(key.clone(), after.to_le_bytes().to_vec());
        self.counts.insert(key, after);
        Ok(())
    }

    fn start_run(
        &mut self,
        group: &Group<'_>,
        session: Digest,
        run: Digest,
        seq: u64,
        (run_id, is_top_level): (&str, bool),
    ) -> Result<()> {
        let is_known = self.tail.open_runs.contains_key(&run)
            || RunRecord::load(group.log, session, run)?.is_some();
        if is_known {
            return Err(Error::invalid(format!("run {run_id} has already started")));
        }
        let number = if is_top_level { self.tail.runs + 1 } else { 0 };
        if is_top_level {
            self.tail.runs = number;
            self.batch.insert(key::run_number(session, number), run.to_bytes().to_vec());
        }
        let (run_id, status) = (run_id.to_owned(), RunStatus::Running);
        let record = RunRecord { run_id, number, first_seq: seq, last_seq: seq, status };
        self.write_run(session, run, record);
        Ok(())
    }

    fn change_run(
        &mut self,
        group: &Group<'_>,
        session: Digest,
        run: Digest,
        change: impl FnOnce(&mut RunRecord) -> Result<()>,
    ) -> Result<()> {
        let mut record = self.run(group, session, run)?;
        change(&mut record)?;
        self.write_run(session, run, record);
        Ok(())
    }

    fn write_run(&mut self, session: Digest, run: Digest, record: RunRecord) {
        self.batch.replace(key::run(session, run), record.to_bytes());
        if record.status == RunStatus::Running {
            self.batch.replace(key::open_run(session, run), Vec::new());
        } else {
            self.batch.remove(key::open_run(session, run));
        }
        self.tail.open_runs.insert(run, record);
    }

    /// The run, which must be under way.
    fn running(&self, group: &Group<'_>, session: Digest, run: Digest) -> Result<RunRecord> {
        let record = self.run(group, session, run)?;
        if record.status == RunStatus::Running {
            return Ok(record);
        }
        Err(Error::invalid(format!("run {} is {}: resume it first", record.run_id, record.status)))
    }

    fn run(&self, group: &Group<'_>, session: Digest, run: Digest) -> Result<RunRecord> {
        match self.tail.open_runs.get(&run) {
            Some(record) => Ok(record.clone()),
            None => {
                RunRecord::load(group.log, session, run)?.ok_or_else(|| Error::not_found("run"))
            }
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
