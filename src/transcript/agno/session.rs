//! What Agno says about a session beside its runs.

use serde::Deserialize;
use serde_json::Value;

use crate::event::SessionType;
use crate::json::{Json, JsonObject};
use crate::transcript::conversation::{self, Conversation};
use crate::transcript::format::Format;
use crate::transcript::kept::{Kept, KeptSummary};
use crate::transcript::source::{Place, text_of};

/// Columns that hold JSON, which `SQLite`'s rows of 2.x hold as text.
const ENCODED: [&str; 6] =
    ["session_data", "agent_data", "team_data", "workflow_data", "metadata", "summary"];

/// JSON that was put into a JSON string, taken out of it.
pub(super) fn decoded(json: &Json) -> Json {
    let inner = text_of(json).and_then(|text| Json::parse(&text).ok());
    let is_nested =
        |inner: &Json| inner.as_str().starts_with(['{', '[']) || inner.as_str() == "null";
    inner.filter(is_nested).unwrap_or_else(|| json.clone())
}

pub(super) fn conversation(session_id: String, object: &JsonObject, place: Place) -> Conversation {
    let mut object = object.clone();
    for field in &mut object.0 {
        if ENCODED.contains(&field.name.as_str()) {
            field.value = decoded(&field.value);
        }
    }
    let kept = kept(&object);
    let data = member(&object, "session_data");
    let name = data.get("session_name").and_then(Value::as_str);
    let mut conversation = Conversation::new(Format::Agno, session_id, place);
    conversation.title = name.and_then(conversation::title);
    conversation.user_id = text(&object, "user_id");
    conversation.metadata = is_object(member(&object, "metadata"));
    conversation.kept = Some(Box::new(kept));
    conversation.data = Some(object.to_json());
    conversation
}

/// The session of a run that stands alone.
pub(super) fn of_run(session_id: &str, run: &JsonObject) -> Conversation {
    let mut conversation = Conversation::new(Format::Agno, session_id.to_owned(), Place::Whole);
    conversation.user_id = text(run, "user_id");
    conversation.kept = Some(Box::new(Kept {
        session_type: session_type(run),
        agent_id: text(run, "agent_id"),
        team_id: text(run, "team_id"),
        workflow_id: text(run, "workflow_id"),
        ..Kept::default()
    }));
    conversation
}

fn kept(object: &JsonObject) -> Kept {
    let session_type = session_type(object);
    let data = match session_type {
        // No name is read as memories, which are no session.
        SessionType::Agent | SessionType::Memories => "agent_data",
        SessionType::Team => "team_data",
        SessionType::Workflow => "workflow_data",
    };
    let state = member(object, "session_data").get("session_state").cloned();
    Kept {
        session_type,
        agent_id: text(object, "agent_id"),
        team_id: text(object, "team_id"),
        workflow_id: text(object, "workflow_id"),
        component_data: object.get(data).filter(|json| json.as_str() != "null").cloned(),
        state: state.and_then(is_object),
        summary: summary(&member(object, "summary")),
        ..Kept::default()
    }
}

/// By its own word, or by what it is a session with: Agno's order.
fn session_type(object: &JsonObject) -> SessionType {
    let named = text(object, "session_type").and_then(|name| name.parse().ok());
    named.unwrap_or_else(|| {
        let has = |name: &str| text(object, name).is_some();
        match () {
            () if has("agent_id") => SessionType::Agent,
            () if has("team_id") => SessionType::Team,
            () if has("workflow_id") => SessionType::Workflow,
            () => SessionType::Agent,
        }
    })
}

fn summary(value: &Value) -> Option<KeptSummary> {
    let text = value.get("summary").unwrap_or(value).as_str()?;
    let topics = value.get("topics").map(Vec::<String>::deserialize);
    let model = value.get("model").and_then(Value::as_str).map(str::to_owned);
    Some(KeptSummary {
        text: text.to_owned(),
        topics: topics.and_then(Result::ok).unwrap_or_default(),
        model,
    })
}

fn member(object: &JsonObject, name: &str) -> Value {
    object.get(name).map(Json::to_value).unwrap_or_default()
}

/// An id. Empty ones are as good as none.
fn text(object: &JsonObject, name: &str) -> Option<String> {
    object.get(name).and_then(text_of).filter(|text| !text.is_empty())
}

fn is_object(value: Value) -> Option<Json> {
    value.is_object().then(|| Json::from(value))
}
