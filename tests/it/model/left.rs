//! What is left of what was said: the rules of policies and erasure, as they are documented.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sessionlog::{Digest, KeepRuns, OlderRuns, Policy};

use super::plain::{Fact, Model, Session, Who, session_id};

/// What is left of the words of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Left {
    #[default]
    All,
    /// One or the other: what should have taken them may have broken off before.
    Perhaps,
    Nothing,
}

/// What is kept, as far as the model knows policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Keep {
    pub(super) tools: Option<bool>,
    pub(super) history: Option<bool>,
    /// How many runs are kept whole, and whether the others are dropped.
    pub(super) runs: Option<(u64, bool)>,
}

impl Keep {
    pub(super) fn policy(self) -> Policy {
        let keep_runs = self.runs.map(|(runs, drops)| {
            let older = if drops { OlderRuns::Dropped } else { OlderRuns::Reduced };
            KeepRuns::Last { runs, older }
        });
        Policy {
            store_media: None,
            store_tool_messages: self.tools,
            store_history_messages: self.history,
            keep_runs,
        }
    }

    fn or(self, wider: Self) -> Self {
        Self { tools: self.tools.or(wider.tools), history: self.history.or(wider.history), ..self }
    }
}

/// Why the words of an event go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Why {
    tools: bool,
    history: bool,
    older: bool,
}

impl Why {
    /// What a run and a session say, and what is asked for besides.
    fn of(fact: &Fact, rules: Keep, asked: Keep) -> Self {
        let goes =
            |of: fn(&Keep) -> Option<bool>| of(&rules) == Some(false) || of(&asked) == Some(false);
        let is_tool = matches!(fact, Fact::Tool { .. } | Fact::Message { who: Who::Tool, .. });
        let is_copy = matches!(fact, Fact::Message { who: Who::Copy, .. });
        Self {
            tools: is_tool && goes(|keep| keep.tools),
            history: is_copy && goes(|keep| keep.history),
            older: false,
        }
    }

    fn meet(self, other: Self) -> Self {
        Self {
            tools: self.tools && other.tools,
            history: self.history && other.history,
            older: self.older && other.older,
        }
    }

    fn goes(self) -> bool {
        self.tools || self.history || self.older
    }
}

/// Whether the words of a fact that was just added are left out.
pub(super) fn goes_on_arrival(session: &Session, fact: &Fact) -> bool {
    let run = fact.run().and_then(|run| session.runs.get(run));
    let rules = run.map(|run| run.keep).unwrap_or_default().or(session.keep);
    fact.words().is_some() && Why::of(fact, rules, Keep::default()).goes()
}

/// Whether the end of a run may take calls and results that are stored.
pub(super) fn may_settle(session: &Session, facts: &[Fact]) -> bool {
    facts.iter().any(|fact| match fact {
        Fact::Finished { run, .. } | Fact::Paused { run } => {
            let run = session.runs.get(run).map(|run| run.keep).unwrap_or_default();
            run.or(session.keep).tools == Some(false)
        }
        _ => false,
    })
}

/// What is left of an event that was erased.
pub(super) fn erase(fact: &mut Fact) {
    if let Fact::Summary { .. } | Fact::Renamed { .. } = fact {
        *fact = Fact::Gone;
    }
}

#[derive(Clone, Copy, Default)]
struct LinearRun {
    first_seq: u64,
    keep: Keep,
    is_over: bool,
}

impl Model {
    /// What a session would let go, by seq; of what rewinds left behind too.
    fn goes(&self, session: &Session, asked: Keep) -> BTreeMap<u64, Why> {
        let mut runs: Vec<LinearRun> = Vec::new();
        let mut now: HashMap<&str, usize> = HashMap::new();
        let mut seen = Vec::new();
        for (seq, fact) in (1..).zip(&session.facts) {
            let Some(name) = fact.run() else { continue };
            if let Fact::Started { .. } = fact {
                now.insert(name, runs.len());
                runs.push(LinearRun { first_seq: seq, ..LinearRun::default() });
            }
            let at = now[name];
            let run = &mut runs[at];
            match fact {
                Fact::Policy { keep, .. } => run.keep = *keep,
                Fact::Finished { .. } => run.is_over = true,
                Fact::Paused { .. } | Fact::Resumed { .. } => run.is_over = false,
                _ if fact.words().is_some() => seen.push((seq, fact, at)),
                _ => {}
            }
        }
        // Of two numbers the smaller: what is asked for keeps nothing that the session lets go.
        let kept = asked.runs.into_iter().chain(session.keep.runs).map(|(kept, _)| kept).min();
        let kept = kept.map(|kept| kept as usize);
        let at = kept.and_then(|kept| session.starts.len().checked_sub(kept));
        let cutoff = at.map_or(0, |at| session.starts[at]);
        let is_there = |seq: &&u64| {
            let left = self.left.get(&(session.holder(**seq), **seq));
            left.copied().unwrap_or_default() == Left::All
        };
        let system = session.systems.iter().rfind(is_there);
        seen.into_iter()
            .map(|(seq, fact, at)| {
                let run = runs[at];
                let mut why = Why::of(fact, run.keep.or(session.keep), asked);
                why.older = run.first_seq < cutoff && run.is_over && system != Some(&seq);
                (seq, why)
            })
            .collect()
    }

    /// The seqs whose words a compaction takes from a session's own stream: what it shares goes
    /// as far as all who share it agree.
    pub(super) fn compacts(&self, number: u8, named: &BTreeSet<u8>, asked: Keep) -> Vec<u64> {
        let session = &self.sessions[&number];
        let mut goes = self.goes(session, asked);
        for (other, sharer) in &self.sessions {
            let shared = sharer.streams.iter().find(|(stream, _)| *stream == number);
            let Some((_, last)) = shared.filter(|_| *other != number) else { continue };
            let asked = if named.contains(other) { asked } else { Keep::default() };
            let theirs = self.goes(sharer, asked);
            for (seq, why) in goes.range_mut(..=last) {
                *why = why.meet(theirs.get(seq).copied().unwrap_or_default());
            }
        }
        let own = session.own();
        let gone = |seq: &u64| self.left.get(&(number, *seq)) == Some(&Left::Nothing);
        goes.into_iter()
            .filter(|(seq, why)| own.contains(seq) && why.goes() && !gone(seq))
            .map(|(seq, _)| seq)
            .collect()
    }

    /// The session that a seq of a stream is of: of one that was deleted, what others share.
    pub(super) fn session_with(&self, number: u8, seq: u64) -> Option<Session> {
        if let Some(session) = self.session(number).filter(|session| session.first_seq <= seq) {
            return Some(session.clone());
        }
        let mut former = self.former.iter().filter(|(it, _)| *it == number);
        let (_, former) = former.find(|(_, session)| (1..session.seq()).contains(&seq))?;
        let shared = self.sessions.values().flat_map(|session| &session.streams);
        let shared = shared.filter(|(it, last)| *it == number && *last < former.seq());
        let kept = shared.map(|(_, last)| *last).max().filter(|kept| *kept >= seq)?;
        Some(former.at(kept))
    }

    /// Whether a seq of a stream is of a session that was deleted.
    pub(super) fn is_former(&self, number: u8, seq: u64) -> bool {
        self.session(number).is_none_or(|session| session.first_seq > seq)
    }

    /// What an erasure takes of each stream, in the order in which it takes it; of whoever holds
    /// what is asked for, and of whoever shares it, deleted or not.
    pub(super) fn erases(
        &self,
        (holder, wanted): (u8, u64),
        is_asked: &dyn Fn(u64, &Fact) -> bool,
    ) -> Vec<(u8, Vec<u64>)> {
        let Some(session) = self.session_with(holder, wanted) else { return Vec::new() };
        let mut taken: BTreeMap<(u8, u64), bool> = BTreeMap::new();
        let mut said: BTreeSet<(bool, String)> = BTreeSet::new();
        let own = self.erase_from((holder, &session), is_asked, &mut taken, &mut said);
        let shared = own.first().copied().unwrap_or(u64::MAX)..=session.seq();
        let mut all = vec![(holder, own)];
        let mut forks: BTreeMap<u8, Session> = BTreeMap::new();
        for (number, sharer) in &self.sessions {
            let before = sharer.streams.split_last().map_or(&[][..], |(_, before)| before);
            let at = before.iter().position(|(it, last)| *it == holder && shared.contains(last));
            let Some(at) = at else { continue };
            forks.insert(*number, sharer.clone());
            for (between, last) in before.iter().skip(at + 1) {
                if self.is_former(*between, *last) {
                    forks.extend(self.session_with(*between, *last).map(|it| (*between, it)));
                }
            }
        }
        let mut forks: Vec<_> = forks.into_iter().collect();
        forks.sort_by_key(|(number, session)| {
            (session.streams.len(), Digest::of_session(&session_id(*number)).to_bytes())
        });
        for (number, session) in forks {
            let mut said = said.clone();
            let taken = self.erase_from((number, &session), is_asked, &mut taken, &mut said);
            all.push((number, taken));
        }
        all
    }

    /// Takes it from one stream. `taken` says of each what went, and whether all of it did.
    fn erase_from(
        &self,
        (number, session): (u8, &Session),
        is_asked: &dyn Fn(u64, &Fact) -> bool,
        taken: &mut BTreeMap<(u8, u64), bool>,
        said: &mut BTreeSet<(bool, String)>,
    ) -> Vec<u64> {
        let own = session.own();
        let facts = || (1..).zip(&session.facts);
        // What the shared part says of it was said there.
        for (seq, fact) in facts() {
            let Fact::Message { text, who, .. } = fact else {
                if own.contains(&seq) && is_asked(seq, fact) {
                    taken.insert((number, seq), true);
                }
                continue;
            };
            let holder = session.holder(seq);
            let is_there = self.left.get(&(holder, seq)) != Some(&Left::Nothing);
            let is_user = matches!(who, Who::User | Who::Copy);
            let is_copy = is_there && *who == Who::Copy && said.contains(&(true, text.clone()));
            if own.contains(&seq) && (is_asked(seq, fact) || is_copy) {
                taken.insert((number, seq), true);
            }
            if taken.contains_key(&(holder, seq)) && is_there {
                said.insert((is_user, text.clone()));
            }
        }
        let is_taken = |taken: &BTreeMap<(u8, u64), bool>, seq: u64| {
            taken.get(&(session.holder(seq), seq)) == Some(&true)
        };
        for (seq, fact) in facts().filter(|(seq, _)| own.contains(seq)) {
            let goes = match fact {
                Fact::Summary { first_seq, last_seq, .. } => {
                    (*first_seq..=(*last_seq).min(session.seq())).any(|seq| is_taken(taken, seq))
                }
                // What is left of it is its manifest, without the digest of what went.
                Fact::Context(seqs) => seqs.iter().any(|seq| is_taken(taken, *seq)),
                Fact::Renamed { is_generated: true, .. } => {
                    (session.first_seq..seq).any(|seq| is_taken(taken, seq))
                }
                _ => false,
            };
            if goes {
                let is_all = !matches!(fact, Fact::Context(_));
                taken.insert((number, seq), is_all);
            }
        }
        taken.keys().filter(|(stream, _)| *stream == number).map(|(_, seq)| *seq).collect()
    }
}
