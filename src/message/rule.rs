//! The rules that a prompt must keep, by name, and where one is broken.

use std::fmt;

use serde::Serialize;

/// Ties each rule to its name and to what it says.
macro_rules! rules {
    ($($rule:ident $name:literal $says:literal),* $(,)?) => {
        /// A rule of the providers, by name. Each comes from what OpenAI's Chat Completions API
        /// or Anthropic's Messages API refuses or documents.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("`", $name, "`: ", $says, ".")] $rule,)*
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// The name, as it goes into JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$rule => $name,)*
                }
            }

            /// What it asks for.
            pub const fn says(self) -> &'static str {
                match self {
                    $(Self::$rule => $says,)*
                }
            }
        }
    };
}

rules! {
    NotEmpty "not-empty" "a request has at least one message",
    Shape "shape" "each member has the type that the provider's reference gives it",
    UnknownMember "unknown-member" "an object has no members that the provider does not know there",
    KnownRole "known-role" "a message has a role that the provider knows",
    KnownPart "known-part" "a part of a content has a type that this role may say",
    Content "content" "a message says something, in words or parts that are not empty",
    FunctionName "function-name" "a tool's name matches ^[a-zA-Z0-9_-]{1,64}$, a speaker's ^[^\\s<|\\\\/>]{1,64}$",
    CallId "call-id" "a call has an id of the length and the characters that the provider takes",
    UniqueCallId "unique-call-id" "no two calls that the provider reads together share an id",
    AnsweredCall "answered-call" "each call is answered in the next message, one that the API carries out before the user speaks",
    AnsweringResult "answering-result" "each result answers a call of the message before it",
    ResultPlace "result-place" "results stand directly behind the message of their calls",
    CallerRole "caller-role" "only the model calls tools",
    OneResponse "one-response" "the parts of one response of a model are one message",
    Alternation "alternation" "user and assistant speak by turns, the user first",
    Media "media" "an image is on the web or is data of a type that the provider takes",
    Caching "caching" "at most four blocks end what is to be cached, each marked as documented",
    Ending "ending" "the model's words end in no thought and, where they are the last, in no whitespace",
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Rule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Where a rule is broken, in the order of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// In the instructions that stand beside the messages.
    System,
    /// In the message of this place in the list, from 0.
    Message(usize),
    /// Where the list ends.
    End,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::Message(at) => write!(f, "message {at}"),
            Self::End => f.write_str("at the end"),
        }
    }
}

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// Where.
    pub place: Place,
    /// Which rule.
    pub rule: Rule,
    /// What is there.
    pub detail: String,
}

impl Violation {
    pub(super) fn new(place: Place, Broken { rule, detail }: Broken) -> Self {
        Self { place, rule, detail }
    }
}

impl Violation {
    /// Something that no request can say, such as a number that is too large.
    pub(crate) fn of_value(place: Place, detail: String) -> Self {
        Self::new(place, Rule::Shape.broken(detail))
    }

    /// A list of no message. OpenAI and Anthropic refuse both.
    pub(super) fn of_no_message() -> Self {
        Self::new(Place::End, Rule::NotEmpty.broken("there is no message to send"))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}

/// A rule that is broken, before it is known where in the list.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) rule: Rule,
    pub(super) detail: String,
}

impl Rule {
    pub(super) fn broken(self, detail: impl Into<String>) -> Broken {
        Broken { rule: self, detail: detail.into() }
    }
}
