//! Places in a session's history, and where they are.

use std::fmt;
use std::str::FromStr;

use crate::clock::{lacks_zone, parse_day, parse_rfc3339, rfc3339};
use crate::codec::Frame;
use crate::error::{Error, Result};
use crate::event::{RunStatus, SeqSpan};
use crate::id::{Digest, EventId};
use crate::index::{Lineage, NumberedRun, RunRecord, Timeline, next_rewind, stored_seq};
use crate::log::{Log, key};

/// A place in a session's history.
///
/// As text: `head`, `start`, a seq (`42` or `seq:42`), `run:3` (after the third run),
/// `run:<id>`, `event:<uuid>`, an RFC 3339 time, or a day (`2026-01-31`, its beginning in UTC).
///
/// ```
/// use sessionlog::Point;
///
/// assert_eq!("42".parse::<Point>()?, Point::seq(42));
/// assert_eq!("run:3".parse::<Point>()?, Point::run(3));
/// assert!("yesterday".parse::<Point>().is_err());
/// # Ok::<(), sessionlog::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Point {
    /// Before the first event.
    Start,
    /// After the last event.
    Head,
    /// After the event of this seq.
    Seq(u64),
    /// After the run of this number, counting top-level runs from 1.
    Run(u64),
    /// After the run of this id.
    RunId(String),
    /// After this event.
    Event(EventId),
    /// After the last event recorded at or before this time, in microseconds since 1970.
    Time(i64),
}

impl Point {
    /// After the event of this seq.
    pub fn seq(seq: u64) -> Self {
        Self::Seq(seq)
    }

    /// After the run of this number, from 1.
    pub fn run(number: u64) -> Self {
        Self::Run(number)
    }

    /// After the run of this id.
    pub fn run_id(run_id: impl Into<String>) -> Self {
        Self::RunId(run_id.into())
    }

    /// The seq of the last event before the point; 0 at the start.
    pub(crate) fn resolve(&self, log: &dyn Log, lineage: &Lineage, head: u64) -> Result<u64> {
        let seq = match self {
            Self::Start | Self::Run(0) => 0,
            Self::Head => head,
            Self::Seq(seq) => *seq,
            Self::Run(number) => {
                let mut timeline = Timeline::at(log, lineage, head);
                let run = NumberedRun::find(log, lineage, &mut timeline, *number)?;
                let run = run.ok_or_else(|| self.missing("run"))?;
                self.end_of_run(log, lineage, run.run, head)?
            }
            Self::RunId(run_id) => self.end_of_run(log, lineage, Digest::of_run(run_id), head)?,
            Self::Event(id) => {
                find_event(log, lineage, *id, head)?.ok_or_else(|| self.missing("event"))?
            }
            Self::Time(at_us) => last_before(log, lineage, *at_us, head)?,
        };
        // What was before a session of the same id was deleted is no part of this one.
        let first = lineage.first_seq();
        if seq < first && first > 1 {
            if matches!(self, Self::Start | Self::Run(0) | Self::Time(_)) {
                return Ok(0);
            }
            let place = format!("point {self} (the session begins at seq {first})");
            return Err(Error::not_found("point").context(place));
        }
        if seq > head {
            let place = format!("point {self} (the session ends at seq {head})");
            return Err(Error::not_found("point").context(place));
        }
        Ok(seq)
    }

    /// The run that a point names, and the seqs from its start to its end.
    pub(crate) fn run_span(
        &self,
        log: &dyn Log,
        lineage: &Lineage,
        head: u64,
    ) -> Result<(Digest, SeqSpan)> {
        let record = self.run_record(log, lineage, head)?;
        let run = Digest::of_run(&record.run_id);
        let last = self.end_of_run(log, lineage, run, head)?;
        Ok((run, SeqSpan { first: record.first_seq, last }))
    }

    /// What is known of the run that a point names, also of one that a rewind left behind.
    pub(crate) fn run_record(
        &self,
        log: &dyn Log,
        lineage: &Lineage,
        head: u64,
    ) -> Result<RunRecord> {
        let mut timeline = Timeline::at(log, lineage, head);
        let run = match self {
            Self::Run(number) => {
                let run = NumberedRun::find(log, lineage, &mut timeline, *number)?;
                run.ok_or_else(|| self.missing("run"))?.run
            }
            Self::RunId(run_id) => Digest::of_run(run_id),
            _ => {
                return Err(Error::invalid(format!(
                    "point {self} names no run: use run:3 or run:<id>"
                )));
            }
        };
        let record = match RunRecord::load(log, lineage, &mut timeline, run)? {
            Some(record) => Some(record),
            None => RunRecord::load_any(log, lineage, run, head)?,
        };
        record.ok_or_else(|| self.missing("run"))
    }

    fn missing(&self, what: &'static str) -> Error {
        Error::not_found(what).context(format!("point {self}"))
    }

    /// The last seq of a run, also of one that a rewind left behind. A run that has not ended
    /// reaches to the head, or to where it was left behind.
    fn end_of_run(&self, log: &dyn Log, lineage: &Lineage, run: Digest, head: u64) -> Result<u64> {
        let mut timeline = Timeline::at(log, lineage, head);
        if let Some(run) = RunRecord::load(log, lineage, &mut timeline, run)? {
            return Ok(if run.status == RunStatus::Running {
                head
            } else {
                run.last_seq.min(head)
            });
        }
        let run = RunRecord::load_any(log, lineage, run, head)?;
        let run = run.ok_or_else(|| self.missing("run"))?;
        if run.status != RunStatus::Running {
            return Ok(run.last_seq);
        }
        let rewind = next_rewind(log, lineage, run.last_seq, head)?;
        Ok(rewind.map_or(head, |seq| seq - 1))
    }
}

fn find_event(log: &dyn Log, lineage: &Lineage, id: EventId, head: u64) -> Result<Option<u64>> {
    if let Some(seq) = stored_seq(log, lineage, id)? {
        return Ok(Some(seq));
    }
    // An id that the engine made holds the millisecond its event was recorded in, and recorded
    // times never run backwards: so its neighbours are found by halving.
    let Some(millis) = id.unix_millis() else { return Ok(None) };
    let mut seq = last_before(log, lineage, millis.saturating_mul(1_000) - 1, head)? + 1;
    while seq <= head {
        let (event_id, recorded_at_us) = header(log, lineage, seq)?;
        if event_id == id {
            return Ok(Some(seq));
        }
        if recorded_at_us.div_euclid(1_000) > millis {
            return Ok(None);
        }
        seq += 1;
    }
    Ok(None)
}

/// The last seq recorded at or before a time, by halving: recorded times never run backwards.
fn last_before(log: &dyn Log, lineage: &Lineage, at_us: i64, head: u64) -> Result<u64> {
    let (mut low, mut high) = (lineage.first_seq() - 1, head);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if header(log, lineage, middle)?.1 <= at_us {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Ok(low)
}

fn header(log: &dyn Log, lineage: &Lineage, seq: u64) -> Result<(EventId, i64)> {
    let missing = || Error::corrupt("the event is missing").context(format!("seq {seq}"));
    let bytes = log.get(&key::frame(lineage.holder(seq), seq))?.ok_or_else(missing)?;
    let header = Frame::parse(&bytes)?.header;
    Ok((header.event_id, header.recorded_at_us))
}

impl FromStr for Point {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || {
            if lacks_zone(text) {
                return Error::invalid(format!("{text:?} has no zone: add Z for UTC, or +01:00"));
            }
            Error::invalid(format!(
                "{text:?} is no point: use head, start, a seq (42), run:3, run:<id>, \
                 event:<uuid>, a time (2026-01-31T12:00:00Z), or a day (2026-01-31)"
            ))
        };
        match text.split_once(':') {
            _ if text == "head" => Ok(Self::Head),
            _ if text == "start" => Ok(Self::Start),
            Some(("seq", seq)) => seq.parse().map(Self::Seq).map_err(|_| bad()),
            Some(("run", "")) => Err(bad()),
            Some(("run", run)) => {
                Ok(run.parse().map_or_else(|_| Self::RunId(run.to_owned()), Self::Run))
            }
            Some(("event", id)) => id.parse().map(Self::Event).map_err(|_| bad()),
            Some(_) => parse_rfc3339(text).map(Self::Time).ok_or_else(bad),
            None => match parse_day(text) {
                Some(at_us) => Ok(Self::Time(at_us)),
                None => text.parse().map(Self::Seq).map_err(|_| bad()),
            },
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::Head => f.write_str("head"),
            Self::Seq(seq) => write!(f, "{seq}"),
            Self::Run(number) => write!(f, "run:{number}"),
            Self::RunId(run_id) => write!(f, "run:{run_id}"),
            Self::Event(id) => write!(f, "event:{id}"),
            Self::Time(at_us) => f.write_str(&rfc3339(*at_us)),
        }
    }
}
