//! Training: the three stages of DDL-CXR (`reference/ddl-cxr.md` 2-4), from samples to a model
//! directory.
//!
//! Samples come from a recording, replayed through the one loop ([`replayed`]), or straight from
//! the synthetic ward ([`dataset`]). Everything is seeded; a run given in steps repeats bit for bit
//! on one CPU type, also when it is stopped and goes on. A run given in seconds makes as many steps
//! as it can and reports how many those were.

mod batch;
mod calibrate;
mod card;
pub mod challenge;
mod checkpoint;
mod critic;
pub mod dataset;
mod fusion;
mod landmarks;
mod ldm;
mod learner;
mod optimise;
mod pace;
mod pictures;
mod proof;
mod reader;
pub mod recipe;
pub mod replayed;
mod run;
pub mod sample;
pub mod score;
mod stage;
mod store;
pub mod symptoms;
mod vae;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::model::artifact::ArtifactError;
use crate::model::config::ConfigError;
use crate::model::weights::WeightsError;

pub use calibrate::{Recalibrated, recalibrate};
pub use fusion::{Discrimination, FusionScore};
pub use ldm::LdmScore;
pub use learner::Optimiser;
pub use pace::Progress;
pub use proof::{Fewer, Judged, SeedProof, Trial, Twin, prove};
pub use recipe::Recipe;
pub use run::train_on;
pub use stage::Course;
pub use vae::VaeScore;

use sample::{Samples, Splits};

/// What to train, on what, for how long.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOptions {
    pub name: String,
    pub version: String,
    pub recipe: Recipe,
    /// Which stages.
    pub part: Part,
    /// Go on from what an earlier run left in the same directory.
    pub resume: bool,
    /// Of the networks, of batches and of noise.
    pub seed: u64,
    /// A model whose autoencoder is taken instead of training one; of the same sizes. Where the
    /// same ward and seed made it, it has not seen the test stays either.
    pub autoencoder: Option<PathBuf>,
    /// VGG16's weights under torchvision's names, for the perceptual term of the autoencoder's
    /// loss; without them it is left out.
    pub vgg: Option<PathBuf>,
    pub data: DataNote,
    /// The command line that a reader would repeat; printed in the card.
    pub command: String,
}

/// Which stages are trained. A later one needs what the earlier ones left in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Vae,
    Ldm,
    Fusion,
    All,
}

/// What the samples were made of, for the card and for telling one data set from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataNote {
    /// In words that end a sentence.
    pub whose: String,
    pub kind: DataKind,
}

/// How far a model trained on the data could speak of patients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Made by `nowcxr synth`.
    Synthetic,
    /// Real stays and real films that do not belong together.
    SimulatedPairing,
    Recorded,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct TrainSummary {
    pub seed: u64,
    pub data: String,
    /// Stays, films, pairs and windows of training, validation and test.
    pub stays: [u64; 3],
    pub films: [usize; 3],
    pub pairs: [usize; 3],
    pub windows: [usize; 3],
    /// Steps of autoencoder (0 where it was taken), diffusion, mortality and phenotypes.
    pub steps: [u64; 4],
    pub seconds: f64,
    pub scale_factor: f64,
    /// Digest of the VGG16 weights of the perceptual term; `None` where it was left out.
    pub perceptual: Option<String>,
    pub vae: VaeScore,
    /// `None` where the run ended before the stage.
    pub ldm: Option<LdmScore>,
    /// At 48 h after admission, the published landmark; `None` when nobody of the test set died.
    pub landmark: Option<FusionScore>,
    /// At any hour.
    pub any_hour: Option<FusionScore>,
    pub phenotype_auroc: Option<f64>,
}

/// What a run tells and asks while it runs.
pub struct Hooks<'a> {
    pub report: &'a mut dyn FnMut(Progress),
    /// Asked after each step with the stage and its steps; `true` writes a checkpoint and stops.
    pub stop: &'a dyn Fn(&str, u64) -> bool,
}

/// Why nothing was trained.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error("there is nothing to train on: {0}; ask for more patients")]
    TooFew(&'static str),
    #[error("{0}")]
    Data(String),
    #[error("the recipe cannot be used: {0}; compare it with nowcxr train --print-recipe")]
    Recipe(String),
    #[error("the recipe cannot be used: {0}; compare it with nowcxr train ehr --print-recipe")]
    EhrRecipe(String),
    #[error("{0} diverged at step {1}; lower the learning rate or try another seed")]
    Diverged(String, u64),
    #[error("stopped in {0} after step {1}; give the same command with --resume to go on")]
    Stopped(String, u64),
    #[error("{0} is not trained in this directory; run nowcxr train {0} with the same --out first")]
    Earlier(&'static str),
    #[error("the samples in {path} cannot be used: {fault}; run again, they are made anew")]
    Samples { path: String, fault: String },
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

impl Part {
    fn trains(self, stage: Part) -> bool {
        self == Part::All || self == stage
    }

    /// Whether the run ends before `stage`.
    fn ends_before(self, stage: Part) -> bool {
        let rank = |part: Part| match part {
            Part::Vae => 0,
            Part::Ldm => 1,
            Part::Fusion | Part::All => 2,
        };
        rank(self) < rank(stage)
    }
}

/// Trains on the synthetic ward of `seed` and writes a model directory, with the run's log and its
/// pictures in `training/` beside the model's own files.
///
/// # Errors
/// [`TrainError::Config`] for sizes that do not fit, [`TrainError::TooFew`] for too small a ward,
/// [`TrainError::Diverged`] when a loss is not finite any more, the others for files.
pub fn train_all(
    options: &TrainOptions,
    patients: u64,
    out: &Path,
    hooks: &mut Hooks<'_>,
) -> Result<TrainSummary, TrainError> {
    options.recipe.sizes().check()?;
    let mut from_ward = |done: u64, all: u64| (hooks.report)(Progress::part("ward", done, all));
    let splits = dataset::from_ward(options.seed, patients, &mut from_ward)?;
    train_on(options, splits, out, hooks)
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

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::fusion::{Latent, Whose, Windows};
    use super::ldm::{Conditions, Generator};
    use super::*;
    use crate::event::risk::Doubt;
    use crate::model::Artifact;
    use crate::model::config::Task;
    use crate::model::weights::write_safetensors;
    use crate::ports::Outcome;
    use crate::predict::{Pipeline, Score};

    /// A recipe whose steps take milliseconds.
    fn tiny(steps: u64) -> Recipe {
        let mut recipe = Recipe::parse("").unwrap();
        for course in [&mut recipe.vae.course, &mut recipe.ldm.course, &mut recipe.fusion.course] {
            course.steps = steps;
        }
        recipe
    }

    fn options(recipe: Recipe) -> TrainOptions {
        TrainOptions {
            name: "test".to_owned(),
            version: "0".to_owned(),
            recipe,
            part: Part::All,
            resume: false,
            seed: 4,
            autoencoder: None,
            vgg: None,
            data: DataNote { whose: "a test ward".to_owned(), kind: DataKind::Synthetic },
            command: "test".to_owned(),
        }
    }

    fn trained(dir: &Path) -> Artifact {
        let mut said = 0;
        let mut hooks = Hooks { report: &mut |_| said += 1, stop: &|_, _| false };
        let mut options = options(tiny(2));
        let vgg = dir.join("vgg.safetensors");
        options.vgg = Some(vgg.clone());
        let refused = train_all(&options, 26, dir, &mut hooks).unwrap_err().to_string();
        assert!(refused.contains("vgg.safetensors gives no VGG16"), "{refused}");
        let weights = write_safetensors(&crate::model::perceptual::tests::narrow(true)).unwrap();
        std::fs::write(&vgg, weights).unwrap();
        let summary = train_all(&options, 26, dir, &mut hooks).unwrap();
        assert!(said > 5 && summary.perceptual.is_some());
        let log = std::fs::read_to_string(dir.join("training/log.jsonl")).unwrap();
        assert!(log.contains("[\"perceptual\","), "{log}");
        assert!(summary.vae.absolute_error.is_finite() && summary.scale_factor > 0.0);
        Artifact::load(dir, &Device::flex()).unwrap()
    }

    /// The whole way in small: every stage steps, and the model directory loads. That the same run
    /// gives the same bits is tested in `tests/train.rs`, in a process of its own.
    #[test]
    fn a_small_ward_gives_a_model_that_loads_and_serves() {
        let first = tempfile::tempdir().unwrap();
        let model = trained(first.path());
        assert!(first.path().join("training/reconstructions.png").exists());
        assert!(first.path().join("training/generations.png").exists());
        assert!(model.about.doubts.contains(&Doubt::SyntheticTraining));
        assert!(model.card.contains("synthetic ward only"));
        assert!(model.card.contains("perceptual term with the VGG16 weights"));
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
        let mut latents =
            vae::encode(&networks.vae, &model.config, &samples.films, &device).unwrap();
        let scale = model.config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().for_each(|x| *x *= scale);
        let generator = Generator {
            config: &model.config,
            unet: &networks.unet,
            ehr: &networks.ehr,
            noise: &model.noise,
            conditions: Conditions::ALL,
            device: &device,
        };
        let windows = Windows::new(&samples, &latents, &generator, Whose::Own).unwrap();
        let fusion = &networks.fusion_mortality;
        let ours = [Latent::Generated, Latent::Carried, Latent::None].map(|which| {
            let logits = windows
                .logits(fusion, &model.config, Task::Mortality, &[0], which, &device)
                .unwrap();
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
