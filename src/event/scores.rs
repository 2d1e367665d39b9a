//! What a model says of one window: probabilities, how sure their calibration is, and what they
//! hang on.

use serde::{Deserialize, Serialize};

/// The number of phenotypes (`reference/ddl-cxr.md` 1.7).
pub const N_PHENOTYPES: usize = 25;

/// A number in 0..=1; never NaN.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Probability(f32);

/// What a model says of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// In-hospital death, calibrated.
    pub mortality: Probability,
    /// The same as the network gave it, before calibration.
    pub mortality_raw: Probability,
    /// `None` where the model's calibration does not say how sure it is.
    pub mortality_interval: Option<Interval>,
    /// In the order of the phenotype list.
    pub phenotypes: [Probability; N_PHENOTYPES],
    /// The same fusion with the last film's own latent instead of the generated one.
    pub carry_forward: Option<Probability>,
    /// The prediction without any film.
    pub ehr_only: Option<Probability>,
    /// How the latent was generated; `None` without a film.
    pub generation: Option<Generation>,
    /// The variables with which `mortality` moves most, strongest first.
    pub attribution: Vec<Contribution>,
}

/// 95 % interval of a calibrated probability: how well the model's calibration is known from the
/// stays it was fitted on. It does not say how far this patient may lie from others like him.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    low: Probability,
    high: Probability,
}

/// How an updated latent CXR came to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Generation {
    /// Network evaluations of the sampler.
    pub evaluations: u32,
    /// Seed of whatever noise the sampler drew.
    pub seed: u64,
    /// Root mean square of the latent.
    pub latent_rms: f32,
}

/// How the probability changes when the fusion is not shown one variable (occlusion): an
/// association inside this model, not a cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Code of the variable in the dictionary.
    pub variable: String,
    /// `mortality` less the probability without this variable, -1..=1.
    pub change: f32,
}

impl Generation {
    /// How far the latent lies from those of films, at least 0: |ln RMS|. Models trained here scale
    /// latents so that films have an RMS of about 1; an imported model that does not
    /// (`reference/ddl-cxr.md` 2.1) lies at another level throughout.
    pub fn ood_score(&self) -> f32 {
        self.latent_rms.ln().abs()
    }
}

impl Probability {
    /// `None` if NaN or outside 0..=1.
    pub fn new(p: f32) -> Option<Self> {
        (0.0..=1.0).contains(&p).then_some(Probability(p))
    }

    pub fn get(self) -> f32 {
        self.0
    }
}

impl Interval {
    /// `None` unless `low` ≤ `high`.
    pub fn new(low: Probability, high: Probability) -> Option<Self> {
        (low <= high).then_some(Interval { low, high })
    }

    pub fn low(self) -> Probability {
        self.low
    }

    pub fn high(self) -> Probability {
        self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_never_nan() {
        assert!(Probability::new(f32::NAN).is_none());
        assert!(Probability::new(1.0001).is_none());
        assert!(Probability::new(-0.0).is_some());
    }

    #[test]
    fn an_interval_is_in_order() {
        let p = |p| Probability::new(p).unwrap();
        assert!(Interval::new(p(0.2), p(0.1)).is_none());
        assert!(Interval::new(p(0.2), p(0.2)).is_some());
    }
}
