//! The catalog and the indexes over all sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Report;
use super::log::Ends;
use crate::bytes::Reader;
use crate::error::Result;
use crate::id::Digest;
use crate::index::{Entry, GroupRecord};
use crate::log::{Log, Order, Record, Scan, key};

/// Compares the catalog with its indexes and counts; returns its entries.
pub(super) fn check(
    log: &Arc<dyn Log>,
    ends: &Ends,
    published: u64,
    report: &mut Report,
) -> Result<BTreeMap<Digest, Entry>> {
    let entries = entries(log, ends, report)?;
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
    check_indexes(log, [created, updated], counts, &mut found)?;
    let stored = records(log, key::Class::Fork)?.into_iter().map(|record| record.key);
    if !stored.eq(forks) {
        found.add(None, None, "the index of forks is wrong");
    }
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
    report: &mut Report,
) -> Result<()> {
    for (class, wanted) in [(key::Class::Created, created), (key::Class::Updated, updated)] {
        let stored: BTreeSet<_> =
            records(log, class)?.into_iter().map(|record| record.key).collect();
        for key in stored.symmetric_difference(&wanted) {
            let session = key::parse_time(key).map(|(_, session)| session.to_string()).ok();
            let fault = if stored.contains(key) { "too much" } else { "too little" };
            report.add(session, None, format!("an index of the catalog holds {fault}"));
        }
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
                entries.insert(session, entry);
            }
            Err(error) => report.add(Some(session.to_string()), None, error.to_string()),
        }
    }
    Ok(entries)
}

fn records(log: &Arc<dyn Log>, class: key::Class) -> Result<Vec<Record>> {
    Scan::new(&**log, key::class_range(class, Order::Ascending)).collect()
}
