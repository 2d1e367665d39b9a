//! Training: the three stages of DDL-CXR (`reference/ddl-cxr.md` 2-4) as flat loops, from samples
//! to a model directory.
//!
//! Everything is seeded; a run given in steps repeats bit for bit on one CPU type. A run given in
//! seconds makes as many as it can and reports how many those were.

mod batch;
mod calibrate;
mod card;
pub mod dataset;
mod fusion;
mod ldm;
mod optimise;
mod pace;
mod pictures;
pub mod sample;
pub mod score;
mod vae;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Serialize;
use thiserror::Error;

use crate::event::dictionary::Profile;
use crate::event::risk::Doubt;
use crate::model::artifact::{
    About, Artifact, ArtifactError, Networks, Normalisers, Parts, draw_noise,
};
use crate::model::config::{ConfigError, Task};
use crate::model::weights::WeightsError;
use crate::model::{DdlCxrConfig, Fusion, Vae};

pub use calibrate::{Recalibrated, recalibrate};
pub use fusion::{Discrimination, FusionScore};
pub use ldm::LdmScore;
pub use pace::{Budget, Progress};
pub use vae::VaeScore;

use fusion::Windows;
use ldm::{Generator, Ldm};
use pace::{Log, Pace};
use sample::{Samples, Splits, WindowSample};

/// Films and pairs on which the first two stages are scored, at most.
const SCORED: usize = 400;
/// As the calibration names its data.
const WARD: &str = "the synthetic ward";

/// What to train, on what, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    pub name: String,
    pub version: String,
    pub config: DdlCxrConfig,
    /// Stays of the synthetic ward: 60 % to train on, 12 % to validate, the rest to test.
    pub patients: u64,
    /// Of the ward, of the networks, of batches and of noise.
    pub seed: u64,
    pub vae: Budget,
    /// A model whose autoencoder is taken instead of training one; of the same sizes. Where the
    /// same ward and seed made it, it has not seen the test stays either.
    pub autoencoder: Option<PathBuf>,
    pub ldm: Budget,
    /// Of each of the two tasks.
    pub fusion: Budget,
    /// The command line that a reader would repeat; printed in the card.
    pub command: String,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct TrainSummary {
    pub seed: u64,
    pub patients: u64,
    /// Stays, films, pairs and windows of training, validation and test.
    pub stays: [u64; 3],
    pub films: [usize; 3],
    pub pairs: [usize; 3],
    pub windows: [usize; 3],
    /// Steps of autoencoder (0 where it was taken), diffusion, mortality and phenotypes.
    pub steps: [u64; 4],
    pub seconds: f64,
    pub scale_factor: f64,
    pub vae: VaeScore,
    pub ldm: LdmScore,
    /// At 48 h after admission, the published landmark; `None` when nobody of the test set died.
    pub landmark: Option<FusionScore>,
    /// At any hour.
    pub any_hour: Option<FusionScore>,
    pub phenotype_auroc: f64,
}

/// Why nothing was trained.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error("there is nothing to train on: {0}; ask for more patients")]
    TooFew(&'static str),
    #[error("{0}")]
    Data(String),
    #[error("{0} diverged at step {1}; lower the learning rate or try another seed")]
    Diverged(String, u64),
    #[error("cannot write {path}: {error}; check the disk and the folder's rights")]
    Write { path: String, error: std::io::Error },
    #[error("cannot write the log of the run: {0}; check the disk")]
    Log(std::io::Error),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

impl TrainError {
    fn write(path: &Path, error: std::io::Error) -> Self {
        TrainError::Write { path: path.display().to_string(), error }
    }
}

/// Trains all three stages on the synthetic ward and writes a model directory, with the run's log
/// and its pictures in `training/` beside the model's own files.
///
/// # Errors
/// [`TrainError::Config`] for sizes that do not fit, [`TrainError::TooFew`] for too small a ward,
/// [`TrainError::Diverged`] when a loss is not finite any more, the others for files.
pub fn train_all(
    options: &TrainOptions,
    out: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<TrainSummary, TrainError> {
    options.config.check()?;
    let mut from_ward = |done: u64, all: u64| {
        report(Progress {
            stage: "ward".to_owned(),
            step: done,
            steps: all,
            steps_per_second: 0.0,
            eta_seconds: 0.0,
            losses: Vec::new(),
        });
    };
    let splits = dataset::from_ward(options.seed, options.patients, &mut from_ward)?;
    train_on(options, splits, out, report)
}

/// The same on samples from elsewhere.
///
/// # Errors
/// As [`train_all`].
pub fn train_on(
    options: &TrainOptions,
    mut splits: Splits,
    out: &Path,
    report: &mut dyn FnMut(Progress),
) -> Result<TrainSummary, TrainError> {
    options.config.check()?;
    enough(&splits)?;
    let started = std::time::Instant::now();
    let folder = out.join("training");
    std::fs::create_dir_all(&folder).map_err(|error| TrainError::write(&folder, error))?;
    let mut log = Log::create(&folder.join("log.jsonl"))?;
    let (ldm, prediction) = splits.train.normalisers();
    for part in [&mut splits.train, &mut splits.validate, &mut splits.test] {
        part.normalise(&ldm, &prediction);
    }
    let normalisers = Normalisers { ldm, prediction };
    let device = Device::flex();
    device.seed(options.seed);
    let mut run = Run { options, splits: &splits, device, log: &mut log, report, folder: &folder };
    let (parts, mut summary) = run.stages(normalisers)?;
    summary.seconds = started.elapsed().as_secs_f64();
    log.line(&summary)?;
    let card = card::card(options, &summary);
    Artifact::new(Parts { card, ..parts })?.save(out)?;
    Ok(summary)
}

fn enough(splits: &Splits) -> Result<(), TrainError> {
    let lacks = |part: &Samples| part.pairs.is_empty() || part.windows.is_empty();
    if [&splits.train, &splits.validate, &splits.test].into_iter().any(lacks) {
        return Err(TrainError::TooFew("a split has no pair of films or no window"));
    }
    let died = splits.train.windows.iter().filter(|window| window.died).count();
    if died == 0 || died == splits.train.windows.len() {
        return Err(TrainError::TooFew("the training stays all ended the same way"));
    }
    Ok(())
}

struct Run<'a> {
    options: &'a TrainOptions,
    splits: &'a Splits,
    device: Device,
    log: &'a mut Log,
    report: &'a mut dyn FnMut(Progress),
    folder: &'a Path,
}

impl Run<'_> {
    /// All stages in order; each is scored on the test split before the next begins.
    fn stages(&mut self, normalisers: Normalisers) -> Result<(Parts, TrainSummary), TrainError> {
        let (options, splits, device) = (self.options, self.splits, self.device.clone());
        let mut config = options.config.clone();
        let (vae, vae_steps, vae_score) = self.autoencoder(&config)?;
        let mut latents = [&splits.train, &splits.validate, &splits.test]
            .map(|part| vae::encode(&vae, &config, &part.films, &device));
        config.diffusion.scale_factor = vae::scale(&latents[0]);
        let scale = config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().flatten().for_each(|x| *x *= scale);

        let pace = Pace::new("ldm", options.ldm, self.log, self.report);
        let (ldm, ldm_steps) =
            ldm::train(&config, options, &splits.train, &latents[0], &device, pace)?;
        let noise = draw_noise(&config, options.seed);
        let generator = Generator {
            config: &config,
            unet: &ldm.unet,
            ehr: &ldm.ehr,
            noise: &noise,
            device: &device,
        };
        let ldm_score = ldm::score(&generator, &vae, &splits.test, &latents[2], SCORED);
        let path = self.folder.join("generations.png");
        pictures::generations(&generator, &vae, &splits.test, &latents[2], &path)?;

        let windows = [
            Windows::new(&splits.train, &latents[0], &generator),
            Windows::new(&splits.validate, &latents[1], &generator),
            Windows::new(&splits.test, &latents[2], &generator),
        ];
        let (mortality, mortality_steps) = self.fusion(&config, Task::Mortality, &windows)?;
        let (phenotype, phenotype_steps) = self.fusion(&config, Task::Phenotype, &windows)?;
        let [_, validate, test] = &windows;
        let fusions = [&mortality, &phenotype];
        let calibration = calibrate::fit(&config, validate, fusions, WARD, &device);
        let summary = TrainSummary {
            steps: [vae_steps, ldm_steps, mortality_steps, phenotype_steps],
            scale_factor: config.diffusion.scale_factor,
            landmark: fusion::score_mortality(&mortality, &config, test, &device, at_landmark),
            any_hour: fusion::score_mortality(&mortality, &config, test, &device, |_| true),
            phenotype_auroc: fusion::score_phenotypes(
                &phenotype,
                &config,
                test,
                &device,
                at_landmark,
            ),
            ..self.sizes(vae_score, ldm_score)
        };
        let Ldm { unet, ehr } = ldm;
        let networks =
            Networks { vae, unet, ehr, fusion_mortality: mortality, fusion_phenotype: phenotype };
        let about = about(options);
        let card = String::new();
        Ok((Parts { config, networks, noise, normalisers, calibration, about, card }, summary))
    }

    fn autoencoder(&mut self, config: &DdlCxrConfig) -> Result<(Vae, u64, VaeScore), TrainError> {
        let (splits, device) = (self.splits, &self.device);
        let (vae, steps) = match &self.options.autoencoder {
            Some(dir) => {
                let model = Artifact::load(dir, device)?;
                if model.config.vae != config.vae {
                    let dir = dir.display();
                    let fault = format!("the autoencoder of {dir} has other sizes; train one");
                    return Err(TrainError::Data(fault));
                }
                (model.networks.vae, 0)
            }
            None => {
                let pace = Pace::new("vae", self.options.vae, self.log, self.report);
                vae::train(config, self.options, &splits.train, device, pace)?
            }
        };
        let score = vae::score(&vae, config, &splits.test, SCORED, device);
        let path = self.folder.join("reconstructions.png");
        pictures::reconstructions(&vae, &config.vae, &splits.test, device, &path)?;
        Ok((vae, steps, score))
    }

    fn fusion(
        &mut self,
        config: &DdlCxrConfig,
        task: Task,
        [train, validate, _]: &[Windows<'_>; 3],
    ) -> Result<(Fusion, u64), TrainError> {
        let name = match task {
            Task::Mortality => "fusion_mortality",
            Task::Phenotype => "fusion_phenotype",
        };
        let pace = Pace::new(name, self.options.fusion, self.log, self.report);
        fusion::train(config, self.options, task, train, validate, &self.device, pace)
    }

    /// What is known before the fusion models are.
    fn sizes(&self, vae: VaeScore, ldm: LdmScore) -> TrainSummary {
        let parts = [&self.splits.train, &self.splits.validate, &self.splits.test];
        TrainSummary {
            seed: self.options.seed,
            patients: self.options.patients,
            stays: parts.map(|part| part.stays),
            films: parts.map(|part| part.films.len()),
            pairs: parts.map(|part| part.pairs.len()),
            windows: parts.map(|part| part.windows.len()),
            steps: [0; 4],
            seconds: 0.0,
            scale_factor: 1.0,
            vae,
            ldm,
            landmark: None,
            any_hour: None,
            phenotype_auroc: f64::NAN,
        }
    }
}

fn at_landmark(window: &WindowSample) -> bool {
    window.t_h == 48.0
}

fn about(options: &TrainOptions) -> About {
    About {
        name: options.name.clone(),
        version: options.version.clone(),
        trained_on: format!(
            "a synthetic ward of {} stays (seed {}); no real patient and no real film",
            options.patients, options.seed
        ),
        doubts: vec![Doubt::NotValidated, Doubt::SyntheticTraining],
        profile: Profile::Clinical,
        any_hour: true,
    }
}

#[cfg(test)]
mod tests {
    use super::fusion::Latent;
    use super::*;
    use crate::ports::Outcome;
    use crate::predict::{Pipeline, Score};

    /// Sizes at which a step takes milliseconds.
    fn tiny() -> DdlCxrConfig {
        let mut config = DdlCxrConfig::demo();
        config.vae.ch = 8;
        (config.unet.model_channels, config.unet.num_head_channels) = (16, 16);
        config.diffusion.steps = 3;
        config
    }

    fn trained(dir: &Path) -> Artifact {
        let options = TrainOptions {
            name: "test".to_owned(),
            version: "0".to_owned(),
            config: tiny(),
            patients: 26,
            seed: 4,
            vae: Budget::Steps(3),
            autoencoder: None,
            ldm: Budget::Steps(3),
            fusion: Budget::Steps(3),
            command: "test".to_owned(),
        };
        let mut said = 0;
        let summary = train_all(&options, dir, &mut |_| said += 1).unwrap();
        assert!(said > 5);
        assert!(summary.vae.absolute_error.is_finite() && summary.scale_factor > 0.0);
        Artifact::load(dir, &Device::flex()).unwrap()
    }

    /// The whole way in small: every stage steps, the model directory loads, and the same again
    /// gives the same bits.
    #[test]
    fn a_small_ward_gives_a_model_that_loads_and_repeats() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = trained(first.path());
        assert!(first.path().join("training/reconstructions.png").exists());
        assert!(first.path().join("training/generations.png").exists());
        assert!(model.about.doubts.contains(&Doubt::SyntheticTraining));
        assert!(model.card.contains("synthetic ward only"));
        assert_eq!(model.digest(), trained(second.path()).digest());
        what_was_trained_is_what_is_served(model);
    }

    /// A window scored as training scores it, and as the service does: the same probability.
    fn what_was_trained_is_what_is_served(model: Artifact) {
        let device = Device::flex();
        let stay = (0..).find(|&number| {
            let stay = crate::synth::stay(8, number, 224).unwrap();
            let early = stay.films.iter().any(|film| film.acquired_at.hour() < 40);
            early && stay.discharged_at.hour() > 50
        });
        let (mut samples, request) = dataset::tests::served(8, stay.unwrap());
        samples.normalise(&model.normalisers.ldm, &model.normalisers.prediction);
        let networks = &model.networks;
        let mut latents = vae::encode(&networks.vae, &model.config, &samples.films, &device);
        let scale = model.config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().for_each(|x| *x *= scale);
        let generator = Generator {
            config: &model.config,
            unet: &networks.unet,
            ehr: &networks.ehr,
            noise: &model.noise,
            device: &device,
        };
        let windows = Windows::new(&samples, &latents, &generator);
        let fusion = &networks.fusion_mortality;
        let ours = [Latent::Generated, Latent::Carried, Latent::None].map(|which| {
            let logits =
                windows.logits(fusion, &model.config, Task::Mortality, &[0], which, &device);
            model.calibration.mortality.probability(logits[0])
        });
        let mut pipeline = Pipeline::new(model, device, 1 << 20).unwrap();
        let Outcome::Scored(scores) = pipeline.score(&request) else { panic!("not scored") };
        let theirs = [Some(scores.mortality), scores.carry_forward, scores.ehr_only];
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            let theirs = theirs.unwrap().get();
            assert!((ours - theirs).abs() < 1e-4, "training {ours}, service {theirs}");
        }
    }
}
