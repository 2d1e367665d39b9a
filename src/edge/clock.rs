//! How the times of a sender are read: its zone, where they carry no offset, and its dates.

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;
use thiserror::Error;

use crate::event::{Reason, Rejection};
use crate::time::EventTime;

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    #[error("is empty")]
    Empty,
    #[error("is no time with date, hour and offset as the standard writes it")]
    Malformed,
    #[error("says less than the hour")]
    Coarse,
    #[error("does not exist in the sender's time zone: the clock was put forward over it")]
    Skipped,
}

/// The first of some named fields that is a moment; the error is that of the first that is not
/// empty.
pub(super) fn first_moment<'a>(
    fields: impl Iterator<Item = (&'a str, Result<EventTime, TimeError>)>,
) -> Result<EventTime, Rejection> {
    let (mut first, mut names) = (None, Vec::new());
    for (name, read) in fields {
        match read {
            Ok(at) => return Ok(at),
            Err(TimeError::Empty) => {}
            Err(error) => first = first.or(Some((name, error))),
        }
        names.push(name);
    }
    let detail = match first {
        Some((name, error)) => format!("{name} {error}"),
        None => format!("no time in {}", names.join(" or ")),
    };
    Err(Rejection::new(Reason::AbsurdTime, detail))
}

/// How a sender's times are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The zone of times without an offset, unless the message has one of its own.
    pub zone: Tz,
    /// When the message arrived. The hour that a clock put back repeats is read as the later of the
    /// two that is not after this.
    pub arrived_at: EventTime,
    /// The offset of a message's times that carry none.
    pub(super) offset: Option<FixedOffset>,
}

impl Clock {
    pub fn new(zone: Tz, arrived_at: EventTime) -> Self {
        Clock { zone, arrived_at, offset: None }
    }

    /// The moment of a local time with its offset; without one, by the message's or the zone.
    pub fn at(
        &self,
        local: &NaiveDateTime,
        offset: Option<FixedOffset>,
    ) -> Result<EventTime, TimeError> {
        let millis = match offset.or(self.offset) {
            Some(offset) => match offset.from_local_datetime(local) {
                MappedLocalTime::Single(at) => at.timestamp_millis(),
                _ => return Err(TimeError::Malformed),
            },
            None => self.local_millis(local)?,
        };
        Ok(EventTime::from_millis(millis))
    }

    fn local_millis(&self, local: &NaiveDateTime) -> Result<i64, TimeError> {
        match self.zone.from_local_datetime(local) {
            MappedLocalTime::Single(at) => Ok(at.timestamp_millis()),
            MappedLocalTime::Ambiguous(early, late) => {
                let late = late.timestamp_millis();
                let is_past = late <= self.arrived_at.as_millis();
                Ok(if is_past { late } else { early.timestamp_millis() })
            }
            MappedLocalTime::None => Err(TimeError::Skipped),
        }
    }
}

/// The date that a time stamp begins with.
pub fn date(text: &str) -> Option<NaiveDate> {
    let digits = text.get(..8).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?;
    let part = |from: usize, to: usize| digits.get(from..to)?.parse::<u32>().ok();
    let year = i32::try_from(part(0, 4)?).ok()?;
    NaiveDate::from_ymd_opt(year, part(4, 6)?, part(6, 8)?)
}
