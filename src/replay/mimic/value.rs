//! The text of MIMIC's fields to times and numbers, without allocation: these run once or more a
//! row over hundreds of millions of rows.

use crate::time::EventTime;

const DAY_MS: i64 = 86_400_000;

/// An unsigned decimal number, digits only.
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

/// An item id.
pub fn parse_u32(text: &[u8]) -> Option<u32> {
    parse_u64(text).and_then(|n| u32::try_from(n).ok())
}

/// A finite number; `inf`, `nan` and anything else that is none gives `None`.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    text.parse::<f64>().ok().filter(|x| x.is_finite())
}

/// `YYYY-MM-DD HH:MM:SS` (a `T` for the blank and a fraction are taken too), or the date alone for
/// its midnight. MIMIC's times have no zone and are read as UTC.
pub fn parse_time(text: &[u8]) -> Option<EventTime> {
    let day = date_ms(text.get(..10)?)?;
    match text.get(10) {
        None => Some(EventTime::from_millis(day)),
        Some(b' ' | b'T') => clock_ms(text.get(11..)?).map(|ms| EventTime::from_millis(day + ms)),
        Some(_) => None,
    }
}

/// MIMIC-CXR's StudyDate (`yyyymmdd`) and StudyTime. The time went through a float, so its leading
/// zeros are lost: `80556.875` is 08:05:56.875, `512.0` is 00:05:12 and `0.0` is midnight.
pub fn parse_study_time(date: &[u8], time: &[u8]) -> Option<EventTime> {
    let date = date.strip_suffix(b".0").unwrap_or(date);
    let [y1, y2, y3, y4, m1, m2, d1, d2] = *<&[u8; 8]>::try_from(date).ok()?;
    let day = date_ms(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2])?;
    let (whole, fraction) = split_fraction(time);
    if whole.is_empty() || whole.len() > 6 {
        return None;
    }
    let hhmmss = parse_u64(whole)?;
    let (h, m, s) = (hhmmss / 10_000, hhmmss / 100 % 100, hhmmss % 100);
    let ms = of_day(h, m, s)? + fraction_ms(fraction)?;
    Some(EventTime::from_millis(day + ms))
}

fn split_fraction(text: &[u8]) -> (&[u8], &[u8]) {
    match text.iter().position(|&b| b == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[]),
    }
}

/// Milliseconds of a fraction of a second written in decimal digits.
fn fraction_ms(digits: &[u8]) -> Option<i64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |i: usize| digits.get(i).map_or(0, |d| i64::from(d - b'0'));
    Some(digit(0) * 100 + digit(1) * 10 + digit(2))
}

fn clock_ms(text: &[u8]) -> Option<i64> {
    let (whole, fraction) = split_fraction(text);
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *<&[u8; 8]>::try_from(whole).ok()? else {
        return None;
    };
    let pair = |a: u8, b: u8| parse_u64(&[a, b]);
    Some(of_day(pair(h1, h2)?, pair(m1, m2)?, pair(s1, s2)?)? + fraction_ms(fraction)?)
}

fn of_day(h: u64, m: u64, s: u64) -> Option<i64> {
    (h < 24 && m < 60 && s < 60).then_some(((h * 60 + m) * 60 + s) as i64 * 1000)
}

/// Milliseconds from 1970-01-01 to a proleptic Gregorian `YYYY-MM-DD`.
fn date_ms(text: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *<&[u8; 10]>::try_from(text).ok()? else {
        return None;
    };
    let year = parse_u64(&[y1, y2, y3, y4])? as i64;
    let (month, day) = (parse_u64(&[m1, m2])? as i64, parse_u64(&[d1, d2])? as i64);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    if day < 1 || day > length {
        return None;
    }
    // Days before this year, then before this month of a year that starts in March, where the
    // leap day comes last and every month's start follows from (153 m + 2) / 5.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before_year = 365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400);
    const TO_1970: i64 = 719_468;
    Some((before_year + (153 * m + 2) / 5 + day - 1 - TO_1970) * DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        parse_time(text.as_bytes()).map_or("none".into(), |t| t.to_string())
    }

    #[test]
    fn times_agree_with_chrono_over_two_centuries() {
        let mut day = chrono::NaiveDate::from_ymd_opt(1960, 1, 1).unwrap();
        while day < chrono::NaiveDate::from_ymd_opt(2210, 1, 1).unwrap() {
            let text = day.format("%Y-%m-%d 13:07:59").to_string();
            let expected = EventTime::from_naive(day.and_hms_opt(13, 7, 59).unwrap());
            assert_eq!(parse_time(text.as_bytes()), Some(expected), "{text}");
            day += chrono::TimeDelta::days(1);
        }
    }

    #[test]
    fn times_refuse_what_is_no_time() {
        assert_eq!(at("2180-07-23"), "2180-07-23T00:00:00.000Z");
        assert_eq!(at("2180-07-23T08:00:00.25"), "2180-07-23T08:00:00.250Z");
        for bad in ["", "2180", "2181-02-29 00:00:00", "2180-13-01 00:00:00", "2180-01-01 24:00:00"]
        {
            assert_eq!(at(bad), "none", "{bad}");
        }
        assert_eq!(at("2180-01-01x00:00:00"), "none");
    }

    #[test]
    fn study_times_get_their_zeros_back() {
        let study = |time: &str| {
            parse_study_time(b"21800506", time.as_bytes()).map_or("none".into(), |t| t.to_string())
        };
        assert_eq!(study("213014.531"), "2180-05-06T21:30:14.531Z");
        assert_eq!(study("80556.875"), "2180-05-06T08:05:56.875Z");
        assert_eq!(study("83045.484"), "2180-05-06T08:30:45.484Z");
        assert_eq!(study("512.0"), "2180-05-06T00:05:12.000Z");
        assert_eq!(study("0.0"), "2180-05-06T00:00:00.000Z");
        assert_eq!(study("080556"), "2180-05-06T08:05:56.000Z");
        for bad in ["", ".5", "256000.0", "126100", "nan", "1234567.0"] {
            assert_eq!(study(bad), "none", "{bad}");
        }
    }

    #[test]
    fn numbers_are_finite_or_nothing() {
        assert_eq!(parse_f64(b" 1.5 "), Some(1.5));
        for bad in [&b"inf"[..], b"NaN", b"", b"1.2.3", b"> 5", b"\xff"] {
            assert_eq!(parse_f64(bad), None);
        }
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(parse_u32(b"4294967296"), None);
    }
}
