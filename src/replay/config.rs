//! What to replay, by which clock and how fast.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::faults::FaultPlan;
use crate::config::{Availability, Config, LAG_MAX};
pub use crate::config::{ChartClock, Clock};
use crate::ids::{Digest, StayId};
use crate::time::{Span, WallTime};

/// Where the replayed stays stand in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Anchor {
    /// MIMIC's own shifted dates, in 2100-2200, where hardly two patients overlap.
    #[default]
    Original,
    /// One shift for all: the first admission falls on this moment.
    First(WallTime),
    /// A shift a stay: every admission falls on this moment, which fills a ward. Two stays of one
    /// patient then run at the same time.
    Each(WallTime),
}

/// Which stays are replayed. Every condition must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cohort {
    /// A text file of stay ids, one a line; `#` starts a comment, a header `stay_id` is allowed.
    pub stays_file: Option<PathBuf>,
    /// Only stays whose first care unit's name contains this text.
    pub care_unit: Option<String>,
    /// Only stays at least this long.
    pub min_stay: Option<Span>,
    /// Only stays with an AP film from 24 h before to 48 h after admission, as in the paper.
    pub with_film: bool,
    /// At most so many stays, the earliest admissions first.
    pub limit: Option<usize>,
}

/// The checked settings of a replay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayConfig {
    /// MIMIC-IV's root, with `hosp/` and `icu/` below it.
    pub mimic_iv: PathBuf,
    /// MIMIC-CXR's root, with the metadata table and `files/`; none for a replay without films.
    pub mimic_cxr: Option<PathBuf>,
    pub clock: Clock,
    pub charts: ChartClock,
    /// Charttime to availability in the mode `device`.
    pub device_lag: Span,
    /// Charttime to storetime of a lab whose storetime is empty and whose item has no measured
    /// lag in this file: the median of the demo's labs.
    pub lab_lag: Span,
    /// Acquisition of a film to its availability. MIMIC-CXR does not record it: an assumption.
    pub cxr_lag: Span,
    /// Up to this much is added to `cxr_lag`, drawn per film from `seed`.
    pub cxr_jitter: Span,
    /// Rows up to this long before admission belong to a stay.
    pub lookback: Span,
    /// Rows up to this long after discharge belong to a stay.
    pub grace: Span,
    /// Marks stand at multiples of this.
    pub mark_every: Span,
    pub anchor: Anchor,
    pub cohort: Cohort,
    pub seed: u64,
    /// What is put wrong on purpose; drawn from `seed`, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultPlan>,
    /// Bound of the memory in which rows are sorted; more is spilled to sorted runs on disk.
    pub sort_bytes: usize,
    /// Where runs are spilled; the system's directory for temporary files if none.
    pub spill_dir: Option<PathBuf>,
    /// Larger film files become dead letters.
    pub max_film_bytes: u64,
    /// Film files up to this size travel inside their records, larger ones by reference.
    pub inline_film_bytes: u64,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        ReplayConfig {
            mimic_iv: PathBuf::new(),
            mimic_cxr: None,
            clock: Clock::Available,
            charts: ChartClock::Device,
            device_lag: Span::MINUTE,
            lab_lag: Span::minutes(65),
            cxr_lag: Span::minutes(15),
            cxr_jitter: Span::ZERO,
            lookback: Span::hours(24),
            grace: Span::hours(24),
            mark_every: Span::minutes(5),
            anchor: Anchor::Original,
            cohort: Cohort::default(),
            seed: 1,
            faults: None,
            sort_bytes: 256 << 20,
            spill_dir: None,
            max_film_bytes: 50 << 20,
            inline_film_bytes: 8 << 20,
        }
    }
}

impl ReplayConfig {
    /// The defaults under a configuration: the rules of availability are those of `[replay]`, and
    /// the span of a stay is the engine's, which would refuse what lies outside.
    pub fn under(config: &Config) -> Self {
        // Named one by one, so that a new rule cannot be forgotten here.
        let Availability { clock, charts, device_lag, lab_lag, cxr_lag, cxr_jitter } =
            config.replay.clone();
        ReplayConfig {
            clock,
            charts,
            device_lag,
            lab_lag,
            cxr_lag,
            cxr_jitter,
            lookback: config.engine.lookback,
            grace: config.engine.grace,
            ..ReplayConfig::default()
        }
    }

    /// Every fault of the settings at once, in words that say what to do.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let lags = [
            ("device_lag", self.device_lag),
            ("lab_lag", self.lab_lag),
            ("cxr_lag", self.cxr_lag),
            ("cxr_jitter", self.cxr_jitter),
            ("lookback", self.lookback),
            ("grace", self.grace),
        ];
        for (name, span) in lags {
            if span < Span::ZERO || span > LAG_MAX {
                problems.push(format!("`{name}` must lie between 0 and 366 days"));
            }
        }
        if self.mark_every <= Span::ZERO {
            problems.push("`mark_every` must be longer than 0".into());
        }
        if self.cohort.with_film && self.mimic_cxr.is_none() {
            problems.push("`cohort.with_film` needs a MIMIC-CXR directory".into());
        }
        if self.cohort.limit == Some(0) {
            problems.push("`cohort.limit` must be at least 1".into());
        }
        problems
    }

    /// Digest of everything that can change what the replay says, and of nothing else: not of the
    /// bounds on memory, nor of where files lie.
    pub fn digest(&self) -> Digest {
        let said = ReplayConfig {
            mimic_iv: PathBuf::new(),
            mimic_cxr: self.mimic_cxr.as_ref().map(|_| PathBuf::new()),
            sort_bytes: 0,
            spill_dir: None,
            ..self.clone()
        };
        // A config of plain values always serialises; an empty text would only weaken the check.
        Digest::of(serde_json::to_string(&said).unwrap_or_default().as_bytes())
    }
}

/// How fast the stream runs against the wall clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// As fast as the sink takes it.
    Max,
    /// So many seconds of event time a second.
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Speed::Max);
        }
        match text.parse::<f64>() {
            Ok(factor) if factor.is_finite() && factor > 0.0 => Ok(Speed::Times(factor)),
            _ => Err(format!("speed `{text}` is neither `max` nor a number above 0, such as 60")),
        }
    }
}

impl Cohort {
    /// The ids in the text of a cohort file.
    pub fn parse_stays(text: &str) -> Result<Vec<StayId>, String> {
        let mut ids = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || (index == 0 && line == "stay_id") {
                continue;
            }
            match line.parse() {
                Ok(id) => ids.push(StayId(id)),
                Err(_) => return Err(format!("line {}: `{line}` is no stay id", index + 1)),
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_covers_what_matters_only() {
        let config = ReplayConfig::default();
        let elsewhere =
            ReplayConfig { sort_bytes: 1, mimic_iv: PathBuf::from("x"), ..config.clone() };
        assert_eq!(config.digest(), elsewhere.digest());
        let other = ReplayConfig { cxr_lag: Span::minutes(16), ..config.clone() };
        assert_ne!(config.digest(), other.digest());
    }

    #[test]
    fn a_configuration_without_keys_gives_the_defaults() {
        let config = Config::load(None, [], &[]).unwrap();
        assert_eq!(ReplayConfig::under(&config), ReplayConfig::default());
    }

    #[test]
    fn every_rule_of_availability_reaches_the_replay_and_its_digest() {
        let told =
            |flag: &str| ReplayConfig::under(&Config::load(None, [], &[flag.to_owned()]).unwrap());
        let default = ReplayConfig::default();
        let expected = [
            ("replay.clock=charttime", ReplayConfig { clock: Clock::Charttime, ..default.clone() }),
            (
                "replay.charts=validated",
                ReplayConfig { charts: ChartClock::Validated, ..default.clone() },
            ),
            (
                "replay.device_lag=2m",
                ReplayConfig { device_lag: Span::minutes(2), ..default.clone() },
            ),
            ("replay.lab_lag=3m", ReplayConfig { lab_lag: Span::minutes(3), ..default.clone() }),
            ("replay.cxr_lag=4m", ReplayConfig { cxr_lag: Span::minutes(4), ..default.clone() }),
            (
                "replay.cxr_jitter=5m",
                ReplayConfig { cxr_jitter: Span::minutes(5), ..default.clone() },
            ),
        ];
        for (flag, expected) in expected {
            assert_eq!(told(flag), expected, "{flag}");
            assert_ne!(told(flag).digest(), default.digest(), "{flag}");
        }
        let wrong = Config::load(None, [], &["replay.lab_lag=400d".to_owned()]).unwrap_err();
        assert!(wrong.to_string().contains("366 days"), "{wrong}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let cohort = Cohort { with_film: true, limit: Some(0), ..Cohort::default() };
        let config = ReplayConfig {
            cohort,
            mark_every: Span::ZERO,
            lab_lag: Span::minutes(-1),
            ..ReplayConfig::default()
        };
        assert_eq!(config.problems().len(), 4);
        assert!(ReplayConfig::default().problems().is_empty());
    }

    #[test]
    fn cohort_files_are_read_with_comments() {
        let ids = Cohort::parse_stays("stay_id\n30 # first\n\n10\n30\n").unwrap();
        assert_eq!(ids, [StayId(10), StayId(30)]);
        assert!(Cohort::parse_stays("10\nx\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn speeds_are_max_or_positive() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("60".parse(), Ok(Speed::Times(60.0)));
        for bad in ["0", "-1", "nan", "inf", "fast"] {
            assert!(bad.parse::<Speed>().is_err());
        }
    }
}
