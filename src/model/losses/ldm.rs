//! The loss of the latent diffusion model (`reference/ddl-cxr.md` 3.4).
//!
//! With the noise ε, the network's answer e to the EHR's tokens E and its answer e′ to the tokens
//! perturbed by noise, E′ = E/2 + ξ/2, at the same noisy latent and timestep t:
//!
//! 1. denoising   L_diff = mean (ε − e)²
//! 2. contrastive L_con  = mean_b (1 − ᾱ_t) · mean_chw max(0, (ε − e)² − (ε − e′)² + α)
//! 3. auxiliary   L_aux  = mean BCE(findings | CLS)
//! 4. sum         L = L_diff + λ₁ · epoch / ramp · L_con + λ₂ · L_aux
//!
//! Where the network is trained to predict a velocity, that stands for ε throughout
//! ([`Schedule::target`](super::super::Schedule::target)).

use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::binary_cross_entropy;

/// The weights of the loss. The published ones are the default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ldm {
    /// λ₁, the weight of the contrastive term at the end of its ramp.
    pub contrastive: f64,
    /// α, the margin of the contrastive term.
    pub margin: f64,
    /// λ₂, the weight of the auxiliary term.
    pub auxiliary: f64,
    /// Epochs in which the contrastive weight rises from 0; 0 has the full weight at once.
    pub ramp_epochs: f64,
    /// Share of noise in the perturbed tokens.
    pub perturbation: f64,
}

/// The three terms, `[1]` each, not yet weighted.
#[derive(Clone, Debug)]
pub struct LdmTerms {
    pub denoising: Tensor<1>,
    pub contrastive: Tensor<1>,
    /// None where the EHR encoder has no label head.
    pub auxiliary: Option<Tensor<1>>,
}

impl Default for Ldm {
    fn default() -> Self {
        Ldm { contrastive: 1.0, margin: 0.2, auxiliary: 1.4, ramp_epochs: 200.0, perturbation: 0.5 }
    }
}

impl Ldm {
    /// λ₁ at an epoch, which may be a fraction: a line from 0 to the full weight, then level.
    pub fn contrastive_weight(&self, epoch: f64) -> f64 {
        let share = if self.ramp_epochs > 0.0 { epoch / self.ramp_epochs } else { 1.0 };
        self.contrastive * share.clamp(0.0, 1.0)
    }

    /// E′, the tokens mixed with standard normal noise of their shape, `[batch, tokens, width]`.
    pub fn perturbed(&self, tokens: Tensor<3>, noise: Tensor<3>) -> Tensor<3> {
        let share = self.perturbation;
        tokens.mul_scalar(1.0 - share).add(noise.mul_scalar(share))
    }

    /// Equation (4) at an epoch. Without an auxiliary term that is left out.
    pub fn total(&self, terms: &LdmTerms, epoch: f64) -> Tensor<1> {
        let weight = self.contrastive_weight(epoch);
        let loss = terms.denoising.clone().add(terms.contrastive.clone().mul_scalar(weight));
        match &terms.auxiliary {
            Some(auxiliary) => loss.add(auxiliary.clone().mul_scalar(self.auxiliary)),
            None => loss,
        }
    }
}

/// Equation (1), `[1]`. Both are `[batch, channels, h, w]`.
pub fn denoising(target: Tensor<4>, predicted: Tensor<4>) -> Tensor<1> {
    target.sub(predicted).square().mean()
}

/// The hinge of equation (2) before its weight: one mean for each sample, `[batch]`. The hinge
/// is taken of each entry, before the mean, and the gradient runs through both answers.
///
/// All three are `[batch, channels, h, w]`; `perturbed` is the answer e′.
pub fn hinge(
    target: Tensor<4>,
    predicted: Tensor<4>,
    perturbed: Tensor<4>,
    margin: f64,
) -> Tensor<1> {
    let near = target.clone().sub(predicted).square();
    let far = target.sub(perturbed).square();
    let hinge = relu(near.sub(far).add_scalar(margin));
    let batch = hinge.dims()[0];
    hinge.flatten::<2>(1, 3).mean_dim(1).reshape([batch])
}

/// Equation (2), `[1]`. `weights` holds 1 − ᾱ of each sample's timestep
/// ([`Schedule::contrastive_weight`](super::super::Schedule::contrastive_weight)), `batch` long.
pub fn contrastive(
    target: Tensor<4>,
    predicted: Tensor<4>,
    perturbed: Tensor<4>,
    weights: Vec<f32>,
    margin: f64,
) -> Tensor<1> {
    let hinge = hinge(target, predicted, perturbed, margin);
    let data = TensorData::new(weights, hinge.dims());
    let weights = Tensor::from_data(data, &hinge.device());
    hinge.mul(weights).mean()
}

/// Equation (3), `[1]`: the findings of the later film, read off the EHR alone. `logits` and
/// `labels` are `[batch, findings]`.
pub fn auxiliary(logits: Tensor<2>, labels: Tensor<2>) -> Tensor<1> {
    binary_cross_entropy(logits, labels, None).mean()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::super::config::DdlCxrConfig;
    use super::super::super::layers::gaussian;
    use super::super::super::schedule::Schedule;
    use super::*;

    fn noise(seed: u64) -> Tensor<4> {
        let data = TensorData::new(gaussian(seed, 2 * 4 * 9), [2, 4, 3, 3]);
        Tensor::from_data(data, &Device::flex())
    }

    fn value(x: Tensor<1>) -> f64 {
        f64::from(x.into_scalar::<f32>())
    }

    /// `reference/ddl-cxr.md` 8.4.
    #[test]
    fn without_a_perturbation_the_hinge_is_the_margin() {
        let schedule = Schedule::new(&DdlCxrConfig::full().diffusion);
        let weights = schedule.contrastive_weight(&[100, 900]);
        let mean = f64::from(weights[0] + weights[1]) / 2.0;
        let loss = contrastive(noise(1), noise(2), noise(2), weights, 0.2);
        assert!((value(loss) - 0.2 * mean).abs() < 1e-7);
    }

    #[test]
    fn the_ramp_starts_at_nothing_and_ends_level() {
        let loss = Ldm::default();
        assert_eq!(loss.contrastive_weight(0.0), 0.0);
        assert!((loss.contrastive_weight(67.0) - 0.335).abs() < 1e-12);
        assert_eq!(loss.contrastive_weight(500.0), 1.0);
        assert_eq!(Ldm { ramp_epochs: 0.0, ..loss }.contrastive_weight(0.0), 1.0);
    }

    #[test]
    fn both_answers_have_a_gradient() {
        let device = Device::flex().autodiff();
        let active = |seed| Tensor::from_inner(noise(seed)).require_grad();
        let (near, far): (Tensor<4>, Tensor<4>) = (active(2), active(3));
        assert!(near.device().is_autodiff() && device.is_autodiff());
        let target = Tensor::from_inner(noise(1));
        let loss = contrastive(target, near.clone(), far.clone(), vec![1.0, 0.5], 0.2);
        let gradients = loss.backward();
        let size = |x: Option<Tensor<4>>| x.map(|x| x.abs().sum().into_scalar::<f32>());
        assert!(size(near.grad(&gradients)).is_some_and(|sum| sum > 0.0));
        assert!(size(far.grad(&gradients)).is_some_and(|sum| sum > 0.0));
    }

    #[test]
    fn the_weights_are_read_from_json_and_default_to_the_published() {
        let read: Ldm = serde_json::from_str(r#"{"auxiliary": 0.5}"#).expect("json");
        assert_eq!(read, Ldm { auxiliary: 0.5, ..Ldm::default() });
        assert!(serde_json::from_str::<Ldm>(r#"{"auxilary": 0.5}"#).is_err());
    }
}
