//! Links that someone keeps elsewhere, and whether they are still in the chain.
//!
//! A link is a hash over all that comes before it in its chain. Whoever can write all of a
//! database can make a chain anew, but none in which a link stands that was kept before.

use std::sync::Arc;

use serde::Serialize;

use super::Report;
use crate::codec::Frame;
use crate::error::{Context, Error, Result};
use crate::id::Digest;
use crate::index::{Entry, GroupRecord, Lineage};
use crate::log::{Log, Order, PageLimit, Scan, key};
use crate::stream;

/// Hexadecimal digits of a link.
const DIGITS: usize = 64;

/// The end of the chain over the whole log: what to keep, to show later that nothing up to that
/// position was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LogHead {
    /// The position of the last event that the link commits to.
    pub position: u64,
    /// The link of the last group, in hexadecimal. It commits to all groups: to which events
    /// were appended to which session, and in which order, and to the links of these events.
    pub link: String,
}

/// Where a link stands that was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadFound {
    /// It is the link of the session's event of that seq, and commits to all events up to it.
    Seq(u64),
    /// It is the link of the group that ends at that position, and commits to the log up to it.
    Position(u64),
}

impl std::fmt::Display for HeadFound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seq(seq) => write!(f, "seq {seq}"),
            Self::Position(position) => write!(f, "position {position}"),
        }
    }
}

/// A link that was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept([u8; DIGITS / 2]);

impl Kept {
    /// Reads 64 hexadecimal digits, in upper or lower case.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused = || Error::invalid(format!("a link is {DIGITS} hexadecimal digits"));
        if text.len() != DIGITS {
            return Err(refused());
        }
        let mut link = [0; DIGITS / 2];
        for (byte, digits) in link.iter_mut().zip(text.as_bytes().chunks(2)) {
            for digit in digits {
                let value = char::from(*digit).to_digit(16).ok_or_else(refused)?;
                *byte = *byte << 4 | u8::try_from(value).map_err(|_| refused())?;
            }
        }
        Ok(Self(link))
    }
}

/// The link of a session's event, in hexadecimal.
pub(crate) fn link_at(log: &dyn Log, lineage: &Lineage, seq: u64) -> Result<String> {
    let holder = lineage.holder(seq);
    let read = || {
        let bytes = log.get(&key::frame(holder, seq))?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("the event is missing"))?;
        Frame::open(&bytes, holder, seq).map(|frame| format!("{:?}", frame.link))
    };
    read().with_context(|| format!("seq {seq}"))
}

/// The end of the log's chain; `None` where nothing was appended yet.
pub(crate) fn of_log(log: &dyn Log, published: u64) -> Result<Option<LogHead>> {
    let last = log.page(&key::groups_until(published), PageLimit::records(1))?;
    let Some(record) = last.first() else { return Ok(None) };
    let group = GroupRecord::from_bytes(&record.value)?;
    let position = group.end(&record.key)?;
    Ok(Some(LogHead { position, link: format!("{:?}", group.link) }))
}

/// Looks for a link among the events of a session, those that it shares with others included.
pub(super) fn find_event(
    log: &Arc<dyn Log>,
    session_id: &str,
    Kept(wanted): Kept,
    published: u64,
    report: &mut Report,
) -> Result<()> {
    let (lineage, last_seq) = lineage(&**log, session_id, published)?;
    for span in lineage.spans_back(last_seq) {
        let class = key::Class::Frame;
        let range = key::seqs(class, span.stream, span.first, span.last, Order::Ascending);
        for record in Scan::new(&**log, range) {
            let record = record?;
            // What cannot be read is in the report already.
            if Frame::parse(&record.value).is_ok_and(|frame| frame.link.0 == wanted) {
                let (_, seq) = key::parse_seq(&record.key)?;
                report.head = Some(HeadFound::Seq(seq));
                return Ok(());
            }
        }
    }
    let problem = "no event has this link: what is stored is not what it was taken from";
    report.add(Some(session_id.to_owned()), None, problem);
    Ok(())
}

/// Looks for a link among the groups of the log.
pub(super) fn find_group(
    log: &Arc<dyn Log>,
    Kept(wanted): Kept,
    published: u64,
    report: &mut Report,
) -> Result<()> {
    for record in Scan::new(&**log, key::groups_until(published)) {
        let record = record?;
        // What cannot be read is in the report already.
        if let Ok(group) = GroupRecord::from_bytes(&record.value)
            && group.link.0 == wanted
        {
            report.head = Some(HeadFound::Position(group.end(&record.key)?));
            return Ok(());
        }
    }
    let problem = "no group of the log has this link: what is stored is not what it was taken \
                   from, or it is a session's";
    report.add(None, None, problem);
    Ok(())
}

/// The link of a session's last event, in hexadecimal.
pub(super) fn of_session(log: &dyn Log, session_id: &str, published: u64) -> Result<String> {
    let (lineage, last_seq) = lineage(log, session_id, published)?;
    link_at(log, &lineage, last_seq)
}

fn lineage(log: &dyn Log, session_id: &str, published: u64) -> Result<(Lineage, u64)> {
    let session = Digest::of_session(session_id);
    let last_seq = stream::head_seq(log, session, published)?;
    let entry = Entry::load(log, session)?;
    let lineage = entry.map_or_else(|| Lineage::new(session), |entry| entry.lineage(session));
    Ok((lineage, last_seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Link;
    use crate::error::ErrorKind;

    #[test]
    fn a_link_is_64_hexadecimal_digits_in_either_case() {
        let text = "00ff".repeat(16);
        let link = Kept::parse(&text).unwrap().0;
        assert_eq!(link, Kept::parse(&text.to_uppercase()).unwrap().0);
        assert_eq!(format!("{:?}", Link(link)), text);
        let refused =
            ["", "00", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)];
        for text in refused {
            let error = Kept::parse(text).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Invalid { .. }), "{text}");
        }
    }
}
