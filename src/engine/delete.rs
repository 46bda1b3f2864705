//! Deletion: a session ends, and what it held goes, but for what its forks share.

use super::erase::{ErasureReceipt, NOTHING_LEFT, is_late, names_of};
use super::job::Part;
use super::session::Session;
use super::{Engine, Inner};
use crate::access::Access;
use crate::catalog::SessionQuery;
use crate::codec::{BodyForm, Frame};
use crate::commit::{Append, Expected};
use crate::compact::{frame_of, read_blobs};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::event::{Deleted, ErasureTarget, EventBody, EventKind, NewEvent};
use crate::id::{Digest, StreamName};
use crate::index::{Entry, Sharers, deletions, forget_source, scope_of, shared_seq, sharers};
use crate::limits::{LIST_PAGE_MAX, REPLACED_BYTES_MAX, REPLACED_EVENTS_MAX};
use crate::log::{Batch, Order, PageLimit, Scan, key};

impl Session {
    /// Deletes the session: it is in no list and can be opened no more, and what it held is
    /// removed. Its forks go on as they are; what they share with it stays for them until it is
    /// erased ([`Engine::erase_former`]), and the memories that came from it stay for their user.
    /// `authority` says on whose word or under which rule; it stands in the receipt.
    ///
    /// A session that begins under the same id afterwards is another one. What is left in the log
    /// is that there were events, and the receipt.
    ///
    /// ```
    /// use sessionlog::{Engine, ErrorKind, Message, Metrics};
    ///
    /// let engine = Engine::in_memory()?;
    /// let session = engine.session("s1").user("alice").open()?;
    /// session.record_run([Message::user("Hi")], Metrics::default())?.wait()?;
    /// let receipt = session.delete(Some("asked by alice"))?;
    /// assert_eq!(receipt.events, 4);
    /// assert!(matches!(session.view().unwrap_err().kind(), ErrorKind::NotFound { .. }));
    /// assert!(engine.verify()?.ok);
    /// # Ok::<(), sessionlog::Error>(())
    /// ```
    pub fn delete(&self, authority: Option<&str>) -> Result<ErasureReceipt> {
        let (inner, key) = (self.inner(), self.key());
        if let Err(error) = self.seq() {
            // It may be gone because it was deleted, and not wholly.
            if matches!(error.kind(), ErrorKind::NotFound { .. }) {
                inner.finish_removals()?;
            }
            return Err(error);
        }
        let delete = || inner.delete(self.stream(), self.access(), authority, None);
        inner.erasing(key, delete).with_context(|| self.place())
    }

    /// Erases the session: as [`Session::delete`], and what its forks share goes too, with what
    /// was derived from it there, and the memories that came from it. The session's key is
    /// destroyed first, where it has one. Of a session that was deleted, what its forks share is
    /// erased as [`Engine::erase_former`] does it.
    pub fn erase_all(&self, authority: Option<&str>) -> Result<ErasureReceipt> {
        let first_seq = match self.head() {
            Ok((lineage, _)) => lineage.first_seq(),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound { .. }) => {
                self.inner().finish_removals()?;
                return self.erase_former(authority);
            }
            Err(error) => return Err(error.context(self.place())),
        };
        let (inner, key) = (self.inner(), self.key());
        let erase = || {
            let mut whole: Option<ErasureReceipt> = None;
            let mut tries = 1;
            loop {
                // Counted before they are told: whoever comes later is told too.
                let asked = sharers(&**inner.log(), key)?;
                let shared = shared_seq(&**inner.log(), key, u64::MAX)?;
                // What forks share of one that was deleted under the id before is not its own.
                if shared >= first_seq {
                    let target = ErasureTarget::Shared { last_seq: shared };
                    let part = Part::now(key);
                    let erased = inner.erase(part, target, self.access(), authority)?;
                    whole = ErasureReceipt::both(whole, erased);
                }
                match inner.delete(self.stream(), self.access(), authority, Some(asked)) {
                    Err(error) if is_late(&error, tries) => tries += 1,
                    deleted => {
                        let deleted = deleted?;
                        return Ok(match whole {
                            Some(shared) => shared.and(deleted),
                            None => deleted,
                        });
                    }
                }
            }
        };
        inner.erasing(key, erase).with_context(|| self.place())
    }

    /// The same for a session that was deleted: its receipts, as one.
    fn erase_former(&self, authority: Option<&str>) -> Result<ErasureReceipt> {
        let receipts = self.engine().erase_former(self.id(), self.access(), authority)?;
        let erased = receipts.into_iter().reduce(ErasureReceipt::and);
        erased.ok_or_else(|| Error::not_found(NOTHING_LEFT).context(self.place()))
    }
}

impl Engine {
    /// Erases a user's memories and all sessions of the user, each as [`Session::erase_all`] does,
    /// and what forks share of the user's sessions that were deleted, as [`Engine::erase_former`]
    /// does. Where it breaks off, doing it again does the rest.
    ///
    /// # Errors
    /// [`ErrorKind::Key`] where the key of one of the sessions cannot be had, by its digest. The
    /// others are erased then.
    pub fn erase_user(
        &self,
        user_id: &str,
        authority: Option<&str>,
    ) -> Result<Vec<ErasureReceipt>> {
        let mut receipts = Vec::new();
        self.erase_user_with(user_id, authority, &mut |receipt| receipts.push(receipt.clone()))?;
        Ok(receipts)
    }

    /// The same, telling of the memories and of each session as soon as they are erased.
    pub fn erase_user_with(
        &self,
        user_id: &str,
        authority: Option<&str>,
        progress: &mut dyn FnMut(&ErasureReceipt),
    ) -> Result<()> {
        crate::id::check_name("user id", user_id)?;
        let access = Access::User(user_id.to_owned());
        let memories = self.memories(user_id)?;
        loop {
            let erased = memories.erase_all(authority)?;
            erased.iter().for_each(&mut *progress);
            let query = SessionQuery::new(access.clone()).limit(LIST_PAGE_MAX);
            let (found, unread) = self.sessions_and_unread(&query)?;
            if found.sessions.is_empty() && erased.is_none() {
                self.inner.erase_formers(&access, authority, progress)?;
                // What broke off before is no session any more, and nothing else would find it.
                self.inner.finish_removals()?;
                // What is said in it is still there.
                return unread.map_or(Ok(()), Err);
            }
            for view in found.sessions {
                match self.session(&view.session_id).user(user_id).open_existing() {
                    Ok(session) => progress(&session.erase_all(authority)?),
                    // It was deleted or given away in the meantime.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::NotFound { .. } | ErrorKind::Forbidden
                        ) => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

impl Inner {
    pub(super) fn delete(
        &self,
        stream: StreamName<'_>,
        access: &Access,
        authority: Option<&str>,
        erased: Option<Sharers>,
    ) -> Result<ErasureReceipt> {
        let session = stream.key();
        let mut tries = 1;
        let (entry, seq) = loop {
            let (entry, _) = self.entry(session)?.ok_or_else(|| Error::not_found("session"))?;
            let append = deletion(stream, &entry, access, authority, erased)?;
            match self.append(append)?.wait() {
                // It was given away in the meantime. That others share it is for the caller.
                Err(error) if erased.is_none() && is_late(&error, tries) => tries += 1,
                receipt => break (entry, receipt?.last_seq),
            }
        };
        let link = self.link_of(session, seq)?;
        let mut receipt = ErasureReceipt { seq, link, ..ErasureReceipt::of(stream) };
        self.purge(session, &mut receipt)?;
        // What was only kept for this session.
        for ancestor in &entry.ancestors {
            self.purge(ancestor.stream, &mut receipt)?;
        }
        Ok(receipt)
    }

    /// Does what deletions have left to do, as far as it can be done. The first failure is told.
    pub(super) fn finish_removals(&self) -> Result<()> {
        let purges = key::class_range(key::Class::Purge, Order::Ascending);
        let mut finished = Ok(());
        for record in Scan::new(&*self.log, purges) {
            let session = key::parse_session(&record?.key)?;
            let done = self.purge(session, &mut ErasureReceipt::default());
            finished = finished.and(done.with_context(|| format!("deleted session {session}")));
        }
        finished.and(self.finish_collection())
    }

    /// Removes what deleted sessions held in a stream and no fork shares. Their key goes first,
    /// where nothing of them is kept.
    fn purge(&self, stream: Digest, receipt: &mut ErasureReceipt) -> Result<()> {
        let ends = deletions(&*self.log, stream)?;
        if ends.is_empty() {
            let mut batch = Batch::new();
            batch.remove(key::purge(stream));
            return self.committer()?.maintain(batch);
        }
        // First, because it is what is done again where this breaks off.
        let mut begin = 0;
        for end in &ends {
            if let EventBody::Deleted(deleted) = frame_of(&*self.log, stream, *end)?.body
                && deleted.is_erased
            {
                let (seqs, authority) = (begin + 1..=*end, deleted.authority.as_deref());
                receipt.memories.extend(self.erase_learned_between(stream, seqs, authority)?);
            }
            begin = *end;
        }
        let events = receipt.events;
        let mut counted = None;
        if shared_seq(&*self.log, stream, u64::MAX)? == 0 {
            // Without the key nothing says any more which events had content.
            let bodies = if self.is_sealed() { self.count_bodies(stream)? } else { 0 };
            if self.destroy_key(stream)? {
                receipt.key_destroyed = true;
                counted = Some(events + bodies);
            }
        }
        begin = 0;
        for end in ends {
            let kept = shared_seq(&*self.log, stream, end)?;
            let kept = (kept > begin).then_some(kept);
            self.purge_part(stream, (kept.unwrap_or(begin) + 1, end), kept.is_some(), receipt)?;
            begin = end;
        }
        // What was stored before the session was sealed is met once more.
        receipt.events = counted.unwrap_or(receipt.events);
        let mut batch = Batch::new();
        batch.remove(key::purge(stream));
        self.committer()?.maintain(batch)
    }

    /// How many events of a stream a deletion would take the content of.
    fn count_bodies(&self, stream: Digest) -> Result<u64> {
        let mut bodies = 0;
        for record in
            Scan::new(&*self.log, key::within(key::Class::Frame, stream, Order::Ascending))
        {
            let record = record?;
            let frame = Frame::parse(&record.value)?;
            bodies += u64::from(frame.form != BodyForm::Removed && !is_receipt(frame.header.kind));
        }
        Ok(bodies)
    }

    /// Removes what is between a seq and a deletion, from its end back, so that what is left at
    /// any moment is whole.
    fn purge_part(
        &self,
        stream: Digest,
        (first, end): (u64, u64),
        is_shared: bool,
        receipt: &mut ErasureReceipt,
    ) -> Result<()> {
        let mut dropped = Vec::new();
        let class = key::Class::Frame;
        let mut range = key::seqs(class, stream, first, end.saturating_sub(1), Order::Descending);
        loop {
            let limit = PageLimit { records: REPLACED_EVENTS_MAX, bytes: REPLACED_BYTES_MAX };
            let page = self.log.page(&range, limit)?;
            let Some(last) = page.last() else { break };
            range = range.behind(&last.key);
            let mut batch = Batch::new();
            for record in &page {
                let (_, seq) = key::parse_seq(&record.key)?;
                let frame = Frame::parse(&record.value)?;
                let kind = frame.header.kind;
                // Where forks share replaced bodies, what names the replacements stays too.
                if is_receipt(kind) || (is_shared && kind == EventKind::Compacted as u16) {
                    batch.remove(key::snapshot(stream, seq));
                    continue;
                }
                receipt.events += u64::from(frame.form != BodyForm::Removed);
                dropped.extend(self.purge_one(stream, seq, frame, &mut batch)?);
            }
            self.committer()?.maintain(batch)?;
        }
        let mut batch = Batch::new();
        batch.remove(key::snapshot(stream, end));
        self.committer()?.maintain(batch)?;
        receipt.blobs.extend(names_of(self.collect_dropped(&dropped)?));
        Ok(())
    }

    /// Removes one event's body and all records that came from it.
    fn purge_one(
        &self,
        stream: Digest,
        seq: u64,
        frame: Frame<'_>,
        batch: &mut Batch,
    ) -> Result<Vec<[u8; 32]>> {
        let (run, event_id) = (frame.header.run, frame.header.event_id);
        if frame.header.kind == EventKind::MemoryUpserted as u16 {
            forget_source(&*self.log, stream, seq, batch)?;
        }
        batch.remove(key::run(stream, run, seq));
        batch.remove(key::run_number(stream, seq));
        batch.remove(key::system_message(stream, seq));
        batch.remove(key::rewind(stream, seq));
        // A session that began again under the same id may have used that of an event again.
        let id = key::event_id(stream, event_id);
        if self.log.get(&id)?.is_some_and(|bytes| bytes == seq.to_le_bytes()) {
            batch.remove(id);
        }
        batch.remove(key::snapshot(stream, seq));
        let blobs = read_blobs(&*self.log, stream, seq)?;
        for name in &blobs {
            batch.remove(key::blob(name, stream, seq));
            batch.replace(key::dropped(name), Vec::new());
        }
        batch.remove(key::attachment(stream, seq));
        if frame.form != BodyForm::Removed || self.is_sealed() {
            batch.replace(key::frame(stream, seq), frame.without_body().to_bytes());
        }
        Ok(blobs)
    }
}

/// The append that ends a session. Whose it was is in it: that user may ask what became of it.
fn deletion(
    stream: StreamName<'_>,
    entry: &Entry,
    access: &Access,
    authority: Option<&str>,
    erased: Option<Sharers>,
) -> Result<Append> {
    let owner = entry.user_id.as_deref().map(|user_id| Digest::of_user(user_id).to_bytes());
    let authority = authority.map(str::to_owned);
    let deleted = NewEvent::new(Deleted { is_erased: erased.is_some(), authority, owner });
    let expected = Expected::Any;
    let mut append = Append::keeping(stream, access.clone(), expected, vec![deleted], Vec::new())?;
    append.sharers = erased;
    append.owner = erased.is_none().then(|| scope_of(entry.user_id.as_deref()));
    Ok(append)
}

/// What says that something went is what is left.
fn is_receipt(kind: u16) -> bool {
    kind == EventKind::Deleted as u16 || kind == EventKind::Erased as u16
}
