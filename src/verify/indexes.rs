//! The catalog and the indexes over all sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::log::Ends;
use super::{Lost, Report, Stored};
use crate::bytes::Reader;
use crate::error::Result;
use crate::id::Digest;
use crate::index::{Entry, GroupRecord, source_of};
use crate::log::{Log, Order, Record, Scan, key};

/// Compares the catalog with its indexes and counts; returns its entries.
pub(super) fn check(
    stored: &Stored<'_>,
    ends: &Ends,
    report: &mut Report,
) -> Result<BTreeMap<Digest, Entry>> {
    let Stored { log, published, .. } = *stored;
    let entries = entries(log, ends, report)?;
    // What the indexes should hold of these nobody knows.
    let lost = (stored.lost)();
    let mut created = BTreeSet::new();
    let mut updated = BTreeSet::new();
    let mut forks = BTreeSet::new();
    let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    for (session, entry) in &entries {
        if let Some(forked) = &entry.forked_from {
            let parent = Digest::of_session(&forked.session_id);
            forks.insert(key::fork(parent, forked.seq, *session));
        }
        for scope in entry.scopes() {
            created.insert(key::created(scope, entry.created_at_us, *session));
            updated.insert(key::updated(scope, entry.touched_at_us, *session));
            *counts.entry(key::count(scope, entry.session_type as u8)).or_default() += 1;
        }
    }
    // While others write, entries and indexes are read at different times: a session that is
    // newer than the check is not its business.
    let mut found = Report::default();
    check_indexes(log, [created, updated], counts, &lost, &mut found)?;
    let stored = records(log, key::Class::Fork)?.into_iter().map(|record| record.key);
    let is_known = |fork: &Vec<u8>| {
        key::parse_fork(fork).is_ok_and(|(_, session)| !lost.contains_key(&session))
    };
    if !stored.filter(|fork| lost.is_empty() || is_known(fork)).eq(forks) {
        found.add(None, None, "the index of forks is wrong");
    }
    strangers(log, ends, &mut found)?;
    let last_position = GroupRecord::last(&**log)?.map_or(0, |(_, position)| position);
    if last_position == published {
        report.problems.append(&mut found.problems);
    }
    Ok(entries)
}

fn check_indexes(
    log: &Arc<dyn Log>,
    [created, updated]: [BTreeSet<Vec<u8>>; 2],
    mut counts: BTreeMap<Vec<u8>, u64>,
    lost: &Lost,
    report: &mut Report,
) -> Result<()> {
    for (class, wanted) in [(key::Class::Created, created), (key::Class::Updated, updated)] {
        let stored: BTreeSet<_> =
            records(log, class)?.into_iter().map(|record| record.key).collect();
        for key in stored.symmetric_difference(&wanted) {
            let session = key::parse_time(key).map(|(_, session)| session).ok();
            if session.is_some_and(|session| lost.contains_key(&session)) {
                continue;
            }
            let session = session.map(|session| session.to_string());
            let fault = if stored.contains(key) { "too much" } else { "too little" };
            report.add(session, None, format!("an index of the catalog holds {fault}"));
        }
    }
    if !lost.is_empty() {
        return Ok(());
    }
    for record in records(log, key::Class::Count)? {
        let wanted = counts.remove(&record.key).unwrap_or_default();
        if Reader::new(&record.value).u64().ok() != Some(wanted) {
            report.add(None, None, format!("a count of sessions is not {wanted}"));
        }
    }
    for _ in counts {
        report.add(None, None, "a count of sessions is missing");
    }
    Ok(())
}

fn entries(
    log: &Arc<dyn Log>,
    ends: &Ends,
    report: &mut Report,
) -> Result<BTreeMap<Digest, Entry>> {
    let mut entries = BTreeMap::new();
    for record in records(log, key::Class::Catalog)? {
        let session = Digest(Reader::new(record.key.get(1..).unwrap_or_default()).array()?);
        match Entry::from_bytes(&record.value) {
            Ok(entry) if !ends.contains_key(&session) => {
                report.add(
                    Some(entry.session_id),
                    None,
                    "the catalog lists it, and it has no events",
                );
            }
            Ok(entry) => {
                // A member under another name would be left out without a word.
                if entry.to_bytes() != record.value {
                    let session_id = Some(entry.session_id.clone());
                    report.add(session_id, None, "the catalog's entry is not as it is written");
                }
                entries.insert(session, entry);
            }
            Err(error) => report.add(Some(session.to_string()), None, error.to_string()),
        }
    }
    Ok(entries)
}

/// The classes whose keys begin with a session. What stands there of a session that has events is
/// for that session's own check.
const OF_SESSIONS: [key::Class; 12] = [
    key::Class::EventId,
    key::Class::Run,
    key::Class::RunNumber,
    key::Class::OpenRun,
    key::Class::SystemMessage,
    key::Class::Rewind,
    key::Class::Snapshot,
    key::Class::Receipt,
    key::Class::Purge,
    key::Class::Sharer,
    key::Class::Attachment,
    key::Class::Source,
];

/// Records about sessions that are not there, and uses of blobs that no event is said to make.
fn strangers(log: &Arc<dyn Log>, ends: &Ends, report: &mut Report) -> Result<()> {
    for class in OF_SESSIONS {
        for record in Scan::new(&**log, key::class_range(class, Order::Ascending)) {
            let key = record?.key;
            let session = Digest(Reader::new(key.get(1..).unwrap_or_default()).array()?);
            if !ends.contains_key(&session) {
                let problem =
                    format!("a record of class {:?} is of no session", class as u8 as char);
                report.add(Some(session.to_string()), None, problem);
            }
        }
    }
    sources(log, report)?;
    for record in Scan::new(&**log, key::class_range(key::Class::Blob, Order::Ascending)) {
        let key = record?.key;
        let (session, seq) = key::parse_blob_use(&key)?;
        let names = log.get(&key::attachment(session, seq))?.unwrap_or_default();
        let name = key.get(1..33).unwrap_or_default();
        if !names.chunks(32).any(|it| it == name) {
            report.add(
                Some(session.to_string()),
                Some(seq),
                "a blob is said to be used by it, and it does not say so",
            );
        }
    }
    Ok(())
}

/// What a message is said to have taught is said of the memories too, and the other way round.
fn sources(log: &Arc<dyn Log>, report: &mut Report) -> Result<()> {
    let mut learned = 0_u64;
    for record in Scan::new(&**log, key::class_range(key::Class::Learned, Order::Ascending)) {
        let [message, (memories, seq)] = key::parse_learned(&record?.key)?;
        learned += 1;
        if source_of(&**log, memories, seq)? != Some(message) {
            let problem = "a memory is said to have come from a message, and does not say so";
            report.add(Some(memories.to_string()), Some(seq), problem);
        }
    }
    let mut sources = Scan::new(&**log, key::class_range(key::Class::Source, Order::Ascending));
    let sources = sources.try_fold(0_u64, |count, record| record.map(|_| count + 1))?;
    if sources > learned {
        report.add(None, None, "a message does not know of the memory that came from it");
    }
    Ok(())
}

fn records(log: &Arc<dyn Log>, class: key::Class) -> Result<Vec<Record>> {
    Scan::new(&**log, key::class_range(class, Order::Ascending)).collect()
}
