//! What there is to gain, before any network is trained: the twins of the proof, fitted on the
//! *true* severities by closed forms and Newton's method.
//!
//! Four readers predict death from what is known at 48 h after admission. Each has what the one
//! before has, and more: the chart; the severities that the last film shows, with the chart at that
//! film; the severities of now as a regression on film pairs estimates them from chart and last
//! film; the severities of now themselves. The third adds no information to the second, only the
//! supervision of film pairs: what it gains is what generation can gain on this ward, and the
//! fourth bounds it.
//!
//! The second reader has every column that the regression has, so it could do the same, had it
//! outcomes enough; of its narrow and its wide form the one with the lower held-out loss counts.
//!
//! # Frozen
//! The proof's ward was tuned until this measurement met [`THRESHOLDS`], by this commit, and is not
//! tuned any more. `nowcxr synth --ceiling --ward proof` (seed 1, test seed 2, 2,000 labelled stays
//! with 341 deaths, 5,000 tested with 753; about a minute on one core) gives, with 95 % intervals:
//!
//! ```text
//!                      mortality AUPRC            phenotypes, macro AUPRC
//! chart only           0.535 (0.501 to 0.573)     0.422 (0.417 to 0.428)
//! + last film          0.630 (0.595 to 0.662)     0.448 (0.444 to 0.455)
//! + now, regressed     0.696 (0.666 to 0.725)     0.455 (0.451 to 0.461)
//! + now, true          0.782 (0.756 to 0.806)     0.468 (0.465 to 0.474)
//! regressed − last     0.067 (0.048 to 0.084)     0.006 (0.005 to 0.008)
//! true − last          0.152 (0.127 to 0.175)
//!
//! R² of the severities of now: 0.233 last film unchanged, 0.429 best line through it,
//! 0.558 chart only, 0.821 chart and last film; 15,771 film pairs, 7.9 a labelled stay
//! ```

mod features;
mod fit;
mod linear;
mod twins;

use serde::Serialize;

use super::SynthError;
use super::hospital::Hospital;
use crate::metrics::Estimate;

pub use twins::{TwinScore, Twins};

/// How much is measured.
#[derive(Clone, Debug, PartialEq)]
pub struct CeilingOptions {
    pub hospital: Hospital,
    /// Ward of the labels and the film pairs.
    pub seed: u64,
    /// Ward of the stays that are predicted.
    pub test_seed: u64,
    /// Stays with a label and a window to train on.
    pub labelled: usize,
    /// Stays to predict.
    pub tested: usize,
    /// Replicates of the bootstrap.
    pub replicates: usize,
}

impl Default for CeilingOptions {
    fn default() -> Self {
        CeilingOptions {
            hospital: Hospital::proof(),
            seed: 1,
            test_seed: 2,
            labelled: 2_000,
            tested: 5_000,
            replicates: 1_000,
        }
    }
}

/// What must hold before the ward is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Thresholds {
    /// AUPRC of the true severities over that of the last film's.
    pub oracle_over_carried: f64,
    /// AUPRC of the regressed severities over that of the last film's.
    pub regressed_over_carried: f64,
    /// R² of the severities of now from chart and last film, at least.
    pub r2_regressed: f64,
    /// R² of the severities of now from the last film's alone, at most.
    pub r2_carried: f64,
    pub pairs_per_labelled_stay: f64,
}

/// The thresholds of the proof.
pub const THRESHOLDS: Thresholds = Thresholds {
    oracle_over_carried: 0.08,
    regressed_over_carried: 0.04,
    r2_regressed: 0.8,
    r2_carried: 0.6,
    pairs_per_labelled_stay: 6.0,
};

/// Explained variance of the severities that films show, on the stays to predict.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explained {
    /// 1 − Σ squared errors / Σ variance over all findings.
    pub pooled: f64,
    /// By finding, in the order of the names.
    pub by_finding: Vec<(String, f64)>,
    /// Pooled, of windows whose film is 24 h old or older.
    pub from_24h: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceiling {
    pub seed: u64,
    pub test_seed: u64,
    pub labelled_stays: usize,
    pub tested_stays: usize,
    pub deaths_trained: usize,
    pub deaths_tested: usize,
    pub film_pairs: usize,
    pub pairs_per_labelled_stay: f64,
    pub r2_carried: Explained,
    /// The last film's severities as they are, without any fit.
    pub r2_unchanged: Explained,
    pub r2_chart_only: Explained,
    pub r2_regressed: Explained,
    pub mortality: Twins,
    /// Means over the phenotypes that occur.
    pub phenotypes: Twins,
    /// Paired differences of the mortality AUPRC.
    pub regressed_over_carried: Estimate,
    pub oracle_over_carried: Estimate,
    /// Paired difference of the phenotypes' macro AUPRC.
    pub phenotypes_regressed_over_carried: Estimate,
    pub thresholds: Thresholds,
    /// Which thresholds are missed; none when the ward may be frozen.
    pub missed: Vec<String>,
}

/// Measures the ceiling of a ward. `progress` is told (stays simulated, about how many in all).
///
/// # Errors
/// [`SynthError::Options`] when the ward is too small for the stays asked for, or a fit fails.
pub fn ceiling(
    options: &CeilingOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Ceiling, SynthError> {
    fit::measure(options, progress)
}
