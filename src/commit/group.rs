//! Decides on the appends of a group and turns those it admits into one batch. Nothing is written
//! here: an append that is refused leaves no trace, and the batch is for the log.

use std::collections::HashMap;
use std::sync::Arc;

use super::append::{Append, Expected, Prepared};
use super::place::{Commit, Site};
use super::tail::Tail;
use super::ticket::Receipt;
use crate::codec::{Frame, GroupLink, Link, group_link};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Touch;
use crate::id::{Digest, EventId};
use crate::index::{GroupRecord, stored_seq};
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
    /// What this group has changed of each session, and from which seq on.
    touched: HashMap<Digest, Touched>,
    /// Where snapshots fall due.
    due: Vec<Due>,
}

/// What a group has changed of a session.
struct Touched {
    first_seq: u64,
    touches: Vec<(u64, Touch)>,
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
        if fresh.is_empty() {
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
        };
        let commit = Commit::place(&site, tail.clone(), append, &fresh)?;
        let receipt = self.accept(tail, append.session, commit);
        let touched = self.touched.entry(append.session).or_insert_with(|| {
            let touches = Vec::new();
            Touched { first_seq: receipt.first_seq, touches }
        });
        let fresh = fresh.iter().map(|event| event.touch.clone());
        touched.touches.extend((receipt.first_seq..).zip(fresh));
        Ok(receipt)
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
        let here = self.touched.get(&tail.session);
        let last_stored = here.map_or(tail.seq, |touched| touched.first_seq - 1);
        for event in Events::new(self.log, &tail.lineage(), seen + 1, last_stored) {
            let event = event?;
            meets(event.seq, &Touch::of(&event.body, event.run))?;
        }
        let here = here.map(|touched| touched.touches.as_slice()).unwrap_or_default();
        here.iter().try_for_each(|(seq, touch)| meets(*seq, touch))
    }

    /// The seqs of events that are there already, under ids that the caller gave.
    fn stored_seqs(&self, tail: &Tail, append: &Append) -> Result<Vec<Option<u64>>> {
        let lineage = tail.lineage();
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
                None => stored_seq(&**self.log, &lineage, id)?,
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

fn check_access(tail: &Tail, append: &Append) -> Result<()> {
    match &tail.entry {
        Some(entry) => append.access.check(entry.user_id.as_deref()),
        None => Ok(()),
    }
}

fn check_expected(tail: &Tail, append: &Append, fresh: &[&Prepared]) -> Result<()> {
    let conflict = |expected| Err(Error::new(ErrorKind::Conflict { expected, actual: tail.seq }));
    let creates = fresh.first().is_some_and(|event| event.effect.is_beginning());
    match append.expected {
        Expected::Seq(expected) if expected != tail.seq => conflict(expected),
        // Two who create one session at the same time must not both succeed.
        _ if creates && tail.seq > 0 => conflict(0),
        _ if !creates && tail.entry.is_none() => Err(Error::not_found("session")),
        _ => Ok(()),
    }
}
