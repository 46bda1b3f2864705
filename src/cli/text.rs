//! Text for people: on one line, cut to fit, and unable to command their terminal.

use jiff::Timestamp;

/// Stands for a character that a terminal would obey instead of show.
const UNPRINTABLE: char = '\u{fffd}';

/// The text without control characters, line breaks and tabs apart.
pub(super) fn printable(text: &str) -> String {
    let show = |c: char| if c.is_control() && c != '\n' && c != '\t' { UNPRINTABLE } else { c };
    text.chars().map(show).collect()
}

/// The text on one line, each run of white space a single space.
pub(super) fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" "))
}

/// The text on one line, its spaces as they are laid out.
pub(super) fn flat(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

/// The beginning of a text, at most so many columns wide.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if self::columns(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let fits = |c: &char| match room.checked_sub(columns_of(*c)) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// How many columns a text takes.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Near enough for cutting: East Asian scripts and emoji take two columns.
fn columns_of(c: char) -> usize {
    match c {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

/// A time for programs: RFC 3339, to the microsecond.
pub(super) fn rfc3339(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map_or_else(|_| format!("{at_us}us"), |at| at.to_string())
}

/// A time for people: to the second, in UTC.
pub(super) fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us)
        .map_or_else(|_| format!("{at_us}us"), |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
}

/// A count with the word for what was counted.
pub(super) fn count(number: u64, word: &str) -> String {
    let number = grouped(number);
    if number == "1" { format!("1 {word}") } else { format!("{number} {word}s") }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in the unit that fits it.
pub(super) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_text_is_never_wider_than_asked() {
        assert_eq!(cut("hello", 5), "hello");
        assert_eq!(cut("hello!", 5), "hell…");
        assert_eq!(cut("日本語", 5), "日本…");
    }

    #[test]
    fn text_cannot_command_the_terminal() {
        assert_eq!(one_line("a\u{1b}[31m\r\nb"), "a\u{fffd}[31m b");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "event"), "1 event");
        assert_eq!((bytes(900), bytes(1536)), ("900 B".to_owned(), "1.5 KiB".to_owned()));
    }

    #[test]
    fn times_are_told_in_utc() {
        assert_eq!(time(1_769_860_800_000_000), "2026-01-31 12:00:00Z");
        assert_eq!(rfc3339(1_769_860_800_000_001), "2026-01-31T12:00:00.000001Z");
    }
}
