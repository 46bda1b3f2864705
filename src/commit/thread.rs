//! The commit thread: wait, drain what waits, place it, append it, then answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::Receiver;

use super::append::Append;
use super::group::{Group, Head, Placed};
use super::published::Published;
use super::tail::Tails;
use super::ticket::{Receipt, Resolver};
use super::{Room, refuse_all};
use crate::clock::Clock;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::Digest;
use crate::limits::GROUP_APPENDS_MAX;
use crate::log::{Batch, Durability, Log};
use crate::media::Lease;
use crate::snapshot::{self, Due};

/// Looks at the log and says what is to be changed, if anything.
pub(crate) type Work = Box<dyn FnOnce(&Arc<dyn Log>) -> Result<Option<Batch>> + Send>;

/// What goes through the queue.
pub(super) enum Request {
    Append(Box<Append>, Resolver, Room),
    /// Records that are no events: what an event already said may go.
    Maintain(Work, Resolver),
    Close,
}

/// An append that was decided on and waits for its group.
struct Waiting {
    place: String,
    resolver: Resolver,
    verdict: Result<Receipt>,
    /// Until the group is in the log, nothing else says that its blobs are in use.
    _leases: Vec<Lease>,
}

/// What the commit thread owns.
pub(super) struct CommitThread {
    /// Set when it takes nothing out of the queue any more, also where that is by a panic.
    pub(super) has_ended: Arc<AtomicBool>,
    pub(super) log: Arc<dyn Log>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) log_id: [u8; 16],
    pub(super) durability: Durability,
    pub(super) head: Head,
    /// How far readers may see.
    pub(super) published: Arc<Published>,
    pub(super) queue: Receiver<Request>,
    pub(super) tails: Tails,
    /// Set by the first write that failed: what is on disk is not known any more.
    pub(super) poison: Option<Error>,
}

impl Drop for CommitThread {
    fn drop(&mut self) {
        self.has_ended.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        refuse_all(&self.queue);
        // After the last event: a subscriber that is told of the end has been told of all.
        self.published.close();
    }
}

impl CommitThread {
    pub(super) fn run(mut self) {
        let mut next = self.queue.recv().ok();
        while let Some(request) = next {
            next = match request {
                Request::Append(append, resolver, room) => {
                    drop(room);
                    self.commit_group(append, resolver)
                }
                Request::Maintain(work, resolver) => {
                    self.maintain(work, resolver);
                    None
                }
                Request::Close => return,
            };
            if next.is_none() {
                next = self.queue.recv().ok();
            }
        }
    }

    /// Commits one group. Returns what was taken out of the queue behind it.
    fn commit_group(&mut self, append: Box<Append>, resolver: Resolver) -> Option<Request> {
        let mut waiting = Vec::with_capacity(1);
        let mut sessions = Vec::with_capacity(1);
        let mut behind = None;
        let log = Arc::clone(&self.log);
        let mut group = Group::new(&log, self.log_id, self.clock.now_us(), self.head);
        let mut next = Some((append, resolver));
        while let Some((append, resolver)) = next.take() {
            // A refusal waits for the group too: it may rest on what the group has placed, and
            // answers come in the order of the queue.
            let verdict = self.admit(&mut group, &append);
            sessions.push(append.session);
            let Append { place, leases, .. } = *append;
            waiting.push(Waiting { place, resolver, verdict, _leases: leases });
            if waiting.len() >= GROUP_APPENDS_MAX || group.is_full() {
                break;
            }
            match self.queue.try_recv() {
                Ok(Request::Append(append, resolver, _)) => next = Some((append, resolver)),
                Ok(request) => behind = Some(request),
                Err(_) => {}
            }
        }
        let written = group.finish().map_or(Ok(Vec::new()), |placed| self.write(placed));
        self.answer(waiting, &sessions, written);
        behind
    }

    fn maintain(&mut self, work: Work, resolver: Resolver) {
        let batch = match &self.poison {
            Some(poison) => Err(poison.clone()),
            None => work(&self.log),
        };
        let batch = match batch {
            Ok(batch) => batch.unwrap_or_default(),
            Err(error) => return resolver.resolve(Err(error)),
        };
        let written = if batch.is_empty() {
            Ok(())
        } else {
            self.log.append(&batch, self.durability, self.head.position)
        };
        let position = self.head.position;
        if let Err(error) = &written
            && self.poison.is_none()
        {
            self.note_failure(error);
        }
        let receipt = Receipt { first_seq: 0, last_seq: 0, position, is_duplicate: false };
        resolver.resolve(written.map(|()| receipt));
    }

    /// A key that cannot be had is missed before anything is written, and may be there the next
    /// time; the tails have gone ahead of the log. After any other failure nobody knows.
    fn note_failure(&mut self, error: &Error) {
        if matches!(error.kind(), ErrorKind::Key { .. }) {
            self.tails.clear();
        } else {
            self.close_for_writing(error);
        }
    }

    /// A sync that failed may have lost what it was given, and a second try would succeed
    /// without it. Nothing is written until the log is opened again.
    fn close_for_writing(&mut self, error: &Error) {
        let reason = error.to_string();
        self.poison = Some(Error::new(ErrorKind::Poisoned { reason }));
        self.tails.clear();
    }

    fn admit(&mut self, group: &mut Group<'_>, append: &Append) -> Result<Receipt> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        let tail = self.tails.get(&*self.log, append.session)?;
        group.admit(tail, append)
    }

    /// Applies and syncs a group, then lets readers see it.
    fn write(&mut self, placed: Placed) -> Result<Vec<Due>> {
        let Placed { batch, head, due } = placed;
        self.log.append(&batch, self.durability, head.position)?;
        self.head = head;
        // Published after the sync: no reader sees an event that a crash could take back.
        self.published.move_to(head.position);
        Ok(due)
    }

    fn answer(&mut self, waiting: Vec<Waiting>, sessions: &[Digest], written: Result<Vec<Due>>) {
        match written {
            Ok(due) => {
                for Waiting { place, resolver, verdict, .. } in waiting {
                    resolver.resolve(verdict.context(place));
                }
                for session in sessions {
                    self.tails.settle(*session);
                }
                // After the answers, so that no writer waits for it. Snapshots can be lost: a
                // reader that misses one folds from the one before.
                snapshot::write_due(&self.log, &due);
            }
            Err(error) => {
                self.note_failure(&error);
                for Waiting { place, resolver, .. } in waiting {
                    resolver.resolve(Err(error.clone().context(place)));
                }
            }
        }
    }
}
