//! What a model writes where it was asked for a summary as JSON.

use serde_json::Value;

use crate::limits::{SUMMARY_BYTES_MAX, SUMMARY_TOPICS_MAX};

/// Characters of a topic; what is longer is none.
const TOPIC_CHARS_MAX: usize = 200;
/// Places in an answer where the object may begin that are tried.
const BEGINNINGS_MAX: usize = 64;

/// A summary as a model wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) summary: String,
    pub(super) topics: Vec<String>,
}

impl Written {
    /// Reads the first object in the answer that has a summary, whatever stands around it: models
    /// put a fence or a sentence there. Otherwise it says what is wrong with the answer.
    pub(super) fn parse(answer: &str) -> Result<Self, String> {
        let beginnings = answer.match_indices('{').take(BEGINNINGS_MAX);
        let mut objects = beginnings.filter_map(|(at, _)| {
            let text = answer.get(at..)?;
            serde_json::Deserializer::from_str(text).into_iter::<Value>().next()?.ok()
        });
        let object = objects.find(|object| object.get("summary").is_some());
        let object = object.ok_or("The answer has no JSON object with a summary")?;
        let summary = object.get("summary").and_then(Value::as_str).unwrap_or_default().trim();
        if summary.is_empty() {
            return Err(String::from("The summary is empty"));
        }
        if summary.len() > SUMMARY_BYTES_MAX {
            return Err(format!("The summary is longer than {SUMMARY_BYTES_MAX} bytes"));
        }
        let topics = object.get("topics").and_then(Value::as_array);
        let topics = topics.into_iter().flatten().filter_map(Value::as_str).map(str::trim);
        let is_topic = |topic: &&str| (1..=TOPIC_CHARS_MAX).contains(&topic.chars().count());
        let topics = topics.filter(is_topic).take(SUMMARY_TOPICS_MAX).map(str::to_owned);
        Ok(Self { summary: summary.to_owned(), topics: topics.collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_is_found_whatever_stands_around_it() {
        let plain = r#"{"summary": "They {talk}.", "topics": ["tea", "", 3, " rain "]}"#;
        let topics = vec![String::from("tea"), String::from("rain")];
        let wanted = Ok(Written { summary: "They {talk}.".into(), topics });
        for answer in [
            plain.to_owned(),
            format!("```json\n{plain}\n```"),
            format!("Here {{it}} is: {plain} I hope it helps. }}"),
            format!("{{\"thinking\": 1}}\n{plain}"),
        ] {
            assert_eq!(Written::parse(&answer), wanted, "{answer}");
        }
        let bare = Written::parse(r#"{"summary": "Short.", "topics": null}"#);
        assert_eq!(bare.unwrap().topics, Vec::<String>::new());
    }

    #[test]
    fn an_answer_without_a_summary_is_told_from_one() {
        for answer in ["", "They talk.", "{", r#"{"summary": 3}"#, r#"{"summary": "  "}"#, "[1]"] {
            assert!(Written::parse(answer).is_err(), "{answer}");
        }
        let long = format!(r#"{{"summary": "{}"}}"#, "x".repeat(SUMMARY_BYTES_MAX + 1));
        assert!(Written::parse(&long).is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_a_summary_or_a_reason(answer in r#"[{}\[\]":,a-c summary\\]{0,60}"#) {
            let read = Written::parse(&answer);
            prop_assert!(read.is_err() || !read.unwrap().summary.is_empty());
        }

        #[test]
        fn what_was_written_is_read_back(summary in "\\PC{1,40}", before in "[a-z ]{0,9}") {
            prop_assume!(!summary.trim().is_empty());
            let answer = format!("{before}{}", serde_json::json!({ "summary": summary }));
            prop_assert_eq!(Written::parse(&answer).unwrap().summary, summary.trim());
        }
    }
}
