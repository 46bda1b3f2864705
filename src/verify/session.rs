//! One session: its chain from its first event to its last, and what it folds to on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Report;
use super::derived::{self, Derived};
use crate::codec::{self, BodyForm, Frame, Link};
use crate::error::Result;
use crate::event::{Event, EventBody, ForkedFrom, RewoundTo};
use crate::id::Digest;
use crate::index::{Entry, Lineage, Rewind};
use crate::log::{Log, Order, Scan, key};
use crate::projection::{Projection, SessionView};
use crate::snapshot::Snapshot;

/// Checks the session's own events. What a fork shares is for the session that holds it.
pub(super) fn check(
    log: &Arc<dyn Log>,
    session: Digest,
    last_seq: u64,
    entry: Option<&Entry>,
    report: &mut Report,
) -> Result<()> {
    let name = entry.map_or_else(|| session.to_string(), |entry| entry.session_id.clone());
    let lineage = entry.map_or_else(|| Lineage::new(session), |entry| entry.lineage(session));
    let mut check = Check {
        log,
        session,
        name,
        report,
        link: Link::START,
        view: SessionView::default(),
        derived: Derived::default(),
        replaced: BTreeMap::new(),
        named: BTreeMap::new(),
        is_whole: true,
        recorded_at_us: i64::MIN,
        lineage,
    };
    check.begin();
    check.events(last_seq)?;
    check.replacements();
    // What was derived can only be compared with a session that is all there.
    if check.is_whole {
        let Check { log, lineage, view, derived, name, report, .. } = check;
        let mut tell = |problem| report.add(Some(name.clone()), None, problem);
        derived.check(log, &lineage, entry, &view, &mut tell)?;
        derived::check_history(log, &lineage, last_seq, &mut tell);
    }
    Ok(())
}

struct Check<'a> {
    log: &'a Arc<dyn Log>,
    session: Digest,
    name: String,
    report: &'a mut Report,
    lineage: Lineage,
    link: Link,
    view: SessionView,
    /// What the indexes should hold.
    derived: Derived,
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

    /// A fork goes on from what it shares.
    fn begin(&mut self) {
        let shared = self.lineage.shared_seq();
        match Snapshot::at(self.log, &self.lineage, shared) {
            Ok(there) => (self.view, self.link) = (there.view, there.link),
            Err(error) => self.broken(shared, format!("the shared part cannot be read: {error}")),
        }
    }

    /// Walks the stored frames, so that a gap is one problem however wide it is.
    fn events(&mut self, last_seq: u64) -> Result<()> {
        let mut next_seq = self.lineage.shared_seq() + 1;
        let class = key::Class::Frame;
        let range = key::seqs(class, self.session, next_seq, last_seq, Order::Ascending);
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
        match &event.body {
            EventBody::RewoundTo(rewound) => self.go_back(event.seq, rewound),
            EventBody::ForkedFrom(forked) => self.check_fork(event.seq, forked),
            EventBody::Compacted(compacted) => {
                let removed = compacted.removed.iter();
                self.named.extend(removed.map(|removed| (removed.seq, removed.replacement)));
            }
            EventBody::Erased(erased) => {
                self.named.extend(erased.seqs.iter().map(|seq| (*seq, None)));
            }
            _ => {}
        }
        self.view.apply(event);
        if let Err(error) = self.derived.take(&**self.log, &self.lineage, event, &self.view) {
            self.problem(Some(event.seq), error.to_string());
        }
        self.snapshot(event.seq)
    }

    /// From here on the view is what it was there. Every snapshot that this rests on was
    /// compared with the fold on the way.
    fn go_back(&mut self, seq: u64, rewound: &RewoundTo) {
        if rewound.seq >= seq {
            return self.broken(seq, "it goes back to where it is");
        }
        let rewind = Rewind { at: seq, to: rewound.seq };
        match Snapshot::before_rewind(self.log, &self.lineage, rewind) {
            Ok(there) if there.link == Link(rewound.link) => self.view = there.view,
            Ok(_) => self.broken(seq, "it goes back to another event"),
            Err(error) => self.broken(seq, format!("what it goes back to: {error}")),
        }
    }

    fn check_fork(&mut self, seq: u64, forked: &ForkedFrom) {
        let shared = self.lineage.shared_seq();
        if seq != shared + 1 || forked.seq != shared || Some(forked.link) != self.previous_link() {
            self.broken(seq, "it is not forked where it says it is");
        }
    }

    /// The link of the last shared event.
    fn previous_link(&self) -> Option<[u8; 32]> {
        let shared = self.lineage.shared_seq();
        let bytes = self.log.get(&key::frame(self.lineage.holder(shared), shared)).ok()??;
        Frame::parse(&bytes).ok().map(|frame| frame.link.0)
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
}
