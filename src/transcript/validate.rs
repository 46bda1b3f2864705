//! Whether the conversations of a transcript can be sent to a provider as they are.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::anthropic::write_as_it_came;
use super::conversation::Conversation;
use super::export::{Recorded, export};
use super::format::Format;
use super::import::Importer;
use super::report::{ImportOptions, Skipped};
use super::source::{elements, members};
use crate::access::Access;
use crate::engine::{Delivery, Engine, Session};
use crate::error::Result;
use crate::event::EventBody;
use crate::json::{Json, nearest_value};
use crate::message::media::references;
use crate::message::{
    MediaRef, Message, Place, Repair, Violation, legalize, validate, validate_anthropic_request,
    validate_openai,
};
use crate::replay::Point;

/// A conversation of a transcript, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Validated {
    /// The session that it would be imported as.
    pub session_id: String,
    /// What it is written in.
    pub format: Format,
    /// The line it stands on, where it has one to itself. Several conversations may have one id.
    pub line: Option<u64>,
    /// How many messages it has.
    pub messages: usize,
    /// What breaks a rule: of the provider whose request it is, or for every other format of all
    /// providers.
    pub violations: Vec<Violation>,
    /// The messages made legal to send: see [`legalize`].
    pub repaired: Vec<Message>,
    /// What that took.
    pub repairs: Vec<Repair>,
}

/// Checks every conversation of a transcript, of a format that is told or looked for, against
/// the rules of the providers. Nothing is stored.
///
/// Requests of OpenAI and Anthropic are checked as they stand in the file, message by message,
/// against all rules of that provider. Other formats hold no requests: what is checked is
/// whether results answer calls and calls are answered, who calls, and what is said.
///
/// ```
/// use sessionlog::Rule;
/// use sessionlog::transcript::validate_text;
///
/// let text = br#"[{"role":"user","content":"Hi"},{"role":"tool","tool_call_id":"c","content":""}]"#;
/// let (found, skipped) = validate_text("chat.json", text, None)?;
/// assert!(skipped.is_empty());
/// assert_eq!(found[0].violations[0].rule, Rule::AnsweringResult);
/// assert_eq!(found[0].repaired.len(), 1);
/// # Ok::<(), sessionlog::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Limit`](crate::ErrorKind::Limit) for a text that is too large. Records that
/// cannot be read are told beside the conversations.
pub fn validate_text(
    name: &str,
    text: &[u8],
    format: Option<Format>,
) -> Result<(Vec<Validated>, Vec<Skipped>)> {
    let options = ImportOptions { format, ..ImportOptions::default() };
    let engine = Engine::in_memory()?;
    let mut importer = Importer::new(&engine, &options);
    let parsed = importer.read(name, name, text);
    let (mut validated, mut skipped) = (Vec::new(), Vec::new());
    for conversation in parsed.conversations {
        match lost_medium(&conversation) {
            Some(reference) => skipped.push(Skipped {
                file: name.to_owned(),
                line: conversation.line,
                reason: format!("it refers to {reference}, whose bytes are not in the file"),
            }),
            None => validated.push(validate_conversation(&conversation)),
        }
    }
    // What was dumped can be read only where it lies in a database.
    for dumped in &parsed.dumped {
        importer.dumped(name, dumped)?;
    }
    // In the order of the text: the log has them as they were read.
    let mut events = engine.subscribe(Access::Admin, 1);
    while let Some(delivery) = events.next_within(Duration::ZERO)? {
        let Delivery::Event(event) = delivery else { continue };
        if matches!(event.event.body, EventBody::Created(_)) {
            let session = engine.session(&*event.session_id).admin().open_existing()?;
            validated.push(validate_session(&session)?);
        }
    }
    let mut told = importer.into_report().skipped;
    told.append(&mut skipped);
    Ok((validated, told))
}

/// A medium that a message refers to, and that nobody can put into a request.
fn lost_medium(conversation: &Conversation) -> Option<MediaRef> {
    conversation.messages().find_map(|message| references(message).into_iter().next())
}

/// Checks a conversation by itself. It is not imported for that: what other conversations have
/// the same id, and how much goes into a commit, is nothing to a provider.
fn validate_conversation(conversation: &Conversation) -> Validated {
    let Conversation { format, session_id, line, data, unread, .. } = conversation;
    let (format, line) = (*format, *line);
    let messages: Vec<Message> = conversation.messages().cloned().collect();
    let (count, mut violations) = match format {
        Format::OpenAi => {
            let records: Vec<Json> = messages.iter().map(Message::to_json).collect();
            validate_request(&records, format)
        }
        Format::Anthropic => {
            let data = data.as_ref().and_then(|data| members(data.as_str()));
            let mut document = data.unwrap_or_default();
            write_as_it_came(&mut document, &messages);
            validate_request(&[document.to_json()], format)
        }
        _ => (messages.len(), validate(messages.clone())),
    };
    for violation in &mut violations {
        violation.place = in_file(violation.place, unread);
    }
    let (repaired, repairs) = legalize(messages);
    let session_id = session_id.clone();
    Validated { session_id, format, line, messages: count, violations, repaired, repairs }
}

/// The place in the file of what has a place among the messages that could be read.
fn in_file(place: Place, unread: &[usize]) -> Place {
    let Place::Message(mut at) = place else { return place };
    for unread in unread {
        at += usize::from(*unread <= at);
    }
    Place::Message(at)
}

/// Checks a session that was dumped.
fn validate_session(session: &Session) -> Result<Validated> {
    let recorded = Recorded { now: session.at(Point::Head)? };
    let import = recorded.view().imports.last();
    let format = import.and_then(|import| import.format.parse().ok()).unwrap_or(Format::OpenAi);
    let streams = session.media_streams()?;
    let messages = recorded.messages()?.into_iter();
    let messages = messages.map(|(_, _, message)| session.attach(&streams, message));
    let messages = messages.collect::<Result<Vec<Message>>>()?;
    let (count, violations) = match format {
        Format::OpenAi | Format::Anthropic => validate_request(&export(session, format)?, format),
        _ => (messages.len(), validate(messages.clone())),
    };
    let (repaired, repairs) = legalize(messages);
    let session_id = session.id().to_owned();
    let line = None;
    Ok(Validated { session_id, format, line, messages: count, violations, repaired, repairs })
}

/// Checks a request as it stands: an object with `messages`, or these alone.
fn validate_request(documents: &[Json], format: Format) -> (usize, Vec<Violation>) {
    let mut request = Request::default();
    for document in documents {
        request.read(document);
    }
    let Request { system, messages, unreadable } = request;
    let mut violations = match format {
        Format::Anthropic => validate_anthropic_request(system.as_ref(), &messages),
        _ => validate_openai(&messages),
    };
    // What cannot be read at all comes before what is wrong with the rest of its message.
    violations.retain(|violation| !unreadable.contains_key(&violation.place));
    violations
        .extend(unreadable.into_iter().map(|(place, words)| Violation::of_value(place, words)));
    violations.sort_by_key(|violation| violation.place);
    (messages.len(), violations)
}

/// A request as values.
#[derive(Default)]
struct Request {
    system: Option<Value>,
    messages: Vec<Value>,
    /// What of it no value is.
    unreadable: BTreeMap<Place, String>,
}

impl Request {
    fn read(&mut self, document: &Json) {
        if let Some(list) = elements(document.as_str()) {
            return list.into_iter().for_each(|message| self.read_message(message));
        }
        let request = members(document.as_str()).unwrap_or_default();
        if let Some(system) = request.get("system") {
            let (system, unreadable) = nearest_value(system.as_str());
            self.system = Some(system);
            self.unreadable.extend(unreadable.map(|words| (Place::System, words)));
        }
        match request.get("messages").and_then(|messages| elements(messages.as_str())) {
            Some(list) => list.into_iter().for_each(|message| self.read_message(message)),
            None => self.read_message(document.as_str()),
        }
    }

    fn read_message(&mut self, message: &str) {
        let (message, unreadable) = nearest_value(message);
        let place = Place::Message(self.messages.len());
        self.unreadable.extend(unreadable.map(|words| (place, words)));
        self.messages.push(message);
    }
}
