//! What is derived from a session's events: its indexes, its catalog entry, its history.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::Result;
use crate::event::{Event, EventBody, RunStatus};
use crate::id::{Digest, EventId};
use crate::index::{Entry, Lineage, NumberedRun, RunRecord, Timeline, last_rewind};
use crate::log::{Log, Order, PageLimit, Record, Scan, key};
use crate::message::{Role, Rule, check_anthropic, check_openai, to_anthropic, to_openai};
use crate::projection::{RunCount, SessionView, Window};
use crate::{replay, stream};

/// Is told what is wrong.
type Tell<'a> = dyn FnMut(String) + 'a;

/// What the indexes of a session should hold, as its events tell it.
#[derive(Debug, Default)]
pub(super) struct Derived {
    /// Records under keys that end in a seq: runs, numbers of runs, system messages, rewinds.
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What is known of the runs that count.
    runs: BTreeMap<Digest, RunRecord>,
    ids: BTreeMap<EventId, u64>,
    /// Those among them that somebody gave, so that they are indexed.
    given: BTreeMap<EventId, u64>,
    /// Whether anything says what is kept.
    has_policies: bool,
    /// Whether a run says for itself what is kept.
    has_run_policies: bool,
}

/// The classes of [`Derived::records`].
const CLASSES: [(key::Class, &str); 5] = [
    (key::Class::Source, "the index of what memories came from is wrong"),
    (key::Class::Run, "the index of runs is wrong"),
    (key::Class::RunNumber, "the numbers of runs are wrong"),
    (key::Class::SystemMessage, "the index of system messages is wrong"),
    (key::Class::Rewind, "the index of rewinds is wrong"),
];

impl Derived {
    /// Takes one more event in. The view is the one after it.
    pub(super) fn take(
        &mut self,
        log: &dyn Log,
        lineage: &Lineage,
        event: &Event,
        view: &SessionView,
    ) -> Result<()> {
        let (session, seq) = (lineage.own(), event.seq);
        self.ids.insert(event.id, seq);
        if !event.id.is_made_at(event.recorded_at_us, event.position) {
            self.given.insert(event.id, seq);
        }
        self.has_policies |= matches!(event.body, EventBody::PolicySet(_));
        match &event.body {
            EventBody::Deleted(_) => {
                self.runs.clear();
                // They went with what they stand for.
                self.given.clear();
                self.records.insert(key::rewind(session, seq), 0_u64.to_le_bytes().to_vec());
            }
            EventBody::PolicySet(_) => self.has_run_policies |= !event.run.is_none(),
            EventBody::RewoundTo(rewound) => {
                self.runs.clear();
                self.records.insert(key::rewind(session, seq), rewound.seq.to_le_bytes().to_vec());
            }
            EventBody::RunStarted(started) => {
                let is_top_level = started.parent_run_id.is_none();
                let number = if is_top_level { view.run_count } else { 0 };
                if is_top_level {
                    let numbered = NumberedRun { number, run: event.run, seq };
                    self.records.insert(key::run_number(session, seq), numbered.to_bytes());
                }
                let (run_id, status) = (started.run_id.clone(), RunStatus::Running);
                let record = RunRecord { run_id, number, first_seq: seq, last_seq: seq, status };
                self.write_run(session, event, record);
            }
            EventBody::RunPaused(_) => {
                let mut record = self.run(log, lineage, event)?;
                record.change(RunStatus::Paused, seq)?;
                self.write_run(session, event, record);
            }
            EventBody::RunResumed(_) => {
                let mut record = self.run(log, lineage, event)?;
                record.resume(seq)?;
                self.write_run(session, event, record);
            }
            EventBody::RunFinished(finished) => {
                let mut record = self.run(log, lineage, event)?;
                record.change(finished.status, seq)?;
                self.write_run(session, event, record);
            }
            EventBody::MemoryUpserted(upserted) => {
                if let Some(source) = &upserted.source {
                    let place = [&upserted.source_stream[..], &source.seq.to_le_bytes()].concat();
                    self.records.insert(key::source(session, seq), place);
                }
            }
            EventBody::MessageAdded(added)
                if added.message.role == Role::System
                    && !added.message.from_history
                    && self.run(log, lineage, event)?.number > 0 =>
            {
                self.records.insert(key::system_message(session, seq), Vec::new());
            }
            _ => {}
        }
        Ok(())
    }

    /// What is known of the event's run before it. A run that began in the shared part of a
    /// fork, or before a rewind, is known by the index, which is compared by itself.
    fn run(&mut self, log: &dyn Log, lineage: &Lineage, event: &Event) -> Result<RunRecord> {
        if let Some(record) = self.runs.get(&event.run) {
            return Ok(record.clone());
        }
        let mut timeline = Timeline::at(log, lineage, event.seq.saturating_sub(1));
        let record = RunRecord::load(log, lineage, &mut timeline, event.run)?;
        record.ok_or_else(|| crate::Error::corrupt("its run never started"))
    }

    fn write_run(&mut self, session: Digest, event: &Event, record: RunRecord) {
        self.records.insert(key::run(session, event.run, event.seq), record.to_bytes());
        self.runs.insert(event.run, record);
    }

    /// Compares everything derived from the events with what they say. A session that was written
    /// to meanwhile is not compared: what is derived from it is newer than what was read of it.
    pub(super) fn check(
        self,
        log: &Arc<dyn Log>,
        lineage: &Lineage,
        entry: Option<&Entry>,
        view: &SessionView,
        tell: &mut Tell<'_>,
    ) -> Result<()> {
        let session = lineage.own();
        let mut found = Vec::new();
        let mut note = |problem: &str| found.push(problem.to_owned());
        check_entry(&**log, lineage, entry, view, &mut note)?;
        let rewinds =
            self.records.keys().any(|key| key.first() == Some(&(key::Class::Rewind as u8)));
        if self.has_run_policies && entry.is_some_and(|entry| !entry.has_run_policies) {
            note("the catalog does not say that a run says what is kept");
        }
        if self.has_policies && log.get(&key::policies())?.is_none() {
            note("the log does not say that anything says what is kept");
        }
        if rewinds && entry.is_some() && !lineage.has_rewinds() {
            note("the catalog does not say that it went back");
        }
        for (class, problem) in CLASSES {
            let is_class = |key: &Vec<u8>| key.first() == Some(&(class as u8));
            let wanted = self.records.iter().filter(|(key, _)| is_class(key));
            if !stored(&**log, class, session)?.iter().eq(wanted) {
                note(problem);
            }
        }
        let running = view.open_runs.values().filter(|run| run.status == RunStatus::Running);
        let mut open: Vec<_> =
            running.map(|run| key::open_run(session, Digest::of_run(&run.run_id))).collect();
        open.sort();
        if !stored(&**log, key::Class::OpenRun, session)?.into_keys().eq(open) {
            note("the index of runs under way is wrong");
        }
        // Not every event is indexed by its id, but what is must lead to it.
        let keyed = |ids: BTreeMap<EventId, u64>| -> BTreeMap<Vec<u8>, Vec<u8>> {
            let ids = ids.into_iter();
            ids.map(|(id, seq)| (key::event_id(session, id), seq.to_le_bytes().to_vec())).collect()
        };
        let (ids, given) = (keyed(self.ids), keyed(self.given));
        let stored_ids = stored(&**log, key::Class::EventId, session)?;
        if !stored_ids.iter().all(|(key, seq)| ids.get(key) == Some(seq))
            || !given.keys().all(|id| stored_ids.contains_key(id))
        {
            note("the index of event ids is wrong");
        }
        if let Some(seq) = snapshot_ahead(&**log, session, view.seq)? {
            note(&format!("the snapshot at seq {seq} is ahead of the events"));
        }
        if stream::head_seq(&**log, session, u64::MAX)? == view.seq {
            found.into_iter().for_each(tell);
        }
        Ok(())
    }
}

/// Whatever was recorded, what is handed out must be legal to send.
pub(super) fn check_history(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    last_seq: u64,
    tell: &mut Tell<'_>,
) {
    let window = Window { runs: RunCount::All, ..Window::default() };
    let messages = match replay::read_window(log, lineage, last_seq, &window) {
        Ok(selected) => selected.messages,
        Err(error) => return tell(format!("its history cannot be read: {error}")),
    };
    let found = [
        ("OpenAI", check_openai(&to_openai(&messages))),
        ("Anthropic", check_anthropic(&to_anthropic(&messages))),
    ];
    for (provider, result) in found {
        // A session in which the person said nothing has nothing to send.
        if let Err(reason) = result
            && reason.rule != Rule::NotEmpty
        {
            tell(format!("its history is not legal for {provider}: {reason}"));
        }
    }
}

fn check_entry(
    log: &dyn Log,
    lineage: &Lineage,
    entry: Option<&Entry>,
    view: &SessionView,
    note: &mut dyn FnMut(&str),
) -> Result<()> {
    let Some(entry) = entry else {
        // Nothing is left of one that was deleted, and not begun again.
        if !view.session_id.is_empty() || view.seq == 0 {
            note("the catalog does not list it");
        }
        return Ok(());
    };
    let agrees = entry.session_id == view.session_id
        && entry.stream().key() == lineage.own()
        && (entry.forked_from.is_some() || entry.ancestors.is_empty())
        && entry.session_type == view.session_type
        && entry.user_id == view.user_id
        && (&entry.agent_id, &entry.team_id, &entry.workflow_id)
            == (&view.agent_id, &view.team_id, &view.workflow_id)
        && entry.policy == view.policy
        && entry.name == view.name
        && entry.created_at_us == view.created_at_us
        && entry.touched_at_us <= view.updated_at_us
        && entry.forked_from == view.forked_from;
    if !agrees {
        note("the catalog does not say what the events say");
    }
    let Some(forked) = &entry.forked_from else { return Ok(()) };
    let parent = Digest::of_session(&forked.session_id);
    // One that began again is another session than the one that was forked.
    let parent_entry = Entry::load(log, parent)?.filter(|entry| entry.first_seq <= forked.seq);
    if parent_entry.as_ref().is_some_and(|parent| parent.first_seq != entry.first_seq) {
        note("the catalog does not say where what it shares begins");
    }
    let has_shared_rewinds = match &parent_entry {
        Some(entry) => last_rewind(log, &entry.lineage(parent), forked.seq)?.is_some(),
        None => false,
    };
    let ancestors = parent_entry.map(|entry| entry.lineage(parent).fork_at(forked.seq));
    if has_shared_rewinds && !lineage.has_rewinds() {
        note("the catalog does not say that what it shares went back");
    }
    if ancestors.transpose()?.is_some_and(|ancestors| ancestors != entry.ancestors) {
        note("the catalog does not say from where it was forked");
    }
    Ok(())
}

/// A snapshot of what is not there would be taken for a view once the session gets that far.
fn snapshot_ahead(log: &dyn Log, session: Digest, last_seq: u64) -> Result<Option<u64>> {
    let (class, first) = (key::Class::Snapshot, last_seq.saturating_add(1));
    let range = key::seqs(class, session, first, u64::MAX, Order::Ascending);
    let ahead = log.page(&range, PageLimit::records(1))?;
    ahead.first().map(|record| key::parse_seq(&record.key).map(|(_, seq)| seq)).transpose()
}

/// All records of a class of the session.
fn stored(log: &dyn Log, class: key::Class, session: Digest) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let records = Scan::new(log, key::within(class, session, Order::Ascending));
    records.map(|record| record.map(|Record { key, value }| (key, value))).collect()
}
