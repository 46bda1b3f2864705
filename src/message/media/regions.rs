//! Finds where in a JSON text media stand.

use super::kinds::{is_ambiguous, is_arguments, is_call, is_media_member, is_media_part};
use super::literal::{inner, may_be_media, word};
use super::scan::{Kind, Token, Tokens};
use crate::limits::JSON_DEPTH_MAX;

/// From where to where a medium goes, in bytes: an object whose `type` is one, or a member that
/// holds some, from its name on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Region {
    pub(super) from: usize,
    pub(super) to: usize,
}

/// The regions of a text in order, none inside another. `name` is that of the member which the
/// text is the value of, where it is one.
///
/// What a model gives a tool is its own words, whatever it looks like: no region lies there.
/// A text nested deeper than JSON may be has none.
pub(super) fn regions(text: &str, name: Option<&str>) -> Vec<Region> {
    let name = name.map_or(Name::Other, Name::of);
    let root = Frame { member: Some(Member { name, from: 0, mark: 0 }), ..Frame::new(0, 0) };
    let mut finder = Finder { text, regions: Vec::new(), frames: vec![root] };
    for token in Tokens::new(text) {
        if finder.frames.len() > JSON_DEPTH_MAX {
            return Vec::new();
        }
        finder.take(token);
    }
    finder.regions
}

/// What a member's name says about its value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name {
    Type,
    Arguments,
    Media { is_ambiguous: bool },
    Other,
}

impl Name {
    fn of(name: &str) -> Self {
        match name {
            "type" => Self::Type,
            name if is_arguments(name) => Self::Arguments,
            name if is_media_member(name) => Self::Media { is_ambiguous: is_ambiguous(name) },
            _ => Self::Other,
        }
    }
}

struct Member {
    name: Name,
    from: usize,
    /// How many regions there were when it began.
    mark: usize,
}

/// What an object is by its `type`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Medium,
    Call,
    Other,
}

/// An object or a list that is not closed yet.
struct Frame {
    from: usize,
    /// How many regions there were when it began.
    mark: usize,
    member: Option<Member>,
    what: What,
    /// The regions in a call's arguments, as places in the list.
    arguments: Option<(usize, usize)>,
    has_items: bool,
    has_objects: bool,
}

impl Frame {
    fn new(from: usize, mark: usize) -> Self {
        Self {
            from,
            mark,
            member: None,
            what: What::Other,
            arguments: None,
            has_items: false,
            has_objects: false,
        }
    }
}

/// What a value is made of, as far as it matters.
#[derive(Clone, Copy)]
struct Value {
    kind: Kind,
    from: usize,
    to: usize,
    has_items: bool,
    has_objects: bool,
}

struct Finder<'a> {
    text: &'a str,
    regions: Vec<Region>,
    /// The first stands for whatever the text lies in.
    frames: Vec<Frame>,
}

impl Finder<'_> {
    fn take(&mut self, token: Token) {
        let Token { kind, from, to } = token;
        let mark = self.regions.len();
        match kind {
            Kind::Open { is_object } => {
                let frame = Frame { has_objects: is_object, ..Frame::new(from, mark) };
                self.frames.push(frame);
            }
            Kind::Name => {
                let name = Name::of(&word(inner(self.text, token)));
                if let Some(frame) = self.frames.last_mut() {
                    frame.member = Some(Member { name, from, mark });
                }
            }
            Kind::Text | Kind::Scalar => {
                self.end_value(Value { kind, from, to, has_items: false, has_objects: false });
            }
            Kind::Close if self.frames.len() > 1 => self.close(to),
            Kind::Close | Kind::Comma => {}
        }
    }

    fn close(&mut self, to: usize) {
        let Some(frame) = self.frames.pop() else { return };
        if let (What::Call, Some((first, last))) = (frame.what, frame.arguments)
            && last <= self.regions.len()
        {
            self.regions.drain(first..last);
        }
        if frame.what == What::Medium {
            self.add(frame.from, to, frame.mark);
        }
        let Frame { from, has_items, has_objects, .. } = frame;
        self.end_value(Value { kind: Kind::Close, from, to, has_items, has_objects });
    }

    /// Takes a region that holds all those from `mark` on.
    fn add(&mut self, from: usize, to: usize, mark: usize) {
        self.regions.truncate(mark);
        self.regions.push(Region { from, to });
    }

    fn end_value(&mut self, value: Value) {
        let is_root = self.frames.len() == 1;
        let count = self.regions.len();
        let text = self.text;
        let literal = || {
            let token = Token { kind: value.kind, from: value.from, to: value.to };
            if value.kind == Kind::Text { inner(text, token) } else { "" }
        };
        let Some(frame) = self.frames.last_mut() else { return };
        frame.has_items = true;
        frame.has_objects |= value.has_objects;
        let Some(Member { name, from, mark }) = frame.member.take() else { return };
        match name {
            // Of two members of one name the last counts.
            Name::Type => {
                let kind = word(literal());
                frame.what = match &*kind {
                    kind if is_media_part(kind) => What::Medium,
                    kind if is_call(kind) => What::Call,
                    _ => What::Other,
                };
            }
            Name::Arguments => frame.arguments = Some((mark, count)),
            Name::Media { is_ambiguous } => {
                let holds_media = match value.kind {
                    Kind::Text => may_be_media(literal()),
                    Kind::Close => value.has_items && (value.has_objects || !is_ambiguous),
                    _ => false,
                };
                if holds_media {
                    let from = if is_root { value.from } else { from };
                    self.add(from, value.to, mark);
                }
            }
            Name::Other => {}
        }
    }
}
