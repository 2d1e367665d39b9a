//! What the networks made of a film, kept for the next window of the same stay.

use burn::tensor::Tensor;
use lru::LruCache;

use crate::ids::Digest;
use crate::model::vae::Posterior;

/// Everything that depends on the film and the model only.
#[derive(Clone, Debug)]
pub struct FilmFeatures {
    /// Where Z_t0 lies, `[1, z, h, w]`, not scaled.
    pub posterior: Posterior,
    /// The image branch of each fusion model, `[1, features]`.
    pub mortality: Tensor<2>,
    pub phenotype: Tensor<2>,
}

impl FilmFeatures {
    fn bytes(&self) -> usize {
        let numbers = 2 * self.posterior.mean.shape().num_elements()
            + self.mortality.shape().num_elements()
            + self.phenotype.shape().num_elements();
        numbers * size_of::<f32>() + size_of::<Self>()
    }
}

/// Features by (film, model), the least recently used dropped first, bounded in bytes.
#[derive(Debug)]
pub struct FilmCache {
    entries: LruCache<(Digest, Digest), FilmFeatures>,
    bytes: usize,
    max_bytes: usize,
}

impl FilmCache {
    /// Holds features of at most `max_bytes` bytes; 0 keeps none.
    pub fn new(max_bytes: usize) -> Self {
        FilmCache { entries: LruCache::unbounded(), bytes: 0, max_bytes }
    }

    pub fn get(&mut self, film: Digest, model: Digest) -> Option<&FilmFeatures> {
        self.entries.get(&(film, model))
    }

    pub fn put(&mut self, film: Digest, model: Digest, features: FilmFeatures) {
        self.bytes += features.bytes();
        if let Some((_, old)) = self.entries.push((film, model), features) {
            self.bytes -= old.bytes();
        }
        while self.bytes > self.max_bytes {
            match self.entries.pop_lru() {
                Some((_, old)) => self.bytes -= old.bytes(),
                None => break,
            }
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Forgets everything, as after a panic that may have left it half changed.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn features() -> FilmFeatures {
        let device = Device::flex();
        FilmFeatures {
            posterior: Posterior {
                mean: Tensor::zeros([1, 4, 14, 14], &device),
                logvar: Tensor::zeros([1, 4, 14, 14], &device),
            },
            mortality: Tensor::zeros([1, 128], &device),
            phenotype: Tensor::zeros([1, 128], &device),
        }
    }

    #[test]
    fn the_bound_holds_and_the_oldest_goes_first() {
        let one = features().bytes();
        let model = Digest::of(b"model");
        let film = |n: u8| Digest::of(&[n]);
        let mut cache = FilmCache::new(3 * one);
        for n in 0..3 {
            cache.put(film(n), model, features());
        }
        assert!(cache.get(film(0), model).is_some());
        cache.put(film(0), model, features());
        assert_eq!((cache.len(), cache.bytes()), (3, 3 * one));
        cache.put(film(3), model, features());
        assert_eq!(cache.bytes(), 3 * one);
        assert!(cache.get(film(1), model).is_none(), "the least recently used was dropped");
        assert!(cache.get(film(0), model).is_some());
        assert!(cache.get(film(0), Digest::of(b"other model")).is_none());
    }

    #[test]
    fn no_room_keeps_nothing() {
        let mut cache = FilmCache::new(10);
        cache.put(Digest::of(b"f"), Digest::of(b"m"), features());
        assert!(cache.is_empty() && cache.bytes() == 0);
    }
}
