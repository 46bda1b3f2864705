//! Makes any list of messages one that a provider takes, and says what it took to do so.

use std::collections::{HashMap, HashSet};
use std::mem;

use super::rule::{Place, Violation};
use super::{Content, Message, Part, Role};
use crate::json::{Field, Json};

pub(crate) use self::pairing::Pairing;
use self::pairing::{CallPlace, response_of};
pub use self::repair::Repair;
use self::repair::Repairs;

mod pairing;
mod repair;
#[cfg(test)]
pub(super) mod tests;

/// Makes a list legal to send: every call is answered directly behind its message, every
/// result answers a call, and every message says something.
///
/// A result belongs to the nearest unanswered call in front of it that has its id, because
/// real transcripts use an id again. Parts of one model response are joined. No text is
/// invented and nothing else changes its place. A legal list comes back as it is, with no
/// repairs; repairs are told in the order of the list.
///
/// ```
/// use sessionlog::{Message, Repair, legalize};
///
/// let messages = vec![
///     Message::user("Is it raining?"),
///     Message::assistant("Let me look.").with_call("call_1", "weather", "{}"),
///     Message::user("Never mind."),
/// ];
/// let (legal, repairs) = legalize(messages);
/// assert!(legal[1].tool_calls.is_empty());
/// assert_eq!(
///     repairs,
///     [Repair::StrippedCall { id: Some("call_1".into()), name: "weather".into() }],
/// );
/// ```
pub fn legalize(messages: Vec<Message>) -> (Vec<Message>, Vec<Repair>) {
    let (messages, repairs) = repair(messages);
    (messages, repairs.in_order().into_iter().map(|(_, repair)| repair).collect())
}

/// What [`legalize`] would have to mend, each with the rule that is broken there: none where the
/// list can be sent as it is. An empty list cannot, and nothing mends it.
///
/// These are the rules that all providers share. [`validate_openai`](crate::validate_openai) and
/// [`validate_anthropic`](crate::validate_anthropic) check a rendered prompt against all rules of
/// one.
///
/// ```
/// use sessionlog::{Message, Place, Rule, validate};
///
/// let found = validate(vec![
///     Message::user("Is it raining?"),
///     Message::assistant("Let me look.").with_call("call_1", "weather", "{}"),
///     Message::user("Never mind."),
/// ]);
/// assert_eq!((found[0].place, found[0].rule), (Place::Message(1), Rule::AnsweredCall));
/// ```
pub fn validate(messages: Vec<Message>) -> Vec<Violation> {
    if messages.is_empty() {
        return vec![Violation::of_no_message()];
    }
    let callers: Vec<bool> =
        messages.iter().map(|message| message.role == Role::Assistant).collect();
    let (_, repairs) = repair(messages);
    let violation = |(at, repair): (usize, Repair)| {
        let is_caller = callers.get(at).copied().unwrap_or_default();
        let broken = repair.rule(is_caller).broken(repair.finding());
        Violation::new(Place::Message(at), broken)
    };
    repairs.in_order().into_iter().map(violation).collect()
}

fn repair(messages: Vec<Message>) -> (Vec<Message>, Repairs) {
    let mut repairs = Repairs::default();
    let answers = pair(&messages);
    let turns = take_turns(messages, &answers, &mut repairs);
    let mut turns = merge_responses(turns, &mut repairs);
    rename_shared_ids(&mut turns, &mut repairs);
    let messages = flatten(turns, &mut repairs);
    (messages, repairs)
}

/// A message with the results of its calls, one for each and in their order.
struct Turn {
    /// The message's place in the list as given.
    at: usize,
    message: Message,
    /// Each result with its place in the list as given.
    results: Vec<(usize, Message)>,
}

/// Ids that must differ, each at most so many characters long.
pub(super) struct UniqueIds {
    chars_max: usize,
    taken: HashSet<String>,
    /// The number to try next for an id, so that many equal ids do not cost a square.
    next: HashMap<String, usize>,
}

impl UniqueIds {
    pub(super) fn new(chars_max: usize) -> Self {
        Self { chars_max, taken: HashSet::new(), next: HashMap::new() }
    }

    /// Takes an id as it is. False where it was taken before.
    pub(super) fn reserve(&mut self, id: &str) -> bool {
        !self.taken.contains(id) && self.taken.insert(id.to_owned())
    }

    /// Takes the id, or the first free one of `id-2`, `id-3` and so on.
    pub(super) fn claim(&mut self, id: &str) -> String {
        let base: String = id.chars().take(self.chars_max).collect();
        if self.reserve(&base) { base } else { self.numbered(base) }
    }

    fn numbered(&mut self, base: String) -> String {
        let mut number = self.next.get(&base).copied().unwrap_or(2);
        loop {
            let suffix = format!("-{number}");
            let room = self.chars_max.saturating_sub(suffix.len());
            let mut id: String = base.chars().take(room).collect();
            id.push_str(&suffix);
            number += 1;
            if self.reserve(&id) {
                self.next.insert(base, number);
                return id;
            }
        }
    }
}

/// For each answered call, the place of its result.
fn pair(messages: &[Message]) -> HashMap<CallPlace<usize>, usize> {
    let mut pairing = Pairing::default();
    let places = messages.iter().enumerate();
    places.filter_map(|(at, message)| Some((pairing.take(message, at)?, at))).collect()
}

fn is_same_response(first: &Turn, second: &Turn) -> bool {
    let response = response_of(&first.message);
    response.is_some() && response == response_of(&second.message)
}

/// Whether a provider takes a message of this role and content, whatever it calls.
fn is_sendable(message: &Message) -> bool {
    match message.role {
        Role::Other(_) => false,
        Role::System | Role::Developer | Role::User => match &message.content {
            Content::Absent | Content::Null => false,
            Content::Text(_) => true,
            Content::Parts(parts) => !parts.is_empty(),
        },
        Role::Assistant | Role::Tool => true,
    }
}

/// Puts each result to its call, and leaves out what has no partner.
fn take_turns(
    messages: Vec<Message>,
    answers: &HashMap<CallPlace<usize>, usize>,
    repairs: &mut Repairs,
) -> Vec<Turn> {
    let mut pool: Vec<Option<Message>> = messages.into_iter().map(Some).collect();
    let mut turns = Vec::with_capacity(pool.len());
    for at in 0..pool.len() {
        // A result stands behind its call, so one that answers has been taken by now.
        let Some(mut message) = pool.get_mut(at).and_then(Option::take) else { continue };
        if message.role == Role::Tool {
            repairs.add(at, Repair::DroppedResult { tool_call_id: message.tool_call_id });
            continue;
        }
        if !is_sendable(&message) {
            repairs.dropped(at, &message);
            continue;
        }
        let mut results = Vec::new();
        for (index, call) in mem::take(&mut message.tool_calls).into_iter().enumerate() {
            let answer = answers.get(&(at, index)).copied();
            let result = answer.and_then(|answer| Some((answer, pool.get_mut(answer)?.take()?)));
            let Some((answer, mut result)) = result else {
                repairs.stripped(at, call);
                continue;
            };
            for call in mem::take(&mut result.tool_calls) {
                repairs.stripped(answer, call);
            }
            message.tool_calls.push(call);
            results.push((answer, result));
        }
        turns.push(Turn { at, message, results });
    }
    turns
}

/// Joins the parts of each response, and leaves out model messages that say and call nothing.
fn merge_responses(turns: Vec<Turn>, repairs: &mut Repairs) -> Vec<Turn> {
    let mut merged: Vec<Turn> = Vec::with_capacity(turns.len());
    // The empty beginning of a response is kept only if more of the response follows.
    let mut beginning: Option<Turn> = None;
    for turn in turns {
        if let Some(last) = merged.last_mut().filter(|last| is_same_response(last, &turn)) {
            join(last, turn, repairs);
        } else if let Some(first) =
            beginning.as_mut().filter(|first| is_same_response(first, &turn))
        {
            join(first, turn, repairs);
            if beginning.as_ref().is_some_and(|first| !is_empty(first)) {
                merged.extend(beginning.take());
            }
        } else if !is_empty(&turn) {
            if let Some(unused) = beginning.take() {
                repairs.dropped(unused.at, &unused.message);
            }
            merged.push(turn);
        } else if turn.message.response_id.is_none() {
            repairs.dropped(turn.at, &turn.message);
        } else if let Some(unused) = beginning.replace(turn) {
            repairs.dropped(unused.at, &unused.message);
        }
    }
    if let Some(unused) = beginning {
        repairs.dropped(unused.at, &unused.message);
    }
    merged
}

fn is_empty(turn: &Turn) -> bool {
    let message = &turn.message;
    message.role == Role::Assistant && message.tool_calls.is_empty() && message.is_wordless()
}

fn join(first: &mut Turn, second: Turn, repairs: &mut Repairs) {
    let message = &mut first.message;
    join_refusals(message, &second.message);
    if !second.message.content.is_empty() {
        let content = mem::replace(&mut message.content, Content::Absent);
        message.content = join_contents(content, second.message.content);
        // A member in `extra` would stand for the field when the record is written.
        message.extra.retain(|field| field.name != "content");
    }
    if !second.message.tool_calls.is_empty() {
        message.tool_calls.extend(second.message.tool_calls);
        message.extra.retain(|field| field.name != "tool_calls");
    }
    first.results.extend(second.results);
    if let Some(response_id) = second.message.response_id {
        repairs.add(second.at, Repair::MergedResponse { response_id });
    }
}

/// What stands beside the content is said too.
fn join_refusals(message: &mut Message, second: &Message) {
    let refusals = [message.refusal(), second.refusal()];
    if refusals.iter().all(Option::is_some) {
        let refusals: Vec<String> = refusals.into_iter().flatten().collect();
        let value = Json::string(&refusals.join("\n"));
        message.extra.retain(|field| field.name != "refusal");
        message.extra.push(Field { name: String::from("refusal"), value });
    } else if second.refusal().is_some() {
        take_member(message, second, "refusal");
    }
    if message.transcript().is_none() && second.transcript().is_some() {
        take_member(message, second, "audio");
    }
}

fn take_member(message: &mut Message, second: &Message, name: &str) {
    message.extra.retain(|field| field.name != name);
    message.extra.extend(second.extra.iter().filter(|field| field.name == name).cloned());
}

fn join_contents(first: Content, second: Content) -> Content {
    if first.is_empty() {
        return second;
    }
    let mut parts = into_parts(first);
    parts.extend(into_parts(second));
    Content::Parts(parts)
}

fn into_parts(content: Content) -> Vec<Part> {
    match content {
        Content::Absent | Content::Null => Vec::new(),
        Content::Text(text) => vec![Part::Text(text)],
        Content::Parts(parts) => parts,
    }
}

/// Gives each call an id of its own in its message. A new id also differs from every earlier
/// one, but not from later ones: what is appended must not change how the beginning is sent.
fn rename_shared_ids(turns: &mut [Turn], repairs: &mut Repairs) {
    let mut ids = UniqueIds::new(usize::MAX);
    for turn in turns {
        for id in turn.message.tool_calls.iter().filter_map(|call| call.id.as_deref()) {
            ids.reserve(id);
        }
        let mut own = HashSet::new();
        for (call, (_, result)) in turn.message.tool_calls.iter_mut().zip(&mut turn.results) {
            let from = call.id.clone().unwrap_or_default();
            if own.contains(&from) {
                let to = ids.claim(&from);
                call.id = Some(to.clone());
                // The record as it came has the shared id.
                call.source = None;
                result.tool_call_id = Some(to.clone());
                repairs.add(turn.at, Repair::RenamedCall { from, to });
            } else {
                own.insert(from);
            }
        }
    }
}

/// Puts results behind their messages. One has moved if it follows something else than it did
/// among the messages that are left.
fn flatten(turns: Vec<Turn>, repairs: &mut Repairs) -> Vec<Message> {
    let mut places: Vec<usize> = Vec::new();
    for turn in &turns {
        places.push(turn.at);
        places.extend(turn.results.iter().map(|(at, _)| *at));
    }
    places.sort_unstable();
    let before: HashMap<usize, usize> =
        places.iter().copied().skip(1).zip(places.iter().copied()).collect();

    let mut messages = Vec::with_capacity(places.len());
    for turn in turns {
        let mut previous = turn.at;
        messages.push(turn.message);
        for (at, result) in turn.results {
            if before.get(&at) != Some(&previous) {
                let tool_call_id = result.tool_call_id.clone().unwrap_or_default();
                repairs.add(at, Repair::MovedResult { tool_call_id });
            }
            previous = at;
            messages.push(result);
        }
    }
    messages
}
