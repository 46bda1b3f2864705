//! What is looked for: the words of a query, and whether a text has them.

use std::ops::Range;

use super::words::{Word, words};
use crate::error::{Error, Result, check_limit};
use crate::limits::{SEARCH_QUERY_BYTES_MAX, SEARCH_QUERY_WORDS_MAX};

/// What a text must and must not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Wanted {
    /// Each of these.
    pub(super) all: Vec<Phrase>,
    /// None of these.
    pub(super) none: Vec<Phrase>,
}

/// Words that stand next to each other, in this order. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Phrase {
    pub(super) words: Vec<String>,
    /// Whether the last one may go on.
    pub(super) is_prefix: bool,
}

impl Wanted {
    /// Reads a query. What is no syntax is taken as words.
    pub(super) fn parse(query: &str) -> Result<Self> {
        check_limit("search query in bytes", query.len(), SEARCH_QUERY_BYTES_MAX)?;
        let mut wanted = Self::default();
        let mut rest = query.trim_start();
        while !rest.is_empty() {
            let (is_excluded, begun) = match rest.strip_prefix('-') {
                Some(begun) => (true, begun),
                None => (false, rest),
            };
            let (phrase, behind) = next_phrase(begun);
            rest = behind.trim_start();
            match phrase {
                Some(phrase) if is_excluded => wanted.none.push(phrase),
                Some(phrase) => wanted.all.push(phrase),
                None => {}
            }
        }
        let phrases = wanted.all.iter().chain(&wanted.none);
        let count = phrases.map(|phrase| phrase.words.len()).sum();
        check_limit("words in a search query", count, SEARCH_QUERY_WORDS_MAX)?;
        if wanted.all.is_empty() {
            return Err(Error::invalid("a search needs a word to look for"));
        }
        Ok(wanted)
    }

    /// Where the words stand in a text, in order and apart from each other; `None` where the text
    /// is not what is looked for.
    pub(super) fn find(&self, text: &str) -> Option<Vec<Range<usize>>> {
        let said: Vec<Word> = words(text).collect();
        if self.none.iter().any(|phrase| phrase.places(&said).next().is_some()) {
            return None;
        }
        let mut found: Vec<Range<usize>> = Vec::new();
        for phrase in &self.all {
            let before = found.len();
            found.extend(phrase.places(&said));
            if found.len() == before {
                return None;
            }
        }
        found.sort_by_key(|range| (range.start, range.end));
        let mut apart: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for range in found {
            match apart.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => apart.push(range),
            }
        }
        Some(apart)
    }
}

impl Phrase {
    fn is(&self, said: &[Word]) -> bool {
        let Some((last, before)) = self.words.split_last() else { return false };
        let Some((said_last, said_before)) = said.split_last() else { return false };
        let is_last = if self.is_prefix {
            said_last.folded.starts_with(last.as_str())
        } else {
            said_last.folded == *last
        };
        is_last && before.iter().zip(said_before).all(|(word, said)| said.folded == *word)
    }

    fn places<'a>(&'a self, said: &'a [Word]) -> impl Iterator<Item = Range<usize>> + 'a {
        said.windows(self.words.len().max(1))
            .filter(|said| self.is(said))
            .filter_map(|said| Some(said.first()?.range.start..said.last()?.range.end))
    }
}

/// The phrase that a text begins with, and what follows it. There is none where it has no words.
fn next_phrase(text: &str) -> (Option<Phrase>, &str) {
    if let Some(quoted) = text.strip_prefix('"')
        && let Some((inside, behind)) = quoted.split_once('"')
    {
        return (phrase_of(inside, false), behind);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    // A quote inside a word begins the next phrase: `-no"such thing"`.
    let quote = text.char_indices().skip(1).find(|(_, c)| *c == '"').map(|(at, _)| at);
    let (word, behind) = text.split_at(quote.map_or(end, |at| at.min(end)));
    (phrase_of(word, word.ends_with('*')), behind)
}

fn phrase_of(text: &str, is_prefix: bool) -> Option<Phrase> {
    let words: Vec<String> = words(text).map(|word| word.folded).collect();
    (!words.is_empty()).then_some(Phrase { words, is_prefix })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn says(query: &str, text: &str) -> bool {
        Wanted::parse(query).unwrap().find(text).is_some()
    }

    #[test]
    fn all_words_must_be_there_in_any_order() {
        assert!(says("tea green", "Green TEA, please"));
        assert!(!says("tea black", "green tea"));
    }

    #[test]
    fn a_phrase_stands_together_and_an_excluded_word_nowhere() {
        assert!(says("\"green tea\"", "a green, tea"));
        assert!(!says("\"green tea\"", "tea that is green"));
        assert!(!says("tea -green", "green tea"));
        assert!(says("tea -\"green tea\"", "tea that is green"));
    }

    #[test]
    fn a_star_lets_a_word_go_on() {
        assert!(says("inv*", "two invoices"));
        assert!(says("foo-ba*", "foo_bar"));
        assert!(!says("inv", "two invoices"));
        assert!(says("tea*time", "teatime for tea time"));
    }

    #[test]
    fn what_is_no_syntax_is_words() {
        assert!(says("\"green", "green"));
        assert!(says("a AND (b OR c):~^[", "c or b and a"));
        assert!(says("- -- --green tea", "tea"));
        assert!(!says("--green tea", "green tea"));
    }

    #[test]
    fn a_query_without_a_word_is_refused() {
        for query in ["", "  ", "\"\"", "-", "...", "-no", "*", "\"", "- \"\" *"] {
            let error = Wanted::parse(query).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{query:?}");
        }
        let long = "a ".repeat(SEARCH_QUERY_BYTES_MAX);
        assert!(matches!(Wanted::parse(&long).unwrap_err().kind(), ErrorKind::Limit { .. }));
    }

    #[test]
    fn what_was_found_is_told_in_order_and_apart() {
        let found = Wanted::parse("tea \"green tea\" a").unwrap().find("A green tea, tea").unwrap();
        assert_eq!(found, [0..1, 2..11, 13..16]);
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_and_finds_only_where_its_ranges_are(query: String, text: String) {
            if let Ok(wanted) = Wanted::parse(&query)
                && let Some(found) = wanted.find(&text)
            {
                prop_assert!(!found.is_empty());
                for range in found {
                    prop_assert!(!text[range].is_empty());
                }
            }
        }

        #[test]
        fn every_part_of_an_unspaced_text_is_found(text in "([東京大阪日本語カな]{3,12}|[กรุงเทพนี]{3,12})", from in 0_usize..3) {
            let part: String = text.chars().skip(from).take(2).collect();
            prop_assume!(!part.is_empty());
            prop_assert!(says(&part, &text));
        }
    }
}
