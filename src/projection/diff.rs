//! What is different between two views of a session, or of two sessions.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::{SessionView, Summary};
use crate::json::Json;
use crate::message::{Message, Metrics};

/// What is different between two points, of one session or of two. Whatever is the same in both
/// is `None` or empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// The point to compare.
    pub from: DiffEnd,
    /// The point to compare it with.
    pub to: DiffEnd,
    /// How many messages stand in both.
    pub messages_in_both: u64,
    /// The messages that stand in one of them only, in the order of the conversation: at each
    /// place first those that are gone, then those that are new.
    pub messages: Vec<MessageChange>,
    /// Values of the state.
    pub state: Vec<ValueChange>,
    /// The name.
    pub name: Option<Change<Option<String>>>,
    /// The current summary's text.
    pub summary: Option<Change<Option<String>>>,
    /// Values of the metadata.
    pub metadata: Vec<ValueChange>,
    /// What was spent.
    pub metrics: Option<Change<Metrics>>,
    /// Whose the session is.
    pub user_id: Option<Change<Option<String>>>,
}

/// One of the two points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DiffEnd {
    /// The session.
    pub session_id: String,
    /// The last seq before the point.
    pub seq: u64,
}

/// What something was and what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// At the first point.
    pub from: T,
    /// At the second.
    pub to: T,
}

/// A message that stands in one of the two only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageChange {
    /// Which.
    pub side: Side,
    /// Its seq there.
    pub seq: u64,
    /// The message, as it was recorded.
    pub message: Json,
}

/// Which of the two a message stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first: it is gone.
    Gone,
    /// The second: it is new.
    New,
}

/// A value that is different at one place of an object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValueChange {
    /// The keys from the top to the place.
    pub path: Vec<String>,
    /// What stood there; nothing where it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What stands there; nothing where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
}

impl Diff {
    /// Whether there is no difference.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
            && self.state.is_empty()
            && self.metadata.is_empty()
            && self.name.is_none()
            && self.summary.is_none()
            && self.metrics.is_none()
            && self.user_id.is_none()
    }

    /// Compares two views and the messages behind what both have in common.
    pub(crate) fn between(from: Compared<'_>, to: Compared<'_>) -> Self {
        let (messages_equal, messages) = changed_messages(from.messages, to.messages);
        let (a, b) = (from.view, to.view);
        let in_common = a.message_count.saturating_sub(from.messages.len() as u64);
        Self {
            from: DiffEnd { session_id: a.session_id.clone(), seq: a.seq },
            to: DiffEnd { session_id: b.session_id.clone(), seq: b.seq },
            messages_in_both: in_common + messages_equal,
            messages,
            state: changed_values(&a.state, &b.state),
            name: changed(&a.name, &b.name),
            summary: changed(&text(a.summary()), &text(b.summary())),
            metadata: changed_values(&a.metadata, &b.metadata),
            metrics: changed(&a.metrics, &b.metrics),
            user_id: changed(&a.user_id, &b.user_id),
        }
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared<'a> {
    pub(crate) view: &'a SessionView,
    /// The messages behind what both sides share, each with its seq.
    pub(crate) messages: &'a [(u64, Message)],
}

fn text(summary: Option<&Summary>) -> Option<String> {
    summary.map(|summary| summary.summary.clone())
}

fn changed<T: PartialEq + Clone>(from: &T, to: &T) -> Option<Change<T>> {
    (from != to).then(|| Change { from: from.clone(), to: to.clone() })
}

fn changed_messages(from: &[(u64, Message)], to: &[(u64, Message)]) -> (u64, Vec<MessageChange>) {
    let json = |messages: &[(u64, Message)]| -> Vec<(u64, Json)> {
        messages.iter().map(|(seq, message)| (*seq, message.to_json())).collect()
    };
    let (from, to) = (json(from), json(to));
    let texts = |messages: &'_ [(u64, Json)]| -> Vec<String> {
        messages.iter().map(|(_, json)| json.as_str().to_owned()).collect()
    };
    let ops = capture_diff_slices(Algorithm::Myers, &texts(&from), &texts(&to));
    let mut equal = 0;
    let mut changes = Vec::new();
    for op in ops {
        if let DiffOp::Equal { len, .. } = op {
            equal += len as u64;
            continue;
        }
        for (side, messages, range) in
            [(Side::Gone, &from, op.old_range()), (Side::New, &to, op.new_range())]
        {
            let messages = messages.get(range).unwrap_or_default();
            changes.extend(messages.iter().map(|(seq, message)| MessageChange {
                side,
                seq: *seq,
                message: message.clone(),
            }));
        }
    }
    (equal, changes)
}

/// The places at which two objects differ: as deep as both are objects.
fn changed_values(from: &Map<String, Value>, to: &Map<String, Value>) -> Vec<ValueChange> {
    let mut changes = Vec::new();
    // A stack of its own: the depth comes from outside.
    let mut open = vec![(Vec::new(), from, to)];
    while let Some((path, from, to)) = open.pop() {
        let mut keys: BTreeMap<&String, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
        for (key, value) in from {
            keys.entry(key).or_default().0 = Some(value);
        }
        for (key, value) in to {
            keys.entry(key).or_default().1 = Some(value);
        }
        for (key, values) in keys {
            let path = [path.as_slice(), std::slice::from_ref(key)].concat();
            match values {
                (Some(from), Some(to)) if from == to => {}
                (Some(Value::Object(from)), Some(Value::Object(to))) => open.push((path, from, to)),
                (from, to) => {
                    changes.push(ValueChange { path, from: from.cloned(), to: to.cloned() });
                }
            }
        }
    }
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    changes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[test]
    fn values_are_compared_as_deep_as_both_sides_are_objects() {
        let from = object(json!({"a": {"b": 1, "c": 2}, "list": [1], "gone": null}));
        let to = object(json!({"a": {"b": 1, "c": 3}, "list": [1, 2], "new": {}}));
        let changes = changed_values(&from, &to);
        let paths: Vec<_> = changes.iter().map(|change| change.path.join(".")).collect();
        assert_eq!(paths, ["a.c", "gone", "list", "new"]);
        assert_eq!((&changes[0].from, &changes[0].to), (&Some(json!(2)), &Some(json!(3))));
        assert_eq!((&changes[1].from, &changes[1].to), (&Some(Value::Null), &None));
    }

    proptest! {
        /// Taking away what is gone and putting in what is new makes the one into the other.
        #[test]
        fn a_diff_of_messages_leads_from_one_to_the_other(
            from in prop::collection::vec("[a-c]", 0..12),
            to in prop::collection::vec("[a-c]", 0..12),
        ) {
            let list = |texts: &[String]| -> Vec<(u64, Message)> {
                (1..).zip(texts.iter().map(Message::user)).collect()
            };
            let (equal, changes) = changed_messages(&list(&from), &list(&to));
            let side = |side| changes.iter().filter(move |change| change.side == side);
            let equal = usize::try_from(equal).unwrap();
            prop_assert_eq!(equal + side(Side::Gone).count(), from.len());
            prop_assert_eq!(equal + side(Side::New).count(), to.len());
            let gone: Vec<_> = side(Side::Gone).map(|change| change.seq).collect();
            let new: Vec<_> = side(Side::New).map(|change| change.seq).collect();
            let left = |texts: &[String], away: &[u64]| -> Vec<String> {
                let kept = (1..).zip(texts).filter(|(seq, _)| !away.contains(seq));
                kept.map(|(_, text)| text.clone()).collect()
            };
            prop_assert_eq!(left(&from, &gone), left(&to, &new));
        }
    }
}
