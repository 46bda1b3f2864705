//! The media that an event refers to.

use super::EventBody;
use crate::message::MediaRef;
use crate::message::media;

/// The references in a body.
pub(crate) fn references(body: &EventBody) -> Vec<MediaRef> {
    match body {
        EventBody::MessageAdded(added) => media::references(&added.message),
        EventBody::RunStarted(started) => {
            let extra = started.extra.iter().map(|field| &field.value);
            started.input.iter().chain(extra).flat_map(media::references_in).collect()
        }
        EventBody::ImportedFrom(imported) => {
            imported.data.iter().flat_map(media::references_in).collect()
        }
        _ => Vec::new(),
    }
}
