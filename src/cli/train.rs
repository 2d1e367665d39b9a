//! `nowcxr train`: a model directory from a recording or from the synthetic ward.

pub mod ehr;
mod proof;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::held::is_pairing_simulated;
use super::progress::Progress as Meter;
use super::{STOPPED, stop_on_signal};
use crate::event::dictionary::Profile;
use crate::replay::ReplayConfig;
use crate::train::recipe::DEFAULT;
use crate::train::replayed::{self, Origin, Recording};
use crate::train::sample::{Samples, Splits};
use crate::train::symptoms::Symptom;
use crate::train::{
    DataKind, DataNote, Hooks, Part, Progress, Recipe, TrainError, TrainOptions, dataset,
    recalibrate, train_on,
};

/// Time between two lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Where `nowcxr synth` puts what no model may read.
const SYNTH_FILE: &str = "truth";

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct TrainArgs {
    #[command(subcommand)]
    part: Option<TrainCommand>,
    #[command(flatten)]
    all: Option<RunArgs>,
    /// Prints the default recipe with a word about each key, and does nothing else.
    #[arg(long, exclusive = true)]
    print_recipe: bool,
}

#[derive(Subcommand)]
enum TrainCommand {
    /// Trains the autoencoder.
    Vae(RunArgs),
    /// Trains the diffusion model on the autoencoder in the same directory.
    Ldm(RunArgs),
    /// Trains the fusion models on the networks in the same directory, and completes the model.
    Fusion(RunArgs),
    /// Trains all three stages; the same as naming none.
    All(RunArgs),
    /// Fits a model's calibration anew on validation windows, with its covariance over stays.
    Calibrate(CalibrateArgs),
    /// Trains the twins on the proof's ward and says what the generated film is worth.
    Proof(proof::ProofArgs),
    /// Trains an outcome model on the EHR alone, or cross-validates it: PhysioNet Challenge 2012.
    Ehr(ehr::EhrArgs),
}

/// Where the samples come from.
#[derive(Args, Clone)]
struct SourceArgs {
    /// A directory with mimiciv/ and mimic-cxr-jpg/ below it, as `nowcxr synth` writes.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["mimic_iv", "patients"])]
    data: Option<PathBuf>,
    /// MIMIC-IV as downloaded.
    #[arg(long, value_name = "DIR", requires = "mimic_cxr", conflicts_with = "patients")]
    mimic_iv: Option<PathBuf>,
    /// MIMIC-CXR-JPG as downloaded.
    #[arg(long, value_name = "DIR", requires = "mimic_iv")]
    mimic_cxr: Option<PathBuf>,
    /// Without data: stays of a synthetic ward, drawn in memory.
    #[arg(long)]
    patients: Option<u64>,
    /// Of the ward, the networks, the batches and the noise.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How samples are made and stages trained; see --print-recipe.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// The file of samples made of a recording; below --out or --model if none.
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
}

#[derive(Args)]
struct RunArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The model directory to write.
    #[arg(long)]
    out: PathBuf,
    /// The model's name.
    #[arg(long, default_value = "demo")]
    name: String,
    /// Goes on where an earlier run with the same --out was stopped.
    #[arg(long)]
    resume: bool,
    /// Takes the autoencoder of this model directory instead of training one.
    #[arg(long, value_name = "DIR")]
    autoencoder: Option<PathBuf>,
    /// VGG16's weights (safetensors, torchvision's names) for the perceptual term of the
    /// autoencoder's loss; without them it is left out. LPIPS's lin0 to lin4 in the same file are
    /// used too.
    #[arg(long, value_name = "FILE", conflicts_with = "autoencoder")]
    vgg: Option<PathBuf>,
    /// Seconds for the autoencoder, instead of the recipe's.
    #[arg(long)]
    vae_s: Option<f64>,
    /// Seconds for the diffusion model.
    #[arg(long)]
    ldm_s: Option<f64>,
    /// Seconds for each of the two fusion models.
    #[arg(long)]
    fusion_s: Option<f64>,
}

#[derive(Args)]
struct CalibrateArgs {
    /// The model directory; its calibration and card are rewritten.
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    source: SourceArgs,
}

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    if args.print_recipe {
        super::print(DEFAULT.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    match (&args.part, &args.all) {
        (Some(TrainCommand::Calibrate(args)), _) => calibrate(args),
        (Some(TrainCommand::Proof(args)), _) => proof::run(args),
        (Some(TrainCommand::Ehr(args)), _) => ehr::run(args),
        (Some(TrainCommand::Vae(args)), _) => train(args, Part::Vae),
        (Some(TrainCommand::Ldm(args)), _) => train(args, Part::Ldm),
        (Some(TrainCommand::Fusion(args)), _) => train(args, Part::Fusion),
        (Some(TrainCommand::All(args)), _) | (None, Some(args)) => train(args, Part::All),
        (None, None) => bail!("name --out DIR, or a part of the training; see nowcxr train --help"),
    }
}

/// Stays of the ward where neither data nor their number is named.
const PATIENTS: u64 = 400;

impl SourceArgs {
    fn recipe(&self) -> Result<Recipe> {
        Ok(match &self.recipe {
            Some(path) => Recipe::read(path)?,
            None => Recipe::parse("")?,
        })
    }

    /// The recording that is named, and what to say of it.
    fn recording(&self, recipe: &Recipe) -> Option<(Recording, DataNote)> {
        let (iv, cxr) = match (&self.data, &self.mimic_iv, &self.mimic_cxr) {
            (Some(data), ..) => (data.join("mimiciv"), data.join("mimic-cxr-jpg")),
            (None, Some(iv), Some(cxr)) => (iv.clone(), cxr.clone()),
            _ => return None,
        };
        let is_synthetic = iv.parent().is_some_and(|dir| dir.join(SYNTH_FILE).is_dir());
        let kind = match is_pairing_simulated(&cxr) {
            _ if is_synthetic => DataKind::Synthetic,
            true => DataKind::SimulatedPairing,
            false => DataKind::Recorded,
        };
        let whose = match kind {
            DataKind::Synthetic => "a synthetic ward, replayed",
            DataKind::SimulatedPairing => "a recording with simulated pairing, replayed",
            DataKind::Recorded => "a recording in MIMIC's format, replayed",
        };
        let replay = ReplayConfig { mimic_iv: iv, mimic_cxr: Some(cxr), ..Default::default() };
        let (profile, data) = (Profile::Clinical, recipe.data.clone());
        Some((Recording { replay, profile, data }, DataNote { whose: whose.to_owned(), kind }))
    }

    fn patients(&self) -> u64 {
        self.patients.unwrap_or(PATIENTS)
    }

    fn of_ward(&self) -> DataNote {
        let (patients, seed) = (self.patients(), self.seed);
        let whose = format!("the synthetic ward of {patients} stays (seed {seed})");
        DataNote { whose, kind: DataKind::Synthetic }
    }

    /// What a reader would type, in words that hold on his machine too.
    fn command(&self) -> String {
        match (&self.data, &self.mimic_iv) {
            (Some(_), _) => format!("--data DIR --seed {}", self.seed),
            (None, Some(_)) => format!("--mimic-iv DIR --mimic-cxr DIR --seed {}", self.seed),
            (None, None) => format!("--patients {} --seed {}", self.patients(), self.seed),
        }
    }

    fn replayed(&self, recording: &Recording, beside: &Path) -> Result<Splits> {
        let own = beside.join("training").join("samples.bin");
        let path = self.samples.as_deref().unwrap_or(&own);
        let mut meter = Meter::new("replaying the recording", "bytes");
        let (splits, origin) =
            replayed::samples(recording, path, &mut |done, all| meter.set(done, all))?;
        meter.finish();
        match origin {
            Origin::Reused => eprintln!("samples of an earlier run are used: {}", path.display()),
            Origin::Made => {}
            Origin::Remade(why) => {
                eprintln!("{} was made anew: {why}", path.display());
            }
        }
        Ok(splits)
    }

    fn validation(&self, recipe: &Recipe, model: &Path) -> Result<(Samples, DataNote)> {
        if let Some((recording, note)) = self.recording(recipe) {
            return Ok((self.replayed(&recording, model)?.validate, note));
        }
        let mut meter = Meter::new("drawing the validation stays", "stays");
        let samples = dataset::validation_of_ward(self.seed, self.patients(), &mut |done, all| {
            meter.set(done, all);
        })?;
        meter.finish();
        Ok((samples, self.of_ward()))
    }
}

fn calibrate(args: &CalibrateArgs) -> Result<ExitCode> {
    let recipe = args.source.recipe()?;
    let (samples, note) = args.source.validation(&recipe, &args.model)?;
    let command = format!("nowcxr train calibrate --model DIR {}", args.source.command());
    let found = recalibrate(&args.model, samples, &note.whose, &command)?;
    super::print(&serde_json::to_string_pretty(&found)?)?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &RunArgs, part: Part, recipe: Recipe, data: DataNote) -> TrainOptions {
    let mut command = match part {
        Part::All => "nowcxr train all".to_owned(),
        Part::Vae => "nowcxr train vae".to_owned(),
        Part::Ldm => "nowcxr train ldm".to_owned(),
        Part::Fusion => "nowcxr train fusion".to_owned(),
    };
    command += &format!(" --name {} {}", args.name, args.source.command());
    let given = [("vae", args.vae_s), ("ldm", args.ldm_s), ("fusion", args.fusion_s)];
    for (name, seconds) in given {
        if let Some(seconds) = seconds {
            command += &format!(" --{name}-s {seconds}");
        }
    }
    let flags = [
        (args.autoencoder.is_some(), " --autoencoder DIR"),
        (args.vgg.is_some(), " --vgg FILE"),
        (args.source.recipe.is_some(), " --recipe FILE"),
    ];
    flags.iter().filter(|(given, _)| *given).for_each(|(_, flag)| command += flag);
    TrainOptions {
        name: args.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        part,
        resume: args.resume,
        seed: args.source.seed,
        autoencoder: args.autoencoder.clone(),
        vgg: args.vgg.clone(),
        data,
        command,
    }
}

fn train(args: &RunArgs, part: Part) -> Result<ExitCode> {
    let mut recipe = args.source.recipe()?;
    let courses = [
        (&mut recipe.vae.course, args.vae_s),
        (&mut recipe.ldm.course, args.ldm_s),
        (&mut recipe.fusion.course, args.fusion_s),
    ];
    for (course, seconds) in courses {
        if let Some(seconds) = seconds {
            (course.steps, course.seconds) = (0, seconds);
        }
    }
    let (out, seed) = (&args.out, args.source.seed);
    eprintln!("seed {seed}; log and pictures go to {}", out.join("training").display());
    let learns = args.autoencoder.is_none() && matches!(part, Part::Vae | Part::All);
    if learns && args.vgg.is_none() && recipe.vae.loss.perceptual > 0.0 {
        eprintln!("no VGG16 weights (--vgg FILE): the perceptual term of the loss is left out");
    }
    let stop = stop_on_signal()?;
    let (splits, note) = match args.source.recording(&recipe) {
        Some((recording, note)) => (args.source.replayed(&recording, out)?, note),
        None => {
            let mut meter = Meter::new("drawing the ward", "stays");
            let splits = dataset::from_ward(seed, args.source.patients(), &mut |done, all| {
                meter.set(done, all);
            })?;
            meter.finish();
            (splits, args.source.of_ward())
        }
    };
    let options = options(args, part, recipe, note);
    let mut report = reporter();
    let stops = |_: &str, _: u64| stop.load(Ordering::Acquire);
    let mut hooks = Hooks { report: &mut report, stop: &stops };
    match train_on(&options, splits, out, &mut hooks) {
        Err(stopped @ TrainError::Stopped(..)) => {
            eprintln!("{stopped}");
            Ok(ExitCode::from(STOPPED))
        }
        Err(error) => Err(error.into()),
        Ok(summary) => {
            super::print(&serde_json::to_string_pretty(&summary)?)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Says how a run gets on: a line now and then, and one for each new stage.
fn reporter() -> impl FnMut(Progress) {
    let mut last: Option<(Instant, String)> = None;
    move |progress: Progress| {
        for Symptom { name, value, bound } in &progress.symptoms {
            eprintln!(
                "warning: {} at step {}: {name} ({value:.3}, bound {bound:.3})",
                progress.stage, progress.step
            );
        }
        if !progress.symptoms.is_empty() {
            return;
        }
        let due = last
            .as_ref()
            .is_none_or(|(at, stage)| at.elapsed() >= LINE_EVERY || *stage != progress.stage);
        if due {
            eprintln!("{}", line(&progress));
            last = Some((Instant::now(), progress.stage));
        }
    }
}

fn line(progress: &Progress) -> String {
    let Progress { stage, step, steps, steps_per_second, eta_seconds, losses, .. } = progress;
    let mut line = format!("{stage}: {step}/{}", steps.max(step));
    // What is only counted has no rate.
    if *steps_per_second > 0.0 {
        line += &format!(", {steps_per_second:.1}/s, about {eta_seconds:.0} s left");
    }
    for (name, loss) in losses {
        line += &format!(", {name} {loss:.4}");
    }
    line
}
