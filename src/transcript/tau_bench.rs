//! tau-bench's result files: a list of trials, each with the messages of one conversation.

use super::conversation::{Conversation, Parsed};
use super::documents::list;
use super::export::Recorded;
use super::format::{Format, FormatSpec, Sign};
use super::source::{Broken, Record, Source, label_of, members};
use crate::error::Result;
use crate::json::{Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;

pub(super) const FORMAT: FormatSpec = FormatSpec {
    name: "tau-bench",
    recognise,
    read,
    write: Some(|recorded| Ok(vec![document(recorded)?])),
    reserved: None,
};

fn recognise(record: &JsonObject) -> Sign {
    if record.get("traj").is_some() { Sign::Certain } else { Sign::None }
}

/// Reads a file of trials.
fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for record in &source.records {
        match trial(record, stem, &mut parsed.broken) {
            Ok(conversation) => parsed.conversations.push(conversation),
            Err(broken) => parsed.broken.push(broken),
        }
    }
    parsed
}

fn trial(
    record: &Record<'_>,
    stem: &str,
    broken: &mut Vec<Broken>,
) -> Result<Conversation, Broken> {
    let mut trial = members(record.text).unwrap_or_default();
    let traj = trial.take("traj").ok_or_else(|| record.place.broken("no trial: no traj in it"))?;
    let data = trial.to_json();
    check_depth(data.as_str(), STATE_DEPTH_MAX).map_err(|reason| record.place.broken(reason))?;
    let task = trial.get("task_id").and_then(label_of);
    let task = task.unwrap_or_else(|| (record.place.ordinal() - 1).to_string());
    let number = trial.get("trial").and_then(label_of).unwrap_or_else(|| String::from("0"));
    let session_id = format!("{stem}-task{task}-trial{number}");
    let mut conversation = Conversation::new(Format::TauBench, session_id, record.place);
    conversation.data = Some(data);
    conversation.read_list(traj.as_str(), (record.place, "traj"), broken)?;
    Ok(conversation)
}

/// Writes a session as a trial. One that was never a trial becomes the only trial of a task of
/// its own name.
fn document(recorded: &Recorded) -> Result<Json> {
    let mut trial = recorded.data(Format::TauBench)?.unwrap_or_else(|| {
        let mut trial = JsonObject::default();
        trial.set("task_id", Json::string(&recorded.view().session_id));
        trial.set("trial", Json::from(serde_json::Value::from(0)));
        trial
    });
    trial.set("traj", list(&recorded.plain()?));
    Ok(trial.to_json())
}
