//! The ward's statistics beside the published cohort's (`reference/ddl-cxr.md` 1.7 and 1.8): how
//! far a result on the ward may be read as one about a cohort of this shape.

use std::fmt;

use serde::Serialize;

use super::SynthError;
use super::films::{self, FilmFault, FilmPlan};
use super::hospital::Hospital;
use super::outcome::{Ending, phenotypes};
use super::patient::Patient;
use super::physiology::Course;
use super::record;
use crate::event::dictionary::{Dictionary, Profile};
use crate::event::risk::N_PHENOTYPES;
use crate::event::{Sex, ViewPosition};
use crate::series::{GridSpan, Row, StaticFacts, hourly};
use crate::time::{EventTime, Span};

/// A continuous variable: name, value column, mask column, and the published mean, deviation and
/// share of hours with an observation (the prediction set's).
type Published = (&'static str, usize, usize, f64, f64, f64);

const VARIABLES: [Published; 12] = [
    ("diastolic blood pressure, mmHg", 2, 63, 61.9728, 14.3359, 0.940),
    ("inspired oxygen, share", 3, 64, 0.3862, 0.1933, 0.152),
    ("glucose, mg/dL", 49, 69, 139.951, 50.4683, 0.220),
    ("heart rate, /min", 50, 70, 87.0006, 18.4395, 0.965),
    ("height, cm", 51, 71, 169.9801, 1.0582, 0.0002),
    ("mean blood pressure, mmHg", 52, 72, 76.9496, 14.4773, 0.941),
    ("oxygen saturation, %", 53, 73, 96.7942, 3.0428, 0.949),
    ("respiratory rate, /min", 54, 74, 19.8224, 5.7130, 0.962),
    ("systolic blood pressure, mmHg", 55, 75, 118.4327, 20.8335, 0.940),
    ("temperature, °C", 56, 76, 36.9342, 0.5454, 0.289),
    ("weight, kg", 57, 77, 81.9396, 20.2280, 0.048),
    ("pH", 58, 78, 7.2467, 0.4289, 0.092),
];

/// Percent of positive labels at the later film of a pair, CheXpert's alphabetical order.
const LABEL_PERCENT: [f64; 14] =
    [31.8, 31.7, 10.2, 25.0, 6.0, 1.8, 1.5, 34.7, 11.2, 39.5, 0.7, 8.3, 7.9, 67.1];

/// Share of stays with each phenotype, training split.
const PHENOTYPE_RATES: [f64; N_PHENOTYPES] = [
    0.376, 0.091, 0.087, 0.399, 0.245, 0.167, 0.237, 0.113, 0.326, 0.312, 0.126, 0.208, 0.398,
    0.439, 0.522, 0.069, 0.220, 0.175, 0.140, 0.073, 0.108, 0.224, 0.339, 0.270, 0.225,
];

/// Film age at 48 h: upper end of each stratum, published share of stays and their mortality (test
/// split).
const STRATA: [(&str, f64, f64, f64); 4] = [
    ("under 12 h", 12.0, 0.284, 0.166),
    ("12 to 24 h", 24.0, 0.266, 0.190),
    ("24 to 36 h", 36.0, 0.123, 0.159),
    ("36 h and more", f64::INFINITY, 0.328, 0.093),
];

const LANDMARK: f64 = 48.0;

/// One figure of the ward beside the published one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    pub group: &'static str,
    pub what: String,
    pub published: f64,
    pub ward: f64,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WardReport {
    pub patients: u64,
    /// Stays longer than 48 h with a film to see: the published cohort.
    pub cohort: usize,
    pub lines: Vec<Line>,
}

/// Running mean and deviation.
#[derive(Clone, Copy, Default)]
struct Moments {
    n: f64,
    sum: f64,
    squares: f64,
}

impl Moments {
    fn add(&mut self, value: f64) {
        (self.n, self.sum, self.squares) =
            (self.n + 1.0, self.sum + value, self.squares + value * value);
    }

    fn mean(&self) -> f64 {
        self.sum / self.n
    }

    fn sd(&self) -> f64 {
        (self.squares / self.n - self.mean().powi(2)).max(0.0).sqrt()
    }
}

fn share(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

#[derive(Default)]
struct Counts {
    cohort: usize,
    died: Moments,
    male: Moments,
    age: Moments,
    values: [Moments; VARIABLES.len()],
    observed: [Moments; VARIABLES.len()],
    film_age: Vec<f64>,
    stratum_died: [Moments; STRATA.len()],
    gaps: Vec<f64>,
    with_pair: Moments,
    labels: [Moments; 14],
    phenotypes: [Moments; N_PHENOTYPES],
}

/// Simulates `patients` stays and counts.
///
/// # Errors
/// [`SynthError::Options`] when no stay is in the cohort or the dictionary cannot be read.
pub fn report(
    hospital: Hospital,
    seed: u64,
    patients: u64,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<WardReport, SynthError> {
    let dictionary = Dictionary::builtin(Profile::Clinical)
        .map_err(|error| SynthError::Options(error.to_string()))?;
    let mut counts = Counts::default();
    for number in 0..patients {
        counts.add(hospital, seed, number, &dictionary);
        progress(number + 1, patients);
    }
    if counts.cohort == 0 {
        let none = "no stay is longer than 48 h with a film; ask for more patients";
        return Err(SynthError::Options(none.to_owned()));
    }
    Ok(WardReport { patients, cohort: counts.cohort, lines: counts.lines() })
}

impl Counts {
    fn add(&mut self, hospital: Hospital, seed: u64, number: u64, dictionary: &Dictionary) {
        let patient = Patient::new(hospital, seed, number);
        let course = Course::new(seed, &patient);
        let hour_of_day = (number * 7 % 24) as f64;
        let mut plans = films::films(seed, &patient, &course, hour_of_day);
        let usable = |plan: &FilmPlan| {
            let known = plan.view == ViewPosition::Ap && plan.fault != Some(FilmFault::NoView);
            known && (-24.0..=LANDMARK).contains(&plan.taken)
        };
        plans.retain(usable);
        // One image a study, as the published selection has it.
        plans.dedup_by_key(|plan| plan.study);
        let Some(last) = plans.last().filter(|_| course.los > LANDMARK) else { return };
        let ending = Ending::new(seed, &patient, &course);
        self.cohort += 1;
        self.died.add(share(ending.died));
        self.male.add(share(patient.sex == Sex::Male));
        self.age.add(f64::from(patient.age));
        let age = LANDMARK - last.taken;
        self.film_age.push(age);
        if let Some(stratum) = STRATA.iter().position(|(_, below, _, _)| age < *below) {
            self.stratum_died[stratum].add(share(ending.died));
        }
        let groups = phenotypes(&ending.codes);
        self.phenotypes.iter_mut().zip(groups).for_each(|(m, yes)| m.add(share(yes)));
        self.pairs(seed, &patient, &plans);
        self.chart(seed, &patient, &course, hour_of_day, dictionary);
    }

    fn pairs(&mut self, seed: u64, patient: &Patient, plans: &[FilmPlan]) {
        let before = self.gaps.len();
        for (i, first) in plans.iter().enumerate() {
            for second in plans[i + 1..].iter().filter(|s| s.taken - first.taken > 12.0) {
                self.gaps.push(second.taken - first.taken);
                let study = second.study as usize;
                let (_, mut dice) = films::streams(seed, patient, study, second.study);
                let labels = films::labels(&second.severity, &second.devices, &mut dice);
                self.labels.iter_mut().zip(labels).for_each(|(m, l)| m.add(share(l == "1.0")));
            }
        }
        self.with_pair.add(share(self.gaps.len() > before));
    }

    fn chart(
        &mut self,
        seed: u64,
        patient: &Patient,
        course: &Course,
        hour_of_day: f64,
        dictionary: &Dictionary,
    ) {
        let mut rows: Vec<Row> = Vec::new();
        for value in record::values(seed, patient, course, hour_of_day) {
            let seen = dictionary.observe_item(value.item, &value.raw, Some(value.unit));
            rows.extend(seen.ok().map(|seen| Row {
                at: value.observed_at,
                variable: seen.variable(),
                value: seen.value(),
            }));
        }
        rows.sort_by_key(|row| row.at);
        let admitted = EventTime::from_millis(0);
        let span = GridSpan::prediction(admitted, admitted + Span::hours(48));
        let statics = StaticFacts { age_years: patient.age, sex: patient.sex };
        let grid = hourly(&rows, span, statics, dictionary);
        for bin in 0..grid.n_bins {
            for (variable, (_, column, mask, ..)) in VARIABLES.iter().enumerate() {
                self.values[variable].add(grid.bin(bin)[*column]);
                self.observed[variable].add(grid.bin(bin)[*mask]);
            }
        }
    }

    fn lines(mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line = |group, what: &str, published, ward| {
            lines.push(Line { group, what: what.to_owned(), published, ward });
        };
        line("cohort", "in-hospital mortality", 0.1451, self.died.mean());
        line("cohort", "male", 0.550, self.male.mean());
        line("cohort", "age, mean", 63.9, self.age.mean());
        line("cohort", "age, sd", 16.6, self.age.sd());
        line("cohort", "stays with a film pair", 0.571, self.with_pair.mean());
        let n = self.film_age.len() as f64;
        self.film_age.sort_by(f64::total_cmp);
        line("film age at 48 h", "median, h", 21.4, quantile(&self.film_age, 0.5));
        line("film age at 48 h", "upper quartile, h", 44.4, quantile(&self.film_age, 0.75));
        for ((what, _, of, died), counted) in STRATA.iter().zip(&self.stratum_died) {
            line("film age at 48 h", &format!("share {what}"), *of, counted.n / n);
            line("film age at 48 h", &format!("mortality {what}"), *died, counted.mean());
        }
        self.gaps.sort_by(f64::total_cmp);
        for (what, published, at) in
            [("lower quartile", 19.3, 0.25), ("median", 25.9, 0.5), ("upper quartile", 36.0, 0.75)]
        {
            line("gap of film pairs", &format!("{what}, h"), published, quantile(&self.gaps, at));
        }
        for (i, (name, _, _, mean, sd, rate)) in VARIABLES.iter().enumerate() {
            line("mean of the hours", name, *mean, self.values[i].mean());
            line("deviation of the hours", name, *sd, self.values[i].sd());
            line("hours with an observation", name, *rate, self.observed[i].mean());
        }
        for (i, name) in films::LABELS.iter().enumerate() {
            line("labels at the later film", name, LABEL_PERCENT[i] / 100.0, self.labels[i].mean());
        }
        for (i, rate) in PHENOTYPE_RATES.iter().enumerate() {
            let name = format!("phenotype {}", i + 1);
            line("phenotypes", &name, *rate, self.phenotypes[i].mean());
        }
        lines.sort_by_key(|line| GROUPS.iter().position(|group| *group == line.group));
        lines
    }
}

/// In the order in which a reader wants them.
const GROUPS: [&str; 8] = [
    "cohort",
    "film age at 48 h",
    "gap of film pairs",
    "mean of the hours",
    "deviation of the hours",
    "hours with an observation",
    "labels at the later film",
    "phenotypes",
];

fn quantile(sorted: &[f64], at: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((at * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
}

impl fmt::Display for WardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} simulated patients, {} of them in the cohort (longer than 48 h, a film to see)",
            self.patients, self.cohort
        )?;
        let mut group = "";
        for line in &self.lines {
            if line.group != group {
                group = line.group;
                writeln!(f, "\n{group:<44}{:>12}{:>12}{:>9}", "published", "ward", "ratio")?;
            }
            let ratio = line.ward / line.published;
            let Line { what, published, ward, .. } = line;
            writeln!(f, "  {what:<42}{published:>12.3}{ward:>12.3}{ratio:>9.2}")?;
        }
        Ok(())
    }
}
