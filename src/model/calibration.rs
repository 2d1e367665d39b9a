//! From the fusion's logits to probabilities that mean what they say (Platt scaling), and how well
//! that is known.

use serde::{Deserialize, Serialize};

use crate::event::risk::N_PHENOTYPES;

/// p = sigmoid(a · logit + b).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recalibration {
    pub a: f64,
    pub b: f64,
    /// Covariance of (a, b) over stays, from which an interval of the probability follows: the
    /// logit a · x + b has the variance x² · c₀₀ + 2 x · c₀₁ + c₁₁. `None` where no fit gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariance: Option<[[f64; 2]; 2]>,
}

/// How logits become probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// What the recalibration was fitted on, or that there is none.
    pub fitted_on: String,
    pub mortality: Recalibration,
    /// In the order of the phenotype list.
    pub phenotypes: Vec<Recalibration>,
}

/// The 97.5 % point of the normal distribution.
const NORMAL_97_5: f64 = 1.959_963_985;

impl Recalibration {
    pub const IDENTITY: Recalibration = Recalibration { a: 1.0, b: 0.0, covariance: None };

    /// The probability of a logit; NaN if the logit is.
    pub fn probability(self, logit: f32) -> f32 {
        let x = self.a * f64::from(logit) + self.b;
        (1.0 / (1.0 + (-x).exp())) as f32
    }

    /// The 95 % interval of that probability (delta method on the logit); `None` where the
    /// covariance is not known or the logit is no number.
    pub fn interval(self, logit: f32) -> Option<[f32; 2]> {
        let [[aa, ab], [_, bb]] = self.covariance?;
        let x = f64::from(logit);
        let half = NORMAL_97_5 * (x * x * aa + 2.0 * x * ab + bb).max(0.0).sqrt();
        let centre = self.a * x + self.b;
        let ends = [centre - half, centre + half];
        let sound = ends.iter().all(|end| end.is_finite());
        sound.then(|| ends.map(|end| (1.0 / (1.0 + (-end).exp())) as f32))
    }

    fn is_sound(self) -> bool {
        let covers = self.covariance.is_none_or(|[[aa, ab], [ba, bb]]| {
            let finite = [aa, ab, ba, bb].iter().all(|x| x.is_finite());
            finite && aa >= 0.0 && bb >= 0.0 && ab == ba
        });
        self.a.is_finite() && self.b.is_finite() && covers
    }
}

impl Calibration {
    /// Logits as they are, and a line that says so.
    pub fn identity() -> Self {
        Calibration {
            fitted_on: "nothing: probabilities are the model's own, not calibrated".to_owned(),
            mortality: Recalibration::IDENTITY,
            phenotypes: vec![Recalibration::IDENTITY; N_PHENOTYPES],
        }
    }

    pub(super) fn is_sound(&self) -> bool {
        self.phenotypes.len() == N_PHENOTYPES
            && self.mortality.is_sound()
            && self.phenotypes.iter().all(|output| output.is_sound())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibration_is_a_logistic_map() {
        assert_eq!(Recalibration::IDENTITY.probability(0.0), 0.5);
        let steep = Recalibration { a: 2.0, b: -1.0, covariance: None };
        assert!((f64::from(steep.probability(0.5)) - 0.5).abs() < 1e-7);
        assert!(Recalibration::IDENTITY.probability(f32::NAN).is_nan());
        assert_eq!(Recalibration::IDENTITY.probability(200.0), 1.0);
    }

    #[test]
    fn an_interval_is_that_of_the_logit() {
        let known = Recalibration { a: 2.0, b: -1.0, covariance: Some([[0.25, 0.0], [0.0, 0.0]]) };
        let [low, high] = known.interval(2.0).expect("covariance");
        // a · x + b = 3, its standard deviation 2 · 0.5 = 1.
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!((f64::from(low) - sigmoid(3.0 - 1.96)).abs() < 1e-5);
        assert!((f64::from(high) - sigmoid(3.0 + 1.96)).abs() < 1e-5);
        assert_eq!(known.interval(f32::NAN), None);
        assert_eq!(Recalibration::IDENTITY.interval(0.0), None);
    }
}
