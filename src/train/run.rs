//! A run: the stages in order, each scored on the test split before the next begins, and the model
//! directory that comes of them.

use std::path::Path;

use burn::module::Module;
use burn::tensor::Device;

use super::calibrate;
use super::card;
use super::checkpoint::Keeper;
use super::fusion::{self, FusionStage, Whose, Windows};
use super::ldm::{self, Conditions, Generator, Ldm, LdmStage, Shown};
use super::pace::{Budget, Log, Pace};
use super::pictures;
use super::reader::{Reader, ReaderStage};
use super::recipe::{FusionWeights, LdmWeights, StageRecipe};
use super::sample::{Splits, WindowSample};
use super::stage::{self, Order, Running, Stage};
use super::vae::{self, Seen, VaeStage};
use super::{
    DataKind, Hooks, LdmScore, Part, TrainError, TrainOptions, TrainSummary, VaeScore, enough,
};
use crate::event::dictionary::Profile;
use crate::event::risk::Doubt;
use crate::ids::Digest;
use crate::model::artifact::{About, Artifact, Networks, Normalisers, Parts, draw_noise};
use crate::model::config::Task;
use crate::model::weights::{under, with_tensors};
use crate::model::{DdlCxrConfig, EhrEncoder, Fusion, Init, Schedule, Unet, Vae};

/// Films and pairs on which the first two stages are scored, at most.
const SCORED: usize = 400;

/// Of the stages' seeds, which follow that of the run: the reader's.
const READER: u64 = 10;

/// Trains on `splits` and writes what comes of it to `out`: a model directory where the fusion
/// models are trained, else the networks of the stages that are done. `training/` holds the log,
/// the pictures and the states to go on from.
///
/// # Errors
/// As [`super::train_all`]; [`TrainError::Stopped`] when it was stopped, [`TrainError::Earlier`]
/// when an earlier stage is missing.
pub fn train_on(
    options: &TrainOptions,
    mut splits: Splits,
    out: &Path,
    hooks: &mut Hooks<'_>,
) -> Result<TrainSummary, TrainError> {
    let config = options.recipe.sizes();
    config.check()?;
    enough(&splits)?;
    let started = std::time::Instant::now();
    let folder = out.join("training");
    std::fs::create_dir_all(&folder).map_err(|error| TrainError::write(&folder, error))?;
    let path = folder.join("log.jsonl");
    let goes_on = options.resume || !options.part.trains(Part::Vae);
    let mut log = if goes_on { Log::append(&path)? } else { Log::create(&path)? };
    let (ldm, prediction) = splits.train.normalisers()?;
    for part in [&mut splits.train, &mut splits.validate, &mut splits.test] {
        part.normalise(&ldm, &prediction);
    }
    let every = options.recipe.checkpoint;
    let keeper = Keeper::new(folder.join("states"), every, key(options)?, options.resume);
    let mut run = Run {
        options,
        splits: &splits,
        device: Device::flex(),
        keeper,
        log: &mut log,
        hooks,
        folder: &folder,
    };
    let (parts, mut summary) = run.stages(config, Normalisers { ldm, prediction })?;
    summary.seconds = started.elapsed().as_secs_f64();
    log.line(&summary)?;
    if let Some(parts) = parts {
        let card = card::card(options, &summary);
        Artifact::new(Parts { card, ..parts })?.save(out)?;
    }
    Ok(summary)
}

/// What the networks of every stage depend on, besides the stage's own recipe.
pub(super) fn key(options: &TrainOptions) -> Result<Digest, TrainError> {
    let data = (&options.recipe.sizes, &options.recipe.data, options.seed, &options.data.whose);
    let text = serde_json::to_vec(&data).map_err(|error| TrainError::Data(error.to_string()))?;
    Ok(Digest::of(&text))
}

/// Which diffusion model: its stage's name, what it is shown and what it is taught by.
#[derive(Clone, Copy)]
pub(super) struct Diffusion {
    pub(super) name: &'static str,
    pub(super) conditions: Conditions,
    pub(super) weights: LdmWeights,
}

impl Diffusion {
    /// The one that lacks nothing.
    pub(super) fn whole(options: &TrainOptions) -> Self {
        let weights = options.recipe.ldm.loss;
        Diffusion { name: "ldm", conditions: Conditions::ALL, weights }
    }
}

/// The stages of one run, and what they share.
pub(super) struct Run<'a, 'h> {
    pub(super) options: &'a TrainOptions,
    pub(super) splits: &'a Splits,
    pub(super) device: Device,
    pub(super) keeper: Keeper,
    pub(super) log: &'a mut Log,
    pub(super) hooks: &'a mut Hooks<'h>,
    pub(super) folder: &'a Path,
}

impl Run<'_, '_> {
    fn stages(
        &mut self,
        mut config: DdlCxrConfig,
        normalisers: Normalisers,
    ) -> Result<(Option<Parts>, TrainSummary), TrainError> {
        let (splits, device, part) = (self.splits, self.device.clone(), self.options.part);
        let (vae, vae_steps, vae_score) = self.autoencoder(&config)?;
        let mut summary = self.summary(vae_score);
        summary.steps[0] = vae_steps;
        summary.perceptual = self.perceptual()?.map(|perceptual| perceptual.digest.to_string());
        if part.ends_before(Part::Ldm) {
            return Ok((None, summary));
        }
        let latents = self.latents(&mut config, &vae)?;
        summary.scale_factor = config.diffusion.scale_factor;
        let noise = draw_noise(&config, self.options.seed);
        let whole = Diffusion::whole(self.options);
        let (ldm, ldm_steps, score) = self.diffusion(whole, &config, &vae, &latents, &noise)?;
        (summary.steps[1], summary.ldm) = (ldm_steps, Some(score));
        if part.ends_before(Part::Fusion) {
            return Ok((None, summary));
        }
        let generator = Generator {
            config: &config,
            unet: &ldm.unet,
            ehr: &ldm.ehr,
            noise: &noise,
            conditions: Conditions::ALL,
            device: &device,
        };
        let windows = [
            Windows::new(&splits.train, &latents[0], &generator, Whose::Own)?,
            Windows::new(&splits.validate, &latents[1], &generator, Whose::Own)?,
            Windows::new(&splits.test, &latents[2], &generator, Whose::Own)?,
        ];
        let [train, validate, test] = &windows;
        let loss = self.options.recipe.fusion.loss;
        let reader = self.reader(&config, &latents)?;
        let mut fuse = |name, task| {
            self.fusion((name, task), &config, reader.as_ref(), [train, validate], loss)
        };
        let (mortality, mortality_steps) = fuse("fusion_mortality", Task::Mortality)?;
        let (phenotype, phenotype_steps) = fuse("fusion_phenotype", Task::Phenotype)?;
        (summary.steps[2], summary.steps[3]) = (mortality_steps, phenotype_steps);
        let score = |keep: &dyn Fn(&WindowSample) -> bool| {
            fusion::score_mortality(&mortality, &config, test, &device, keep)
        };
        summary.landmark = score(&at_landmark)?;
        summary.any_hour = score(&|_| true)?;
        let macro_auroc =
            fusion::score_phenotypes(&phenotype, &config, test, &device, at_landmark)?;
        summary.phenotype_auroc = Some(macro_auroc).filter(|auroc| auroc.is_finite());
        let fusions = [&mortality, &phenotype];
        let whose = &self.options.data.whose;
        let calibration = calibrate::fit(&config, validate, fusions, whose, &device)?;
        let Ldm { unet, ehr } = ldm;
        let networks =
            Networks { vae, unet, ehr, fusion_mortality: mortality, fusion_phenotype: phenotype };
        let (about, card) = (about(self.options), String::new());
        let parts = Parts { config, networks, noise, normalisers, calibration, about, card };
        Ok((Some(parts), summary))
    }

    /// Runs a stage, or takes what an earlier run left of it.
    fn run<M: Module, S: Stage<M>, L: std::fmt::Debug>(
        &mut self,
        name: &'static str,
        trains: bool,
        recipe: &StageRecipe<L>,
        seed: u64,
        stage: &mut S,
        net: M,
    ) -> Result<(M, u64), TrainError> {
        if !trains {
            let Some((state, tensors)) = self.keeper.finished(name)? else {
                return Err(TrainError::Earlier(name));
            };
            return Ok((with_tensors(net.valid(), &under(&tensors, "net."))?, state.step));
        }
        let budget = match recipe.course.steps {
            0 => Budget::Seconds(recipe.course.seconds),
            steps => Budget::Steps(steps),
        };
        let curves = self.folder.join(format!("curves-{name}.png"));
        let running = Running {
            name,
            seed,
            device: &self.device,
            course: recipe.course,
            optimiser: recipe.optimiser,
            loss: format!("{:?}", recipe.loss),
            keeper: &self.keeper,
            pace: Pace::new(name, budget, self.log, self.hooks.report, curves),
            stop: self.hooks.stop,
        };
        stage::run(stage, net, running)
    }

    pub(super) fn autoencoder(
        &mut self,
        config: &DdlCxrConfig,
    ) -> Result<(Vae, u64, VaeScore), TrainError> {
        let (splits, device, options) = (self.splits, self.device.clone(), self.options);
        let (recipe, seed) = (&options.recipe.vae, options.seed);
        let path = self.folder.join("reconstructions.png");
        let (vae, steps) = match &options.autoencoder {
            Some(dir) => (taken(dir, config, &device)?, 0),
            None => {
                let net =
                    Vae::new(&config.vae, &mut Init::seeded(seed, &device.clone().autodiff()));
                let trains = options.part.trains(Part::Vae);
                let perceptual = if trains { self.perceptual()? } else { None };
                let both = [&splits.train, &splits.validate];
                let mut stage = VaeStage::new(config, recipe, both, seed, &device, path.clone());
                stage.see_with(perceptual);
                self.run("vae", trains, recipe, seed, &mut stage, net)?
            }
        };
        let score = vae::score(&vae, config, &splits.test, SCORED, &device)?;
        pictures::reconstructions(&vae, &config.vae, &splits.test, &device, &path)?;
        Ok((vae, steps, score))
    }

    /// Scaled latents of the films of training, validation and test; the scale, which training's
    /// give, is written into `config`.
    pub(super) fn latents(
        &self,
        config: &mut DdlCxrConfig,
        vae: &Vae,
    ) -> Result<Vec<Vec<Vec<f32>>>, TrainError> {
        let mut latents = Vec::with_capacity(3);
        for part in [&self.splits.train, &self.splits.validate, &self.splits.test] {
            latents.push(vae::encode(vae, config, &part.films, &self.device)?);
        }
        config.diffusion.scale_factor = vae::scale(&latents[0]);
        let scale = config.diffusion.scale_factor as f32;
        latents.iter_mut().flatten().flatten().for_each(|x| *x *= scale);
        Ok(latents)
    }

    /// What the autoencoder's pictures are compared through, if the recipe asks for it and there
    /// are weights.
    fn perceptual(&self) -> Result<Option<Seen>, TrainError> {
        let asked = self.options.recipe.vae.loss.perceptual > 0.0;
        let path = self.options.vgg.as_deref().filter(|_| asked);
        path.map(|path| Seen::read(path, &self.device)).transpose()
    }

    pub(super) fn diffusion(
        &mut self,
        Diffusion { name, conditions, weights }: Diffusion,
        config: &DdlCxrConfig,
        vae: &Vae,
        latents: &[Vec<Vec<f32>>],
        noise: &[f32],
    ) -> Result<(Ldm, u64, LdmScore), TrainError> {
        let (splits, device, options) = (self.splits, self.device.clone(), self.options);
        let recipe = &StageRecipe { loss: weights, ..options.recipe.ldm };
        let autodiff = device.clone().autodiff();
        let mut init = Init::seeded(options.seed.wrapping_add(1), &autodiff);
        let unet = Unet::new(&config.unet, &mut init);
        let net = Ldm { unet, ehr: EhrEncoder::new(&config.ehr_encoder, &mut init) };
        let seed = options.seed.wrapping_add(2);
        let path = self.folder.join("generations.png");
        let mut stage = LdmStage {
            config,
            weights,
            conditions,
            samples: &splits.train,
            latents: &latents[0],
            schedule: Schedule::new(&config.diffusion),
            order: Order::new(seed, splits.train.pairs.len(), recipe.course.batch),
            seed,
            autodiff,
            shown: Shown {
                vae,
                samples: &splits.validate,
                latents: &latents[1],
                noise,
                path: path.clone(),
            },
        };
        let trains = options.part.trains(Part::Ldm);
        let (ldm, steps) = self.run(name, trains, recipe, seed, &mut stage, net)?;
        let (unet, ehr, device) = (&ldm.unet, &ldm.ehr, &device);
        let generator = Generator { config, unet, ehr, noise, conditions, device };
        let score = ldm::score(&generator, vae, &splits.test, &latents[2], SCORED)?;
        pictures::generations(&generator, vae, &splits.test, &latents[2], &path)?;
        Ok((ldm, steps, score))
    }

    /// What the fusion models see with, where the recipe has it taught beforehand.
    pub(super) fn reader(
        &mut self,
        config: &DdlCxrConfig,
        latents: &[Vec<Vec<f32>>],
    ) -> Result<Option<Reader>, TrainError> {
        let (recipe, splits) = (&self.options.recipe.reader, self.splits);
        if !recipe.loss.is_on() {
            return Ok(None);
        }
        let (device, seed) = (self.device.clone(), self.options.seed.wrapping_add(READER));
        let mut init = Init::seeded(seed, &device.clone().autodiff());
        let net = Reader::new(&config.fusion_mortality, &mut init);
        let both = [(&splits.train, &latents[0][..]), (&splits.validate, &latents[1][..])];
        let mut stage = ReaderStage::new(config, recipe, both, seed, &device);
        Ok(Some(self.run("reader", true, recipe, seed, &mut stage, net)?.0))
    }

    /// A fusion model of one task, its windows shown as `loss` says.
    pub(super) fn fusion(
        &mut self,
        (name, task): (&'static str, Task),
        config: &DdlCxrConfig,
        reader: Option<&Reader>,
        both: [&Windows<'_>; 2],
        loss: FusionWeights,
    ) -> Result<(Fusion, u64), TrainError> {
        let offset = match task {
            Task::Mortality => 11,
            Task::Phenotype => 12,
        };
        let recipe = &StageRecipe { loss, ..self.options.recipe.fusion };
        let device = self.device.clone();
        let seed = self.options.seed.wrapping_add(offset);
        let mut init = Init::seeded(seed, &device.clone().autodiff());
        let net = Fusion::new(config.fusion(task), &mut init);
        let net = match reader {
            Some(reader) => reader.lend(net)?,
            None => net,
        };
        let mut stage = FusionStage::new(config, recipe, task, both, seed, &device);
        stage.sees_by(reader.map(|_| self.options.recipe.reader));
        self.run(name, true, recipe, seed, &mut stage, net)
    }

    /// What is known after the first stage.
    fn summary(&self, vae: VaeScore) -> TrainSummary {
        let parts = [&self.splits.train, &self.splits.validate, &self.splits.test];
        TrainSummary {
            seed: self.options.seed,
            data: self.options.data.whose.clone(),
            stays: parts.map(|part| part.stays),
            films: parts.map(|part| part.films.len()),
            pairs: parts.map(|part| part.pairs.len()),
            windows: parts.map(|part| part.windows.len()),
            steps: [0; 4],
            seconds: 0.0,
            scale_factor: 1.0,
            perceptual: None,
            vae,
            ldm: None,
            landmark: None,
            any_hour: None,
            phenotype_auroc: None,
        }
    }
}

/// The autoencoder of another model.
fn taken(dir: &Path, config: &DdlCxrConfig, device: &Device) -> Result<Vae, TrainError> {
    let model = Artifact::load(dir, device)?;
    if model.config.vae != config.vae {
        let dir = dir.display();
        let fault = format!("the autoencoder of {dir} has other sizes; train one");
        return Err(TrainError::Data(fault));
    }
    Ok(model.networks.vae)
}

fn at_landmark(window: &WindowSample) -> bool {
    window.t_h == 48.0
}

fn about(options: &TrainOptions) -> About {
    let (whose, mut doubts) = (&options.data.whose, vec![Doubt::NotValidated]);
    let trained_on = match options.data.kind {
        DataKind::Synthetic => {
            doubts.push(Doubt::SyntheticTraining);
            format!("{whose}; no real patient and no real film")
        }
        DataKind::SimulatedPairing => {
            // The films belong to other patients, so the pairs say as little as invented ones.
            doubts.push(Doubt::SyntheticTraining);
            format!("{whose}; the pairing of films and stays is simulated")
        }
        DataKind::Recorded => whose.clone(),
    };
    About {
        name: options.name.clone(),
        version: options.version.clone(),
        trained_on,
        doubts,
        profile: Profile::Clinical,
        any_hour: options.recipe.data.windows_per_stay > 0,
    }
}
