//! Takes in what the log has more than the index.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::hit::Said;
use super::schema::{Entry, reach_of};
use super::store::{Reached, Store};
use crate::codec::{self, Frame, Link};
use crate::error::{Error, Result};
use crate::event::{EventBody, EventKind};
use crate::id::Digest;
use crate::index::{Entry as SessionEntry, GroupRecord, scope_of};
use crate::limits::{SEARCH_COMMIT_EVENTS, SEARCH_TAIL_BYTES};
use crate::log::{Log, Order, PageLimit, Scan, key};

/// How far an index has come while it takes in what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SearchProgress {
    /// The last position that was taken in.
    pub position: u64,
    /// The last position there is to take in.
    pub last: u64,
}

/// How often who asks is told: after so many events.
const TOLD_EVENTS: u64 = 4_096;

/// Takes in everything up to a position.
pub(super) fn catch_up(
    log: &Arc<dyn Log>,
    store: &mut Store,
    last: u64,
    progress: &mut dyn FnMut(SearchProgress),
) -> Result<()> {
    let before = if store.reached.position > 0 { Before::Here } else { Before::Nothing };
    while store.reached.position < last {
        let first = store.reached.position + 1;
        let until = last.min(first.saturating_add(SEARCH_COMMIT_EVENTS - 1));
        let mut feed = Feed::new(&**log, store, before);
        let mut newest = None;
        each_place(&**log, first, until, &mut |position, stream, seq| {
            newest = feed.take(stream, seq)?.map(|link| (stream, seq, link)).or(newest);
            if position.is_multiple_of(TOLD_EVENTS) {
                progress(SearchProgress { position, last });
            }
            Ok(())
        })?;
        feed.readmit(until)?;
        // What is damaged is passed over: reading it says what is wrong.
        let mut reached = Reached { position: until, ..store.reached.clone() };
        if let Some((stream, seq, link)) = newest {
            reached = Reached { stream, seq, link: link_words(link), ..reached };
        }
        store.commit(reached)?;
        progress(SearchProgress { position: until, last });
    }
    Ok(())
}

/// Takes everything up to a position into an index of what came last. `None` where that is too
/// much for it, or changes what another holds.
pub(super) fn follow(log: &Arc<dyn Log>, mut tail: Store, last: u64) -> Result<Option<Store>> {
    let first = tail.reached.position + 1;
    if first > last {
        return Ok(Some(tail));
    }
    let mut feed = Feed::new(&**log, &mut tail, Before::Elsewhere);
    each_place(&**log, first, last, &mut |_, stream, seq| {
        if feed.does() { feed.take(stream, seq).map(drop) } else { Ok(()) }
    })?;
    if !feed.does() {
        return Ok(None);
    }
    let reached = Reached { position: last, ..tail.reached.clone() };
    tail.commit(reached)?;
    Ok(Some(tail))
}

/// Whether an index can be gone on with: it is of this log, and not ahead of it.
pub(super) fn is_of(
    log: &dyn Log,
    reached: &Reached,
    log_id: &str,
    published: u64,
) -> Result<bool> {
    if reached.log_id != log_id || reached.position > published {
        return Ok(false);
    }
    if reached.seq == 0 {
        return Ok(true);
    }
    let Some(bytes) = log.get(&key::frame(reached.stream, reached.seq))? else { return Ok(false) };
    Ok(Frame::parse(&bytes).is_ok_and(|frame| {
        frame.position <= reached.position && link_words(frame.link) == reached.link
    }))
}

fn link_words(link: Link) -> String {
    format!("{link:?}")
}

/// The places of the events from one position to another.
fn each_place(
    log: &dyn Log,
    first: u64,
    last: u64,
    visit: &mut dyn FnMut(u64, Digest, u64) -> Result<()>,
) -> Result<()> {
    let Some(start) = log.page(&key::groups_until(first), PageLimit::records(1))?.pop() else {
        return Ok(());
    };
    let behind = key::class_range(key::Class::Group, Order::Ascending).behind(&start.key);
    for group in std::iter::once(Ok(start)).chain(Scan::new(log, behind)) {
        let group = group?;
        let mut position = key::parse_group(&group.key)?;
        if position > last {
            break;
        }
        let Ok(record) = GroupRecord::from_bytes(&group.value) else { continue };
        for (stream, first_seq, events) in record.commits {
            for seq in (first_seq..).take(events as usize) {
                if (first..=last).contains(&position) {
                    visit(position, stream, seq)?;
                }
                position = position.saturating_add(1);
            }
        }
    }
    Ok(())
}

/// Who may reach the events of a stream.
#[derive(Debug, Default)]
struct Owners {
    /// The session of the stream: its scope, and the seq it begins at.
    own: Option<(Digest, u64)>,
    /// Those that share it: up to which seq, and their scope.
    sharers: Vec<(u64, Digest)>,
}

impl Owners {
    fn load(log: &dyn Log, stream: Digest) -> Result<Self> {
        let scope = |session| {
            let entry = match SessionEntry::load(log, session) {
                Err(error) if error.is_corrupt() => None,
                entry => entry?,
            };
            Ok::<_, Error>(entry.map(|it| (scope_of(it.user_id.as_deref()), it.first_seq)))
        };
        let mut owners = Self { own: scope(stream)?, sharers: Vec::new() };
        let sharers = key::within(key::Class::Sharer, stream, Order::Ascending);
        for record in Scan::new(log, sharers) {
            let (last_seq, sharer) = key::parse_fork(&record?.key)?;
            owners.sharers.extend(scope(sharer)?.map(|(scope, _)| (last_seq, scope)));
        }
        Ok(owners)
    }

    fn of(&self, seq: u64) -> Vec<Digest> {
        let own = self.own.filter(|(_, first_seq)| seq >= *first_seq).map(|(scope, _)| scope);
        let sharers = self.sharers.iter().filter(|(last, _)| seq <= *last).map(|(_, scope)| *scope);
        own.into_iter().chain(sharers).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

/// Where the entries of earlier events are: their owners may be others since, and their bodies may
/// have given way. Who owns what is read now is read now too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// They are read now, like all others.
    Nothing,
    /// In the same index.
    Here,
    /// In an index that is not written to now.
    Elsewhere,
}

/// Puts events into the index, and takes out what gave way.
pub(super) struct Feed<'a> {
    log: &'a dyn Log,
    store: &'a mut Store,
    before: Before,
    /// Whether an event was met that changes what another index has.
    reaches_back: bool,
    owners: HashMap<Digest, Owners>,
    /// Streams whose entries may be reached by others than the index says.
    moved: BTreeSet<Digest>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(log: &'a dyn Log, store: &'a mut Store, before: Before) -> Self {
        let (owners, moved) = (HashMap::new(), BTreeSet::new());
        Self { log, store, before, reaches_back: false, owners, moved }
    }

    /// Whether an index in memory does for what was read.
    fn does(&self) -> bool {
        !self.reaches_back && self.store.text_bytes <= SEARCH_TAIL_BYTES
    }

    /// Takes one event in; its link, unless it cannot be read.
    fn take(&mut self, stream: Digest, seq: u64) -> Result<Option<Link>> {
        use EventKind::{
            Compacted, Erased, ForkedFrom, MessageAdded, OwnerChanged, Renamed, SummaryWritten,
        };
        let bytes = match self.log.get(&key::frame(stream, seq)) {
            Err(error) if error.is_corrupt() => return Ok(None),
            bytes => bytes?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let frame = match Frame::open(&bytes, stream, seq) {
            Err(error) if error.is_corrupt() => return Ok(None),
            frame => frame?,
        };
        match (EventKind::from_ordinal(frame.header.kind), self.before) {
            (Some(MessageAdded | Renamed | SummaryWritten), _) => self.add(stream, &frame)?,
            (Some(Compacted | Erased), Before::Here) => self.replace(stream, &frame)?,
            (Some(OwnerChanged | ForkedFrom), Before::Here) => self.note_moved(stream)?,
            (Some(Compacted | Erased | OwnerChanged | ForkedFrom), Before::Elsewhere) => {
                self.reaches_back = true;
            }
            // Where nothing was before, what is read after these events shows what they did.
            _ => {}
        }
        Ok(Some(frame.link))
    }

    /// Adds the entry of a stored event, where it has something to search and someone reaches it.
    pub(super) fn add(&mut self, stream: Digest, frame: &Frame<'_>) -> Result<()> {
        let seq = frame.header.seq;
        let event = match codec::decode(frame) {
            Err(error) if error.is_corrupt() => return Ok(()),
            event => event?,
        };
        let Some(said) = Said::of(&event) else { return Ok(()) };
        if !self.owners.contains_key(&stream) {
            self.owners.insert(stream, Owners::load(self.log, stream)?);
        }
        let owners = self.owners.get(&stream).map(|owners| owners.of(seq)).unwrap_or_default();
        if owners.is_empty() {
            return Ok(());
        }
        let (at_us, mark) = (event.recorded_at_us, mark_of(frame));
        self.store.add(&Entry { stream, seq, at_us, mark, owners: &owners, said: &said })
    }

    /// Reads again what an event names that gave way.
    fn replace(&mut self, stream: Digest, frame: &Frame<'_>) -> Result<()> {
        let removed = match codec::decode(frame).map(|event| event.body) {
            Ok(EventBody::Compacted(compacted)) => compacted.removed,
            Ok(EventBody::Erased(erased)) => erased.removed,
            _ => return Ok(()),
        };
        for one in removed {
            self.read_again(stream, one.seq)?;
        }
        Ok(())
    }

    /// Puts what an event says now in the place of what it said.
    pub(super) fn read_again(&mut self, stream: Digest, seq: u64) -> Result<()> {
        self.store.remove(stream, seq)?;
        let Some(bytes) = self.log.get(&key::frame(stream, seq))? else { return Ok(()) };
        match Frame::open(&bytes, stream, seq) {
            Ok(frame) => self.add(stream, &frame),
            Err(error) if error.is_corrupt() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whoever reaches a session reaches what it shares.
    fn note_moved(&mut self, session: Digest) -> Result<()> {
        self.moved.insert(session);
        let entry = match SessionEntry::load(self.log, session) {
            Err(error) if error.is_corrupt() => None,
            entry => entry?,
        };
        let ancestors = entry.map(|entry| entry.ancestors).unwrap_or_default();
        self.moved.extend(ancestors.iter().map(|ancestor| ancestor.stream));
        Ok(())
    }

    /// Reads streams again whose entries may be reached by others now, up to a position.
    fn readmit(&mut self, until: u64) -> Result<()> {
        for stream in std::mem::take(&mut self.moved) {
            if !self.has_moved(stream)? {
                continue;
            }
            self.store.remove_stream(stream)?;
            for record in
                Scan::new(self.log, key::within(key::Class::Frame, stream, Order::Ascending))
            {
                let record = record?;
                let (_, seq) = key::parse_seq(&record.key)?;
                match Frame::open(&record.value, stream, seq) {
                    Ok(frame) if frame.position <= until => self.add(stream, &frame)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether an entry that was in the index before names others than who reaches it now.
    fn has_moved(&self, stream: Digest) -> Result<bool> {
        let owners = Owners::load(self.log, stream)?;
        let filed = self.store.entries_of(stream)?;
        Ok(filed.iter().any(|entry| entry.reach != reach_of(&owners.of(entry.seq))))
    }
}

/// What tells whether a stored body is the one that was read.
pub(super) fn mark_of(frame: &Frame<'_>) -> u64 {
    let commitment = frame.present_commitment().0;
    commitment.iter().take(8).fold(0, |mark, byte| (mark << 8) | u64::from(*byte))
}
