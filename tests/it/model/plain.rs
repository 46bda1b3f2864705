//! The plain list: which commits there are, what each of their events should be, and what
//! follows from them. It shares no code with the engine's own folds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sessionlog::limits::VIEW_SUMMARIES_MAX;
use sessionlog::{Digest, Event, EventBody, EventId, RunStatus, SessionView};

use super::ops::Change;

/// What an event should be, as far as the model compares it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fact {
    Created,
    Renamed(String),
    Owner(Option<&'static str>),
    State(Change, u64),
    Metadata(Change, u64),
    Started { run: String, is_member: bool },
    Message { run: String, text: String, calls: u64 },
    Tool { run: String, result: String },
    Paused { run: String },
    Resumed { run: String },
    Finished { run: String, status: RunStatus, tokens: u64 },
    Summary(String),
    Withdrawn(u64),
    Context(Vec<u64>),
    Custom(u64),
    Forked { parent: u8, seq: u64, owner: Option<&'static str> },
    WentBack(u64),
}

impl Fact {
    /// The run it belongs to.
    fn run(&self) -> Option<&str> {
        match self {
            Self::Started { run, .. }
            | Self::Message { run, .. }
            | Self::Tool { run, .. }
            | Self::Paused { run }
            | Self::Resumed { run }
            | Self::Finished { run, .. } => Some(run),
            _ => None,
        }
    }

    /// One line that stands for it.
    pub(super) fn sketch(&self) -> String {
        let run = self.run().map_or(Digest::NONE, Digest::of_run);
        let words = match self {
            Self::Created => "created".to_owned(),
            Self::Renamed(name) => format!("renamed {name}"),
            Self::Owner(owner) => format!("owner {owner:?}"),
            Self::State(..) => "state".to_owned(),
            Self::Metadata(..) => "metadata".to_owned(),
            Self::Started { run, is_member } => format!("started {run} {is_member}"),
            Self::Message { text, calls, .. } => format!("message {text} {calls}"),
            Self::Tool { result, .. } => format!("tool {result}"),
            Self::Paused { .. } => "paused".to_owned(),
            Self::Resumed { .. } => "resumed".to_owned(),
            Self::Finished { status, tokens, .. } => format!("finished {status} {tokens}"),
            Self::Summary(text) => format!("summary {text}"),
            Self::Withdrawn(seq) => format!("withdrawn {seq}"),
            Self::Context(seqs) => format!("context {seqs:?}"),
            Self::Custom(number) => format!("custom {number}"),
            Self::Forked { parent, seq, owner } => {
                format!("forked {} {seq} {owner:?}", session_id(*parent))
            }
            Self::WentBack(seq) => format!("went back {seq}"),
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
            format!("message {} {}", message.content.text(), message.tool_calls.len())
        }
        EventBody::ToolExecuted(tool) => format!("tool {}", tool.result.as_ref().unwrap()),
        EventBody::RunPaused(_) => "paused".to_owned(),
        EventBody::RunResumed(_) => "resumed".to_owned(),
        EventBody::RunFinished(finished) => {
            let tokens = finished.metrics.map_or(0, |metrics| metrics.total_tokens);
            format!("finished {} {tokens}", finished.status)
        }
        EventBody::SummaryWritten(written) => format!("summary {}", written.summary),
        EventBody::SummaryWithdrawn(withdrawn) => format!("withdrawn {}", withdrawn.seq),
        EventBody::ContextRecorded(context) => format!("context {:?}", context.seqs),
        EventBody::Custom(custom) => format!("custom {}", custom.data.as_str()),
        EventBody::ForkedFrom(forked) => {
            format!("forked {} {} {:?}", forked.parent_session_id, forked.seq, forked.user_id)
        }
        EventBody::RewoundTo(rewound) => format!("went back {}", rewound.seq),
        other => format!("unexpected {}", other.kind()),
    };
    format!("{} {words}", event.run)
}

/// The events of one append: all of them are there or none.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    pub(super) session: u8,
    pub(super) facts: Vec<Fact>,
    /// The callers' ids of its events, where there are any.
    pub(super) ids: Vec<EventId>,
}

/// What a session should look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct View {
    owner: Option<String>,
    name: Option<String>,
    state: Map<String, Value>,
    metadata: Map<String, Value>,
    summaries: Vec<(u64, String)>,
    run_count: u64,
    message_count: u64,
    tool_call_count: u64,
    tokens: u64,
    open_runs: BTreeMap<String, RunStatus>,
}

impl View {
    /// What the engine says it looks like.
    pub(super) fn of(view: &SessionView) -> Self {
        let summaries = view.summaries.iter();
        Self {
            owner: view.user_id.clone(),
            name: view.name.clone(),
            state: view.state.clone(),
            metadata: view.metadata.clone(),
            summaries: summaries.map(|summary| (summary.seq, summary.summary.clone())).collect(),
            run_count: view.run_count,
            message_count: view.message_count,
            tool_call_count: view.tool_call_count,
            tokens: view.metrics.total_tokens,
            open_runs: view
                .open_runs
                .values()
                .map(|run| (run.run_id.clone(), run.status))
                .collect(),
        }
    }
}

/// A run as the model knows it.
#[derive(Debug, Clone)]
struct Run {
    status: RunStatus,
    is_member: bool,
    tokens: u64,
}

/// A session as the model knows it.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) facts: Vec<Fact>,
    /// The ids that callers gave, and the seqs they stand for.
    pub(super) given: Vec<(EventId, u64)>,
    runs: BTreeMap<String, Run>,
    /// The seqs of the summaries that hold.
    pub(super) summaries: Vec<u64>,
    pub(super) owner: Option<&'static str>,
    pub(super) name: Option<String>,
    /// The last seq that it shares with what it was forked from.
    pub(super) shared: u64,
}

impl Session {
    /// The session as it was after so many events.
    fn at(&self, seq: u64) -> Self {
        let mut then = Self::default();
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
            Fact::Renamed(name) => self.name = Some(name.clone()),
            Fact::Owner(owner) => self.owner = *owner,
            Fact::Summary(_) => {
                self.summaries.push(seq);
                let over = self.summaries.len().saturating_sub(VIEW_SUMMARIES_MAX);
                self.summaries.drain(..over);
            }
            Fact::Forked { owner, seq, .. } => (self.owner, self.shared) = (*owner, *seq),
            // Whose it is stays.
            Fact::WentBack(seq) => {
                let then = self.at(*seq);
                (self.runs, self.summaries, self.name) = (then.runs, then.summaries, then.name);
            }
            Fact::Withdrawn(seq) => self.summaries.retain(|summary| summary != seq),
            Fact::State(..) | Fact::Metadata(..) | Fact::Context(_) | Fact::Custom(_) => {}
            Fact::Started { run, is_member } => {
                let (status, is_member) = (RunStatus::Running, *is_member);
                let started = Run { status, is_member, tokens: 0 };
                return self.runs.insert(run.clone(), started).is_none();
            }
            Fact::Message { run, .. } | Fact::Tool { run, .. } => {
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
                Fact::Summary(text) => view.summaries.push((then.seq(), text.clone())),
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

impl Change {
    fn apply(self, map: &mut Map<String, Value>, number: u64) {
        let name = |key: u8| format!("k{key}");
        match self {
            Self::Set { key } => {
                map.insert(name(key), json!(number));
            }
            Self::Remove { key } => {
                map.remove(&name(key));
            }
            // One level deep, a merge of one key is a set of it.
            Self::SetInside { key, inner } | Self::Merge { key, inner } => {
                let place = map.entry(name(key)).or_insert_with(|| json!({}));
                if !place.is_object() {
                    *place = json!({});
                }
                place[name(inner)] = json!(number);
            }
        }
    }
}

/// All that should be there: the commits, in the order of the log, and what follows from them.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) commits: Vec<Commit>,
    pub(super) sessions: BTreeMap<u8, Session>,
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
        let fits = commit.facts.iter().all(|fact| session.apply(fact));
        self.sessions.insert(commit.session, session);
        self.commits.push(commit);
        fits
    }

    /// The session that a commit follows: for a fork, its parent as it was there.
    fn before(&self, commit: &Commit) -> Session {
        let session = |number: u8| self.session(number).cloned().unwrap_or_default();
        match commit.facts.first() {
            Some(Fact::Forked { parent, seq, .. }) => session(*parent).at(*seq),
            _ => session(commit.session),
        }
    }

    pub(super) fn session(&self, number: u8) -> Option<&Session> {
        self.sessions.get(&number)
    }

    /// Opening a database marks every run under way as interrupted, in the order of its index.
    pub(super) fn interrupt_runs(&mut self) {
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
            self.commit(Commit { session, facts: vec![fact], ids: Vec::new() });
        }
    }

    /// What every session holds, to be compared with what was read.
    pub(super) fn sketches(&self) -> BTreeMap<u8, Vec<String>> {
        let of = |session: &Session| session.facts.iter().map(Fact::sketch).collect();
        self.sessions.iter().map(|(number, session)| (*number, of(session))).collect()
    }
}

pub(super) fn session_id(number: u8) -> String {
    format!("s{number}")
}
