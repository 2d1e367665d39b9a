//! `nowcxr model`: model directories, made of checkpoints and shown.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::event::dictionary::Profile;
use crate::model::import::{Noise, Report, Request, import};
use crate::model::weights::parameter_count;
use crate::model::{Artifact, DdlCxrConfig};

/// What an import took and left, beside the files of the model.
const REPORT: &str = "import.json";
/// Bound of a config file.
const MAX_CONFIG: u64 = 1 << 20;

#[derive(Subcommand)]
pub enum ModelCommand {
    /// Makes a model directory from the reference's PyTorch Lightning or safetensors checkpoints.
    ///
    /// Only tensors are read; no code in a checkpoint is run. Moving averages are taken where the
    /// checkpoint has them, and every shape is checked against the config.
    Import(ImportArgs),
    /// Shows a model directory: where it comes from, its sizes, hashes and card.
    Show(ShowArgs),
}

#[derive(Args)]
pub struct ImportArgs {
    /// Checkpoints (.ckpt, .pt or .safetensors) of the diffusion model, the fusion model of
    /// mortality and that of phenotypes, in any order; that of the autoencoder may be left out,
    /// since the diffusion model's holds a copy.
    #[arg(required = true, num_args = 1..=4, value_name = "CKPT")]
    checkpoints: Vec<PathBuf>,
    /// The model directory to write; it must not hold a model yet.
    #[arg(long)]
    out: PathBuf,
    /// Sizes of the networks, as `config.json` of a model directory; without it the published.
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// Seed of the noise that every sample starts from; the reference never saved its own.
    #[arg(long, default_value_t = 23, conflicts_with = "noise")]
    noise_seed: u64,
    /// A file with that noise instead: the tensor x_T, or one tensor only.
    #[arg(long, value_name = "FILE")]
    noise: Option<PathBuf>,
    /// Normalisers of the EHR, JSON or safetensors; without it the published statistics.
    #[arg(long, value_name = "FILE")]
    normalisers: Option<PathBuf>,
    /// How inputs are made: as published with its defects, or with the defects fixed.
    #[arg(long, value_enum, default_value = "clinical")]
    profile: ProfileArg,
    /// The model's name.
    #[arg(long, default_value = "ddl-cxr")]
    name: String,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct ShowArgs {
    /// The model directory.
    dir: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ProfileArg {
    Clinical,
    Reference,
}

impl From<ProfileArg> for Profile {
    fn from(arg: ProfileArg) -> Profile {
        match arg {
            ProfileArg::Clinical => Profile::Clinical,
            ProfileArg::Reference => Profile::Reference,
        }
    }
}

pub fn run(command: &ModelCommand) -> Result<ExitCode> {
    match command {
        ModelCommand::Import(args) => run_import(args)?,
        ModelCommand::Show(args) => run_show(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_import(args: &ImportArgs) -> Result<()> {
    if args.out.join("manifest.json").exists() {
        bail!("{} holds a model already; name another --out", args.out.display());
    }
    let config = match &args.config {
        Some(path) => read_config(path)?,
        None => DdlCxrConfig::full(),
    };
    let noise = match &args.noise {
        Some(path) => Noise::File(path.clone()),
        None => Noise::Seed(args.noise_seed),
    };
    let (artifact, report) = import(Request {
        checkpoints: args.checkpoints.clone(),
        config,
        noise,
        normalisers: args.normalisers.clone(),
        name: args.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        profile: args.profile.into(),
    })?;
    artifact.save(&args.out)?;
    let text = serde_json::to_string_pretty(&report)?;
    let path = args.out.join(REPORT);
    fs::write(&path, format!("{text}\n"))
        .with_context(|| format!("cannot write {}", path.display()))?;
    super::print(&if args.json { text } else { told(&report, &args.out) })
}

fn read_config(path: &Path) -> Result<DdlCxrConfig> {
    let unread = || format!("cannot read the config {}", path.display());
    if fs::metadata(path).with_context(unread)?.len() > MAX_CONFIG {
        bail!("{} is larger than {MAX_CONFIG} bytes; name a config.json", path.display());
    }
    let bytes = fs::read(path).with_context(unread)?;
    serde_json::from_slice(&bytes).with_context(|| {
        format!("{} is no model config; start from one of a model directory", path.display())
    })
}

/// The report for a reader.
fn told(report: &Report, out: &Path) -> String {
    let mut text = format!("wrote {} (digest {})\n", out.display(), report.digest);
    for source in &report.sources {
        let _ = writeln!(
            text,
            "{}: {}, {} of {} tensors used, {} of them moving averages",
            source.file, source.stage, source.used, source.tensors, source.averages
        );
        for (reason, count) in source.reasons() {
            let _ = writeln!(text, "  unused: {reason} ({count})");
        }
        if !source.others.is_empty() {
            let _ = writeln!(text, "  not tensors: {}", source.others.join(", "));
        }
    }
    let _ = writeln!(text, "missing: nothing");
    let _ = writeln!(text, "noise: {}", report.noise);
    let _ =
        writeln!(text, "scale factor: {} from {}", report.scale_factor, report.scale_factor_from);
    let _ = writeln!(text, "normalisers: {}", report.normalisers);
    for remark in &report.remarks {
        let _ = writeln!(text, "note: {remark}");
    }
    let _ = write!(text, "every name is in {}", out.join(REPORT).display());
    text
}

fn run_show(args: &ShowArgs) -> Result<()> {
    let artifact = Artifact::load_on_cpu(&args.dir)
        .with_context(|| format!("{} is no model that can be used", args.dir.display()))?;
    let shown = shown(&artifact, &args.dir)?;
    super::print(&match args.json {
        true => serde_json::to_string_pretty(&shown)?,
        false => readable(&artifact, &shown),
    })
}

/// Everything that there is to say of a model.
fn shown(artifact: &Artifact, dir: &Path) -> Result<Value> {
    let networks = &artifact.networks;
    let manifest = fs::read(dir.join("manifest.json")).context("the manifest cannot be read")?;
    let manifest: Value = serde_json::from_slice(&manifest)?;
    let import = fs::read(dir.join(REPORT)).ok();
    let import: Option<Value> = import.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(json!({
        "digest": artifact.digest().to_string(),
        "about": artifact.about,
        "parameters": {
            "vae_encoder": parameter_count(&networks.vae.encoder),
            "vae_decoder": parameter_count(&networks.vae.decoder),
            "vae": parameter_count(&networks.vae),
            "unet": parameter_count(&networks.unet),
            "ehr": parameter_count(&networks.ehr),
            "fusion_mortality": parameter_count(&networks.fusion_mortality),
            "fusion_phenotype": parameter_count(&networks.fusion_phenotype),
            "all": parameter_count(networks),
        },
        "noise": artifact.noise.len(),
        "files": manifest["files"],
        "config": artifact.config,
        "calibration": artifact.calibration.fitted_on,
        "import": import,
        "card": artifact.card,
    }))
}

fn readable(artifact: &Artifact, shown: &Value) -> String {
    let about = &artifact.about;
    let mut text = format!("{} {}\ndigest {}\n", about.name, about.version, artifact.digest());
    let _ = writeln!(text, "trained on {}", about.trained_on);
    let hours = if about.any_hour { "at any hour" } else { "at 48 h only" };
    let _ = writeln!(text, "profile {:?}, valid {hours}", about.profile);
    let _ = writeln!(text, "probabilities calibrated on {}", artifact.calibration.fitted_on);
    let section = |text: &mut String, name: &str| {
        let _ = writeln!(text, "\n{name}");
        for (key, value) in shown[name].as_object().into_iter().flatten() {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let _ = writeln!(text, "  {key:<18} {value}");
        }
    };
    section(&mut text, "parameters");
    section(&mut text, "files");
    section(&mut text, "config");
    let _ = write!(text, "\n{}", artifact.card.trim_end());
    text
}
