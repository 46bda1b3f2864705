//! The plain list: which commits there are, what each of their events should be, and what
//! follows from them. It shares no code with the engine's own folds.

use std::collections::{BTreeMap, BTreeSet};

use sessionlog::limits::VIEW_SUMMARIES_MAX;
use sessionlog::{Digest, Event, EventBody, EventId, RunStatus};

use super::left::{self, Keep, Left};
use super::ops::Change;
use super::view::View;

/// What an event should be, as far as the model compares it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Created,
    Renamed {
        name: String,
        is_generated: bool,
    },
    Owner(Option<&'static str>),
    State(Change, u64),
    Metadata(Change, u64),
    Started {
        run: String,
        is_member: bool,
    },
    Message {
        run: String,
        text: String,
        calls: u64,
        who: Who,
    },
    Tool {
        run: String,
        result: String,
    },
    Paused {
        run: String,
    },
    Resumed {
        run: String,
    },
    Finished {
        run: String,
        status: RunStatus,
        tokens: u64,
    },
    Summary {
        text: String,
        first_seq: u64,
        last_seq: u64,
    },
    Withdrawn(u64),
    Context(Vec<u64>),
    Custom(u64),
    Forked {
        parent: u8,
        seq: u64,
        owner: Option<&'static str>,
    },
    WentBack(u64),
    Policy {
        run: Option<String>,
        keep: Keep,
    },
    /// Of these seqs of its own stream the words went, or may have gone.
    Compacted {
        must: Vec<u64>,
        may: Vec<u64>,
    },
    /// Of these seqs of its own stream the content went.
    Erased(Vec<u64>),
    Deleted,
    /// It was before a deletion under the same id, or is erased.
    Gone,
}

/// Who says a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    User,
    Assistant,
    Tool,
    System,
    /// A user, in an earlier run.
    Copy,
}

impl Fact {
    /// The run it belongs to.
    pub(super) fn run(&self) -> Option<&str> {
        match self {
            Self::Started { run, .. }
            | Self::Message { run, .. }
            | Self::Tool { run, .. }
            | Self::Paused { run }
            | Self::Resumed { run }
            | Self::Finished { run, .. } => Some(run),
            Self::Policy { run, .. } => run.as_deref(),
            _ => None,
        }
    }

    /// What can go from it while it stays.
    pub(super) fn words(&self) -> Option<&str> {
        match self {
            Self::Message { text, .. } => Some(text),
            Self::Tool { result, .. } => Some(result),
            _ => None,
        }
    }

    /// One line that stands for it, without what can go from it.
    pub(super) fn sketch(&self) -> String {
        let run = self.run().map_or(Digest::NONE, Digest::of_run);
        let words = match self {
            Self::Created => "created".to_owned(),
            Self::Renamed { name, .. } => format!("renamed {name}"),
            Self::Owner(owner) => format!("owner {owner:?}"),
            Self::State(..) => "state".to_owned(),
            Self::Metadata(..) => "metadata".to_owned(),
            Self::Started { run, is_member } => format!("started {run} {is_member}"),
            Self::Message { calls, .. } => format!("message {calls}"),
            Self::Tool { .. } => "tool".to_owned(),
            Self::Paused { .. } => "paused".to_owned(),
            Self::Resumed { .. } => "resumed".to_owned(),
            Self::Finished { status, tokens, .. } => format!("finished {status} {tokens}"),
            Self::Summary { text, .. } => format!("summary {text}"),
            Self::Withdrawn(seq) => format!("withdrawn {seq}"),
            Self::Context(seqs) => format!("context {seqs:?}"),
            Self::Custom(number) => format!("custom {number}"),
            Self::Forked { parent, seq, owner } => {
                format!("forked {} {seq} {owner:?}", session_id(*parent))
            }
            Self::WentBack(seq) => format!("went back {seq}"),
            Self::Policy { .. } => "policy".to_owned(),
            Self::Compacted { .. } => "compacted".to_owned(),
            Self::Erased(_) => "erased".to_owned(),
            Self::Deleted => "deleted".to_owned(),
            Self::Gone => "gone".to_owned(),
        };
        format!("{run} {words}")
    }
}

/// The same line, of an event as it was read.
pub(super) fn sketch(event: &Event) -> String {
    let words = match &event.body {
        EventBody::Created(_) => "created".to_owned(),
        EventBody::Renamed(renamed) => format!("renamed {}", renamed.name.as_ref().unwrap()),
        EventBody::OwnerChanged(changed) => format!("owner {:?}", changed.user_id),
        EventBody::StateChanged(_) => "state".to_owned(),
        EventBody::MetadataChanged(_) => "metadata".to_owned(),
        EventBody::RunStarted(started) => {
            format!("started {} {}", started.run_id, started.parent_run_id.is_some())
        }
        EventBody::MessageAdded(added) => {
            let message = &added.message;
            let left_out = u64::from(message.omitted.tool_calls);
            format!("message {}", message.tool_calls.len() as u64 + left_out)
        }
        EventBody::ToolExecuted(_) => "tool".to_owned(),
        EventBody::RunPaused(_) => "paused".to_owned(),
        EventBody::RunResumed(_) => "resumed".to_owned(),
        EventBody::RunFinished(finished) => {
            let tokens = finished.metrics.map_or(0, |metrics| metrics.total_tokens);
            format!("finished {} {tokens}", finished.status)
        }
        EventBody::SummaryWritten(written) => format!("summary {}", written.summary),
        EventBody::SummaryWithdrawn(withdrawn) => format!("withdrawn {}", withdrawn.seq),
        EventBody::ContextRecorded(context) => {
            format!("context {:?}", context.history().collect::<Vec<_>>())
        }
        EventBody::Custom(custom) => format!("custom {}", custom.data.as_str()),
        EventBody::ForkedFrom(forked) => {
            format!("forked {} {} {:?}", forked.parent_session_id, forked.seq, forked.user_id)
        }
        EventBody::RewoundTo(rewound) => format!("went back {}", rewound.seq),
        EventBody::PolicySet(_) => "policy".to_owned(),
        EventBody::Compacted(_) => "compacted".to_owned(),
        EventBody::Erased(_) => "erased".to_owned(),
        EventBody::Deleted(_) => "deleted".to_owned(),
        EventBody::Gone(_) => "gone".to_owned(),
        other => format!("unexpected {}", other.kind()),
    };
    format!("{} {words}", event.run)
}

/// The words of an event that can go from it; `None` where they went.
pub(super) fn words(event: &Event) -> Option<String> {
    match &event.body {
        EventBody::MessageAdded(added) if !added.message.omitted.message => {
            Some(added.message.content.text())
        }
        EventBody::ToolExecuted(tool) => tool.result.clone(),
        _ => None,
    }
}

/// The events of one append: all of them are there or none.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) session: u8,
    pub(super) facts: Vec<Fact>,
    /// The callers' ids of its events, where there are any.
    pub(super) ids: Vec<EventId>,
}

/// A run as the model knows it.
#[derive(Debug, Clone)]
pub(super) struct Run {
    status: RunStatus,
    is_member: bool,
    tokens: u64,
    pub(super) keep: Keep,
}

/// A session as the model knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) facts: Vec<Fact>,
    /// The ids that callers gave, and the seqs they stand for.
    pub(super) given: Vec<(EventId, u64)>,
    pub(super) runs: BTreeMap<String, Run>,
    /// The seqs of the summaries that hold.
    pub(super) summaries: Vec<u64>,
    pub(super) owner: Option<&'static str>,
    pub(super) name: Option<String>,
    /// The last seq that it shares with what it was forked from.
    pub(super) shared: u64,
    /// The streams that it shares, each with the last seq of them, and then its own.
    pub(super) streams: Vec<(u8, u64)>,
    /// What is before it is of another session under the same id.
    pub(super) first_seq: u64,
    pub(super) keep: Keep,
    /// The top-level runs that count.
    pub(super) starts: Vec<u64>,
    /// The system messages that count.
    pub(super) systems: Vec<u64>,
}

impl Session {
    /// One that begins behind what is left of another under the same id.
    fn behind(number: u8, seq: u64) -> Self {
        Self {
            facts: vec![Fact::Gone; seq as usize],
            first_seq: seq + 1,
            streams: vec![(number, u64::MAX)],
            ..Self::default()
        }
    }

    /// The stream that holds a seq.
    pub(super) fn holder(&self, seq: u64) -> u8 {
        self.streams.iter().find(|(_, last)| seq <= *last).unwrap().0
    }

    /// The seqs of its own stream that are of this session.
    pub(super) fn own(&self) -> std::ops::RangeInclusive<u64> {
        self.first_seq.max(self.shared + 1)..=self.seq()
    }

    /// A seq of it, picked by a part of 255.
    pub(super) fn seq_at(&self, part: u8) -> u64 {
        self.first_seq + (self.seq() - self.first_seq) * u64::from(part) / 255
    }

    /// What follows from facts that are others now.
    fn refold(&mut self) {
        let given = std::mem::take(&mut self.given);
        *self = self.at(self.seq());
        self.given = given;
    }

    /// The session as it was after so many events.
    pub(super) fn at(&self, seq: u64) -> Self {
        let mut then =
            Self { streams: self.streams.clone(), first_seq: self.first_seq, ..Self::default() };
        for fact in self.facts.iter().take(seq as usize) {
            then.apply(fact);
        }
        then.given = self.given.iter().filter(|(_, at)| *at <= seq).copied().collect();
        then
    }

    /// The runs that were under way after so many events, in the order the engine ends them.
    pub(super) fn running_at(&self, seq: u64) -> Vec<String> {
        let then = self.at(seq);
        let mut running: Vec<_> = then.running().cloned().collect();
        running.sort_by_key(|run| Digest::of_run(run).to_bytes());
        running
    }

    pub(super) fn seq(&self) -> u64 {
        self.facts.len() as u64
    }

    /// A run of the session, or one that is not there.
    pub(super) fn run(&self, number: u8) -> String {
        let at = usize::from(number).checked_rem(self.runs.len());
        at.and_then(|at| self.runs.keys().nth(at)).map_or("no such run".to_owned(), String::clone)
    }

    fn running(&self) -> impl Iterator<Item = &String> {
        let is_running = |run: &Run| run.status == RunStatus::Running;
        self.runs.iter().filter(move |(_, run)| is_running(run)).map(|(id, _)| id)
    }

    /// Takes one more fact in; whether it can follow from what is there.
    fn apply(&mut self, fact: &Fact) -> bool {
        self.facts.push(fact.clone());
        let seq = self.seq();
        match fact {
            Fact::Created => self.owner = Some("alice"),
            Fact::Renamed { name, .. } => self.name = Some(name.clone()),
            Fact::Owner(owner) => self.owner = *owner,
            Fact::Summary { .. } => {
                self.summaries.push(seq);
                let over = self.summaries.len().saturating_sub(VIEW_SUMMARIES_MAX);
                self.summaries.drain(..over);
            }
            Fact::Forked { owner, seq, .. } => (self.owner, self.shared) = (*owner, *seq),
            // Whose it is stays.
            Fact::WentBack(seq) => {
                let then = self.at(*seq);
                (self.runs, self.summaries, self.name) = (then.runs, then.summaries, then.name);
                (self.keep, self.starts, self.systems) = (then.keep, then.starts, then.systems);
            }
            Fact::Withdrawn(seq) => self.summaries.retain(|summary| summary != seq),
            Fact::Policy { run: None, keep } => self.keep = *keep,
            Fact::Policy { run: Some(run), keep } => {
                return self.runs.get_mut(run).map(|run| run.keep = *keep).is_some();
            }
            Fact::State(..)
            | Fact::Metadata(..)
            | Fact::Context(_)
            | Fact::Custom(_)
            | Fact::Compacted { .. }
            | Fact::Erased(_)
            | Fact::Deleted
            | Fact::Gone => {}
            Fact::Started { run, is_member } => {
                if !is_member {
                    self.starts.push(seq);
                }
                let (status, is_member) = (RunStatus::Running, *is_member);
                let started = Run { status, is_member, tokens: 0, keep: Keep::default() };
                return self.runs.insert(run.clone(), started).is_none();
            }
            Fact::Message { run, .. } | Fact::Tool { run, .. } => {
                let is_top_level = self.runs.get(run).is_some_and(|run| !run.is_member);
                if is_top_level && matches!(fact, Fact::Message { who: Who::System, .. }) {
                    self.systems.push(seq);
                }
                return self.runs.get(run).is_some_and(|run| run.status == RunStatus::Running);
            }
            Fact::Paused { run } | Fact::Resumed { run } | Fact::Finished { run, .. } => {
                return self.runs.get_mut(run).is_some_and(|run| run.change(fact));
            }
        }
        true
    }

    /// The view after so many events, folded from the first one.
    pub(super) fn view_at(&self, seq: u64) -> View {
        let mut view = View::default();
        let mut then = Self::default();
        for fact in self.facts.iter().take(seq as usize) {
            then.apply(fact);
            match fact {
                Fact::State(change, number) => change.apply(&mut view.state, *number),
                Fact::Metadata(change, number) => change.apply(&mut view.metadata, *number),
                Fact::Message { calls, .. } => {
                    view.message_count += 1;
                    view.tool_call_count += calls;
                }
                Fact::Summary { text, .. } => view.summaries.push((then.seq(), text.clone())),
                Fact::WentBack(seq) => view = self.view_at(*seq),
                _ => {}
            }
        }
        view.summaries.retain(|(seq, _)| then.summaries.contains(seq));
        let is_open = |run: &Run| !run.status.is_terminal();
        View {
            owner: then.owner.map(str::to_owned),
            run_count: then.runs.values().filter(|run| !run.is_member).count() as u64,
            tokens: then.runs.values().map(|run| run.tokens).sum(),
            open_runs: then
                .runs
                .iter()
                .filter(|(_, run)| is_open(run))
                .map(|(id, run)| (id.clone(), run.status))
                .collect(),
            name: then.name,
            ..view
        }
    }
}

impl Run {
    /// Whether the run can be paused, go on or end; it does.
    fn change(&mut self, fact: &Fact) -> bool {
        let before = self.status;
        self.status = match fact {
            Fact::Paused { .. } => RunStatus::Paused,
            Fact::Resumed { .. } => RunStatus::Running,
            Fact::Finished { status, tokens, .. } => {
                if *tokens > 0 {
                    self.tokens = *tokens;
                }
                *status
            }
            _ => before,
        };
        match self.status {
            RunStatus::Regenerated => true,
            RunStatus::Running => before != RunStatus::Running,
            _ => !before.is_terminal(),
        }
    }
}

/// All that should be there: the commits, in the order of the log, and what follows from them.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) commits: Vec<Commit>,
    pub(super) sessions: BTreeMap<u8, Session>,
    /// The sessions that were deleted, each with its deletion.
    pub(super) former: Vec<(u8, Session)>,
    /// Of every stream there ever was, the first seq and the last.
    pub(super) streams: BTreeMap<u8, (u64, u64)>,
    /// What is left of the words of an event that something went from, by stream and seq.
    pub(super) left: BTreeMap<(u8, u64), Left>,
    /// Where it is recorded that something went for good.
    pub(super) receipts: BTreeSet<(u8, u64)>,
}

impl Model {
    pub(super) fn of(commits: &[Commit]) -> Self {
        let mut model = Self::default();
        for commit in commits {
            assert!(model.commit(commit.clone()), "the model contradicts itself");
        }
        model
    }

    /// Whether a commit can follow from what is there.
    pub(super) fn admits(&self, commit: &Commit) -> bool {
        let mut session = self.before(commit);
        commit.facts.iter().all(|fact| session.apply(fact))
    }

    /// Adds a commit; whether it could follow.
    pub(super) fn commit(&mut self, commit: Commit) -> bool {
        let mut session = self.before(&commit);
        let given = (session.seq() + 1..).zip(&commit.ids).map(|(seq, id)| (*id, seq));
        let given: Vec<_> = given.collect();
        session.given.extend(given);
        let first_seq = session.seq() + 1;
        let mut fits = true;
        for fact in &commit.facts {
            fits &= session.apply(fact);
            if left::goes_on_arrival(&session, fact) {
                self.left.insert((commit.session, session.seq()), Left::Nothing);
            }
            if let Fact::Erased(_) | Fact::Deleted = fact {
                self.receipts.insert((commit.session, session.seq()));
            }
        }
        let stream = self.streams.entry(commit.session).or_insert((first_seq, 0));
        stream.1 = session.seq();
        // What is told of a session that was deleted makes none.
        let is_of_former = commit.facts.iter().all(|fact| matches!(fact, Fact::Erased(_)));
        if !is_of_former || self.sessions.contains_key(&commit.session) {
            self.sessions.insert(commit.session, session);
        }
        for fact in &commit.facts {
            self.remove(commit.session, fact);
        }
        self.commits.push(commit);
        fits
    }

    /// What goes with a fact from others.
    fn remove(&mut self, stream: u8, fact: &Fact) {
        match fact {
            Fact::Compacted { must, may } => {
                for seq in may {
                    let left = self.left.entry((stream, *seq)).or_default();
                    *left = (*left).max(Left::Perhaps);
                }
                let gone = must.iter().map(|seq| ((stream, *seq), Left::Nothing));
                self.left.extend(gone);
            }
            Fact::Erased(seqs) => {
                self.left.extend(seqs.iter().map(|seq| ((stream, *seq), Left::Nothing)));
                let former = self.former.iter_mut().map(|(_, session)| session);
                for session in self.sessions.values_mut().chain(former) {
                    for seq in seqs {
                        if *seq <= session.seq() && session.holder(*seq) == stream {
                            left::erase(&mut session.facts[*seq as usize - 1]);
                        }
                    }
                    session.refold();
                }
            }
            Fact::Deleted => {
                let deleted = self.sessions.remove(&stream);
                self.former.extend(deleted.map(|session| (stream, session)));
            }
            _ => {}
        }
    }

    /// The session that a commit follows: for a fork, its parent as it was there.
    fn before(&self, commit: &Commit) -> Session {
        let number = commit.session;
        match commit.facts.first() {
            Some(Fact::Forked { parent, seq, .. }) => {
                let mut fork = self.session(*parent).unwrap().at(*seq);
                let given = &self.sessions[parent].given;
                fork.given = given.iter().filter(|(_, at)| at <= seq).copied().collect();
                let until = fork.streams.iter().position(|(_, last)| seq <= last).unwrap();
                fork.streams.truncate(until + 1);
                fork.streams[until].1 = *seq;
                fork.streams.push((number, u64::MAX));
                fork
            }
            _ => self.session(number).cloned().unwrap_or_else(|| {
                Session::behind(number, self.streams.get(&number).map_or(0, |(_, last)| *last))
            }),
        }
    }

    pub(super) fn session(&self, number: u8) -> Option<&Session> {
        self.sessions.get(&number)
    }

    /// Opening a database marks every run under way as interrupted, in the order of its index.
    /// What goes with that is said in front of it: that it was, `found` tells.
    pub(super) fn interrupt_runs(&mut self, found: &BTreeMap<u8, Vec<String>>) {
        let mut running: Vec<_> = self
            .sessions
            .iter()
            .flat_map(|(number, session)| session.running().map(|run| (*number, run.clone())))
            .collect();
        running.sort_by_key(|(number, run)| {
            let session = Digest::of_session(&session_id(*number));
            (session.to_bytes(), Digest::of_run(run).to_bytes())
        });
        for (session, run) in running {
            let fact = Fact::Finished { run, status: RunStatus::Interrupted, tokens: 0 };
            let mut commit = Commit { session, facts: vec![fact], ids: Vec::new() };
            let model = &self.sessions[&session];
            let next = model.facts.len() + 1 - model.first_seq as usize;
            let there = found.get(&session).and_then(|found| found.get(next));
            if there.is_some_and(|there| there.ends_with("compacted")) {
                commit = self.settled(&commit);
            }
            self.commit(commit);
        }
    }

    /// A commit that ends a run, with what may go with it.
    pub(super) fn settled(&self, commit: &Commit) -> Commit {
        let mut settled = commit.clone();
        let mut after = self.clone();
        after.commit(commit.clone());
        let may = after.compacts(commit.session, &BTreeSet::new(), Keep::default());
        settled.facts.insert(0, Fact::Compacted { must: Vec::new(), may });
        settled
    }

    /// What every session holds, to be compared with what was read.
    pub(super) fn sketches(&self) -> BTreeMap<u8, Vec<String>> {
        let of = |session: &Session| {
            let own = (1..).zip(&session.facts).skip(session.first_seq as usize - 1);
            own.map(|(seq, fact)| format!("{seq} {}", fact.sketch())).collect()
        };
        self.sessions.iter().map(|(number, session)| (*number, of(session))).collect()
    }
}

pub(super) fn session_id(number: u8) -> String {
    format!("s{number}")
}
