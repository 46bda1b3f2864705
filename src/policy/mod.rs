//! What a policy does to events: pure, so that it is the same when something is written and when
//! it is compacted later.

mod erase;
mod plan;
mod prune;
mod reduce;
mod trace;
mod uses;

pub(crate) use self::erase::without_content;
pub(crate) use self::plan::{Plan, Planner, Unit};
pub(crate) use self::reduce::Reduction;
pub(crate) use self::trace::Trace;

use crate::event::{KeepRuns, Policy};

/// A policy with every word said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) media: bool,
    pub(crate) tools: bool,
    pub(crate) history: bool,
}

impl Rules {
    /// What nobody says is kept.
    pub(crate) fn of(policy: &Policy) -> Self {
        Self {
            media: policy.store_media.unwrap_or(true),
            tools: policy.store_tool_messages.unwrap_or(true),
            history: policy.store_history_messages.unwrap_or(true),
        }
    }

    /// Whether everything is kept.
    pub(crate) fn keep_all(self) -> bool {
        self.media && self.tools && self.history
    }

    /// What is done to an event when it is written. Whether a call will be answered is not known
    /// then, so calls stay until their run ends.
    pub(crate) fn on_arrival(self) -> Reduction {
        Reduction {
            media: !self.media,
            tools: !self.tools,
            history: !self.history,
            is_arrival: true,
            ..Reduction::default()
        }
    }
}

/// Policies from the widest to the nearest, and what an operator asks for besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Policies {
    /// The session's, and where it says nothing, the engine's.
    pub(crate) session: Policy,
    /// What goes in any case.
    pub(crate) asked: Policy,
}

impl Policies {
    /// What holds for a run.
    pub(crate) fn of_run(&self, run: &Policy) -> Rules {
        let rules = Rules::of(&run.or(self.session));
        let asked = Rules::of(&self.asked);
        Rules {
            media: rules.media && asked.media,
            tools: rules.tools && asked.tools,
            history: rules.history && asked.history,
        }
    }

    /// How many runs are kept: a run is kept whole where all of these say so.
    pub(crate) fn keep_runs(&self) -> impl Iterator<Item = KeepRuns> {
        self.asked.keep_runs.into_iter().chain(self.session.keep_runs)
    }

    /// All that goes, as one policy. Of two numbers of runs it says the smaller, and the stronger
    /// of what becomes of the others: no more than that goes.
    pub(crate) fn named(&self) -> Policy {
        let goes = |asked: Option<bool>, session: Option<bool>| match (asked, session) {
            (Some(false), _) => Some(false),
            (_, session) => session,
        };
        let (asked, session) = (&self.asked, &self.session);
        Policy {
            store_media: goes(asked.store_media, session.store_media),
            store_tool_messages: goes(asked.store_tool_messages, session.store_tool_messages),
            store_history_messages: goes(
                asked.store_history_messages,
                session.store_history_messages,
            ),
            keep_runs: self.keep_runs().reduce(stricter),
        }
    }
}

/// What keeps no run that either of two lets go.
fn stricter(a: KeepRuns, b: KeepRuns) -> KeepRuns {
    match (a, b) {
        (
            KeepRuns::Last { runs: a, older: a_older },
            KeepRuns::Last { runs: b, older: b_older },
        ) => KeepRuns::Last { runs: a.min(b), older: a_older.max(b_older) },
        (KeepRuns::All, last) | (last, KeepRuns::All) => last,
    }
}
