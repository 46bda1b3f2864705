//! Takes media out of a JSON value for good.

use super::literal::{inner, is_media};
use super::regions::{Region, regions};
use super::scan::{Kind, Token, Tokens};
use crate::json::Json;
use crate::limits::JSON_DEPTH_MAX;

/// The value without its media, and how many parts and members went: parts whose type is
/// media, members that hold media, and wherever they stand long data URLs and references. An
/// element leaves its list, a member its object; everything else stays byte for byte.
///
/// `name` is that of the member which the value is of, where it is one. The value is `None`
/// where it was itself a medium. `None` altogether where there is nothing to remove.
pub(crate) fn drop_media(json: &Json, name: Option<&str>) -> Option<(Option<Json>, u32)> {
    let text = json.as_str();
    let mut cutter = Cutter { cuts: Vec::new(), frames: vec![Frame::default()], count: 0 };
    let mut regions = regions(text, name).into_iter().peekable();
    let mut skipped: Option<Region> = None;
    for token in Tokens::new(text) {
        if cutter.frames.len() > JSON_DEPTH_MAX {
            return None;
        }
        if skipped.is_none() {
            skipped = regions.next_if(|region| region.from <= token.from);
            if skipped.is_some() {
                cutter.begin(token);
            }
        }
        match skipped {
            Some(region) if token.to < region.to => {}
            Some(region) => {
                cutter.end(region.to, true);
                skipped = None;
            }
            None => cutter.take(text, token),
        }
    }
    if cutter.count == 0 {
        return None;
    }
    let is_whole = cutter.frames.first().is_some_and(|root| !root.has_kept);
    let left = (!is_whole).then(|| Json::of_valid(cutter.apply(text)));
    Some((left, cutter.count))
}

/// An object or a list that is not closed yet. The first stands for whatever the value lies in.
#[derive(Default)]
struct Frame {
    is_object: bool,
    item_from: usize,
    comma: usize,
    has_kept: bool,
    /// Whether all items so far are cut: then the comma behind them goes too, up to the next.
    is_cut_open: bool,
}

struct Cutter {
    /// From where to where, in order.
    cuts: Vec<(usize, usize)>,
    frames: Vec<Frame>,
    count: u32,
}

impl Cutter {
    fn take(&mut self, text: &str, token: Token) {
        let is_value = !matches!(token.kind, Kind::Name | Kind::Close | Kind::Comma);
        let in_object = self.frames.last().is_some_and(|frame| frame.is_object);
        if token.kind == Kind::Name || (is_value && !in_object) {
            self.begin(token);
        }
        match token.kind {
            Kind::Open { is_object } => {
                self.frames.push(Frame { is_object, ..Frame::default() });
            }
            Kind::Close => {
                if self.frames.len() > 1 {
                    self.frames.pop();
                    self.end(token.to, false);
                }
            }
            Kind::Text => self.end(token.to, is_media(inner(text, token))),
            Kind::Scalar => self.end(token.to, false),
            Kind::Comma => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.comma = token.from;
                }
            }
            Kind::Name => {}
        }
    }

    /// An item begins, unless the token is the value of a member that has begun.
    fn begin(&mut self, token: Token) {
        let Some(frame) = self.frames.last_mut() else { return };
        if frame.is_object && token.kind != Kind::Name {
            return;
        }
        frame.item_from = token.from;
        if frame.is_cut_open
            && let Some((_, to)) = self.cuts.last_mut()
        {
            *to = token.from;
        }
        frame.is_cut_open = false;
    }

    fn end(&mut self, to: usize, is_removed: bool) {
        let Some(frame) = self.frames.last_mut() else { return };
        if !is_removed {
            frame.has_kept = true;
            return;
        }
        frame.is_cut_open = !frame.has_kept;
        let from = if frame.has_kept { frame.comma } else { frame.item_from };
        self.cuts.push((from, to));
        self.count = self.count.saturating_add(1);
    }

    fn apply(&self, text: &str) -> String {
        let (mut out, mut at) = (String::new(), 0);
        for (from, to) in &self.cuts {
            out.push_str(text.get(at..*from).unwrap_or_default());
            at = *to;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }
}
