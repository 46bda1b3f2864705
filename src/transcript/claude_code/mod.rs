//! Claude Code's session files: one record a line, messages among notices of many types.

mod read;
mod record;
#[cfg(test)]
mod tests;
mod write;

use super::format::{FormatSpec, Sign};
use crate::json::JsonObject;

pub(super) const FORMAT: FormatSpec = FormatSpec {
    name: "claude-code",
    recognise,
    read: read::read,
    write: Some(|recorded| Ok(write::records(recorded.view(), &recorded.messages()?))),
    reserved: Some(record::RESERVED),
};

fn recognise(record: &JsonObject) -> Sign {
    let has = |name: &str| record.get(name).is_some();
    let is_bare = ["role", "messages"].into_iter().any(has);
    let is_record = ["sessionId", "uuid", "snapshot", "leafUuid"].into_iter().any(has);
    if has("type") && is_record && !is_bare { Sign::Certain } else { Sign::None }
}
