//! How well scores rank: AUROC, AUPRC, min(sensitivity, precision). All take weights, so that a
//! bootstrap replicate is one pass over an order that was sorted once.

use std::ops::Range;

use super::{Undefined, scored};

/// Scores in descending order, ready for many weightings.
#[derive(Clone, Debug)]
pub struct Ranked {
    /// Sample indices by descending score.
    order: Vec<usize>,
    /// Runs of equal scores in `order`.
    ties: Vec<Range<usize>>,
    labels: Vec<bool>,
}

/// Weight of both outcomes in one run of equal scores.
struct Step {
    positives: f64,
    negatives: f64,
}

impl Ranked {
    /// # Errors
    /// [`Undefined::Lengths`], [`Undefined::Empty`] or [`Undefined::NotFinite`].
    pub fn new<S: Copy + Into<f64>>(scores: &[S], labels: &[bool]) -> Result<Self, Undefined> {
        let scores = scored(scores, labels)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut ties = Vec::new();
        let mut start = 0;
        for end in 1..=order.len() {
            // Compared as numbers: 0 and −0 are one score.
            if end == order.len() || scores[order[end]] != scores[order[start]] {
                ties.push(start..end);
                start = end;
            }
        }
        Ok(Ranked { order, ties, labels: labels.to_vec() })
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Never true: an empty input makes no `Ranked`.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// A weight of 1 for every sample.
    pub fn unweighted(&self) -> Vec<f64> {
        vec![1.0; self.len()]
    }

    fn steps<'a>(&'a self, weights: &'a [f64]) -> impl DoubleEndedIterator<Item = Step> + 'a {
        self.ties.iter().map(move |tie| {
            let mut step = Step { positives: 0.0, negatives: 0.0 };
            for &sample in &self.order[tie.clone()] {
                let weight = weights.get(sample).copied().unwrap_or(0.0);
                match self.labels[sample] {
                    true => step.positives += weight,
                    false => step.negatives += weight,
                }
            }
            step
        })
    }

    /// Weight of the positives and of the negatives.
    fn totals(&self, weights: &[f64]) -> (f64, f64) {
        self.steps(weights).fold((0.0, 0.0), |(p, n), s| (p + s.positives, n + s.negatives))
    }

    /// Share of positives among all, by weight; the AUPRC of a blind score.
    ///
    /// # Errors
    /// [`Undefined::Empty`] when nothing has weight.
    pub fn prevalence(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let (p, n) = self.totals(weights);
        if p + n > 0.0 { Ok(p / (p + n)) } else { Err(Undefined::Empty) }
    }

    /// Area under the ROC curve: the chance that a positive outranks a negative, ties half.
    ///
    /// # Errors
    /// [`Undefined::OneClass`] unless both outcomes have weight.
    pub fn auroc(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let (mut above, mut won, mut negatives) = (0.0, 0.0, 0.0);
        for step in self.steps(weights) {
            won += step.negatives * (above + 0.5 * step.positives);
            above += step.positives;
            negatives += step.negatives;
        }
        if above > 0.0 && negatives > 0.0 {
            Ok(won / (above * negatives))
        } else {
            Err(Undefined::OneClass)
        }
    }

    /// Average precision: Σ (gain in recall) × precision over the thresholds, no interpolation.
    ///
    /// # Errors
    /// [`Undefined::OneClass`] without a positive that has weight.
    pub fn auprc(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let (mut hits, mut taken, mut sum) = (0.0, 0.0, 0.0);
        for step in self.steps(weights) {
            hits += step.positives;
            taken += step.positives + step.negatives;
            if step.positives > 0.0 {
                sum += step.positives * hits / taken;
            }
        }
        if hits > 0.0 { Ok(sum / hits) } else { Err(Undefined::OneClass) }
    }

    /// The best min(sensitivity, precision) that a threshold reaches, as the PhysioNet Challenge
    /// 2012 scores its first event.
    ///
    /// # Errors
    /// [`Undefined::OneClass`] without a positive that has weight.
    pub fn min_sensitivity_precision(&self, weights: &[f64]) -> Result<f64, Undefined> {
        let (positives, _) = self.totals(weights);
        if positives <= 0.0 {
            return Err(Undefined::OneClass);
        }
        let (mut hits, mut taken, mut best) = (0.0, 0.0, 0.0f64);
        for step in self.steps(weights) {
            hits += step.positives;
            taken += step.positives + step.negatives;
            if taken > 0.0 {
                best = best.max(f64::min(hits / positives, hits / taken));
            }
        }
        Ok(best)
    }
}

/// Unweighted [`Ranked::auroc`].
///
/// # Errors
/// As [`Ranked::new`] and [`Ranked::auroc`].
pub fn auroc<S: Copy + Into<f64>>(scores: &[S], labels: &[bool]) -> Result<f64, Undefined> {
    let ranked = Ranked::new(scores, labels)?;
    ranked.auroc(&ranked.unweighted())
}

/// Unweighted [`Ranked::auprc`].
///
/// # Errors
/// As [`Ranked::new`] and [`Ranked::auprc`].
pub fn auprc<S: Copy + Into<f64>>(scores: &[S], labels: &[bool]) -> Result<f64, Undefined> {
    let ranked = Ranked::new(scores, labels)?;
    ranked.auprc(&ranked.unweighted())
}

/// Unweighted [`Ranked::min_sensitivity_precision`].
///
/// # Errors
/// As [`Ranked::new`] and [`Ranked::min_sensitivity_precision`].
pub fn min_sensitivity_precision<S: Copy + Into<f64>>(
    scores: &[S],
    labels: &[bool],
) -> Result<f64, Undefined> {
    let ranked = Ranked::new(scores, labels)?;
    ranked.min_sensitivity_precision(&ranked.unweighted())
}
