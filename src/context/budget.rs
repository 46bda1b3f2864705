//! What stays of a context when it must not be larger than a budget.

use super::compose::{Cut, Kept, SystemTexts, begins, compose, history, plain};
use super::count::{Tally, anthropic_tokens, openai_tokens};
use super::parts::{ContextTokens, Parts};
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, Role, legalize, to_anthropic, to_openai};
use crate::projection::Selected;

/// What was made of the parts.
#[derive(Debug)]
pub(crate) struct Fitted {
    pub(crate) cut: Cut,
    pub(crate) composed: Selected,
    pub(crate) tokens: ContextTokens,
}

/// Makes a prompt that is no larger than the budget in either format.
///
/// The history goes first, oldest first, in steps that leave it beginning with the person, the
/// person's last words never where nobody else says anything; then
/// memories, oldest first; then the summary; then the state.
///
/// # Errors
/// [`ErrorKind::Limit`] where what may not go is larger than the budget.
pub(crate) fn fit(parts: &Parts, budget: Option<u64>, tally: &Tally<'_>) -> Result<Fitted> {
    let search = Search { parts, budget: budget.unwrap_or(u64::MAX), tally };
    let cut = if budget.is_some() { search.run()? } else { Cut::NOTHING };
    let (composed, mut tokens) = search.attempt(&cut);
    let texts = SystemTexts::of(parts, &cut);
    let count = |text: &Option<String>| text.as_deref().map_or(0, |text| tally.count(text));
    let messages = |messages: Vec<Message>| openai_tokens(&to_openai(&messages), tally);
    tokens.system = count(&texts.system);
    tokens.instructions = count(&texts.instructions);
    tokens.summary = count(&texts.summary);
    tokens.memories = count(&texts.memories);
    tokens.state = count(&texts.state);
    tokens.history = messages(sent_history(parts, &cut));
    tokens.run = messages(plain(&parts.run));
    Ok(Fitted { cut, composed, tokens })
}

/// Whether everything together is larger than the budget.
pub(crate) fn is_over(parts: &Parts, budget: u64, tally: &Tally<'_>) -> bool {
    Search { parts, budget, tally }.cost(&Cut::NOTHING) > budget
}

/// The history as it is sent.
fn sent_history(parts: &Parts, cut: &Cut) -> Vec<Message> {
    let (mut messages, _) = legalize(history(parts, cut).0);
    messages.retain(|message| message.role != Role::System);
    messages
}

struct Search<'a> {
    parts: &'a Parts,
    budget: u64,
    tally: &'a Tally<'a>,
}

impl Search<'_> {
    fn run(&self) -> Result<Cut> {
        let mut cut = Cut::NOTHING;
        if self.fits(&cut) {
            return Ok(cut);
        }
        let starts = starts(&self.parts.history);
        let least = self.least();
        let at = self.first_that_fits(starts.len(), |at| Cut {
            history: starts.get(at).map_or(least, |start| Kept::From(*start)),
            ..cut
        });
        if let Some(found) = at {
            return Ok(found);
        }
        cut.history = least;
        let memories = self.parts.memories.len();
        if let Some(found) = self.first_that_fits(memories, |memories| Cut { memories, ..cut }) {
            return Ok(found);
        }
        cut.memories = memories;
        cut.has_summary = false;
        if self.fits(&cut) {
            return Ok(cut);
        }
        cut.has_state = false;
        let actual = self.cost(&cut);
        if actual <= self.budget {
            return Ok(cut);
        }
        let error = ErrorKind::Limit { what: "context in tokens", actual, max: self.budget };
        Err(Error::new(error).context(self.fixed()))
    }

    /// What may not go, in words.
    fn fixed(&self) -> String {
        let cut = Cut {
            history: self.least(),
            memories: self.parts.memories.len(),
            has_summary: false,
            has_state: false,
        };
        let texts = SystemTexts::of(self.parts, &cut);
        let count = |text: &Option<String>| text.as_deref().map_or(0, |it| self.tally.count(it));
        let messages = |messages: Vec<Message>| openai_tokens(&to_openai(&messages), self.tally);
        let parts = [
            ("the system message", count(&texts.system)),
            ("the instructions", count(&texts.instructions)),
            ("the last words of the person", messages(sent_history(self.parts, &cut))),
            ("the run under way", messages(plain(&self.parts.run))),
            ("the list of tools", self.parts.tools),
        ];
        let taken = parts.iter().filter(|(_, tokens)| *tokens > 0);
        let taken: Vec<String> = taken.map(|(part, tokens)| format!("{part} {tokens}")).collect();
        format!("what is never cut takes: {}", taken.join(", "))
    }

    /// What of the history may not go: nothing, unless nobody would have said anything then.
    fn least(&self) -> Kept {
        let nothing = Kept::From(self.parts.history.len());
        let cut = Cut { history: nothing, ..Cut::NOTHING };
        if self.parts.can_be_sent(&cut) { nothing } else { Kept::Person }
    }

    /// The cut that leaves most among those of the numbers from 0 to `last`: a higher number
    /// leaves less. Doubles its way from the end, then halves, so that what is counted is bounded
    /// by what fits.
    fn first_that_fits(&self, last: usize, cut: impl Fn(usize) -> Cut) -> Option<Cut> {
        if !self.fits(&cut(last)) {
            return None;
        }
        let (mut good, mut step) = (last, 1);
        let mut bad = loop {
            let Some(next) = last.checked_sub(step) else { break None };
            if !self.fits(&cut(next)) {
                break Some(next);
            }
            good = next;
            step *= 2;
        };
        if bad.is_none() && good > 0 {
            if self.fits(&cut(0)) {
                return Some(cut(0));
            }
            bad = Some(0);
        }
        while let Some(low) = bad.filter(|low| good - low > 1) {
            let middle = low + (good - low) / 2;
            if self.fits(&cut(middle)) {
                good = middle;
            } else {
                bad = Some(middle);
            }
        }
        Some(cut(good))
    }

    fn fits(&self, cut: &Cut) -> bool {
        self.cost(cut) <= self.budget
    }

    fn cost(&self, cut: &Cut) -> u64 {
        self.attempt(cut).1.total()
    }

    fn attempt(&self, cut: &Cut) -> (Selected, ContextTokens) {
        let composed = compose(self.parts, cut);
        let openai = openai_tokens(&to_openai(&composed.messages), self.tally);
        let opened = composed.clone().opened();
        let anthropic = anthropic_tokens(&to_anthropic(&opened), self.tally);
        let tools = self.parts.tools;
        let openai = openai.saturating_add(tools);
        let anthropic = anthropic.saturating_add(tools);
        (composed, ContextTokens { openai, anthropic, tools, ..ContextTokens::default() })
    }
}

/// Where the history may be cut: before words of the person that every provider takes.
fn starts(history: &[(u64, Message)]) -> Vec<usize> {
    let places = history.iter().enumerate().skip(1);
    places.filter(|(_, (_, message))| begins(message)).map(|(at, _)| at).collect()
}
