//! The reference that later runs are compared with.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::measure::{Kind, Measure, VARIABLES_MAX};
use super::seen::Seen;
use crate::evaluate::figures::patients;
use crate::evaluate::{EvaluateError, EvaluateOptions, Provenance, Sample};
use crate::metrics::{Undefined, calibration};

/// The form of the file; another one is refused.
const FORMAT: u32 = 1;

/// Bytes of a profile that is read; 64 variables take a tenth of it.
const BYTES_MAX: u64 = 1 << 20;

/// What a run's windows look like. Holds shares and counts, and nothing of a single stay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    format: u32,
    pub made: Made,
    pub measures: Vec<Measure>,
    /// `None` where outcomes are not known.
    pub calibration: Option<InTheLarge>,
}

/// Of which run it was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Made {
    pub stays: usize,
    pub windows: usize,
    /// Mean probability of in-hospital death, each stay weighing the same.
    pub mean_score: f64,
    /// Name and version.
    pub model: String,
    pub model_digest: String,
    pub config_digest: String,
    /// What must be said beside every figure.
    pub warnings: Vec<String>,
}

/// Calibration in the large: the intercept of a recalibration with slope 1. 0 is right; above,
/// risks are too low.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InTheLarge {
    pub value: f64,
    /// 95 % interval from resampling patients; `None` where it does not exist.
    pub interval: Option<(f64, f64)>,
    /// Stays with a known outcome, and those of them that ended in death.
    pub stays: usize,
    pub died: usize,
}

impl Made {
    pub(super) fn of(windows: &[Seen], provenance: &Provenance) -> Result<Self, EvaluateError> {
        if windows.iter().any(|window| !window.score.is_finite()) {
            return Err(Undefined::NotFinite.into());
        }
        let mean = |run: &[Seen]| run.iter().map(|w| w.score).sum::<f64>() / run.len() as f64;
        let means: Vec<f64> = windows.chunk_by(|a, b| a.stay == b.stay).map(mean).collect();
        Ok(Made {
            stays: means.len(),
            windows: windows.len(),
            mean_score: means.iter().sum::<f64>() / means.len().max(1) as f64,
            model: provenance.model.clone(),
            model_digest: provenance.model_digest.clone(),
            config_digest: provenance.config_digest.clone(),
            warnings: provenance.warnings().into_iter().map(str::to_owned).collect(),
        })
    }
}

impl InTheLarge {
    /// Over every window with an outcome, each stay weighing the same. `None` where the figure
    /// does not exist, as without outcomes or with one of them only.
    pub(super) fn of(samples: &[Sample], options: EvaluateOptions) -> Option<Self> {
        let all: Vec<&Sample> = samples.iter().collect();
        let p: Vec<f64> = samples.iter().map(|sample| sample.mortality).collect();
        let died: Vec<bool> = samples.iter().map(|sample| sample.died).collect();
        let found = patients(&all, options)
            .ok()?
            .estimate(|weights| Ok(calibration(&p, &died, weights)?.in_the_large))
            .ok()?;
        let by_stay = || samples.chunk_by(|a, b| a.stay == b.stay).filter_map(<[Sample]>::first);
        Some(InTheLarge {
            value: found.value,
            interval: found.interval,
            stays: by_stay().count(),
            died: by_stay().filter(|sample| sample.died).count(),
        })
    }
}

/// The value with its interval and what it rests on.
impl fmt::Display for InTheLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InTheLarge { value, interval, stays, died } = self;
        write!(f, "{value:.2}")?;
        if let Some((low, high)) = interval {
            write!(f, " ({low:.2} to {high:.2})")?;
        }
        write!(f, ", {stays} stays, {died} deaths")
    }
}

/// Makes the profile of a run. `windows` come from [`super::seen()`], `variables` are the codes of
/// the dictionary; `samples` are the same run's with outcomes, empty where there are none.
///
/// # Errors
/// [`EvaluateError::Undefined`] for a number that is none; [`EvaluateError::Nothing`] for more
/// variables than [`VARIABLES_MAX`], or fewer than two stays.
pub fn profile(
    windows: &[Seen],
    variables: &[String],
    samples: &[Sample],
    provenance: &Provenance,
    options: EvaluateOptions,
) -> Result<Profile, EvaluateError> {
    if variables.len() > VARIABLES_MAX {
        let why = format!("{} variables are more than {VARIABLES_MAX}", variables.len());
        return Err(EvaluateError::Nothing(why));
    }
    let mut measures = Vec::new();
    for kind in [Kind::Score, Kind::FilmAge, Kind::Facts] {
        measures.extend(Measure::of(kind, None, windows)?);
    }
    for kind in [Kind::Value, Kind::Missing, Kind::Age] {
        for variable in variables {
            measures.extend(Measure::of(kind, Some(variable), windows)?);
        }
    }
    if measures.is_empty() {
        let why = "a profile needs scored windows of at least two stays; name a longer run";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    let made = Made::of(windows, provenance)?;
    Ok(Profile { format: FORMAT, made, measures, calibration: InTheLarge::of(samples, options) })
}

impl Profile {
    /// Reads a profile and holds it to what one must be: a file may come from anywhere.
    ///
    /// # Errors
    /// [`EvaluateError::Profile`] naming the file.
    pub fn read(path: &Path) -> Result<Self, EvaluateError> {
        let refused =
            |why: String| EvaluateError::Profile { path: path.display().to_string(), why };
        let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
        if size > BYTES_MAX {
            return Err(refused(format!("it has {size} bytes, more than {BYTES_MAX}")));
        }
        let text = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
        let profile: Profile =
            serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        profile.held().map_err(refused)?;
        Ok(profile)
    }

    fn held(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("it has format {}, and this program reads {FORMAT}", self.format));
        }
        if self.measures.len() > 3 * (VARIABLES_MAX + 1) {
            return Err(format!("{} measures are too many", self.measures.len()));
        }
        let bad = self.measures.iter().find(|measure| !measure.holds());
        let numbers = self.calibration.iter().flat_map(|one| {
            let (low, high) = one.interval.unwrap_or_default();
            [one.value, low, high]
        });
        match bad {
            Some(bad) => Err(format!(
                "the bins of {} {} do not hold together",
                bad.kind.name(),
                bad.variable.as_deref().unwrap_or_default()
            )),
            None if !(0.0..=1.0).contains(&self.made.mean_score) => {
                Err("its mean score is no probability".to_owned())
            }
            None if numbers.into_iter().any(|number| !number.is_finite()) => {
                Err("its calibration is no number".to_owned())
            }
            None => Ok(()),
        }
    }
}
