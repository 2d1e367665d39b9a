//! The four readers: their columns, their fit, their score.

use serde::Serialize;

use super::linear::{Matrix, Scaler, Weights, at, log_loss, logistic};
use crate::metrics::{Estimate, Patients, Ranked, Undefined};

/// Which penalties are tried, on the columns of the chart and on those of the severities, and over
/// how many folds their held-out log loss is compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    chart: &'static [f64],
    severity: &'static [f64],
    folds: usize,
}

/// For the one outcome that decides.
pub(super) const THOROUGH: Search =
    Search { chart: &[3.0, 10.0, 40.0, 150.0, 600.0], severity: &[0.5, 4.0, 30.0], folds: 4 };

/// For a reader of hundreds of columns.
pub(super) const WIDE: Search =
    Search { chart: &[150.0, 600.0, 2_400.0], severity: &[4.0, 30.0], folds: 4 };

/// For the many phenotypes of which each alone decides little.
pub(super) const QUICK: Search =
    Search { chart: &[100.0, 1_000.0], severity: &[5.0, 100.0], folds: 2 };

/// AUPRC of the four readers with patient-bootstrap 95 % intervals.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Twins {
    pub prevalence: f64,
    pub chart_only: TwinScore,
    pub carried: TwinScore,
    pub regressed: TwinScore,
    pub oracle: TwinScore,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TwinScore {
    pub auprc: Estimate,
    pub auroc: f64,
}

/// One reader's columns, of the stays to train on and of those to predict.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) train: Matrix,
    pub(super) test: Matrix,
    /// Columns from here on are severities.
    pub(super) severities_from: usize,
}

/// Severities with their squares and products, so that every reader of severities can tell what
/// they do together.
pub(super) fn quadratic(severities: &[f64], into: &mut Vec<f64>) {
    into.extend_from_slice(severities);
    for (i, a) in severities.iter().enumerate() {
        into.extend(severities[i..].iter().map(|b| a * b));
    }
}

impl Reader {
    /// Scores of the stays to predict, and the held-out loss of the penalties chosen by it.
    pub(super) fn scores(&self, labels: &[bool], search: Search) -> Option<(Vec<f64>, f64)> {
        let scaler = Scaler::of(&self.train);
        let (train, test) = (scaler.apply(&self.train), scaler.apply(&self.test));
        let (loss, penalty) = self.penalties(&train, labels, search)?;
        let weights = logistic(&train, labels, &penalty)?;
        Some((test.rows().map(|row| at(&weights, row)).collect(), loss))
    }

    fn penalty(&self, chart: f64, severity: f64) -> Vec<f64> {
        let of = |column| if column < self.severities_from { chart } else { severity };
        (0..self.train.columns).map(of).collect()
    }

    fn penalties(&self, x: &Matrix, labels: &[bool], search: Search) -> Option<(f64, Vec<f64>)> {
        let mut best: Option<(f64, Vec<f64>)> = None;
        let has_severities = self.severities_from < self.train.columns;
        let severities = if has_severities { search.severity } else { &[1.0] };
        for chart in search.chart {
            for severity in severities {
                let penalty = self.penalty(*chart, *severity);
                let loss = held_out_loss(x, labels, &penalty, search.folds)?;
                if best.as_ref().is_none_or(|(least, _)| loss < *least) {
                    best = Some((loss, penalty));
                }
            }
        }
        best
    }
}

fn held_out_loss(x: &Matrix, labels: &[bool], penalty: &[f64], folds: usize) -> Option<f64> {
    (0..folds)
        .map(|fold| {
            let (mut inside, mut outside) = (Matrix::new(x.columns), Matrix::new(x.columns));
            let (mut known, mut asked) = (Vec::new(), Vec::new());
            for (i, (row, &label)) in x.rows().zip(labels).enumerate() {
                let (rows, truth) = match i % folds == fold {
                    true => (&mut outside, &mut asked),
                    false => (&mut inside, &mut known),
                };
                rows.push(row);
                truth.push(label);
            }
            let weights: Weights = logistic(&inside, &known, penalty)?;
            Some(log_loss(&outside, &asked, &weights))
        })
        .sum()
}

/// AUPRC and AUROC of one set of scores.
pub(super) fn score(
    patients: &Patients,
    scores: &[f64],
    labels: &[bool],
) -> Result<TwinScore, Undefined> {
    let ranked = Ranked::new(scores, labels)?;
    let auprc = patients.estimate(|weights| ranked.auprc(weights))?;
    Ok(TwinScore { auprc, auroc: ranked.auroc(patients.weights())? })
}

/// The paired difference of two readers' AUPRC.
pub(super) fn difference(
    patients: &Patients,
    [better, worse]: [&[f64]; 2],
    labels: &[bool],
) -> Result<Estimate, Undefined> {
    let (better, worse) = (Ranked::new(better, labels)?, Ranked::new(worse, labels)?);
    patients.estimate(|weights| Ok(better.auprc(weights)? - worse.auprc(weights)?))
}
