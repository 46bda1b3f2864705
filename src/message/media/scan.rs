//! Walks over JSON text token by token, without building values: a text may be one picture of
//! 30 MB. Text that is no JSON gives some tokens or others, and never a panic.

/// A piece of JSON text: its kind, and from where to where it goes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) from: usize,
    pub(super) to: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The beginning of an object or a list.
    Open { is_object: bool },
    /// The end of one.
    Close,
    /// A member's name.
    Name,
    /// A string that is a value.
    Text,
    /// A number, `true`, `false` or `null`.
    Scalar,
    /// What separates two items.
    Comma,
}

/// The tokens of a text, until it ends or a string in it does not.
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The first place from `at` on whose byte is wanted, or the end.
    fn place_of(&self, at: usize, is_wanted: impl Fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(at..).unwrap_or_default();
        at + rest.iter().position(|byte| is_wanted(*byte)).unwrap_or(rest.len())
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// Where the string ends that begins at `from`: behind its closing quote.
    fn string_end(&self, from: usize) -> Option<usize> {
        let mut at = from + 1;
        loop {
            at = self.place_of(at, |byte| matches!(byte, b'"' | b'\\'));
            match self.byte(at)? {
                b'"' => return Some(at + 1),
                _ => at += 2,
            }
        }
    }

    fn string(&self, from: usize) -> Option<(Kind, usize)> {
        let to = self.string_end(from)?;
        let behind = self.byte(self.place_of(to, |byte| !byte.is_ascii_whitespace()));
        Some((if behind == Some(b':') { Kind::Name } else { Kind::Text }, to))
    }
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        let from = self.place_of(self.at, |byte| !byte.is_ascii_whitespace() && byte != b':');
        let (kind, to) = match self.byte(from)? {
            b'{' => (Kind::Open { is_object: true }, from + 1),
            b'[' => (Kind::Open { is_object: false }, from + 1),
            b'}' | b']' => (Kind::Close, from + 1),
            b',' => (Kind::Comma, from + 1),
            b'"' => self.string(from)?,
            _ => (Kind::Scalar, self.place_of(from, is_end_of_scalar)),
        };
        self.at = to;
        Some(Token { kind, from, to })
    }
}

fn is_end_of_scalar(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'{' | b'[' | b'}' | b']' | b',' | b':' | b'"')
}
