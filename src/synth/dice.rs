//! Seeded chance. Every draw of the synthetic ward comes from a stream that is named by the seed,
//! the patient and the purpose, so that adding a draw for one purpose moves no other.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a stream of draws is for. The number is part of the stream's name: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Patient = 1,
    Course = 2,
    Outcome = 3,
    Charting = 4,
    Labs = 5,
    FilmTimes = 6,
    Anatomy = 7,
    Film = 8,
    Codes = 9,
    RowOrder = 10,
    Arrivals = 11,
    Labels = 12,
    /// The courses of the proof's ward.
    Swings = 13,
    Oracle = 14,
}

/// One named stream of draws.
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of `purpose` for item `index` under `seed`. `index` is a patient's number, or
    /// whatever else tells two streams of one purpose apart.
    pub fn new(seed: u64, purpose: Purpose, index: u64) -> Self {
        let mut key = [0u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&(purpose as u64).to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        Dice(ChaCha8Rng::from_seed(key))
    }

    /// Uniform in [low, high).
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    /// Gaussian, by Box and Muller's transform.
    pub fn normal(&mut self, mean: f64, sd: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        mean + sd * radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    /// Log-normal by its median and the standard deviation of its logarithm.
    pub fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        median * self.normal(0.0, sigma).exp()
    }

    /// Time to the next event of a Poisson process with this mean time between events.
    pub fn waiting(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.0.random::<f64>()).ln()
    }

    /// An index below `n`; 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// An index drawn in proportion to `weights`; 0 when there are none.
    pub fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.between(0.0, weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return i;
            }
        }
        weights.len().saturating_sub(1)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let draw = |seed, purpose, index| Dice::new(seed, purpose, index).between(0.0, 1.0);
        assert_eq!(draw(1, Purpose::Film, 2), draw(1, Purpose::Film, 2));
        assert_ne!(draw(1, Purpose::Film, 2), draw(1, Purpose::Film, 3));
        assert_ne!(draw(1, Purpose::Film, 2), draw(1, Purpose::Labs, 2));
        assert_ne!(draw(1, Purpose::Film, 2), draw(2, Purpose::Film, 2));
    }

    #[test]
    fn normals_have_their_moments() {
        let mut dice = Dice::new(3, Purpose::Patient, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| dice.normal(2.0, 3.0)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let var = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean - 2.0).abs() < 0.1 && (var.sqrt() - 3.0).abs() < 0.1, "{mean} {var}");
    }
}
