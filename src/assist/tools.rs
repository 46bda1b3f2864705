//! Tools that let an agent look into its own past, and keep notes in its state.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::access::Access;
use crate::catalog::{SessionQuery, SortBy, SortOrder};
use crate::commit::Ticket;
use crate::engine::{Engine, Session};
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Field, Json};
use crate::limits::{
    LIST_PAGE_MAX, TOOL_ANSWER_BYTES_MAX, TOOL_CALLS_MAX, TOOL_EVENTS_MAX, TOOL_MESSAGES_MAX,
    TOOL_SESSIONS_MAX, TOOL_TEXT_CHARS_MAX,
};
use crate::message::{Message, Role, ToolCall};
use crate::model::ToolDefinition;
use crate::projection::SessionView;
use crate::replay::Point;
#[cfg(feature = "search")]
use crate::search::SearchQuery;

/// Messages that are told where the model does not say how many.
const MESSAGES_DEFAULT: usize = 20;
/// Past sessions that are listed where the model does not say how many: as in Agno.
const SESSIONS_DEFAULT: usize = 20;
/// Runs at the beginning of a past session that are shown of it, messages in them, and characters
/// of each.
const PREVIEW_RUNS: u64 = 3;
const PREVIEW_MESSAGES: usize = 8;
const PREVIEW_CHARS: usize = 200;
/// Messages that are read at first, and how many times as many where they do not do.
const REACH_FIRST: usize = 32;
const REACH_GROWTH: usize = 4;
/// Messages that are shown of a past session because they hold the words.
const SAID_SHOWN: usize = 3;
/// Hits among which the sessions are that a search tells.
#[cfg(feature = "search")]
const TOOL_HITS_MAX: usize = 200;
/// Calls that are told where the model does not say how many: as in Agno.
const CALLS_DEFAULT: usize = 3;

/// Ready tools for a model, bound to one session and its owner.
///
/// They have the names and the meanings of Agno's: `get_chat_history`, `get_tool_call_history`,
/// `search_past_sessions`, `read_past_session` and `update_session_state`. Whatever a model
/// asks for, it reaches its own session, and the other sessions of the same owner to read; a session
/// of anybody else is for it one that does not exist. A session without an owner sees others
/// without one.
///
/// ```
/// use sessionlog::{Engine, Message, Metrics};
///
/// let engine = Engine::in_memory()?;
/// let session = engine.session("s1").user("alice").open()?;
/// session.record_run([Message::user("I live in Oslo")], Metrics::default())?.wait()?;
///
/// let tools = session.tools();
/// assert_eq!(tools.definitions()[0].name, "get_chat_history");
/// // A model's message with a call goes in, the tool's message comes out.
/// let call = Message::assistant("").with_call("call_1", "get_chat_history", "{}");
/// let answer = tools.answer(&call.tool_calls[0])?.expect("one of these tools");
/// assert!(answer.content.text().contains("Oslo"));
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SessionTools {
    session: Session,
}

/// What a tool answers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolAnswer {
    /// What the model is told.
    pub content: String,
    /// Whether it asked for something that makes no sense. It is told what, and may ask again.
    pub is_error: bool,
}

/// What the model got wrong, in words for it.
struct Misuse(String);

/// Why a tool gives no answer.
enum Trouble {
    /// The model is told.
    Misuse(String),
    /// The caller is.
    Engine(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Misuse> for Trouble {
    fn from(Misuse(words): Misuse) -> Self {
        Self::Misuse(words)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatHistory {
    num_chats: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToolCallHistory {
    num_calls: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PastSessions {
    query: Option<String>,
    num_sessions: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PastSession {
    session_id: String,
    num_runs: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StateUpdate {
    session_state_updates: Map<String, Value>,
}

impl Session {
    /// Tools through which a model reads this session and the past ones of its owner, and
    /// changes this one's state.
    pub fn tools(&self) -> SessionTools {
        SessionTools { session: self.clone() }
    }
}

impl SessionTools {
    /// The tools as a model is told of them.
    pub fn definitions(&self) -> Vec<ToolDefinition> {
        let integer = |about: &str| json!({"type": "integer", "minimum": 1, "description": about});
        let text = |about: &str| json!({"type": "string", "description": about});
        let reach = format!("It looks back over the last {TOOL_EVENTS_MAX} events at most.");
        vec![
            define(
                "get_chat_history",
                &format!(
                    "What user and assistant said last in this session, oldest first, as JSON, as \
                     far as an answer has room. {reach}"
                ),
                &json!({"num_chats": integer("How many of the last messages; 20 unless given.")}),
                &[],
            ),
            define(
                "get_tool_call_history",
                &format!(
                    "The last tool calls of this session with their results, newest first, as \
                     JSON. {reach}"
                ),
                &json!({"num_calls": integer("How many; 3 unless given.")}),
                &[],
            ),
            define(
                "search_past_sessions",
                "Earlier sessions of the same user, the newest first, with how each began; or \
                 those in which some words were said, with what was said. Read one with \
                 read_past_session.",
                &json!({
                    "query": text("Words that must have been said. Leave it out to list all."),
                    "num_sessions": integer("How many sessions at most; 20 unless given."),
                }),
                &[],
            ),
            define(
                "read_past_session",
                &format!(
                    "What user and assistant said last in an earlier session of the same user, \
                     as far as an answer has room. {reach}"
                ),
                &json!({
                    "session_id": text("The session, as search_past_sessions names it."),
                    "num_runs": integer("Only the last so many turns."),
                }),
                &["session_id"],
            ),
            define(
                "update_session_state",
                "Changes this session's state. Objects are merged key by key; every other value \
                 takes the place of the one before.",
                &json!({"session_state_updates": {
                    "type": "object", "description": "The keys to set, with their values.",
                }}),
                &["session_state_updates"],
            ),
        ]
    }

    /// Answers a model's call with the message to send back. `None` where it is no call of one
    /// of these tools.
    ///
    /// # Errors
    /// Whatever the engine fails with. What the model gets wrong is no error: it is told.
    pub fn answer(&self, call: &ToolCall) -> Result<Option<Message>> {
        let answer = self.execute(&call.name, &call.arguments)?;
        let id = call.id.clone().unwrap_or_default();
        Ok(answer.map(|answer| {
            let mut message = Message::tool(id, answer.content);
            if answer.is_error {
                // As Anthropic's requests have it; OpenAI's know of no such thing.
                let (name, value) = (String::from("is_error"), Json::from(json!(true)));
                message.extra.push(Field { name, value });
            }
            message
        }))
    }

    /// Does what a call by this name with these arguments, a JSON object, asks for. `None` where
    /// none of these tools has the name.
    pub fn execute(&self, name: &str, arguments: &str) -> Result<Option<ToolAnswer>> {
        let done = match name {
            "get_chat_history" => parse(arguments).and_then(|asked| self.chat_history(&asked)),
            "get_tool_call_history" => parse(arguments).and_then(|asked| self.tool_calls(&asked)),
            "search_past_sessions" => parse(arguments).and_then(|asked| self.past_sessions(&asked)),
            "read_past_session" => parse(arguments).and_then(|asked| self.past_session(&asked)),
            "update_session_state" => parse(arguments).and_then(|asked| self.update_state(asked)),
            _ => return Ok(None),
        };
        match done {
            Ok(content) => Ok(Some(ToolAnswer { content, is_error: false })),
            Err(Trouble::Misuse(words)) => {
                Ok(Some(ToolAnswer { content: format!("Error: {words}"), is_error: true }))
            }
            Err(Trouble::Engine(error)) => Err(error),
        }
    }

    fn chat_history(&self, asked: &ChatHistory) -> Result<String, Trouble> {
        let count = asked.num_chats.unwrap_or(MESSAGES_DEFAULT);
        Ok(last_said(&self.session, None, count)?)
    }

    fn tool_calls(&self, asked: &ToolCallHistory) -> Result<String, Trouble> {
        let wanted = asked.num_calls.unwrap_or(CALLS_DEFAULT).min(TOOL_CALLS_MAX);
        let mut reach = wanted.saturating_mul(REACH_GROWTH).max(1);
        let there = readable(&self.session)?;
        // Reads further back until there are enough, so a long session costs what is told of it.
        loop {
            let window = self.session.window().all_statuses().looking_back(TOOL_EVENTS_MAX);
            let messages = window.last_messages(reach).media_as_references().messages()?;
            let mut calls = calls_with_results(&messages);
            if calls.len() >= wanted || reach >= there {
                calls.reverse();
                calls.truncate(wanted);
                return Ok(first_that_fit(&calls));
            }
            reach = reach.saturating_mul(REACH_GROWTH);
        }
    }

    fn past_sessions(&self, asked: &PastSessions) -> Result<String, Trouble> {
        let count = asked.num_sessions.unwrap_or(SESSIONS_DEFAULT).min(TOOL_SESSIONS_MAX);
        let words = asked.query.as_deref().map(str::trim).filter(|words| !words.is_empty());
        let found = match words {
            Some(words) => self.saying(words, count)?,
            None => self.newest(count)?.into_iter().map(|id| (id, None)).collect(),
        };
        let (mut shown, mut left, mut room) = (Vec::new(), found.len(), TOOL_ANSWER_BYTES_MAX);
        for (session_id, said) in found {
            let preview = self.preview(&session_id, said)?;
            // Those that have no room are not read.
            if preview.as_ref().is_some_and(|preview| !fits(&mut room, &preview.to_string())) {
                break;
            }
            shown.extend(preview);
            left -= 1;
        }
        Ok(told(&shown, left))
    }

    /// The owner's other sessions in which anything was said, the newest first.
    fn newest(&self, count: usize) -> Result<Vec<String>> {
        let query = SessionQuery::new(self.reach()?)
            .sort(SortBy::CreatedAt, SortOrder::Descending)
            // One more, because this session may be among them.
            .limit((count + 1).min(LIST_PAGE_MAX));
        let mut ids = Vec::new();
        for page in 1.. {
            let found = self.engine().sessions(&query.clone().page(page))?.sessions;
            let is_last = found.is_empty();
            let is_other =
                |view: &SessionView| view.session_id != self.session.id() && view.run_count > 0;
            ids.extend(found.into_iter().filter(is_other).map(|view| view.session_id));
            if is_last || ids.len() >= count {
                break;
            }
        }
        ids.truncate(count);
        Ok(ids)
    }

    /// The owner's other sessions in which the words were said, the best first, with what was
    /// said.
    #[cfg(feature = "search")]
    fn saying(&self, words: &str, count: usize) -> Result<Vec<Said>, Trouble> {
        let query = SearchQuery::new(self.reach()?, words).limit(TOOL_HITS_MAX);
        let mut found: Vec<Said> = Vec::new();
        // Again without the sessions that were found: one that says much hides no other.
        while found.len() < count {
            let known = found.iter().map(|(session_id, _)| session_id.as_str());
            let query = query.clone().without_sessions(known.chain([self.session.id()]));
            let hits = self.engine().search(&query).map_err(misuse)?.hits;
            if hits.is_empty() {
                break;
            }
            for hit in hits {
                let shown = json!({"role": hit.role, "content": hit.snippet});
                match found.iter_mut().find(|(session_id, _)| *session_id == hit.session_id) {
                    Some((_, Some(said))) if said.len() < SAID_SHOWN => said.push(shown),
                    Some(_) => {}
                    None => found.push((hit.session_id, Some(vec![shown]))),
                }
            }
        }
        found.truncate(count);
        Ok(found)
    }

    /// The same without an index: among the owner's newest sessions.
    #[cfg(not(feature = "search"))]
    fn saying(&self, words: &str, count: usize) -> Result<Vec<Said>, Trouble> {
        let mut found = Vec::new();
        for session_id in self.newest(TOOL_SESSIONS_MAX)? {
            let Ok(session) = self.open(&session_id)? else { continue };
            let said = saying(&session, words)?;
            if !said.is_empty() && found.len() < count {
                found.push((session_id, Some(said)));
            }
        }
        Ok(found)
    }

    /// A past session as it is listed. `None` where it is gone by now.
    fn preview(&self, session_id: &str, said: Option<Vec<Value>>) -> Result<Option<Value>> {
        let Ok(session) = self.open(session_id)? else { return Ok(None) };
        let view = session.view()?;
        let begins_at = |point: Point| -> Result<Vec<Value>> {
            let at = session.at(point)?;
            let window = at.window().all_runs().all_statuses().looking_back(TOOL_EVENTS_MAX);
            let messages = window.media_as_references().messages()?;
            let lines = messages.iter().filter_map(|message| line(message, PREVIEW_CHARS));
            Ok(lines.take(PREVIEW_MESSAGES).collect())
        };
        let mut begins = match view.run_count {
            0 => Vec::new(),
            runs => begins_at(Point::run(PREVIEW_RUNS.min(runs)))?,
        };
        // Where nothing is left of the first runs, what is left begins later.
        if begins.is_empty() {
            begins = begins_at(Point::Head)?;
        }
        let mut shown = json!({
            "session_id": view.session_id,
            "session_name": view.name,
            "created_at": view.created_at_us / 1_000_000,
            "runs": view.run_count,
            "begins": begins,
        });
        if let (Some(said), Some(members)) = (said, shown.as_object_mut()) {
            members.insert(String::from("said"), said.into());
        }
        Ok(Some(shown))
    }

    fn past_session(&self, asked: &PastSession) -> Result<String, Trouble> {
        let session = self.open(&asked.session_id)?.map_err(|Gone| {
            Misuse(format!("there is no past session {:?} of this user", asked.session_id))
        })?;
        Ok(last_said(&session, asked.num_runs, TOOL_MESSAGES_MAX)?)
    }

    fn update_state(&self, asked: StateUpdate) -> Result<String, Trouble> {
        let keys: Vec<String> = asked.session_state_updates.keys().cloned().collect();
        let changes = Value::Object(asked.session_state_updates);
        let ticket = self.session.merge_state(changes);
        ticket.and_then(Ticket::wait).map_err(misuse)?;
        Ok(format!("Changed {}.", clip(&keys.join(", "), TOOL_TEXT_CHARS_MAX)))
    }

    fn engine(&self) -> &Engine {
        self.session.engine()
    }

    /// What the session's owner reaches, whoever opened the session.
    fn reach(&self) -> Result<Access> {
        Ok(self.session.view()?.user_id.map_or(Access::Nobody, Access::User))
    }

    /// Another session of the owner's. One of somebody else's is told like one that is not
    /// there, so that nobody learns which there are.
    fn open(&self, session_id: &str) -> Result<Result<Session, Gone>> {
        let builder = self.engine().session(session_id);
        let builder = match self.reach()? {
            Access::User(user) => builder.user(user),
            _ => builder,
        };
        match builder.open_existing() {
            Ok(session) => Ok(Ok(session)),
            Err(error) => match error.kind() {
                ErrorKind::NotFound { .. }
                | ErrorKind::Forbidden
                | ErrorKind::Invalid { .. }
                | ErrorKind::Limit { .. } => Ok(Err(Gone)),
                _ => Err(error),
            },
        }
    }
}

/// A session, and what was said in it that was looked for.
type Said = (String, Option<Vec<Value>>);

/// What is too deep, too large or no word at all is the model's doing.
fn misuse(error: Error) -> Trouble {
    match error.kind() {
        ErrorKind::Invalid { .. } | ErrorKind::Limit { .. } => {
            Trouble::Misuse(error.kind().to_string())
        }
        _ => Trouble::Engine(error),
    }
}

/// There is no such session within reach.
struct Gone;

fn define(name: &str, description: &str, members: &Value, required: &[&str]) -> ToolDefinition {
    let schema = json!({
        "type": "object",
        "properties": members,
        "required": required,
        "additionalProperties": false,
    });
    ToolDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: Json::from(schema),
    }
}

/// Models leave arguments out as nothing, as `null` and as `{}`.
fn parse<T: for<'a> Deserialize<'a>>(arguments: &str) -> Result<T, Trouble> {
    let arguments = match arguments.trim() {
        "" | "null" => "{}",
        arguments => arguments,
    };
    serde_json::from_str(arguments)
        .map_err(|error| Trouble::Misuse(format!("the arguments do not fit: {error}")))
}

/// What was said that holds all of the words, in any case.
#[cfg(not(feature = "search"))]
fn saying(session: &Session, words: &str) -> Result<Vec<Value>> {
    let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
    let mut found = said(session, None, TOOL_MESSAGES_MAX)?;
    found.retain(|line| {
        let text = line.get("content").and_then(Value::as_str).unwrap_or_default().to_lowercase();
        words.iter().all(|word| text.contains(word))
    });
    found.reverse();
    found.truncate(SAID_SHOWN);
    Ok(found)
}

/// What user and assistant said last: no more messages than are asked for and than an answer has
/// room for. Reads further back until there are, so it costs what is told and not what is there.
fn last_said(session: &Session, runs: Option<usize>, count: usize) -> Result<String> {
    let count = count.min(TOOL_MESSAGES_MAX);
    let there = readable(session)?;
    let mut reach = count.min(REACH_FIRST);
    loop {
        let mut lines = said(session, runs, reach)?;
        let bytes: usize = lines.iter().map(|line| line.to_string().len() + 1).sum();
        if lines.len() >= count || bytes > TOOL_ANSWER_BYTES_MAX || reach >= there {
            lines.drain(..lines.len().saturating_sub(count));
            return Ok(last_that_fit(&lines));
        }
        reach = reach.saturating_mul(REACH_GROWTH);
    }
}

/// What user and assistant said in the last messages, in runs of any status.
fn said(session: &Session, runs: Option<usize>, messages: usize) -> Result<Vec<Value>> {
    let window = session.window().all_statuses().skip_role(Role::Tool).skip_role(Role::System);
    let window = window.looking_back(TOOL_EVENTS_MAX).last_messages(messages);
    let window = if let Some(runs) = runs { window.runs(runs) } else { window };
    let messages = window.media_as_references().messages()?;
    Ok(messages.iter().filter_map(|message| line(message, TOOL_TEXT_CHARS_MAX)).collect())
}

/// How many messages of a session there are to be read.
fn readable(session: &Session) -> Result<usize> {
    let all = usize::try_from(session.view()?.message_count).unwrap_or(usize::MAX);
    Ok(all.min(TOOL_EVENTS_MAX))
}

fn line(message: &Message, chars_max: usize) -> Option<Value> {
    let text = message.content.text();
    let is_said = matches!(message.role, Role::User | Role::Assistant) && !text.trim().is_empty();
    is_said.then(|| json!({"role": message.role.as_str(), "content": clip(&text, chars_max)}))
}

/// So many characters, and no more bytes of JSON than so many of the widest take: a control
/// character takes more.
fn clip(text: &str, chars_max: usize) -> String {
    let mut room = 4 * chars_max;
    let has_room = |character: &char| {
        let bytes = if character.is_ascii_control() { 6 } else { character.len_utf8() };
        room.checked_sub(bytes).inspect(|left| room = *left).is_some()
    };
    let mut short: String = text.chars().take(chars_max).take_while(has_room).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// The calls of a legal list, oldest first, each with its result.
fn calls_with_results(messages: &[Message]) -> Vec<Value> {
    let mut told = Vec::new();
    let mut rest = messages;
    while let Some((message, behind)) = rest.split_first() {
        rest = behind;
        for (call, result) in message.tool_calls.iter().zip(behind) {
            told.push(json!({
                "tool_name": clip(&call.name, PREVIEW_CHARS),
                "tool_args": clip(&call.arguments, TOOL_TEXT_CHARS_MAX),
                "result": clip(&result.content.text(), TOOL_TEXT_CHARS_MAX),
            }));
        }
    }
    told
}

/// As many as a model can be told, from the front.
fn first_that_fit(list: &[Value]) -> String {
    let mut room = TOOL_ANSWER_BYTES_MAX;
    let fit = list.iter().map(Value::to_string).take_while(|text| fits(&mut room, text)).count();
    told(list.get(..fit).unwrap_or_default(), list.len() - fit)
}

/// As many as a model can be told, from the back. Nobody counted what is before them.
fn last_that_fit(list: &[Value]) -> String {
    let mut room = TOOL_ANSWER_BYTES_MAX;
    let back = list.iter().rev().map(Value::to_string);
    let fit = back.take_while(|text| fits(&mut room, text)).count();
    let shown = list.get(list.len() - fit..).unwrap_or_default();
    if fit == list.len() {
        return Value::from(shown).to_string();
    }
    json!({"shown": shown, "older_left_out_for_length": true}).to_string()
}

fn fits(room: &mut usize, text: &str) -> bool {
    let left = room.checked_sub(text.len() + 1);
    *room = left.unwrap_or(0);
    left.is_some()
}

fn told(list: &[Value], left_out: usize) -> String {
    if left_out == 0 {
        return Value::from(list).to_string();
    }
    json!({"shown": list, "left_out_for_length": left_out}).to_string()
}
