//! Figures of merit: scores against outcomes, features against features. Numbers in, numbers out.
//!
//! The module stands above `train` and `synth`, since training stops early by a figure of this
//! module and the synthetic ward is frozen by one; the reports that people read are made in
//! `evaluate`. Every figure that does not exist for its input (one class only, nothing at all) is
//! an [`Undefined`] and never a number that looks like one.
//!
//! Definitions: AUROC and AUPRC as scikit-learn's `roc_auc_score` and `average_precision_score`
//! (`reference/ddl-cxr.md` 5.1), calibration and intervals as `reference/clinical.md` 3.3 asks.

pub mod anatomy;
mod bootstrap;
mod calibration;
mod distance;
mod ranking;

use thiserror::Error;

pub use bootstrap::{Estimate, Patients, percentile};
pub use calibration::{
    Bin, Calibration, Grouped, brier, calibration, expected_calibration_error, reliability,
    scaled_brier,
};
pub use distance::{Features, frechet_distance, mean_wasserstein};
pub use ranking::{Ranked, auprc, auroc, min_sensitivity_precision};

/// Why a figure does not exist for its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Undefined {
    /// No sample, or none with weight.
    #[error("there are no samples")]
    Empty,
    /// Only one outcome occurs.
    #[error("only one outcome occurs, and this figure compares both")]
    OneClass,
    /// Two inputs that belong together differ in length.
    #[error("the inputs differ in length")]
    Lengths,
    /// A score is NaN or infinite, or a probability lies outside 0..=1.
    #[error("a value is not finite or outside its range")]
    NotFinite,
    /// Too few samples for a variance.
    #[error("at least two samples are needed")]
    TooFew,
}

/// Checks what every figure of scores against outcomes needs, and gives the scores as f64.
fn scored<S: Copy + Into<f64>>(scores: &[S], labels: &[bool]) -> Result<Vec<f64>, Undefined> {
    if scores.len() != labels.len() {
        return Err(Undefined::Lengths);
    }
    if scores.is_empty() {
        return Err(Undefined::Empty);
    }
    let scores: Vec<f64> = scores.iter().map(|&score| score.into()).collect();
    if scores.iter().all(|score| score.is_finite()) {
        Ok(scores)
    } else {
        Err(Undefined::NotFinite)
    }
}

/// The same for probabilities.
fn probabilities<S: Copy + Into<f64>>(p: &[S], labels: &[bool]) -> Result<Vec<f64>, Undefined> {
    let p = scored(p, labels)?;
    if p.iter().all(|p| (0.0..=1.0).contains(p)) { Ok(p) } else { Err(Undefined::NotFinite) }
}

/// 1 for an outcome that occurred, else 0.
fn target(label: bool) -> f64 {
    f64::from(u8::from(label))
}

#[cfg(test)]
mod tests;
