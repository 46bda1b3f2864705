//! Agno's sessions: whole, with their runs inside, as 2.x stores and prints them, or sessions
//! and runs as rows of their own, as 3.x stores them.

mod read;
mod run;
mod session;

use serde_json::{Map, Value};

use super::export::Recorded;
use super::format::{Format, FormatSpec, Sign};
use crate::error::Result;
use crate::json::{Json, JsonObject};

pub(super) const FORMAT: FormatSpec = FormatSpec {
    name: "agno",
    recognise,
    read: read::read,
    write: Some(|recorded| Ok(vec![document(recorded)?])),
    reserved: None,
};

fn recognise(record: &JsonObject) -> Sign {
    let has = |name: &str| record.get(name).is_some();
    let own = [
        "runs",
        "session_type",
        "session_data",
        "agent_data",
        "team_data",
        "workflow_data",
        "run_id",
        "run_data",
    ];
    if has("session_id") && own.into_iter().any(has) { Sign::Certain } else { Sign::None }
}

/// Writes a session as 2.x has it. What its source said and a session has no place for is put
/// back, and when it was made; a fork was made when it was forked.
fn document(recorded: &Recorded) -> Result<Json> {
    let mut record = recorded.now.to_record()?;
    let source = recorded.data(Format::Agno)?.map(|data| data.to_json().to_value());
    let source = source.unwrap_or_else(|| Value::Object(Map::new()));
    let (Value::Object(record), Value::Object(source)) = (&mut record, source) else {
        return Ok(Json::from(record));
    };
    let is_fork = recorded.view().forked_from.is_some();
    for (name, value) in source {
        match (record.get_mut(&name), value) {
            (Some(ours), value) if name == "created_at" && value.is_number() && !is_fork => {
                *ours = value;
            }
            (Some(Value::Object(ours)), Value::Object(theirs)) if name == "session_data" => {
                let gone = |name: &str| ["session_name", "session_state"].contains(&name);
                let theirs = theirs.into_iter().filter(|(name, _)| !gone(name));
                for (name, value) in theirs {
                    ours.entry(name).or_insert(value);
                }
            }
            (Some(_), _) => {}
            (None, value) => drop(record.insert(name, value)),
        }
    }
    Ok(Json::from(Value::Object(std::mem::take(record))))
}
