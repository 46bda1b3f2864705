//! The commit thread: wait, drain what waits, place it, append it, then answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_channel::Receiver;

use super::append::Append;
use super::group::{Group, Head, Placed};
use super::published::Published;
use super::refuse_all;
use super::tail::Tails;
use super::ticket::{Receipt, Resolver};
use crate::clock::Clock;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::id::Digest;
use crate::limits::GROUP_APPENDS_MAX;
use crate::log::{Durability, Log};
use crate::snapshot::{self, Due};

/// What goes through the queue.
pub(super) enum Request {
    Append(Box<Append>, Resolver),
    Close,
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
        while let Ok(Request::Append(append, resolver)) = self.queue.recv() {
            if !self.commit_group(append, resolver) {
                break;
            }
        }
    }

    /// Commits one group. Returns whether the thread should go on.
    fn commit_group(&mut self, append: Box<Append>, resolver: Resolver) -> bool {
        let mut waiting = Vec::with_capacity(1);
        let mut sessions = Vec::with_capacity(1);
        let mut goes_on = true;
        let log = Arc::clone(&self.log);
        let mut group = Group::new(&log, self.log_id, self.clock.now_us(), self.head);
        let mut next = Some((append, resolver));
        while let Some((append, resolver)) = next.take() {
            // A refusal waits for the group too: it may rest on what the group has placed, and
            // answers come in the order of the queue.
            let verdict = self.admit(&mut group, &append);
            sessions.push(append.session);
            waiting.push((append.session_id, resolver, verdict));
            if waiting.len() >= GROUP_APPENDS_MAX || group.is_full() {
                break;
            }
            match self.queue.try_recv() {
                Ok(Request::Append(append, resolver)) => next = Some((append, resolver)),
                Ok(Request::Close) => goes_on = false,
                Err(_) => {}
            }
        }
        let written = group.finish().map_or(Ok(Vec::new()), |placed| self.write(placed));
        self.answer(waiting, &sessions, written);
        goes_on
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

    fn answer(
        &mut self,
        waiting: Vec<(String, Resolver, Result<Receipt>)>,
        sessions: &[Digest],
        written: Result<Vec<Due>>,
    ) {
        match written {
            Ok(due) => {
                for (session_id, resolver, verdict) in waiting {
                    resolver.resolve(verdict.with_context(|| format!("session {session_id}")));
                }
                for session in sessions {
                    self.tails.settle(*session);
                }
                // After the answers, so that no writer waits for it. Snapshots can be lost: a
                // reader that misses one folds from the one before.
                snapshot::write_due(&self.log, &due);
            }
            Err(error) => {
                // A sync that failed may have lost what it was given, and a second try would
                // succeed without it. Nothing is written until the log is opened again.
                let reason = error.to_string();
                self.poison = Some(Error::new(ErrorKind::Poisoned { reason }));
                self.tails.clear();
                for (session_id, resolver, _) in waiting {
                    resolver.resolve(Err(error.clone().context(format!("session {session_id}"))));
                }
            }
        }
    }
}
