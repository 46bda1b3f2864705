//! What goes from a session: decided from its events, in the order in which they were stored.

use std::collections::{BTreeMap, BinaryHeap, HashMap};

use super::reduce::{Calls, Reduction};
use super::{Policies, Rules};
use crate::event::{Event, EventBody, KeepRuns, OlderRuns, Policy, RunStatus};
use crate::id::Digest;
use crate::message::{Message, Pairing, Role};

/// Takes the events of a session in and says what goes.
///
/// What goes depends on what follows an event, and only ever more of it goes the more follows:
/// so a session whose runs were compacted as they ended is the same as one that is compacted at
/// once. What rewinds left behind is looked at like all else, because it can be gone back to.
#[derive(Debug)]
pub(crate) struct Planner {
    policies: Policies,
    runs: Vec<Run>,
    /// The run that an id means now.
    current: HashMap<Digest, usize>,
    /// Events of which something may go.
    events: Vec<Seen>,
    /// The results that answer a call, by the call's message.
    answers: BTreeMap<u64, Vec<Answer>>,
    /// Where the responses begin that made calls under an id, and their runs. What is answered by
    /// now may still be there.
    callers: HashMap<String, BinaryHeap<(u64, usize)>>,
    now: Standing,
    /// How the session stood from a seq on, for rewinds.
    stood: Vec<(u64, Standing)>,
    /// Top-level runs, each with the one before it that counts with it.
    starts: Vec<(usize, Option<usize>)>,
}

/// What counts at a seq.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// The last top-level run, by its place among the starts.
    last_start: Option<usize>,
    /// The newest system message, which every window needs.
    system: Option<u64>,
}

#[derive(Debug)]
struct Run {
    first_seq: u64,
    is_top_level: bool,
    policy: Policy,
    status: RunStatus,
    /// The last time it ended for good.
    ended_at: u64,
    pairing: Pairing<u64>,
}

#[derive(Debug)]
struct Seen {
    seq: u64,
    run: Option<usize>,
    kind: SeenKind,
}

#[derive(Debug)]
enum SeenKind {
    Message(CallsOf),
    Other,
}

/// Who makes a message's calls.
#[derive(Debug)]
enum CallsOf {
    Nobody,
    /// A model.
    Model,
    /// Someone who makes no calls, so that nothing can answer them.
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Answer {
    call: usize,
    result: u64,
}

/// Events that must change together: a message and the results of its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit(pub(crate) Vec<(u64, Reduction)>);

impl Planner {
    pub(crate) fn new(policies: Policies) -> Self {
        Self {
            policies,
            runs: Vec::new(),
            current: HashMap::new(),
            events: Vec::new(),
            answers: BTreeMap::new(),
            callers: HashMap::new(),
            now: Standing::default(),
            stood: Vec::new(),
            starts: Vec::new(),
        }
    }

    /// Takes the next event in.
    pub(crate) fn take(&mut self, event: &Event) {
        if let EventBody::RunStarted(started) = &event.body {
            if started.parent_run_id.is_none() {
                self.starts.push((self.runs.len(), self.now.last_start));
                self.now.last_start = Some(self.starts.len() - 1);
                self.stood.push((event.seq, self.now));
            }
            self.current.insert(event.run, self.runs.len());
            self.runs.push(Run::new(event.seq, started.parent_run_id.is_none()));
        } else if !event.run.is_none() && !self.current.contains_key(&event.run) {
            // It began before the first event that was looked at.
            self.current.insert(event.run, self.runs.len());
            self.runs.push(Run::new(event.seq, false));
        }
        let run = self.current.get(&event.run).copied();
        if let Some(run) = run.and_then(|at| self.runs.get_mut(at)) {
            run.apply(event);
        }
        let kind = match &event.body {
            EventBody::MessageAdded(added) => self.message(&added.message, event.seq, run),
            EventBody::RunStarted(_)
            | EventBody::ToolExecuted(_)
            | EventBody::RunPaused(_)
            | EventBody::RunFinished(_)
            | EventBody::ImportedFrom(_) => SeenKind::Other,
            EventBody::Deleted(_) => return self.forget(),
            EventBody::RewoundTo(rewound) => return self.go_back(event.seq, rewound.seq),
            _ => return,
        };
        self.events.push(Seen { seq: event.seq, run, kind });
    }

    /// What is before a deletion is no part of the session.
    fn forget(&mut self) {
        *self = Self::new(self.policies);
    }

    fn go_back(&mut self, at: u64, to: u64) {
        let before = self.stood.partition_point(|(seq, _)| *seq <= to);
        let stood = before.checked_sub(1).and_then(|at| self.stood.get(at));
        self.now = stood.map(|(_, standing)| *standing).unwrap_or_default();
        self.stood.push((at, self.now));
    }

    fn message(&mut self, message: &Message, seq: u64, run: Option<usize>) -> SeenKind {
        if message.role == Role::System
            && !message.from_history
            && !message.omitted.message
            && run.and_then(|at| self.runs.get(at)).is_some_and(|run| run.is_top_level)
        {
            self.now.system = Some(seq);
            self.stood.push((seq, self.now));
        }
        // A copy of an earlier run's message neither calls nor answers.
        if !message.from_history
            && let Some((at, call)) = self.pair(message, seq, run)
        {
            self.answers.entry(at).or_default().push(Answer { call, result: seq });
        }
        let calls_of = match message.tool_calls.len() {
            0 => CallsOf::Nobody,
            _ if message.role == Role::Assistant && !message.from_history => CallsOf::Model,
            _ => CallsOf::Other,
        };
        SeenKind::Message(calls_of)
    }

    /// The call that a message answers: of its own run, or else the nearest of another. So what
    /// is left when a call and its result are gone pairs as it did before.
    fn pair(&mut self, message: &Message, seq: u64, run: Option<usize>) -> Option<(u64, usize)> {
        let run = run?;
        let pairing = &mut self.runs.get_mut(run)?.pairing;
        let found = pairing.take(message, seq);
        let is_model = message.role == Role::Assistant;
        let calls = message.tool_calls.iter().filter(|_| is_model);
        for id in calls.filter_map(|call| call.id.as_deref()) {
            if let Some(begins) = pairing.begins(id) {
                self.callers.entry(id.to_owned()).or_default().push((begins, run));
            }
        }
        if found.is_some() || message.role != Role::Tool {
            return found;
        }
        let id = message.tool_call_id.as_deref()?;
        let callers = self.callers.get_mut(id)?;
        while let Some((begins, run)) = callers.peek().copied() {
            let pairing = &mut self.runs.get_mut(run)?.pairing;
            if pairing.begins(id) == Some(begins) {
                return pairing.answer(id);
            }
            callers.pop();
        }
        None
    }

    /// What goes, by seq.
    pub(crate) fn finish(self) -> Plan {
        let cutoffs: Vec<_> =
            self.policies.keep_runs().filter_map(|keep| self.cutoff(keep)).collect();
        let mut reductions = BTreeMap::new();
        for event in &self.events {
            let run = event.run.and_then(|at| self.runs.get(at));
            let rules = self.policies.of_run(&run.map(|run| run.policy).unwrap_or_default());
            let mut reduction = Reduction {
                media: !rules.media,
                tools: !rules.tools,
                history: !rules.history,
                calls: self.calls(event, run, rules),
                run: None,
                is_arrival: false,
            };
            if let Some(run) = run.filter(|run| run.is_over())
                && self.now.system != Some(event.seq)
            {
                let before = cutoffs.iter().filter(|(seq, _)| run.first_seq < *seq);
                reduction.run = before.map(|(_, older)| *older).max();
            }
            if !reduction.is_empty() {
                reductions.insert(event.seq, reduction);
            }
        }
        Plan { reductions, answers: self.answers }
    }

    fn calls(&self, event: &Seen, run: Option<&Run>, rules: Rules) -> Calls {
        let SeenKind::Message(calls_of) = &event.kind else { return Calls::Stay };
        let is_ended = run.is_none_or(|run| run.ended_at > event.seq);
        match calls_of {
            _ if rules.tools => Calls::Stay,
            CallsOf::Nobody => Calls::Stay,
            CallsOf::Other => Calls::All,
            CallsOf::Model if is_ended => Calls::All,
            CallsOf::Model => {
                let answers = self.answers.get(&event.seq).map(Vec::as_slice).unwrap_or_default();
                let mut calls: Vec<usize> = answers.iter().map(|answer| answer.call).collect();
                calls.sort_unstable();
                if calls.is_empty() { Calls::Stay } else { Calls::Some(calls) }
            }
        }
    }

    /// Where the runs begin that are kept whole, and what becomes of those before.
    fn cutoff(&self, keep: KeepRuns) -> Option<(u64, OlderRuns)> {
        let KeepRuns::Last { runs, older } = keep else { return None };
        let mut at = self.now.last_start?;
        for _ in 1..runs {
            match self.starts.get(at) {
                Some((_, Some(before))) => at = *before,
                _ => return None,
            }
        }
        let (first, _) = self.starts.get(at)?;
        Some((self.runs.get(*first)?.first_seq, older))
    }
}

impl Run {
    fn new(first_seq: u64, is_top_level: bool) -> Self {
        Self {
            first_seq,
            is_top_level,
            policy: Policy::default(),
            status: RunStatus::Running,
            ended_at: 0,
            pairing: Pairing::default(),
        }
    }

    fn apply(&mut self, event: &Event) {
        match &event.body {
            EventBody::PolicySet(set) => self.policy = set.policy,
            EventBody::RunPaused(_) => self.status = RunStatus::Paused,
            EventBody::RunResumed(_) => self.status = RunStatus::Running,
            EventBody::RunFinished(finished) => {
                self.status = finished.status;
                if finished.status != RunStatus::Interrupted {
                    self.ended_at = event.seq;
                    // Its calls leave here, so what comes later answers others.
                    self.pairing = Pairing::default();
                }
            }
            _ => {}
        }
    }

    /// Whether nobody waits to go on with it.
    fn is_over(&self) -> bool {
        self.status.is_terminal()
    }
}

/// What goes from a session.
#[derive(Debug)]
pub(crate) struct Plan {
    reductions: BTreeMap<u64, Reduction>,
    answers: BTreeMap<u64, Vec<Answer>>,
}

impl Plan {
    /// What goes from the event of a seq.
    pub(crate) fn of(&self, seq: u64) -> Option<&Reduction> {
        self.reductions.get(&seq)
    }

    /// Of how many events something may go, from a seq on.
    pub(crate) fn len_from(&self, first_seq: u64) -> u64 {
        self.reductions.range(first_seq..).count() as u64
    }

    /// Leaves of each event in a range what another plan, of a session that shares it, keeps.
    pub(crate) fn meet(&mut self, last_seq: u64, other: &Self) {
        self.reductions.retain(|seq, reduction| {
            if *seq <= last_seq {
                let theirs = other.of(*seq).cloned().unwrap_or_default();
                *reduction = reduction.meet(&theirs);
            }
            !reduction.is_empty()
        });
    }

    /// What goes between two seqs, in order; what must change together is together.
    pub(crate) fn units(&self, first_seq: u64, last_seq: u64) -> Vec<Unit> {
        let mut partners: BTreeMap<u64, u64> = BTreeMap::new();
        for (call, answers) in &self.answers {
            for answer in answers {
                partners.insert(answer.result, *call);
            }
        }
        let mut units: BTreeMap<u64, Unit> = BTreeMap::new();
        for (seq, reduction) in self.reductions.range(first_seq..=last_seq) {
            let at = partners.get(seq).filter(|call| (first_seq..).contains(*call));
            let unit = units.entry(*at.unwrap_or(seq)).or_insert_with(|| Unit(Vec::new()));
            unit.0.push((*seq, reduction.clone()));
        }
        units.into_values().collect()
    }
}
