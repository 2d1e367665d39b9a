//! `[replay]`: when a recorded value counts as known (`reference/clinical.md` 3.1).

use serde::{Deserialize, Serialize};

use super::value::Reader;
use crate::time::Span;

/// Longer lags than this would move a value into another stay.
pub const LAG_MAX: Span = Span::hours(24 * 366);

/// Which moment counts as "a clinician could have known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// Results count from when they were stored, charted values by [`ChartClock`].
    #[default]
    Available,
    /// Everything counts from when it was charted or taken, as the published pipelines do.
    Charttime,
}

/// When a charted value could be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChartClock {
    /// A moment after charttime, as a monitor would have sent it, not yet validated.
    #[default]
    Device,
    /// When staff validated it: the later of charttime and storetime, and charttime if that is
    /// empty.
    Validated,
}

/// The rules of availability.
#[derive(Clone, Debug, PartialEq)]
pub struct Availability {
    pub clock: Clock,
    pub charts: ChartClock,
    /// Charttime to availability under [`ChartClock::Device`].
    pub device_lag: Span,
    /// Charttime to storetime of a lab whose storetime is empty and whose item has no measured
    /// lag in its file.
    pub lab_lag: Span,
    /// Acquisition of a film to its availability.
    pub cxr_lag: Span,
    /// Up to this much is added to `cxr_lag`, drawn for each film.
    pub cxr_jitter: Span,
}

pub fn availability(reader: &mut Reader) -> Availability {
    Availability {
        clock: reader.choice("replay.clock", Clock::Available),
        charts: reader.choice("replay.charts", ChartClock::Device),
        device_lag: lag(reader, "replay.device_lag"),
        lab_lag: lag(reader, "replay.lab_lag"),
        cxr_lag: lag(reader, "replay.cxr_lag"),
        cxr_jitter: lag(reader, "replay.cxr_jitter"),
    }
}

fn lag(reader: &mut Reader, key: &str) -> Span {
    let lag = reader.span(key, Span::ZERO);
    if lag > LAG_MAX {
        reader.complain(key, "is longer than 366 days".to_owned());
    }
    lag
}
