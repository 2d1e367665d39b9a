//! The 25 phenotypes: how well each is ranked, and their macro average.

use serde::Serialize;

use super::figures::{Figure, patients};
use super::intake::{Phenotyped, Sample};
use super::{EvaluateError, EvaluateOptions};
use crate::event::risk::N_PHENOTYPES;
use crate::metrics::{Ranked, Undefined};
use crate::train::replayed::Phenotypes;

/// All phenotypes on one set of windows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhenotypeFigures {
    pub windows: usize,
    /// Means over the phenotypes that have both outcomes; in a resample, over those that have both
    /// there.
    pub macro_auroc: Figure,
    pub macro_auprc: Figure,
    pub each: Vec<PhenotypeFigure>,
}

/// One phenotype.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhenotypeFigure {
    pub name: &'static str,
    /// Share of windows whose stay has it, by weight.
    pub prevalence: f64,
    pub auroc: Figure,
    pub auprc: Figure,
}

/// `None` unless every window has its phenotypes.
///
/// # Errors
/// [`EvaluateError::Undefined`] for scores that are no numbers.
pub(super) fn phenotypes(
    samples: &[&Sample],
    options: EvaluateOptions,
) -> Result<Option<PhenotypeFigures>, EvaluateError> {
    let told: Option<Vec<&Phenotyped>> =
        samples.iter().map(|sample| sample.phenotypes.as_ref()).collect();
    let Some(told) = told.filter(|told| !told.is_empty()) else { return Ok(None) };
    let column = |k: usize| {
        let scores: Vec<f32> = told.iter().map(|one| one.scores[k]).collect();
        let present: Vec<bool> = told.iter().map(|one| one.present[k]).collect();
        Ranked::new(&scores, &present)
    };
    let ranked: Vec<Ranked> = (0..N_PHENOTYPES).map(column).collect::<Result<_, Undefined>>()?;
    let drawn = patients(samples, options)?;
    let found = drawn.estimates(|w| {
        // Without both outcomes an average precision of 1 would say nothing.
        let auroc: Vec<Result<f64, Undefined>> = ranked.iter().map(|one| one.auroc(w)).collect();
        let auprc: Vec<Result<f64, Undefined>> =
            ranked.iter().zip(&auroc).map(|(one, auroc)| (*auroc).and(one.auprc(w))).collect();
        let means = [mean(&auroc), mean(&auprc)];
        auroc.into_iter().chain(auprc).chain(means).collect()
    });
    let figures: Vec<Figure> = found.into_iter().map(Figure::from).collect();
    let each = Phenotypes::names().zip(&ranked).enumerate();
    let each = each.map(|(k, (name, ranked))| PhenotypeFigure {
        name,
        prevalence: ranked.prevalence(drawn.weights()).unwrap_or(0.0),
        auroc: figures[k].clone(),
        auprc: figures[N_PHENOTYPES + k].clone(),
    });
    Ok(Some(PhenotypeFigures {
        windows: samples.len(),
        macro_auroc: figures[2 * N_PHENOTYPES].clone(),
        macro_auprc: figures[2 * N_PHENOTYPES + 1].clone(),
        each: each.collect(),
    }))
}

/// Of what is known.
fn mean(values: &[Result<f64, Undefined>]) -> Result<f64, Undefined> {
    let known: Vec<f64> = values.iter().filter_map(|value| value.ok()).collect();
    match known.len() {
        0 => Err(Undefined::OneClass),
        n => Ok(known.iter().sum::<f64>() / n as f64),
    }
}
