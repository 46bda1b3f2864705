//! The part of a text that shows why it was found.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use crate::limits::SEARCH_SNIPPET_BYTES_MAX;

/// The part of a text around the first of the words, and where the words are in it. Cut between
/// words where that is near, and between characters, unless one alone is longer than that.
pub(super) fn snippet(text: &str, found: &[Range<usize>]) -> (String, Vec<Range<usize>>) {
    let first = found.first().map_or(0, |range| range.start);
    // What leads to the words, and more of what follows them.
    let mut begin = border(text, first.saturating_sub(SEARCH_SNIPPET_BYTES_MAX / 4), first);
    let mut end = end_of(text, begin);
    // A character in front of the words can be as long as one likes.
    if end <= first {
        begin = first;
        end = end_of(text, begin);
    }
    let part = text.get(begin..end).unwrap_or_default();
    let inside = |range: &Range<usize>| {
        let (from, to) = (range.start.max(begin), range.end.min(end));
        (from < to).then(|| from - begin..to - begin)
    };
    (part.to_owned(), found.iter().filter_map(inside).collect())
}

/// A border between characters at or behind a place and not behind `last`, at the beginning of a
/// word if there is one.
fn border(text: &str, wanted: usize, last: usize) -> usize {
    if wanted == 0 {
        return 0;
    }
    let mut from = wanted;
    while !text.is_char_boundary(from) {
        from -= 1;
    }
    let Some(before) = text.get(from..last) else { return last };
    if let Some(space) = before.find(char::is_whitespace) {
        let behind = before.get(space..).unwrap_or_default().trim_start();
        return last - behind.len();
    }
    // The first cluster may have begun before: the next one begins between characters.
    before.grapheme_indices(true).nth(1).map_or(last, |(at, _)| from + at)
}

/// Where a part that begins there ends: behind it, unless it begins at the end.
fn end_of(text: &str, begin: usize) -> usize {
    let rest = text.get(begin..).unwrap_or_default();
    if rest.len() <= SEARCH_SNIPPET_BYTES_MAX {
        return text.len();
    }
    let clusters = rest.grapheme_indices(true).map(|(at, cluster)| at + cluster.len());
    let fits = clusters.take_while(|end| *end <= SEARCH_SNIPPET_BYTES_MAX).last();
    let cut = || (0..=SEARCH_SNIPPET_BYTES_MAX).rev().find(|at| rest.is_char_boundary(*at));
    let fits = fits.or_else(cut).unwrap_or(0);
    let part = rest.get(..fits).unwrap_or_default();
    let space = part.rfind(char::is_whitespace).filter(|at| *at > fits / 2);
    begin + space.unwrap_or(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wanted::Wanted;
    use super::*;

    #[test]
    fn a_short_text_is_shown_whole() {
        let (part, places) = snippet("green tea", &[0..5, 6..9]);
        assert_eq!((part.as_str(), places), ("green tea", vec![0..5, 6..9]));
    }

    #[test]
    fn a_long_text_is_shown_around_its_words() {
        let text = format!("{} tea {}", "before ".repeat(100), "after ".repeat(100));
        let found = Wanted::parse("tea").unwrap().find(&text).unwrap();
        let (part, places) = snippet(&text, &found);
        assert!(part.len() <= SEARCH_SNIPPET_BYTES_MAX && part.starts_with("before "));
        assert_eq!(&part[places[0].clone()], "tea");
        assert!(part.ends_with("after"));
    }

    #[test]
    fn a_word_with_a_character_that_is_too_long_for_a_snippet_is_shown_all_the_same() {
        let marks = "\u{301}".repeat(5_000);
        for text in [format!("zal e{marks} tail"), format!("{marks} e tail"), format!("e{marks}")] {
            let found = Wanted::parse("e").unwrap().find(&text).unwrap();
            let (part, places) = snippet(&text, &found);
            assert!(part.len() <= SEARCH_SNIPPET_BYTES_MAX);
            assert!(part[places[0].clone()].starts_with('e'), "{part:?} {places:?}");
        }
    }

    proptest! {
        #[test]
        fn a_snippet_is_cut_between_characters_and_shows_the_first_word(
            before in "(👩‍👩‍👧|é|[a-z ]|東|e\u{301}){0,200}",
            after in "(👩‍👩‍👧|é|[a-z ]|東){0,200}",
        ) {
            let text = format!("{before} q1q {after}");
            let found = Wanted::parse("q1q").unwrap().find(&text).unwrap();
            let (part, places) = snippet(&text, &found);
            prop_assert_eq!(&part[places[0].clone()], "q1q");
            prop_assert!(part.len() <= SEARCH_SNIPPET_BYTES_MAX);
            let borders: Vec<usize> = text.grapheme_indices(true).map(|(at, _)| at).collect();
            let begin = text.find(&part).unwrap();
            prop_assert!(borders.contains(&begin));
            prop_assert!(begin + part.len() == text.len() || borders.contains(&(begin + part.len())));
        }
    }
}
