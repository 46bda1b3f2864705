//! Real tokenizers, those of OpenAI's models.

use tiktoken_rs::{CoreBPE, cl100k_base_singleton, o200k_base_singleton};

use super::TokenCounter;

/// Counts as a tokenizer of OpenAI's models does. Its tables are loaded once per process.
///
/// A text is counted in pieces of at most 16 KiB, each ending before white space where it can:
/// the tokenizer gives up on very long runs of one kind of character. Where a piece ends inside of
/// one, the count may be a token or two higher than that of the whole text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tokenizer(Encoding);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    O200k,
    Cl100k,
}

/// Bytes that the tokenizer is given at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

impl Tokenizer {
    /// `o200k_base`: GPT-4o and what came after it.
    pub const fn o200k() -> Self {
        Self(Encoding::O200k)
    }

    /// `cl100k_base`: GPT-4 and GPT-3.5.
    pub const fn cl100k() -> Self {
        Self(Encoding::Cl100k)
    }

    fn tables(self) -> &'static CoreBPE {
        match self.0 {
            Encoding::O200k => o200k_base_singleton(),
            Encoding::Cl100k => cl100k_base_singleton(),
        }
    }
}

impl TokenCounter for Tokenizer {
    fn name(&self) -> &'static str {
        match self.0 {
            Encoding::O200k => "o200k",
            Encoding::Cl100k => "cl100k",
        }
    }

    fn count(&self, text: &str) -> usize {
        let (mut rest, mut tokens) = (text, 0);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at_checked(piece_end(rest)).unwrap_or((rest, ""));
            tokens += self.tables().count_ordinary(piece);
            rest = behind;
        }
        tokens
    }
}

/// Where the first piece of a text ends.
fn piece_end(text: &str) -> usize {
    if text.len() <= PIECE_BYTES_MAX {
        return text.len();
    }
    // A character has at most four bytes.
    let end = (PIECE_BYTES_MAX - 3..=PIECE_BYTES_MAX).rfind(|end| text.is_char_boundary(*end));
    let end = end.unwrap_or(text.len());
    let piece = text.get(..end).unwrap_or(text);
    let is_word = |c: char| !c.is_whitespace();
    // A word takes the space before it along, so a piece ends before that.
    let word = piece.trim_end_matches(is_word).trim_end();
    if word.is_empty() { end } else { word.len() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_counts_as_the_tokenizer_says() {
        assert_eq!(Tokenizer::o200k().count("Hello, world!"), 4);
        assert_eq!(Tokenizer::cl100k().count("Hello, world!"), 4);
        assert_eq!(Tokenizer::o200k().count(""), 0);
    }

    #[test]
    fn a_text_in_pieces_counts_as_the_whole_text() {
        let text = "The quick brown fox jumps over the lazy dog, 1234 times.\n".repeat(2_000);
        assert_eq!(Tokenizer::o200k().count(&text), o200k_base_singleton().count_ordinary(&text));
    }

    #[test]
    fn no_text_is_too_strange() {
        for text in [" ".repeat(300_000), "a".repeat(300_000), "\u{1f600}".repeat(50_000)] {
            assert!(Tokenizer::o200k().count(&text) > 0);
        }
    }
}
