//! A model directory from the reference's checkpoints (`reference/ddl-cxr.md` 2 to 4; the names
//! and shapes of all three stages in `checkpoint_names.json` beside the parity files).
//!
//! Checkpoints are PyTorch Lightning's (`.ckpt`, `.pt`) or safetensors files. A Lightning
//! checkpoint is a pickle, which is a program; nothing of it is run ([`pickle`]), only tensors are
//! read, and a file that is not what it should be gives an error.
//!
//! Where a checkpoint keeps a moving average of a parameter, that is taken: the reference samples
//! with it. Its names are the parameters' with all dots left out, so names are mapped forward,
//! never parsed back.

mod card;
mod checkpoint;
mod names;
pub mod normalisers;
mod numbers;
mod pickle;
mod report;
mod torch;
mod zip;

use std::path::PathBuf;

use burn::tensor::Device;
use thiserror::Error;

pub use report::{Noise, Report, SourceReport};

use super::artifact::ArtifactError;
use super::artifact::{About, Artifact, Networks, Parts, draw_noise};
use super::calibration::Calibration;
use super::config::{ConfigError, DdlCxrConfig};
use super::layers::Init;
use super::schedule::Schedule;
use super::weights::{Tensors, WeightsError, shapes_of, with_tensors};
use crate::event::dictionary::Profile;
use crate::event::risk::Doubt;
use checkpoint::Checkpoint;
use names::{Plan, Stage};
use numbers::settled;

/// The name of the latents' scale in a checkpoint of the diffusion model.
const SCALE: &str = "scale_factor";
/// Largest relative difference of a checkpoint's own noise schedule from the config's.
const SCHEDULE_TOLERANCE: f64 = 1e-6;

/// Why checkpoints cannot be imported, split by what the operator does.
#[derive(Debug, Error)]
pub enum ImportError {
    #[error("cannot read {path}: {error}; check the path and its permissions")]
    Io { path: PathBuf, error: std::io::Error },
    #[error("{file} cannot be imported: {fault}; save or copy the checkpoint again")]
    Content { file: String, fault: String },
    #[error(
        "{file} is no checkpoint of the autoencoder, the diffusion model or a fusion model; \
         name those only"
    )]
    Stage { file: String },
    #[error("{first} and {second} are both of the {stage}; name one of them")]
    Twice { stage: &'static str, first: String, second: String },
    #[error("the checkpoints do not make a model; missing: {0}; name the checkpoints that hold it")]
    Missing(String),
    #[error("the checkpoints do not fit the config: {0}; give the right config with --config")]
    Shapes(String),
    #[error("the noise cannot be used: {0}; give --noise-seed or another file")]
    Noise(String),
    #[error("the normalisers cannot be used: {0}; leave --normalisers out for the published ones")]
    Normalisers(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// What to import.
#[derive(Clone, Debug)]
pub struct Request {
    /// One file for each stage, in any order. That of the autoencoder may be left out: the
    /// diffusion model's holds a copy.
    pub checkpoints: Vec<PathBuf>,
    pub config: DdlCxrConfig,
    pub noise: Noise,
    /// None for the published ones.
    pub normalisers: Option<PathBuf>,
    pub name: String,
    pub version: String,
    pub profile: Profile,
}

/// Reads the checkpoints and puts a model together. Its card says where all of it comes from.
pub fn import(request: Request) -> Result<(Artifact, Report), ImportError> {
    let Request { checkpoints, mut config, noise, normalisers, name, version, profile } = request;
    config.check()?;
    let mut sources = Vec::with_capacity(checkpoints.len());
    for path in &checkpoints {
        sources.push(Checkpoint::open(path)?);
    }
    let stages = names::stages(&sources)?;
    let empty = Networks::new(&config, &mut Init::zeros(&Device::flex()));
    let wanted = shapes_of(&empty);
    let plan = Plan::new(&wanted, &sources, &stages)?;
    let mut remarks = Vec::new();
    let mut tensors = Tensors::new();
    for (ours, step) in &plan.steps {
        let source = &mut sources[step.source];
        tensors.insert(ours.clone(), source.read(&step.name)?);
    }
    let networks = with_tensors(empty, &tensors)?;
    drop(tensors);
    let mut scale_from = None;
    if let Some(ldm) = stages.of(Stage::Diffusion) {
        let ldm = &mut sources[ldm];
        if ldm.has(SCALE) {
            let scale = ldm.read(SCALE)?.values;
            config.diffusion.scale_factor =
                scale.first().map_or(f64::NAN, |&x| settled(f64::from(x)));
            config.check()?;
            scale_from = Some(ldm.name.clone());
        }
        remarks.extend(schedule_remark(&config, ldm)?);
    }
    remarks.extend(plan.remarks(&mut sources, &stages)?);
    let (x_t, noise) = starting_noise(&config, &noise)?;
    let (scalings, scaled_by) = match &normalisers {
        Some(path) => (normalisers::read(path)?, report::file_name(path)),
        None => (normalisers::published()?, "the published statistics".to_owned()),
    };
    let mut report = Report {
        sources: plan.describe(&sources, &stages),
        scale_factor: config.diffusion.scale_factor,
        scale_factor_from: scale_from.unwrap_or_else(|| "the config".to_owned()),
        noise,
        normalisers: scaled_by,
        remarks,
        digest: String::new(),
    };
    let artifact = Artifact::new(Parts {
        about: about(name, version, profile, &report),
        card: card::card(&report, &config, profile),
        noise: x_t,
        normalisers: scalings,
        calibration: Calibration::identity(),
        networks,
        config,
    })?;
    report.digest = artifact.digest().to_string();
    Ok((artifact, report))
}

fn about(name: String, version: String, profile: Profile, report: &Report) -> About {
    let files: Vec<&str> = report.sources.iter().map(|source| source.file.as_str()).collect();
    About {
        name,
        version,
        trained_on: format!("the checkpoints {}, which do not say it", files.join(", ")),
        doubts: vec![Doubt::NotValidated],
        profile,
        any_hour: false,
    }
}

/// What to say of a checkpoint whose own schedule is another than the config's.
fn schedule_remark(
    config: &DdlCxrConfig,
    ldm: &mut Checkpoint,
) -> Result<Option<String>, ImportError> {
    const TABLE: &str = "alphas_cumprod";
    if !ldm.has(TABLE) {
        return Ok(None);
    }
    let theirs = ldm.read(TABLE)?.values;
    let ours = Schedule::new(&config.diffusion).alphas_cumprod;
    let near = |(a, b): (&f32, &f32)| {
        (f64::from(*a) - f64::from(*b)).abs() <= SCHEDULE_TOLERANCE * f64::from(*b).abs()
    };
    let same = theirs.len() == ours.len() && theirs.iter().zip(&ours).all(near);
    Ok((!same).then(|| {
        format!(
            "the noise schedule in {} is not the config's, which is used; check timesteps, \
             linear_start and linear_end",
            ldm.name
        )
    }))
}

/// x_T, and where it comes from.
fn starting_noise(config: &DdlCxrConfig, noise: &Noise) -> Result<(Vec<f32>, String), ImportError> {
    let path = match noise {
        Noise::Seed(seed) => {
            return Ok((draw_noise(config, *seed), format!("drawn from the seed {seed}")));
        }
        Noise::File(path) => path,
    };
    let mut file = Checkpoint::open(path)?;
    let only = (file.names().count() == 1).then(|| file.names().next().map(str::to_owned));
    let name = if file.has("x_T") { Some("x_T".to_owned()) } else { only.flatten() };
    let Some(name) = name else {
        let fault = format!("{} holds no tensor x_T, nor one only", file.name);
        return Err(ImportError::Noise(fault));
    };
    let tensor = file.read(&name)?;
    let side = config.vae.latent_side();
    let shape = [config.vae.z_channels, side, side];
    // A batch of one, as a sampler would hold it, is the same noise.
    let own = tensor.shape.strip_prefix(&[1]).unwrap_or(&tensor.shape);
    if own != shape || !tensor.values.iter().all(|x| x.is_finite()) {
        let fault = format!(
            "{name} in {} must be finite and of shape {shape:?}, not {:?}",
            file.name, tensor.shape
        );
        return Err(ImportError::Noise(fault));
    }
    Ok((tensor.values, format!("{name} of {} (SHA-256 {})", file.name, file.digest)))
}
