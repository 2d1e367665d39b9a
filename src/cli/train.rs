//! `nowcxr train`: a model directory from the synthetic ward.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::progress::Progress as Meter;
use crate::model::DdlCxrConfig;
use crate::train::{Budget, Progress, TrainOptions, dataset, recalibrate, train_all};

/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TrainArgs {
    #[command(subcommand)]
    part: Option<TrainCommand>,
    #[command(flatten)]
    all: Option<AllArgs>,
}

#[derive(Subcommand)]
enum TrainCommand {
    /// Fits a model's calibration anew on validation windows, with its covariance over stays.
    Calibrate(CalibrateArgs),
}

#[derive(Args)]
struct CalibrateArgs {
    /// The model directory; its calibration and card are rewritten.
    #[arg(long)]
    model: PathBuf,
    /// Stays of the synthetic ward that the model was trained on; its validation part is used.
    #[arg(long)]
    patients: u64,
    /// The ward's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct AllArgs {
    /// The model directory to write.
    #[arg(long)]
    out: PathBuf,
    /// The model's name.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Stays of the synthetic ward to train on.
    #[arg(long, default_value_t = 400)]
    patients: u64,
    /// Of the ward, the networks, the batches and the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds for the autoencoder.
    #[arg(long, default_value_t = 1_800.0)]
    vae_s: f64,
    /// Takes the autoencoder of this model directory instead of training one.
    #[arg(long)]
    autoencoder: Option<PathBuf>,
    /// Seconds for the diffusion model.
    #[arg(long, default_value_t = 900.0)]
    ldm_s: f64,
    /// Seconds for each of the two fusion models.
    #[arg(long, default_value_t = 450.0)]
    fusion_s: f64,
}

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    match (&args.part, &args.all) {
        (Some(TrainCommand::Calibrate(args)), _) => calibrate(args),
        (None, Some(args)) => all(args),
        (None, None) => bail!("name --out DIR, or a part of the training; see nowcxr train --help"),
    }
}

fn calibrate(args: &CalibrateArgs) -> Result<ExitCode> {
    let CalibrateArgs { model, patients, seed } = args;
    let mut progress = Meter::new("drawing the validation stays", "stays");
    let samples =
        dataset::validation_of_ward(*seed, *patients, &mut |done, all| progress.set(done, all))?;
    progress.finish();
    let whose = format!("the synthetic ward of {patients} stays (seed {seed})");
    let command = format!("nowcxr train calibrate --model DIR --patients {patients} --seed {seed}");
    let found = recalibrate(model, samples, &whose, &command)?;
    super::print(&serde_json::to_string_pretty(&found)?)?;
    Ok(ExitCode::SUCCESS)
}

fn all(args: &AllArgs) -> Result<ExitCode> {
    let AllArgs { out, name, patients, seed, vae_s, autoencoder, ldm_s, fusion_s } = args;
    let first = match autoencoder {
        Some(dir) => format!("--autoencoder {}", dir.display()),
        None => format!("--vae-s {vae_s}"),
    };
    let command = format!(
        "nowcxr train --name {name} --patients {patients} --seed {seed} {first} --ldm-s {ldm_s} \
         --fusion-s {fusion_s}"
    );
    let options = TrainOptions {
        name: name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: DdlCxrConfig::demo(),
        patients: *patients,
        seed: *seed,
        vae: Budget::Seconds(*vae_s),
        autoencoder: autoencoder.clone(),
        ldm: Budget::Seconds(*ldm_s),
        fusion: Budget::Seconds(*fusion_s),
        command,
    };
    eprintln!("seed {seed}; log and pictures go to {}", out.join("training").display());
    let mut last: Option<(Instant, String)> = None;
    let summary = train_all(&options, out, &mut |progress| {
        let due = last
            .as_ref()
            .is_none_or(|(at, stage)| at.elapsed() >= LINE_EVERY || *stage != progress.stage);
        if due {
            eprintln!("{}", line(&progress));
            last = Some((Instant::now(), progress.stage));
        }
    })?;
    super::print(&serde_json::to_string_pretty(&summary)?)?;
    Ok(ExitCode::SUCCESS)
}

fn line(progress: &Progress) -> String {
    let losses: Vec<String> =
        progress.losses.iter().map(|(name, loss)| format!("{name} {loss:.4}")).collect();
    format!(
        "{}: {}/{}, {:.1}/s, about {:.0} s left, {}",
        progress.stage,
        progress.step,
        progress.steps,
        progress.steps_per_second,
        progress.eta_seconds,
        losses.join(", ")
    )
}
