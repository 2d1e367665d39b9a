//! One window through the networks (`reference/ddl-cxr.md` 3.6 and 4.1): the last film is encoded,
//! a latent as of now is generated from it and the EHR since, and the fusion models score the two.
//!
//! Three variants are scored side by side, so that what the generated latent adds can be seen:
//! with the generated latent, with the film's own latent carried forward, and without any film.

mod attribution;
mod study;

use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

use crate::event::PreparedFilm;
use crate::event::dictionary::{Dictionary, DictionaryError};
use crate::event::risk::{Generation, Interval, N_PHENOTYPES, Probability, Scores};
use crate::ids::Digest;
use crate::model::config::{EHR_COLUMNS, FusionConfig, ImageFeatures};
use crate::model::film_input::{GreyImage, for_resnet, for_vae};
use crate::model::fusion::{Fusion, FusionInput};
use crate::model::{Artifact, Defects, Recalibration, Sampler};
use crate::ports::{Outcome, PredictionRequest};
use crate::predict::cache::{FilmCache, FilmFeatures};
use crate::predict::worker::Score;
use crate::series::grid::PREDICTION_BINS;
use crate::series::{Grid, GridSpan, Normaliser, hourly};
use attribution::Shown;

pub use study::{Glance, Portrait, Prepared};

/// Why no pipeline can be made of a model.
#[derive(Debug, Error)]
pub enum PredictError {
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    #[error("the model takes image features from outside; give it an image branch")]
    NoImageBranch,
}

/// The networks of one model, ready to score windows one at a time.
pub struct Pipeline {
    model: Artifact,
    model_digest: Digest,
    dictionary: Dictionary,
    sampler: Sampler,
    device: Device,
    /// Those of the published code that the model's profile repeats.
    defects: Defects,
    cache: FilmCache,
    x_t: Tensor<4>,
}

/// A generated latent, and the film's own.
#[derive(Clone, Debug)]
pub struct Generated {
    /// Z_t0, the film as the autoencoder sees it, `[1, z, h, w]`, scaled as the sampler works.
    pub reference: Tensor<4>,
    /// Z_t, generated as of the window's end.
    pub now: Tensor<4>,
}

/// Latent and film count, or neither does (see [`FusionInput::present`]).
const PRESENT: [f32; 2] = [1.0, 1.0];
const ABSENT: [f32; 2] = [0.0, 0.0];

/// Logits of one variant.
struct Logits {
    mortality: f32,
    phenotypes: Vec<f32>,
}

/// The EHR as the fusion models take it.
struct FusionEhr {
    values: Tensor<3>,
    keep: Tensor<2>,
}

impl Pipeline {
    /// `cache_bytes` bounds the films' features that are kept.
    pub fn new(model: Artifact, device: Device, cache_bytes: usize) -> Result<Self, PredictError> {
        let fusions = [&model.config.fusion_mortality, &model.config.fusion_phenotype];
        if fusions.iter().any(|f| matches!(f.image_features, ImageFeatures::Given(_))) {
            return Err(PredictError::NoImageBranch);
        }
        let (side, z) = (model.config.vae.latent_side(), model.config.vae.z_channels);
        let x_t = TensorData::new(model.noise.clone(), [1, z, side, side]);
        Ok(Pipeline {
            model_digest: model.digest(),
            dictionary: Dictionary::builtin(model.about.profile)?,
            sampler: Sampler::new(&model.config.diffusion),
            x_t: Tensor::from_data(x_t, &device),
            cache: FilmCache::new(cache_bytes),
            defects: Defects::of(model.about.profile),
            device,
            model,
        })
    }

    pub fn model(&self) -> &Artifact {
        &self.model
    }

    pub fn cache(&self) -> &FilmCache {
        &self.cache
    }

    /// The latents of a window, for pictures before and after; `None` without a film.
    pub fn generate(&mut self, request: &PredictionRequest) -> Option<Generated> {
        let film = request.film.as_ref()?;
        let features = self.film_features(film)?;
        Some(self.generate_from(&features, request))
    }

    /// The picture of a latent that the sampler made. Not a radiograph: for showing only.
    pub fn decode(&self, latent: Tensor<4>) -> GreyImage {
        let scale = self.model.config.diffusion.scale_factor;
        GreyImage::from_tensor(self.model.networks.vae.decode(latent.div_scalar(scale)))
    }

    /// What depends on the film only, from the cache or made now.
    fn film_features(&mut self, film: &PreparedFilm) -> Option<FilmFeatures> {
        if let Some(features) = self.cache.get(film.digest(), self.model_digest) {
            return Some(features.clone());
        }
        let networks = &self.model.networks;
        let config = &self.model.config;
        let vae_input = for_vae(film.pixels(), &config.vae, &self.device);
        let branch = |fusion: &Fusion, features: &ImageFeatures| match features {
            ImageFeatures::Given(_) => None,
            ImageFeatures::ResNet(resnet) => {
                fusion.image_features(for_resnet(film.pixels(), resnet, &self.device))
            }
        };
        let mortality = &config.fusion_mortality.image_features;
        let phenotype = &config.fusion_phenotype.image_features;
        let features = FilmFeatures {
            posterior: networks.vae.encode(vae_input),
            mortality: branch(&networks.fusion_mortality, mortality)?,
            phenotype: branch(&networks.fusion_phenotype, phenotype)?,
        };
        self.cache.put(film.digest(), self.model_digest, features.clone());
        Some(features)
    }

    fn generate_from(&self, film: &FilmFeatures, request: &PredictionRequest) -> Generated {
        let context = self.context(request);
        let reference = self.defects.reference_latent(&film.posterior, request.seed);
        let reference = reference.mul_scalar(self.model.config.diffusion.scale_factor);
        let now = self.walk(&self.sampler, &reference, &context, request.seed);
        Generated { reference, now }
    }

    /// The tokens of the EHR that the generation reads, `[1, 1 + hours, width]`.
    fn context(&self, request: &PredictionRequest) -> Tensor<3> {
        let ehr = &self.model.networks.ehr;
        let (start, t) = (request.generation_start, request.ticket.t);
        let span = self.defects.generation_span(start, t, request.admitted_at);
        let grid = self.grid(request, span, &self.model.normalisers.ldm);
        let n = grid.n_bins.min(ehr.max_len());
        ehr.forward(self.rows(&grid, n, n), None).tokens
    }

    /// From the model's noise to a latent, with the noise on the way from `seed`.
    fn walk(
        &self,
        sampler: &Sampler,
        reference: &Tensor<4>,
        context: &Tensor<3>,
        seed: u64,
    ) -> Tensor<4> {
        let shape = self.x_t.dims();
        let noise: Vec<Tensor<4>> = sampler
            .draw_noise(seed, shape.iter().product())
            .into_iter()
            .map(|noise| Tensor::from_data(TensorData::new(noise, shape), &self.device))
            .collect();
        sampler.sample(self.x_t.clone(), &noise, |x, t| {
            let x = Tensor::cat(vec![x, reference.clone()], 1);
            self.model.networks.unet.forward(x, &[t], context, None)
        })
    }

    /// What the networks read of a window's series, scaled: the generation's hours and the
    /// prediction's.
    pub fn hours(&self, request: &PredictionRequest) -> [Grid; 2] {
        let normalisers = &self.model.normalisers;
        let generation = GridSpan::generation(request.generation_start, request.ticket.t);
        let prediction = GridSpan::prediction(request.admitted_at, request.ticket.t);
        [
            self.grid(request, generation, &normalisers.ldm),
            self.grid(request, prediction, &normalisers.prediction),
        ]
    }

    fn grid(&self, request: &PredictionRequest, span: GridSpan, scale: &Normaliser) -> Grid {
        let mut grid = hourly(&request.rows, span, request.static_facts, &self.dictionary);
        scale.apply(&mut grid);
        grid
    }

    /// The first `n` bins of a grid and zeros up to `padded`, `[1, padded, 79]`.
    fn rows(&self, grid: &Grid, n: usize, padded: usize) -> Tensor<3> {
        let used = grid.values.iter().take(n * EHR_COLUMNS).map(|&value| value as f32);
        let mut values: Vec<f32> = used.collect();
        values.resize(padded * EHR_COLUMNS, 0.0);
        Tensor::from_data(TensorData::new(values, [1, padded, EHR_COLUMNS]), &self.device)
    }

    fn fusion_grid(&self, request: &PredictionRequest) -> FusionEhr {
        let span = GridSpan::prediction(request.admitted_at, request.ticket.t);
        let grid = self.grid(request, span, &self.model.normalisers.prediction);
        let n = grid.n_bins.min(PREDICTION_BINS);
        let keep: Vec<f32> = (0..PREDICTION_BINS).map(|bin| f32::from(bin < n)).collect();
        let keep = TensorData::new(keep, [1, PREDICTION_BINS]);
        FusionEhr {
            values: self.rows(&grid, n, PREDICTION_BINS),
            keep: Tensor::from_data(keep, &self.device),
        }
    }

    /// Logits of the variants: generated, carried forward, without film.
    fn with_film(&self, ehr: &FusionEhr, film: &FilmFeatures, latents: &Generated) -> Vec<Logits> {
        let none = latents.reference.zeros_like();
        let latent = Tensor::cat(vec![latents.now.clone(), latents.reference.clone(), none], 0);
        let present = Tensor::from_data([PRESENT, PRESENT, ABSENT], &self.device);
        self.logits(ehr, latent, film.mortality.clone(), film.phenotype.clone(), present)
    }

    fn without_film(&self, ehr: &FusionEhr) -> (Shown, Vec<Logits>) {
        let zeros = |config: &FusionConfig| Tensor::zeros([1, config.image_width()], &self.device);
        let image_features = zeros(&self.model.config.fusion_mortality);
        let phenotype = zeros(&self.model.config.fusion_phenotype);
        let latent = self.x_t.zeros_like();
        let absent = Tensor::zeros([1, 2], &self.device);
        let logits = self.logits(ehr, latent.clone(), image_features.clone(), phenotype, absent);
        (Shown { latent, image_features, present: ABSENT }, logits)
    }

    /// What variant `n` of [`Pipeline::with_film`] showed the fusion for mortality.
    fn shown(&self, n: usize, film: &FilmFeatures, latents: &Generated) -> Shown {
        let (latent, present) = match n {
            0 => (latents.now.clone(), PRESENT),
            1 => (latents.reference.clone(), PRESENT),
            _ => (latents.reference.zeros_like(), ABSENT),
        };
        Shown { latent, image_features: film.mortality.clone(), present }
    }

    fn logits(
        &self,
        ehr: &FusionEhr,
        latent: Tensor<4>,
        mortality: Tensor<2>,
        phenotype: Tensor<2>,
        present: Tensor<2>,
    ) -> Vec<Logits> {
        let networks = &self.model.networks;
        let run = |fusion: &Fusion, image: Tensor<2>| -> Vec<f32> {
            let input = FusionInput {
                ehr: ehr.values.clone(),
                ehr_keep: Some(ehr.keep.clone()),
                latent: latent.clone(),
                image_features: image,
                present: Some(present.clone()),
            };
            fusion.forward_variants(input).into_data().try_into_vec().unwrap_or_default()
        };
        let mortality = run(&networks.fusion_mortality, mortality);
        let phenotypes = run(&networks.fusion_phenotype, phenotype);
        mortality
            .into_iter()
            .zip(phenotypes.chunks(N_PHENOTYPES))
            .map(|(mortality, row)| Logits { mortality, phenotypes: row.to_vec() })
            .collect()
    }

    /// What the calibration makes of one variant's logits; `None` unless all are numbers.
    fn scores(&self, logits: &Logits) -> Option<Scores> {
        let raw = Recalibration::IDENTITY.probability(logits.mortality);
        let interval = self.model.calibration.mortality.interval(logits.mortality);
        Some(Scores {
            mortality: self.mortality(Some(logits))?,
            mortality_raw: Probability::new(raw)?,
            mortality_interval: interval.and_then(|[low, high]| {
                Interval::new(Probability::new(low)?, Probability::new(high)?)
            }),
            phenotypes: self.phenotypes(logits)?,
            carry_forward: None,
            ehr_only: None,
            generation: None,
            attribution: Vec::new(),
        })
    }

    fn mortality(&self, logits: Option<&Logits>) -> Option<Probability> {
        Probability::new(self.model.calibration.mortality.probability(logits?.mortality))
    }

    fn phenotypes(&self, logits: &Logits) -> Option<[Probability; N_PHENOTYPES]> {
        let all: Option<Vec<Probability>> = logits
            .phenotypes
            .iter()
            .zip(&self.model.calibration.phenotypes)
            .map(|(&logit, calibration)| Probability::new(calibration.probability(logit)))
            .collect();
        all?.try_into().ok()
    }

    fn score_with_film(&self, request: &PredictionRequest, film: &FilmFeatures) -> Outcome {
        let generated = self.generate_from(film, request);
        let rms = generated.now.clone().square().mean().sqrt();
        let latent_rms: f32 = rms.try_into_scalar().unwrap_or(f32::NAN);
        let ehr = self.fusion_grid(request);
        let logits = self.with_film(&ehr, film, &generated);
        let scores = |variant: usize, generation| {
            let scores = self.scores(logits.get(variant)?)?;
            let shown = self.shown(variant, film, &generated);
            Some(Scores {
                carry_forward: self.mortality(logits.get(1)),
                ehr_only: self.mortality(logits.get(2)),
                generation,
                attribution: self.attribution(request, &ehr, &shown, scores.mortality),
                ..scores
            })
        };
        let generation = Generation {
            evaluations: u32::try_from(self.sampler.evaluations()).unwrap_or(u32::MAX),
            seed: request.seed,
            latent_rms,
        };
        let sound = latent_rms.is_finite();
        if let Some(scores) = scores(0, Some(generation)).filter(|_| sound) {
            return Outcome::Scored(scores);
        }
        // A network that gave no number must not silence the ones that did.
        let fallbacks = [
            (1, "the generated latent gave no number; the last film's own was used instead"),
            (2, "the film gave no number; predicted from the EHR alone"),
        ];
        for (variant, reason) in fallbacks {
            if let Some(scores) = scores(variant, None) {
                return Outcome::Degraded(scores, reason.to_owned());
            }
        }
        Outcome::Unscored("the model gave no number for this window".to_owned())
    }

    fn score_without_film(&self, request: &PredictionRequest) -> Outcome {
        let ehr = self.fusion_grid(request);
        let (shown, logits) = self.without_film(&ehr);
        let scores = logits.first().and_then(|logits| self.scores(logits)).map(|scores| Scores {
            ehr_only: Some(scores.mortality),
            attribution: self.attribution(request, &ehr, &shown, scores.mortality),
            ..scores
        });
        match scores {
            Some(scores) => {
                let reason = "no film of the chest yet; predicted from the EHR alone";
                Outcome::Degraded(scores, reason.to_owned())
            }
            None => Outcome::Unscored("the model gave no number for this window".to_owned()),
        }
    }
}

impl Score for Pipeline {
    fn score(&mut self, request: &PredictionRequest) -> Outcome {
        let film = request.film.as_ref().and_then(|film| self.film_features(film));
        match film {
            Some(film) => self.score_with_film(request, &film),
            None => self.score_without_film(request),
        }
    }

    fn recover(&mut self) {
        self.cache.clear();
    }
}

#[cfg(test)]
mod tests;
