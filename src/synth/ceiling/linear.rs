//! Ridge and logistic regression on a few hundred columns: normal equations, Cholesky, Newton.

/// Rows of equal length.
#[derive(Clone, Debug, Default)]
pub(super) struct Matrix {
    pub(super) columns: usize,
    pub(super) values: Vec<f64>,
}

/// Means and deviations of the columns, so that one penalty suits all.
#[derive(Clone, Debug)]
pub(super) struct Scaler {
    mean: Vec<f64>,
    sd: Vec<f64>,
}

impl Matrix {
    pub(super) fn new(columns: usize) -> Self {
        Matrix { columns, values: Vec::new() }
    }

    pub(super) fn push(&mut self, row: &[f64]) {
        debug_assert_eq!(row.len(), self.columns);
        self.values.extend_from_slice(row);
    }

    pub(super) fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.columns.max(1))
    }

    pub(super) fn n(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }
}

impl Scaler {
    pub(super) fn of(x: &Matrix) -> Self {
        let n = x.n().max(1) as f64;
        let mut mean = vec![0.0; x.columns];
        for row in x.rows() {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value / n);
        }
        let mut sd = vec![0.0; x.columns];
        for row in x.rows() {
            for ((sd, value), mean) in sd.iter_mut().zip(row).zip(&mean) {
                *sd += (value - mean).powi(2) / n;
            }
        }
        // A column that never changes tells nothing; it becomes 0.
        sd.iter_mut().for_each(|sd| *sd = if *sd > 1e-12 { sd.sqrt() } else { f64::INFINITY });
        Scaler { mean, sd }
    }

    pub(super) fn apply(&self, x: &Matrix) -> Matrix {
        let scaled = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(&self.mean).zip(&self.sd).map(|((x, m), sd)| (x - m) / sd).collect()
        };
        Matrix { columns: x.columns, values: x.rows().flat_map(scaled).collect() }
    }
}

/// A linear function: weights, and the intercept behind them.
pub(super) type Weights = Vec<f64>;

/// The function's value at a row.
pub(super) fn at(weights: &[f64], row: &[f64]) -> f64 {
    let dot: f64 = weights.iter().zip(row).map(|(w, x)| w * x).sum();
    dot + weights.get(row.len()).copied().unwrap_or(0.0)
}

/// Weighted Gram matrix of [x, 1], and [x, 1]ᵀ of `targets`, one a column.
fn normal(x: &Matrix, w: &dyn Fn(usize) -> f64, targets: &[&[f64]]) -> (Vec<f64>, Vec<Vec<f64>>) {
    let d = x.columns + 1;
    let mut gram = vec![0.0; d * d];
    let mut right = vec![vec![0.0; d]; targets.len()];
    let mut row = vec![1.0; d];
    for (i, values) in x.rows().enumerate() {
        row[..x.columns].copy_from_slice(values);
        let weight = w(i);
        for (a, line) in gram.chunks_exact_mut(d).enumerate() {
            let scaled = weight * row[a];
            if scaled != 0.0 {
                line[..=a].iter_mut().zip(&row).for_each(|(g, value)| *g += scaled * value);
            }
        }
        for (right, target) in right.iter_mut().zip(targets) {
            right.iter_mut().zip(&row).for_each(|(r, value)| *r += target[i] * value);
        }
    }
    (gram, right)
}

/// Solves the symmetric positive definite system whose lower triangle is `a`; `None` if it is not.
fn cholesky(mut a: Vec<f64>, right: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let d = a.len().isqrt();
    for i in 0..d {
        for j in 0..=i {
            let (upper, lower) = a.split_at_mut(i * d);
            let line = &mut lower[..d];
            let dot: f64 = match i == j {
                true => line[..j].iter().map(|x| x * x).sum(),
                false => line[..j].iter().zip(&upper[j * d..j * d + j]).map(|(x, y)| x * y).sum(),
            };
            let left = line[j] - dot;
            if i == j {
                if left <= 0.0 || !left.is_finite() {
                    return None;
                }
                line[j] = left.sqrt();
            } else {
                line[j] = left / upper[j * d + j];
            }
        }
    }
    let solve = |right: &Vec<f64>| {
        let mut x = right.clone();
        for i in 0..d {
            let dot: f64 = (0..i).map(|k| a[i * d + k] * x[k]).sum();
            x[i] = (x[i] - dot) / a[i * d + i];
        }
        for i in (0..d).rev() {
            let dot: f64 = (i + 1..d).map(|k| a[k * d + i] * x[k]).sum();
            x[i] = (x[i] - dot) / a[i * d + i];
        }
        x
    };
    Some(right.iter().map(solve).collect())
}

/// Least squares of each target on scaled columns, penalty `lambda` on every weight but the
/// intercept. `None` where the system cannot be solved.
pub(super) fn ridge(x: &Matrix, targets: &[&[f64]], lambda: f64) -> Option<Vec<Weights>> {
    let (mut gram, right) = normal(x, &|_| 1.0, targets);
    let d = x.columns + 1;
    (0..x.columns).for_each(|i| gram[i * d + i] += lambda);
    cholesky(gram, &right)
}

/// Logistic regression on scaled columns; `penalty[i]` holds weight i back. Newton's method, the
/// step halved until the loss falls.
pub(super) fn logistic(x: &Matrix, labels: &[bool], penalty: &[f64]) -> Option<Weights> {
    let d = x.columns + 1;
    let mut weights = vec![0.0; d];
    let mut last = loss(x, labels, penalty, &weights);
    for _ in 0..30 {
        let p: Vec<f64> = x.rows().map(|row| 1.0 / (1.0 + (-at(&weights, row)).exp())).collect();
        let off: Vec<f64> =
            p.iter().zip(labels).map(|(p, &y)| p - f64::from(u8::from(y))).collect();
        let (mut gram, mut right) = normal(x, &|i| (p[i] * (1.0 - p[i])).max(1e-9), &[&off]);
        for (i, &hold) in penalty.iter().enumerate() {
            gram[i * d + i] += hold;
            right[0][i] += hold * weights[i];
        }
        let step = cholesky(gram, &right)?.into_iter().next()?;
        let mut share = 1.0;
        let next = loop {
            let tried: Weights = weights.iter().zip(&step).map(|(w, s)| w - share * s).collect();
            let now = loss(x, labels, penalty, &tried);
            if now <= last || share < 1e-4 {
                break (tried, now);
            }
            share *= 0.5;
        };
        let gained = last - next.1;
        (weights, last) = next;
        if gained < 1e-7 * last.abs() {
            break;
        }
    }
    Some(weights)
}

/// Negative log likelihood with half the penalised squares.
fn loss(x: &Matrix, labels: &[bool], penalty: &[f64], weights: &[f64]) -> f64 {
    let held: f64 = penalty.iter().zip(weights).map(|(hold, w)| 0.5 * hold * w * w).sum();
    held + log_loss(x, labels, weights)
}

/// Σ log(1 + e^z) − y z.
pub(super) fn log_loss(x: &Matrix, labels: &[bool], weights: &[f64]) -> f64 {
    let one = |(row, &y): (&[f64], &bool)| {
        let z = at(weights, row);
        z.max(0.0) + (-z.abs()).exp().ln_1p() - if y { z } else { 0.0 }
    };
    x.rows().zip(labels).map(one).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::dice::{Dice, Purpose};

    #[test]
    fn regressions_find_what_made_the_data() {
        let mut dice = Dice::new(1, Purpose::Course, 0);
        let mut x = Matrix::new(3);
        let (mut y, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..4_000 {
            let row: [f64; 3] = std::array::from_fn(|_| dice.normal(0.0, 1.0));
            let z = 2.0 * row[0] - row[1] + 0.5;
            y.push(z + dice.normal(0.0, 0.1));
            labels.push(dice.chance(1.0 / (1.0 + (-z).exp())));
            x.push(&row);
        }
        let line = ridge(&x, &[&y], 1e-6).unwrap().remove(0);
        let curve = logistic(&x, &labels, &[1e-6; 3]).unwrap();
        for (weight, wanted) in [2.0, -1.0, 0.0, 0.5].into_iter().enumerate() {
            assert!((line[weight] - wanted).abs() < 0.02, "{line:?}");
            assert!((curve[weight] - wanted).abs() < 0.25, "{curve:?}");
        }
        let held = logistic(&x, &labels, &[1e4; 3]).unwrap();
        assert!(held[0].abs() < 0.3, "{held:?}");
    }

    #[test]
    fn a_column_that_never_changes_is_no_fault() {
        let mut x = Matrix::new(2);
        [[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]].iter().for_each(|row| x.push(row));
        let x = Scaler::of(&x).apply(&x);
        assert!(x.values.iter().all(|value| value.is_finite()));
        assert!(ridge(&x, &[&[1.0, 2.0, 3.0]], 0.1).is_some());
    }
}
