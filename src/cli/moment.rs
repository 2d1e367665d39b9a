//! Times of the patient on the command line.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::time::EventTime;

/// `2150-01-05`, `2150-01-05T02:00`, with seconds, or with an offset (RFC 3339). Without one it is
/// the recording's own time.
pub fn moment(text: &str) -> Result<EventTime, String> {
    let with = |format| NaiveDateTime::parse_from_str(text, format).ok().map(EventTime::from_naive);
    let day = || NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let fixed = || DateTime::parse_from_rfc3339(text).ok();
    with("%Y-%m-%dT%H:%M")
        .or_else(|| with("%Y-%m-%dT%H:%M:%S%.f"))
        .or_else(|| day().map(EventTime::from_naive))
        .or_else(|| fixed().map(|at| EventTime::from_millis(at.timestamp_millis())))
        .ok_or_else(|| "write YYYY-MM-DD, YYYY-MM-DDTHH:MM[:SS], or that with Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_moment_may_be_written_in_several_ways() {
        let two = moment("2150-01-05T02:00").unwrap();
        for text in ["2150-01-05T02:00:00", "2150-01-05T02:00:00.000Z", "2150-01-05T03:00:00+01:00"]
        {
            assert_eq!(moment(text).unwrap(), two, "{text}");
        }
        assert_eq!(moment("2150-01-05").unwrap(), moment("2150-01-05T00:00").unwrap());
        for wrong in ["", "yesterday", "2150-13-01", "2150-01-05 02:30"] {
            assert!(moment(wrong).unwrap_err().contains("YYYY-MM-DD"), "{wrong}");
        }
    }
}
