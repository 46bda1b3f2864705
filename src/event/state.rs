//! Session state as patches by key path: what changes is stored, never a whole copy.

use rkyv::{Archive, Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result, check_limit};
use crate::json::{Json, check_depth};
use crate::limits::{PATH_KEYS_MAX, STATE_DEPTH_MAX};

/// One change at one place of the state.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum StateOp {
    /// The value at the path becomes this one. Objects missing on the way are made.
    Set {
        /// The keys from the top to the place.
        path: Vec<String>,
        /// The new value.
        value: Json,
    } = 0,
    /// The value at the path goes. Nothing happens where there is none.
    Remove {
        /// The keys from the top to the place.
        path: Vec<String>,
    } = 1,
    /// Objects merge key by key, to any depth; anything else, lists too, is replaced. This is
    /// Agno's rule (`agno/utils/merge_dict.py`). An empty path merges at the top.
    Merge {
        /// The keys from the top to the place.
        path: Vec<String>,
        /// What is merged in.
        value: Json,
    } = 2,
}

/// Changes of the state that are made together.
///
/// ```
/// use sessionlog::StatePatch;
/// use serde_json::json;
///
/// let patch = StatePatch::new()
///     .set(["cart", "items"], json!(["tea"]))
///     .remove(["cart", "coupon"])
///     .merge([] as [&str; 0], json!({"user": {"name": "Alice"}}));
/// assert_eq!(patch.ops().len(), 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatePatch(Vec<StateOp>);

impl StatePatch {
    /// No change yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value at a path.
    #[must_use]
    pub fn set<K: Into<String>>(
        mut self,
        path: impl IntoIterator<Item = K>,
        value: impl Into<Json>,
    ) -> Self {
        self.0.push(StateOp::Set { path: keys(path), value: value.into() });
        self
    }

    /// Removes the value at a path.
    #[must_use]
    pub fn remove<K: Into<String>>(mut self, path: impl IntoIterator<Item = K>) -> Self {
        self.0.push(StateOp::Remove { path: keys(path) });
        self
    }

    /// Merges a value into what is at a path.
    #[must_use]
    pub fn merge<K: Into<String>>(
        mut self,
        path: impl IntoIterator<Item = K>,
        value: impl Into<Json>,
    ) -> Self {
        self.0.push(StateOp::Merge { path: keys(path), value: value.into() });
        self
    }

    /// The changes, in order.
    pub fn ops(&self) -> &[StateOp] {
        &self.0
    }

    /// The changes, by value.
    pub fn into_ops(self) -> Vec<StateOp> {
        self.0
    }
}

fn keys<K: Into<String>>(path: impl IntoIterator<Item = K>) -> Vec<String> {
    path.into_iter().map(Into::into).collect()
}

/// Checks changes before they are stored: applying them must never fail, nor nest a state so
/// deep that a reader of it would.
pub(crate) fn check_ops(ops: &[StateOp]) -> Result<()> {
    if ops.is_empty() {
        return Err(Error::invalid("a patch needs at least one change"));
    }
    ops.iter().try_for_each(check_op)
}

fn check_op(op: &StateOp) -> Result<()> {
    let (StateOp::Set { path, .. } | StateOp::Remove { path } | StateOp::Merge { path, .. }) = op;
    check_limit("state path in keys", path.len(), PATH_KEYS_MAX)?;
    if let StateOp::Set { path, value } | StateOp::Merge { path, value } = op {
        check_depth(value.as_str(), STATE_DEPTH_MAX - path.len())?;
    }
    match op {
        StateOp::Set { path, .. } | StateOp::Remove { path } if path.is_empty() => {
            Err(Error::invalid("a state path needs at least one key"))
        }
        StateOp::Merge { path, value } if path.is_empty() && !value.as_str().starts_with('{') => {
            Err(Error::invalid("only an object merges into the whole state"))
        }
        _ => Ok(()),
    }
}

/// Applies changes to a state, in order. Total: whatever stands in the way is replaced, so
/// that folding the same events always gives the same state.
pub fn apply_ops(state: &mut Map<String, Value>, ops: &[StateOp]) {
    for op in ops {
        let (StateOp::Set { path, .. } | StateOp::Remove { path } | StateOp::Merge { path, .. }) =
            op;
        // Never stored by us, but bytes can say anything, and a state is walked by recursion.
        if path.len() > PATH_KEYS_MAX {
            continue;
        }
        match op {
            StateOp::Set { path, value } => {
                if let Some((place, key)) = place_of(state, path) {
                    place.insert(key.to_owned(), value.to_value());
                }
            }
            StateOp::Remove { path } => remove(state, path),
            StateOp::Merge { path, value } => match (path.as_slice(), value.to_value()) {
                ([], Value::Object(changes)) => merge_maps(state, changes),
                ([], _) => {}
                (_, value) => {
                    if let Some((place, key)) = place_of(state, path) {
                        merge(place.entry(key).or_insert(Value::Null), value);
                    }
                }
            },
        }
    }
}

/// The object that holds the last key of the path, made where it is missing.
fn place_of<'a, 'p>(
    state: &'a mut Map<String, Value>,
    path: &'p [String],
) -> Option<(&'a mut Map<String, Value>, &'p str)> {
    let (last, parents) = path.split_last()?;
    let mut place = state;
    for key in parents {
        let next = place.entry(key).or_insert_with(|| Value::Object(Map::new()));
        if !next.is_object() {
            *next = Value::Object(Map::new());
        }
        place = next.as_object_mut()?;
    }
    Some((place, last))
}

fn remove(state: &mut Map<String, Value>, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut place = state;
    for key in parents {
        match place.get_mut(key).and_then(Value::as_object_mut) {
            Some(next) => place = next,
            None => return,
        }
    }
    place.remove(last);
}

fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => merge_maps(target, change),
        (target, change) => *target = change,
    }
}

fn merge_maps(target: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (key, change) in changes {
        match target.get_mut(&key) {
            Some(value) => merge(value, change),
            None => {
                target.insert(key, change);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(state: Value, patch: &StatePatch) -> Value {
        let Value::Object(mut map) = state else { unreachable!() };
        apply_ops(&mut map, patch.ops());
        Value::Object(map)
    }

    #[test]
    fn nested_objects_merge_and_lists_are_replaced() {
        let patch = StatePatch::new().merge([] as [&str; 0], json!({"a": {"y": 2}, "l": [3]}));
        let state = json!({"a": {"x": 1}, "l": [1, 2]});
        assert_eq!(after(state, &patch), json!({"a": {"x": 1, "y": 2}, "l": [3]}));
    }

    #[test]
    fn a_set_makes_what_is_missing_on_its_way() {
        let patch = StatePatch::new().set(["a", "b", "c"], json!(1));
        assert_eq!(after(json!({"a": 7}), &patch), json!({"a": {"b": {"c": 1}}}));
    }

    #[test]
    fn removing_what_is_not_there_changes_nothing() {
        let patch = StatePatch::new().remove(["a", "b"]).remove(["z"]);
        assert_eq!(after(json!({"a": {"c": 1}}), &patch), json!({"a": {"c": 1}}));
    }

    #[test]
    fn a_patch_without_a_change_or_a_key_is_refused() {
        let check = |patch: StatePatch| check_ops(patch.ops());
        assert!(check(StatePatch::new()).is_err());
        assert!(check(StatePatch::new().remove([] as [&str; 0])).is_err());
        assert!(check(StatePatch::new().merge([] as [&str; 0], json!(3))).is_err());
        assert!(check(StatePatch::new().set(vec!["a"; 65], json!(3))).is_err());
        let deep = Json::parse(&format!("{}{}", "[".repeat(100), "]".repeat(100))).unwrap();
        assert!(check(StatePatch::new().set(["a"], deep.clone())).is_ok());
        assert!(check(StatePatch::new().set(vec!["a"; 30], deep)).is_err());
    }
}
