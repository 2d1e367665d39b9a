//! Ages from dates of birth, which go no further than this.

use chrono::{Datelike as _, Utc};

use super::clock::date;
use crate::time::EventTime;

/// Ages above this identify people; MIMIC, on which models are trained, writes [`OLD`] for them.
const OLDEST_TOLD: i32 = 89;
const OLD: u8 = 91;

/// Whole years at `at` of somebody born on `YYYYMMDD`, `YYYYMM` or `YYYY`; of a month or a year its
/// middle counts.
pub fn age(born: &str, at: EventTime) -> Option<u8> {
    let born = match born.len() {
        4 => date(&format!("{born}0701")),
        6 => date(&format!("{born}15")),
        _ => date(born),
    }?;
    let today = chrono::DateTime::<Utc>::from_timestamp_millis(at.as_millis())?.date_naive();
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    let years = today.year() - born.year() - i32::from(!had_birthday);
    if years > OLDEST_TOLD { Some(OLD).filter(|_| years <= 130) } else { u8::try_from(years).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_whole_years_and_the_oldest_are_one_group() {
        let at = EventTime::from_millis(1_772_323_200_000); // 2026-03-01
        assert_eq!(age("19570301", at), Some(69));
        assert_eq!(age("19570302", at), Some(68));
        assert_eq!(age("1957", at), Some(68));
        assert_eq!(age("19360228120000", at), Some(OLD));
        assert_eq!(age("19360401", at), Some(89));
        for wrong in ["", "x", "19571301", "20270101", "17000101"] {
            assert_eq!(age(wrong, at), None, "{wrong}");
        }
    }
}
