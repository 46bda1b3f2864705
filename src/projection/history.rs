//! Which part of the history goes to the model.

use std::collections::HashSet;

use super::RunView;
use crate::event::RunStatus;
use crate::message::{Message, Repair, Role, ToolCall, legalize};

/// The part of the history that goes to the model. The defaults are Agno's: the last three runs,
/// no member runs, nothing of runs that were paused, cancelled, failed or replaced, and no copies
/// of earlier history.
///
/// Whatever is cut, the messages that come out can be sent to a provider as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) runs: RunCount,
    pub(crate) messages: Option<usize>,
    pub(crate) max_tool_calls: Option<usize>,
    pub(crate) skip_roles: HashSet<Role>,
    pub(crate) statuses: HashSet<RunStatus>,
    pub(crate) include_member_runs: bool,
    pub(crate) include_history: bool,
    /// A run that is not history: the one under way.
    pub(crate) without_run: Option<String>,
    /// How many events back it is read. Of a run that begins before them it has the end.
    pub(crate) events: Option<usize>,
}

/// The messages of a window, each with its seq, as they were stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Chosen {
    pub(crate) messages: Vec<(u64, Message)>,
    /// What the person had said last before a cut that counts messages.
    pub(crate) opening: Option<(u64, Message)>,
}

/// What a window was chosen to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    pub(crate) messages: Vec<Message>,
    /// What was done to make them legal.
    pub(crate) repairs: Vec<Repair>,
    /// What the person had said last before a cut that counts messages.
    pub(crate) opening: Option<Message>,
}

impl Selected {
    /// The messages for a provider whose requests begin with the person: where they do not, the
    /// person's last words before them come in front, so that nothing of them is left out.
    pub(crate) fn opened(self) -> Vec<Message> {
        let is_speech = |message: &Message| !matches!(message.role, Role::System | Role::Developer);
        let mut messages = self.messages;
        let at = messages.iter().position(is_speech);
        // Instructions alone are no request either.
        let at = at.unwrap_or(messages.len());
        if let Some(opening) = self.opening
            && messages.get(at).is_none_or(|first| first.role != Role::User)
        {
            messages.insert(at, opening);
        }
        messages
    }
}

/// How many runs a window reaches back over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunCount {
    /// Nobody said: Agno's three, or any number where messages are counted.
    Default,
    Last(usize),
    All,
}

/// `num_history_runs` of Agno.
const RUNS_DEFAULT: usize = 3;

impl Default for Window {
    fn default() -> Self {
        Self {
            runs: RunCount::Default,
            messages: None,
            max_tool_calls: None,
            skip_roles: HashSet::new(),
            statuses: [RunStatus::Running, RunStatus::Completed, RunStatus::Interrupted].into(),
            include_member_runs: false,
            include_history: false,
            without_run: None,
            events: None,
        }
    }
}

impl Window {
    /// How many runs there may be at most.
    pub(crate) fn runs_max(&self) -> Option<usize> {
        match self.runs {
            RunCount::Default if self.messages.is_none() => Some(RUNS_DEFAULT),
            RunCount::Default | RunCount::All => None,
            RunCount::Last(count) => Some(count),
        }
    }

    /// Whether the messages of a run go to the model.
    pub(crate) fn takes_run(&self, run: &RunView) -> bool {
        self.statuses.contains(&run.status)
            && (self.include_member_runs || !run.is_member_run())
            && self.without_run.as_ref() != Some(&run.started.run_id)
    }

    /// Whether a message of a run goes to the model. System messages are chosen apart.
    pub(crate) fn takes_message(&self, message: &Message) -> bool {
        message.role != Role::System
            && !message.omitted.message
            && (self.include_history || !message.from_history)
            && !self.skip_roles.contains(&message.role)
    }

    /// The messages of the last runs, oldest first, of which no more than `messages_max` where
    /// that is given.
    pub(crate) fn choose(&self, runs: &[RunView], messages_max: Option<usize>) -> Chosen {
        let taken: Vec<&RunView> = runs.iter().filter(|run| self.takes_run(run)).collect();
        let skipped = self.runs_max().map_or(0, |count| taken.len().saturating_sub(count));
        let mut messages: Vec<(u64, Message)> = taken
            .into_iter()
            .skip(skipped)
            .flat_map(|run| &run.messages)
            .filter(|(_, message)| self.takes_message(message))
            .cloned()
            .collect();
        let mut opening = None;
        if let Some(count) = messages_max {
            let mut cut = messages.drain(..messages.len().saturating_sub(count));
            opening = cut.rfind(|(_, message)| message.role == Role::User);
        }
        Chosen { messages, opening }
    }

    /// The window over the last runs, oldest first. `system` is the newest system message of
    /// the session, which may be older than every run of the window.
    pub(crate) fn select(&self, runs: &[RunView], system: Option<Message>) -> Selected {
        let is_wanted = !self.skip_roles.contains(&Role::System) && self.messages != Some(0);
        let system = system.filter(|_| is_wanted);
        let room = self.messages.map(|count| count.saturating_sub(usize::from(system.is_some())));
        let Chosen { messages, opening } = self.choose(runs, room);
        let messages = messages.into_iter().map(|(_, message)| message);
        let messages = system.into_iter().chain(messages).collect();
        let (mut messages, repairs) = legalize(messages);
        if let Some(count) = self.max_tool_calls {
            messages = keep_last_calls(messages, count);
        }
        Selected { messages, repairs, opening: opening.map(|(_, message)| message) }
    }
}

/// Keeps the results of the last calls. In a legal list a call's results stand right behind
/// its message, in the order of the calls, so a call and its result are dropped as one.
pub(crate) fn keep_last_calls(messages: Vec<Message>, count: usize) -> Vec<Message> {
    let calls: usize = messages.iter().map(|message| message.tool_calls.len()).sum();
    let mut calls_to_drop = calls.saturating_sub(count);
    let mut results_to_drop = calls_to_drop;
    let mut kept = Vec::with_capacity(messages.len());
    for mut message in messages {
        if message.role == Role::Tool {
            if results_to_drop > 0 {
                results_to_drop -= 1;
                continue;
            }
        } else if !message.tool_calls.is_empty() {
            let dropped = calls_to_drop.min(message.tool_calls.len());
            calls_to_drop -= dropped;
            message.tool_calls.drain(..dropped);
            if message.tool_calls.is_empty() && message.is_wordless() {
                continue;
            }
        }
        kept.push(message);
    }
    kept
}

/// The calls of all runs, newest run first, at most `limit` of them. The order is that of Agno's
/// `get_tool_calls`: inside a run calls keep their order.
pub(crate) fn tool_calls(runs: &[RunView], limit: Option<usize>) -> Vec<ToolCall> {
    runs.iter()
        .rev()
        .flat_map(|run| run.messages.iter())
        .flat_map(|(_, message)| message.tool_calls.iter().cloned())
        .take(limit.unwrap_or(usize::MAX))
        .collect()
}
