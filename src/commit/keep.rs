//! Places what makes stored bodies give way: replacements that an event of the same append names,
//! and the end of a session.

use super::append::{Append, NameLeft, Replacement};
use super::place::{Commit, Site};
use crate::codec::Frame;
use crate::error::{Context, Error, Result};
use crate::event::EventKind;
use crate::id::Digest;
use crate::index::forget_source;
use crate::log::{Order, Scan, key};

impl Commit {
    /// Puts the replacements of an append into its batch, so that they and the event that names
    /// them are there together or not at all.
    pub(super) fn replace(&mut self, site: &Site<'_>, append: &Append) -> Result<()> {
        for replacement in &append.replacements {
            let seq = replacement.seq;
            self.replace_one(site, append.session, replacement)
                .with_context(|| format!("seq {seq}"))?;
        }
        Ok(())
    }

    fn replace_one(
        &mut self,
        site: &Site<'_>,
        session: Digest,
        replacement: &Replacement,
    ) -> Result<()> {
        let key = key::frame(session, replacement.seq);
        let bytes = site.log.get(&key)?.ok_or_else(|| Error::not_found("event"))?;
        let frame = Frame::open(&bytes, session, replacement.seq)?;
        if frame.present_commitment() != replacement.present {
            return Err(Error::changed_at(self.tail.seq).context("it was replaced meanwhile"));
        }
        let frame = match &replacement.body {
            Some(salted) => frame.with_body(salted.salt, &salted.body)?,
            None => frame.without_body(),
        };
        if frame.header.kind == EventKind::MemoryUpserted as u16 {
            forget_source(&**site.log, session, replacement.seq, &mut self.batch)?;
        }
        let bytes = frame.to_bytes();
        self.bytes += bytes.len();
        self.batch.replace(key, bytes);
        self.refer(session, replacement.seq, &replacement.blobs_before, &replacement.blobs_after);
        Ok(())
    }

    /// Notes which blobs an event refers to.
    pub(super) fn refer(
        &mut self,
        session: Digest,
        seq: u64,
        before: &[[u8; 32]],
        after: &[[u8; 32]],
    ) {
        for name in before.iter().filter(|name| !after.contains(name)) {
            self.batch.remove(key::blob(name, session, seq));
            self.batch.replace(key::dropped(name), Vec::new());
        }
        for name in after.iter().filter(|name| !before.contains(name)) {
            self.batch.insert(key::blob(name, session, seq), Vec::new());
        }
        match (before.is_empty(), after.is_empty()) {
            (true, true) => {}
            (false, true) => self.batch.remove(key::attachment(session, seq)),
            (_, false) => self.batch.replace(key::attachment(session, seq), after.concat()),
        }
    }

    /// What was derived from what is erased goes with it: the name, and the snapshots.
    pub(super) fn erase(&mut self, site: &Site<'_>, append: &Append, seq: u64) -> Result<()> {
        let session = append.session;
        self.batch.insert(key::receipt(session, seq), Vec::new());
        if let Some(NameLeft(name)) = &append.name_left {
            self.change_entry(session, |entry| entry.name.clone_from(name));
        }
        if let Some((first, last)) = append.snapshots_left {
            let class = key::Class::Snapshot;
            let range = key::seqs(class, session, first, last, Order::Ascending);
            for record in Scan::new(&**site.log, range) {
                self.batch.remove(record?.key);
            }
        }
        Ok(())
    }

    /// Takes the session out of the catalog. Its stored bodies go afterwards, in pieces; the
    /// record of what is left to do is in this commit, so that a crash does not forget it.
    pub(super) fn delete(&mut self, site: &Site<'_>, session: Digest, seq: u64) -> Result<()> {
        self.batch.insert(key::rewind(session, seq), 0_u64.to_le_bytes().to_vec());
        self.batch.insert(key::receipt(session, seq), Vec::new());
        self.batch.replace(key::purge(session), Vec::new());
        for (run, _) in self.tail.open_runs.drain() {
            self.batch.remove(key::open_run(session, run));
        }
        let open = key::within(key::Class::OpenRun, session, Order::Ascending);
        for record in Scan::new(&**site.log, open) {
            self.batch.remove(record?.key);
        }
        if let Some(entry) = self.tail.entry.take() {
            for scope in entry.scopes() {
                entry.unindex(scope, session, &mut self.batch);
                self.count(site, scope, entry.session_type, -1)?;
            }
            if let Some(forked) = &entry.forked_from {
                let parent = Digest::of_session(&forked.session_id);
                self.batch.remove(key::fork(parent, forked.seq, session));
            }
            for ancestor in &entry.ancestors {
                self.batch.remove(key::sharer(ancestor.stream, ancestor.last_seq, session));
                // Where that was deleted before, it may only have been kept for this session.
                self.batch.replace(key::purge(ancestor.stream), Vec::new());
            }
            self.batch.remove(key::catalog(session));
        }
        self.tail.runs = 0;
        self.tail.settled_seq = 0;
        Ok(())
    }
}
