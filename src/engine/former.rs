//! What forks share of sessions that were deleted: found by whose they were, and erased.

use std::collections::BTreeSet;

use serde::Serialize;

use super::erase::ErasureReceipt;
use super::job::Part;
use super::{Engine, Inner};
use crate::access::Access;
use crate::compact::frame_of;
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Deleted, ErasureTarget, EventBody};
use crate::id::Digest;
use crate::index::{Entry, Former, learned_from, sharers};
use crate::limits::CONFLICT_TRIES_MAX;
use crate::log::{Log, Order, Scan, key};
use crate::policy::without_content;
use crate::stream::Events;

/// A session that was deleted and of which forks share a part: what it said there is kept for
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FormerSession {
    /// Its id, or its digest where no event says the id any more.
    pub session_id: String,
    /// The seq of its deletion: several may have been deleted under one id.
    pub deleted_seq: u64,
    /// How many events of the shared part have content.
    pub events: u64,
    /// How many texts of memories came from it.
    pub memory_texts: usize,
    /// The ids of the sessions that share it, as far as the access reaches them.
    pub forks: Vec<String>,
}

impl Engine {
    /// The sessions that were deleted and whose words forks still keep, as far as they belonged to
    /// whom the access reaches. What was erased is not among them.
    pub fn former_sessions(&self, access: &Access) -> Result<Vec<FormerSession>> {
        let inner = &*self.inner;
        let mut found = Vec::new();
        for (stream, former) in inner.formers(access)? {
            let events = inner.count_content(&former)?;
            if events == 0 {
                continue;
            }
            let mut forks = Vec::new();
            for (part, _) in inner.sharers_between(stream, former.own_seq(), former.last_seq)? {
                let entry = Entry::load(&**inner.log(), part.stream)?;
                let entry = entry.filter(|entry| access.reaches(entry.user_id.as_deref()));
                forks.extend(entry.map(|entry| entry.session_id));
            }
            let (first, last) = (former.own_seq(), former.deleted_at);
            let memory_texts = learned_from(&**inner.log(), stream, first, last)?.len();
            let session_id = inner.name_of_former(stream, &former)?;
            let deleted_seq = former.deleted_at;
            found.push(FormerSession { session_id, deleted_seq, events, memory_texts, forks });
        }
        Ok(found)
    }

    /// Erases what forks share of a session that was deleted, with what was derived from it there,
    /// and the memories that came from it: what [`Session::erase_all`](crate::Session::erase_all)
    /// does for one that is there. Where several were deleted under the id, it is of all that the
    /// access reaches; one that began under it since stays. `authority` says on whose word or
    /// under which rule; it stands in the receipts. There is none where nothing was left to erase.
    ///
    /// ```
    /// use sessionlog::{Access, Engine, Message, Metrics, Point};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").user("alice").open()?;
    /// session.record_run([Message::user("My secret")], Metrics::default())?.wait()?;
    /// let fork = session.fork(Point::Head).id("fork").open()?;
    /// session.delete(None)?;
    /// assert_eq!(fork.window().messages()?.len(), 1); // the fork shares it
    ///
    /// let receipts = engine.erase_former("s1", &Access::User("alice".into()), None)?;
    /// assert_eq!(receipts[0].forks[0].session_id, "fork");
    /// assert_eq!(fork.window().messages()?.len(), 0);
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where no fork shares anything of a session that was deleted under
    /// the id, and [`ErrorKind::Forbidden`] where it was somebody else's.
    pub fn erase_former(
        &self,
        session_id: &str,
        access: &Access,
        authority: Option<&str>,
    ) -> Result<Vec<ErasureReceipt>> {
        let (inner, stream) = (&*self.inner, Digest::of_session(session_id));
        let erase = || {
            let all = inner.formers_of(stream)?;
            let reached = inner.reached(stream, all.clone(), access)?;
            match (all.is_empty(), reached.is_empty()) {
                (true, _) => return Err(Error::not_found("session")),
                (_, true) => return Err(Error::new(ErrorKind::Forbidden)),
                _ => {}
            }
            let mut receipts = Vec::new();
            for former in &reached {
                receipts.extend(inner.erase_former(stream, former, access, authority)?);
            }
            Ok(receipts)
        };
        inner.erasing(stream, erase).with_context(|| format!("session {session_id}"))
    }
}

impl Inner {
    /// Erases what forks share of all sessions of a user that were deleted.
    pub(super) fn erase_formers(
        &self,
        access: &Access,
        authority: Option<&str>,
        progress: &mut dyn FnMut(&ErasureReceipt),
    ) -> Result<()> {
        for (stream, former) in self.formers(access)? {
            let erase = || self.erase_former(stream, &former, access, authority);
            self.erasing(stream, erase)?.iter().for_each(&mut *progress);
        }
        Ok(())
    }

    /// Erases one, until no session shares it that was not told.
    fn erase_former(
        &self,
        stream: Digest,
        former: &Former,
        access: &Access,
        authority: Option<&str>,
    ) -> Result<Option<ErasureReceipt>> {
        let part = Part::with(stream, former.own_seq());
        let target = ErasureTarget::Shared { last_seq: former.last_seq };
        let learned = former.own_seq()..=former.deleted_at;
        let mut whole: Option<ErasureReceipt> = None;
        let mut memories = self.erase_learned_between(stream, learned, authority)?;
        for _ in 0..CONFLICT_TRIES_MAX {
            let asked = sharers(&**self.log(), stream)?;
            let erased = match self.erase(part, target, access, authority) {
                // Its last fork went in the meantime, and with it what was kept.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => None,
                erased => erased?,
            };
            whole = ErasureReceipt::both(whole.take(), erased);
            if sharers(&**self.log(), stream)? == asked {
                break;
            }
        }
        if whole.is_none() && !memories.is_empty() {
            let (seq, session_id) = (former.deleted_at, self.name_of_former(stream, former)?);
            let link = self.link_of(stream, seq)?;
            whole = Some(ErasureReceipt { session_id, seq, link, ..ErasureReceipt::default() });
        }
        if let Some(receipt) = &mut whole {
            memories.append(&mut receipt.memories);
            receipt.memories = memories;
        }
        Ok(whole)
    }

    /// What forks share of sessions that were deleted, and of which stream.
    fn formers(&self, access: &Access) -> Result<Vec<(Digest, Former)>> {
        let mut shared = BTreeSet::new();
        for record in
            Scan::new(&**self.log(), key::class_range(key::Class::Sharer, Order::Ascending))
        {
            shared.insert(key::parse_shared(&record?.key)?);
        }
        let mut found = Vec::new();
        for stream in shared {
            let reached = self.reached(stream, self.formers_of(stream)?, access)?;
            found.extend(reached.into_iter().map(|former| (stream, former)));
        }
        Ok(found)
    }

    /// What forks share of the sessions that were deleted in a stream.
    fn formers_of(&self, stream: Digest) -> Result<Vec<Former>> {
        let log = &**self.log();
        let listed = Entry::load(log, stream)?.map_or(u64::MAX, |entry| entry.first_seq);
        let mut found: Vec<Former> = Vec::new();
        for record in Scan::new(log, key::within(key::Class::Sharer, stream, Order::Ascending)) {
            let (seq, _) = key::parse_fork(&record?.key)?;
            let is_found = found.last().is_some_and(|former| seq < former.deleted_at);
            if seq >= listed || is_found {
                continue;
            }
            found.extend(Former::at(log, stream, seq)?);
        }
        Ok(found)
    }

    /// Those among them that belonged to whom the access reaches.
    fn reached(
        &self,
        stream: Digest,
        formers: Vec<Former>,
        access: &Access,
    ) -> Result<Vec<Former>> {
        let mut reached = Vec::new();
        for former in formers {
            match self.check_former(stream, &former, access) {
                Ok(()) => reached.push(former),
                Err(error) if error.kind() == &ErrorKind::Forbidden => {}
                Err(error) => return Err(error),
            }
        }
        Ok(reached)
    }

    /// Checks that a session which was deleted belonged to whom the access reaches.
    pub(super) fn check_former(
        &self,
        stream: Digest,
        former: &Former,
        access: &Access,
    ) -> Result<()> {
        let deleted = frame_of(&**self.log(), stream, former.deleted_at)?.body;
        let EventBody::Deleted(Deleted { owner, is_erased, .. }) = deleted else {
            return Err(Error::corrupt("its deletion is no deletion"));
        };
        let is_reached = match access {
            Access::Admin => true,
            Access::User(user) => owner == Some(Digest::of_user(user).to_bytes()) && !is_erased,
            Access::Nobody => owner.is_none() && !is_erased,
        };
        if is_reached { Ok(()) } else { Err(Error::new(ErrorKind::Forbidden)) }
    }

    /// The id of a session that was deleted, as far as an event says it; its digest otherwise.
    pub(super) fn name_of_former(&self, stream: Digest, former: &Former) -> Result<String> {
        let session_id = said_id(&**self.log(), stream, former.own_seq())?;
        Ok(session_id.unwrap_or_else(|| stream.to_string()))
    }

    /// How many events of what is shared an erasure would take the content of.
    fn count_content(&self, former: &Former) -> Result<u64> {
        let mut count = 0;
        for event in Events::new(self.log(), &former.lineage, former.own_seq(), former.last_seq) {
            let body = event?.body;
            let is_gone = matches!(body, EventBody::Gone(_));
            count += u64::from(!is_gone && without_content(&body).as_ref() != Some(&body));
        }
        Ok(count)
    }
}

/// The session's id, where the event that it began with still says it.
pub(super) fn said_id(log: &dyn Log, stream: Digest, first_seq: u64) -> Result<Option<String>> {
    let session_id = match frame_of(log, stream, first_seq)?.body {
        EventBody::Created(created) => created.session_id,
        EventBody::ForkedFrom(forked) => forked.session_id,
        _ => return Ok(None),
    };
    Ok(Some(session_id).filter(|session_id| Digest::of_session(session_id) == stream))
}
