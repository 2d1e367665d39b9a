//! `dateTime` and `instant`: `YYYY-MM-DDThh:mm[:ss[.sss]](Z|±hh:mm)`.

use chrono::{FixedOffset, NaiveDateTime};

use crate::edge::clock::{Clock, TimeError};
use crate::time::EventTime;

/// Characters of a date: what is no longer does not place a value in a series of hours.
const DATE: usize = 10;

/// The moment that a text means. FHIR wants an offset wherever there is a time of day; senders that
/// forget it mean their own zone.
pub(super) fn moment(clock: &Clock, text: &str) -> Result<EventTime, TimeError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(TimeError::Empty);
    }
    let is_date = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if text.len() <= DATE && is_date(text) {
        return Err(TimeError::Coarse);
    }
    let (local, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, FixedOffset::east_opt(0)),
        None => {
            let from = DATE
                + text.get(DATE..).and_then(|rest| rest.find(['+', '-'])).unwrap_or(text.len());
            match text.split_at_checked(from) {
                Some((local, offset)) => {
                    (local, Some(offset.parse().map_err(|_| TimeError::Malformed)?))
                }
                None => (text, None),
            }
        }
    };
    let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"];
    let read = |form: &&str| NaiveDateTime::parse_from_str(local, form).ok();
    let local = forms.iter().find_map(read).ok_or(TimeError::Malformed)?;
    clock.at(&local, offset)
}

#[cfg(test)]
mod tests {
    use chrono_tz::Tz;
    use proptest::prelude::*;

    use super::*;

    fn utc(text: &str) -> String {
        let clock = Clock::new(Tz::Europe__Berlin, EventTime::from_millis(1_775_000_000_000));
        moment(&clock, text).map_or_else(|error| error.to_string(), |at| at.to_string())
    }

    #[test]
    fn times_are_read_with_their_offset_and_without_one_by_the_zone() {
        assert_eq!(utc("2026-03-01T08:30:00+01:00"), "2026-03-01T07:30:00.000Z");
        assert_eq!(utc(" 2026-03-01T08:30:00.1234Z "), "2026-03-01T08:30:00.123Z");
        assert_eq!(utc("2026-03-01T08:30-05:00"), "2026-03-01T13:30:00.000Z");
        assert_eq!(utc("2025-07-01T08:30:00"), "2025-07-01T06:30:00.000Z");
        for coarse in ["2026", "2026-03", "2026-03-01"] {
            assert_eq!(utc(coarse), TimeError::Coarse.to_string());
        }
        assert_eq!(utc(""), TimeError::Empty.to_string());
        assert_eq!(utc("2025-03-30T02:30:00"), TimeError::Skipped.to_string());
        for wrong in ["20260301083000", "2026-13-01T08:30:00Z", "2026-03-01T08:30:00+25:00", "yes"]
        {
            assert_eq!(utc(wrong), TimeError::Malformed.to_string(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_moment_or_an_error(text in "\\PC{0,30}|[0-9TZ:.+-]{0,30}") {
            let _ = moment(&Clock::new(Tz::UTC, EventTime::from_millis(0)), &text);
        }
    }
}
