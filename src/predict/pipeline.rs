//! One window through the networks (`reference/ddl-cxr.md` 3.6 and 4.1): the last film is encoded,
//! a latent as of now is generated from it and the EHR since, and the fusion models score the two.
//!
//! Three variants are scored side by side, so that what the generated latent adds can be seen:
//! with the generated latent, with the film's own latent carried forward, and without any film.

use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

use super::cache::{FilmCache, FilmFeatures};
use super::worker::Score;
use crate::event::PreparedFilm;
use crate::event::dictionary::{Dictionary, DictionaryError};
use crate::event::risk::{Generation, N_PHENOTYPES, Probability, Scores};
use crate::ids::Digest;
use crate::model::config::{EHR_COLUMNS, FusionConfig, ImageFeatures};
use crate::model::film_input::{GreyImage, for_resnet, for_vae};
use crate::model::fusion::{Fusion, FusionInput};
use crate::model::{Artifact, Sampler};
use crate::ports::{Outcome, PredictionRequest};
use crate::series::grid::PREDICTION_BINS;
use crate::series::{Grid, GridSpan, Normaliser, hourly};

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
            latent: networks.vae.encode(vae_input).mean,
            mortality: branch(&networks.fusion_mortality, mortality)?,
            phenotype: branch(&networks.fusion_phenotype, phenotype)?,
        };
        self.cache.put(film.digest(), self.model_digest, features.clone());
        Some(features)
    }

    fn generate_from(&self, film: &FilmFeatures, request: &PredictionRequest) -> Generated {
        let networks = &self.model.networks;
        let span = GridSpan::generation(request.generation_start, request.ticket.t);
        let grid = self.grid(request, span, &self.model.normalisers.ldm);
        let n = grid.n_bins.min(networks.ehr.max_len());
        let context = networks.ehr.forward(self.rows(&grid, n, n), None).tokens;
        let reference = film.latent.clone().mul_scalar(self.model.config.diffusion.scale_factor);
        let shape = self.x_t.dims();
        let noise: Vec<Tensor<4>> = self
            .sampler
            .draw_noise(request.seed, shape.iter().product())
            .into_iter()
            .map(|noise| Tensor::from_data(TensorData::new(noise, shape), &self.device))
            .collect();
        let now = self.sampler.sample(self.x_t.clone(), &noise, |x, t| {
            let x = Tensor::cat(vec![x, reference.clone()], 1);
            networks.unet.forward(x, &[t], &context, None)
        });
        Generated { reference, now }
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

    fn fusion_ehr(&self, request: &PredictionRequest) -> FusionEhr {
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
        let present = [[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]];
        let present = Tensor::from_data(present, &self.device);
        self.logits(ehr, latent, film.mortality.clone(), film.phenotype.clone(), present)
    }

    fn without_film(&self, ehr: &FusionEhr) -> Vec<Logits> {
        let zeros = |config: &FusionConfig| Tensor::zeros([1, config.image_width()], &self.device);
        let mortality = zeros(&self.model.config.fusion_mortality);
        let phenotype = zeros(&self.model.config.fusion_phenotype);
        let present = Tensor::zeros([1, 2], &self.device);
        self.logits(ehr, self.x_t.zeros_like(), mortality, phenotype, present)
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
        let logits = self.with_film(&self.fusion_ehr(request), film, &generated);
        let carry_forward = self.mortality(logits.get(1));
        let ehr_only = self.mortality(logits.get(2));
        let scores = |variant: usize, generation| {
            let logits = logits.get(variant)?;
            Some(Scores {
                mortality: self.mortality(Some(logits))?,
                phenotypes: self.phenotypes(logits)?,
                carry_forward,
                ehr_only,
                generation,
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
        let logits = self.without_film(&self.fusion_ehr(request));
        let scores = logits.first().and_then(|logits| {
            let mortality = self.mortality(Some(logits))?;
            Some(Scores {
                mortality,
                phenotypes: self.phenotypes(logits)?,
                carry_forward: None,
                ehr_only: Some(mortality),
                generation: None,
            })
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
mod tests {
    use std::process::Command;

    use super::*;
    use crate::event::{FILM_SIDE, Sex};
    use crate::ids::{StayId, Ticket, VariableId};
    use crate::model::artifact::tests::random;
    use crate::model::weights::{tensors_of, with_tensors};
    use crate::series::{Row, StaticFacts};
    use crate::time::{EventTime, Span};

    /// A window `hours` after admission, with a heart rate every 20 minutes.
    fn window(hours: i64, film: Option<u8>) -> PredictionRequest {
        let admitted_at = EventTime::from_millis(1_000_000_000);
        let t = admitted_at + Span::hours(hours);
        let row = |i: i64| Row {
            at: admitted_at + Span::minutes(20 * i),
            variable: VariableId(7),
            value: 80.0 + (i % 11) as f64,
        };
        let pixels = |seed: u8| {
            let pixel = |i: usize| ((i / 3 + i / 224 * 7) as u8).wrapping_mul(seed);
            PreparedFilm::new((0..FILM_SIDE * FILM_SIDE).map(pixel).collect()).expect("film")
        };
        PredictionRequest {
            ticket: Ticket { stay: StayId(1), t, revision: 0 },
            epoch: 1,
            seed: 5,
            admitted_at,
            generation_start: t - Span::hours(12),
            rows: (0..hours * 3).map(row).collect(),
            static_facts: StaticFacts { age_years: 70, sex: Sex::Female },
            film: film.map(pixels),
        }
    }

    fn pipeline(model: Artifact) -> Pipeline {
        Pipeline::new(model, Device::flex(), 1 << 20).expect("pipeline")
    }

    #[test]
    fn a_window_with_a_film_is_scored_three_ways() {
        let mut pipeline = pipeline(random(3));
        let Outcome::Scored(scores) = pipeline.score(&window(48, Some(1))) else {
            panic!("not scored");
        };
        let generation = scores.generation.expect("generated");
        assert_eq!(generation.evaluations as usize, pipeline.sampler.evaluations());
        assert!(generation.latent_rms > 0.0);
        let variants = [Some(scores.mortality), scores.carry_forward, scores.ehr_only];
        let variants: Vec<f32> = variants.into_iter().flatten().map(Probability::get).collect();
        assert_eq!(variants.len(), 3);
        assert!(variants[0] != variants[1] && variants[1] != variants[2], "{variants:?}");
        assert_eq!(pipeline.cache().len(), 1);
    }

    #[test]
    fn without_a_film_the_ehr_alone_is_scored_and_said_so() {
        let mut pipeline = pipeline(random(3));
        for hours in [1, 20, 48, 100] {
            let outcome = pipeline.score(&window(hours, None));
            let Outcome::Degraded(scores, reason) = outcome else { panic!("{outcome:?}") };
            assert!(reason.contains("no film"));
            assert_eq!(scores.ehr_only, Some(scores.mortality));
            assert!(scores.carry_forward.is_none() && scores.generation.is_none());
        }
    }

    #[test]
    fn the_ehr_alone_does_not_see_the_film() {
        let mut pipeline = pipeline(random(3));
        let ehr_only = |outcome| match outcome {
            Outcome::Scored(scores) | Outcome::Degraded(scores, _) => {
                scores.ehr_only.expect("ehr only").get()
            }
            Outcome::Unscored(reason) => panic!("{reason}"),
        };
        let with = ehr_only(pipeline.score(&window(30, Some(3))));
        let without = ehr_only(pipeline.score(&window(30, None)));
        assert!((with - without).abs() < 1e-5, "{with} {without}");
    }

    /// Same bits in any order, from the cache or not, in a new pipeline or an old one.
    #[test]
    fn an_outcome_does_not_depend_on_what_was_scored_before() {
        let windows = [window(48, Some(1)), window(7, Some(2)), window(100, Some(1))];
        let fresh: Vec<Outcome> =
            windows.iter().map(|window| pipeline(random(3)).score(window)).collect();
        let mut shared = pipeline(random(3));
        for _ in 0..2 {
            for (window, want) in windows.iter().zip(&fresh).rev() {
                assert_eq!(&shared.score(window), want);
            }
        }
    }

    /// Prints an outcome's bits; run as a process of its own below.
    #[test]
    fn print_an_outcome() {
        println!("outcome {:?}", pipeline(random(3)).score(&window(48, Some(1))));
    }

    #[test]
    fn an_outcome_does_not_depend_on_the_number_of_threads() {
        let run = |threads: &str| {
            let out = Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "predict::pipeline::tests::print_an_outcome", "--nocapture"])
                .env("RAYON_NUM_THREADS", threads)
                .output()
                .expect("child");
            let text = String::from_utf8(out.stdout).expect("text");
            let start = text.find("outcome ").expect("an outcome");
            text[start..].lines().next().map(str::to_owned)
        };
        let one = run("1");
        assert!(one.as_ref().is_some_and(|line| line.contains("Scored")), "{one:?}");
        assert_eq!(one, run("4"));
    }

    #[test]
    fn a_latent_that_is_no_number_does_not_silence_the_rest() {
        let mut model = random(3);
        let mut tensors = tensors_of(&model.networks);
        let bias = tensors.get_mut("unet.out.2.bias").expect("the last bias");
        bias.values.fill(f32::MAX);
        model.networks = with_tensors(model.networks, &tensors).expect("fits");
        let outcome = pipeline(model).score(&window(48, Some(1)));
        let Outcome::Degraded(scores, reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("latent"), "{reason}");
        assert_eq!(Some(scores.mortality), scores.carry_forward);
        assert!(scores.generation.is_none());
    }

    #[test]
    fn latents_decode_to_pictures() {
        let mut pipeline = pipeline(random(3));
        assert!(pipeline.generate(&window(48, None)).is_none());
        let latents = pipeline.generate(&window(48, Some(1))).expect("film");
        let image = pipeline.decode(latents.now);
        assert_eq!((image.side, image.pixels.len()), (112, 112 * 112));
    }

    /// Milliseconds on a CPU that this process has used, all threads together: unlike the clock's,
    /// they mean something on a busy machine. Linux only.
    fn cpu_ms() -> f64 {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let nanoseconds = tasks.filter_map(|task| {
            let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
            line.split(' ').next()?.parse::<f64>().ok()
        });
        nanoseconds.sum::<f64>() / 1e6
    }

    /// CPU milliseconds of each stage:
    /// `cargo test --release --lib stages -- --ignored --nocapture`.
    #[test]
    #[ignore = "prints times, checks nothing"]
    fn stages() {
        let mut pipeline = pipeline(random(3));
        let window = window(48, Some(1));
        let best = |name: &str, run: &mut dyn FnMut()| {
            let time = |run: &mut dyn FnMut()| {
                let start = cpu_ms();
                run();
                cpu_ms() - start
            };
            let best = (0..20).map(|_| time(run)).fold(f64::MAX, f64::min);
            println!("{name}: {best:.2} CPU ms");
        };
        let film = window.film.clone().expect("film");
        best("film: encode, two image branches", &mut || {
            pipeline.cache.clear();
            let features = pipeline.film_features(&film).expect("features");
            features.latent.into_data();
        });
        let features = pipeline.film_features(&film).expect("features");
        best("generate", &mut || {
            pipeline.generate_from(&features, &window).now.into_data();
        });
        let latents = pipeline.generate_from(&features, &window);
        best("grid", &mut || {
            pipeline.fusion_ehr(&window);
        });
        let ehr = pipeline.fusion_ehr(&window);
        best("two fusions, three variants", &mut || {
            pipeline.with_film(&ehr, &features, &latents);
        });
        best("whole window, film cached", &mut || {
            pipeline.score(&window);
        });
        best("decode", &mut || {
            pipeline.decode(latents.now.clone());
        });
        for name in ["vae.", "unet.", "ehr.", "fusion_mortality.", "fusion_phenotype.", ""] {
            let tensors = tensors_of(&pipeline.model.networks);
            let count: usize = tensors
                .iter()
                .filter(|(key, _)| key.starts_with(name))
                .map(|(_, tensor)| tensor.values.len())
                .sum();
            println!("{name}* {count} numbers");
        }
    }
}
