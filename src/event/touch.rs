//! What an event changes, and so which events of two writers meet.

use serde_json::Value;

use super::{EventBody, StateOp};
use crate::id::Digest;

/// What an event changes. Events that change different things commute: the session's view is the
/// same in whichever order they come. (Which of two runs came first is part of their history.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Nothing that another event could change too.
    Nothing,
    Name,
    Owner,
    Summary,
    Policy,
    Import,
    /// Values at these paths.
    State(Vec<Vec<String>>),
    Metadata(Vec<Vec<String>>),
    Run(Digest),
    /// A memory, by its id.
    Memory(String),
    /// An application's own kind.
    Custom(String),
    /// What the session is as a whole.
    Session,
}

impl Touch {
    /// What a body changes, in a run where it belongs to one.
    pub(crate) fn of(body: &EventBody, run: Digest) -> Self {
        match body {
            EventBody::Created(_)
            | EventBody::Deleted(_)
            | EventBody::ForkedFrom(_)
            | EventBody::RewoundTo(_)
            | EventBody::Erased(_)
            // What it changed, nobody knows any more.
            | EventBody::Gone(_) => Self::Session,
            EventBody::Renamed(_) => Self::Name,
            EventBody::OwnerChanged(_) => Self::Owner,
            EventBody::SummaryWritten(_) | EventBody::SummaryWithdrawn(_) => Self::Summary,
            EventBody::PolicySet(_) => {
                if run.is_none() { Self::Policy } else { Self::Run(run) }
            }
            EventBody::ImportedFrom(_) => Self::Import,
            EventBody::StateChanged(changed) => Self::State(paths(&changed.ops)),
            EventBody::MetadataChanged(changed) => Self::Metadata(paths(&changed.ops)),
            EventBody::RunStarted(_)
            | EventBody::MessageAdded(_)
            | EventBody::ToolExecuted(_)
            | EventBody::RunPaused(_)
            | EventBody::RunResumed(_)
            | EventBody::RunFinished(_) => Self::Run(run),
            EventBody::Custom(custom) => Self::Custom(custom.kind.clone()),
            // It changes no view, and whatever it met it has checked by itself.
            EventBody::Compacted(_)
            | EventBody::ContextRecorded(_)
            | EventBody::NothingLearned(_) => Self::Nothing,
            EventBody::MemoryUpserted(upserted) => Self::Memory(upserted.memory_id.clone()),
            EventBody::MemoryDeleted(deleted) => Self::Memory(deleted.memory_id.clone()),
        }
    }

    /// Whether two events must come in the order in which their writers saw them.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Session, _) | (_, Self::Session) => true,
            (Self::State(a), Self::State(b)) | (Self::Metadata(a), Self::Metadata(b)) => {
                a.iter().any(|a| b.iter().any(|b| is_beginning_of_other(a, b)))
            }
            (Self::Nothing, Self::Nothing) => false,
            (a, b) => a == b,
        }
    }
}

/// Whether one place lies at the other or inside of it.
fn is_beginning_of_other(a: &[String], b: &[String]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

fn paths(ops: &[StateOp]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for op in ops {
        match op {
            StateOp::Set { path, .. } | StateOp::Remove { path } => paths.push(path.clone()),
            StateOp::Merge { path, value } => merged(path.clone(), value.to_value(), &mut paths),
        }
    }
    paths
}

/// The places that merging a value in changes: where it is no object any more. No deeper than
/// a body may nest.
fn merged(path: Vec<String>, value: Value, paths: &mut Vec<Vec<String>>) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, member) in members {
                let mut path = path.clone();
                path.push(key);
                merged(path, member, paths);
            }
        }
        _ => paths.push(path),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::{Renamed, StateChanged, StatePatch};

    fn state(patch: StatePatch) -> Touch {
        Touch::of(&StateChanged { ops: patch.into_ops() }.into(), Digest::NONE)
    }

    #[test]
    fn changes_of_different_keys_do_not_meet() {
        let top: [&str; 0] = [];
        let a = state(StatePatch::new().merge(top, json!({"cart": {"tea": 1}})));
        let b = state(StatePatch::new().merge(top, json!({"cart": {"milk": 2}, "x": 1})));
        assert!(!a.meets(&b));
        assert!(a.meets(&state(StatePatch::new().remove(["cart"]))));
        assert!(a.meets(&state(StatePatch::new().set(["cart", "tea", "kind"], json!("green")))));
        assert!(!a.meets(&state(StatePatch::new().set(["carts"], json!(1)))));
    }

    #[test]
    fn a_rename_meets_a_rename_and_no_run() {
        let rename =
            || Touch::of(&Renamed { name: None, is_generated: false }.into(), Digest::NONE);
        assert!(rename().meets(&rename()));
        assert!(!rename().meets(&Touch::Run(Digest::of_run("r"))));
        assert!(rename().meets(&Touch::Session));
    }
}
