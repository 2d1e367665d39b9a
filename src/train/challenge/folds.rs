//! Cross-validation: every stay is scored once, by a model that has not seen it.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::super::TrainError;
use super::fit::{OutcomeModel, Told};
use super::read::Stay;
use super::recipe::EhrRecipe;
use crate::event::dictionary::Dictionary;

/// The fold of each stay, 0 to `folds` − 1: shuffled by `seed`, the deaths spread evenly.
pub fn folds(stays: &[&Stay], folds: usize, seed: u64) -> Vec<usize> {
    let mut fold = vec![0; stays.len()];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for died in [false, true] {
        let is = |stay: &Stay| stay.outcome.is_some_and(|outcome| outcome.died == died);
        let mut group: Vec<usize> = (0..stays.len()).filter(|&i| is(stays[i])).collect();
        group.shuffle(&mut rng);
        for (place, stay) in group.into_iter().enumerate() {
            fold[stay] = place % folds.max(1);
        }
    }
    fold
}

/// The probability of each stay, by a model trained on the other folds.
///
/// # Errors
/// As [`OutcomeModel::train`].
pub fn cross_validate(
    stays: &[&Stay],
    fold: &[usize],
    dict: &Dictionary,
    recipe: &EhrRecipe,
    seed: u64,
    told: Told<'_>,
) -> Result<Vec<f64>, TrainError> {
    let folds = fold.iter().max().map_or(0, |last| last + 1);
    let mut scores = vec![0.0; stays.len()];
    for held in 0..folds {
        let part = |inside: bool| -> Vec<usize> {
            (0..stays.len()).filter(|&i| (fold[i] == held) == inside).collect()
        };
        let train: Vec<&Stay> = part(false).into_iter().map(|i| stays[i]).collect();
        let mut one = |done: u64, all: u64| told(held as u64 * all + done, folds as u64 * all);
        let model = OutcomeModel::train(&train, dict, recipe, seed, &mut one)?;
        let test: Vec<&Stay> = part(true).into_iter().map(|i| stays[i]).collect();
        let scored = model.probabilities(&test, dict);
        for (i, score) in part(true).into_iter().zip(scored) {
            scores[i] = score;
        }
    }
    Ok(scores)
}
