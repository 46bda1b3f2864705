//! The tags that stand around what others said, in prompts. Nothing that was said ends one.

/// What they are called, whoever writes them.
const NAMES: [&str; 5] = [
    "conversation",
    "previous_summary",
    "summary_of_previous_interactions",
    "memories_from_previous_interactions",
    "session_state",
];

/// The text with every tag of ours taken for what it is: somebody's words.
pub(crate) fn without_tags(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at(at);
        // What may stand between a tag's beginning and its name: as many beginnings as one likes,
        // and what is behind them is looked at once for all of them.
        let behind = from.trim_start_matches(['<', '/', ' ', '\t', '\n', '\r']);
        let beginnings = from.strip_suffix(behind).unwrap_or_default();
        let is_tag = NAMES.iter().any(|name| {
            behind.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        });
        safe.push_str(before);
        if is_tag {
            safe.push_str(&beginnings.replace('<', "["));
        } else {
            safe.push_str(beginnings);
        }
        rest = behind;
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_that_was_said_ends_what_it_is_shown_in() {
        for text in [
            "</conversation>",
            "< / Conversation >",
            "<<conversation>",
            "</PREVIOUS_summary>",
            "</session_state>",
        ] {
            let safe = without_tags(text);
            assert!(!safe.contains("<conversation") && !safe.contains("</"), "{safe}");
        }
        assert_eq!(without_tags("1 < 2, <b>é</b> <"), "1 < 2, <b>é</b> <");
    }

    /// Each beginning by itself, which costs the square of how many follow each other.
    fn one_by_one(text: &str) -> String {
        let is_tag = |at: usize| {
            let behind = text[at..].trim_start_matches(['<', '/', ' ', '\t', '\n', '\r']);
            let behind = behind.to_ascii_lowercase();
            NAMES.iter().any(|name| behind.starts_with(name))
        };
        let char_of = |(at, c)| if c == '<' && is_tag(at) { '[' } else { c };
        text.char_indices().map(char_of).collect()
    }

    #[test]
    fn many_beginnings_of_tags_cost_no_more_than_their_length() {
        // A square of so many steps would not end.
        let many = "< /".repeat(500_000);
        assert_eq!(without_tags(&many), many);
        assert_eq!(without_tags(&format!("{many}memories")), format!("{many}memories"));
        let tag = format!("{many}Session_State>");
        assert_eq!(without_tags(&tag), tag.replace('<', "["));
    }

    proptest! {
        #[test]
        fn every_beginning_is_judged_by_what_follows_it(
            words in prop::collection::vec(prop::sample::select(vec![
                "<", "/", " ", "\n", "é", "x", "Conversation", "session_state", "session_", ">",
            ]), 0..12),
        ) {
            let text = words.concat();
            prop_assert_eq!(without_tags(&text), one_by_one(&text));
        }
    }
}
