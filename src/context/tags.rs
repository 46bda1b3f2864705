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
        let (before, tag) = rest.split_at(at);
        let behind = tag.trim_start_matches(['<', '/', ' ', '\t', '\n', '\r']);
        let is_tag = NAMES.iter().any(|name| {
            behind.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
        });
        safe.push_str(before);
        safe.push(if is_tag { '[' } else { '<' });
        rest = tag.strip_prefix('<').unwrap_or_default();
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
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
}
