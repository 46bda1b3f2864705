//! One session: its chain from its first event to its last, and what it folds to on the way.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::derived::{self, Derived};
use super::{Lost, Report};
use super::{kept, media};
use crate::codec::{self, BodyForm, Frame, Link};
use crate::commit::named_by;
use crate::error::Result;
use crate::event::{Event, EventBody, ForkedFrom, RewoundTo};
use crate::id::Digest;
use crate::index::{Entry, Lineage, Rewind, former_lineage};
use crate::log::{Log, Order, Scan, key};
use crate::media::MediaStore;
use crate::projection::{Projection, SessionView};
use crate::snapshot::Snapshot;

/// Checks the session's own events. What a fork shares is for the session that holds it.
pub(super) fn check(
    log: &Arc<dyn Log>,
    media: &MediaStore,
    session: Digest,
    (first_seq, last_seq): (u64, u64),
    entry: Option<&Entry>,
    lost: &Lost,
    report: &mut Report,
) -> Result<()> {
    let (name, prefix) = match entry {
        Some(entry) if entry.is_memories() => (None, format!("{}: ", entry.stream())),
        Some(entry) => (Some(entry.session_id.clone()), String::new()),
        None => (Some(session.to_string()), String::new()),
    };
    let lineage = lineage_at(&**log, session, first_seq, entry)?;
    let mut check = Check {
        log,
        media,
        session,
        entry,
        name,
        prefix,
        report,
        link: Link::START,
        view: SessionView::default(),
        derived: Derived::default(),
        replaced: BTreeMap::new(),
        named: BTreeMap::new(),
        deleted_at: 0,
        ended_at: 0,
        is_whole: true,
        recorded_at_us: i64::MIN,
        lineage,
    };
    check.begin(first_seq)?;
    check.events(first_seq, last_seq)?;
    check.replacements();
    check.beginning();
    // What was derived can only be compared with a session that is all there.
    if check.is_whole {
        let Check { log, entry, lineage, view, derived, name, prefix, report, .. } = check;
        let mut tell =
            |problem: String| report.add(name.clone(), None, format!("{prefix}{problem}"));
        derived.check(log, &lineage, entry, &view, &mut tell)?;
        kept::check(log, session, entry, lost, &mut tell)?;
        if entry.is_some() {
            derived::check_history(log, &lineage, last_seq, &mut tell);
        }
    }
    Ok(())
}

/// Where the events lie of which one stands at a seq of a stream. What a fork shares of a session
/// that was deleted, nobody says but the fork.
pub(super) fn lineage_at(
    log: &dyn Log,
    session: Digest,
    seq: u64,
    entry: Option<&Entry>,
) -> Result<Lineage> {
    if let Some(entry) = entry
        && entry.first_seq <= seq
    {
        return Ok(entry.lineage(session));
    }
    let former = former_lineage(log, session, seq)?;
    Ok(former.unwrap_or_else(|| Lineage::new(session)))
}

struct Check<'a> {
    log: &'a Arc<dyn Log>,
    media: &'a MediaStore,
    session: Digest,
    entry: Option<&'a Entry>,
    /// The session's id, or what is known of it; `None` for a user's memories.
    name: Option<String>,
    /// Whose memories they are, in front of what is wrong with them.
    prefix: String,
    report: &'a mut Report,
    /// Of what stands where the walk is: another session may have been deleted before it.
    lineage: Lineage,
    link: Link,
    view: SessionView,
    /// What the indexes should hold.
    derived: Derived,
    /// Bodies that are not the ones their headers commit to: what stands there now, if anything.
    replaced: BTreeMap<u64, Option<[u8; 32]>>,
    /// What events of compaction and erasure say stands there; the last one counts.
    named: BTreeMap<u64, Option<[u8; 32]>>,
    /// The seq of the last deletion: what is before it may be gone.
    deleted_at: u64,
    /// The last seq that belongs to no session any more; 0 where none was deleted.
    ended_at: u64,
    is_whole: bool,
    recorded_at_us: i64,
}

impl Check<'_> {
    fn problem(&mut self, seq: Option<u64>, problem: impl Into<String>) {
        let problem = format!("{}{}", self.prefix, problem.into());
        self.report.add(self.name.clone(), seq, problem);
    }

    fn broken(&mut self, seq: u64, problem: impl Into<String>) {
        self.is_whole = false;
        self.problem(Some(seq), problem);
    }

    /// A fork goes on from what it shares.
    fn begin(&mut self, first_seq: u64) -> Result<()> {
        if self.lineage.shared_seq() + 1 != first_seq {
            // A fork that was deleted: nobody knows any more what it shared.
            let bytes = self.log.get(&key::frame(self.session, first_seq))?.unwrap_or_default();
            if let Ok(frame) = Frame::parse(&bytes) {
                self.link = frame.header.previous;
            }
            return Ok(());
        }
        let shared = self.lineage.shared_seq();
        match Snapshot::at(self.log, &self.lineage, shared) {
            Ok(there) => (self.view, self.link) = (there.view, there.link),
            Err(error) => self.broken(shared, format!("the shared part cannot be read: {error}")),
        }
        Ok(())
    }

    /// Walks the stored frames, so that a gap is one problem however wide it is.
    fn events(&mut self, first_seq: u64, last_seq: u64) -> Result<()> {
        let mut next_seq = first_seq;
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
            }
        }
        match codec::decode(&frame) {
            Ok(event) => self.fold(&event)?,
            Err(error) => self.broken(seq, error.to_string()),
        }
        Ok(())
    }

    fn fold(&mut self, event: &Event) -> Result<()> {
        let (log, lineage) = (&**self.log, &self.lineage);
        if let Some(problem) = media::check_references(log, self.media, lineage, event)? {
            self.problem(Some(event.seq), problem);
        }
        match &event.body {
            EventBody::RewoundTo(rewound) => self.go_back(event.seq, rewound),
            EventBody::ForkedFrom(forked) => self.check_fork(event.seq, forked),
            EventBody::Deleted(_) => self.deleted_at = event.seq,
            body => {
                let named = named_by(body).iter();
                self.named.extend(named.map(|removed| (removed.seq, removed.replacement)));
            }
        }
        self.view.apply(event);
        if let Err(error) = self.derived.take(&**self.log, &self.lineage, event, &self.view) {
            self.problem(Some(event.seq), error.to_string());
        }
        // What is erased of a session that was deleted is told behind the deletion.
        let is_between = event.seq == self.ended_at + 1 && self.ended_at > 0;
        let is_end = match event.body {
            EventBody::Deleted(_) => true,
            EventBody::Erased(_) => is_between,
            _ => false,
        };
        if is_end {
            self.ended_at = event.seq;
            self.lineage = lineage_at(&**self.log, self.session, event.seq + 1, self.entry)?;
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

    /// A session begins behind the last one that was deleted under its id; a fork begins where its parent does.
    fn beginning(&mut self) {
        let Some(entry) = self.entry else { return };
        if entry.ancestors.is_empty() && entry.first_seq != self.ended_at + 1 {
            self.problem(None, "the catalog does not say where it begins");
        }
    }

    /// A body may differ from the one its header commits to only if an event says so.
    fn replacements(&mut self) {
        let replaced = std::mem::take(&mut self.replaced);
        for (seq, present) in &replaced {
            let is_deleted = *seq < self.deleted_at && present.is_none();
            if !is_deleted && self.named.get(seq) != Some(present) {
                let what = if present.is_some() { "replaced" } else { "removed" };
                self.broken(*seq, format!("the body was {what}, and no event says so"));
            }
        }
        for seq in std::mem::take(&mut self.named).into_keys() {
            if seq >= self.deleted_at && !replaced.contains_key(&seq) {
                self.broken(seq, "an event says that the body was replaced, and it was not");
            }
        }
    }
}
