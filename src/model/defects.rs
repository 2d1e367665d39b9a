//! The published code's defects (`reference/ddl-cxr.md` 6.1), and which of them a profile repeats.
//!
//! Fixed by default and repeated by the profile `reference`:
//!
//! - B1, a relative start drops the first hours of the EHR: [`Defects::generation_span`].
//! - B3, padding is looked at and counted in batch statistics: [`Defects::encode`].
//! - B4, the findings head of the diffusion model never learns: [`Defects::findings_head`].
//! - B8, latents enter the diffusion unscaled: [`Defects::scale_factor`].
//! - B9, the starting noise is drawn anew and never saved: [`Defects::starting_noise`].
//! - B10, one random sample is a fixed feature: [`Defects::reference_latent`], [`Defects::eta`].
//! - B12, dead channels, urine pH and glucose, inches: the dictionary's profile.
//!
//! Fixed in both: B2 (the autoencoder's split is misnamed and its monitor not logged), B5 (pictures
//! are made with other weights than latents: here there is one set), B6 (switches of ablations do
//! nothing), B7 (generation reads the wrong file of the cohort: samples come from the replay).
//!
//! Kept in both: B11 (hours before admission have no EHR), B13 (a film younger than 12 h is
//! generated from EHR before it), B14 (phenotypes are codes of the whole admission), B15 (deaths by
//! date, age at anchor).
//!
//! B13 to B15 are kept because the published figures cannot be compared without them: a film
//! younger than 12 h is marked by a doubt of its own, and cohort labels are the paper's.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::config::DiffusionConfig;
use super::ehr_encoder::{EhrEncoder, Encoded, with_cls};
use super::layers::{Linear, gaussian};
use super::vae::Posterior;
use crate::event::dictionary::Profile;
use crate::series::{GridSpan, LegacyDrop};
use crate::time::EventTime;

/// Keeps the draw of a reference latent apart from the other draws of its ticket.
const LATENT_STREAM: u64 = 0x7a30_6c61_7465_6e74;

/// Which defects are repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defects {
    /// B1.
    pub early_hours_dropped: bool,
    /// B3.
    pub padding_seen: bool,
    /// B4.
    pub findings_head_frozen: bool,
    /// B8.
    pub latents_unscaled: bool,
    /// B9.
    pub noise_unsaved: bool,
    /// B10.
    pub one_random_sample: bool,
}

/// Tokens of the EHR and the mask that the denoising network is to have for them.
#[derive(Clone, Debug)]
pub struct Context {
    pub encoded: Encoded,
    /// `[batch, 1 + n]`, the CLS first; none where padding is looked at.
    pub keep: Option<Tensor<2>>,
}

impl Defects {
    /// None: what is wrong is put right.
    pub const FIXED: Defects = Defects {
        early_hours_dropped: false,
        padding_seen: false,
        findings_head_frozen: false,
        latents_unscaled: false,
        noise_unsaved: false,
        one_random_sample: false,
    };

    /// All that a comparison with the published code needs.
    pub const PUBLISHED: Defects = Defects {
        early_hours_dropped: true,
        padding_seen: true,
        findings_head_frozen: true,
        latents_unscaled: true,
        noise_unsaved: true,
        one_random_sample: true,
    };

    /// Those of a profile.
    pub const fn of(profile: Profile) -> Defects {
        match profile {
            Profile::Clinical => Defects::FIXED,
            Profile::Reference => Defects::PUBLISHED,
        }
    }

    /// B1: the span of the EHR that a latent is generated from.
    pub fn generation_span(
        &self,
        from: EventTime,
        to: EventTime,
        admitted_at: EventTime,
    ) -> GridSpan {
        let span = GridSpan::generation(from, to);
        match self.early_hours_dropped {
            true => span.with_legacy(LegacyDrop::On { admitted_at }),
            false => span,
        }
    }

    /// B3: a padded batch of EHR, encoded for the denoising network. `keep` is `[batch, n]`, 1 for
    /// hours and 0 for padding. As published, padding enters the batch statistics and may be
    /// looked at, so what becomes of a sample depends on its neighbours in the batch.
    pub fn encode(&self, encoder: &EhrEncoder, x: Tensor<3>, keep: &Tensor<2>) -> Context {
        match self.padding_seen {
            true => Context { encoded: encoder.forward_counting_padding(x, keep), keep: None },
            false => {
                Context { encoded: encoder.forward(x, Some(keep)), keep: Some(with_cls(keep)) }
            }
        }
    }

    /// B4: the head that reads findings off the EHR, as the optimiser is to have it. Frozen, it
    /// still passes a gradient on to the encoder.
    pub fn findings_head(&self, head: Linear) -> Linear {
        if self.findings_head_frozen { head.no_grad() } else { head }
    }

    /// B8: what latents of this standard deviation are multiplied by before the diffusion.
    pub fn scale_factor(&self, deviation: f64) -> f64 {
        let sound = deviation.is_finite() && deviation > 0.0;
        if self.latents_unscaled || !sound { 1.0 } else { 1.0 / deviation }
    }

    /// B9: x_T of one run of the program. As published it belongs to the run's seed and not to the
    /// model, so the same weights give other latents in another run.
    pub fn starting_noise(&self, of_model: &[f32], run_seed: u64) -> Vec<f32> {
        match self.noise_unsaved {
            true => gaussian(run_seed, of_model.len()),
            false => of_model.to_vec(),
        }
    }

    /// B10: Z_t0, `[batch, z, h, w]`, not scaled: the posterior's mean, or as published one sample
    /// of it, which is that of the ticket's seed.
    pub fn reference_latent(&self, posterior: &Posterior, seed: u64) -> Tensor<4> {
        if !self.one_random_sample {
            return posterior.mean.clone();
        }
        let shape = posterior.mean.dims();
        let noise = gaussian(seed ^ LATENT_STREAM, shape.iter().product());
        let noise = TensorData::new(noise, shape);
        posterior.sample(Tensor::from_data(noise, &posterior.mean.device()))
    }

    /// B10: η of the sampler for a feature of the fusion model.
    pub fn eta(&self, config: &DiffusionConfig) -> f64 {
        if self.one_random_sample { 1.0 } else { config.eta }
    }
}

#[cfg(test)]
mod tests;
