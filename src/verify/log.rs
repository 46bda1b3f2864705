//! The log as a whole: every group holds what it says, position by position, and follows from
//! the group before it. This is what shows a dropped last event.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Progress, Report};
use crate::codec::{Frame, GroupLink, Link, group_link};
use crate::error::{Error, Result};
use crate::event::EventKind;
use crate::id::Digest;
use crate::index::GroupRecord;
use crate::log::{Log, Order, Scan, key};

/// Of each session, the first seq of its own and the last, as the groups tell it.
pub(super) type Ends = BTreeMap<Digest, (u64, u64)>;

/// Walks all groups.
pub(super) fn check(
    log: &Arc<dyn Log>,
    published: u64,
    report: &mut Report,
    progress: &mut Progress<'_>,
) -> Result<Ends> {
    let link = match log_id(&**log) {
        Ok(log_id) => GroupLink::start(log_id),
        Err(error) => {
            report.add(None, None, format!("the database's own record: {error}"));
            GroupLink::start([0; 16])
        }
    };
    let mut walk = Walk { log, report, ends: BTreeMap::new(), next_position: 1, link };
    for record in Scan::new(&**log, key::class_range(key::Class::Group, Order::Ascending)) {
        let record = record?;
        let first_position = key::parse_group(&record.key)?;
        if first_position > published {
            break;
        }
        walk.group(first_position, &record.value)?;
        progress(walk.next_position - 1);
    }
    let counted = walk.next_position - 1;
    let ends = walk.ends;
    if counted < published {
        report.add(None, None, format!("the log ends at position {counted} of {published}"));
    }
    report.events = counted;
    unlisted_frames(log, &ends, published, report)?;
    Ok(ends)
}

/// Which log the database says it is.
fn log_id(log: &dyn Log) -> Result<[u8; 16]> {
    let bytes = log.get(&key::meta())?.ok_or_else(|| Error::corrupt("it is missing"))?;
    let meta: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::corrupt(error.to_string()))?;
    let text = meta.get("log_id").and_then(serde_json::Value::as_str).unwrap_or_default();
    match uuid::Uuid::try_parse(text) {
        Ok(log_id) if log_id.to_string() == text => Ok(log_id.into_bytes()),
        _ => Err(Error::corrupt("the log id is no uuid")),
    }
}

struct Walk<'a> {
    log: &'a Arc<dyn Log>,
    report: &'a mut Report,
    ends: Ends,
    next_position: u64,
    link: GroupLink,
}

impl Walk<'_> {
    fn group(&mut self, first_position: u64, value: &[u8]) -> Result<()> {
        let place = format!("group at position {first_position}");
        let group = match GroupRecord::from_bytes(value) {
            Ok(group) => group,
            Err(error) => {
                self.report.add(None, None, format!("{place}: {error}"));
                return Ok(());
            }
        };
        if first_position != self.next_position {
            let expected = self.next_position;
            self.report.add(None, None, format!("{place}: position {expected} was expected"));
            self.next_position = first_position;
        }
        let mut links = Vec::with_capacity(group.commits.len());
        for (session, first_seq, events) in &group.commits {
            let link = self.commit(*session, *first_seq, u64::from(*events))?;
            links.push((*session, *first_seq, *events, link));
        }
        if group_link(self.link, first_position, links.iter().copied()) != group.link {
            let problem = if self.is_of_another(first_position, &links, group.link)? {
                String::from("the database's own record names another log than its events do")
            } else {
                format!("{place}: it does not follow from what it holds")
            };
            self.report.add(None, None, problem);
        }
        // From here on the chain is measured against what is stored, so that one fault is
        // reported once.
        self.link = group.link;
        Ok(())
    }

    /// Whether the first group follows from the log that its first event was written to, which is
    /// then not the one that the database says it is.
    fn is_of_another(
        &self,
        first_position: u64,
        links: &[(Digest, u64, u32, Link)],
        wanted: GroupLink,
    ) -> Result<bool> {
        let Some((session, seq, ..)) = links.first().filter(|_| first_position == 1) else {
            return Ok(false);
        };
        let bytes = self.log.get(&key::frame(*session, *seq))?.unwrap_or_default();
        let Ok(frame) = Frame::parse(&bytes) else { return Ok(false) };
        let start = GroupLink::start(frame.header.log_id);
        Ok(group_link(start, first_position, links.iter().copied()) == wanted)
    }

    /// Checks that the events of a commit are where its group says; returns the last link.
    fn commit(&mut self, session: Digest, first_seq: u64, events: u64) -> Result<Link> {
        let next = match self.ends.get(&session) {
            Some((_, last)) => last + 1,
            None => self.first_seq(session, first_seq)?,
        };
        if first_seq != next {
            let problem = format!("its group says seq {first_seq} where {next} was expected");
            self.report.add(Some(session.to_string()), None, problem);
        }
        // The record was refused where this could overflow.
        let last_seq = first_seq + events - 1;
        self.ends.entry(session).or_insert((next, 0)).1 = last_seq;
        let mut link = Link::START;
        for seq in first_seq..=last_seq {
            let position = self.next_position;
            self.next_position += 1;
            let Some(bytes) = self.log.get(&key::frame(session, seq))? else {
                // The session's own check reports it.
                continue;
            };
            match Frame::parse(&bytes) {
                Ok(frame) if frame.position == position => link = frame.link,
                Ok(frame) => {
                    let problem =
                        format!("it says position {}, and stands at {position}", frame.position);
                    self.report.add(Some(session.to_string()), Some(seq), problem);
                    link = frame.link;
                }
                Err(_) => {}
            }
        }
        Ok(link)
    }

    /// The first seq of a session's own: 1, unless it begins as a fork there.
    fn first_seq(&self, session: Digest, first_seq: u64) -> Result<u64> {
        let Some(bytes) = self.log.get(&key::frame(session, first_seq))? else { return Ok(1) };
        // By its header: where the session was deleted, or its key cannot be had, there is no body.
        let is_fork = Frame::parse(&bytes).is_ok_and(|Frame { header, .. }| {
            let is_it = (header.session, header.seq) == (session, first_seq);
            is_it && header.kind == EventKind::ForkedFrom as u16
        });
        Ok(if is_fork { first_seq } else { 1 })
    }
}

/// Frames that no group lists were put there by someone else.
fn unlisted_frames(
    log: &Arc<dyn Log>,
    ends: &Ends,
    published: u64,
    report: &mut Report,
) -> Result<()> {
    for record in Scan::new(&**log, key::class_range(key::Class::Frame, Order::Ascending)) {
        let record = record?;
        let (session, seq) = key::parse_seq(&record.key)?;
        let is_listed =
            ends.get(&session).is_some_and(|(first, last)| (*first..=*last).contains(&seq));
        let is_later = Frame::parse(&record.value).is_ok_and(|frame| frame.position > published);
        if !is_listed && !is_later {
            report.add(Some(session.to_string()), Some(seq), "no group lists this event");
        }
    }
    Ok(())
}
