//! Which call a result answers.

use std::collections::{HashMap, VecDeque};

use crate::message::{Message, Role};

/// Where a call stands: its message's place, and its own among the message's calls.
pub(crate) type CallPlace<P> = (P, usize);

/// Pairs calls and results, message by message. A result answers the nearest unanswered call in
/// front of it that has its id. Inside one response the first unanswered call of an id is the
/// nearest: tools answer in the order they were called.
#[derive(Debug, Clone)]
pub(crate) struct Pairing<P> {
    open: HashMap<String, Vec<Unanswered<P>>>,
    response: usize,
    response_id: Option<String>,
    /// Where the response begins.
    begins: Option<P>,
}

/// The unanswered calls of one model response that share an id.
#[derive(Debug, Clone)]
struct Unanswered<P> {
    response: usize,
    begins: P,
    calls: VecDeque<CallPlace<P>>,
}

impl<P> Default for Pairing<P> {
    fn default() -> Self {
        Self { open: HashMap::new(), response: 0, response_id: None, begins: None }
    }
}

impl<P: Copy> Pairing<P> {
    /// Takes the next message in. Returns the call that it answers.
    pub(crate) fn take(&mut self, message: &Message, at: P) -> Option<CallPlace<P>> {
        if message.role == Role::Tool {
            return self.answer(message.tool_call_id.as_deref().unwrap_or_default());
        }
        let response_id = response_of(message);
        let goes_on = response_id.is_some() && self.response_id.as_deref() == response_id;
        self.response += usize::from(!goes_on);
        let begins = self.begins.filter(|_| goes_on).unwrap_or(at);
        self.begins = Some(begins);
        self.response_id = response_id.map(str::to_owned);
        if message.role != Role::Assistant {
            return None;
        }
        for (index, call) in message.tool_calls.iter().enumerate() {
            let Some(id) = call.id.as_deref().filter(|id| !id.is_empty()) else { continue };
            let responses = self.open.entry(id.to_owned()).or_default();
            match responses.last_mut() {
                Some(last) if last.response == self.response => last.calls.push_back((at, index)),
                _ => {
                    let calls = [(at, index)].into();
                    responses.push(Unanswered { response: self.response, begins, calls });
                }
            }
        }
        None
    }

    /// Where the response begins whose call the next result of an id answers. It stays the same
    /// when other calls of that response are answered.
    pub(crate) fn begins(&self, id: &str) -> Option<P> {
        self.open.get(id)?.last().map(|last| last.begins)
    }

    /// The call that a result of an id answers. It is answered from then on.
    pub(crate) fn answer(&mut self, id: &str) -> Option<CallPlace<P>> {
        let responses = self.open.get_mut(id)?;
        let last = responses.last_mut()?;
        let call = last.calls.pop_front();
        if last.calls.is_empty() {
            responses.pop();
        }
        if responses.is_empty() {
            self.open.remove(id);
        }
        call
    }
}

/// The model response a message is a part of.
pub(super) fn response_of(message: &Message) -> Option<&str> {
    message.response_id.as_deref().filter(|_| message.role == Role::Assistant)
}
