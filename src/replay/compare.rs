//! Two points, of one session or of two: what both share is not read.

use std::sync::Arc;

use crate::error::Result;
use crate::event::EventBody;
use crate::id::Digest;
use crate::index::{Lineage, Stretch, Timeline};
use crate::log::Log;
use crate::message::Message;
use crate::projection::{Compared, Diff, SessionView};
use crate::stream::Events;

/// A point and the view there.
pub(crate) struct End<'a> {
    pub(crate) lineage: &'a Lineage,
    pub(crate) view: &'a SessionView,
}

/// Compares two points. The cost follows what lies between them, not what both share.
pub(crate) fn compare(log: &Arc<dyn Log>, from: &End<'_>, to: &End<'_>) -> Result<Diff> {
    let (mut a, mut b) = (pieces(log, from)?, pieces(log, to)?);
    skip_shared(&mut a, &mut b);
    let (a, b) = (messages(log, from.lineage, &a)?, messages(log, to.lineage, &b)?);
    Ok(Diff::between(
        Compared { view: from.view, messages: &a },
        Compared { view: to.view, messages: &b },
    ))
}

/// Seqs that count, in the one stream that holds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    stream: Digest,
    first: u64,
    last: u64,
}

/// What counts at a point, the first piece last.
fn pieces(log: &Arc<dyn Log>, end: &End<'_>) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut timeline = Timeline::at(&**log, end.lineage, end.view.seq);
    let mut index = 0;
    while let Some(Stretch { first, mut last }) = timeline.stretch(index)? {
        while let Some(span) = end.lineage.last_span(first, last) {
            pieces.push(Piece { stream: span.stream, first: span.first, last: span.last });
            last = span.first - 1;
        }
        index += 1;
    }
    Ok(pieces)
}

/// Takes from both what both begin with.
fn skip_shared(a: &mut Vec<Piece>, b: &mut Vec<Piece>) {
    while let (Some(x), Some(y)) = (a.last_mut(), b.last_mut()) {
        if x.stream != y.stream || x.first != y.first {
            return;
        }
        let shared = x.last.min(y.last);
        (x.first, y.first) = (shared + 1, shared + 1);
        let is_different = x.last != y.last;
        let is_empty = |piece: &mut Piece| piece.first > piece.last;
        a.pop_if(is_empty);
        b.pop_if(is_empty);
        // What is left of the longer one has no counterpart.
        if is_different {
            return;
        }
    }
}

fn messages(
    log: &Arc<dyn Log>,
    lineage: &Lineage,
    pieces: &[Piece],
) -> Result<Vec<(u64, Message)>> {
    let mut messages = Vec::new();
    for piece in pieces.iter().rev() {
        for event in Events::new(log, lineage, piece.first, piece.last) {
            let event = event?;
            if let EventBody::MessageAdded(added) = event.body {
                messages.push((event.seq, added.message));
            }
        }
    }
    Ok(messages)
}
