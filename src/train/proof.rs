//! The proof: where the truth is known, is the latent that was generated as of now worth more than
//! the last film's?
//!
//! One autoencoder and one diffusion model learn from the film pairs of a ward in which few stays
//! have an outcome (`synth/proof.rs`). Then one fusion model learns for each [`Twin`], from the
//! same stays in the same steps; they differ in the latent that they are shown and in nothing
//! else. All are judged on stays of another ward at the published landmark.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::checkpoint::Keeper;
use super::fusion::{Latent, Whose, Windows};
use super::landmarks::{self, Landmarks, Purpose};
use super::ldm::{Generator, Ldm, LdmScore};
use super::pace::{Log, Progress};
use super::recipe::FusionWeights;
use super::run::{Run, key};
use super::sample::{FilmSample, Samples, Splits};
use super::score::mean;
use super::vae::{self, VaeScore};
use super::{Hooks, TrainError, TrainOptions, enough};
use crate::ids::Digest;
use crate::model::artifact::draw_noise;
use crate::model::config::Task;
use crate::model::{DdlCxrConfig, Fusion, Vae};
use crate::synth::{Hospital, MAX_PATIENTS};
use burn::tensor::Device;

/// Of the training ward's stays: to learn from, to choose the best check by. The rest score
/// autoencoder and diffusion.
const SHARES: (u64, u64) = (80, 90);
const SCORES: &str = "scores.json";

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Twin {
    /// Shown neither film nor latent.
    EhrOnly,
    /// Shown the last film and its own latent.
    CarryForward,
    /// Shown the last film and the latent generated from it and the EHR since.
    Generated,
    /// The same model, shown a latent that was generated from another patient's EHR.
    Swapped,
    /// Shown the last film and the latent of the film that would have been taken now.
    Oracle,
}

/// On which stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// Stays of the ward to learn from.
    pub patients: u64,
    /// Of the ward that is predicted.
    pub test_seed: u64,
    /// Stays that are predicted.
    pub tested: usize,
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
        }
    }
}

impl Twin {
    pub const ALL: [Twin; 5] =
        [Twin::EhrOnly, Twin::CarryForward, Twin::Generated, Twin::Swapped, Twin::Oracle];

    pub const fn name(self) -> &'static str {
        match self {
            Twin::EhrOnly => "EHR only",
            Twin::CarryForward => "last film carried forward",
            Twin::Generated => "generated",
            Twin::Swapped => "generated from another's EHR",
            Twin::Oracle => "oracle",
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
    trial: Trial,
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
    std::fs::write(&path, text).map_err(|error| TrainError::write(&path, error))?;
    Ok(proof)
}

fn from_stays(
    options: &TrainOptions,
    trial: Trial,
    folder: &Path,
    hooks: &mut Hooks<'_>,
) -> Result<SeedProof, TrainError> {
    let [train, validate, scored, judged] = stays(options, trial, hooks)?;
    let oracles = [train.oracle, validate.oracle, judged.oracle];
    let splits = Splits { train: train.samples, validate: validate.samples, test: scored.samples };
    enough(&splits)?;
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
    Trained::new(run)?.judge(&judged.samples, &oracles)
}

/// The stays to learn from, to choose by, to score the first two stages on, and to be judged on.
fn stays(
    options: &TrainOptions,
    trial: Trial,
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

/// The first two stages of one seed.
struct Trained<'a, 'h> {
    run: Run<'a, 'h>,
    config: DdlCxrConfig,
    vae: Vae,
    ldm: Ldm,
    noise: Vec<f32>,
    /// Scaled latents of the films to learn from and to choose by.
    latents: Vec<Vec<Vec<f32>>>,
    scores: (VaeScore, LdmScore),
}

/// One set of windows with the two kinds of latents that may be shown as of now.
struct Shown<'a> {
    generated: Windows<'a>,
    oracle: Windows<'a>,
}

impl<'a, 'h> Trained<'a, 'h> {
    fn new(mut run: Run<'a, 'h>) -> Result<Self, TrainError> {
        let mut config = run.options.recipe.sizes();
        config.check()?;
        let (splits, device) = (run.splits, run.device.clone());
        let (vae, _, vae_score) = run.autoencoder(&config)?;
        let mut latents = Vec::with_capacity(3);
        for part in [&splits.train, &splits.validate, &splits.test] {
            latents.push(vae::encode(&vae, &config, &part.films, &device)?);
        }
        config.diffusion.scale_factor = vae::scale(&latents[0]);
        let scale = config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().flatten().for_each(|x| *x *= scale);
        let noise = draw_noise(&config, run.options.seed);
        let (ldm, _, ldm_score) = run.diffusion(&config, &vae, &latents, &noise)?;
        let scores = (vae_score, ldm_score);
        Ok(Trained { run, config, vae, ldm, noise, latents, scores })
    }

    fn judge(
        mut self,
        judged: &Samples,
        oracles: &[Vec<FilmSample>; 3],
    ) -> Result<SeedProof, TrainError> {
        let splits = self.run.splits;
        let seen = self.encoded(&judged.films)?;
        let [to_learn, to_choose, to_judge] = oracles;
        let train = self.shown(&splits.train, &self.latents[0], to_learn)?;
        let validate = self.shown(&splits.validate, &self.latents[1], to_choose)?;
        let test = self.shown(judged, &seen, to_judge)?;
        let swapped = Windows::new(judged, &seen, &self.generator(), Whose::Another)?;
        let mut windows = judged_windows(&test)?;
        for twin in [Twin::EhrOnly, Twin::CarryForward, Twin::Generated, Twin::Oracle] {
            let learnt = [train.of(twin), validate.of(twin)];
            for task in [Task::Mortality, Task::Phenotype] {
                let model = self.twin(twin, task, learnt)?;
                self.ask(&model, task, twin, test.of(twin), &mut windows)?;
                if twin == Twin::Generated {
                    self.ask(&model, task, Twin::Swapped, &swapped, &mut windows)?;
                }
            }
        }
        let (vae, ldm) = self.scores;
        Ok(SeedProof {
            key: String::new(),
            seed: self.run.options.seed,
            labelled: splits.train.windows.len(),
            pairs: splits.train.pairs.len(),
            seconds: 0.0,
            vae,
            ldm,
            windows,
        })
    }

    fn encoded(&self, films: &[FilmSample]) -> Result<Vec<Vec<f32>>, TrainError> {
        let mut latents = vae::encode(&self.vae, &self.config, films, &self.run.device)?;
        let scale = self.config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().for_each(|x| *x *= scale);
        Ok(latents)
    }

    fn generator(&self) -> Generator<'_> {
        Generator {
            config: &self.config,
            unet: &self.ldm.unet,
            ehr: &self.ldm.ehr,
            noise: &self.noise,
            device: &self.run.device,
        }
    }

    fn shown<'s>(
        &self,
        samples: &'s Samples,
        latents: &[Vec<f32>],
        oracle: &[FilmSample],
    ) -> Result<Shown<'s>, TrainError> {
        let generated = Windows::new(samples, latents, &self.generator(), Whose::Own)?;
        let oracle = generated.with_latents(&self.encoded(oracle)?);
        Ok(Shown { generated, oracle })
    }

    fn twin(
        &mut self,
        twin: Twin,
        task: Task,
        both: [&Windows<'_>; 2],
    ) -> Result<Fusion, TrainError> {
        let name = match (task, twin) {
            (Task::Mortality, Twin::EhrOnly) => "mortality_ehr_only",
            (Task::Mortality, Twin::CarryForward) => "mortality_carry_forward",
            (Task::Mortality, Twin::Oracle) => "mortality_oracle",
            (Task::Mortality, _) => "mortality_generated",
            (Task::Phenotype, Twin::EhrOnly) => "phenotype_ehr_only",
            (Task::Phenotype, Twin::CarryForward) => "phenotype_carry_forward",
            (Task::Phenotype, Twin::Oracle) => "phenotype_oracle",
            (Task::Phenotype, _) => "phenotype_generated",
        };
        let loss = FusionWeights {
            without_film: f64::from(u8::from(twin == Twin::EhrOnly)),
            carried: f64::from(u8::from(twin == Twin::CarryForward)),
            ..self.run.options.recipe.fusion.loss
        };
        Ok(self.run.fusion(name, &self.config, task, both, loss)?.0)
    }

    fn ask(
        &self,
        model: &Fusion,
        task: Task,
        twin: Twin,
        shown: &Windows<'_>,
        windows: &mut [Judged],
    ) -> Result<(), TrainError> {
        let picked: Vec<usize> = (0..windows.len()).collect();
        let (config, device) = (&self.config, &self.run.device);
        let logits = shown.logits(model, config, task, &picked, twin.latent(), device)?;
        for (window, logits) in windows.iter_mut().zip(logits.chunks(task.outputs())) {
            match task {
                Task::Mortality => drop(window.mortality.insert(twin, logits[0])),
                Task::Phenotype => drop(window.phenotype.insert(twin, logits.to_vec())),
            }
        }
        Ok(())
    }
}

impl Twin {
    fn latent(self) -> Latent {
        match self {
            Twin::EhrOnly => Latent::None,
            Twin::CarryForward => Latent::Carried,
            Twin::Generated | Twin::Swapped | Twin::Oracle => Latent::Generated,
        }
    }
}

impl<'a> Shown<'a> {
    fn of(&self, twin: Twin) -> &Windows<'a> {
        if twin == Twin::Oracle { &self.oracle } else { &self.generated }
    }
}

fn judged_windows(shown: &Shown<'_>) -> Result<Vec<Judged>, TrainError> {
    let lacks = || TrainError::TooFew("a window to be judged has no film");
    let windows = shown.generated.samples.windows.iter().enumerate();
    windows
        .map(|(i, window)| {
            let now = shown.oracle.latent(i, Latent::Generated).ok_or_else(lacks)?;
            let far = |which| {
                let latent = shown.generated.latent(i, which).ok_or_else(lacks)?;
                let squares = latent.iter().zip(now).map(|(a, b)| f64::from(a - b).powi(2));
                Ok::<f64, TrainError>(mean(squares))
            };
            Ok(Judged {
                stay: window.stay,
                age_h: window.film.as_ref().ok_or_else(lacks)?.age_h,
                died: window.died,
                phenotypes: window.phenotypes.to_vec(),
                mortality: BTreeMap::new(),
                phenotype: BTreeMap::new(),
                generated_mse: far(Latent::Generated)?,
                carried_mse: far(Latent::Carried)?,
            })
        })
        .collect()
}
