//! The text of a file, cut into its records: one document, a list, or one record a line.

use serde_json::value::RawValue;

use crate::json::{Json, JsonObject};

/// A file's records. Each is JSON text, as yet of any shape and any depth.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) layout: Layout,
    /// The folder that tells the file from others of its name.
    pub(super) folder: Option<String>,
    pub(super) records: Vec<Record<'a>>,
    /// Lines that are no JSON.
    pub(super) broken: Vec<Broken>,
}

/// How the records lie in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// The file is one object.
    Object,
    /// The file is one list.
    List,
    /// Each line is a record.
    Lines,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) place: Place,
    pub(super) text: &'a str,
}

/// Where in a file something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Whole,
    /// From 0, as in a JSON path.
    Index(usize),
    Line {
        number: u64,
        ordinal: usize,
    },
}

/// A record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) line: Option<u64>,
    pub(super) reason: String,
}

impl Place {
    pub(super) fn line(self) -> Option<u64> {
        match self {
            Self::Line { number, .. } => Some(number),
            Self::Whole | Self::Index(_) => None,
        }
    }

    /// Its number among the file's records, from 1, the broken ones counted in.
    pub(super) fn ordinal(self) -> usize {
        match self {
            Self::Whole => 1,
            Self::Index(index) => index + 1,
            Self::Line { ordinal, .. } => ordinal,
        }
    }

    pub(super) fn broken(self, reason: impl std::fmt::Display) -> Broken {
        let reason = match self {
            Self::Index(index) => format!("[{index}]: {reason}"),
            Self::Whole | Self::Line { .. } => reason.to_string(),
        };
        Broken { line: self.line(), reason }
    }

    /// A broken element of a list that is a member of the record.
    pub(super) fn broken_in(
        self,
        member: &str,
        index: usize,
        reason: impl std::fmt::Display,
    ) -> Broken {
        let outer = match self {
            Self::Index(outer) if member.is_empty() => format!("[{outer}]"),
            Self::Index(outer) => format!("[{outer}]."),
            Self::Whole | Self::Line { .. } => String::new(),
        };
        Broken { line: self.line(), reason: format!("{outer}{member}[{index}]: {reason}") }
    }
}

impl<'a> Source<'a> {
    /// Cuts a text into records, or says why it has none.
    pub(super) fn split(text: &'a str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err(String::from("empty file"));
        }
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Self::of_document(raw.get()),
            Err(error) => {
                let lines = Self::of_lines(text);
                if lines.is_one_broken_document(text, &error) {
                    return Err(not_json(&error));
                }
                Ok(lines)
            }
        }
    }

    fn of_document(text: &'a str) -> Result<Self, String> {
        let (layout, records) = if text.starts_with('{') {
            (Layout::Object, vec![Record { place: Place::Whole, text }])
        } else {
            let Some(elements) = elements(text) else { return Err(String::from(NO_CONVERSATION)) };
            let place = |(index, text)| Record { place: Place::Index(index), text };
            (Layout::List, elements.into_iter().enumerate().map(place).collect())
        };
        Ok(Self { layout, folder: None, records, broken: Vec::new() })
    }

    fn of_lines(text: &'a str) -> Self {
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        let lines = (1_u64..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        for (ordinal, (number, line)) in (1_usize..).zip(lines) {
            let place = Place::Line { number, ordinal };
            match serde_json::from_str::<&RawValue>(line) {
                Ok(raw) => records.push(Record { place, text: raw.get() }),
                Err(error) => broken.push(place.broken(not_json(&error))),
            }
        }
        Self { layout: Layout::Lines, folder: None, records, broken }
    }

    /// Whether this is no list of lines but one document over many lines, with an error in it:
    /// then a line of it that happens to be JSON means nothing by itself.
    fn is_one_broken_document(&self, text: &str, error: &serde_json::Error) -> bool {
        let first = text.trim_start();
        let is_first_broken = self.records.first().is_none_or(|record| record.place.ordinal() > 1);
        let is_mostly_broken = self.broken.len() > self.records.len();
        let has_shape = |record: &Record<'_>| record.text.starts_with(['{', '[']);
        !self.records.iter().any(has_shape)
            || is_first_broken && first.starts_with('[')
            || is_first_broken && is_mostly_broken && first.starts_with('{') && error.is_eof()
    }
}

/// Why a file without a conversation is skipped.
pub(super) const NO_CONVERSATION: &str = "no conversation in it";

/// The elements of a JSON list, or `None` where the text is no list.
pub(super) fn elements(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The members of an object that may be nested to any depth, or `None` where it is no object.
pub(super) fn members(text: &str) -> Option<JsonObject> {
    serde_json::from_str(text).ok()
}

/// The text of a JSON string.
pub(super) fn text_of(json: &Json) -> Option<String> {
    serde_json::from_str(json.as_str()).ok()
}

/// A number or a text as part of a name.
pub(super) fn label_of(json: &Json) -> Option<String> {
    let value = json.to_value();
    let text = value.as_str().map(str::to_owned);
    text.or_else(|| value.is_number().then(|| value.to_string()))
}

/// A count, or `None` where it is none.
pub(super) fn count_of(json: &Json) -> Option<u64> {
    serde_json::from_str(json.as_str()).ok()
}

/// A number, or `None` where it is none.
pub(super) fn real_of(json: &Json) -> Option<f64> {
    serde_json::from_str(json.as_str()).ok()
}

/// The words of `serde_json` without the line, which would be the record's and not the file's.
fn not_json(error: &serde_json::Error) -> String {
    let words = error.to_string();
    let words = words.replace(" at line 1 column ", " at column ");
    format!("not JSON: {words}")
}
