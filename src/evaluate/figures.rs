//! The figures of each way of counting, overall and by stratum.

use serde::Serialize;

use super::films::FilmQuality;
use super::intake::{Counts, Sample};
use super::phenotypes::{PhenotypeFigures, phenotypes};
use super::sampling::SamplingStudy;
use super::signatures::no_gain;
use super::{EvaluateError, EvaluateOptions, Provenance};
use crate::event::Sex;
use crate::event::risk::FilmAge;
use crate::metrics::{
    Bin, Estimate, Grouped, Patients, Ranked, Undefined, brier, calibration, scaled_brier,
};
use crate::time::Span;

/// Groups of the reliability diagram and of the expected calibration error.
const BINS: usize = 10;

/// Landmarks in hours after admission; a score up to an hour older stands for it.
pub(super) const LANDMARKS: [f64; 5] = [6.0, 12.0, 24.0, 48.0, 72.0];
const LANDMARK_REACH: f64 = 1.0;

/// The published moment.
const PUBLISHED: f64 = 48.0;

/// A stratum with fewer stays gets no figures: they would be noise and might point at a person.
const STAYS_LEAST: usize = 10;

/// Above this many samples a recalibration in every replicate would take minutes.
const CALIBRATED_SAMPLES_MAX: usize = 20_000;

/// A figure with its 95 % interval, or the reason why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Figure {
    Known(Estimate),
    Unknown { undefined: String },
}

impl Figure {
    pub fn known(&self) -> Option<Estimate> {
        match self {
            Figure::Known(estimate) => Some(*estimate),
            Figure::Unknown { .. } => None,
        }
    }
}

impl From<Result<Estimate, Undefined>> for Figure {
    fn from(result: Result<Estimate, Undefined>) -> Self {
        match result {
            Ok(estimate) => Figure::Known(estimate),
            Err(why) => Figure::Unknown { undefined: why.to_string() },
        }
    }
}

/// How one set of windows was scored.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    pub windows: usize,
    pub stays: usize,
    pub patients: usize,
    /// Stays that ended in death.
    pub died: usize,
    /// Share of deaths by the weights of this way of counting.
    pub prevalence: Figure,
    pub auroc: Figure,
    pub auprc: Figure,
    /// AUPRC over prevalence.
    pub lift: Figure,
    pub brier: Figure,
    pub scaled_brier: Figure,
    pub calibration_slope: Figure,
    pub calibration_intercept: Figure,
    pub calibration_in_the_large: Figure,
    pub observed_to_expected: Figure,
    pub expected_calibration_error: Figure,
    /// The scores of the same windows with, with an old, and without a film; windows that have all
    /// three.
    pub twin_windows: usize,
    pub twins: Vec<Twin>,
    pub differences: Vec<Difference>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twin {
    pub name: &'static str,
    pub auroc: Figure,
    pub auprc: Figure,
}

/// A paired difference of two twins; above 0 the first is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    pub name: &'static str,
    pub auroc: Figure,
    pub auprc: Figure,
}

/// A part of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stratum {
    /// What the set was divided by.
    pub by: &'static str,
    pub name: String,
    pub figures: Figures,
}

/// One way of counting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Set {
    pub name: &'static str,
    pub what: &'static str,
    pub overall: Figures,
    pub strata: Vec<Stratum>,
    /// Groups of the reliability diagram: (mean prediction, share of deaths, windows).
    pub reliability: Vec<(f64, f64, usize)>,
    /// `None` where the labels have no diagnoses.
    pub phenotypes: Option<PhenotypeFigures>,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    pub provenance: Provenance,
    pub warnings: Vec<&'static str>,
    pub options: EvaluateOptions,
    pub counts: Counts,
    pub sets: Vec<Set>,
    /// At each landmark.
    pub landmarks: Vec<Stratum>,
    /// The quality of generated films, where it was asked for and can be told.
    pub films: Option<FilmQuality>,
    /// The samplers of the model compared, where that was asked for.
    pub sampling: Option<SamplingStudy>,
}

impl Evaluation {
    /// Adds the quality of films, with what the twins say of their use.
    pub fn add_films(&mut self, mut films: FilmQuality) {
        if let Some(set) = self.sets.last() {
            films.signatures.extend(no_gain(&set.overall));
        }
        self.films = Some(films);
    }
}

/// The names of the twins, in the order of their columns.
pub(super) const TWINS: [&str; 3] = ["generated", "carried forward", "EHR only"];
const DIFFERENCES: [(&str, usize, usize); 3] = [
    ("generated − carried forward", 0, 1),
    ("generated − EHR only", 0, 2),
    ("carried forward − EHR only", 1, 2),
];

/// Measures.
///
/// # Errors
/// [`EvaluateError::Nothing`] without a sample.
pub fn evaluate(
    samples: &[Sample],
    counts: Counts,
    provenance: Provenance,
    options: EvaluateOptions,
) -> Result<Evaluation, EvaluateError> {
    if samples.is_empty() {
        let why = "no scored event has a label; do the run and the labels belong together?";
        return Err(EvaluateError::Nothing(why.to_owned()));
    }
    let all: Vec<&Sample> = samples.iter().collect();
    let published: Vec<&Sample> =
        at(&all, PUBLISHED).into_iter().filter(|sample| sample.los > PUBLISHED).collect();
    let mut sets = Vec::new();
    for (name, what, chosen) in [
        ("at 48 h", "one score a stay, at 48 h after admission, stays longer than that", published),
        ("every hour", "every window; each stay weighs the same", all.clone()),
    ] {
        if !chosen.is_empty() {
            sets.push(set(name, what, &chosen, options)?);
        }
    }
    let landmarks = LANDMARKS
        .iter()
        .map(|&hour| (format!("{hour:.0} h"), at(&all, hour)))
        .filter(|(_, chosen)| stays(chosen) >= STAYS_LEAST)
        .map(|(name, chosen)| stratum("landmark", name, &chosen, options))
        .collect::<Result<_, _>>()?;
    let warnings = provenance.warnings();
    let (films, sampling) = (None, None);
    Ok(Evaluation { provenance, warnings, options, counts, sets, landmarks, films, sampling })
}

/// The last score of each stay in the hour up to `hour`.
fn at<'a>(samples: &[&'a Sample], hour: f64) -> Vec<&'a Sample> {
    let mut chosen: Vec<&Sample> = Vec::new();
    for sample in samples {
        if sample.hours > hour || sample.hours <= hour - LANDMARK_REACH {
            continue;
        }
        match chosen.last_mut() {
            Some(last) if last.stay == sample.stay => *last = sample,
            _ => chosen.push(sample),
        }
    }
    chosen
}

fn stays(samples: &[&Sample]) -> usize {
    // Samples come in order of stay.
    let mut ids: Vec<_> = samples.iter().map(|sample| sample.stay).collect();
    ids.dedup();
    ids.len()
}

fn set(
    name: &'static str,
    what: &'static str,
    samples: &[&Sample],
    options: EvaluateOptions,
) -> Result<Set, EvaluateError> {
    let (p, died) = columns(samples);
    let groups = Grouped::new(&p, &died, BINS)?.bins(&weights(samples))?;
    let told = |bin: &Bin| (bin.predicted, bin.observed, bin.n);
    let mut strata = Vec::new();
    for (by, name_of) in STRATA {
        let mut names: Vec<String> = samples.iter().map(|sample| name_of(sample)).collect();
        names.sort();
        names.dedup();
        for name in names {
            let part: Vec<&Sample> =
                samples.iter().filter(|sample| name_of(sample) == name).copied().collect();
            if stays(&part) >= STAYS_LEAST {
                let shown = name.split_once('|').map_or(name.as_str(), |(_, shown)| shown);
                strata.push(stratum(by, shown.to_owned(), &part, options)?);
            }
        }
    }
    Ok(Set {
        name,
        what,
        overall: figures(samples, options)?,
        strata,
        reliability: groups.iter().map(told).collect(),
        phenotypes: phenotypes(samples, options)?,
    })
}

fn stratum(
    by: &'static str,
    name: String,
    samples: &[&Sample],
    options: EvaluateOptions,
) -> Result<Stratum, EvaluateError> {
    Ok(Stratum { by, name, figures: figures(samples, options)? })
}

type NameOf = fn(&Sample) -> String;

/// What sets are divided by. A name sorts by what stands before the bar and shows what follows it.
const STRATA: [(&str, NameOf); 4] = [
    ("film age", |sample| match sample.film_age {
        None => "9|no film".to_owned(),
        Some(hours) => {
            let age = FilmAge::of(Span::from_millis((hours * 3_600_000.0).round() as i64));
            format!("{}|{}", age as u8, age.name())
        }
    }),
    ("age", |sample| {
        let band = match sample.age_years {
            0..=44 => "18-44",
            45..=64 => "45-64",
            65..=79 => "65-79",
            _ => "80 and over",
        };
        band.to_owned()
    }),
    ("sex", |sample| match sample.sex {
        Sex::Female => "female".to_owned(),
        Sex::Male => "male".to_owned(),
    }),
    ("first care unit", |sample| sample.unit.clone()),
];

fn columns(samples: &[&Sample]) -> (Vec<f64>, Vec<bool>) {
    samples.iter().map(|sample| (sample.mortality, sample.died)).unzip()
}

/// Every stay weighs 1, shared among its windows.
fn weights(samples: &[&Sample]) -> Vec<f64> {
    let runs = samples.chunk_by(|a, b| a.stay == b.stay);
    runs.flat_map(|run| vec![1.0 / run.len() as f64; run.len()]).collect()
}

pub(super) fn patients(
    samples: &[&Sample],
    options: EvaluateOptions,
) -> Result<Patients, Undefined> {
    let ids: Vec<u64> = samples.iter().map(|sample| sample.patient).collect();
    Patients::new(&ids, weights(samples), options.replicates, options.seed)
}

fn figures(samples: &[&Sample], options: EvaluateOptions) -> Result<Figures, EvaluateError> {
    let (p, died) = columns(samples);
    let ranked = Ranked::new(&p, &died)?;
    let grouped = Grouped::new(&p, &died, BINS)?;
    let drawn = patients(samples, options)?;
    let recalibrated = |w: &[f64]| -> [Result<f64, Undefined>; 4] {
        match calibration(&p, &died, w) {
            Ok(c) => [c.slope, c.intercept, c.in_the_large, c.observed_to_expected].map(Ok),
            Err(why) => [Err(why); 4],
        }
    };
    let few = p.len() <= CALIBRATED_SAMPLES_MAX;
    let mut first = true;
    let found = drawn.estimates(|w| {
        let mut all = vec![
            ranked.prevalence(w),
            ranked.auroc(w),
            ranked.auprc(w),
            ranked.auprc(w).and_then(|auprc| Ok(auprc / ranked.prevalence(w)?)),
            brier(&p, &died, w),
            scaled_brier(&p, &died, w),
            grouped.expected_error(w),
        ];
        let measured = if few || first { recalibrated(w) } else { [Err(Undefined::TooFew); 4] };
        first = false;
        all.extend(measured);
        all
    });
    let mut found = found.into_iter().map(Figure::from);
    let mut next =
        || found.next().unwrap_or(Figure::Unknown { undefined: Undefined::Empty.to_string() });
    let (prevalence, auroc, auprc, lift) = (next(), next(), next(), next());
    let (brier, scaled_brier, expected_calibration_error) = (next(), next(), next());
    let (twin_windows, twins, differences) = twins(samples, options)?;
    Ok(Figures {
        windows: samples.len(),
        stays: stays(samples),
        patients: drawn.len(),
        died: stays(&samples.iter().filter(|s| s.died).copied().collect::<Vec<_>>()),
        prevalence,
        auroc,
        auprc,
        lift,
        brier,
        scaled_brier,
        expected_calibration_error,
        calibration_slope: next(),
        calibration_intercept: next(),
        calibration_in_the_large: next(),
        observed_to_expected: next(),
        twin_windows,
        twins,
        differences,
    })
}

/// The twins on the windows that have all three.
fn twins(
    samples: &[&Sample],
    options: EvaluateOptions,
) -> Result<(usize, Vec<Twin>, Vec<Difference>), EvaluateError> {
    let complete: Vec<&Sample> = samples
        .iter()
        .filter(|s| s.generated && s.carry_forward.is_some() && s.ehr_only.is_some())
        .copied()
        .collect();
    if complete.is_empty() {
        return Ok((0, Vec::new(), Vec::new()));
    }
    let died: Vec<bool> = complete.iter().map(|sample| sample.died).collect();
    let column = |of: &dyn Fn(&Sample) -> Option<f64>| -> Result<Ranked, Undefined> {
        let scores: Vec<f64> = complete.iter().filter_map(|sample| of(sample)).collect();
        Ranked::new(&scores, &died)
    };
    let ranked = [
        column(&|sample| Some(sample.mortality))?,
        column(&|sample| sample.carry_forward)?,
        column(&|sample| sample.ehr_only)?,
    ];
    let found = patients(&complete, options)?.estimates(|w| {
        let figures: Vec<[Result<f64, Undefined>; 2]> =
            ranked.iter().map(|twin| [twin.auroc(w), twin.auprc(w)]).collect();
        let minus = |a: Result<f64, Undefined>, b: Result<f64, Undefined>| Ok(a? - b?);
        let apart = DIFFERENCES.iter().flat_map(|&(_, a, b)| {
            [minus(figures[a][0], figures[b][0]), minus(figures[a][1], figures[b][1])]
        });
        figures.iter().flatten().copied().chain(apart).collect()
    });
    let figures: Vec<Figure> = found.into_iter().map(Figure::from).collect();
    let pair = |i: usize| (figures[2 * i].clone(), figures[2 * i + 1].clone());
    let twins = TWINS.iter().enumerate().map(|(i, &name)| {
        let (auroc, auprc) = pair(i);
        Twin { name, auroc, auprc }
    });
    let differences = DIFFERENCES.iter().enumerate().map(|(i, &(name, _, _))| {
        let (auroc, auprc) = pair(TWINS.len() + i);
        Difference { name, auroc, auprc }
    });
    Ok((complete.len(), twins.collect(), differences.collect()))
}
