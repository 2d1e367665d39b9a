//! Figures of outcome models on the PhysioNet/CinC Challenge 2012: one score a stay, every entry
//! on the same stays, compared in pairs.

use serde::Serialize;

use super::{EvaluateError, EvaluateOptions, Figure};
use crate::metrics::{
    Patients, Ranked, Undefined, brier, calibration, expected_calibration_error, reliability,
};

/// Groups of the reliability diagram and of the expected calibration error.
const BINS: usize = 10;

/// Scores of one model, in the order of the stays.
#[derive(Clone, Debug)]
pub struct Scored {
    pub name: String,
    pub scores: Vec<f64>,
}

/// The stays that all entries score.
#[derive(Clone, Debug)]
pub struct ScoredStays {
    pub ids: Vec<u64>,
    pub died: Vec<bool>,
    /// The fold that each stay was held out in; empty for a set of its own.
    pub fold: Vec<usize>,
}

/// AUROC, AUPRC and min(sensitivity, precision), the Challenge's first score.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Ranking {
    pub auroc: f64,
    pub auprc: f64,
    pub min_sensitivity_precision: f64,
}

/// One model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChallengeEntry {
    pub name: String,
    pub auroc: Figure,
    pub auprc: Figure,
    pub min_sensitivity_precision: Figure,
    pub brier: Figure,
    pub calibration_slope: Figure,
    pub calibration_intercept: Figure,
    pub calibration_in_the_large: Figure,
    pub expected_calibration_error: Figure,
    /// Each fold by itself, and their mean, where the stays were cross-validated.
    pub folds: Vec<Ranking>,
    pub mean_of_folds: Option<Ranking>,
    /// Groups of the reliability diagram: (mean prediction, share of deaths, stays).
    pub reliability: Vec<(f64, f64, usize)>,
}

/// A paired difference of two entries; above 0 the first is better.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChallengeDifference {
    pub name: String,
    pub auroc: Figure,
    pub auprc: Figure,
    pub min_sensitivity_precision: Figure,
}

/// Everything that was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChallengeEvaluation {
    /// How the scores came about, in a sentence.
    pub how: String,
    pub stays: usize,
    pub died: usize,
    pub options: EvaluateOptions,
    pub entries: Vec<ChallengeEntry>,
    pub differences: Vec<ChallengeDifference>,
}

/// Measures every entry, and each later one against the first.
///
/// # Errors
/// [`EvaluateError::Undefined`] for scores that cannot be ranked: none, not finite, or of another
/// number of stays.
pub fn evaluate_challenge(
    stays: &ScoredStays,
    entries: &[Scored],
    how: String,
    options: EvaluateOptions,
) -> Result<ChallengeEvaluation, EvaluateError> {
    let weights = vec![1.0; stays.ids.len()];
    let patients = Patients::new(&stays.ids, weights, options.replicates, options.seed)?;
    let measured = entries.iter().map(|entry| measure(stays, entry, &patients));
    let first = entries.first();
    let later = entries.iter().skip(1).filter_map(|entry| Some((first?, entry)));
    Ok(ChallengeEvaluation {
        how,
        stays: stays.ids.len(),
        died: stays.died.iter().filter(|died| **died).count(),
        options,
        entries: measured.collect::<Result<_, _>>()?,
        differences: later
            .map(|(first, entry)| difference(stays, first, entry, &patients))
            .collect::<Result<_, _>>()?,
    })
}

/// The three rankings under given weights.
fn rankings(ranked: &Ranked, weights: &[f64]) -> Vec<Result<f64, Undefined>> {
    vec![ranked.auroc(weights), ranked.auprc(weights), ranked.min_sensitivity_precision(weights)]
}

fn measure(
    stays: &ScoredStays,
    entry: &Scored,
    patients: &Patients,
) -> Result<ChallengeEntry, EvaluateError> {
    let (p, died) = (&entry.scores, &stays.died);
    let ranked = Ranked::new(p, died)?;
    let figures = patients.estimates(|weights| {
        let fit = calibration(p, died, weights);
        let part = |of: fn(&crate::metrics::Calibration) -> f64| fit.as_ref().map(of);
        let fitted =
            [part(|fit| fit.slope), part(|fit| fit.intercept), part(|fit| fit.in_the_large)];
        let mut all = rankings(&ranked, weights);
        all.push(brier(p, died, weights));
        all.extend(fitted.map(|value| value.map_err(|why| *why)));
        all.push(expected_calibration_error(p, died, weights, BINS));
        all
    });
    let mut figures = figures.into_iter().map(Figure::from);
    let mut next = || {
        let none = || Figure::Unknown { undefined: Undefined::Empty.to_string() };
        figures.next().unwrap_or_else(none)
    };
    let groups = reliability(p, died, patients.weights(), BINS)?;
    let folds = by_fold(stays, p)?;
    Ok(ChallengeEntry {
        name: entry.name.clone(),
        auroc: next(),
        auprc: next(),
        min_sensitivity_precision: next(),
        brier: next(),
        calibration_slope: next(),
        calibration_intercept: next(),
        calibration_in_the_large: next(),
        expected_calibration_error: next(),
        mean_of_folds: mean(&folds),
        folds,
        reliability: groups.into_iter().map(|bin| (bin.predicted, bin.observed, bin.n)).collect(),
    })
}

/// Each fold ranked by itself: models of different folds need not agree on a scale.
fn by_fold(stays: &ScoredStays, scores: &[f64]) -> Result<Vec<Ranking>, EvaluateError> {
    let folds = stays.fold.iter().max().map_or(0, |last| last + 1);
    let mut found = Vec::with_capacity(folds);
    for fold in 0..folds {
        let held = stays.fold.iter().enumerate().filter(|(_, own)| **own == fold);
        let held: Vec<(f64, bool)> =
            held.filter_map(|(i, _)| Some((*scores.get(i)?, *stays.died.get(i)?))).collect();
        let (scores, died): (Vec<f64>, Vec<bool>) = held.into_iter().unzip();
        let ranked = Ranked::new(&scores, &died)?;
        let weights = ranked.unweighted();
        found.push(Ranking {
            auroc: ranked.auroc(&weights)?,
            auprc: ranked.auprc(&weights)?,
            min_sensitivity_precision: ranked.min_sensitivity_precision(&weights)?,
        });
    }
    Ok(found)
}

fn mean(folds: &[Ranking]) -> Option<Ranking> {
    let of = |part: fn(&Ranking) -> f64| folds.iter().map(part).sum::<f64>() / folds.len() as f64;
    (!folds.is_empty()).then(|| Ranking {
        auroc: of(|ranking| ranking.auroc),
        auprc: of(|ranking| ranking.auprc),
        min_sensitivity_precision: of(|ranking| ranking.min_sensitivity_precision),
    })
}

fn difference(
    stays: &ScoredStays,
    first: &Scored,
    other: &Scored,
    patients: &Patients,
) -> Result<ChallengeDifference, EvaluateError> {
    let ours = Ranked::new(&first.scores, &stays.died)?;
    let theirs = Ranked::new(&other.scores, &stays.died)?;
    let figures = patients.estimates(|weights| {
        let pairs = rankings(&ours, weights).into_iter().zip(rankings(&theirs, weights));
        pairs.map(|(ours, theirs)| Ok(ours? - theirs?)).collect()
    });
    let mut figures = figures.into_iter().map(Figure::from);
    let mut next = || {
        let none = || Figure::Unknown { undefined: Undefined::Empty.to_string() };
        figures.next().unwrap_or_else(none)
    };
    Ok(ChallengeDifference {
        name: format!("{} − {}", first.name, other.name),
        auroc: next(),
        auprc: next(),
        min_sensitivity_precision: next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stays() -> ScoredStays {
        let n = 200;
        ScoredStays {
            ids: (0..n).collect(),
            died: (0..n).map(|i: u64| i.is_multiple_of(5)).collect(),
            fold: (0..n).map(|i| (i / 5 % 2) as usize).collect(),
        }
    }

    #[test]
    fn a_better_entry_is_found_better_in_pairs() {
        let stays = stays();
        let score = |i: u64, weight: f64| {
            let noise = (i as f64 * 12.9898).sin() * 0.5 + 0.5;
            let told = if i.is_multiple_of(5) { 0.8 } else { 0.1 };
            (weight * told + (1.0 - weight) * noise).clamp(0.01, 0.99)
        };
        let entry = |name: &str, weight: f64| Scored {
            name: name.to_owned(),
            scores: stays.ids.iter().map(|&i| score(i, weight)).collect(),
        };
        let options = EvaluateOptions { replicates: 200, seed: 3 };
        let entries = [entry("good", 0.6), entry("weak", 0.2)];
        let found = evaluate_challenge(&stays, &entries, "a test".to_owned(), options).unwrap();
        assert_eq!((found.stays, found.died), (200, 40));
        let value = |figure: &Figure| figure.known().unwrap().value;
        assert_eq!(value(&found.entries[0].auroc), 1.0);
        assert!(value(&found.entries[1].auroc) < 0.95);
        let folds = &found.entries[1].folds;
        assert_eq!(folds.len(), 2);
        let mean = found.entries[1].mean_of_folds.unwrap();
        assert!((mean.auprc - (folds[0].auprc + folds[1].auprc) / 2.0).abs() < 1e-12);
        let difference = &found.differences[0];
        assert!(difference.auprc.known().unwrap().is_above_zero());
        assert_eq!(found.entries[1].reliability.iter().map(|group| group.2).sum::<usize>(), 200);
    }

    #[test]
    fn scores_of_other_stays_are_refused() {
        let entry = Scored { name: "short".to_owned(), scores: vec![0.5; 3] };
        let options = EvaluateOptions::default();
        let refused = evaluate_challenge(&stays(), &[entry], String::new(), options);
        assert!(matches!(refused, Err(EvaluateError::Undefined(Undefined::Lengths))));
    }
}
