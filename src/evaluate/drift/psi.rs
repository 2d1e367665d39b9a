//! The population stability index (PSI) of two distributions over the same bins, and how large it
//! would be by chance.
//!
//! PSI = Σ (q − p) ln(q / p) over the bins. Credit scoring made it, with the bands that everybody
//! quotes: below 0.1 none, to 0.25 some, above that much. They were meant for many independent
//! rows. The windows of one stay are not independent, so every stay weighs the same here, however
//! many windows it has, and beside each PSI stands the one that two draws of that many stays from
//! one ward would show on average: Σ (var p + var q) / mean, with the variance between stays.

use serde::{Deserialize, Serialize};

use crate::metrics::Undefined;

/// Bins of a distribution, at most. A profile that was read may not have more either.
pub const BINS_MAX: usize = 16;

/// Quantiles that a number is divided by: ten groups of equal size, fewer where values repeat.
pub const QUANTILES: usize = 10;

/// From here on a PSI is called some drift, and from there much.
pub const PSI_SOME: f64 = 0.1;
pub const PSI_MUCH: f64 = 0.25;

/// The sums of shares are 1 but for rounding.
const ROUNDING: f64 = 1e-6;

/// Shares of bins, each stay weighing the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// One a bin; they sum up to 1.
    pub shares: Vec<f64>,
    /// Of each share, as an estimate from so many stays.
    pub variances: Vec<f64>,
    pub stays: usize,
    pub windows: usize,
}

/// How far two distributions lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Apart {
    pub psi: f64,
    /// What the PSI of two samples of these sizes from one ward is on average.
    pub by_chance: f64,
    /// What one in a thousand such PSIs exceeds.
    pub bound: f64,
}

impl Distribution {
    /// Of the bins that the windows of each stay fall into; stays without a window do not count.
    ///
    /// # Errors
    /// [`Undefined::TooFew`] with fewer than two stays, [`Undefined::Lengths`] for a bin beyond
    /// `bins` or more bins than [`BINS_MAX`].
    pub fn of(stays: &[Vec<usize>], bins: usize) -> Result<Self, Undefined> {
        let out_of_range = stays.iter().flatten().any(|bin| *bin >= bins);
        if !(1..=BINS_MAX).contains(&bins) || out_of_range {
            return Err(Undefined::Lengths);
        }
        let own: Vec<Vec<f64>> = stays
            .iter()
            .filter(|windows| !windows.is_empty())
            .map(|windows| {
                let share = |bin| windows.iter().filter(|of| **of == bin).count() as f64;
                (0..bins).map(|bin| share(bin) / windows.len() as f64).collect()
            })
            .collect();
        if own.len() < 2 {
            return Err(Undefined::TooFew);
        }
        let n = own.len() as f64;
        let column = |bin: usize| own.iter().filter_map(move |shares| shares.get(bin).copied());
        let shares: Vec<f64> = (0..bins).map(|bin| column(bin).sum::<f64>() / n).collect();
        let variance = |(bin, mean): (usize, &f64)| {
            column(bin).map(|share| (share - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))
        };
        let variances = shares.iter().enumerate().map(variance).collect();
        let windows = stays.iter().map(Vec::len).sum();
        Ok(Distribution { shares, variances, stays: own.len(), windows })
    }

    /// Whether a distribution that was read can be one.
    pub fn holds(&self) -> bool {
        let numbers = || self.shares.iter().chain(&self.variances);
        (1..=BINS_MAX).contains(&self.shares.len())
            && self.shares.len() == self.variances.len()
            && numbers().all(|number| (0.0..=1.0).contains(number))
            && (self.shares.iter().sum::<f64>() - 1.0).abs() < ROUNDING
            && self.stays >= 2
            && self.windows >= self.stays
    }
}

/// The PSI of two distributions; it is the same from either side, and 0 for equal ones.
///
/// A share that is not seen among n stays is taken for half a stay of the smaller side: PSI would
/// be infinite otherwise, although the next stay may fill the bin.
///
/// # Errors
/// [`Undefined::Lengths`] if the bins differ in number, [`Undefined::NotFinite`] for a share that
/// is no number, [`Undefined::Empty`] for a side without stays.
pub fn apart(one: &Distribution, other: &Distribution) -> Result<Apart, Undefined> {
    let bins = one.shares.len();
    let columns = [&one.variances, &other.shares, &other.variances];
    if columns.iter().any(|column| column.len() != bins) {
        return Err(Undefined::Lengths);
    }
    let numbers = [&one.shares, &one.variances, &other.shares, &other.variances];
    if numbers.into_iter().flatten().any(|number| !(0.0..=1.0).contains(number)) {
        return Err(Undefined::NotFinite);
    }
    let smaller = one.stays.min(other.stays);
    if smaller == 0 {
        return Err(Undefined::Empty);
    }
    let least = 0.5 / smaller as f64;
    let (mut psi, mut by_chance) = (0.0, 0.0);
    let shares = one.shares.iter().zip(&other.shares);
    let variances = one.variances.iter().zip(&other.variances);
    for ((p, q), (of_p, of_q)) in shares.zip(variances) {
        let (p, q) = (p.max(least), q.max(least));
        psi += (q - p) * (q / p).ln();
        by_chance += 2.0 * (of_p + of_q) / (p + q);
    }
    Ok(Apart { psi, by_chance, bound: by_chance * exceeded_by_few(bins) })
}

/// The 99.9th percentile of chi-square over its mean, with one degree of freedom less than bins
/// (Wilson and Hilferty's approximation): a PSI by chance is a sum of so many squares.
fn exceeded_by_few(bins: usize) -> f64 {
    const NORMAL: f64 = 3.090_232;
    let part = 2.0 / (9.0 * bins.saturating_sub(1).max(1) as f64);
    (1.0 - part + NORMAL * part.sqrt()).powi(3)
}

/// Nine significant digits: what a file of decimal numbers gives back as it was.
fn decimal(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

/// Edges at the quantiles of `values` (value, weight), to nine digits: bin k holds what lies above
/// edge k − 1 and not above edge k. Strictly ascending, at most [`QUANTILES`] − 1 of them, none for
/// one value.
///
/// # Errors
/// [`Undefined::NotFinite`] for a value that is no number, [`Undefined::Empty`] without any.
pub fn edges(values: &[(f64, f64)]) -> Result<Vec<f64>, Undefined> {
    if values.iter().any(|(value, weight)| !value.is_finite() || !weight.is_finite()) {
        return Err(Undefined::NotFinite);
    }
    let mut sorted: Vec<(f64, f64)> =
        values.iter().map(|(value, weight)| (decimal(*value), *weight)).collect();
    sorted.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let Some((greatest, _)) = sorted.last().copied() else { return Err(Undefined::Empty) };
    let all: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let mut edges: Vec<f64> = Vec::new();
    let mut reached = 0.0;
    for (value, weight) in sorted {
        reached += weight;
        let due = (edges.len() + 1) as f64 * all / QUANTILES as f64;
        let is_new = edges.last().is_none_or(|last| value > *last);
        if reached >= due && is_new && value < greatest && edges.len() + 1 < QUANTILES {
            edges.push(value);
        }
    }
    Ok(edges)
}

/// The bin of a value.
///
/// # Errors
/// [`Undefined::NotFinite`] for a value that is no number.
pub fn bin(edges: &[f64], value: f64) -> Result<usize, Undefined> {
    if !value.is_finite() {
        return Err(Undefined::NotFinite);
    }
    Ok(edges.partition_point(|edge| *edge < value))
}
