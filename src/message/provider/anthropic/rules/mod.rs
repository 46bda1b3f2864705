//! The rules of Anthropic's Messages API, checked on a rendered prompt.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

mod block;
mod served;

use self::block::{
    check_document, check_image, check_plain_blocks, check_result_block, check_search_result,
    check_text, check_text_block, count_cached,
};
pub(super) use self::served::{
    check_call as check_served_call, check_result as check_served_result,
};
use super::super::members::{inner, not_empty, object, only, string};
use super::super::{is_function_name, is_word_char};
use super::Anthropic;
use super::kind::{id_of, is_of_results, is_thinking, kind_of};
use super::served::{is_call, is_of_tools, is_result, result_of};
use crate::message::rule::{Broken, Place, Rule, Violation};

/// Says which message is the first to break a rule of Anthropic's Messages API.
///
/// It looks at the prompt alone, not at how it came about.
pub fn check_anthropic(prompt: &Anthropic) -> Result<(), Violation> {
    validate_anthropic(prompt).into_iter().next().map_or(Ok(()), Err)
}

/// Every message that breaks a rule of Anthropic's Messages API, each with the first rule that
/// it breaks, and the instructions where they do. Instructions alone are no request.
///
/// ```
/// use sessionlog::{Anthropic, Rule, validate_anthropic};
///
/// let messages = serde_json::json!([{"role": "assistant", "content": "Hello. "}]);
/// let prompt = Anthropic { system: None, messages: messages.as_array().unwrap().clone() };
/// assert_eq!(validate_anthropic(&prompt)[0].rule, Rule::Alternation);
/// ```
pub fn validate_anthropic(prompt: &Anthropic) -> Vec<Violation> {
    let system = prompt.system.as_deref().map(Value::from);
    validate_anthropic_request(system.as_ref(), &prompt.messages)
}

/// The same of a request as it stands in a file, whose instructions may be blocks.
pub(crate) fn validate_anthropic_request(
    system: Option<&Value>,
    messages: &[Value],
) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut tell = |place, checked: Result<(), Broken>| {
        found.extend(checked.err().map(|broken| Violation::new(place, broken)));
    };
    let mut rules = Rules::default();
    if let Some(system) = system {
        tell(Place::System, rules.check_system(system));
    }
    for (at, message) in messages.iter().enumerate() {
        let is_last = at + 1 == messages.len();
        tell(Place::Message(at), rules.check(message, is_last));
    }
    tell(Place::End, rules.all_answered());
    if messages.is_empty() {
        found.push(Violation::of_no_message());
    }
    found
}

/// What the rules about a message depend on, as left by the messages before it.
#[derive(Default)]
struct Rules<'a> {
    /// Whether the user speaks, or spoke last.
    is_user: bool,
    /// Every call's id so far.
    used: HashSet<&'a str>,
    /// The ids of the calls in the message before.
    unanswered: HashSet<&'a str>,
    /// The calls that the API carries out and that have no result yet, with the type of these.
    served: HashMap<&'a str, Option<&'static str>>,
    /// How many blocks so far end what is to be cached.
    cached: usize,
}

/// So many blocks of a request may end what is to be cached.
const CACHED_MAX: usize = 4;

impl<'a> Rules<'a> {
    /// Instructions are text, or a list of blocks of text.
    fn check_system(&mut self, system: &Value) -> Result<(), Broken> {
        match system {
            Value::String(text) => check_text(text),
            Value::Array(blocks) => {
                let checked = check_plain_blocks(blocks, "a block of it");
                checked.and(self.check_cached(blocks))
            }
            _ => Err(Rule::Shape.broken("it is neither text nor a list of blocks of text")),
        }
    }

    /// Whether the request has no more blocks that end what is to be cached than it may have.
    fn check_cached(&mut self, blocks: &[Value]) -> Result<(), Broken> {
        let before = self.cached;
        self.cached += count_cached(blocks)?;
        if before <= CACHED_MAX && self.cached > CACHED_MAX {
            let detail = format!("more than {CACHED_MAX} blocks of the request are cached");
            return Err(Rule::Caching.broken(detail));
        }
        Ok(())
    }

    fn check(&mut self, message: &'a Value, is_last: bool) -> Result<(), Broken> {
        let members = object(message, "the message")?;
        let expected = if self.is_user { "assistant" } else { "user" };
        let role = string(members, "role")?;
        if !["user", "assistant"].contains(&role) {
            return Err(Rule::KnownRole.broken(format!("{role:?} is no role")));
        }
        self.is_user = role == "user";
        // Its calls are known even where something else of it is wrong, so that their results are
        // not blamed for it.
        let checked = self.check_content(members, is_last);
        only(members, &["role", "content"])?;
        if role != expected {
            let detail = format!("role {role:?} where {expected:?} must speak");
            return Err(Rule::Alternation.broken(detail));
        }
        checked
    }

    fn check_content(
        &mut self,
        members: &'a Map<String, Value>,
        is_last: bool,
    ) -> Result<(), Broken> {
        let content = members.get("content");
        let open: Vec<&str> = self.served.keys().copied().collect();
        let said = match content {
            Some(Value::String(text)) => {
                let answered = self.all_answered();
                check_text(text).and(answered)
            }
            // All of them, so that no result is blamed for what is wrong before its call.
            Some(Value::Array(blocks)) if !blocks.is_empty() => {
                let checked = blocks.iter().map(|block| {
                    object(block, "a block").and_then(|block| self.check_block(block))
                });
                let checked = checked.fold(Ok(()), Result::and);
                checked.and(self.check_cached(blocks))
            }
            _ => {
                let detail = "content is neither text nor a list of at least one block";
                Err(Rule::Content.broken(detail))
            }
        };
        if !self.is_user {
            let late = self.check_late(&open, content);
            let paused = if is_last { self.check_paused(content) } else { Ok(()) };
            return said.and(late).and(check_ending(content, is_last)).and(paused);
        }
        let answered = self.all_answered();
        let is_going_on = content.and_then(Value::as_array).is_some_and(|it| is_of_results(it));
        let served = if is_going_on { Ok(()) } else { self.all_served() };
        said.and(answered).and(served)
    }

    fn check_block(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let kind = string(block, "type")?;
        if self.is_user && kind != "tool_result" {
            self.all_answered()?;
        }
        match (kind, self.is_user) {
            ("text", _) => check_text_block(block),
            ("image", true) => check_image(block),
            ("document", true) => check_document(block),
            ("search_result", true) => check_search_result(block),
            ("container_upload", true) => {
                only(block, &["type", "file_id", "cache_control"])?;
                not_empty(block, "file_id")
            }
            ("tool_result", true) => self.check_result(block),
            ("tool_use", false) => self.check_call(block),
            (kind, false) if is_call(kind) => self.check_served_call(block),
            (kind, false) if is_result(kind) => self.check_served_result(block),
            ("thinking", false) => {
                only(block, &["type", "thinking", "signature"])?;
                string(block, "thinking")?;
                not_empty(block, "signature")
            }
            ("redacted_thinking", false) => {
                only(block, &["type", "data"])?;
                not_empty(block, "data")
            }
            _ => {
                let detail = format!("a block of type {kind:?} has no place here");
                Err(Rule::KnownPart.broken(detail))
            }
        }
    }

    fn check_call(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        // Its id first: whatever is wrong with it, its result answers it.
        let id = string(block, "id")?;
        self.unanswered.insert(id);
        self.use_id(id)?;
        only(block, &["type", "id", "name", "input", "caller", "toolset_name", "cache_control"])?;
        check_call_id(id)?;
        let name = string(block, "name")?;
        if !is_function_name(name) {
            let detail = format!("the name {name:?} does not match ^[a-zA-Z0-9_-]{{1,64}}$");
            return Err(Rule::FunctionName.broken(detail));
        }
        inner(block, "input").map(|_| ())
    }

    fn use_id(&mut self, id: &'a str) -> Result<(), Broken> {
        if self.used.insert(id) {
            return Ok(());
        }
        Err(Rule::UniqueCallId.broken(format!("the call id {id:?} was used before")))
    }

    /// A call that the API carries out itself.
    fn check_served_call(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let id = string(block, "id")?;
        self.served.insert(id, result_of(block));
        self.use_id(id)?;
        check_served_call(block)
    }

    fn check_served_result(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let (id, kind) = (string(block, "tool_use_id")?, string(block, "type")?);
        let Some(expected) = self.served.remove(id) else {
            let detail = format!("answers {id:?}, which is no unanswered call of the API's own");
            return Err(Rule::AnsweringResult.broken(detail));
        };
        if let Some(expected) = expected.filter(|expected| *expected != kind) {
            let detail = format!("answers {id:?} with a {kind}, where a {expected} must stand");
            return Err(Rule::AnsweringResult.broken(detail));
        }
        check_served_result(block)
    }

    fn check_result(&mut self, block: &'a Map<String, Value>) -> Result<(), Broken> {
        let id = string(block, "tool_use_id")?;
        if !self.unanswered.remove(id) {
            let detail =
                format!("answers {id:?}, which is no unanswered call of the message before");
            return Err(Rule::AnsweringResult.broken(detail));
        }
        only(
            block,
            &["type", "tool_use_id", "content", "is_error", "toolset_name", "cache_control"],
        )?;
        let is_error = match block.get("is_error") {
            None => false,
            Some(is_error) => is_error
                .as_bool()
                .ok_or_else(|| Rule::Shape.broken("is_error is neither true nor false"))?,
        };
        let wordless = || Rule::Content.broken("an error that says nothing");
        match block.get("content") {
            None if is_error => Err(wordless()),
            Some(Value::Array(blocks)) if is_error && blocks.is_empty() => Err(wordless()),
            Some(Value::String(text)) if is_error => check_text(text),
            // A tool may have nothing to say.
            None | Some(Value::String(_)) => Ok(()),
            Some(Value::Array(blocks)) => {
                blocks.iter().try_for_each(|block| check_result_block(block, is_error))
            }
            Some(_) => {
                Err(Rule::Content.broken("a result's content is neither text nor a list of blocks"))
            }
        }
    }

    /// What the API found comes with the turn behind the user's results, unless it is code that
    /// runs on and calls more of the user's tools.
    fn check_late(&mut self, open: &[&'a str], content: Option<&Value>) -> Result<(), Broken> {
        let blocks = content.and_then(Value::as_array).into_iter().flatten();
        let running: HashSet<&str> = blocks.filter_map(caller_of).collect();
        let is_late = |id: &&str| self.served.contains_key(id) && !running.contains(id);
        let late: HashSet<&str> = open.iter().copied().filter(is_late).collect();
        let Some(id) = late.iter().min() else { return Ok(()) };
        let detail = format!("the call {id:?} of the API's own has no result in the next turn");
        self.served.retain(|id, _| !late.contains(id));
        Err(Rule::AnsweredCall.broken(detail))
    }

    /// The model may go on with calls of the API's own that end its last message, and with none
    /// that it has gone on without.
    fn check_paused(&self, content: Option<&Value>) -> Result<(), Broken> {
        let blocks = content.and_then(Value::as_array).into_iter().flatten().rev();
        let before = blocks.skip_while(|block| is_of_tools(kind_of(block)));
        let ids = before.filter(|block| is_call(kind_of(block))).map(id_of);
        match ids.filter(|id| self.served.contains_key(id)).last() {
            None => Ok(()),
            Some(id) => {
                let detail = format!("the call {id:?} of the API's own has no result before words");
                Err(Rule::AnsweredCall.broken(detail))
            }
        }
    }

    /// Says which call of the API's own has no result, once.
    fn all_served(&mut self) -> Result<(), Broken> {
        let Some(id) = self.served.keys().min() else { return Ok(()) };
        let detail =
            format!("the call {id:?} of the API's own has no result before the user speaks");
        self.served.clear();
        Err(Rule::AnsweredCall.broken(detail))
    }

    /// Says which call was not answered, once.
    fn all_answered(&mut self) -> Result<(), Broken> {
        // The least, so that the same prompt always gets the same answer.
        let Some(id) = self.unanswered.iter().min() else { return Ok(()) };
        let detail = format!("the call {id:?} is not answered in the next message");
        self.unanswered.clear();
        Err(Rule::AnsweredCall.broken(detail))
    }
}

/// The call of the API's own that made this one.
fn caller_of(call: &Value) -> Option<&str> {
    call.get("caller").filter(|_| kind_of(call) == "tool_use")?.get("tool_id")?.as_str()
}

/// How the model's message may end: in no thought and, if nothing follows, in no whitespace.
fn check_ending(content: Option<&Value>, is_last: bool) -> Result<(), Broken> {
    let last_block = content.and_then(Value::as_array).and_then(|blocks| blocks.last());
    if last_block.is_some_and(is_thinking) {
        return Err(Rule::Ending.broken("ends in a thought"));
    }
    let text = match last_block {
        Some(block) => block.get("text").and_then(Value::as_str),
        None => content.and_then(Value::as_str),
    };
    if is_last && text.is_some_and(|text| text.ends_with(char::is_whitespace)) {
        return Err(Rule::Ending.broken("is the last message and ends in whitespace"));
    }
    Ok(())
}

fn check_call_id(id: &str) -> Result<(), Broken> {
    if !id.is_empty() && id.chars().all(is_word_char) {
        return Ok(());
    }
    Err(Rule::CallId.broken(format!("the call id {id:?} does not match ^[a-zA-Z0-9_-]+$")))
}
