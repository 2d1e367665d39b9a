//! The loss of the autoencoder (`reference/ddl-cxr.md` 2.2).
//!
//! With images x, reconstructions x̂, a batch of B, D the patch discriminator's logits and
//! w(a, b) = clamp(‖∇a‖ / (‖∇b‖ + 1e-4), 0, 1e4):
//!
//! 6. likelihood    L_nll = Σ (|x − x̂| + λ_p · perceptual(x, x̂)) / B, summed over all pixels
//! 7. distance      L_KL  = mean_b ½ Σ (μ² + σ² − 1 − log σ²)
//! 8. generator     L_adv = −mean D(x̂)
//! 9. discriminator L_D   = ½ (mean max(0, 1 − D(x)) + mean max(0, 1 + D(x̂)))
//! 10. findings     L_lab = mean BCE(findings | z)
//! 11. sum          L = L_nll + 1e-6 L_KL + \[step > 10 000\] ½ w(L_nll, L_adv) L_adv
//!     \+ w(L_nll, L_lab) L_lab, with the first w's gradients at the weight of the decoder's last
//!     convolution, the second's at that of the encoder's.
//!
//! burn keeps no graph after a backward pass, so the gradients of the two sides of w need forward
//! passes of their own: [`gradient_norm`] takes a loss and uses up its graph. For the decoder's
//! last convolution that pass is one convolution of detached features.

use burn::module::Param;
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::super::vae::Posterior;

/// Added to the gradient that w divides by.
const FLOOR: f64 = 1e-4;
/// Largest w.
const CEILING: f64 = 1e4;

/// The weights of the loss. The published ones are the default.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VaeLoss {
    /// λ_p, of the perceptual distance.
    pub perceptual: f64,
    pub kl: f64,
    /// Of the adversarial term, before its adaptive weight.
    pub adversarial: f64,
    /// Of the findings, before its adaptive weight.
    pub findings: f64,
    /// Steps before the discriminator counts.
    pub adversarial_from: u64,
}

/// The terms of the autoencoder's side, `[1]` each, not yet weighted.
#[derive(Clone, Debug)]
pub struct VaeTerms {
    pub nll: Tensor<1>,
    pub kl: Tensor<1>,
    /// L_adv and its w.
    pub adversarial: Option<(Tensor<1>, f64)>,
    /// L_lab and its w.
    pub findings: Option<(Tensor<1>, f64)>,
}

impl Default for VaeLoss {
    fn default() -> Self {
        VaeLoss {
            perceptual: 1.0,
            kl: 1e-6,
            adversarial: 0.5,
            findings: 1.0,
            adversarial_from: 10_000,
        }
    }
}

impl VaeLoss {
    /// Whether the discriminator counts at a step, both for itself and for the autoencoder.
    pub fn is_adversarial(&self, step: u64) -> bool {
        step > self.adversarial_from
    }

    /// Equation (6), `[1]`. Images are `[batch, channels, side, side]`; `perceptual` has one
    /// distance for each sample, `[batch]`, and counts once for every channel and pixel, as in
    /// the reference, where it is spread over the image before the sum.
    pub fn nll(
        &self,
        images: Tensor<4>,
        reconstructions: Tensor<4>,
        perceptual: Option<Tensor<1>>,
    ) -> Tensor<1> {
        let [batch, channels, height, width] = images.dims();
        let pixels = images.sub(reconstructions).abs().sum().div_scalar(batch as f64);
        match perceptual {
            Some(distance) => {
                let entries = (channels * height * width) as f64 * self.perceptual;
                pixels.add(distance.sum().mul_scalar(entries / batch as f64))
            }
            None => pixels,
        }
    }

    /// Equation (11). A term that is `None` is left out; the caller leaves the adversarial one
    /// out before its first step.
    pub fn total(&self, terms: &VaeTerms) -> Tensor<1> {
        let mut loss = terms.nll.clone().add(terms.kl.clone().mul_scalar(self.kl));
        for (term, weight) in
            [(&terms.adversarial, self.adversarial), (&terms.findings, self.findings)]
        {
            if let Some((term, adaptive)) = term {
                loss = loss.add(term.clone().mul_scalar(weight * adaptive));
            }
        }
        loss
    }
}

/// Equation (7), `[1]`.
pub fn kl(posterior: &Posterior) -> Tensor<1> {
    posterior.kl().mean()
}

/// Equation (8), `[1]`, from the discriminator's logits of reconstructions, any shape of rank 4.
pub fn generator(of_reconstructions: Tensor<4>) -> Tensor<1> {
    of_reconstructions.mean().neg()
}

/// Equation (9), `[1]`: a hinge that is satisfied where images are above 1 and reconstructions
/// below −1. The caller detaches the reconstructions.
pub fn discriminator(of_images: Tensor<4>, of_reconstructions: Tensor<4>) -> Tensor<1> {
    let real = relu(of_images.neg().add_scalar(1.0)).mean();
    let fake = relu(of_reconstructions.add_scalar(1.0)).mean();
    real.add(fake).mul_scalar(0.5)
}

/// w(a, b) from the norms of the two gradients. A norm that is not finite gives 0: a step without
/// the term does less harm than one of unknown size.
pub fn adaptive_weight(nll_norm: f64, term_norm: f64) -> f64 {
    let weight = nll_norm / (term_norm + FLOOR);
    if weight.is_finite() { weight.clamp(0.0, CEILING) } else { 0.0 }
}

/// The norm of a loss's gradient with respect to a parameter; 0 if the loss does not depend on it.
/// Uses up the graph of `loss`: another backward pass through any part of it panics, so the loss
/// must come from a forward pass made for this.
pub fn gradient_norm<const D: usize>(loss: Tensor<1>, at: &Param<Tensor<D>>) -> f64 {
    let gradients = loss.backward();
    let Some(gradient) = at.val().grad(&gradients) else { return 0.0 };
    let norm: Option<f32> = gradient.square().sum().sqrt().try_into_scalar().ok();
    norm.map_or(f64::NAN, f64::from)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::super::super::layers::{Conv2d, Init, gaussian};
    use super::*;

    fn noise(seed: u64, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(gaussian(seed, 2 * 3 * 16), [2, 3, 4, 4]), device)
    }

    fn value(x: Tensor<1>) -> f64 {
        f64::from(x.into_scalar::<f32>())
    }

    #[test]
    fn a_discriminator_that_is_right_by_a_margin_loses_nothing() {
        let ones = Tensor::<4>::ones([2, 1, 3, 3], &Device::flex());
        let (real, fake) = (ones.clone().mul_scalar(1.5), ones.clone().mul_scalar(-2.0));
        assert_eq!(value(discriminator(real.clone(), fake.clone())), 0.0);
        assert_eq!(value(discriminator(fake.clone(), real)), 0.5 * (3.0 + 2.5));
        assert_eq!(value(generator(fake)), 2.0);
    }

    #[test]
    fn a_perceptual_distance_counts_for_every_pixel() {
        let device = Device::flex();
        let (x, y) = (noise(1, &device), noise(2, &device));
        let loss = VaeLoss::default();
        let plain = value(loss.nll(x.clone(), y.clone(), None));
        let distance = Tensor::from_data([0.5, 1.5], &device);
        let with = value(loss.nll(x, y, Some(distance)));
        assert!((with - plain - 48.0).abs() < 1e-3, "{plain} {with}");
    }

    #[test]
    fn an_adaptive_weight_is_held_in_its_range() {
        assert!((adaptive_weight(2.0, 0.5) - 2.0 / 0.5001).abs() < 1e-12);
        assert_eq!(adaptive_weight(1e9, 0.0), CEILING);
        assert_eq!(adaptive_weight(0.0, 3.0), 0.0);
        assert_eq!(adaptive_weight(f64::NAN, 3.0), 0.0);
    }

    #[test]
    fn a_gradients_norm_is_that_of_its_definition() {
        let device = Device::flex().autodiff();
        let conv = Conv2d::new(3, 2, 1, &mut Init::seeded(1, &device));
        let x = noise(1, &device);
        // Of the sum of all outputs the gradient is the sum of the inputs, the same for each
        // output channel.
        let inputs: Vec<f32> = x.clone().inner().into_data().try_into_vec().expect("f32");
        let sum = |c: usize| -> f64 {
            let of = |n: usize| inputs[(n * 3 + c) * 16..][..16].iter().map(|x| f64::from(*x));
            of(0).chain(of(1)).sum()
        };
        let want = (2.0 * (0..3).map(|c| sum(c).powi(2)).sum::<f64>()).sqrt();
        let got = gradient_norm(conv.forward(x).sum(), &conv.weight);
        assert!((got - want).abs() < 1e-4 * want, "{got} {want}");
        let other = Conv2d::new(3, 2, 1, &mut Init::seeded(2, &device));
        assert_eq!(gradient_norm(conv.forward(noise(2, &device)).sum(), &other.weight), 0.0);
    }
}
