//! One window looked at in many ways, for evaluation: sampled by other samplers, with another
//! stay's EHR, from another film. What the window itself fixes is computed once.

use burn::tensor::Tensor;

use super::{FusionEhr, PRESENT, Pipeline};
use crate::event::PreparedFilm;
use crate::film::to_film_side;
use crate::model::Sampler;
use crate::model::config::{ImageFeatures, SamplerKind};
use crate::model::film_input::{GreyImage, for_resnet};
use crate::ports::PredictionRequest;
use crate::predict::cache::FilmFeatures;

/// What a window fixes, whatever the sampler.
pub struct Prepared {
    film: FilmFeatures,
    /// The posterior mean of the last film, scaled.
    reference: Tensor<4>,
    context: Tensor<3>,
    ehr: FusionEhr,
}

/// A latent as the model scores and shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// Calibrated probability of in-hospital death.
    pub mortality: f64,
    /// Scaled, row by row.
    pub latent: Vec<f32>,
    pub picture: GreyImage,
}

/// A latent, read by more than the fusion model.
#[derive(Clone, Debug, PartialEq)]
pub struct Portrait {
    pub glance: Glance,
    /// Logits of the autoencoder's findings head; none if it has no head.
    pub findings: Vec<f32>,
    /// The mortality model's image branch, shown the picture as if it were a film.
    pub features: Vec<f64>,
}

impl Pipeline {
    /// `None` without a film.
    pub fn prepare(&mut self, request: &PredictionRequest) -> Option<Prepared> {
        let film = self.film_features(request.film.as_ref()?)?;
        let scale = self.model.config.diffusion.scale_factor;
        Some(Prepared {
            reference: film.posterior.mean.clone().mul_scalar(scale),
            context: self.context(request),
            ehr: self.fusion_grid(request),
            film,
        })
    }

    /// A sampler for the model's noise schedule; η counts for DDIM only.
    pub fn sampler(&self, kind: SamplerKind, steps: usize, eta: f64) -> Sampler {
        let mut config = self.model.config.diffusion.clone();
        (config.sampler, config.steps, config.eta) = (kind, steps, eta);
        Sampler::new(&config)
    }

    /// The latent that `sampler`, or else the model's own, makes for the window; with the EHR of
    /// `other` if that is given.
    pub fn sampled(
        &self,
        window: &Prepared,
        other: Option<&PredictionRequest>,
        sampler: Option<&Sampler>,
        seed: u64,
    ) -> Tensor<4> {
        let swapped = other.map(|other| self.context(other));
        let context = swapped.as_ref().unwrap_or(&window.context);
        self.walk(sampler.unwrap_or(&self.sampler), &window.reference, context, seed)
    }

    /// The last film's own latent.
    pub fn carried(&self, window: &Prepared) -> Tensor<4> {
        window.reference.clone()
    }

    /// The latent of another film, such as the one that would have been taken now.
    pub fn latent_of(&mut self, film: &PreparedFilm) -> Option<Tensor<4>> {
        let mean = self.film_features(film)?.posterior.mean;
        Some(mean.mul_scalar(self.model.config.diffusion.scale_factor))
    }

    /// What the window's own film and EHR make of a latent; `None` if that is no number.
    pub fn glance(&self, window: &Prepared, latent: Tensor<4>) -> Option<Glance> {
        let present = Tensor::from_data([PRESENT], &self.device);
        let (mortality, phenotype) = (window.film.mortality.clone(), window.film.phenotype.clone());
        let logits = self.logits(&window.ehr, latent.clone(), mortality, phenotype, present);
        let mortality = f64::from(self.mortality(logits.first())?.get());
        let picture = self.decode(latent.clone());
        let latent = latent.into_data().try_into_vec().unwrap_or_default();
        Some(Glance { mortality, latent, picture })
    }

    /// The same with what findings and features the model sees in it.
    pub fn portrait(&self, window: &Prepared, latent: Tensor<4>) -> Option<Portrait> {
        let scale = self.model.config.diffusion.scale_factor;
        let glance = self.glance(window, latent.clone())?;
        let findings = self.model.networks.vae.findings(latent.div_scalar(scale));
        let findings = findings.and_then(|f| f.into_data().try_into_vec().ok()).unwrap_or_default();
        let GreyImage { side, pixels } = &glance.picture;
        let features = self.features(&to_film_side(pixels, *side, *side)?)?;
        Some(Portrait { glance, findings, features })
    }

    /// What the mortality model's image branch makes of 224 × 224 pixels.
    pub fn features(&self, pixels: &[u8]) -> Option<Vec<f64>> {
        let ImageFeatures::ResNet(config) = &self.model.config.fusion_mortality.image_features
        else {
            return None;
        };
        let film = for_resnet(pixels, config, &self.device);
        let seen = self.model.networks.fusion_mortality.image_features(film)?;
        let values: Vec<f32> = seen.into_data().try_into_vec().ok()?;
        Some(values.into_iter().map(f64::from).collect())
    }
}
