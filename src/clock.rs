//! Time, as something that is handed in: a test holds it still.

use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the time in microseconds since 1970-01-01 UTC. It may jump either way; the engine
/// never lets a session's recorded times run backwards.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time now.
    fn now_us(&self) -> i64;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        jiff::Timestamp::now().as_microsecond()
    }
}

/// A clock that moves only when it is told to.
#[derive(Debug, Default)]
pub struct HeldClock(AtomicI64);

impl HeldClock {
    /// A clock that stands at `now_us`.
    pub fn at(now_us: i64) -> Self {
        Self(AtomicI64::new(now_us))
    }

    /// Moves the clock, backwards too.
    pub fn set(&self, now_us: i64) {
        self.0.store(now_us, Ordering::SeqCst);
    }

    /// Moves the clock on.
    pub fn advance(&self, by_us: i64) {
        self.0.fetch_add(by_us, Ordering::SeqCst);
    }
}

impl Clock for HeldClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// RFC 3339 text of a time in microseconds, for people and JSON.
pub(crate) fn rfc3339(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us)
        .map_or_else(|_| format!("{at_us}us"), |timestamp| timestamp.to_string())
}

/// Microseconds of the beginning of a day in UTC, as in `2026-01-31`, or `None` where the text is
/// none.
pub(crate) fn parse_day(text: &str) -> Option<i64> {
    let is_day = text.len() == "2026-01-31".len();
    let day = text.parse::<jiff::civil::Date>().ok().filter(|_| is_day)?;
    let start = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(start.timestamp().as_microsecond())
}

/// Whether a time lacks nothing but its zone.
pub(crate) fn lacks_zone(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_err()
        && text.contains(':')
        && text.parse::<jiff::civil::DateTime>().is_ok()
}

/// Microseconds of an RFC 3339 time, or `None` where the text is none.
pub(crate) fn parse_rfc3339(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_microsecond)
}
