//! What is left of one event.

use serde_json::Value;

use super::prune::{ToolTalk, is_tool_part, prune};
use crate::event::{EventBody, MessageAdded, OlderRuns, RunStarted};
use crate::json::{Field, Json, JsonObject};
use crate::message::media::{drop_media, is_media_part};
use crate::message::{Content, Message, Omitted, Part, Role};

/// What goes from one event. Two of them together are one, and doing it again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether it goes")]
pub(crate) struct Reduction {
    /// Images, recordings, videos and files.
    pub(crate) media: bool,
    /// Tools' results, and all that tools said elsewhere.
    pub(crate) tools: bool,
    /// A message that is a copy of an earlier run's.
    pub(crate) history: bool,
    /// The calls that go with their results.
    pub(crate) calls: Calls,
    /// What becomes of the whole run.
    pub(crate) run: Option<OlderRuns>,
    /// Whether the run goes on: a result keeps the id of its call, which goes when the run ends.
    pub(crate) is_arrival: bool,
}

/// Which of a message's calls go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Calls {
    /// None.
    #[default]
    Stay,
    /// Those at these places among the message's calls, in order.
    Some(Vec<usize>),
    /// All.
    All,
}

impl Calls {
    fn goes(&self, at: usize) -> bool {
        match self {
            Self::Stay => false,
            Self::Some(places) => places.binary_search(&at).is_ok(),
            Self::All => true,
        }
    }

    fn meet(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Stay, _) | (_, Self::Stay) => Self::Stay,
            (Self::All, calls) | (calls, Self::All) => calls.clone(),
            (Self::Some(a), Self::Some(b)) => {
                Self::Some(a.iter().copied().filter(|at| b.binary_search(at).is_ok()).collect())
            }
        }
    }
}

/// Names under which formats keep a source's own record of a message. It holds what the message
/// holds, so it goes with any part of it.
const SOURCE_RECORDS: [&str; 4] = ["anthropic.", "claude_code.", "swe_agent.", "openhands"];

/// Parts of a content in which a model thinks. Nobody is told them.
const THOUGHTS: [&str; 3] = ["thinking", "redacted_thinking", "reasoning"];

impl Reduction {
    /// Whether nothing goes.
    pub(crate) fn is_empty(&self) -> bool {
        !self.media
            && !self.tools
            && !self.history
            && self.calls == Calls::Stay
            && self.run.is_none()
    }

    /// What both take away.
    pub(crate) fn meet(&self, other: &Self) -> Self {
        Self {
            media: self.media && other.media,
            tools: self.tools && other.tools,
            history: self.history && other.history,
            calls: self.calls.meet(&other.calls),
            run: self.run.zip(other.run).map(|(a, b)| a.min(b)),
            is_arrival: self.is_arrival || other.is_arrival,
        }
    }

    /// What is left of a body; `None` where all of it is.
    pub(crate) fn apply(&self, body: &EventBody) -> Option<EventBody> {
        match body {
            EventBody::MessageAdded(added) => {
                self.message(&added.message).map(|message| MessageAdded { message }.into())
            }
            EventBody::RunStarted(started) => self.run_started(started).map(EventBody::from),
            EventBody::ImportedFrom(imported) => {
                let mut left = imported.clone();
                self.prune(&mut left.data, "data");
                (left != *imported).then(|| left.into())
            }
            EventBody::ToolExecuted(tool) if self.tools || self.run.is_some() => {
                let mut left = tool.clone();
                (left.tool_args, left.result) = (None, None);
                (left != *tool).then(|| left.into())
            }
            EventBody::ToolExecuted(tool) if self.media => {
                let mut left = tool.clone();
                self.prune(&mut left.tool_args, "tool_args");
                left.result = left.result.and_then(without_media);
                (left != *tool).then(|| left.into())
            }
            EventBody::RunPaused(paused) if self.run.is_some() && paused.reason.is_some() => {
                let mut left = paused.clone();
                left.reason = None;
                Some(left.into())
            }
            EventBody::RunFinished(finished) if self.run.is_some() && finished.reason.is_some() => {
                let mut left = finished.clone();
                left.reason = None;
                Some(left.into())
            }
            _ => None,
        }
    }

    fn message(&self, message: &Message) -> Option<Message> {
        if message.omitted.message {
            // The call that it answered is gone too, and an id is used again.
            let is_answer = self.tools && !self.is_arrival && message.tool_call_id.is_some();
            return is_answer.then(|| Message { tool_call_id: None, ..message.clone() });
        }
        let is_tools = self.tools && message.role == Role::Tool;
        if is_tools || (self.history && message.from_history) || self.run.is_some() {
            return Some(self.omitted(message, message.omitted));
        }
        let mut left = message.clone();
        self.take_calls(&mut left);
        self.take_parts(&mut left);
        if left.omitted == message.omitted {
            return None;
        }
        left.extra.retain(|field| !is_source_record(&field.name));
        let said_tools = (left.omitted.tool_calls, left.omitted.tool_parts) != (0, 0);
        if said_tools && left.tool_calls.is_empty() && says_nothing(&left.content) {
            return Some(self.omitted(message, message.omitted));
        }
        Some(left)
    }

    /// What is left of a message that goes as a whole.
    fn omitted(&self, message: &Message, before: Omitted) -> Message {
        let mut left = Message::new(message.role.clone(), Content::Absent);
        left.from_history = message.from_history;
        left.metrics = message.metrics;
        // What is left of its response still is one: it says which calls a result answers.
        left.response_id.clone_from(&message.response_id);
        // A copy answers nobody.
        if self.is_arrival && self.tools && !message.from_history {
            left.tool_call_id.clone_from(&message.tool_call_id);
        }
        let calls = u32::try_from(message.tool_calls.len()).unwrap_or(u32::MAX);
        left.omitted = Omitted {
            message: true,
            tool_calls: before.tool_calls.saturating_add(calls),
            ..Omitted::default()
        };
        left
    }

    fn take_calls(&self, message: &mut Message) {
        let calls = std::mem::take(&mut message.tool_calls);
        for (at, call) in calls.into_iter().enumerate() {
            if self.calls.goes(at) {
                message.omitted.tool_calls = message.omitted.tool_calls.saturating_add(1);
            } else {
                message.tool_calls.push(call);
            }
        }
    }

    fn take_parts(&self, message: &mut Message) {
        let Message { content, extra, omitted, .. } = message;
        if let Content::Parts(parts) = content {
            *parts = std::mem::take(parts)
                .into_iter()
                .filter_map(|part| self.part(part, omitted))
                .collect();
        }
        *extra = std::mem::take(extra)
            .into_iter()
            .filter_map(|field| {
                // A source's record goes if anything does, and says nothing of its own.
                if is_source_record(&field.name) { Some(field) } else { self.field(field, omitted) }
            })
            .collect();
    }

    fn part(&self, part: Part, omitted: &mut Omitted) -> Option<Part> {
        let Part::Json(json) = part else { return Some(part) };
        let kind = Part::Json(json.clone()).kind();
        if self.media && is_media_part(&kind) {
            omitted.media = omitted.media.saturating_add(1);
            return None;
        }
        if self.tools && is_tool_part(&kind) {
            omitted.tool_parts = omitted.tool_parts.saturating_add(1);
            return None;
        }
        self.json(json, None, omitted).map(Part::Json)
    }

    fn field(&self, field: Field, omitted: &mut Omitted) -> Option<Field> {
        let Field { name, value } = field;
        let value = self.json(value, Some(&name), omitted)?;
        Some(Field { name, value })
    }

    /// What is left of a value, which may be a member of a name.
    fn json(&self, json: Json, name: Option<&str>, omitted: &mut Omitted) -> Option<Json> {
        let mut json = json;
        if self.media
            && let Some((left, count)) = drop_media(&json, name)
        {
            omitted.media = omitted.media.saturating_add(count);
            json = left?;
        }
        if !self.tools {
            return Some(json);
        }
        let Some(name) = name else {
            let Some((left, count)) = prune(&json, &ToolTalk) else { return Some(json) };
            omitted.tool_parts = omitted.tool_parts.saturating_add(count);
            return left;
        };
        // Looked at with its name, as in any other object.
        let member = JsonObject(vec![Field { name: name.to_owned(), value: json.clone() }]);
        let Some((left, count)) = prune(&member.to_json(), &ToolTalk) else { return Some(json) };
        omitted.tool_parts = omitted.tool_parts.saturating_add(count);
        let left: JsonObject = serde_json::from_str(left?.as_str()).ok()?;
        left.0.into_iter().next().map(|field| field.value)
    }

    /// Takes what goes out of a value.
    fn prune(&self, json: &mut Option<Json>, name: &str) {
        let mut omitted = Omitted::default();
        *json = json.take().and_then(|json| self.json(json, Some(name), &mut omitted));
    }

    fn run_started(&self, started: &RunStarted) -> Option<RunStarted> {
        let mut left = started.clone();
        if let Some(run) = self.run {
            (left.input, left.extra) = (None, Vec::new());
            left.reduced = left.reduced.max(Some(run));
            if run == OlderRuns::Dropped {
                (left.agent_id, left.team_id) = (None, None);
                (left.model, left.model_provider) = (None, None);
            }
        } else {
            self.prune(&mut left.input, "input");
            let mut omitted = Omitted::default();
            left.extra = std::mem::take(&mut left.extra)
                .into_iter()
                .filter_map(|field| self.field(field, &mut omitted))
                .collect();
        }
        (left != *started).then_some(left)
    }
}

/// What is left of what a tool gave back, which may be JSON, a medium, or words.
fn without_media(result: String) -> Option<String> {
    let json = Json::parse(&result).unwrap_or_else(|_| Json::from(Value::from(result.as_str())));
    match drop_media(&json, None) {
        Some((left, _)) => left.map(|left| left.as_str().to_owned()),
        None => Some(result),
    }
}

fn is_source_record(name: &str) -> bool {
    SOURCE_RECORDS.iter().any(|record| name.starts_with(record))
}

/// Whether nobody is told anything.
fn says_nothing(content: &Content) -> bool {
    match content {
        Content::Parts(parts) => parts.iter().all(|part| THOUGHTS.contains(&part.kind().as_str())),
        other => other.is_empty(),
    }
}
