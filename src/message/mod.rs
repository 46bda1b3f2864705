//! One message between user, model and tools, with everything its source put there.

mod legal;
pub(crate) mod media;
mod metrics;
mod omitted;
mod provider;
mod rule;

use rkyv::{Archive, Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::legal::Pairing;
pub use self::legal::{Repair, legalize, validate};
pub use self::media::{Media, MediaForm, MediaRef};
pub use self::metrics::Metrics;
pub use self::omitted::Omitted;
pub(crate) use self::provider::validate_anthropic_request;
pub use self::provider::{
    Anthropic, LEFT_OUT_IN_FRONT, check_anthropic, check_openai, left_out_of_anthropic,
    left_out_of_openai, to_anthropic, to_openai, validate_anthropic, validate_openai,
};
pub use self::rule::{Place, Rule, Violation};

use crate::json::{Field, Json, JsonObject};

/// One message of a conversation.
///
/// What the engine works with has a field of its own; every other member of the source's
/// record is kept in `extra` as JSON text and given back on export.
///
/// ```
/// use sessionlog::{Message, Role};
///
/// let call = Message::assistant("Let me look.").with_call("call_1", "weather", r#"{"city":"Oslo"}"#);
/// let result = Message::tool("call_1", "4 degrees, rain");
/// assert_eq!(result.tool_call_id.as_deref(), Some(call.tool_calls[0].id.as_deref().unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Archive, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The calls a model makes, in its order.
    pub tool_calls: Vec<ToolCall>,
    /// In a tool's result: the call it answers.
    pub tool_call_id: Option<String>,
    /// The speaker's name, or the tool's.
    pub name: Option<String>,
    /// The model's visible reasoning.
    pub reasoning: Option<String>,
    /// Names the model response this message is a part of. A source that writes one response
    /// as several records (Claude Code) gives them one id; the window puts them together.
    pub response_id: Option<String>,
    /// When it was made, by its source's own clock, in microseconds since 1970. Not an order.
    pub created_at_us: Option<i64>,
    /// Whether it is a copy of an earlier run's message, put into this run's prompt.
    pub from_history: bool,
    /// What the model spent on it.
    pub metrics: Option<Metrics>,
    /// Every other member of the source's record.
    pub extra: Vec<Field>,
    /// What a policy left out of it.
    pub omitted: Omitted,
}

/// Who speaks in a message.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    /// Instructions.
    System = 0,
    /// Instructions, in OpenAI's newer word.
    Developer = 1,
    /// The person.
    User = 2,
    /// The model.
    Assistant = 3,
    /// A tool's result.
    Tool = 4,
    /// Another label, kept as it came.
    Other(String) = 5,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Content {
    /// The record has no content member.
    Absent = 0,
    /// The record says `null`.
    Null = 1,
    /// Plain text, which may be empty.
    Text(String) = 2,
    /// A list of parts.
    Parts(Vec<Part>) = 3,
}

/// One part of a message's content.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Part {
    /// Exactly `{"type":"text","text":...}`.
    Text(String) = 0,
    /// Anything else: an image, a document, reasoning, text with citations.
    Json(Json) = 1,
}

/// A model's call of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct ToolCall {
    /// The name a result answers to. Real transcripts use one id for several calls.
    pub id: Option<String>,
    /// The tool's name.
    pub name: String,
    /// The arguments as the model wrote them: JSON text as a rule, but a model may err.
    pub arguments: String,
    /// The record as it came, where the fields above do not give it back.
    pub source: Option<Json>,
}

impl Role {
    /// The label as providers write it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Other(label) => label,
        }
    }
}

impl From<&str> for Role {
    fn from(label: &str) -> Self {
        match label {
            "system" => Self::System,
            "developer" => Self::Developer,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Content {
    /// All text in it, parts joined by a line break. Empty where there is none.
    pub fn text(&self) -> String {
        match self {
            Self::Absent | Self::Null => String::new(),
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts: Vec<String> = parts.iter().filter_map(Part::text).collect();
                texts.join("\n")
            }
        }
    }

    /// Whether it says nothing at all.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Absent | Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::Parts(parts) => parts.is_empty(),
        }
    }
}

impl Part {
    /// The text of a part of type `text`.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Json(json) => {
                let value = json.to_value();
                (self.kind() == "text").then(|| value.get("text")?.as_str().map(str::to_owned))?
            }
        }
    }

    /// The part's `type`: `text`, `image_url`, `thinking`, ...
    pub fn kind(&self) -> String {
        match self {
            Self::Text(_) => String::from("text"),
            Self::Json(json) => {
                json.to_value().get("type").and_then(|kind| kind.as_str()).unwrap_or("").to_owned()
            }
        }
    }
}

impl ToolCall {
    /// A call as an OpenAI model makes it.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        Self { id: Some(id.into()), name: name.into(), arguments: arguments.into(), source: None }
    }
}

impl Message {
    /// A message of any role.
    pub fn new(role: Role, content: Content) -> Self {
        Self {
            role,
            content,
            tool_calls: Vec::new(),
            tool_call_id: None,
            name: None,
            reasoning: None,
            response_id: None,
            created_at_us: None,
            from_history: false,
            metrics: None,
            extra: Vec::new(),
            omitted: Omitted::default(),
        }
    }

    /// What the person says.
    pub fn user(text: impl Into<String>) -> Self {
        Self::new(Role::User, Content::Text(text.into()))
    }

    /// What the model says.
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::new(Role::Assistant, Content::Text(text.into()))
    }

    /// Instructions.
    pub fn system(text: impl Into<String>) -> Self {
        Self::new(Role::System, Content::Text(text.into()))
    }

    /// A tool's result, answering the call of that id.
    pub fn tool(call_id: impl Into<String>, result: impl Into<String>) -> Self {
        let mut message = Self::new(Role::Tool, Content::Text(result.into()));
        message.tool_call_id = Some(call_id.into());
        message
    }

    /// The same message with one more call in it.
    #[must_use]
    pub fn with_call(
        mut self,
        id: impl Into<String>,
        name: impl Into<String>,
        arguments: impl Into<String>,
    ) -> Self {
        self.tool_calls.push(ToolCall::new(id, name, arguments));
        self
    }

    /// The same message with one more part behind what it says.
    #[must_use]
    pub fn with_part(mut self, part: Part) -> Self {
        let mut parts = match self.content {
            Content::Absent | Content::Null => Vec::new(),
            Content::Text(text) if text.is_empty() => Vec::new(),
            Content::Text(text) => vec![Part::Text(text)],
            Content::Parts(parts) => parts,
        };
        parts.push(part);
        self.content = Content::Parts(parts);
        self
    }

    /// Reads a message as OpenAI's chat format has it. Nothing is lost: what has no field goes
    /// to `extra`, and [`Message::to_json`] gives an equal record back.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the text is no JSON object with
    /// a `role`.
    pub fn from_json(text: &str) -> crate::Result<Self> {
        provider::from_record(JsonObject::parse(text)?)
    }

    /// The message as the record it came from.
    pub fn to_json(&self) -> Json {
        provider::to_record(self).to_json()
    }

    /// What the model says where it refuses to answer: OpenAI's member `refusal`, which stands
    /// beside the content.
    pub fn refusal(&self) -> Option<String> {
        let Some(Value::String(refusal)) = self.extra("refusal").map(Json::to_value) else {
            return None;
        };
        Some(refusal).filter(|refusal| !refusal.is_empty())
    }

    /// The words of an answer that was spoken, which stand beside the content too.
    pub(crate) fn transcript(&self) -> Option<String> {
        let audio = self.extra("audio")?.to_value();
        let words = audio.get("transcript")?.as_str()?;
        (!words.is_empty()).then(|| words.to_owned())
    }

    /// Whether nothing is said in it, wherever a provider puts what is said.
    pub(crate) fn is_wordless(&self) -> bool {
        self.content.is_empty() && self.refusal().is_none() && self.transcript().is_none()
    }

    /// A member of `extra`.
    pub fn extra(&self, name: &str) -> Option<&Json> {
        self.extra.iter().find(|field| field.name == name).map(|field| &field.value)
    }
}
