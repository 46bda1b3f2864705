//! What a session should look like, as far as the model compares it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sessionlog::{RunStatus, SessionView};

use super::ops::Change;

/// What a session should look like.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct View {
    pub(super) owner: Option<String>,
    pub(super) name: Option<String>,
    pub(super) state: Map<String, Value>,
    pub(super) metadata: Map<String, Value>,
    pub(super) summaries: Vec<(u64, String)>,
    pub(super) run_count: u64,
    pub(super) message_count: u64,
    pub(super) tool_call_count: u64,
    pub(super) tokens: u64,
    pub(super) open_runs: BTreeMap<String, RunStatus>,
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

impl Change {
    pub(super) fn apply(self, map: &mut Map<String, Value>, number: u64) {
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
