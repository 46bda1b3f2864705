//! The value that is nearest to a text which means none: JSON allows numbers that no `f64` holds,
//! and half a surrogate pair.

use serde_json::Value;

/// The value, and what of the text it does not hold.
pub(crate) fn nearest_value(text: &str) -> (Value, Option<String>) {
    if let Ok(value) = serde_json::from_str(text) {
        return (value, None);
    }
    let mut nearest = Nearest { text: String::with_capacity(text.len()), changed: None };
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let token = match first {
            '"' => string(rest),
            '-' | '0'..='9' => number(rest),
            other => rest.get(..other.len_utf8()),
        };
        let token = token.unwrap_or(rest);
        match first {
            '"' => nearest.add_string(token),
            '-' | '0'..='9' => nearest.add_number(token),
            _ => nearest.text.push_str(token),
        }
        rest = rest.strip_prefix(token).unwrap_or_default();
    }
    (serde_json::from_str(&nearest.text).unwrap_or(Value::Null), nearest.changed)
}

/// The text's first token, a string.
fn string(text: &str) -> Option<&str> {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let is_end = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        is_end
    });
    text.get(..=end?.0)
}

/// The text's first token, a number.
fn number(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    text.get(..text.find(|c| !is_part(c))?)
}

struct Nearest {
    text: String,
    changed: Option<String>,
}

impl Nearest {
    fn add_number(&mut self, token: &str) {
        if !token.parse().is_ok_and(f64::is_infinite) {
            return self.text.push_str(token);
        }
        self.note(format!("no number is as large as {token}"));
        self.text.push('0');
    }

    fn add_string(&mut self, token: &str) {
        if serde_json::from_str::<String>(token).is_ok() {
            return self.text.push_str(token);
        }
        let mut rest = token;
        while let Some(at) = rest.find('\\') {
            let (before, from) = rest.split_at(at);
            self.text.push_str(before);
            let pair = from.get(..12).filter(|pair| is_character(pair));
            let one = from.get(..6).filter(|one| one.starts_with("\\u"));
            let escape = match (pair, one) {
                (Some(pair), _) => pair,
                (None, Some(one)) if !is_character(one) => {
                    self.note(format!("{one} is half a character"));
                    self.text.push_str("\\ufffd");
                    rest = from.strip_prefix(one).unwrap_or_default();
                    continue;
                }
                (None, Some(one)) => one,
                (None, None) => from.get(..2).unwrap_or(from),
            };
            self.text.push_str(escape);
            rest = from.strip_prefix(escape).unwrap_or_default();
        }
        self.text.push_str(rest);
    }

    fn note(&mut self, words: String) {
        self.changed.get_or_insert(words);
    }
}

/// Whether these escapes are a character, as the inside of a string.
fn is_character(escapes: &str) -> bool {
    serde_json::from_str::<String>(&format!("\"{escapes}\"")).is_ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_no_value_is_gives_way_and_is_named_and_all_else_stays() {
        let (value, changed) =
            nearest_value(r#"{"a":[1e999,-1E400,2.5],"b":"\"1e999\\","c":1e999}"#);
        assert_eq!(value, json!({"a": [0, 0, 2.5], "b": "\"1e999\\", "c": 0}));
        assert_eq!(changed.unwrap(), "no number is as large as 1e999");
        let (value, changed) =
            nearest_value(r#"["\ud83d\ude00 \ud83dx\\ud800\n\u00e9\udc00\ud800\ud83d\ude00"]"#);
        assert_eq!(value, json!(["😀 \u{fffd}x\\ud800\né\u{fffd}\u{fffd}😀"]));
        assert_eq!(changed.unwrap(), r"\ud83d is half a character");
        let (value, changed) = nearest_value(r#"{"\ud800":1}"#);
        assert_eq!((value, changed.is_some()), (json!({"\u{fffd}": 1}), true));
        assert_eq!(nearest_value("[1, \"a\"]"), (json!([1, "a"]), None));
        for broken in ["", "\"", "\"\\", "\"\\u", "[1e999", "-", "\"é\\ud8", "{\"a\":\"\\ud800\\"]
        {
            assert_eq!(nearest_value(broken).0, Value::Null, "{broken}");
        }
    }
}
