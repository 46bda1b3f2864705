//! The events of one conversation, in their order.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::event::Event;
use super::message::{Speaker, message_of};
use crate::error::Result;
use crate::json::Json;
use crate::message::Role;
use crate::transcript::conversation::{Conversation, Spent, digest};

/// A conversation as its events come. What an event becomes never depends on what is behind it,
/// so that a stream may grow.
pub(super) struct Stream {
    conversation: Conversation,
    ignored: BTreeMap<String, u64>,
    /// Whether each model response is counted for itself.
    counts_responses: bool,
    /// Responses whose words were said already.
    responses: HashSet<String>,
    /// What each call's action says about it.
    calls: HashMap<String, Json>,
    /// Whether it is the person's turn to speak, where the stream does not say who does.
    is_persons_turn: bool,
}

impl Stream {
    pub(super) fn new(conversation: Conversation, counts_responses: bool) -> Self {
        Self {
            conversation,
            ignored: BTreeMap::new(),
            counts_responses,
            responses: HashSet::new(),
            calls: HashMap::new(),
            is_persons_turn: true,
        }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, text: &str) -> Result<()> {
        let mut event = Event::read(text)?;
        if event.is_ignored() {
            *self.ignored.entry(event.kind).or_default() += 1;
            return Ok(());
        }
        self.forget_repeated(&mut event);
        let speaker = self.speaker(&event);
        let response_id = event.call.as_ref().and_then(|call| call.response_id.clone());
        let has_words = response_id
            .as_ref()
            .is_none_or(|id| !event.is_action || self.responses.insert(id.clone()));
        let spent = event.call.as_ref().filter(|_| event.is_action && self.counts_responses);
        let spent = spent.and_then(|call| call.spent);
        let spent = spent.map(|metrics| Spent { response_id, metrics });
        let message = message_of(event, speaker, has_words)?;
        self.conversation.push(message, digest(text), speaker == Speaker::Person, spent);
        Ok(())
    }

    /// An observation says everything about the call again: what the action said is not kept
    /// twice.
    fn forget_repeated(&mut self, event: &mut Event) {
        let (Some(call), Some(metadata)) = (&event.call, event.record.get("tool_call_metadata"))
        else {
            return;
        };
        if event.is_action {
            self.calls.insert(call.id.clone(), metadata.clone());
        } else if self.calls.get(&call.id) == Some(metadata) {
            drop(event.record.take("tool_call_metadata"));
        }
    }

    fn speaker(&mut self, event: &Event) -> Speaker {
        let is_message = event.is_action && event.kind == "message";
        let source = event.source();
        let is_person = match source.as_deref() {
            Some(source) => source == "user",
            None => self.is_persons_turn,
        };
        let speaker = match source.as_deref() {
            _ if !event.is_action => Speaker::Environment,
            _ if event.kind == "system" => Speaker::System,
            _ if is_message && is_person => Speaker::Person,
            Some("user" | "environment") => Speaker::Environment,
            _ => Speaker::Agent,
        };
        if speaker != Speaker::System {
            self.is_persons_turn = is_message && speaker == Speaker::Agent;
        }
        speaker
    }

    /// The conversation, if anything was said in it.
    pub(super) fn finish(self, ignored: &mut BTreeMap<String, u64>) -> Option<Conversation> {
        for (kind, count) in self.ignored {
            *ignored.entry(kind).or_default() += count;
        }
        let is_said = !self.conversation.entries.is_empty();
        is_said.then_some(self.conversation)
    }
}

impl Speaker {
    pub(super) const fn role(self) -> Role {
        match self {
            Self::System => Role::System,
            Self::Person | Self::Environment => Role::User,
            Self::Agent => Role::Assistant,
        }
    }
}
