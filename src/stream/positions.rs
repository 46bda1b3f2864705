//! The events of all sessions in the order of the whole log.

use std::collections::VecDeque;

use crate::codec::{self, Frame};
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::id::Digest;
use crate::index::GroupRecord;
use crate::limits::{PAGE_BYTES_MAX, PAGE_RECORDS_MAX};
use crate::log::{Log, Order, PageLimit, Scan, key};

/// The next events from a position on: a page of them, or all up to `last`. What comes before
/// something that cannot be read is given first; whoever asks again meets it.
pub(crate) fn page_at(log: &dyn Log, first: u64, last: u64) -> Result<VecDeque<(Digest, Event)>> {
    let mut page = Page { log, next: first, last, bytes: 0, events: VecDeque::new() };
    match page.fill() {
        Err(_) if !page.events.is_empty() => {}
        other => other?,
    }
    Ok(page.events)
}

struct Page<'a> {
    log: &'a dyn Log,
    /// The position that comes next.
    next: u64,
    last: u64,
    bytes: usize,
    events: VecDeque<(Digest, Event)>,
}

impl Page<'_> {
    fn is_full(&self) -> bool {
        self.next > self.last
            || self.events.len() >= PAGE_RECORDS_MAX
            || self.bytes >= PAGE_BYTES_MAX
    }

    fn fill(&mut self) -> Result<()> {
        let (first, last) = (self.next, self.last);
        let start = key::groups_until(first);
        let Some(group) = self.log.page(&start, PageLimit::records(1))?.pop() else {
            return Ok(());
        };
        self.take_group(key::parse_group(&group.key)?, &group.value)?;
        let later = key::class_range(key::Class::Group, Order::Ascending).behind(&group.key);
        for group in Scan::new(self.log, later) {
            if self.is_full() {
                break;
            }
            let group = group?;
            self.take_group(key::parse_group(&group.key)?, &group.value)?;
        }
        if self.events.is_empty() && first <= last {
            return Err(Error::corrupt(format!("position {first} is in no group")));
        }
        Ok(())
    }

    /// Takes from a group what is wanted of it.
    fn take_group(&mut self, first_position: u64, value: &[u8]) -> Result<()> {
        if first_position > self.next {
            // What comes before the hole is given first; whoever asks again meets it.
            self.last = self.next - 1;
            return Ok(());
        }
        let mut position = first_position;
        for (session, first_seq, events) in GroupRecord::from_bytes(value)?.commits {
            let behind = position.saturating_add(u64::from(events));
            while (position..behind).contains(&self.next) && !self.is_full() {
                let seq = first_seq.saturating_add(self.next - position);
                self.take(session, seq).with_context(|| format!("position {}", self.next))?;
            }
            position = behind;
        }
        Ok(())
    }

    fn take(&mut self, session: Digest, seq: u64) -> Result<()> {
        let bytes = self.log.get(&key::frame(session, seq))?;
        let bytes = bytes.ok_or_else(|| Error::corrupt("the event is missing"))?;
        let frame = Frame::open(&bytes, session, seq)?;
        if frame.position != self.next {
            return Err(Error::corrupt(format!(
                "the event of position {} is here",
                frame.position
            )));
        }
        self.events.push_back((session, codec::decode(&frame)?));
        self.bytes += bytes.len();
        self.next += 1;
        Ok(())
    }
}
