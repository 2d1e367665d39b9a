//! How numbers and times are written for people (`reference/clinical.md` 4): 24-hour clock, months
//! in letters, risk as a percentage of at most two digits and as a natural frequency.

use chrono::{DateTime, Utc};

use crate::event::risk::{FilmAge, StayEnd};
use crate::event::{Sex, ViewPosition};
use crate::time::{EventTime, Span, WallTime};

fn moment(ms: i64) -> Option<DateTime<Utc>> {
    DateTime::<Utc>::from_timestamp_millis(ms)
}

fn written(ms: i64, pattern: &str) -> String {
    moment(ms).map_or_else(|| "–".to_owned(), |at| at.format(pattern).to_string())
}

/// `23-Nov-2026 14:05`.
pub fn stamp(at: EventTime) -> String {
    written(at.as_millis(), "%d-%b-%Y %H:%M")
}

/// `23-Nov 14:05`.
pub fn short_stamp(at: EventTime) -> String {
    written(at.as_millis(), "%d-%b %H:%M")
}

/// `14:05`, of the machine's clock.
pub fn wall_clock(at: WallTime) -> String {
    written(at.as_millis(), "%H:%M")
}

/// `23-Nov-2026 14:05:09`, of the machine's clock.
pub fn wall_stamp(at: WallTime) -> String {
    written(at.as_millis(), "%d-%b-%Y %H:%M:%S")
}

/// `2026-11-23T14:05:00Z`, for `datetime` attributes and addresses.
pub fn machine(at: EventTime) -> String {
    written(at.as_millis(), "%Y-%m-%dT%H:%M:%SZ")
}

/// What [`machine`] wrote, or milliseconds since 1970.
pub fn parse_time(text: &str) -> Option<EventTime> {
    if let Ok(ms) = text.parse::<i64>() {
        return moment(ms).map(|_| EventTime::from_millis(ms));
    }
    let at = DateTime::parse_from_rfc3339(text).ok()?;
    Some(EventTime::from_millis(at.timestamp_millis()))
}

/// `18 %`; `<1 %` and `>99 %` at the ends.
pub fn percent(p: f32) -> String {
    let percent = (p * 100.0).round();
    match p {
        _ if p < 0.01 => "<1 %".to_owned(),
        _ if p > 0.99 => ">99 %".to_owned(),
        _ => format!("{percent:.0} %"),
    }
}

/// `about 18 in 100`.
pub fn frequency(p: f32) -> String {
    match (p * 100.0).round() as i64 {
        ..=0 => "fewer than 1 in 100".to_owned(),
        100.. => "more than 99 in 100".to_owned(),
        n => format!("about {n} in 100"),
    }
}

/// A difference of probabilities in percentage points: `+4`, `−3`, `0`.
pub fn points(change: f32) -> String {
    match (change * 100.0).round() as i64 {
        0 => "0".to_owned(),
        n if n < 0 => format!("−{}", n.unsigned_abs()),
        n => format!("+{n}"),
    }
}

/// An age as it may be shown: who is older than 89 is that, and not how much (45 CFR 164.514).
pub fn years(years: u8) -> String {
    match years {
        ..=89 => years.to_string(),
        _ => ">89".to_owned(),
    }
}

/// `35 min`, `21 h`, `3 d 4 h`.
pub fn age(span: Span) -> String {
    let minutes = span.as_millis().max(0) / Span::MINUTE.as_millis();
    match minutes {
        m if m < 60 => format!("{m} min"),
        m if m < 48 * 60 => format!("{} h", m / 60),
        m => format!("{} d {} h", m / 1_440, m % 1_440 / 60),
    }
}

/// A measured value with as many digits as its size deserves.
pub fn value(x: f64) -> String {
    let digits = match x.abs() {
        a if a >= 100.0 => 0,
        a if a >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{x:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

pub const fn sex(sex: Sex) -> &'static str {
    match sex {
        Sex::Female => "F",
        Sex::Male => "M",
    }
}

pub const fn end(end: StayEnd) -> &'static str {
    match end {
        StayEnd::Discharged => "discharged",
        StayEnd::Died => "died",
        StayEnd::MaxStay => "longest stay reached",
        StayEnd::Silent => "no more data",
    }
}

pub const fn view(view: ViewPosition) -> &'static str {
    match view {
        ViewPosition::Ap => "AP",
        ViewPosition::Pa => "PA",
        ViewPosition::Lateral => "lateral",
        ViewPosition::Unknown => "view not named",
    }
}

/// The shape that stands for a film's age beside the words (`reference/clinical.md` 4).
pub const fn film_shape(age: Option<FilmAge>) -> &'static str {
    match age {
        Some(FilmAge::Under12h) => "●",
        Some(FilmAge::From12h) => "◐",
        Some(FilmAge::From24h) => "◑",
        Some(FilmAge::From36h) => "○",
        None => "∅",
    }
}

/// A UCUM unit as people write it.
pub fn unit(ucum: &str) -> &str {
    match ucum {
        "mm[Hg]" => "mmHg",
        "Cel" => "°C",
        "[pH]" => "pH",
        "/min" => "/min",
        "1" => "fraction",
        "{score}" | "{code}" => "",
        other => other,
    }
}

/// What falls out of a `snake_case` code when it is read as words.
pub fn words(code: &str) -> String {
    code.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_known_by_a_great_age() {
        assert_eq!([89, 90, 103].map(years), ["89", ">89", ">89"]);
    }

    #[test]
    fn risks_read_well_at_both_ends() {
        assert_eq!((percent(0.184), frequency(0.184).as_str()), ("18 %".into(), "about 18 in 100"));
        assert_eq!((percent(0.004), percent(0.996)), ("<1 %".to_owned(), ">99 %".to_owned()));
        assert_eq!(frequency(0.001), "fewer than 1 in 100");
        assert_eq!(
            (points(-0.031), points(0.001), points(0.04)),
            ("−3".into(), "0".into(), "+4".into())
        );
    }

    #[test]
    fn times_read_back() {
        let at = EventTime::from_millis(1_795_356_300_000);
        assert_eq!(stamp(at), "22-Nov-2026 14:05");
        assert_eq!(parse_time(&machine(at)), Some(at));
        assert_eq!(parse_time("1795356300000"), Some(at));
        assert_eq!(parse_time("yesterday"), None);
        assert_eq!(parse_time("9223372036854775807"), None);
    }

    #[test]
    fn ages_and_values_keep_two_steps() {
        assert_eq!(age(Span::minutes(35)), "35 min");
        assert_eq!(age(Span::hours(47)), "47 h");
        assert_eq!(age(Span::hours(76)), "3 d 4 h");
        assert_eq!(
            (value(143.6), value(37.0), value(7.385)),
            ("144".into(), "37".into(), "7.38".into())
        );
    }
}
