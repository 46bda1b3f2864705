//! Where a run ends and the next one begins: at what the person says.

use std::collections::HashMap;

use super::conversation::Entry;
use crate::message::Metrics;

/// A run that is being filled with messages.
///
/// What the person says begins a run, all of it if it is several messages; what stands before
/// the first word of the person belongs to the first run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Turn {
    has_user: bool,
    ends_in_user: bool,
}

impl Turn {
    /// Whether a message begins the next run.
    pub(super) fn ends_before(self, is_user: bool) -> bool {
        is_user && self.has_user && !self.ends_in_user
    }

    pub(super) fn add(&mut self, is_user: bool) {
        self.has_user |= is_user;
        self.ends_in_user = is_user;
    }
}

/// The runs of a conversation. What is behind a message never changes which run it is in.
#[derive(Debug, Default)]
pub(super) struct RunPlan {
    /// For each message the number of its run, from 1.
    pub(super) numbers: Vec<u64>,
    /// What each run spent.
    spent: HashMap<u64, Metrics>,
}

impl RunPlan {
    pub(super) fn of(entries: &[Entry]) -> Self {
        Self::counting(entries, |_| true)
    }

    /// The same, where only some of the messages count for what was spent: those at the places
    /// that `counts` says.
    pub(super) fn counting(entries: &[Entry], counts: impl Fn(usize) -> bool) -> Self {
        let mut plan = Self::default();
        let (mut number, mut turn) = (1, Turn::default());
        let mut responses = HashMap::new();
        for (at, entry) in entries.iter().enumerate() {
            if turn.ends_before(entry.is_user) {
                number += 1;
                turn = Turn::default();
            }
            turn.add(entry.is_user);
            plan.numbers.push(number);
            let Some(spent) = entry.spent.as_ref().filter(|_| counts(at)) else { continue };
            match &spent.response_id {
                // While a response streams its records say what it spent so far, so the last
                // one counts.
                Some(id) => {
                    let (run, metrics) = responses.entry(id).or_insert((number, spent.metrics));
                    if *run == number {
                        *metrics = spent.metrics;
                    }
                }
                None => plan.spent.entry(number).or_default().add(&spent.metrics),
            }
        }
        for (number, metrics) in responses.into_values() {
            plan.spent.entry(number).or_default().add(&metrics);
        }
        plan
    }

    /// How many runs there are.
    pub(super) fn count(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// What a run spent, if its messages say so.
    pub(super) fn metrics(&self, number: u64) -> Option<Metrics> {
        self.spent.get(&number).filter(|metrics| !metrics.is_empty()).copied()
    }
}
