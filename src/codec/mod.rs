//! Events as stored bytes and back. The format is specified in `docs/FORMAT.md`; this folder
//! is its only other home.

mod body;
mod frame;
mod hash;
#[cfg(test)]
mod tests;

pub(crate) use self::body::EncodedBody;
#[cfg(feature = "testing")]
pub(crate) use self::body::decode as decode_body;
pub(crate) use self::frame::{BodyForm, FRAME_BYTES_MIN, Frame, Header};
#[cfg(feature = "seal")]
pub(crate) use self::frame::{CLEAR_BYTES, HEADER_BYTES};
pub(crate) use self::hash::{Commitment, GroupLink, Link, group_link};

use crate::error::Result;
use crate::event::{Event, EventBody, EventKind};

/// The format that is written, and the newest that is read. It covers frames, keys and every
/// other stored record; a database names the one it was written in.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// Decodes a frame whose header and commitment were already checked.
pub(crate) fn decode(frame: &Frame<'_>) -> Result<Event> {
    let header = &frame.header;
    let kind = EventKind::from_ordinal(header.kind)
        .ok_or_else(|| crate::Error::corrupt(format!("unknown event kind {}", header.kind)))?;
    let body = match frame.form {
        BodyForm::Removed => EventBody::Gone(kind),
        BodyForm::Original | BodyForm::Replaced => {
            body::decode(kind, header.schema_version, header.flags, frame.body)?
        }
    };
    Ok(Event {
        seq: header.seq,
        position: frame.position,
        id: header.event_id,
        recorded_at_us: header.recorded_at_us,
        run: header.run,
        actor: header.actor,
        commit_index: header.commit_index,
        commit_len: header.commit_len,
        body,
    })
}
