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
/// What a sentence ends with that says the name behind it.
const VERBS: [&str; 5] = [" is ", " could be ", " would be ", " might be ", " should be "];
/// What such a sentence speaks of, beside a name or a title.
const SUBJECTS: [&str; 7] =
    ["conversation", "chat", "session", "discussion", "dialogue", "suitable", "suggested"];
/// How a model begins that excuses itself, whatever follows but the rest of a name.
const EXCUSES: [&str; 5] =
    ["i'm sorry", "i am sorry", "i apologize", "i apologise", "my apologies"];
/// How one begins that goes on to speak of itself.
const REGRETS: [&str; 5] = ["sorry", "unfortunately", "i'm afraid", "i am afraid", "as an ai"];
/// How one begins that says what it does not do,
const NEGATIONS: [&str; 12] = [
    "i can't",
    "i cannot",
    "i can not",
    "i could not",
    "i couldn't",
    "i won't",
    "i will not",
    "i'm unable to",
    "i am unable to",
    "i'm not able to",
    "i am not able to",
    "i don't have",
];
/// and what that is.
const REFUSED: [&str; 14] = [
    "help",
    "assist",
    "provide",
    "comply",
    "generate",
    "create",
    "suggest",
    "fulfill",
    "fulfil",
    "name",
    "answer",
    "discuss",
    "determine",
    "enough",
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
/// left, or where the model excuses itself.
pub(super) fn clean(answer: &str) -> Option<String> {
    let mut name = clean_once(answer)?;
    // What stood in quotes may be quoted itself. Each time it is shorter, so this ends.
    loop {
        let again = clean_once(&name)?;
        if again == name {
            return (!is_refusal(&name)).then_some(name);
        }
        name = again;
    }
}

/// The first words of a text, as many as a name has, and of those as many characters. Lines that
/// only begin or end something (code, an element of markup) are no words.
pub(super) fn first_words(text: &str) -> Option<String> {
    let mut lines = lines(text).map(printable).map(|line| match untagged(&line) {
        line if opens_code(line) => String::new(),
        line => line.to_owned(),
    });
    let line = lines.find(|line| !line.is_empty())?;
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

/// The one text that an answer in JSON holds, or the one that is called a name.
fn held(answer: &str) -> Option<String> {
    let answer = answer.trim().trim_matches('`');
    let object = answer.strip_prefix("json").unwrap_or(answer).trim();
    let members: serde_json::Map<String, Value> = serde_json::from_str(object).ok()?;
    match Vec::from_iter(members).as_slice() {
        [(_, Value::String(text))] => Some(text.clone()),
        members => members.iter().find(|(key, _)| is_label(key))?.1.as_str().map(str::to_owned),
    }
}

/// Whether a member of JSON or an element of markup is called as a name is.
fn is_label(key: &str) -> bool {
    LABELS.contains(&key.to_lowercase().replace(['_', '-'], " ").as_str())
}

/// Whether a model says that it gives no name, and why.
fn is_refusal(name: &str) -> bool {
    let name = name.to_lowercase().replace('’', "'");
    let behind = |begins: &[&str]| begins.iter().find_map(|begin| name.strip_prefix(begin));
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric() && c != '\'').map(str::to_owned).collect()
    };
    if let Some(rest) = behind(&EXCUSES) {
        let goes_on = [" but ", " i "].iter().any(|word| rest.starts_with(word));
        return goes_on || !rest.starts_with(|c: char| c.is_alphanumeric() || " '".contains(c));
    }
    if let Some(rest) = behind(&REGRETS) {
        return words(rest).iter().any(|word| word == "i" || word.starts_with("i'"));
    }
    let Some(rest) = behind(&NEGATIONS) else { return false };
    words(rest).iter().take(4).any(|word| REFUSED.contains(&word.as_str()))
}

/// What stands in an element of markup, `<name>` and `</name>` around it. Nothing where a line is
/// made of tags alone: what they hold is on other lines.
fn untagged(line: &str) -> &str {
    let Some((tag, rest)) = tag(line) else { return line };
    let mut left = rest.trim_start();
    while let Some((_, rest)) = self::tag(left) {
        left = rest.trim_start();
    }
    if left.is_empty() {
        return "";
    }
    let inside = rest.strip_suffix('>').and_then(|rest| {
        let at = rest.len().checked_sub(tag.len())?;
        let is_same = rest.get(at..)?.eq_ignore_ascii_case(tag);
        rest.get(..at).filter(|_| is_same)?.strip_suffix("</")
    });
    inside.map_or(line, str::trim)
}

/// The name of the tag that a text begins with, and what is behind it.
fn tag(text: &str) -> Option<(&str, &str)> {
    let (tag, rest) = text.strip_prefix('<')?.split_once('>')?;
    let tag = tag.strip_prefix('/').unwrap_or(tag);
    let name = tag.split([' ', '/']).next().filter(|_| !tag.contains('<'))?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.:".contains(c));
    is_name.then_some((name, rest))
}

/// Whether a block of code begins or ends with the line, whatever its language is called.
fn opens_code(line: &str) -> bool {
    let behind = line.strip_prefix("```").or(line.strip_prefix("~~~"));
    behind.is_some_and(|behind| !behind.contains("```"))
}

/// The heading without what ends it as one: `Lost Parcel ##`.
fn without_heading_end(name: &str) -> &str {
    let bare = name.trim_end_matches('#');
    if bare.len() < name.len() && bare.ends_with(' ') { bare.trim_end() } else { name }
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
        let begun = begin(without_heading_end(untagged(name)), &mut opened);
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
    let Some((lead, rest)) = name.split_once(':') else { return without_sentence(name) };
    let lead = lead.to_lowercase();
    let is_lead = LEADS.iter().any(|begin| lead.starts_with(begin));
    let mut words = lead.split(|c: char| !c.is_alphanumeric());
    let is_of_name = words.any(|word| matches!(word, "name" | "title"));
    if is_lead && is_of_name && !rest.is_empty() { rest.trim_start() } else { name }
}

/// The name that a sentence says: `The name of this conversation is "Lost Parcel".`
fn without_sentence(name: &str) -> &str {
    // As long in bytes as the name itself, so that a place in one is a place in the other.
    let lower = name.to_ascii_lowercase();
    let places = VERBS.iter().filter_map(|verb| Some((lower.find(verb)?, verb.len())));
    let Some((at, len)) = places.min() else { return name };
    let lead: Vec<&str> = lower.get(..at).unwrap_or_default().split(' ').collect();
    let says = |words: &[&str]| words.iter().any(|word| lead.contains(word));
    let begins = ["the", "a", "my", "this"].iter().any(|word| lead.first() == Some(word));
    if !(begins && says(&["name", "title"]) && says(&SUBJECTS)) {
        return name;
    }
    name.get(at + len..).filter(|rest| !rest.is_empty()).unwrap_or(name)
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
            "The name of this conversation is \"Lost Parcel\".",
            "A suitable title could be: **Lost Parcel**",
            "A suitable title could be **Lost Parcel**",
            "<name>Lost Parcel</name>",
            "<session_name>\n\"Lost Parcel\"\n</session_name>",
            "{\"title\":\"Lost Parcel\",\"reason\":\"x\"}",
            "```json\n{\"reason\": \"x\", \"Session_Name\": \"Lost Parcel\"}\n```",
            "**Lost Parcel** #",
            "## Lost Parcel ##",
        ] {
            assert_eq!(clean(answer).as_deref(), Some("Lost Parcel"), "{answer:?}");
        }
        assert_eq!(clean("Name tags for the party?").as_deref(), Some("Name tags for the party?"));
        for nothing in [
            "",
            " \n ",
            "\"\"",
            "Title:",
            "***",
            "...",
            "Here is a name:",
            "\u{200d}",
            "\u{1b}[0m",
            "<name></name>",
            "<name>\n</name>",
        ] {
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
            "The Name of the Rose is Long",
            "A name is a name",
            "<div> does not center",
            "<b>Bold</b> and <i>Italic</i>",
            "Sorry, Wrong Number",
            "I'm Sorry Song Lyrics",
            "I can't log in",
            "Learning F#",
            "I cannot sleep",
        ] {
            assert_eq!(clean(name).as_deref(), Some(name));
        }
        assert_eq!(clean("Name: \"Fix `main`\"").as_deref(), Some("Fix `main`"));
        assert_eq!(clean("# Learning C#").as_deref(), Some("Learning C#"));
    }

    #[test]
    fn a_model_that_excuses_itself_gave_no_name() {
        for answer in [
            "I'm sorry, but I can't",
            "I’m sorry, but I can’t assist with that.",
            "I am sorry.",
            "I apologize, but the conversation is empty.",
            "Sorry, I can't help with that.",
            "Unfortunately, I cannot name this.",
            "As an AI language model, I do not name conversations.",
            "\"I cannot provide a name for this conversation\"",
            "I'm unable to assist with that request",
            "I don't have enough context",
        ] {
            assert_eq!(clean(answer), None, "{answer}");
        }
        // People say the same, and mean it.
        assert_eq!(
            first_words("I'm sorry, but it broke again").as_deref(),
            Some("I'm sorry, but it broke")
        );
    }

    #[test]
    fn what_only_begins_code_or_markup_is_not_among_the_first_words() {
        for text in [
            "```rust\nfix this bug\n```",
            "```C++ title=x\nfix this bug",
            "~~~\nfix this bug",
            "<file>\n<text lang=\"en\">\nfix this bug\n</text></file>",
            "<text>fix this bug</text>",
        ] {
            assert_eq!(first_words(text).as_deref(), Some("fix this bug"), "{text}");
        }
        for nothing in ["```rust", "<file>", "<file><br/>\n</file>"] {
            assert_eq!(first_words(nothing), None, "{nothing}");
        }
        assert_eq!(first_words("<div> does not center").as_deref(), Some("<div> does not center"));
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
            answer in r#"(["'`*_#>:.{}~ -]|</?name>|I can't name |The title of the chat is |Title:|Here is a name:|1\. |\n|[ab “”]){0,20}"#
        ) {
            if let Some(name) = clean(&answer) {
                prop_assert!(!name.is_empty() && !name.contains('\n'));
                prop_assert_eq!(clean(&name), Some(name.clone()));
            }
        }
    }
}
