//! Intervals by resampling patients, not samples: the windows of one patient tell one story.

use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Undefined;

/// Replicates in which the figure does not exist may be at most this share; else the interval
/// would describe only the resamples that came out well.
const MOST_UNDEFINED: f64 = 0.1;

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    /// 2.5th and 97.5th percentile of the replicates; `None` with a single patient, or where too
    /// many replicates lack one outcome.
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    /// True if the whole interval lies above 0.
    pub fn is_above_zero(&self) -> bool {
        self.interval.is_some_and(|(low, _)| low > 0.0)
    }
}

/// Samples by patient, and how to draw them.
#[derive(Clone, Debug)]
pub struct Patients {
    /// Samples of each patient, patients in order of their id.
    samples: Vec<Vec<usize>>,
    /// What each sample weighs before resampling.
    base: Vec<f64>,
    replicates: usize,
    seed: u64,
}

impl Patients {
    /// `ids[i]` is the patient of sample i, `base[i]` its weight. The draw is a function of `seed`
    /// and the number of patients only, so figures over the same samples are paired.
    ///
    /// # Errors
    /// [`Undefined::Empty`] or [`Undefined::Lengths`].
    pub fn new(
        ids: &[u64],
        base: Vec<f64>,
        replicates: usize,
        seed: u64,
    ) -> Result<Self, Undefined> {
        if ids.is_empty() {
            return Err(Undefined::Empty);
        }
        if ids.len() != base.len() {
            return Err(Undefined::Lengths);
        }
        let mut by_id: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (sample, &id) in ids.iter().enumerate() {
            by_id.entry(id).or_default().push(sample);
        }
        Ok(Patients { samples: by_id.into_values().collect(), base, replicates, seed })
    }

    /// The number of patients.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Never true: no patients make no `Patients`.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// What each sample weighs before resampling.
    pub fn weights(&self) -> &[f64] {
        &self.base
    }

    /// `figure` of the samples, and its interval. It gets a weight for each sample: how often its
    /// patient was drawn times its base weight.
    ///
    /// # Errors
    /// What `figure` answers to the samples themselves.
    pub fn estimate(
        &self,
        mut figure: impl FnMut(&[f64]) -> Result<f64, Undefined>,
    ) -> Result<Estimate, Undefined> {
        let mut all = self.estimates(|weights| vec![figure(weights)]);
        all.pop().unwrap_or(Err(Undefined::Empty))
    }

    /// Several figures of the same resamples, so that their draws are made once. `figures` must
    /// give as many each time.
    pub fn estimates(
        &self,
        mut figures: impl FnMut(&[f64]) -> Vec<Result<f64, Undefined>>,
    ) -> Vec<Result<Estimate, Undefined>> {
        let values = figures(&self.base);
        let mut found: Vec<Vec<f64>> = vec![Vec::with_capacity(self.replicates); values.len()];
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut weights = vec![0.0; self.base.len()];
        for _ in 0..self.replicates {
            weights.fill(0.0);
            for _ in 0..self.samples.len() {
                for &sample in &self.samples[rng.random_range(0..self.samples.len())] {
                    weights[sample] += self.base[sample];
                }
            }
            for (found, value) in found.iter_mut().zip(figures(&weights)) {
                found.extend(value.ok());
            }
        }
        let estimate = |(value, found): (Result<f64, Undefined>, Vec<f64>)| {
            value.map(|value| Estimate { value, interval: self.interval(found) })
        };
        values.into_iter().zip(found).map(estimate).collect()
    }

    fn interval(&self, mut found: Vec<f64>) -> Option<(f64, f64)> {
        let enough = found.len() as f64 >= (1.0 - MOST_UNDEFINED) * self.replicates as f64;
        found.sort_by(f64::total_cmp);
        let ends = percentile(&found, 0.025).zip(percentile(&found, 0.975));
        ends.filter(|_| self.samples.len() > 1 && enough)
    }
}

/// Linear between the order statistics, as NumPy's default; `None` without a number. `share` is
/// from 0 to 1.
pub fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = share * sorted.len().checked_sub(1)? as f64;
    let (low, high) = (sorted.get(place.floor() as usize)?, sorted.get(place.ceil() as usize)?);
    Some(low + (high - low) * place.fract())
}
