//! Time stamps (TS, DTM): `YYYYMMDDHHMM[SS[.SSSS]][±ZZZZ]`, with the sender's zone where they
//! carry none.

use chrono::{FixedOffset, NaiveDateTime};

use crate::edge::clock::{Clock, TimeError, date};
use crate::time::EventTime;

/// Offsets from UTC go from -12 h to +14 h.
const MAX_OFFSET_MINUTES: i32 = 14 * 60;
/// Digits of a time to the hour: less does not place a value in a series of hours.
const LEAST_DIGITS: usize = 10;

impl Clock {
    /// The clock of a message: the offset of MSH-7 is that of all its times (HL7 v2, chapter 2).
    #[must_use]
    pub fn of_message(self, msh_7: &str) -> Self {
        let offset = split_offset(msh_7.trim()).ok().and_then(|(_, offset)| offset);
        Clock { offset, ..self }
    }

    /// The moment that a time stamp means.
    pub fn read(&self, text: &str) -> Result<EventTime, TimeError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TimeError::Empty);
        }
        let (digits, offset) = split_offset(text)?;
        let local = naive(digits)?;
        self.at(&local, offset)
    }
}

/// The digits and the offset behind them.
fn split_offset(text: &str) -> Result<(&str, Option<FixedOffset>), TimeError> {
    let Some(at) = text.find(['+', '-']) else { return Ok((text, None)) };
    let (digits, offset) = text.split_at_checked(at).ok_or(TimeError::Malformed)?;
    let (sign, zone) = offset.split_at_checked(1).ok_or(TimeError::Malformed)?;
    let zone = zone.replace(':', "");
    if zone.len() != 4 || !zone.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError::Malformed);
    }
    let number: i32 = zone.parse().map_err(|_| TimeError::Malformed)?;
    let minutes = number / 100 * 60 + number % 100;
    if minutes > MAX_OFFSET_MINUTES || number % 100 > 59 {
        return Err(TimeError::Malformed);
    }
    let seconds = minutes * 60 * if sign == "-" { -1 } else { 1 };
    FixedOffset::east_opt(seconds).map(|offset| (digits, Some(offset))).ok_or(TimeError::Malformed)
}

/// `YYYYMMDDHH[MM[SS[.S…]]]`.
fn naive(text: &str) -> Result<NaiveDateTime, TimeError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || !whole.len().is_multiple_of(2) {
        return Err(TimeError::Malformed);
    }
    if whole.len() < LEAST_DIGITS {
        return Err(TimeError::Coarse);
    }
    let part = |from: usize, to: usize| whole.get(from..to).and_then(|text| text.parse().ok());
    let or_zero = |from, to| if whole.len() < to { Some(0) } else { part(from, to) };
    let millis = format!("{fraction:0<3}").get(..3).and_then(|text| text.parse().ok());
    let date = date(whole.get(..8).unwrap_or_default()).ok_or(TimeError::Malformed)?;
    let time =
        (|| date.and_hms_milli_opt(part(8, 10)?, or_zero(10, 12)?, or_zero(12, 14)?, millis?))();
    time.filter(|_| whole.len() <= 14).ok_or(TimeError::Malformed)
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    fn clock(arrived_at: &str) -> Clock {
        let arrived = Clock::new(Tz::UTC, EventTime::MAX).read(arrived_at).unwrap();
        Clock::new(Tz::Europe__Berlin, arrived)
    }

    fn utc(text: &str) -> String {
        let read = clock("20260401000000").read(text);
        read.map_or_else(|error| error.to_string(), |at| at.to_string())
    }

    #[test]
    fn an_offset_wins_over_the_zone_and_the_zone_knows_summer() {
        assert_eq!(utc("20260301083000"), "2026-03-01T07:30:00.000Z");
        assert_eq!(utc("20250701083000"), "2025-07-01T06:30:00.000Z");
        assert_eq!(utc("20260301083000.5-0500"), "2026-03-01T13:30:00.500Z");
        assert_eq!(utc("20260301083000.1234+0530"), "2026-03-01T03:00:00.123Z");
        assert_eq!(utc("202603010830"), "2026-03-01T07:30:00.000Z");
        assert_eq!(utc("2026030108"), "2026-03-01T07:00:00.000Z");
    }

    #[test]
    fn the_messages_own_offset_is_that_of_all_its_times() {
        let clock = clock("20260401000000").of_message("20260301090000-0800");
        let at = clock.read("20260301083000").unwrap();
        assert_eq!(at.to_string(), "2026-03-01T16:30:00.000Z");
        let at = clock.read("20260301083000+0000").unwrap();
        assert_eq!(at.to_string(), "2026-03-01T08:30:00.000Z");
    }

    #[test]
    fn the_hour_of_a_clock_put_back_is_the_later_one_that_has_been() {
        let at = |arrived: &str| clock(arrived).read("20251026023000").unwrap().to_string();
        assert_eq!(at("20251026004000"), "2025-10-26T00:30:00.000Z");
        assert_eq!(at("20251026014000"), "2025-10-26T01:30:00.000Z");
    }

    #[test]
    fn what_is_no_time_says_why() {
        assert_eq!(utc(""), "is empty");
        assert_eq!(utc("20260301"), TimeError::Coarse.to_string());
        assert_eq!(utc("20250330023000"), TimeError::Skipped.to_string());
        for wrong in [
            "2026-03-01T08:30:00Z",
            "20261301083000",
            "202603010830000000",
            "x",
            "20260301083",
            "20260301083000+25",
            "20260301083000+1500",
            "+0100",
        ] {
            let error = clock("20260401000000").read(wrong).unwrap_err();
            assert!(error == TimeError::Malformed || error == TimeError::Coarse, "{wrong} {error}");
        }
        assert_eq!(date("19570204"), NaiveDate::from_ymd_opt(1957, 2, 4));
        assert_eq!(date("1957"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_an_error(text in "\\PC{0,30}|[0-9.+-]{0,26}") {
            let _ = clock("20260401000000").of_message(&text).read(&text);
            let _ = date(&text);
        }
    }
}
