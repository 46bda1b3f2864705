//! What a model spent.

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as JsonIn, Serialize as JsonOut};

/// Tokens, money and time of a message, a run or a session. The names are those of Agno, so that
/// its records read in as they are.
#[derive(
    Debug, Clone, Copy, PartialEq, Default, Archive, Serialize, Deserialize, JsonIn, JsonOut,
)]
#[serde(default)]
pub struct Metrics {
    /// Tokens of the prompt.
    #[serde(skip_serializing_if = "is_zero")]
    pub input_tokens: u64,
    /// Tokens of the answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub output_tokens: u64,
    /// Both together, as the provider counts.
    #[serde(skip_serializing_if = "is_zero")]
    pub total_tokens: u64,
    /// Audio tokens of the prompt.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_input_tokens: u64,
    /// Audio tokens of the answer.
    #[serde(skip_serializing_if = "is_zero")]
    pub audio_output_tokens: u64,
    /// Prompt tokens read from the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_read_tokens: u64,
    /// Prompt tokens written to the provider's cache.
    #[serde(skip_serializing_if = "is_zero")]
    pub cache_write_tokens: u64,
    /// Tokens spent on reasoning.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasoning_tokens: u64,
    /// Money, in the provider's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
    /// Seconds to the first token. Of a session: not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_token: Option<f64>,
    /// Seconds from start to end. Of a session: the sum over its runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Metrics {
    /// Input and output tokens, and their sum.
    pub fn tokens(input_tokens: u64, output_tokens: u64) -> Self {
        let total_tokens = input_tokens.saturating_add(output_tokens);
        Self { input_tokens, output_tokens, total_tokens, ..Self::default() }
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether every number in it is one.
    pub(crate) fn is_finite(&self) -> bool {
        let reals = [self.cost, self.time_to_first_token, self.duration];
        reals.into_iter().flatten().all(f64::is_finite)
    }

    /// Adds what another run spent. Counts stop at `u64::MAX` instead of wrapping.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add, |mine, theirs| mine + theirs);
    }

    /// Takes back what was added, so that a resumed run is counted once.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub, |mine, theirs| mine - theirs);
    }

    fn combine(&mut self, other: &Self, count: fn(u64, u64) -> u64, real: fn(f64, f64) -> f64) {
        let reals = |mine: Option<f64>, theirs: Option<f64>| match theirs {
            Some(theirs) => Some(real(mine.unwrap_or(0.0), theirs).clamp(f64::MIN, f64::MAX)),
            None => mine,
        };
        *self = Self {
            input_tokens: count(self.input_tokens, other.input_tokens),
            output_tokens: count(self.output_tokens, other.output_tokens),
            total_tokens: count(self.total_tokens, other.total_tokens),
            audio_input_tokens: count(self.audio_input_tokens, other.audio_input_tokens),
            audio_output_tokens: count(self.audio_output_tokens, other.audio_output_tokens),
            cache_read_tokens: count(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens: count(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens: count(self.reasoning_tokens, other.reasoning_tokens),
            cost: reals(self.cost, other.cost),
            time_to_first_token: None,
            duration: reals(self.duration, other.duration),
        };
    }
}
