//! What a language model does for sessions, and with them: summaries, names, memories, tools
//! to look into the past.
//!
//! A model is asked outside of everything: no lock is held and nothing waits for it. What it
//! answers is appended only if the session still is what the model was told, so neither a slow
//! model nor a crash in the middle leaves anything wrong.

mod conversation;
mod memory;
mod name;
mod summary;
mod tools;

pub use self::memory::{MemoryInput, MemoryManager, MemoryUpdate};
pub use self::name::{NameBatch, NameGenerator, Naming};
pub use self::summary::{AutoSummaries, AutoSummarizer, Summarizer, SummaryPlan};
pub use self::tools::{SessionTools, ToolAnswer};

use crate::error::{Result, check_limit};
use crate::limits::PROMPT_BYTES_MAX;
use crate::model::ModelAnswer;

/// Refuses a prompt that leaves no room for a conversation.
fn check_prompt(prompt: Option<&str>) -> Result<()> {
    check_limit("prompt in bytes", prompt.map_or(0, str::len), PROMPT_BYTES_MAX)
}

/// Why an answer is of no use whatever it says.
fn unusable(answer: &ModelAnswer) -> Option<String> {
    if let Some(reason) = &answer.refusal {
        return Some(format!("The model refuses: {reason}"));
    }
    answer.is_cut_off.then(|| String::from("The limit of its tokens cut the answer off"))
}

/// Tags between which models that reason write down their thoughts, in front of what they answer.
const THOUGHTS: [(&str, &str); 2] = [("<think>", "</think>"), ("<thinking>", "</thinking>")];

/// What a model answers behind its thoughts: drafts stand in them, which are no answers. Where the
/// thoughts never end, nothing.
fn without_thoughts(answer: &str) -> &str {
    let mut rest = answer.trim_start();
    while let Some((behind, end)) =
        THOUGHTS.iter().find_map(|(begin, end)| Some((rest.strip_prefix(begin)?, end)))
    {
        rest = behind.split_once(end).map_or("", |(_, rest)| rest.trim_start());
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_thinks_before_it_answers_is_no_answer() {
        for (answer, said) in [
            ("<think>\nHm: {\"a\": 1}\n</think>\n\nTea", "Tea"),
            ("  <thinking>Hm.</thinking>Tea", "Tea"),
            ("<think></think><thinking>Hm.</thinking> Tea", "Tea"),
            ("<think>Hm, it never", ""),
            ("Tea <think>or not</think>", "Tea <think>or not</think>"),
            ("<thinker> Tea", "<thinker> Tea"),
        ] {
            assert_eq!(without_thoughts(answer), said, "{answer}");
        }
    }
}
