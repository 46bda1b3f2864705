//! The parts of a context, put together.

use serde_json::Value;

use super::digest::canonical;
use super::parts::Parts;
use super::tags::without_tags;
use crate::message::{Message, Repair, Role, legalize, to_anthropic, to_openai};
use crate::projection::{Selected, keep_last_calls};

/// What of the history stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The messages from this one on.
    From(usize),
    /// The last words of the person, and nothing else: no provider takes a request without.
    Person,
}

/// From where on a list of parts is taken, and what of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) history: Kept,
    /// The first memory that stays.
    pub(crate) memories: usize,
    pub(crate) has_summary: bool,
    pub(crate) has_state: bool,
}

impl Cut {
    /// Everything stays.
    pub(crate) const NOTHING: Self =
        Self { history: Kept::From(0), memories: 0, has_summary: true, has_state: true };
}

/// The texts of the one system message, in their order.
pub(super) struct SystemTexts {
    pub(super) system: Option<String>,
    pub(super) instructions: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) memories: Option<String>,
    pub(super) state: Option<String>,
}

impl SystemTexts {
    pub(super) fn of(parts: &Parts, cut: &Cut) -> Self {
        let memories = parts.memories.get(cut.memories..).unwrap_or_default();
        let memories = memories.iter().map(|memory| memory.memory.as_str());
        let summary = parts.summary.as_ref().filter(|_| cut.has_summary);
        let state = parts.state.as_ref().filter(|_| cut.has_state);
        let state = state.filter(|(_, state)| !state.is_empty());
        let is_said = |text: &String| !text.trim().is_empty();
        Self {
            system: parts.system.as_ref().map(|(_, it)| it.content.text()).filter(is_said),
            instructions: parts.instructions.clone().filter(is_said),
            summary: summary.filter(|(_, text)| is_said(text)).map(|(_, text)| summary_text(text)),
            memories: memories_text(memories),
            state: state.map(|(_, state)| state_text(&Value::Object(state.clone()))),
        }
    }

    fn into_message(self, own: Option<&Message>) -> Option<Message> {
        let Self { system, instructions, summary, memories, state } = self;
        let is_alone = [&instructions, &summary, &memories, &state].iter().all(|it| it.is_none());
        if is_alone {
            return own.filter(|_| system.is_some()).cloned();
        }
        let texts = [system, instructions, summary, memories, state];
        let texts: Vec<String> = texts.into_iter().flatten().collect();
        Some(Message::system(texts.join("\n\n")))
    }
}

/// Agno's words around a summary.
fn summary_text(summary: &str) -> String {
    let summary = without_tags(summary);
    format!(
        "Here is a brief summary of your previous interactions:\n\n\
         <summary_of_previous_interactions>\n{summary}\n</summary_of_previous_interactions>\n\n\
         Note: this information is from previous interactions and may be outdated. You should \
         ALWAYS prefer information from this conversation over the past summary."
    )
}

/// Agno's words around memories.
fn memories_text<'a>(memories: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut lines = String::new();
    for memory in memories {
        lines.push_str("\n- ");
        // A line of its own would look like another memory.
        lines.push_str(&without_tags(memory).replace('\n', "\n  "));
    }
    (!lines.is_empty()).then(|| {
        format!(
            "You have access to user info and preferences from previous interactions that you can \
             use to personalize your response:\n\n\
             <memories_from_previous_interactions>{lines}\n</memories_from_previous_interactions>\
             \n\nNote: this information is from previous interactions and may be updated in this \
             conversation. You should always prefer information from this conversation over the \
             past memories."
        )
    })
}

/// Agno's words around the state.
fn state_text(state: &Value) -> String {
    format!("<session_state>\n{}\n</session_state>", without_tags(&canonical(state)))
}

/// Makes the messages of a prompt: one system message, the history, the run under way. The list
/// is legal, and the same parts give the same list.
pub(crate) fn compose(parts: &Parts, cut: &Cut) -> Selected {
    let (mut history, mut repairs) = history(parts, cut);
    history.extend(plain(&parts.run));
    let (mut messages, repairs_of_run) = legalize(history);
    repairs.extend(repairs_of_run);
    let own = parts.system.as_ref().map(|(_, message)| message);
    if let Some(system) = SystemTexts::of(parts, cut).into_message(own) {
        messages.insert(0, system);
    }
    let opening = parts.kept_opening(cut).map(|(_, message)| message.clone());
    Selected { messages, repairs, opening }
}

impl Parts {
    /// The messages of the history that stay.
    pub(crate) fn kept(&self, cut: &Cut) -> &[(u64, Message)] {
        match cut.history {
            Kept::From(first) => self.history.get(first..).unwrap_or_default(),
            Kept::Person => {
                let history = self.history.iter().rev().chain(&self.opening);
                let mut said = history.filter(|(_, message)| begins(message));
                said.next().map_or(&[], std::slice::from_ref)
            }
        }
    }

    /// What comes in front of the history, where all of it stays.
    pub(crate) fn kept_opening(&self, cut: &Cut) -> Option<&(u64, Message)> {
        self.opening.as_ref().filter(|_| cut.history == Kept::From(0))
    }

    /// Whether both providers take what is made of them.
    pub(crate) fn can_be_sent(&self, cut: &Cut) -> bool {
        if self.kept(cut).iter().chain(&self.run).any(|(_, message)| begins(message)) {
            return true;
        }
        let composed = compose(self, cut);
        let is_speech = |message: &Value| {
            message.get("role").is_some_and(|role| role != "system" && role != "developer")
        };
        to_openai(&composed.messages).iter().any(is_speech)
            && !to_anthropic(&composed.opened()).messages.is_empty()
    }
}

/// Whether a request can begin with a message: words of the person that every provider takes.
pub(crate) fn begins(message: &Message) -> bool {
    message.role == Role::User
        && !to_anthropic(std::slice::from_ref(message)).messages.is_empty()
        && !to_openai(std::slice::from_ref(message)).is_empty()
}

/// The messages of the history that stay, made legal by themselves: what the run under way says
/// answers no call of them.
pub(super) fn history(parts: &Parts, cut: &Cut) -> (Vec<Message>, Vec<Repair>) {
    let (history, repairs) = legalize(plain(parts.kept(cut)));
    match parts.max_tool_calls {
        Some(count) => (keep_last_calls(history, count), repairs),
        None => (history, repairs),
    }
}

pub(super) fn plain(messages: &[(u64, Message)]) -> Vec<Message> {
    messages.iter().map(|(_, message)| message.clone()).collect()
}
