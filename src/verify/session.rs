//! One session: its chain from the first event to the last, and whatever was derived from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Report;
use crate::codec::{self, BodyForm, Frame, Link};
use crate::error::Result;
use crate::event::{Event, EventBody};
use crate::id::Digest;
use crate::index::{Entry, RunRecord};
use crate::log::{Log, Order, PageLimit, key};
use crate::message::{Role, check_anthropic, check_openai, legalize, to_anthropic, to_openai};
use crate::projection::{Projection, Runs, SessionView, Window};
use crate::snapshot::Snapshot;

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
        system_seqs: BTreeSet::new(),
        replaced: BTreeMap::new(),
        named: BTreeMap::new(),
        is_whole: true,
        recorded_at_us: i64::MIN,
    };
    for seq in 1..=last_seq {
        check.event(seq)?;
    }
    check.replacements();
    // What was derived can only be compared with a session that is all there.
    if check.is_whole {
        check.entry(entry);
        check.run_records()?;
        check.system_index()?;
        check.history();
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

    fn event(&mut self, seq: u64) -> Result<()> {
        let Some(bytes) = self.log.get(&key::frame(self.session, seq))? else {
            self.broken(seq, "the event is missing");
            return Ok(());
        };
        let frame = match Frame::open(&bytes, self.session, seq) {
            Ok(frame) => frame,
            Err(error) => {
                self.broken(seq, error.to_string());
                // The header may still carry the chain.
                if let Ok(frame) = Frame::parse(&bytes) {
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
        match &event.body {
            EventBody::MessageAdded(added) if added.message.role == Role::System => {
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

    fn run_records(&mut self) -> Result<()> {
        let mut number = 0;
        for run in self.runs.clone().into_vec() {
            let run_id = &run.started.run_id;
            let digest = Digest::of_run(run_id);
            let wanted = if run.is_member_run() {
                0
            } else {
                number += 1;
                number
            };
            let record = RunRecord::load(&**self.log, self.session, digest)?;
            let agrees = record.is_some_and(|record| {
                (record.number, record.first_seq, record.status)
                    == (wanted, run.first_seq, run.status)
            });
            if !agrees {
                self.problem(Some(run.first_seq), format!("the index of run {run_id} is wrong"));
            }
        }
        if RunRecord::count(&**self.log, self.session)? != number {
            self.problem(None, format!("the index of runs does not end at {number}"));
        }
        Ok(())
    }

    fn system_index(&mut self) -> Result<()> {
        let mut range = key::within(key::Class::SystemMessage, self.session, Order::Ascending);
        let mut indexed = BTreeSet::new();
        loop {
            let page = self.log.page(&range, PageLimit::default())?;
            let Some(last) = page.last() else { break };
            range = range.behind(&last.key);
            for record in &page {
                indexed.insert(key::parse_seq(&record.key)?.1);
            }
        }
        // An event that was appended since is no fault.
        indexed.retain(|seq| *seq <= self.view.seq);
        if indexed != self.system_seqs {
            self.problem(None, "the index of system messages is wrong");
        }
        Ok(())
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
