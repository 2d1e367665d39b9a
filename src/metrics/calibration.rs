//! Whether probabilities mean what they say: Brier scores, slope and intercept, the reliability of
//! groups of equal size.

use super::{Undefined, probabilities, target};

/// A probability of exactly 0 or 1 has no logit; it is moved in by this much.
const EDGE: f64 = 1e-6;

/// Newton steps until slope and intercept must have settled.
const STEPS: usize = 100;

/// Logistic recalibration: logit(y) = intercept + slope × logit(p). Perfect: slope 1, intercept 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Below 1: the scores are too extreme.
    pub slope: f64,
    pub intercept: f64,
    /// The intercept with the slope held at 1: calibration in the large. Above 0: too low.
    pub in_the_large: f64,
    /// Weight of outcomes observed over expected.
    pub observed_to_expected: f64,
}

/// One group of the reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Mean probability.
    pub predicted: f64,
    /// Share of outcomes.
    pub observed: f64,
    pub n: usize,
    /// Weight of the group.
    pub weight: f64,
}

/// Mean squared error of probabilities, by weight.
///
/// # Errors
/// [`Undefined`] for differing lengths, nothing with weight, or what is no probability.
pub fn brier<S: Copy + Into<f64>>(
    p: &[S],
    labels: &[bool],
    weights: &[f64],
) -> Result<f64, Undefined> {
    let p = probabilities(p, labels)?;
    mean_of(weights, p.iter().zip(labels).map(|(p, &y)| (p - target(y)).powi(2)))
}

/// 1 − Brier / (Brier of the prevalence): 0 says no more than the prevalence, 1 is perfect.
///
/// # Errors
/// As [`brier`], and [`Undefined::OneClass`] when the prevalence itself makes no error.
pub fn scaled_brier<S: Copy + Into<f64>>(
    p: &[S],
    labels: &[bool],
    weights: &[f64],
) -> Result<f64, Undefined> {
    let brier = brier(p, labels, weights)?;
    let rate = mean_of(weights, labels.iter().map(|&y| target(y)))?;
    let blind = rate * (1.0 - rate);
    if blind > 0.0 { Ok(1.0 - brier / blind) } else { Err(Undefined::OneClass) }
}

fn mean_of(weights: &[f64], values: impl Iterator<Item = f64>) -> Result<f64, Undefined> {
    let (sum, of) = values
        .zip(weights)
        .fold((0.0, 0.0), |(sum, of), (value, weight)| (sum + value * weight, of + weight));
    if of > 0.0 { Ok(sum / of) } else { Err(Undefined::Empty) }
}

/// Slope and intercept by Newton's method on the likelihood.
///
/// # Errors
/// As [`brier`]; [`Undefined::OneClass`] unless both outcomes have weight;
/// [`Undefined::NotFinite`] where the scores separate the outcomes and no slope is finite.
pub fn calibration<S: Copy + Into<f64>>(
    p: &[S],
    labels: &[bool],
    weights: &[f64],
) -> Result<Calibration, Undefined> {
    let p = probabilities(p, labels)?;
    let rate = mean_of(weights, labels.iter().map(|&y| target(y)))?;
    if rate <= 0.0 || rate >= 1.0 {
        return Err(Undefined::OneClass);
    }
    let expected = mean_of(weights, p.iter().copied())?;
    let samples: Vec<(f64, f64, f64)> = p
        .iter()
        .zip(labels)
        .zip(weights)
        .map(|((p, &y), &w)| {
            let p = p.clamp(EDGE, 1.0 - EDGE);
            ((p / (1.0 - p)).ln(), target(y), w)
        })
        .collect();
    if separated(&samples) {
        return Err(Undefined::NotFinite);
    }
    let (slope, intercept) = newton(&samples, true)?;
    let (_, in_the_large) = newton(&samples, false)?;
    Ok(Calibration { slope, intercept, in_the_large, observed_to_expected: rate / expected })
}

/// True if a threshold parts the outcomes: then no slope has the greatest likelihood.
fn separated(samples: &[(f64, f64, f64)]) -> bool {
    let range = |outcome: f64| {
        let of = samples.iter().filter(move |(_, y, w)| *y == outcome && *w > 0.0);
        of.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (x, _, _)| {
            (low.min(*x), high.max(*x))
        })
    };
    let (without, with) = (range(0.0), range(1.0));
    without.1 <= with.0 || with.1 <= without.0
}

/// (slope, intercept) of samples (logit, outcome, weight); the slope is held at 1 unless `free`.
/// Steps are halved until they raise the likelihood.
fn newton(samples: &[(f64, f64, f64)], free: bool) -> Result<(f64, f64), Undefined> {
    let loss = |a: f64, b: f64| -> f64 {
        let one = |&(x, y, w): &(f64, f64, f64)| {
            let z = a * x + b;
            // log(1 + e^z) − y z without overflow.
            w * (z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z)
        };
        samples.iter().map(one).sum()
    };
    let (mut a, mut b) = (1.0, 0.0);
    let mut now = loss(a, b);
    for _ in 0..STEPS {
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-12, 0.0, 1e-12);
        for &(x, y, w) in samples {
            let p = 1.0 / (1.0 + (-(a * x + b)).exp());
            let (off, v) = (w * (p - y), w * p * (1.0 - p));
            (ga, gb) = (ga + off * x, gb + off);
            (haa, hab, hbb) = (haa + v * x * x, hab + v * x, hbb + v);
        }
        let det = haa * hbb - hab * hab;
        let (da, db) = if free && det > 1e-12 * haa * hbb {
            ((hbb * ga - hab * gb) / det, (haa * gb - hab * ga) / det)
        } else {
            (0.0, gb / hbb)
        };
        let mut share = 1.0;
        while share > 1e-6 && loss(a - share * da, b - share * db) > now {
            share *= 0.5;
        }
        (a, b) = (a - share * da, b - share * db);
        now = loss(a, b);
        if da.abs() + db.abs() < 1e-10 {
            break;
        }
    }
    // A slope that has run away belongs to scores that separate the outcomes.
    let settled = a.is_finite() && b.is_finite() && a.abs() < 1e3 && b.abs() < 1e3;
    if settled { Ok((a, b)) } else { Err(Undefined::NotFinite) }
}

/// Samples in groups of equal size by ascending probability, made once for many weightings: only
/// the first costs a sort.
#[derive(Clone, Debug)]
pub struct Grouped {
    /// Sample indices of each group.
    groups: Vec<Vec<usize>>,
    p: Vec<f64>,
    labels: Vec<bool>,
}

impl Grouped {
    /// Equal probabilities stay in one group, so there may be fewer than `bins`.
    ///
    /// # Errors
    /// As [`brier`].
    pub fn new<S: Copy + Into<f64>>(
        p: &[S],
        labels: &[bool],
        bins: usize,
    ) -> Result<Self, Undefined> {
        let p = probabilities(p, labels)?;
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
        let (mut groups, mut start) = (Vec::new(), 0);
        for group in 1..=bins.max(1) {
            let mut end = group * order.len() / bins.max(1);
            while end > 0 && end < order.len() && p[order[end]] == p[order[end - 1]] {
                end += 1;
            }
            groups.extend(order.get(start..end).filter(|m| !m.is_empty()).map(<[usize]>::to_vec));
            start = start.max(end);
        }
        Ok(Grouped { groups, p, labels: labels.to_vec() })
    }

    /// The groups that have weight, in order.
    ///
    /// # Errors
    /// [`Undefined::Empty`] when nothing has weight.
    pub fn bins(&self, weights: &[f64]) -> Result<Vec<Bin>, Undefined> {
        let bin = |members: &Vec<usize>| {
            let (mut predicted, mut observed, mut weight) = (0.0, 0.0, 0.0);
            for &i in members {
                let w = weights.get(i).copied().unwrap_or(0.0);
                weight += w;
                predicted += w * self.p[i];
                observed += w * target(self.labels[i]);
            }
            let n = members.len();
            (weight > 0.0).then(|| Bin {
                predicted: predicted / weight,
                observed: observed / weight,
                n,
                weight,
            })
        };
        let bins: Vec<Bin> = self.groups.iter().filter_map(bin).collect();
        if bins.is_empty() { Err(Undefined::Empty) } else { Ok(bins) }
    }

    /// Expected calibration error: the groups' mean |observed − predicted| by weight.
    ///
    /// # Errors
    /// As [`Grouped::bins`].
    pub fn expected_error(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let bins = self.bins(weights)?;
        let all: f64 = bins.iter().map(|bin| bin.weight).sum();
        let apart = |bin: &Bin| bin.weight * (bin.observed - bin.predicted).abs();
        Ok(bins.iter().map(apart).sum::<f64>() / all)
    }
}

/// [`Grouped::bins`] of one weighting.
///
/// # Errors
/// As [`Grouped::new`] and [`Grouped::bins`].
pub fn reliability<S: Copy + Into<f64>>(
    p: &[S],
    labels: &[bool],
    weights: &[f64],
    bins: usize,
) -> Result<Vec<Bin>, Undefined> {
    Grouped::new(p, labels, bins)?.bins(weights)
}

/// [`Grouped::expected_error`] of one weighting.
///
/// # Errors
/// As [`reliability`].
pub fn expected_calibration_error<S: Copy + Into<f64>>(
    p: &[S],
    labels: &[bool],
    weights: &[f64],
    bins: usize,
) -> Result<f64, Undefined> {
    Grouped::new(p, labels, bins)?.expected_error(weights)
}
