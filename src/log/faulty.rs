//! A disk for tests that fails when it is told to, and forgets what was not synced.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Batch, Durability, Log, MemoryLog, Op, PageLimit, Range, Record};
use crate::error::{Error, Result};

/// A log in memory that behaves like one on a disk that fails.
///
/// What was appended with [`Durability::PowerLoss`] is synced. Whatever else it was given is
/// seen by every reader, and [`FaultyLog::crash`] may take it back: what is left of it is a
/// beginning, batch by batch. A batch whose sync failed is gone for later syncs, which succeed
/// without it, as on Linux.
///
/// Every choice comes from the seed, so the same calls meet the same faults.
///
/// ```
/// use std::sync::Arc;
/// use sessionlog::log::{Fault, FaultyLog};
/// use sessionlog::{Engine, ErrorKind};
///
/// let log = Arc::new(FaultyLog::new(7));
/// let engine = Engine::builder().open_log(log.clone())?;
/// let session = engine.session("s").open()?;
/// log.fail_next(Fault::Sync);
/// assert!(session.rename("lost?").and_then(|ticket| ticket.wait()).is_err());
/// let refused = session.rename("x")?.wait().unwrap_err();
/// assert!(matches!(refused.kind(), ErrorKind::Poisoned { .. }));
///
/// let engine = Engine::builder().open_log(Arc::new(log.crash()))?;
/// assert!(engine.session("s").open_existing()?.seq()? >= 1);
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug)]
pub struct FaultyLog {
    /// What a reader sees: the memory of the operating system.
    seen: MemoryLog,
    disk: Mutex<Disk>,
}

/// How an append fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Before anything was applied.
    Write,
    /// In the middle. A batch is applied whole or not at all, so it is one or the other, and
    /// the caller does not learn which.
    Tear,
    /// After all of it was applied: the sync failed, and nobody knows what is on disk.
    Sync,
}

/// How often something fails, out of a thousand times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRates {
    /// Appends, each time in a way that the seed picks.
    pub appends: u16,
    /// Reads.
    pub reads: u16,
}

#[derive(Debug)]
struct Disk {
    random: Random,
    rates: FaultRates,
    next: Option<Fault>,
    /// Reads that succeed before one fails.
    good_reads: Option<u64>,
    room_bytes: Option<u64>,
    /// What survives whatever happens.
    synced: MemoryLog,
    /// What came after that, in order.
    later: Vec<(Batch, Fate)>,
    syncs: u64,
    /// After a crash nothing more reaches this disk.
    is_gone: bool,
}

/// What becomes of a batch in a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It was synced, and something before it was not.
    Synced,
    /// Not synced yet: the next sync covers it.
    Unsynced,
    /// Its sync failed: no other covers it.
    Doubtful,
}

impl FaultyLog {
    /// An empty log that does not fail yet.
    pub fn new(seed: u64) -> Self {
        Self::holding(MemoryLog::new(), Random(seed), FaultRates::default())
    }

    fn holding(records: MemoryLog, random: Random, rates: FaultRates) -> Self {
        let disk = Disk {
            random,
            rates,
            next: None,
            good_reads: None,
            room_bytes: None,
            synced: records.copy(),
            later: Vec::new(),
            syncs: 0,
            is_gone: false,
        };
        Self { seen: records, disk: Mutex::new(disk) }
    }

    /// Lets the next append fail.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().next = Some(fault);
    }

    /// Lets one read fail, after so many that succeed.
    pub fn fail_read_after(&self, good_reads: u64) {
        self.lock().good_reads = Some(good_reads);
    }

    /// Lets appends and reads fail at random.
    pub fn fail_at(&self, rates: FaultRates) {
        self.lock().rates = rates;
    }

    /// How many bytes may still be written before the disk is full; `None` for any number.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.lock().room_bytes = bytes;
    }

    /// No fault but those that were met already.
    pub fn be_good(&self) {
        let mut disk = self.lock();
        disk.rates = FaultRates::default();
        (disk.next, disk.good_reads, disk.room_bytes) = (None, None, None);
    }

    /// How many appends were synced.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Cuts the power. This log answers nothing any more; the one returned holds what survived.
    #[must_use = "what survived is in the log that is returned"]
    pub fn crash(&self) -> Self {
        let mut disk = self.lock();
        disk.is_gone = true;
        let survivors = disk.synced.copy();
        let count = |wanted| disk.later.iter().filter(|(_, fate)| *fate == wanted).count() as u64;
        let (unsynced, doubtful) = (count(Fate::Unsynced), count(Fate::Doubtful));
        let mut unsynced_left = disk.random.below(unsynced + 1);
        let mut doubtful_left = disk.random.below(doubtful + 1);
        let mut synced_left = u64::MAX;
        for (batch, fate) in std::mem::take(&mut disk.later) {
            let left = match fate {
                Fate::Synced => &mut synced_left,
                Fate::Unsynced => &mut unsynced_left,
                Fate::Doubtful => &mut doubtful_left,
            };
            if *left > 0 {
                *left -= 1;
                survivors.change(&batch);
            }
        }
        Self::holding(survivors, disk.random.fork(), disk.rates)
    }

    /// The same log after a process ended and another one began: the operating system kept all
    /// that was applied, and has written it by now.
    #[must_use = "the log is in what is returned"]
    pub fn reopen(&self) -> Self {
        let mut disk = self.lock();
        disk.is_gone = true;
        Self::holding(self.seen.copy(), disk.random.fork(), disk.rates)
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        // Nothing panics while the lock is held, so a poisoned one is as good as any.
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_read(&self) -> Result<()> {
        let mut disk = self.lock();
        let is_due = disk.good_reads == Some(0);
        disk.good_reads = disk.good_reads.and_then(|reads| reads.checked_sub(1));
        let rate = disk.rates.reads;
        if disk.is_gone || is_due || disk.random.happens(rate) {
            return Err(failed("the read failed"));
        }
        Ok(())
    }
}

impl Disk {
    /// Takes a batch in as far as there is room.
    fn write(&mut self, seen: &MemoryLog, batch: &Batch, fate: Fate) -> Result<()> {
        if self.is_gone {
            return Err(failed("the power is off"));
        }
        if let Some(room) = self.room_bytes {
            let bytes = batch.ops().iter().map(Op::bytes).sum::<usize>() as u64;
            let left = room.checked_sub(bytes);
            self.room_bytes = Some(left.unwrap_or(0));
            if left.is_none() {
                return Err(Error::io(std::io::ErrorKind::StorageFull.into()));
            }
        }
        seen.change(batch);
        self.later.push((batch.clone(), fate));
        Ok(())
    }

    /// Makes everything survive that no failed sync has lost.
    fn sync(&mut self) {
        self.syncs += 1;
        for (_, fate) in &mut self.later {
            if *fate == Fate::Unsynced {
                *fate = Fate::Synced;
            }
        }
        let certain = self.later.iter().take_while(|(_, fate)| *fate == Fate::Synced).count();
        for (batch, _) in self.later.drain(..certain) {
            self.synced.change(&batch);
        }
    }

    /// What a sync that failed was given, no other sync covers.
    fn fail_sync(&mut self) {
        for (_, fate) in &mut self.later {
            if *fate == Fate::Unsynced {
                *fate = Fate::Doubtful;
            }
        }
    }

    /// How this append fails, if it does.
    fn fault(&mut self) -> Option<Fault> {
        let rate = self.rates.appends;
        let fault = match self.next.take() {
            Some(fault) => fault,
            None if !self.random.happens(rate) => return None,
            None => match self.random.below(3) {
                0 => Fault::Write,
                1 => Fault::Tear,
                _ => Fault::Sync,
            },
        };
        Some(match fault {
            Fault::Tear if self.random.happens(500) => Fault::Write,
            Fault::Tear => Fault::Sync,
            other => other,
        })
    }
}

impl Log for FaultyLog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.check_read()?;
        self.seen.get(key)
    }

    fn page(&self, range: &Range, limit: PageLimit) -> Result<Vec<Record>> {
        self.check_read()?;
        self.seen.page(range, limit)
    }

    fn append(&self, batch: &Batch, durability: Durability, mark: u64) -> Result<()> {
        let mut disk = self.lock();
        let fault = disk.fault();
        if fault == Some(Fault::Write) {
            return Err(failed("the write failed"));
        }
        disk.write(&self.seen, batch, Fate::Unsynced)?;
        if fault.is_some() {
            disk.fail_sync();
            return Err(failed("the sync failed"));
        }
        if durability == Durability::PowerLoss {
            disk.sync();
            self.seen.set_mark(mark);
            disk.synced.set_mark(mark);
        }
        Ok(())
    }

    fn apply(&self, batch: &Batch) -> Result<()> {
        self.lock().write(&self.seen, batch, Fate::Unsynced)
    }

    fn durable_mark(&self) -> Result<Option<u64>> {
        self.seen.durable_mark()
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.seen.disk_bytes()
    }
}

fn failed(words: &'static str) -> Error {
    Error::io(std::io::Error::other(words))
}

/// Sebastiano Vigna's `SplitMix64`: small, and the same everywhere.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn happens(&mut self, per_thousand: u16) -> bool {
        per_thousand > 0 && self.below(1_000) < u64::from(per_thousand)
    }

    fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(number: u8) -> Batch {
        let mut batch = Batch::new();
        batch.replace(vec![number], vec![number]);
        batch.replace(vec![0], vec![number]);
        batch
    }

    /// The batches that are there, and what the last of them wrote over the others.
    fn found(log: &FaultyLog) -> (Vec<u8>, Option<u8>) {
        let numbers = (1..10).filter(|number| log.get(&[*number]).unwrap().is_some()).collect();
        (numbers, log.get(&[0]).unwrap().map(|value| value[0]))
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_beginning_of_the_rest() {
        let mut lengths = [false; 4];
        for seed in 0..50 {
            let log = FaultyLog::new(seed);
            log.apply(&batch(1)).unwrap();
            log.append(&batch(2), Durability::PowerLoss, 2).unwrap();
            log.append(&batch(3), Durability::ProcessCrash, 3).unwrap();
            log.apply(&batch(4)).unwrap();
            log.apply(&batch(5)).unwrap();
            assert_eq!(log.durable_mark().unwrap(), Some(2));
            let after = log.crash();
            assert!(log.get(&[1]).is_err() && log.apply(&batch(6)).is_err());
            let (numbers, last) = found(&after);
            assert!([1, 2, 3, 4, 5].starts_with(&numbers), "{numbers:?}");
            assert_eq!(last.as_ref(), numbers.last());
            lengths[numbers.len() - 2] = true;
        }
        assert_eq!(lengths, [true; 4]);
    }

    #[test]
    fn what_a_failed_sync_was_given_no_later_one_saves() {
        let mut outcomes = [false; 2];
        for seed in 0..20 {
            let log = FaultyLog::new(seed);
            log.append(&batch(1), Durability::PowerLoss, 1).unwrap();
            log.fail_next(Fault::Sync);
            log.append(&batch(2), Durability::PowerLoss, 2).unwrap_err();
            log.append(&batch(3), Durability::PowerLoss, 3).unwrap();
            assert_eq!(found(&log), (vec![1, 2, 3], Some(3)));
            let (numbers, last) = found(&log.crash());
            assert!(numbers == [1, 3] || numbers == [1, 2, 3]);
            assert_eq!(last, Some(3));
            outcomes[numbers.len() - 2] = true;
        }
        assert_eq!(outcomes, [true; 2]);
    }

    #[test]
    fn a_torn_append_is_whole_or_nothing_and_a_failed_write_nothing() {
        let mut outcomes = [false; 2];
        for seed in 0..20 {
            let log = FaultyLog::new(seed);
            log.fail_next(Fault::Write);
            log.append(&batch(1), Durability::PowerLoss, 1).unwrap_err();
            assert_eq!(found(&log), (vec![], None));
            log.fail_next(Fault::Tear);
            log.append(&batch(1), Durability::PowerLoss, 1).unwrap_err();
            let (numbers, last) = found(&log.reopen());
            assert_eq!(last.as_ref(), numbers.first());
            outcomes[numbers.len()] = true;
        }
        assert_eq!(outcomes, [true; 2]);
    }

    #[test]
    fn a_full_disk_takes_no_part_of_a_batch_and_goes_on_when_there_is_room() {
        let log = FaultyLog::new(1);
        log.set_room(Some(10));
        log.append(&batch(1), Durability::PowerLoss, 1).unwrap();
        log.append(&batch(2), Durability::PowerLoss, 2).unwrap();
        let error = log.append(&batch(3), Durability::PowerLoss, 3).unwrap_err();
        assert_eq!(error.to_string(), "no storage space");
        assert_eq!(found(&log), (vec![1, 2], Some(2)));
        log.set_room(None);
        log.append(&batch(3), Durability::PowerLoss, 3).unwrap();
    }

    #[test]
    fn the_same_seed_meets_the_same_faults() {
        let outcomes = |seed| -> Vec<bool> {
            let log = FaultyLog::new(seed);
            log.fail_at(FaultRates { appends: 300, reads: 300 });
            let append = |number| log.append(&batch(number), Durability::PowerLoss, 0).is_ok();
            (1..60).flat_map(|number| [append(number), log.get(&[1]).is_ok()]).collect()
        };
        assert_eq!(outcomes(5), outcomes(5));
        assert_ne!(outcomes(5), outcomes(6));
        assert!(outcomes(5).contains(&true) && outcomes(5).contains(&false));
    }
}
