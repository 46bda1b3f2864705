//! One session: its chain from the first event to the last, and whatever was derived from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Report;
use crate::codec::{self, BodyForm, Frame, Link};
use crate::error::Result;
use crate::event::{Event, EventBody, RunStatus};
use crate::id::{Digest, EventId};
use crate::index::{Entry, RunRecord};
use crate::log::{Log, Order, Record, Scan, key};
use crate::message::{Role, check_anthropic, check_openai, legalize, to_anthropic, to_openai};
use crate::projection::{Projection, Runs, SessionView, Window};
use crate::snapshot::Snapshot;
use crate::stream;

pub(super) fn check(
    log: &Arc<dyn Log>,
    session: Digest,
    last_seq: u64,
    entry: Option<&Entry>,
    report: &mut Report,
) -> Result<()> {
    let name = entry.map_or_else(|| session.to_string(), |entry| entry.session_id.clone());
    let mut check = Check {
        log,
        session,
        name,
        report,
        link: Link::START,
        view: SessionView::default(),
        runs: Runs::default(),
        records: BTreeMap::new(),
        ids: BTreeMap::new(),
        system_seqs: BTreeSet::new(),
        replaced: BTreeMap::new(),
        named: BTreeMap::new(),
        is_whole: true,
        recorded_at_us: i64::MIN,
    };
    check.events(last_seq)?;
    check.replacements();
    // What was derived can only be compared with a session that is all there.
    if check.is_whole {
        check.derived(entry, last_seq)?;
    }
    Ok(())
}

struct Check<'a> {
    log: &'a Arc<dyn Log>,
    session: Digest,
    name: String,
    report: &'a mut Report,
    link: Link,
    view: SessionView,
    runs: Runs,
    /// What the index of runs should hold.
    records: BTreeMap<Digest, RunRecord>,
    ids: BTreeMap<EventId, u64>,
    system_seqs: BTreeSet<u64>,
    /// Bodies that are not the ones their headers commit to: what stands there now, if anything.
    replaced: BTreeMap<u64, Option<[u8; 32]>>,
    /// What events of compaction and erasure say stands there.
    named: BTreeMap<u64, Option<[u8; 32]>>,
    is_whole: bool,
    recorded_at_us: i64,
}

impl Check<'_> {
    fn problem(&mut self, seq: Option<u64>, problem: impl Into<String>) {
        self.report.add(Some(self.name.clone()), seq, problem);
    }

    fn broken(&mut self, seq: u64, problem: impl Into<String>) {
        self.is_whole = false;
        self.problem(Some(seq), problem);
    }

    /// Walks the stored frames, so that a gap is one problem however wide it is.
    fn events(&mut self, last_seq: u64) -> Result<()> {
        let range = key::seqs(key::Class::Frame, self.session, 1, last_seq, Order::Ascending);
        let mut next_seq = 1;
        for record in Scan::new(&**self.log, range) {
            let record = record?;
            let (_, seq) = key::parse_seq(&record.key)?;
            self.gap(next_seq, seq);
            self.event(seq, &record.value)?;
            next_seq = seq.saturating_add(1);
        }
        self.gap(next_seq, last_seq.saturating_add(1));
        Ok(())
    }

    /// Reports the events from one seq to before another as missing.
    fn gap(&mut self, from: u64, until: u64) {
        match until.saturating_sub(from) {
            0 => {}
            1 => self.broken(from, "the event is missing"),
            missing => {
                self.broken(from, format!("the event and {} after it are missing", missing - 1));
            }
        }
    }

    fn event(&mut self, seq: u64, bytes: &[u8]) -> Result<()> {
        let frame = match Frame::open(bytes, self.session, seq) {
            Ok(frame) => frame,
            Err(error) => {
                self.broken(seq, error.to_string());
                // The header may still carry the chain.
                if let Ok(frame) = Frame::parse(bytes) {
                    self.link = frame.link;
                }
                return Ok(());
            }
        };
        if frame.header.previous != self.link {
            self.broken(seq, "it does not follow from the event before it");
        }
        self.link = frame.link;
        if frame.header.recorded_at_us < self.recorded_at_us {
            self.problem(Some(seq), "it was recorded before the event before it");
        }
        self.recorded_at_us = frame.header.recorded_at_us;
        match frame.form {
            BodyForm::Original => {}
            BodyForm::Replaced => {
                self.replaced.insert(seq, Some(frame.present_commitment().0));
            }
            BodyForm::Removed => {
                self.replaced.insert(seq, None);
                return Ok(());
            }
        }
        match codec::decode(&frame) {
            Ok(event) => self.fold(&event)?,
            Err(error) => self.broken(seq, error.to_string()),
        }
        Ok(())
    }

    fn fold(&mut self, event: &Event) -> Result<()> {
        self.view.apply(event);
        self.runs.apply(event);
        self.ids.insert(event.id, event.seq);
        self.index_run(event);
        match &event.body {
            EventBody::MessageAdded(added)
                if added.message.role == Role::System
                    && !added.message.from_history
                    && self.records.get(&event.run).is_some_and(|run| run.number > 0) =>
            {
                self.system_seqs.insert(event.seq);
            }
            EventBody::Compacted(compacted) => {
                let removed = compacted.removed.iter();
                self.named.extend(removed.map(|removed| (removed.seq, removed.replacement)));
            }
            EventBody::Erased(erased) => {
                self.named.extend(erased.seqs.iter().map(|seq| (*seq, None)));
            }
            _ => {}
        }
        self.snapshot(event.seq)
    }

    /// A snapshot at this seq must be the fold, and tied to the chain.
    fn snapshot(&mut self, seq: u64) -> Result<()> {
        let Some(bytes) = self.log.get(&key::snapshot(self.session, seq))? else { return Ok(()) };
        match Snapshot::from_bytes(&bytes, self.session, seq) {
            Ok(snapshot) if self.is_whole => {
                if snapshot.view != self.view || snapshot.link != self.link {
                    self.problem(Some(seq), "the snapshot is not what the events say");
                }
            }
            Ok(_) => {}
            Err(error) => self.problem(Some(seq), format!("snapshot: {error}")),
        }
        Ok(())
    }

    /// A body may differ from the one its header commits to only if an event says so.
    fn replacements(&mut self) {
        for (seq, present) in std::mem::take(&mut self.replaced) {
            if self.named.get(&seq) != Some(&present) {
                let what = if present.is_some() { "replaced" } else { "removed" };
                self.broken(seq, format!("the body was {what}, and no event says so"));
            }
        }
    }

    fn entry(&mut self, entry: Option<&Entry>) {
        let Some(entry) = entry else {
            self.problem(None, "the catalog does not list it");
            return;
        };
        let view = &self.view;
        let agrees = entry.session_id == view.session_id
            && entry.session_type == view.session_type
            && entry.user_id == view.user_id
            && (&entry.agent_id, &entry.team_id, &entry.workflow_id)
                == (&view.agent_id, &view.team_id, &view.workflow_id)
            && entry.name == view.name
            && entry.created_at_us == view.created_at_us
            && entry.touched_at_us <= view.updated_at_us;
        if !agrees {
            self.problem(None, "the catalog does not say what the events say");
        }
    }

    /// Keeps the record of the event's run as the commit thread keeps it.
    fn index_run(&mut self, event: &Event) {
        let (seq, record) = (event.seq, self.records.get_mut(&event.run));
        let changed = match (&event.body, record) {
            (EventBody::RunStarted(started), None) => {
                let is_top_level = started.parent_run_id.is_none();
                let number = if is_top_level { self.view.run_count } else { 0 };
                let (run_id, status) = (started.run_id.clone(), RunStatus::Running);
                let record = RunRecord { run_id, number, first_seq: seq, last_seq: seq, status };
                self.records.insert(event.run, record);
                Ok(())
            }
            (EventBody::RunPaused(_), Some(record)) => record.change(RunStatus::Paused, seq),
            (EventBody::RunResumed(_), Some(record)) => record.resume(seq),
            (EventBody::RunFinished(finished), Some(record)) => record.change(finished.status, seq),
            _ => Ok(()),
        };
        if let Err(error) = changed {
            self.problem(Some(seq), error.to_string());
        }
    }

    /// Compares everything derived from the events with what they say. A session that was written
    /// to meanwhile is not compared: what is derived from it is newer than what was read of it.
    fn derived(&mut self, entry: Option<&Entry>, last_seq: u64) -> Result<()> {
        let before = self.report.problems.len();
        self.entry(entry);
        self.run_records()?;
        self.event_ids()?;
        let system: BTreeSet<_> =
            self.system_seqs.iter().map(|seq| key::system_message(self.session, *seq)).collect();
        self.keys(key::Class::SystemMessage, &system, "the index of system messages")?;
        if stream::head_seq(&**self.log, self.session, u64::MAX)? != last_seq {
            self.report.problems.truncate(before);
        }
        self.history();
        Ok(())
    }

    fn run_records(&mut self) -> Result<()> {
        let records = std::mem::take(&mut self.records);
        let session = self.session;
        let runs: BTreeMap<_, _> = records
            .iter()
            .map(|(run, record)| (key::run(session, *run), record.to_bytes()))
            .collect();
        let numbers: BTreeMap<_, _> = records
            .iter()
            .filter(|(_, record)| record.number > 0)
            .map(|(run, record)| (key::run_number(session, record.number), run.to_bytes().to_vec()))
            .collect();
        let open: BTreeSet<_> = records
            .iter()
            .filter(|(_, record)| record.status == RunStatus::Running)
            .map(|(run, _)| key::open_run(session, *run))
            .collect();
        if self.stored(key::Class::Run)? != runs {
            self.problem(None, "the index of runs is wrong");
        }
        if self.stored(key::Class::RunNumber)? != numbers {
            self.problem(None, "the numbers of runs are wrong");
        }
        self.keys(key::Class::OpenRun, &open, "the index of runs under way")
    }

    /// Not every event is indexed by its id, but what is must lead to it.
    fn event_ids(&mut self) -> Result<()> {
        let session = self.session;
        let ids: BTreeMap<_, _> = std::mem::take(&mut self.ids)
            .into_iter()
            .map(|(id, seq)| (key::event_id(session, id), seq.to_le_bytes().to_vec()))
            .collect();
        let stored = self.stored(key::Class::EventId)?;
        if !stored.iter().all(|(key, seq)| ids.get(key) == Some(seq)) {
            self.problem(None, "the index of event ids is wrong");
        }
        Ok(())
    }

    fn keys(&mut self, class: key::Class, wanted: &BTreeSet<Vec<u8>>, what: &str) -> Result<()> {
        let stored: BTreeSet<_> = self.stored(class)?.into_keys().collect();
        if stored != *wanted {
            self.problem(None, format!("{what} is wrong"));
        }
        Ok(())
    }

    /// All records of a class of the session.
    fn stored(&self, class: key::Class) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let range = key::within(class, self.session, Order::Ascending);
        let records = Scan::new(&**self.log, range);
        records.map(|record| record.map(|Record { key, value }| (key, value))).collect()
    }

    /// Whatever was recorded, what is handed out must be legal to send.
    fn history(&mut self) {
        let window = Window { runs: crate::projection::RunCount::All, ..Window::default() };
        let (messages, _) = legalize(window.select(self.runs.as_slice(), None));
        let found = [
            ("OpenAI", check_openai(&to_openai(&messages))),
            ("Anthropic", check_anthropic(&to_anthropic(&messages))),
        ];
        for (provider, result) in found {
            if let Err(reason) = result {
                self.problem(None, format!("its history is not legal for {provider}: {reason}"));
            }
        }
    }
}
