//! A run held against a profile.

use serde::Serialize;

use super::measure::{Kind, Measure};
use super::profile::{InTheLarge, Made, Profile};
use super::psi::{Apart, PSI_MUCH, PSI_SOME, apart};
use super::seen::Seen;
use crate::evaluate::{EvaluateError, EvaluateOptions, Provenance, Sample};
use crate::metrics::Undefined;

/// With fewer stays on either side no PSI is claimed.
pub const STAYS_LEAST: usize = 20;

/// What a PSI says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Fewer stays than [`STAYS_LEAST`] on one side.
    TooFew,
    /// Below 0.1.
    Stable,
    /// 0.1 or more, but not beyond what one in a thousand comparisons of so few stays gives by
    /// chance: half a hundred are made at once.
    ByChance,
    /// 0.1 to 0.25.
    Some,
    /// Above 0.25.
    Much,
}

/// One measure of both.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    pub kind: Kind,
    pub variable: Option<String>,
    pub verdict: Verdict,
    /// `None` where the run has fewer than two stays with such a number.
    pub psi: Option<f64>,
    /// What it would be on average if nothing had changed.
    pub by_chance: Option<f64>,
    /// Stays with such a number, of the profile and of the run.
    pub stays: [usize; 2],
    pub windows: [usize; 2],
    /// What the bins hold, and the shares of the profile and the run.
    pub bins: Vec<String>,
    pub reference: Vec<f64>,
    pub run: Vec<f64>,
}

/// A run beside the profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    pub reference: Made,
    pub run: Made,
    /// Gravest first.
    pub found: Vec<Found>,
    /// What was not compared, and why.
    pub left_out: Vec<String>,
    pub calibration_reference: Option<InTheLarge>,
    pub calibration_run: Option<InTheLarge>,
    /// Whether the two intervals of calibration in the large lie apart; `None` without both.
    pub calibration_apart: Option<bool>,
    /// Much drift in any measure, or calibration apart.
    pub drifted: bool,
}

impl Verdict {
    fn of(apart: Apart, stays: [usize; 2]) -> Self {
        match apart.psi {
            _ if stays.iter().any(|n| *n < STAYS_LEAST) => Verdict::TooFew,
            psi if psi < PSI_SOME => Verdict::Stable,
            psi if psi <= apart.bound => Verdict::ByChance,
            psi if psi <= PSI_MUCH => Verdict::Some,
            _ => Verdict::Much,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Verdict::TooFew => "too few stays",
            Verdict::Stable => "stable",
            Verdict::ByChance => "within chance",
            Verdict::Some => "some drift",
            Verdict::Much => "MUCH DRIFT",
        }
    }
}

impl Comparison {
    /// Whether anything could be said: a measure with enough stays on both sides, or calibration.
    pub fn is_judged(&self) -> bool {
        let judged = self.found.iter().any(|one| one.verdict != Verdict::TooFew);
        judged || self.calibration_apart.is_some()
    }

    /// What it comes to.
    pub fn verdict(&self) -> &'static str {
        match (self.drifted, self.is_judged()) {
            (true, _) => "DRIFTED",
            (false, true) => "no large drift",
            (false, false) => "not judged: too few stays",
        }
    }
}

impl Found {
    fn of(measure: &Measure, windows: &[Seen]) -> Result<Self, EvaluateError> {
        let before = &measure.found;
        let mut found = Found {
            kind: measure.kind,
            variable: measure.variable.clone(),
            verdict: Verdict::TooFew,
            psi: None,
            by_chance: None,
            stays: [before.stays, 0],
            windows: [before.windows, 0],
            bins: measure.labels(),
            reference: before.shares.clone(),
            run: Vec::new(),
        };
        let now = match measure.again(windows) {
            Ok(now) => now,
            Err(Undefined::TooFew) => return Ok(found),
            Err(why) => return Err(why.into()),
        };
        let apart = apart(before, &now)?;
        found.stays = [before.stays, now.stays];
        found.windows = [before.windows, now.windows];
        found.verdict = Verdict::of(apart, found.stays);
        (found.psi, found.by_chance) = (Some(apart.psi), Some(apart.by_chance));
        found.run = now.shares;
        Ok(found)
    }

    /// The bin whose share changed most, with both shares; nothing where the run has none.
    pub fn most_changed(&self) -> String {
        let shares = self.reference.iter().zip(&self.run);
        let bins = self.bins.iter().zip(shares);
        let widest = bins.max_by(|(_, (p, q)), (_, (r, s))| {
            let apart = |a: &f64, b: &f64| (a - b).abs();
            apart(p, q).total_cmp(&apart(r, s))
        });
        widest.map_or(String::new(), |(bin, (before, now))| {
            format!("{bin}: {:.0} % → {:.0} %", before * 1e2, now * 1e2)
        })
    }

    /// Whether it is stable, or differs no more than chance makes it.
    pub fn is_quiet(&self) -> bool {
        matches!(self.verdict, Verdict::Stable | Verdict::ByChance)
    }

    /// What is measured, in words.
    pub fn name(&self) -> String {
        match &self.variable {
            Some(variable) => format!("{variable}: {}", self.kind.name()),
            None => self.kind.name().to_owned(),
        }
    }
}

impl Profile {
    /// Holds a run against this profile. The arguments are those of [`super::profile()`].
    ///
    /// # Errors
    /// [`EvaluateError::Undefined`] for a number that is none.
    pub fn compare(
        &self,
        windows: &[Seen],
        samples: &[Sample],
        provenance: &Provenance,
        options: EvaluateOptions,
    ) -> Result<Comparison, EvaluateError> {
        let run = Made::of(windows, provenance)?;
        let same_model = run.model_digest == self.made.model_digest;
        let has_values = windows.iter().any(|window| window.values.is_some());
        let mut left_out = Vec::new();
        if !same_model {
            left_out.push("score and calibration: the profile is of another model".to_owned());
        }
        if !has_values {
            left_out.push("values of variables: the run's log has no views".to_owned());
        }
        if !self.measures.iter().any(|measure| measure.kind == Kind::Value) {
            left_out.push("values of variables: the profile has none".to_owned());
        }
        let is_kept = |measure: &&Measure| match measure.kind {
            Kind::Score => same_model,
            Kind::Value => has_values,
            _ => true,
        };
        let kept = self.measures.iter().filter(is_kept);
        let mut found: Vec<Found> =
            kept.map(|measure| Found::of(measure, windows)).collect::<Result<_, _>>()?;
        found.sort_by(|a, b| {
            let psi = |one: &Found| one.psi.unwrap_or_default();
            b.verdict.cmp(&a.verdict).then(psi(b).total_cmp(&psi(a)))
        });
        let calibration_reference = self.calibration.filter(|_| same_model);
        let calibration_run = InTheLarge::of(samples, options);
        let calibration_apart = calibration_reference
            .zip(calibration_run)
            .and_then(|(a, b)| Some((a.interval?, b.interval?)))
            .map(|(a, b)| a.1 < b.0 || b.1 < a.0);
        let drifted =
            calibration_apart == Some(true) || found.iter().any(|one| one.verdict == Verdict::Much);
        Ok(Comparison {
            reference: self.made.clone(),
            run,
            found,
            left_out,
            calibration_reference,
            calibration_run,
            calibration_apart,
            drifted,
        })
    }
}
