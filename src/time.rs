//! Event time and wall time, as different types that cannot be mixed.
//!
//! Event time is the patient's: when something was true (`observed_at`) or could be known
//! (`available_at`). Wall time is the machine's, and enters the engine only as an input. There is
//! no `now()` here: whoever needs the clock reads it at the edge and passes it in.

use std::fmt;
use std::ops::{Add, Sub};

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment of the patient's time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(i64);

/// A length of time in milliseconds; may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span(i64);

/// A moment of the machine's clock: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallTime(i64);

impl EventTime {
    /// Before every fact: the value of a watermark that has not been told anything.
    pub const MIN: EventTime = EventTime(i64::MIN);
    /// After every fact: the mark of a feed that has ended.
    pub const MAX: EventTime = EventTime(i64::MAX);

    pub const fn from_millis(ms: i64) -> Self {
        EventTime(ms)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// MIMIC's times carry no zone and are shifted per patient; they are read as UTC.
    pub fn from_naive(at: NaiveDateTime) -> Self {
        EventTime(at.and_utc().timestamp_millis())
    }

    /// Whole hours since the epoch, rounded down also before 1970.
    pub const fn hour(self) -> i64 {
        self.0.div_euclid(Span::HOUR.0)
    }

    /// `self + span`, held at the ends of the range instead of overflowing.
    pub const fn saturating_add(self, span: Span) -> Self {
        EventTime(self.0.saturating_add(span.0))
    }

    /// Time from `earlier` to `self`, held at the ends of the range.
    pub const fn since(self, earlier: EventTime) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    pub const ZERO: Span = Span(0);
    pub const SECOND: Span = Span(1_000);
    pub const MINUTE: Span = Span(60_000);
    pub const HOUR: Span = Span(3_600_000);

    pub const fn from_millis(ms: i64) -> Self {
        Span(ms)
    }

    pub const fn hours(n: i64) -> Self {
        Span(n * Span::HOUR.0)
    }

    pub const fn minutes(n: i64) -> Self {
        Span(n * Span::MINUTE.0)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Length in hours, for display and for the grid.
    pub fn as_hours(self) -> f64 {
        self.0 as f64 / Span::HOUR.0 as f64
    }
}

impl WallTime {
    pub const fn from_millis(ms: i64) -> Self {
        WallTime(ms)
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }
}

impl Add<Span> for WallTime {
    type Output = WallTime;
    fn add(self, span: Span) -> WallTime {
        WallTime(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for WallTime {
    type Output = WallTime;
    fn sub(self, span: Span) -> WallTime {
        WallTime(self.0.saturating_sub(span.0))
    }
}

impl Add<Span> for EventTime {
    type Output = EventTime;
    fn add(self, span: Span) -> EventTime {
        self.saturating_add(span)
    }
}

impl Sub for Span {
    type Output = Span;
    fn sub(self, other: Span) -> Span {
        Span(self.0.saturating_sub(other.0))
    }
}

impl Sub<Span> for EventTime {
    type Output = EventTime;
    fn sub(self, span: Span) -> EventTime {
        EventTime(self.0.saturating_sub(span.0))
    }
}

/// RFC 3339 in UTC; the two ends of the range print as words.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            EventTime::MIN => f.write_str("never"),
            EventTime::MAX => f.write_str("end"),
            EventTime(ms) => write_millis(ms, f),
        }
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_millis(self.0, f)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} h", self.as_hours())
    }
}

fn write_millis(ms: i64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match DateTime::<Utc>::from_timestamp_millis(ms) {
        Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        None => write!(f, "{ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_round_down_before_the_epoch() {
        assert_eq!(EventTime::from_millis(-1).hour(), -1);
        assert_eq!(EventTime::from_millis(0).hour(), 0);
        assert_eq!(EventTime::from_millis(3_600_000).hour(), 1);
    }

    #[test]
    fn arithmetic_holds_at_the_ends() {
        assert_eq!(EventTime::MAX + Span::HOUR, EventTime::MAX);
        assert_eq!(EventTime::MIN - Span::HOUR, EventTime::MIN);
        assert_eq!(EventTime::MIN.since(EventTime::MAX).as_millis(), i64::MIN);
    }

    #[test]
    fn prints_rfc3339() {
        assert_eq!(EventTime::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(EventTime::MIN.to_string(), "never");
    }
}
