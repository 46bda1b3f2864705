//! The manifest of a model call: all that its prompt was made of, by where that stands, so that
//! nothing is stored twice and the prompt can be made again.

use rkyv::{Archive, Deserialize, Serialize};
use serde::{Deserialize as JsonIn, Serialize as JsonOut, Serializer};

use crate::error::{Error, Result, check_limit};
use crate::limits::{CONTEXT_MEMORIES_MAX, CONTEXT_MESSAGES_MAX};

/// What one model call was given.
///
/// All of it but the instructions lies in the log, and is named here by its seq, in the order in
/// which it was put together. Seqs are those of the session, memories' those of the user's own
/// stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Archive, Serialize, Deserialize)]
pub struct ContextRecorded {
    /// The version of the rules by which a prompt is made of what is named here:
    /// [`ContextRecorded::RULES`].
    pub rules: u16,
    /// The request format it was sent in.
    pub format: PromptFormat,
    /// The system message.
    pub system_seq: Option<u64>,
    /// The caller's own instructions, which are no event.
    pub instructions: Option<Instructions>,
    /// The summary.
    pub summary_seq: Option<u64>,
    /// The memories, in their order.
    pub memories: Vec<MemoryRef>,
    /// The seq as of which the session's state was put in.
    pub state_seq: Option<u64>,
    /// What the person had said before the history was cut by a number of messages. Only
    /// [`PromptFormat::Anthropic`] puts it in front.
    pub opening_seq: Option<u64>,
    /// The messages of the history, in their order, those that could not be sent included: making
    /// the list legal leaves them out again.
    pub history_seqs: Vec<SeqSpan>,
    /// The messages of the run under way, in their order.
    pub run_seqs: Vec<SeqSpan>,
    /// How many tool calls of the history were kept, where that was bounded.
    pub max_tool_calls: Option<u64>,
    /// The event that said what is kept of the session, where one had.
    pub policy_seq: Option<u64>,
    /// The tokens of the prompt in its format, with those of the tools that were defined beside it.
    /// The tools themselves are not kept.
    pub tokens: u64,
    /// Who counted them: [`TokenCounter::name`](crate::TokenCounter::name).
    pub counter: String,
    /// The blake3 digest of the prompt as sent; stored media are in it by their references, which
    /// are digests too. Gone where something that it was made over is erased: a short message
    /// could be guessed by it.
    pub prompt_digest: Option<[u8; 32]>,
}

/// A provider's request format.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Archive, Serialize, Deserialize, JsonIn, JsonOut,
)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum PromptFormat {
    /// OpenAI's Chat Completions API.
    #[default]
    OpenAi = 0,
    /// Anthropic's Messages API.
    Anthropic = 1,
}

/// Instructions that came from the caller.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize)]
#[repr(u8)]
pub enum Instructions {
    /// Their text.
    Text(String) = 0,
    /// The same as in an earlier manifest of the session.
    Earlier {
        /// The seq of the manifest that has the text.
        seq: u64,
    } = 1,
}

/// A memory as it was at a seq of its user's stream.
#[derive(Debug, Clone, PartialEq, Eq, Archive, Serialize, Deserialize, JsonOut)]
pub struct MemoryRef {
    /// The memory's id.
    pub memory_id: String,
    /// The seq of the event that wrote it.
    pub seq: u64,
}

/// Seqs that follow one another, both ends included. In JSON `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Archive, Serialize, Deserialize)]
pub struct SeqSpan {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl SeqSpan {
    /// The spans of a list of seqs, in its order.
    ///
    /// ```
    /// use sessionlog::SeqSpan;
    ///
    /// let spans = SeqSpan::of([2, 3, 4, 9]);
    /// assert_eq!(spans, [SeqSpan { first: 2, last: 4 }, SeqSpan { first: 9, last: 9 }]);
    /// ```
    pub fn of(seqs: impl IntoIterator<Item = u64>) -> Vec<Self> {
        let mut spans: Vec<Self> = Vec::new();
        for seq in seqs {
            match spans.last_mut() {
                Some(span) if span.last.checked_add(1) == Some(seq) => span.last = seq,
                _ => spans.push(Self { first: seq, last: seq }),
            }
        }
        spans
    }

    /// How many seqs it has.
    fn len(self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

impl ContextRecorded {
    /// The version of the rules by which this version makes prompts.
    pub const RULES: u16 = 3;

    /// The seqs of the history's messages, in their order.
    pub fn history(&self) -> impl Iterator<Item = u64> + '_ {
        self.history_seqs.iter().flat_map(|span| span.first..=span.last)
    }

    /// The seqs of the messages of the run under way, in their order.
    pub fn run(&self) -> impl Iterator<Item = u64> + '_ {
        self.run_seqs.iter().flat_map(|span| span.first..=span.last)
    }

    /// Every seq of the session whose words are in the prompt.
    pub(crate) fn spans(&self) -> impl Iterator<Item = SeqSpan> + '_ {
        let earlier = match &self.instructions {
            Some(Instructions::Earlier { seq }) => Some(*seq),
            _ => None,
        };
        let single = [self.system_seq, self.summary_seq, self.opening_seq, earlier];
        let single = single.into_iter().flatten().map(|seq| SeqSpan { first: seq, last: seq });
        single.chain(self.history_seqs.iter().copied()).chain(self.run_seqs.iter().copied())
    }

    /// The same without what a removed message could be guessed by.
    pub(crate) fn without_digest(&self) -> Self {
        Self { prompt_digest: None, ..self.clone() }
    }

    /// Checks what a caller could get wrong.
    pub(crate) fn check(&self) -> Result<()> {
        let spans = || self.history_seqs.iter().chain(&self.run_seqs);
        if spans().any(|span| span.first == 0 || span.first > span.last) {
            return Err(Error::invalid("a manifest names seqs from 1 on, the first one first"));
        }
        let messages = spans().fold(0_u64, |sum, span| sum.saturating_add(span.len()));
        let messages = usize::try_from(messages).unwrap_or(usize::MAX);
        check_limit("context in messages", messages, CONTEXT_MESSAGES_MAX)?;
        check_limit("context in memories", self.memories.len(), CONTEXT_MEMORIES_MAX)
    }
}

impl JsonOut for SeqSpan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        JsonOut::serialize(&(self.first, self.last), serializer)
    }
}

impl JsonOut for Instructions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = match self {
            Self::Text(text) => serde_json::json!({ "text": text }),
            Self::Earlier { seq } => serde_json::json!({ "earlier_seq": seq }),
        };
        JsonOut::serialize(&json, serializer)
    }
}
