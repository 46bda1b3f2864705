//! What was appended to sessions since they were compacted, and which of them are due.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::AutoCompaction;
use crate::error::Result;
use crate::id::Digest;
use crate::index::GroupRecord;
use crate::limits::{AUTO_COMPACTION_SESSIONS_MAX, PAGE_RECORDS_MAX};
use crate::log::{Log, Order, PageLimit, Scan, key};

/// Counts what is appended, group by group.
pub(super) struct Growth {
    when: AutoCompaction,
    /// The position up to which everything is counted.
    seen: u64,
    grown: HashMap<Digest, Grown>,
    /// Those that are large enough, each of them in `grown`.
    due: BTreeSet<Digest>,
    /// All of `grown` by age, where that matters.
    by_age: BTreeSet<(Instant, Digest)>,
    /// Counts what is added, so that it is known what was quiet for longest.
    clock: u64,
}

/// What was appended to a session since it was compacted.
#[derive(Debug, Clone, Copy)]
struct Grown {
    events: u64,
    bytes: u64,
    since: Instant,
    /// When something was added last.
    seen: u64,
}

impl Growth {
    /// Counts what comes behind a position.
    pub(super) fn new(when: AutoCompaction, seen: u64) -> Self {
        let (grown, due, by_age) = (HashMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { when, seen, grown, due, by_age, clock: 0 }
    }

    /// Counts what was appended since the last look, as far as readers may see. Where many are due
    /// it leaves the rest to the next look.
    pub(super) fn look(&mut self, log: &dyn Log, published: u64, now: Instant) -> Result<()> {
        while self.seen < published {
            let groups = key::class_range(key::Class::Group, Order::Ascending);
            let range = groups.behind(&key::group(self.seen));
            let page = log.page(&range, PageLimit::records(PAGE_RECORDS_MAX))?;
            for record in &page {
                let first_position = key::parse_group(&record.key)?;
                if first_position > published || self.due.len() >= AUTO_COMPACTION_SESSIONS_MAX / 2
                {
                    return Ok(());
                }
                // One that is damaged is passed over: what comes behind it counts all the same,
                // and `verify` says what is wrong.
                self.seen = match self.count_group(log, &record.value, now) {
                    Ok(events) => first_position.saturating_add(events).saturating_sub(1),
                    Err(error) if error.is_corrupt() => first_position,
                    Err(error) => return Err(error),
                };
            }
            if page.len() < PAGE_RECORDS_MAX {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Counts all of a group, or nothing where some of it cannot be read. Returns how many events
    /// it has.
    fn count_group(&mut self, log: &dyn Log, value: &[u8], now: Instant) -> Result<u64> {
        let group = GroupRecord::from_bytes(value)?;
        let mut counted = Vec::with_capacity(group.commits.len());
        for (session, first_seq, events) in &group.commits {
            let events = u64::from(*events);
            let bytes = match self.when.bytes {
                Some(_) => stored_bytes(log, *session, *first_seq, first_seq + events - 1)?,
                None => 0,
            };
            counted.push((*session, events, bytes));
        }
        for (session, events, bytes) in counted {
            self.grow(session, events, bytes, now);
        }
        Ok(group.events())
    }

    fn grow(&mut self, session: Digest, events: u64, bytes: u64, now: Instant) {
        self.clock += 1;
        let new = Grown { events: 0, bytes: 0, since: now, seen: 0 };
        let grown = self.grown.entry(session).or_insert(new);
        grown.events = grown.events.saturating_add(events);
        grown.bytes = grown.bytes.saturating_add(bytes);
        grown.seen = self.clock;
        if self.when.events.is_some_and(|events| grown.events >= events)
            || self.when.bytes.is_some_and(|bytes| grown.bytes >= bytes)
        {
            self.due.insert(session);
        }
        if self.when.age.is_some() {
            self.by_age.insert((grown.since, session));
        }
        if self.grown.len() > AUTO_COMPACTION_SESSIONS_MAX {
            self.forget_the_quiet();
        }
    }

    /// Of those that are not due, keeps the half to which something was added last.
    fn forget_the_quiet(&mut self) {
        let Self { grown, due, by_age, .. } = self;
        let waiting = grown.iter().filter(|(session, _)| !due.contains(session));
        let mut seen: Vec<u64> = waiting.map(|(_, grown)| grown.seen).collect();
        seen.sort_unstable();
        let median = seen.get(seen.len() / 2).copied().unwrap_or_default();
        grown.retain(|session, grown| grown.seen >= median || due.contains(session));
        by_age.retain(|(_, session)| grown.contains_key(session));
    }

    /// The sessions that are due. They begin anew.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Digest> {
        let mut due = std::mem::take(&mut self.due);
        let is_old = |since: Instant| {
            self.when.age.is_some_and(|age| now.saturating_duration_since(since) >= age)
        };
        let old = self.by_age.iter().take_while(|(since, _)| is_old(*since));
        due.extend(old.map(|(_, session)| *session));
        for session in &due {
            if let Some(grown) = self.grown.remove(session) {
                self.by_age.remove(&(grown.since, *session));
            }
        }
        due.into_iter().collect()
    }

    /// How long it may take until a session is due by its age. `None` where none ever is: an age
    /// may be longer than any clock goes on.
    pub(super) fn next_due(&self, now: Instant) -> Option<Duration> {
        let (since, _) = self.by_age.first()?;
        let due = since.checked_add(self.when.age?)?;
        Some(due.saturating_duration_since(now))
    }
}

/// Bytes of the stored events of a session from one seq to another.
fn stored_bytes(log: &dyn Log, session: Digest, first_seq: u64, last_seq: u64) -> Result<u64> {
    let range = key::seqs(key::Class::Frame, session, first_seq, last_seq, Order::Ascending);
    Scan::new(log, range)
        .try_fold(0, |bytes: u64, record| Ok(bytes.saturating_add(record?.value.len() as u64)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::GroupLink;
    use crate::log::{Batch, MemoryLog};

    fn session(number: usize) -> Digest {
        Digest::of_session(&number.to_string())
    }

    /// Puts a group of one commit into a log.
    fn add_group(log: &MemoryLog, position: u64, session: Digest, events: u32) {
        let commits = vec![(session, 1, events)];
        let group = GroupRecord { link: GroupLink::start([0; 16]), commits };
        put(log, position, group.to_bytes());
    }

    fn put(log: &MemoryLog, position: u64, value: Vec<u8>) {
        let mut batch = Batch::new();
        batch.insert(key::group(position), value);
        log.apply(&batch).unwrap();
    }

    #[test]
    fn every_event_is_counted_once_however_often_the_log_is_looked_at() {
        let (log, now) = (MemoryLog::new(), Instant::now());
        add_group(&log, 1, session(1), 3);
        add_group(&log, 4, session(1), 2);
        add_group(&log, 6, session(1), 1);
        let mut growth = Growth::new(AutoCompaction::new().after_events(6), 0);
        // The last group is there and readers may not see it yet.
        for _ in 0..10 {
            growth.look(&log, 5, now).unwrap();
            assert!(growth.take_due(now).is_empty());
        }
        growth.look(&log, 6, now).unwrap();
        assert_eq!(growth.take_due(now), [session(1)]);
        growth.look(&log, 6, now).unwrap();
        assert!(growth.take_due(now).is_empty() && growth.grown.is_empty());
    }

    #[test]
    fn a_damaged_group_is_passed_over_and_what_comes_behind_it_counts() {
        let (log, now) = (MemoryLog::new(), Instant::now());
        add_group(&log, 1, session(1), 2);
        put(&log, 3, b"damaged".to_vec());
        add_group(&log, 5, session(2), 3);
        let mut growth = Growth::new(AutoCompaction::new().after_events(3), 0);
        for _ in 0..10 {
            growth.look(&log, 7, now).unwrap();
        }
        assert_eq!(growth.take_due(now), [session(2)]);
        assert_eq!(growth.grown[&session(1)].events, 2);
    }

    #[test]
    fn it_counts_so_many_sessions_and_forgets_those_that_were_quiet_for_longest() {
        let (when, now) =
            (AutoCompaction::new().after_events(2).after(Duration::MAX), Instant::now());
        let mut growth = Growth::new(when, 0);
        let sessions: Vec<_> = (0..=AUTO_COMPACTION_SESSIONS_MAX).map(session).collect();
        // The first is due, and stays.
        growth.grow(sessions[0], 2, 0, now);
        for session in &sessions[1..] {
            growth.grow(*session, 1, 0, now);
        }
        let left = growth.grown.len();
        assert!((AUTO_COMPACTION_SESSIONS_MAX / 2..AUTO_COMPACTION_SESSIONS_MAX).contains(&left));
        assert_eq!(growth.by_age.len(), left);
        assert!(!growth.grown.contains_key(&sessions[1]));
        growth.grow(*sessions.last().unwrap(), 1, 0, now);
        let mut due = vec![sessions[0], *sessions.last().unwrap()];
        due.sort_unstable();
        assert_eq!(growth.take_due(now), due);
        assert_eq!(growth.by_age.len(), growth.grown.len());
    }

    #[test]
    fn the_oldest_is_due_first_and_an_age_beyond_every_clock_is_never_reached() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        for (age, due) in [(Duration::from_secs(10), true), (Duration::MAX, false)] {
            let mut growth = Growth::new(AutoCompaction::new().after(age), 0);
            assert_eq!(growth.next_due(start), None);
            growth.grow(session(1), 1, 0, start);
            growth.grow(session(2), 1, 0, later(5));
            growth.grow(session(1), 1, 0, later(6));
            assert_eq!(growth.next_due(later(7)), due.then_some(Duration::from_secs(3)));
            assert!(growth.take_due(later(9)).is_empty());
            assert_eq!(growth.take_due(later(10)), [session(1)][..usize::from(due)]);
            assert_eq!(growth.next_due(later(10)), due.then_some(Duration::from_secs(5)));
        }
    }
}
