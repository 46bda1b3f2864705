//! Inspect's eval logs as JSON: each sample is a conversation.
//!
//! What was stored apart (`attachment://...`) is put back into the content. A sample's events
//! are a trace of how its messages came about: they are counted by kind and left out, and so
//! is what the log says about all samples together.

mod message;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use self::message::{ATTACHMENT, read_message};
use super::conversation::{Conversation, Parsed};
use super::format::{Format, FormatSpec, Sign};
use super::source::{Broken, Place, Source, count_of, elements, label_of, members, text_of};
use crate::json::{Field, Json, JsonObject, check_depth};
use crate::limits::STATE_DEPTH_MAX;
use crate::message::Metrics;

pub(super) const FORMAT: FormatSpec =
    FormatSpec { name: "inspect", recognise, read, write: None, reserved: None };

/// Members of a log that each of its sessions keeps.
const LOG_MEMBERS: [&str; 4] = ["version", "status", "eval", "plan"];

fn recognise(record: &JsonObject) -> Sign {
    let has = |name: &str| record.get(name).is_some();
    let is_log = has("eval") && (has("samples") || has("status"));
    if is_log { Sign::Certain } else { Sign::None }
}

/// Reads a file: a log, or one a line.
fn read(source: &Source<'_>, stem: &str) -> Parsed {
    let mut parsed = Parsed::default();
    for record in &source.records {
        let log = members(record.text).unwrap_or_default();
        if let Err(broken) = read_log(&log, stem, record.place, &mut parsed) {
            parsed.broken.push(broken);
        }
    }
    parsed
}

fn read_log(log: &JsonObject, stem: &str, place: Place, parsed: &mut Parsed) -> Result<(), Broken> {
    let eval = log.get("eval").ok_or_else(|| place.broken("no log: no eval in it"))?;
    let eval = members(eval.as_str()).unwrap_or_default();
    let ids =
        ["run_id", "task_id"].into_iter().filter_map(|name| eval.get(name).and_then(label_of));
    let ids: Vec<String> = ids.collect();
    let name = if ids.is_empty() { stem.to_owned() } else { ids.join("-") };
    let shared = shared(log, eval);
    let Some(samples) = log.get("samples") else { return Ok(()) };
    let samples = elements(samples.as_str());
    let samples = samples.ok_or_else(|| place.broken("its samples are no list"))?;
    let (place, member) = match place {
        Place::Index(outer) => (Place::Whole, format!("[{outer}].samples")),
        Place::Whole | Place::Line { .. } => (place, String::from("samples")),
    };
    for (index, text) in samples.into_iter().enumerate() {
        let sample = Sample { name: &name, shared: &shared, place, member: &member, index };
        match sample.read(text, parsed) {
            Ok(conversation) => parsed.conversations.push(conversation),
            Err(broken) => parsed.broken.push(broken),
        }
    }
    Ok(())
}

/// What every sample's session keeps of the log. The list of all samples is not in it: a log
/// would grow with the square of its samples.
fn shared(log: &JsonObject, mut eval: JsonObject) -> JsonObject {
    if let Some(mut dataset) = eval.get("dataset").and_then(|dataset| members(dataset.as_str())) {
        drop(dataset.take("sample_ids"));
        eval.set("dataset", dataset.to_json());
    }
    let mut shared = log.clone();
    shared.0.retain(|field| LOG_MEMBERS.contains(&field.name.as_str()));
    shared.set("eval", eval.to_json());
    shared
}

/// Where a sample stands.
struct Sample<'a> {
    /// What the log is called.
    name: &'a str,
    shared: &'a JsonObject,
    place: Place,
    /// The list it is in.
    member: &'a str,
    index: usize,
}

impl Sample<'_> {
    fn read(&self, text: &str, parsed: &mut Parsed) -> Result<Conversation, Broken> {
        let broken = |reason: &str| self.place.broken_in(self.member, self.index, reason);
        let mut sample = members(text).ok_or_else(|| broken("no sample: no object"))?;
        let messages = sample.take("messages");
        let messages = messages.ok_or_else(|| broken("a sample without messages"))?;
        let stored = sample.take("attachments").unwrap_or_else(|| Json::from(Value::Null));
        let stored = members(stored.as_str()).unwrap_or_default();
        let mut events = BTreeMap::new();
        for name in ["events", "transcript"] {
            count_events(sample.take(name).as_ref(), &mut events);
        }
        let data = self.data(&sample, &stored);
        check_depth(data.as_str(), STATE_DEPTH_MAX)
            .map_err(|reason| broken(&reason.to_string()))?;
        let session_id = self.session_id(&sample);
        let mut conversation = Conversation::new(Format::Inspect, session_id, self.place);
        conversation.data = Some(data);
        let attachments = attachments(stored);
        let member = format!("{}[{}].messages", self.member, self.index);
        let at = (self.place, member.as_str());
        let read = |conversation: &mut Conversation, text: &str| {
            read_message(conversation, text, &attachments)
        };
        let all = conversation.read_list_with(messages.as_str(), at, read, &mut parsed.broken);
        all.map_err(|whole| broken(&whole.reason))?;
        if let Some(metrics) = spent(&sample).filter(|_| !conversation.says_what_it_spent()) {
            conversation.spend(metrics);
        }
        for (kind, count) in events {
            *parsed.ignored.entry(kind).or_default() += count;
        }
        Ok(conversation)
    }

    /// What is kept of the log and the sample beside the messages, with the attachments that
    /// are named in it.
    fn data(&self, sample: &JsonObject, stored: &JsonObject) -> Json {
        let mut sample = sample.clone();
        let text = sample.to_json();
        let named: HashSet<&str> = text.as_str().split(ATTACHMENT).skip(1).map(hex).collect();
        let mut stored = stored.clone();
        stored.0.retain(|field| named.contains(field.name.as_str()));
        if !stored.0.is_empty() {
            sample.set("attachments", stored.to_json());
        }
        let mut data = self.shared.clone();
        data.set("sample", sample.to_json());
        data.to_json()
    }

    /// A run may have several tasks, and a task several runs; a sample is in each run once an
    /// epoch.
    fn session_id(&self, sample: &JsonObject) -> String {
        let id =
            sample.get("id").and_then(label_of).unwrap_or_else(|| (self.index + 1).to_string());
        let epoch = sample.get("epoch").and_then(label_of).unwrap_or_else(|| String::from("1"));
        format!("{}-sample{id}-epoch{epoch}", self.name)
    }
}

/// The digits that a text begins with: the id of an attachment.
fn hex(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_hexdigit()).next().unwrap_or_default()
}

fn attachments(stored: JsonObject) -> HashMap<String, String> {
    let fields = stored.0.into_iter();
    fields.filter_map(|Field { name, value }| Some((name, text_of(&value)?))).collect()
}

fn count_events(events: Option<&Json>, kinds: &mut BTreeMap<String, u64>) {
    let list = |events: &Json| {
        let inner = members(events.as_str()).and_then(|mut events| events.take("events"));
        inner.unwrap_or_else(|| events.clone())
    };
    let Some(events) = events.map(list) else { return };
    for event in elements(events.as_str()).unwrap_or_default() {
        let kind = members(event).and_then(|event| text_of(event.get("event")?));
        let kind = kind.unwrap_or_else(|| String::from("other"));
        *kinds.entry(kind).or_default() += 1;
    }
}

/// What the sample spent, all its models together.
fn spent(sample: &JsonObject) -> Option<Metrics> {
    let mut metrics = Metrics::default();
    for Field { value, .. } in members(sample.get("model_usage")?.as_str())?.0 {
        let Some(usage) = members(value.as_str()) else { continue };
        let tokens = |name: &str| usage.get(name).and_then(count_of).unwrap_or(0);
        let mut model = Metrics::tokens(tokens("input_tokens"), tokens("output_tokens"));
        model.total_tokens = tokens("total_tokens").max(model.total_tokens);
        model.cache_read_tokens = tokens("input_tokens_cache_read");
        model.cache_write_tokens = tokens("input_tokens_cache_write");
        model.reasoning_tokens = tokens("reasoning_tokens");
        metrics.add(&model);
    }
    Some(metrics).filter(|metrics| !metrics.is_empty())
}
