//! The one source of chance: a seeded generator, so that a run is its seed.

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Clone, Debug)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Another stream for each purpose, so that a change of one leaves the others as they were.
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose);
        Dice(rng)
    }

    pub fn chance(&mut self, p: f64) -> bool {
        p > 0.0 && self.0.random_bool(p)
    }

    /// `from` ≤ number < `to`.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        self.0.random_range(from..to.max(from + 1))
    }

    /// 0 ≤ number < `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.random_range(0..n.max(1))
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        list.shuffle(&mut self.0);
    }
}
