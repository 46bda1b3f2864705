//! Decides on the appends of a group and turns those it admits into one batch. Nothing is written
//! here: an append that is refused leaves no trace, and the batch is for the log.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::append::{Append, Effect, Expected, Prepared};
use super::place::{Commit, Site};
use super::tail::Tail;
use super::ticket::Receipt;
use crate::codec::{self, BodyForm, Frame, GroupLink, Link, group_link};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{EventBody, EventKind, SessionType, Touch};
use crate::id::{Digest, EventId};
use crate::index::{Entry, GroupRecord, scope_of, shared_seq, sharers, stored_seq};
use crate::limits::{CONFLICT_EVENTS_MAX, GROUP_BYTES_MAX, SNAPSHOT_EVENTS};
use crate::log::{Batch, Log, key};
use crate::snapshot::Due;
use crate::stream::Events;

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
    log: &'a Arc<dyn Log>,
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
    /// What this group has changed of each session, by seq.
    touched: HashMap<Digest, Vec<(u64, Touch)>>,
    /// What this group replaces, by session and seq.
    replaced: HashSet<(Digest, u64)>,
    /// The sessions that this group deletes.
    deleted: HashSet<Digest>,
    /// The streams that this group lets more sessions share.
    forked: HashSet<Digest>,
    /// Where snapshots fall due.
    due: Vec<Due>,
}

/// A group that is ready to be applied.
pub(crate) struct Placed {
    pub(crate) batch: Batch,
    pub(crate) head: Head,
    pub(crate) due: Vec<Due>,
}

impl<'a> Group<'a> {
    pub(crate) fn new(log: &'a Arc<dyn Log>, log_id: [u8; 16], now_us: i64, head: Head) -> Self {
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
            touched: HashMap::new(),
            replaced: HashSet::new(),
            deleted: HashSet::new(),
            forked: HashSet::new(),
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
        let stored = self.stored_seqs(tail, append)?;
        let fresh: Vec<&Prepared> = append
            .events
            .iter()
            .zip(&stored)
            .filter(|(_, seq)| seq.is_none())
            .map(|(event, _)| event)
            .collect();
        // A retry whose events are there is one, whatever a policy would do besides by now.
        let is_retry = fresh.len() < stored.len()
            && fresh.iter().all(|event| event.body.kind == EventKind::Compacted);
        if fresh.is_empty() || is_retry {
            return self.receipt_of_duplicate(tail, &stored);
        }
        check_expected(tail, append, &fresh)?;
        if let Expected::Unchanged(seen) = append.expected {
            self.check_unchanged(tail, seen, &fresh)?;
        }
        let site = Site {
            log: self.log,
            log_id: self.log_id,
            now_us: self.now_us,
            next_position: self.next_position,
            counts: &self.counts,
            deleted: &self.deleted,
        };
        check_kinds(tail, &fresh)?;
        self.check_sources(tail, &fresh)?;
        self.check_unreplaced(tail, append)?;
        self.check_sharers(tail, append)?;
        let commit = Commit::place(&site, tail.clone(), append, &fresh)?;
        let receipt = self.accept(tail, append.session, commit);
        if append.events.iter().any(|event| matches!(event.effect, Effect::Forked(_))) {
            let ancestors = tail.entry.iter().flat_map(|entry| &entry.ancestors);
            self.forked.extend(ancestors.map(|ancestor| ancestor.stream));
        }
        if tail.entry.is_none() {
            self.deleted.insert(append.session);
        }
        let replaced = append.replacements.iter().map(|replaced| (append.session, replaced.seq));
        self.replaced.extend(replaced);
        let fresh = fresh.iter().map(|event| event.touch.clone());
        let touched = self.touched.entry(append.session).or_default();
        touched.extend((receipt.first_seq..).zip(fresh));
        Ok(receipt)
    }

    /// What the log shows of a body that this very group replaces is not what will stand there.
    fn check_unreplaced(&self, tail: &Tail, append: &Append) -> Result<()> {
        let mut seqs = append.replacements.iter().map(|replacement| replacement.seq);
        let Some(seq) = seqs.find(|seq| self.replaced.contains(&(append.session, *seq))) else {
            return Ok(());
        };
        let conflict = Error::changed_at(tail.seq);
        Err(conflict.context(format!("seq {seq} was replaced meanwhile")))
    }

    /// What was erased meanwhile is not to be remembered: the message that a memory came from must
    /// still be there. A memory of another log may come without the session that it came from.
    fn check_sources(&self, tail: &Tail, fresh: &[&Prepared]) -> Result<()> {
        for event in fresh {
            let Effect::Learned(stream, at) = &event.effect else { continue };
            if self.replaced.contains(&(*stream, *at)) || self.deleted.contains(stream) {
                let conflict = Error::changed_at(tail.seq);
                return Err(conflict.context("the message it came from was replaced meanwhile"));
            }
            let is_known =
                event.header.is_none() || self.log.get(&key::frame(*stream, *at))?.is_some();
            if is_known && !is_message_there(&**self.log, *stream, *at)? {
                return Err(Error::not_found("message"));
            }
        }
        Ok(())
    }

    /// A session that began to share the stream meanwhile was not asked.
    fn check_sharers(&self, tail: &Tail, append: &Append) -> Result<()> {
        let Some(asked) = append.sharers else { return Ok(()) };
        let is_same = !self.forked.contains(&append.session)
            && sharers(&**self.log, append.session)? == asked;
        if is_same {
            return Ok(());
        }
        Err(Error::changed_at(tail.seq).context("another session shares it since"))
    }

    /// Checks that what came behind a seq does not meet what is to be appended.
    fn check_unchanged(&self, tail: &Tail, seen: u64, fresh: &[&Prepared]) -> Result<()> {
        let conflict = || Error::new(ErrorKind::Conflict { expected: seen, actual: tail.seq });
        if seen > tail.seq || tail.seq - seen > CONFLICT_EVENTS_MAX {
            return Err(conflict());
        }
        let meets = |seq: u64, touch: &Touch| {
            let meets = seq > seen && fresh.iter().any(|event| event.touch.meets(touch));
            if meets {
                Err(conflict().context(format!("seq {seq} changed the same")))
            } else {
                Ok(())
            }
        };
        let here = self.touched.get(&tail.session).map(Vec::as_slice).unwrap_or_default();
        let last_stored = here.first().map_or(tail.seq, |(seq, _)| seq - 1);
        for event in Events::new(self.log, &tail.lineage(), seen + 1, last_stored) {
            let event = event?;
            meets(event.seq, &Touch::of(&event.body, event.run))?;
        }
        here.iter().try_for_each(|(seq, touch)| meets(*seq, touch))
    }

    /// The seqs of events that are there already, under ids that the caller gave.
    fn stored_seqs(&self, tail: &Tail, append: &Append) -> Result<Vec<Option<u64>>> {
        let lineage = tail.lineage();
        let mut seen = HashMap::new();
        let mut seqs = Vec::with_capacity(append.events.len());
        for (index, event) in append.events.iter().enumerate() {
            // Of a session that was deleted, nothing is there.
            let Some(id) = event.id.filter(|_| tail.entry.is_some()) else {
                seqs.push(None);
                continue;
            };
            if seen.insert(id, index).is_some() {
                return Err(Error::invalid(format!("two events of one append have the id {id}")));
            }
            let seq = match self.ids.get(&(append.session, id)) {
                Some((seq, _)) if *seq >= lineage.first_seq() => Some(*seq),
                _ => stored_seq(&**self.log, &lineage, id)?,
            };
            seqs.push(seq);
        }
        Ok(seqs)
    }

    fn receipt_of_duplicate(&self, tail: &Tail, stored: &[Option<u64>]) -> Result<Receipt> {
        let session = tail.session;
        let seqs = || stored.iter().flatten().copied();
        let (first_seq, last_seq) = (seqs().min().unwrap_or(0), seqs().max().unwrap_or(0));
        // An event of this very group is not in the log yet.
        let here = self.ids.iter().find(|((of, _), (seq, _))| *of == session && *seq == last_seq);
        let holder = tail.lineage().holder(last_seq);
        let position = match (here, self.log.get(&key::frame(holder, last_seq))?) {
            (Some((_, (_, position))), _) => *position,
            (None, Some(bytes)) => Frame::open(&bytes, holder, last_seq)?.position,
            (None, None) => return Err(Error::corrupt("the event is missing")),
        };
        Ok(Receipt { first_seq, last_seq, position, is_duplicate: true })
    }

    fn accept(&mut self, tail: &mut Tail, session: Digest, commit: Commit) -> Receipt {
        let Commit { tail: next, batch, bytes, first_seq, ids, counts, due } = commit;
        let last_seq = next.seq;
        let events = u32::try_from(last_seq - first_seq + 1).unwrap_or(u32::MAX);
        self.batch.extend(batch);
        self.bytes += bytes;
        let position = |seq| self.next_position + (seq - first_seq);
        self.ids.extend(ids.into_iter().map(|(id, seq)| ((session, id), (seq, position(seq)))));
        self.counts.extend(counts);
        self.commits.push((session, first_seq, events, next.link));
        self.next_position += u64::from(events);
        let boundaries = (first_seq - 1) / SNAPSHOT_EVENTS + 1..=last_seq / SNAPSHOT_EVENTS;
        let boundaries = boundaries.map(|boundary| boundary * SNAPSHOT_EVENTS);
        let lineage = next.lineage();
        // Where no session is, nobody needs a view.
        let boundaries = boundaries.filter(|_| next.entry.is_some());
        let due = due.into_iter().chain(boundaries);
        self.due.extend(due.map(|seq| Due { lineage: lineage.clone(), seq }));
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

fn is_taken_over(fresh: &[&Prepared]) -> bool {
    fresh.first().is_some_and(|event| {
        event.form == BodyForm::Removed || matches!(event.effect, Effect::Deleted | Effect::Erased)
    }) && fresh.iter().all(|event| event.header.is_some())
}

/// Whether a stream still holds a message at a seq, for its own session or for a fork.
fn is_message_there(log: &dyn Log, stream: Digest, seq: u64) -> Result<bool> {
    let first_seq = Entry::load(log, stream)?.map_or(u64::MAX, |entry| entry.first_seq);
    if first_seq > seq && shared_seq(log, stream, u64::MAX)? < seq {
        return Ok(false);
    }
    let Some(bytes) = log.get(&key::frame(stream, seq))? else { return Ok(false) };
    let frame = Frame::open(&bytes, stream, seq)?;
    if frame.form == BodyForm::Removed {
        return Ok(false);
    }
    Ok(match codec::decode(&frame)?.body {
        EventBody::MessageAdded(added) => !added.message.omitted.message,
        _ => false,
    })
}

/// Memories hold memories and nothing else, and sessions hold none.
fn check_kinds(tail: &Tail, fresh: &[&Prepared]) -> Result<()> {
    let begins = fresh.first().is_some_and(|event| match &event.effect {
        Effect::Created(created) => created.session_type == SessionType::Memories,
        _ => false,
    });
    let is_memories = begins || tail.entry.as_ref().is_some_and(|entry| entry.is_memories());
    for event in fresh {
        let kind = event.body.kind;
        let is_of_memories = matches!(
            kind,
            EventKind::MemoryUpserted | EventKind::MemoryDeleted | EventKind::NothingLearned
        );
        let is_of_both =
            matches!(kind, EventKind::Created | EventKind::Deleted | EventKind::Erased);
        if is_memories != is_of_memories && !is_of_both {
            let whose = if is_memories { "a user's memories" } else { "a session" };
            return Err(Error::invalid(format!("{kind} is no event of {whose}")));
        }
    }
    Ok(())
}

fn check_access(tail: &Tail, append: &Append) -> Result<()> {
    let Some(entry) = tail.entry.as_ref().filter(|_| !append.is_of_former) else { return Ok(()) };
    append.access.check(entry.user_id.as_deref())?;
    if append.owner.is_some_and(|owner| owner != scope_of(entry.user_id.as_deref())) {
        return Err(Error::changed_at(tail.seq).context("it was given to somebody else meanwhile"));
    }
    Ok(())
}

fn check_expected(tail: &Tail, append: &Append, fresh: &[&Prepared]) -> Result<()> {
    let conflict = |expected| Err(Error::new(ErrorKind::Conflict { expected, actual: tail.seq }));
    let creates = fresh.first().is_some_and(|event| event.effect.is_beginning());
    // Behind a deletion there is no session, however many events there were.
    let seq = if tail.entry.is_none() { 0 } else { tail.seq };
    match append.expected {
        Expected::Seq(expected) if expected != seq => conflict(expected),
        // Two who create one session at the same time must not both succeed.
        _ if creates && seq > 0 => conflict(0),
        // A session that was deleted and began again is taken over with what is left before that.
        _ if !creates && tail.entry.is_none() && !is_taken_over(fresh) && !append.is_of_former => {
            Err(Error::not_found("session"))
        }
        _ => Ok(()),
    }
}
