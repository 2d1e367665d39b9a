//! How far two sets of feature vectors lie apart: the Fréchet distance of the Gaussians fitted to
//! them, and the mean of the one-dimensional Wasserstein distances.
//!
//! A figure without its feature extractor means nothing: whoever reports one names the extractor
//! (`reference/ddl-cxr.md` 5.1).

use super::Undefined;

/// Sweeps after which Jacobi's method has long converged.
const SWEEPS: usize = 60;

/// Feature vectors, one row a sample.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    values: &'a [f64],
    dimensions: usize,
}

impl<'a> Features<'a> {
    /// `values` row by row, `dimensions` a row.
    ///
    /// # Errors
    /// [`Undefined::Empty`] without a value, [`Undefined::Lengths`] if the last row is not whole,
    /// [`Undefined::NotFinite`].
    pub fn new(values: &'a [f64], dimensions: usize) -> Result<Self, Undefined> {
        if values.is_empty() || dimensions == 0 {
            return Err(Undefined::Empty);
        }
        if !values.len().is_multiple_of(dimensions) {
            return Err(Undefined::Lengths);
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(Undefined::NotFinite);
        }
        Ok(Features { values, dimensions })
    }

    fn n(&self) -> usize {
        self.values.len() / self.dimensions
    }

    fn mean(&self) -> Vec<f64> {
        let mut mean = vec![0.0; self.dimensions];
        for row in self.values.chunks_exact(self.dimensions) {
            mean.iter_mut().zip(row).for_each(|(mean, value)| *mean += value);
        }
        mean.iter_mut().for_each(|mean| *mean /= self.n() as f64);
        mean
    }

    /// Sample covariance (n − 1), row by row.
    fn covariance(&self, mean: &[f64]) -> Square {
        let d = self.dimensions;
        let mut covariance = Square { d, values: vec![0.0; d * d] };
        for row in self.values.chunks_exact(d) {
            for i in 0..d {
                for j in 0..d {
                    covariance.values[i * d + j] += (row[i] - mean[i]) * (row[j] - mean[j]);
                }
            }
        }
        covariance.values.iter_mut().for_each(|value| *value /= (self.n() - 1) as f64);
        covariance
    }

    fn sorted_column(&self, column: usize) -> Vec<f64> {
        let mut values: Vec<f64> =
            self.values.iter().skip(column).step_by(self.dimensions).copied().collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½). The root's trace is taken from the eigenvalues of the
/// symmetric Σ₁^½ Σ₂ Σ₁^½, which are those of Σ₁Σ₂; cost grows with the cube of the dimensions.
///
/// # Errors
/// [`Undefined::Lengths`] if the dimensions differ, [`Undefined::TooFew`] with fewer than two
/// samples on a side.
pub fn frechet_distance(a: Features<'_>, b: Features<'_>) -> Result<f64, Undefined> {
    if a.dimensions != b.dimensions {
        return Err(Undefined::Lengths);
    }
    if a.n() < 2 || b.n() < 2 {
        return Err(Undefined::TooFew);
    }
    let (mean_a, mean_b) = (a.mean(), b.mean());
    let apart: f64 = mean_a.iter().zip(&mean_b).map(|(a, b)| (a - b).powi(2)).sum();
    let (cov_a, cov_b) = (a.covariance(&mean_a), b.covariance(&mean_b));
    let root = cov_a.root();
    let (values, _) = root.times(&cov_b).times(&root).eigen();
    let shared: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    Ok((apart + cov_a.trace() + cov_b.trace() - 2.0 * shared).max(0.0))
}

/// Mean over the dimensions of ∫ |F₁ − F₂|, F the empirical distributions.
///
/// # Errors
/// [`Undefined::Lengths`] if the dimensions differ.
pub fn mean_wasserstein(a: Features<'_>, b: Features<'_>) -> Result<f64, Undefined> {
    if a.dimensions != b.dimensions {
        return Err(Undefined::Lengths);
    }
    let one = |column| wasserstein(&a.sorted_column(column), &b.sorted_column(column));
    Ok((0..a.dimensions).map(one).sum::<f64>() / a.dimensions as f64)
}

/// Of two sorted samples.
fn wasserstein(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut sum) = (0, 0, 0.0);
    let mut at = f64::NAN;
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) => x,
            (None, Some(&y)) => y,
            (None, None) => break,
        };
        if !at.is_nan() {
            let apart = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
            sum += apart.abs() * (next - at);
        }
        at = next;
        while a.get(i) == Some(&next) {
            i += 1;
        }
        while b.get(j) == Some(&next) {
            j += 1;
        }
    }
    sum
}

/// A square matrix, row by row.
struct Square {
    d: usize,
    values: Vec<f64>,
}

impl Square {
    fn trace(&self) -> f64 {
        self.values.iter().step_by(self.d + 1).sum()
    }

    fn times(&self, other: &Square) -> Square {
        let d = self.d;
        let mut values = vec![0.0; d * d];
        for i in 0..d {
            for k in 0..d {
                let left = self.values[i * d + k];
                for j in 0..d {
                    values[i * d + j] += left * other.values[k * d + j];
                }
            }
        }
        Square { d, values }
    }

    /// The symmetric root of a positive semidefinite matrix; rounding below 0 counts as 0.
    fn root(&self) -> Square {
        let (values, vectors) = self.eigen();
        let d = self.d;
        let mut root = Square { d, values: vec![0.0; d * d] };
        for (k, value) in values.iter().enumerate() {
            let scale = value.max(0.0).sqrt();
            for i in 0..d {
                for j in 0..d {
                    root.values[i * d + j] +=
                        scale * vectors.values[i * d + k] * vectors.values[j * d + k];
                }
            }
        }
        root
    }

    /// Eigenvalues, and the eigenvectors as columns, of the symmetric part: Jacobi's rotations.
    fn eigen(&self) -> (Vec<f64>, Square) {
        let d = self.d;
        let at = |i: usize, j: usize| i * d + j;
        let mut m: Vec<f64> = self.values.clone();
        for i in 0..d {
            for j in 0..i {
                let mean = 0.5 * (m[at(i, j)] + m[at(j, i)]);
                (m[at(i, j)], m[at(j, i)]) = (mean, mean);
            }
        }
        let mut v = vec![0.0; d * d];
        (0..d).for_each(|i| v[at(i, i)] = 1.0);
        let scale: f64 = m.iter().map(|x| x * x).sum::<f64>();
        for _ in 0..SWEEPS {
            let off: f64 = (0..d)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| m[at(i, j)].powi(2))
                .sum();
            if off <= 1e-28 * scale {
                break;
            }
            for p in 0..d {
                for q in p + 1..d {
                    rotate(&mut m, &mut v, d, p, q);
                }
            }
        }
        ((0..d).map(|i| m[at(i, i)]).collect(), Square { d, values: v })
    }
}

/// One rotation that makes element (p, q) vanish.
fn rotate(m: &mut [f64], v: &mut [f64], d: usize, p: usize, q: usize) {
    let at = |i: usize, j: usize| i * d + j;
    let off = m[at(p, q)];
    if off == 0.0 {
        return;
    }
    let theta = (m[at(q, q)] - m[at(p, p)]) / (2.0 * off);
    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (t * t + 1.0).sqrt();
    let s = t * c;
    for k in 0..d {
        let (a, b) = (m[at(k, p)], m[at(k, q)]);
        (m[at(k, p)], m[at(k, q)]) = (c * a - s * b, s * a + c * b);
    }
    for k in 0..d {
        let (a, b) = (m[at(p, k)], m[at(q, k)]);
        (m[at(p, k)], m[at(q, k)]) = (c * a - s * b, s * a + c * b);
        let (a, b) = (v[at(k, p)], v[at(k, q)]);
        (v[at(k, p)], v[at(k, q)]) = (c * a - s * b, s * a + c * b);
    }
}
