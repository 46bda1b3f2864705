//! A name out of what a model answers.

use serde_json::Value;

use crate::limits::{NAME_BYTES_MAX, NAME_CHARS_MAX, NAME_WORDS_MAX};

/// What models write in front of a name.
const LABELS: [&str; 8] = [
    "conversation name",
    "conversation title",
    "session name",
    "session title",
    "chat name",
    "chat title",
    "title",
    "name",
];
/// What models begin a sentence with that says that a name follows.
const LEADS: [&str; 9] = [
    "here is",
    "here's",
    "here’s",
    "sure",
    "certainly",
    "of course",
    "okay",
    "a suitable",
    "suggested",
];
/// Quotes and marks of Markdown, and what ends them.
const MARKS: [(char, &[char]); 10] = [
    ('"', &['"']),
    ('\'', &['\'']),
    ('`', &['`']),
    ('*', &['*']),
    ('_', &['_']),
    ('~', &['~']),
    ('“', &['”']),
    ('‘', &['’']),
    ('«', &['»']),
    ('„', &['“', '”']),
];
/// Those of them that no name begins with, also where nothing ends them.
const LONE_MARKS: [char; 6] = ['"', '`', '*', '“', '«', '„'];
/// What a name does not end in.
const ENDS: [char; 9] = ['.', ',', ';', ':', '!', '-', '–', '—', '…'];

/// The first line that says a name, without what models put around one. `None` where nothing is
/// left.
pub(super) fn clean(answer: &str) -> Option<String> {
    let mut name = clean_once(answer)?;
    // What stood in quotes may be quoted itself. Each time it is shorter, so this ends.
    loop {
        let again = clean_once(&name)?;
        if again == name {
            return Some(name);
        }
        name = again;
    }
}

/// The first words of a text, as many as a name has, and of those as many characters.
pub(super) fn first_words(text: &str) -> Option<String> {
    let line = lines(text).map(printable).find(|line| !line.is_empty())?;
    let words: Vec<&str> = line.split(' ').take(NAME_WORDS_MAX).collect();
    let words = shortened(&words.join(" "));
    // What asks a model for something may read like a model's preamble.
    clean(&words)
        .or_else(|| Some(words.trim_end_matches(is_end).to_owned()))
        .filter(|words| !words.is_empty())
}

/// Whether a name is no longer than one may be.
pub(super) fn has_room(name: &str) -> bool {
    name.split_whitespace().count() <= NAME_WORDS_MAX && name.chars().nth(NAME_CHARS_MAX).is_none()
}

fn clean_once(answer: &str) -> Option<String> {
    let held = held(answer);
    let mut names = lines(held.as_deref().unwrap_or(answer)).map(clean_line);
    names.find(|name| name.contains(|c: char| !c.is_whitespace() && !is_joiner(c)))
}

/// The one text that an answer in JSON holds.
fn held(answer: &str) -> Option<String> {
    let answer = answer.trim().trim_matches('`');
    let object = answer.strip_prefix("json").unwrap_or(answer).trim();
    let members: serde_json::Map<String, Value> = serde_json::from_str(object).ok()?;
    match Vec::from_iter(members).as_slice() {
        [(_, Value::String(text))] => Some(text.clone()),
        _ => None,
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

fn clean_line(line: &str) -> String {
    let text = printable(line);
    let (mut name, mut opened) = (text.as_str(), Vec::new());
    if is_fence(name) {
        return String::new();
    }
    loop {
        let begun = begin(name, &mut opened);
        // Somebody says that a name follows; it does on the next line.
        if begun.ends_with(':') {
            return String::new();
        }
        let ended = end(begun, &mut opened);
        if ended == name {
            return ended.to_owned();
        }
        name = ended;
    }
}

/// One line without commands of a terminal and what cannot be seen, of no more bytes than a name.
fn printable(line: &str) -> String {
    let shown = without_commands(line);
    let shown = shown.chars().filter(|c| !is_hidden(*c));
    let shown: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let text = words.join(" ");
    let end = (0..=text.len().min(NAME_BYTES_MAX)).rev().find_map(|end| text.get(..end));
    end.unwrap_or_default().trim_end().to_owned()
}

/// A text without whole sequences that command a terminal, of which letters would be left.
fn without_commands(text: &str) -> String {
    let mut left = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\u{1b}', '\u{9b}']) {
        let (before, command) = rest.split_at(at);
        left.push_str(before);
        let inside = command.strip_prefix("\u{1b}[").or(command.strip_prefix('\u{9b}'));
        let behind = inside.and_then(|inside| {
            let behind = inside.trim_start_matches(|c| matches!(c, ' '..='?'));
            behind.strip_prefix(|c| matches!(c, '@'..='~'))
        });
        rest = behind.unwrap_or_else(|| {
            left.push(' ');
            command.get(command.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default()
        });
    }
    left.push_str(rest);
    left
}

/// The name without one thing that stands in front of it. What it may be ended by is noted.
fn begin<'a>(name: &'a str, opened: &mut Vec<&'static [char]>) -> &'a str {
    let name = without_label(without_lead(without_list_mark(name.trim_start())), opened);
    let Some(mark) = name.chars().next() else { return name };
    let Some((_, ends)) = MARKS.iter().find(|(begin, _)| *begin == mark) else { return name };
    let rest = name.get(mark.len_utf8()..).unwrap_or_default();
    let is_around = rest.trim_end_matches(is_end).ends_with(*ends);
    let is_lone = LONE_MARKS.contains(&mark) && !rest.contains(*ends);
    if is_around && !closes_inside(rest, ends) {
        opened.push(ends);
        return rest.trim_start();
    }
    if is_lone { rest.trim_start() } else { name }
}

/// Whether what was opened in front of a text is closed in the middle of it: `"a" and "b"`.
fn closes_inside(rest: &str, ends: &[char]) -> bool {
    let Some(at) = rest.find(ends).filter(|at| *at > 0) else { return false };
    let (before, behind) = rest.split_at(at);
    let behind = behind.trim_start_matches(ends);
    behind.starts_with(' ') && !before.ends_with(' ')
}

/// The name without what it does not end in, and what was opened in front of it.
fn end<'a>(name: &'a str, opened: &mut Vec<&'static [char]>) -> &'a str {
    let mut name = name.trim_end_matches(is_end);
    while let Some(at) = opened.iter().position(|ends| name.ends_with(*ends)) {
        let mark = name.chars().next_back().map_or(0, char::len_utf8);
        opened.remove(at);
        name = name.get(..name.len() - mark).unwrap_or_default().trim_end_matches(is_end);
    }
    name
}

/// The name without the mark of a heading, a quotation or a list.
fn without_list_mark(name: &str) -> &str {
    let signs = name.trim_start_matches(['#', '>']);
    if signs.len() < name.len() && (name.starts_with('>') || signs.starts_with(' ')) {
        return signs.trim_start();
    }
    let digits = name.trim_start_matches(|c: char| c.is_ascii_digit());
    let behind = match name.len() - digits.len() {
        0 => name.strip_prefix(['-', '*', '•', '–']),
        1 | 2 => digits.strip_prefix(['.', ')']),
        _ => None,
    };
    behind.and_then(|behind| behind.strip_prefix(' ')).unwrap_or(name).trim_start()
}

/// The name behind a sentence that says that it follows.
fn without_lead(name: &str) -> &str {
    let Some((lead, rest)) = name.split_once(':') else { return name };
    let lead = lead.to_lowercase();
    let is_lead = LEADS.iter().any(|begin| lead.starts_with(begin));
    let mut words = lead.split(|c: char| !c.is_alphanumeric());
    let is_of_name = words.any(|word| matches!(word, "name" | "title"));
    if is_lead && is_of_name && !rest.is_empty() { rest.trim_start() } else { name }
}

/// The name behind a label. Marks in front of the label are noted if they are not ended with it.
fn without_label<'a>(name: &'a str, opened: &mut Vec<&'static [char]>) -> &'a str {
    let ends_of = |c: char| MARKS.iter().find(|(mark, _)| *mark == c).map(|(_, ends)| *ends);
    let text = name.trim_start_matches(|c: char| ends_of(c).is_some());
    let marks = name.get(..name.len() - text.len()).unwrap_or_default();
    let behind = |label: &&str| {
        let rest = text.get(label.len()..)?;
        text.get(..label.len())?.eq_ignore_ascii_case(label).then_some(rest)
    };
    let Some(rest) = LABELS.iter().find_map(behind) else { return name };
    let mut ours: Vec<&'static [char]> = marks.chars().filter_map(ends_of).collect();
    let rest = closed(rest, &mut ours).trim_start();
    let Some(rest) = rest.strip_prefix(':') else { return name };
    let rest = closed(rest, &mut ours).trim_start();
    opened.append(&mut ours);
    rest
}

/// The text without the ends of what was opened before it.
fn closed<'a>(mut text: &'a str, opened: &mut Vec<&'static [char]>) -> &'a str {
    while let Some(at) = opened.iter().position(|ends| text.starts_with(*ends)) {
        opened.remove(at);
        text = text.get(text.chars().next().map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    text
}

/// As many characters of a text as a name has, ended where a reader's character ends.
fn shortened(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(NAME_CHARS_MAX) else { return text.to_owned() };
    let is_whole = |at: usize| {
        let next = text.get(at..).and_then(|rest| rest.chars().next());
        let last = text.get(..at).and_then(|rest| rest.chars().next_back());
        !next.is_some_and(extends) && !last.is_some_and(is_joiner)
    };
    let mut ends = text.char_indices().map(|(at, _)| at).filter(|at| (1..=end).contains(at));
    let whole = ends.rfind(|at| is_whole(*at)).unwrap_or(end);
    text.get(..whole).unwrap_or_default().trim_end().to_owned()
}

/// Whether a character belongs to the one in front of it: accents, vowel signs, joiners, the
/// colours of emoji. The standard library tells the most of them by escaping what cannot stand
/// alone.
fn extends(c: char) -> bool {
    c.escape_debug().count() > 2 || matches!(c, '\u{1f3fb}'..='\u{1f3ff}')
}

/// Characters that hold together what is around them: an emoji of several, Persian words.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// The beginning or the end of a block of code.
fn is_fence(line: &str) -> bool {
    line.strip_prefix("```").is_some_and(|kind| kind.chars().all(|c| c.is_ascii_lowercase()))
}

fn is_end(c: char) -> bool {
    ENDS.contains(&c) || c.is_whitespace()
}

/// Characters that nobody sees, and those that turn around what stands behind them.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_models_put_around_a_name_goes() {
        for answer in [
            "Lost Parcel",
            "\"Lost Parcel\"",
            "Title: Lost Parcel",
            "**Title:** \"Lost  Parcel.\"",
            "# Lost Parcel\n\nA name for it.",
            "\n\u{1b}Lost\tParcel\r\nmore",
            "Conversation Name: “Lost Parcel”!",
            "> _Lost Parcel_ …",
            "\u{202e}Lost Parcel\u{7}",
            "**Title**: Lost Parcel",
            "**Title: Lost Parcel**",
            "**Name: \"Lost Parcel\"**",
            "\u{1b}[1;32mLost \u{9b}4mParcel\u{1b}[0m",
            "Lo\u{200b}st P\u{200e}arcel",
            "Sure! Here is a name:\n\nLost Parcel",
            "Here is a name: Lost Parcel",
            "Sure! Here's a suitable name for the conversation: \"Lost Parcel\"",
            "- Lost Parcel",
            "* Lost Parcel\n* Another",
            "1. **Lost Parcel**",
            "{\"name\":\"Lost Parcel\"}",
            "```json\n{\n  \"name\": \"Lost Parcel\"\n}\n```",
            "```\nLost Parcel\n```",
        ] {
            assert_eq!(clean(answer).as_deref(), Some("Lost Parcel"), "{answer:?}");
        }
        assert_eq!(clean("Name tags for the party?").as_deref(), Some("Name tags for the party?"));
        for nothing in
            ["", " \n ", "\"\"", "Title:", "***", "...", "Here is a name:", "\u{200d}", "\u{1b}[0m"]
        {
            assert_eq!(clean(nothing), None, "{nothing:?}");
        }
        assert_eq!(
            first_words("one two three four five six").as_deref(),
            Some("one two three four five")
        );
    }

    #[test]
    fn what_belongs_to_a_name_stays() {
        for name in [
            "Learning C#",
            "Debugging \"foo\"",
            "\"foo\" and \"bar\"",
            "Fix `main`",
            "'90s Music",
            "#1 Priority",
            "__init__ of a class",
            "2024. A year",
            "Family \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} Trip",
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "Fix the file name: case",
        ] {
            assert_eq!(clean(name).as_deref(), Some(name));
        }
        assert_eq!(clean("Name: \"Fix `main`\"").as_deref(), Some("Fix `main`"));
        assert_eq!(clean("# Learning C#").as_deref(), Some("Learning C#"));
    }

    #[test]
    fn a_name_of_a_script_without_spaces_ends_between_characters() {
        let emoji = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        let mut accents = "x".repeat(NAME_CHARS_MAX - 1);
        accents.push_str("e\u{301}y");
        for (text, wanted) in [
            ("\u{540d}".repeat(200), "\u{540d}".repeat(NAME_CHARS_MAX)),
            (emoji.repeat(40), emoji.repeat(NAME_CHARS_MAX / 5)),
            (format!("x{}", emoji.repeat(40)), format!("x{}", emoji.repeat(15))),
            (accents, "x".repeat(NAME_CHARS_MAX - 1)),
        ] {
            assert!(!has_room(&text));
            let name = first_words(&text).unwrap();
            assert!(has_room(&name));
            assert_eq!(name, wanted);
        }
        // What the user asks for is no preamble.
        assert_eq!(first_words("Please fix this:\ncode").as_deref(), Some("Please fix this"));
    }

    proptest! {
        #[test]
        fn a_name_is_one_clean_line_and_cleaning_it_again_changes_nothing(answer in any::<String>()) {
            if let Some(name) = clean(&answer) {
                prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
                prop_assert!(!name.chars().any(char::is_control));
                prop_assert_eq!(clean(&name), Some(name.clone()));
                let short = first_words(&name);
                prop_assert!(short.is_none_or(|short| has_room(&short)));
            }
        }

        #[test]
        fn so_it_is_whatever_a_model_puts_around_it(
            answer in r#"(["'`*_#>:.{}~ -]|Title:|Here is a name:|1\. |\n|[ab “”]){0,20}"#
        ) {
            if let Some(name) = clean(&answer) {
                prop_assert!(!name.is_empty() && !name.contains('\n'));
                prop_assert_eq!(clean(&name), Some(name.clone()));
            }
        }
    }
}
