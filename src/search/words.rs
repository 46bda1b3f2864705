//! What a word is: the same for what is indexed, asked for and shown.

use std::collections::VecDeque;
use std::ops::Range;

use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::{GraphemeIndices, UnicodeSegmentation};

use crate::limits::SEARCH_WORD_BYTES_MAX;

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// As it is compared: without case, accents and forms of writing.
    pub(super) folded: String,
    /// Where it stands in the text, in bytes, on the borders of characters: what is a part of a
    /// character is where the character is.
    pub(super) range: Range<usize>,
}

/// The words of a text, in order.
///
/// - Letters and digits that stand together are a word; everything else parts words.
/// - Of a script that is written without spaces, and of Hangul, each character is a word. So any
///   part of such a text is found as a phrase. Where a character is put together of letters and
///   vowel signs (Thai, Khmer), each of these is.
/// - What nobody sees (a soft hyphen, a joiner, a mark of direction) is not there.
/// - An emoji or a symbol is a word, a flag or a joined sequence is one. The color of its skin or
///   hair, a sex and a direction make no difference.
///
/// A character is what readers take for one: a grapheme cluster.
pub(super) struct Words<'a> {
    text: &'a str,
    clusters: GraphemeIndices<'a>,
    /// The cluster that ended the word before.
    pending: Option<(usize, &'a str)>,
    /// What is left of a character of which each part is a word.
    parts: VecDeque<Word>,
}

/// What a character does to words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It goes on with the word.
    Letter,
    /// It is a word.
    Alone,
    /// Each of its parts is a word.
    Apart,
    /// Nobody sees it.
    Hidden,
    /// It is none.
    Gap,
}

pub(super) fn words(text: &str) -> Words<'_> {
    let (clusters, parts) = (text.grapheme_indices(true), VecDeque::new());
    Words { text, clusters, pending: None, parts }
}

impl Words<'_> {
    fn word(&self, range: Range<usize>, part: Part) -> Option<Word> {
        let folded = fold(self.text.get(range.clone())?, part);
        (!folded.is_empty()).then_some(Word { folded, range })
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        if let Some(word) = self.parts.pop_front() {
            return Some(word);
        }
        let mut letters: Option<Range<usize>> = None;
        while let Some((at, cluster)) = self.pending.take().or_else(|| self.clusters.next()) {
            let end = at + cluster.len();
            let part = part_of(cluster);
            if let Some(range) = &mut letters {
                if part == Part::Letter {
                    range.end = end;
                    continue;
                }
                if part == Part::Hidden {
                    continue;
                }
                self.pending = Some((at, cluster));
                let word = self.word(range.clone(), Part::Letter);
                letters = None;
                if word.is_some() {
                    return word;
                }
                continue;
            }
            match part {
                Part::Letter => letters = Some(at..end),
                Part::Alone => {
                    let word = self.word(at..end, Part::Alone);
                    if word.is_some() {
                        return word;
                    }
                }
                Part::Apart => {
                    let parts = self.word(at..end, part).map(|word| word.folded);
                    let parts = parts.unwrap_or_default();
                    self.parts.extend(
                        parts.chars().map(|c| Word { folded: c.to_string(), range: at..end }),
                    );
                    let word = self.parts.pop_front();
                    if word.is_some() {
                        return word;
                    }
                }
                Part::Gap | Part::Hidden => {}
            }
        }
        letters.and_then(|range| self.word(range, Part::Letter))
    }
}

fn part_of(cluster: &str) -> Part {
    let Some(first) = cluster.chars().next() else { return Part::Gap };
    if first.is_ascii() && cluster.len() == 1 {
        return if first.is_ascii_alphanumeric() { Part::Letter } else { Part::Gap };
    }
    if cluster.chars().all(is_hidden) {
        Part::Hidden
    } else if is_symbol(first) || cluster.contains('\u{20e3}') {
        Part::Alone
    } else if !first.is_alphanumeric() {
        Part::Gap
    } else if is_put_together(first) {
        Part::Apart
    } else if is_unspaced(first) {
        Part::Alone
    } else {
        Part::Letter
    }
}

/// Whether it belongs to a script without spaces between words whose characters are put together
/// of a letter and the signs around it.
const fn is_put_together(c: char) -> bool {
    matches!(c,
        '\u{0e00}'..='\u{0fff}' // Thai, Lao, Tibetan
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1780}'..='\u{17ff}') // Khmer
}

/// Whether it belongs to another script without spaces between words, or is Hangul, whose words
/// carry endings that nobody types when searching.
const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{1100}'..='\u{11ff}' // Hangul, in parts
        | '\u{3005}'..='\u{3007}'
        | '\u{3031}'..='\u{303c}'
        | '\u{3040}'..='\u{318f}' // kana, Bopomofo, Hangul in parts
        | '\u{31a0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' // ideographs
        | '\u{4e00}'..='\u{9fff}'
        | '\u{a960}'..='\u{a97f}'
        | '\u{ac00}'..='\u{d7ff}' // Hangul
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ffdc}' // forms of half the width
        | '\u{1b000}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Whether it is an emoji or another sign that one may look for.
const fn is_symbol(c: char) -> bool {
    matches!(c,
        '\u{00a9}' | '\u{00ae}' | '\u{203c}' | '\u{2049}' | '\u{3030}' | '\u{303d}'
        | '\u{20a0}'..='\u{20cf}' // currencies
        | '\u{2100}'..='\u{214f}'
        | '\u{2190}'..='\u{23ff}' // arrows, mathematics, technical signs
        | '\u{2500}'..='\u{2bff}'
        | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}')
}

/// An emoji without what only says how it looks: the color of skin or hair, a sex, a direction,
/// the form of writing. A part that stands alone is itself.
fn plain_emoji(cluster: &str) -> String {
    let stays = |at: usize, c: char| !is_form(c) && !is_hidden(c) && (at == 0 || !is_skin(c));
    let mut plain = String::with_capacity(cluster.len());
    for part in cluster.split(JOINER) {
        let part: String =
            part.char_indices().filter(|(at, c)| stays(*at, *c)).map(|(_, c)| c).collect();
        let is_look = matches!(
            part.as_str(),
            "\u{2640}"
                | "\u{2642}"
                | "\u{27a1}"
                | "\u{1f9b0}"
                | "\u{1f9b1}"
                | "\u{1f9b2}"
                | "\u{1f9b3}"
        );
        if part.is_empty() || (is_look && !plain.is_empty()) {
            continue;
        }
        if !plain.is_empty() {
            plain.push(JOINER);
        }
        plain.push_str(&part);
    }
    plain
}

/// Joins emoji into one.
const JOINER: char = '\u{200d}';

/// Whether it says which form of writing the character before it has.
const fn is_form(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
}

const fn is_skin(c: char) -> bool {
    matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Whether nobody sees it: where a line may break, what joins or parts letters for their shapes,
/// which way to write.
const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{00ad}' | '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Whether it is a mark that people leave out: an accent, a vowel sign or a sign for reading aloud
/// of Arabic and Hebrew, the line that makes an Arabic word longer. A hamza is a letter, and so are
/// the vowel signs of Indic scripts.
const fn is_mark(c: char) -> bool {
    matches!(c,
        '\u{0300}'..='\u{036f}'
        | '\u{0591}'..='\u{05bd}' | '\u{05bf}' | '\u{05c1}' | '\u{05c2}' // Hebrew
        | '\u{05c4}' | '\u{05c5}' | '\u{05c7}'
        | '\u{0610}'..='\u{061a}' | '\u{0640}' | '\u{064b}'..='\u{0652}' // Arabic
        | '\u{0656}'..='\u{065f}' | '\u{0670}' | '\u{06d6}'..='\u{06dc}'
        | '\u{06df}'..='\u{06e4}' | '\u{06e7}' | '\u{06e8}' | '\u{06ea}'..='\u{06ed}'
        | '\u{08ca}'..='\u{08e1}' | '\u{08e3}'..='\u{08ff}')
}

/// Whether it makes a difference to what a word is.
const fn stays(c: char) -> bool {
    !is_mark(c) && !is_form(c) && !is_skin(c) && !is_hidden(c)
}

/// A text as its words are compared: without case, marks and forms of writing.
pub(crate) fn fold_text(text: &str) -> String {
    // What has no other case by itself: two more forms of a letter and of a pair.
    let sign = |c: char| match c {
        'ς' => ['σ', '\0'],
        'ß' => ['s', 's'],
        c => [c, '\0'],
    };
    let signs = |c: char| sign(c).into_iter().filter(|c| *c != '\0');
    let plain = text.nfkd().filter(|c| stays(*c)).flat_map(char::to_lowercase);
    plain.flat_map(signs).nfc().collect()
}

/// A word as it is compared. Compatibility forms become plain ones; marks, variation selectors and
/// what nobody sees go, and so does case. A longer word is told by its beginning.
fn fold(word: &str, part: Part) -> String {
    if word.is_ascii() {
        let mut folded = word.to_ascii_lowercase();
        folded.truncate(SEARCH_WORD_BYTES_MAX);
        return folded;
    }
    let mut folded: String = match part {
        // What an emoji is made of has no other form.
        Part::Alone if word.chars().next().is_some_and(is_symbol) => plain_emoji(word),
        // Put together again, a letter and its sign would be one part.
        Part::Apart => word.nfkd().filter(|c| stays(*c)).collect(),
        _ => fold_text(word),
    };
    let mut end = SEARCH_WORD_BYTES_MAX.min(folded.len());
    while !folded.is_char_boundary(end) {
        end -= 1;
    }
    folded.truncate(end);
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> Vec<String> {
        words(text).map(|word| word.folded).collect()
    }

    #[test]
    fn letters_and_digits_that_stand_together_are_a_word() {
        assert_eq!(folded("Hello, World_2! can't"), ["hello", "world", "2", "can", "t"]);
        assert_eq!(folded(" \r\n--\u{200b}\u{301}"), [""; 0]);
    }

    #[test]
    fn case_accents_and_width_make_no_difference() {
        assert_eq!(folded("CAFÉ cafe\u{301} ｃａｆé"), ["cafe", "cafe", "cafe"]);
        assert_eq!(folded("ΟΔΟΣ οδός ﬁn İstanbul"), ["οδοσ", "οδοσ", "fin", "istanbul"]);
        assert_eq!(folded("한 \u{1112}\u{1161}\u{11ab}"), ["한", "한"]);
        assert_eq!(folded("ガ ｶﾞ か"), ["ガ", "ガ", "か"]);
    }

    #[test]
    fn case_is_folded_where_one_letter_becomes_two() {
        assert_eq!(folded("STRASSE Straße STRAẞE"), ["strasse"; 3]);
    }

    #[test]
    fn vowel_signs_of_arabic_and_hebrew_make_no_difference() {
        assert_eq!(folded("كِتَابٌ كتاب كـتـاب"), ["كتاب"; 3]);
        assert_eq!(folded("شَدَّة شدة"), ["شدة"; 2]);
        assert_eq!(folded("שָׁלוֹם שלום \u{fb2a}לום"), ["שלום"; 3]);
        // A hamza is a letter, and so are the signs of Indic scripts.
        assert_eq!(folded("سؤال سوال"), ["سؤال", "سوال"]);
        assert_eq!(folded("हिन्दी हनद"), ["हिन्दी", "हनद"]);
        // Marks alone are no word.
        assert_eq!(folded("ـ \u{5b8}"), [""; 0]);
    }

    #[test]
    fn what_nobody_sees_parts_no_word() {
        for hidden in ['\u{ad}', '\u{200b}', '\u{200c}', '\u{2060}', '\u{200e}', '\u{feff}'] {
            let text = format!("{hidden}soft{hidden}ware{hidden}, {hidden} a{hidden}b");
            assert_eq!(folded(&text), ["software", "ab"], "{hidden:?}");
            let shown: Vec<&str> = words(&text).map(|word| &text[word.range]).collect();
            let ends = |word: &&str| word.trim_matches(hidden).len() + hidden.len_utf8();
            assert!(shown.iter().all(|word| word.len() <= ends(word)), "{shown:?}");
            let thumb = format!("👍{hidden}👍🏽");
            assert_eq!(folded(&thumb), ["👍", "👍"], "{hidden:?}");
        }
        assert_eq!(folded("می\u{200c}خواهم"), ["میخواهم"]);
        assert_eq!(folded("क्\u{200d}ष क्ष"), ["क्ष", "क्ष"]);
    }

    #[test]
    fn each_part_of_a_character_is_a_word_where_it_is_put_together() {
        let text = "กรุงน้ำ";
        assert_eq!(folded(text).concat(), "กรุงน\u{e49}\u{e4d}\u{e32}");
        let shown: Vec<&str> = words(text).map(|word| &text[word.range]).collect();
        assert_eq!(shown, ["ก", "รุ", "รุ", "ง", "น้ำ", "น้ำ", "น้ำ", "น้ำ"]);
    }

    #[test]
    fn each_character_is_a_word_where_nobody_writes_spaces() {
        assert_eq!(folded("東京、abc大阪"), ["東", "京", "abc", "大", "阪"]);
        assert_eq!(folded("ラーメン 한국"), ["ラ", "ー", "メ", "ン", "한", "국"]);
    }

    #[test]
    fn an_emoji_is_one_word_however_it_is_put_together() {
        assert_eq!(folded("ok👍🏽ok"), ["ok", "👍", "ok"]);
        assert_eq!(folded("👩‍👩‍👧🇩🇪🇫🇷"), ["👩‍👩‍👧", "🇩🇪", "🇫🇷"]);
        assert_eq!(folded("❤️ ❤ 1️⃣"), ["❤", "❤", "1\u{20e3}"]);
    }

    #[test]
    fn how_an_emoji_looks_makes_no_difference() {
        assert_eq!(folded("👍 👍🏻 👍🏿 👍\u{fe0f}"), ["👍"; 4]);
        assert_eq!(folded("🤷 🤷‍♀️ 🤷🏽‍♂️ 🤷🏽‍♂"), ["🤷"; 4]);
        assert_eq!(folded("👩 👩‍🦰 👩🏿‍🦳"), ["👩"; 3]);
        assert_eq!(folded("🏃 🏃‍➡️ 🏃🏽‍♀️‍➡️"), ["🏃"; 3]);
        assert_eq!(folded("🧑‍🤝‍🧑 🧑🏻‍🤝‍🧑🏿"), ["🧑‍🤝‍🧑"; 2]);
        assert_eq!(folded("👩🏽‍💻 👩‍💻"), ["👩‍💻"; 2]);
        // By itself it is something that one may look for.
        assert_eq!(folded("🏽 ♀️ 🦰 ➡️"), ["🏽", "♀", "🦰", "➡"]);
    }

    #[test]
    fn words_are_where_their_ranges_say() {
        let text = "Zoë sagt: 日本 👍🏽!";
        let shown: Vec<&str> = words(text).map(|word| &text[word.range]).collect();
        assert_eq!(shown, ["Zoë", "sagt", "日", "本", "👍🏽"]);
    }

    #[test]
    fn a_long_word_is_told_by_its_beginning() {
        let word = "ü".repeat(SEARCH_WORD_BYTES_MAX);
        assert_eq!(folded(&word), ["u".repeat(SEARCH_WORD_BYTES_MAX)]);
        let word = "я".repeat(SEARCH_WORD_BYTES_MAX);
        assert_eq!(folded(&word)[0].len(), SEARCH_WORD_BYTES_MAX / 2 * 2);
    }
}
