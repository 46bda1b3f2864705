//! How the values of options are read.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValue, PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use sessionlog::transcript::Format;
use sessionlog::{KeepRuns, OlderRuns, Point, SearchKind, SessionType, limits};

use super::ImportFormat;

pub(super) fn import_format() -> impl TypedValueParser<Value = ImportFormat> {
    let auto = PossibleValue::new("auto").help("What each file looks like");
    let names = Format::ALL.iter().map(|format| format_value(*format));
    PossibleValuesParser::new(std::iter::once(auto).chain(names)).try_map(|name| match &*name {
        "auto" => Ok(ImportFormat(None)),
        name => name.parse().map(|format| ImportFormat(Some(format))),
    })
}

pub(super) fn export_format() -> impl TypedValueParser<Value = Format> {
    let written = Format::ALL.iter().filter(|format| format.is_written());
    let names = written.map(|format| format_value(*format));
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}

fn format_value(format: Format) -> PossibleValue {
    PossibleValue::new(format.as_str()).help(format.about())
}

pub(super) fn session_type() -> impl TypedValueParser<Value = SessionType> {
    let types = [SessionType::Agent, SessionType::Team, SessionType::Workflow];
    PossibleValuesParser::new(types.map(SessionType::as_str))
        .try_map(|name| name.parse::<SessionType>())
}

pub(super) fn search_kind() -> impl TypedValueParser<Value = SearchKind> {
    let kinds = SearchKind::ALL.iter().map(|kind| kind.as_str());
    PossibleValuesParser::new(kinds).try_map(|name| name.parse::<SearchKind>())
}

pub(super) fn hits_limit(text: &str) -> Result<usize, String> {
    let max = limits::SEARCH_HITS_MAX;
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("use a number of hits from 1 to {max}"))
}

pub(super) fn page_limit(text: &str) -> Result<usize, String> {
    let max = limits::LIST_PAGE_MAX;
    let limit = text.parse().ok().filter(|limit| (1..=max).contains(limit));
    limit.ok_or_else(|| format!("a page holds 1 to {max} sessions"))
}

/// A path, which may be empty where the environment says it.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

pub(super) fn page(text: &str) -> Result<usize, String> {
    let page = text.parse().ok().filter(|page| *page > 0);
    page.ok_or_else(|| String::from("pages are numbered from 1"))
}

pub(super) fn head(text: &str) -> Result<String, String> {
    let is_link = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_link.then(|| text.to_owned()).ok_or_else(|| String::from("a head is 64 hexadecimal digits"))
}

/// A run by its number or its id, also as a point names it.
pub(super) fn named_run(text: &str) -> Result<Point, String> {
    match text.strip_prefix("run:").unwrap_or(text) {
        "" => Err(String::from("use the number of a run (3), or its id")),
        run => match run.parse() {
            Ok(0) => Err(String::from("runs are numbered from 1")),
            Ok(number) => Ok(Point::run(number)),
            Err(_) => Ok(Point::run_id(run)),
        },
    }
}

/// How many are shown at most.
pub(super) fn shown(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ if text == "all" => Ok(usize::MAX),
        _ => Err(String::from("use a number from 1 on, or all")),
    }
}

/// Which of those before are dropped, another option says.
pub(super) fn keep_runs(text: &str) -> Result<KeepRuns, String> {
    if text == "all" {
        return Ok(KeepRuns::All);
    }
    match text.parse() {
        Ok(runs) if runs > 0 => Ok(KeepRuns::Last { runs, older: OlderRuns::default() }),
        _ => Err(String::from("use a number of runs from 1 on, or all")),
    }
}

/// The first microsecond of a time or day, or so long ago.
pub(super) fn first_us(text: &str) -> Result<i64, String> {
    instant(text, false)
}

/// The last microsecond of a time or day, or so long ago.
pub(super) fn last_us(text: &str) -> Result<i64, String> {
    instant(text, true)
}

fn instant(text: &str, is_end: bool) -> Result<i64, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at.as_microsecond());
    }
    if let Some(ago_us) = ago_us(text) {
        return Ok(Timestamp::now().as_microsecond().saturating_sub(ago_us));
    }
    if text.contains(':') && text.parse::<DateTime>().is_ok() {
        return Err(String::from("it has no zone: add Z for UTC, or +01:00"));
    }
    let is_date = text.len() == "2026-01-31".len();
    let date = text.parse::<Date>().ok().filter(|_| is_date);
    let day = date.and_then(|date| if is_end { date.tomorrow().ok() } else { Some(date) });
    let start = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok());
    start
        .map(|start| start.timestamp().as_microsecond() - i64::from(is_end))
        .ok_or_else(|| String::from("use 2026-01-31, 2026-01-31T12:00:00Z, or 2h or 3d ago"))
}

/// The microseconds of so many minutes, hours, days or weeks.
fn ago_us(text: &str) -> Option<i64> {
    let units = [("m", 60), ("h", 3_600), ("d", 86_400), ("w", 604_800)];
    let (number, seconds) =
        units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)))?;
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| is_number)?;
    number.checked_mul(seconds)?.checked_mul(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reaches_from_its_first_microsecond_to_its_last() {
        let (first, last) = (first_us("2026-01-31").unwrap(), last_us("2026-01-31").unwrap());
        assert_eq!(last - first, 86_400_000_000 - 1);
        assert_eq!(first_us("2026-01-31T00:00:00Z").unwrap(), first);
        assert!(first_us("yesterday").is_err());
        assert!(first_us("2026-01-31T00:00:00").unwrap_err().contains("no zone"));
    }

    #[test]
    fn a_time_may_be_so_long_ago() {
        assert_eq!(ago_us("2h"), Some(7_200_000_000));
        assert_eq!((ago_us("3d"), ago_us("1w")), (ago_us("72h"), ago_us("7d")));
        let (ago, now) = (first_us("90m").unwrap(), Timestamp::now().as_microsecond());
        assert!(ago <= now - 5_400_000_000);
        for text in ["h", "-2h", "2 h", "99999999999999d", "2y"] {
            assert_eq!(ago_us(text), None, "{text}");
        }
    }
}
