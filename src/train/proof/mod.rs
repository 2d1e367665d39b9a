//! The proof: where the truth is known, is the latent that was generated as of now worth more than
//! the last film's?
//!
//! One autoencoder and one diffusion model learn from the film pairs of a ward in which few stays
//! have an outcome (`synth/proof.rs`). Then one fusion model learns for each [`Twin`], from the
//! same stays in the same steps; they differ in the latent that they are shown and in nothing
//! else. All are judged on stays of another ward at the published landmark.

mod trained;
mod twin;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::Keeper;
use super::landmarks::{self, Landmarks, Purpose};
use super::ldm::LdmScore;
use super::pace::{Log, Progress};
use super::run::{Run, key};
use super::sample::Splits;
use super::vae::VaeScore;
use super::{Hooks, TrainError, TrainOptions, enough};
use crate::ids::Digest;
use crate::synth::{Hospital, MAX_PATIENTS};
use burn::tensor::Device;

pub use twin::Twin;

use trained::Trained;

/// Of the training ward's stays: to learn from, to choose the best check by. The rest score
/// autoencoder and diffusion.
const SHARES: (u64, u64) = (80, 90);
const SCORES: &str = "scores.json";

/// On which stays, and what besides the twins is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Stays of the ward to learn from.
    pub patients: u64,
    /// Of the ward that is predicted.
    pub test_seed: u64,
    /// Stays that are predicted.
    pub tested: usize,
    /// Whether the paper's ablations are trained, too.
    pub ablations: bool,
    /// Numbers of labelled stays, fewer than there are, from which the twins learn once more: the
    /// learning curve.
    pub curve: Vec<usize>,
}

impl Trial {
    /// Whether so many labelled stays can give the learning curve.
    fn check(&self, labelled: usize) -> Result<(), TrainError> {
        match self.curve.iter().find(|fewer| !(1..labelled).contains(fewer)) {
            None => Ok(()),
            Some(fewer) => Err(TrainError::Data(format!(
                "a learning curve from {fewer} labelled stays: there are {labelled}; name fewer, \
                 and at least 1"
            ))),
        }
    }
}

/// What all twins said of one stay at 48 h, and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judged {
    pub stay: u64,
    /// Hours since the last film.
    pub age_h: f64,
    pub died: bool,
    pub phenotypes: Vec<bool>,
    /// Logits.
    pub mortality: BTreeMap<Twin, f32>,
    pub phenotype: BTreeMap<Twin, Vec<f32>>,
    /// Mean squared distance (of scaled latents) to the latent of the film of now.
    pub generated_mse: f64,
    pub carried_mse: f64,
}

/// One seed's proof.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SeedProof {
    /// Of everything that it depends on.
    key: String,
    pub seed: u64,
    pub labelled: usize,
    pub pairs: usize,
    pub seconds: f64,
    pub vae: VaeScore,
    pub ldm: LdmScore,
    pub windows: Vec<Judged>,
    /// The same stays by twins that learnt from fewer.
    pub curve: Vec<Fewer>,
}

/// What the twins said who learnt from fewer labelled stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fewer {
    pub labelled: usize,
    pub windows: Vec<Judged>,
}

#[cfg(test)]
impl SeedProof {
    /// For tests of what is made of the windows.
    pub(crate) fn of_windows(seed: u64, windows: Vec<Judged>) -> Self {
        SeedProof {
            key: String::new(),
            seed,
            labelled: 0,
            pairs: 0,
            seconds: 0.0,
            vae: VaeScore { absolute_error: 0.0, findings_auroc: 0.0 },
            ldm: LdmScore {
                pairs: 0,
                generated_mse: 0.0,
                carried_mse: 0.0,
                generated_findings_auroc: 0.0,
                carried_findings_auroc: 0.0,
            },
            windows,
            curve: Vec::new(),
        }
    }
}

/// Trains and judges one seed, or reads what an earlier run with `resume` found. `out` holds the
/// log, the pictures, the states to go on from, and the scores.
///
/// # Errors
/// As [`super::train_on`].
pub fn prove(
    options: &TrainOptions,
    trial: &Trial,
    out: &Path,
    hooks: &mut Hooks<'_>,
) -> Result<SeedProof, TrainError> {
    let digest = (key(options)?, trial, &options.recipe);
    let text = serde_json::to_vec(&digest).map_err(|error| TrainError::Data(error.to_string()))?;
    let digest = Digest::of(&text).to_string();
    let path = out.join(SCORES);
    let earlier = std::fs::read(&path).ok().filter(|_| options.resume);
    if let Some(done) = earlier.and_then(|bytes| serde_json::from_slice::<SeedProof>(&bytes).ok())
        && done.key == digest
    {
        return Ok(done);
    }
    let started = std::time::Instant::now();
    let folder = out.join("training");
    std::fs::create_dir_all(&folder).map_err(|error| TrainError::write(&folder, error))?;
    let proof = from_stays(options, trial, &folder, hooks)?;
    let proof = SeedProof { key: digest, seconds: started.elapsed().as_secs_f64(), ..proof };
    let text = serde_json::to_vec(&proof).map_err(|error| TrainError::Data(error.to_string()))?;
    std::fs::write(&path, &text).map_err(|error| TrainError::write(&path, error))?;
    // A decimal may come back as its neighbour: what is told now is what a later run would read.
    serde_json::from_slice(&text).map_err(|error| TrainError::Data(error.to_string()))
}

fn from_stays(
    options: &TrainOptions,
    trial: &Trial,
    folder: &Path,
    hooks: &mut Hooks<'_>,
) -> Result<SeedProof, TrainError> {
    let [train, validate, scored, judged] = stays(options, trial, hooks)?;
    let oracles = [train.oracle, validate.oracle, judged.oracle];
    let splits = Splits { train: train.samples, validate: validate.samples, test: scored.samples };
    enough(&splits)?;
    trial.check(splits.train.windows.len())?;
    let (resume, path) = (options.resume, folder.join("log.jsonl"));
    let mut log = if resume { Log::append(&path)? } else { Log::create(&path)? };
    let states = folder.join("states");
    let run = Run {
        options,
        splits: &splits,
        device: Device::flex(),
        keeper: Keeper::new(states, options.recipe.checkpoint, key(options)?, resume),
        log: &mut log,
        hooks,
        folder,
    };
    Trained::new(run)?.judge(&judged.samples, &oracles, trial)
}

/// The stays to learn from, to choose by, to score the first two stages on, and to be judged on.
fn stays(
    options: &TrainOptions,
    trial: &Trial,
    hooks: &mut Hooks<'_>,
) -> Result<[Landmarks; 4], TrainError> {
    let (hospital, all) = (Hospital::proof(), trial.patients);
    let (first, second) = (all * SHARES.0 / 100, all * SHARES.1 / 100);
    let mut parts = Vec::with_capacity(4);
    for range in [0..first, first..second, second..all] {
        let before = range.start;
        let mut told =
            |drawn: u64, _: u64| (hooks.report)(Progress::part("ward", before + drawn, all));
        let wanted = (Purpose::Learning, usize::MAX);
        parts.push(landmarks::draw((hospital, options.seed), range, wanted, &mut told)?);
    }
    let mut told = |_: u64, found: u64| {
        (hooks.report)(Progress::part("test ward", found, trial.tested as u64));
    };
    let wanted = (Purpose::Predicting, trial.tested);
    let ward = (hospital, trial.test_seed);
    parts.push(landmarks::draw(ward, 0..MAX_PATIENTS, wanted, &mut told)?);
    let (generation, prediction) = parts[0].samples.normalisers()?;
    parts.iter_mut().for_each(|part| part.samples.normalise(&generation, &prediction));
    parts.try_into().map_err(|_| TrainError::TooFew("four sets of stays were drawn"))
}
