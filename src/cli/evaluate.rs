//! `nowcxr evaluate`: a replay's risk events against what became of the stays, or an outcome model
//! against a set of the PhysioNet Challenge 2012.

mod challenge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::embedded::Home;
use super::held::Held;
use super::print;
use super::progress::Progress;
use super::settings::ConfigArgs;
use crate::config::{Config, PredictConfig};
use crate::evaluate::{
    EvaluateOptions, Evaluation, Figure, GivenWindow, Labels, Oracle, evaluate, film_quality,
    given_windows, page, read_events, samples, sampling, write_parquet,
};
use crate::event::dictionary::Dictionary;
use crate::ids::Digest;
use crate::predict::Pipeline;
use crate::replay::Anchor;
use crate::transport::local::LocalLog;
use crate::wire::Codec;

/// Bytes of film features that each copy of the networks keeps.
const FEATURE_BYTES: usize = 16 << 20;

#[derive(Args)]
pub struct EvaluateArgs {
    /// Directory that `nowcxr replay` or `nowcxr demo` wrote.
    #[arg(long, value_name = "DIR", required_unless_present = "physionet2012")]
    run: Option<PathBuf>,
    /// MIMIC-IV directory with the outcomes; the demo's own ward if not given.
    #[arg(long, value_name = "DIR", requires = "run")]
    labels: Option<PathBuf>,
    /// Instead of a run: records and outcomes in the format of the PhysioNet Challenge 2012,
    /// scored by --model. They must not be the stays that the model was trained on.
    #[arg(long, value_name = "DIR", requires = "model", conflicts_with = "run")]
    physionet2012: Option<PathBuf>,
    /// Directory that `nowcxr train ehr` wrote; may be given more than once, to compare.
    #[arg(long, value_name = "DIR", requires = "physionet2012")]
    model: Vec<PathBuf>,
    /// Where report.html, metrics.json, predictions.parquet and manifest.json go.
    #[arg(long, default_value = "nowcxr-evaluation")]
    out: PathBuf,
    /// Resamples of the patients for each interval.
    #[arg(long, default_value_t = 1_000)]
    replicates: usize,
    /// Of the resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Windows whose generated films are judged; 0 leaves that out. Needs the run's log and the
    /// model that made it; each takes about a third of a second of a core.
    #[arg(long, value_name = "N", default_value_t = 200)]
    films: usize,
    /// Compares samplers and numbers of network evaluations, 1 to 200, on the run's windows. Takes
    /// about four seconds of a core for each window with the model of CPU size.
    #[arg(long)]
    sampling: bool,
    /// Windows for --sampling.
    #[arg(long, value_name = "N", default_value_t = 500, requires = "sampling")]
    windows: usize,
    /// Print metrics.json instead of a summary.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvaluateArgs, settings: &ConfigArgs) -> Result<ExitCode> {
    match (&args.physionet2012, &args.run) {
        (Some(data), _) => challenge::run(args, data),
        (None, Some(run)) => of_run(args, run, settings),
        (None, None) => bail!("name --run DIR, or --physionet2012 DIR with --model DIR"),
    }
}

fn of_run(args: &EvaluateArgs, run: &Path, settings: &ConfigArgs) -> Result<ExitCode> {
    let held = Held::read(run)?;
    if held.as_ref().is_some_and(|held| held.anchor() != Anchor::Original) {
        bail!(
            "{} was replayed in shifted time; replay it without --anchor to evaluate it",
            run.display()
        );
    }
    let labels_dir = args.labels.clone().unwrap_or_else(|| run.join("ward/mimiciv"));
    if !labels_dir.is_dir() {
        bail!(
            "{} is no directory; name the MIMIC-IV data of the run with --labels",
            labels_dir.display()
        );
    }
    let risk = run.join("risk.jsonl");
    let events = read_events(&risk)?;
    let labels = Labels::read(&labels_dir)?;
    let (found, counts, mut provenance) = samples(&events, &labels);
    provenance.simulated_pairing = held.is_some_and(|held| held.simulated_pairing());
    let options = EvaluateOptions { replicates: args.replicates, seed: args.seed };
    let mut evaluation = evaluate(&found, counts, provenance, options)?;
    let again = Again { args, run, config: settings.load()?, labels: &labels };
    again.films(&mut evaluation, &labels_dir)?;
    again.sampling(&mut evaluation)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    let metrics = serde_json::to_string_pretty(&evaluation)?;
    let title = run
        .file_name()
        .map_or_else(|| run.display().to_string(), |name| name.to_string_lossy().into_owned());
    write(&args.out.join("report.html"), page(&evaluation, &title).as_bytes())?;
    write(&args.out.join("metrics.json"), metrics.as_bytes())?;
    write_parquet(&args.out.join("predictions.parquet"), &found)?;
    manifest(args, &evaluation, &risk)?;
    print(&if args.json { metrics } else { summary(&evaluation, &args.out) })?;
    Ok(ExitCode::SUCCESS)
}

/// The run's windows put to the networks again.
struct Again<'a> {
    args: &'a EvaluateArgs,
    run: &'a Path,
    config: Config,
    labels: &'a Labels,
}

impl Again<'_> {
    fn open(&self) -> Result<Pipeline, String> {
        let PredictConfig { model, device, .. } = &self.config.predict;
        Pipeline::open(model, *device, FEATURE_BYTES).map_err(|error| error.to_string())
    }

    fn windows(&self, most: usize) -> Result<Vec<GivenWindow>> {
        let log = Home::new(self.run).log();
        let log = LocalLog::open_read_only(&log).with_context(|| {
            format!("{} cannot be read; only a run on this machine has it", log.display())
        })?;
        let dictionary = Dictionary::builtin(self.config.profile)?;
        let codec = Codec::new(&self.config.engine.feeds, dictionary)?;
        Ok(given_windows(&log, &codec, most)?)
    }

    /// Judges the generated films, or says why not.
    fn films(&self, evaluation: &mut Evaluation, labels: &Path) -> Result<()> {
        if self.args.films == 0 {
            return Ok(());
        }
        let made_by = match self.open() {
            Ok(pipeline) => pipeline.model().digest().to_string(),
            Err(why) => {
                eprintln!("generated films are not judged: {why}");
                return Ok(());
            }
        };
        if made_by != evaluation.provenance.model_digest {
            let model = self.config.predict.model.display();
            eprintln!(
                "generated films are not judged: the run was made by another model than {model}; \
                 name it with --set predict.model=DIR"
            );
            return Ok(());
        }
        let windows = match self.windows(self.args.films) {
            Ok(windows) => windows,
            Err(why) => {
                eprintln!("generated films are not judged: {why:#}");
                return Ok(());
            }
        };
        let oracle = labels.parent().map(Oracle::open).transpose()?.flatten();
        let died: Vec<Option<bool>> =
            windows.iter().map(|window| self.labels.died(window.stay())).collect();
        let mut progress = Progress::new("judging generated films", "windows");
        let films = film_quality(
            &windows,
            oracle.as_ref(),
            &died,
            &|| self.open(),
            evaluation.options,
            &mut |done, all| progress.set(done, all),
        )?;
        progress.finish();
        evaluation.add_films(films);
        Ok(())
    }

    fn sampling(&self, evaluation: &mut Evaluation) -> Result<()> {
        if !self.args.sampling {
            return Ok(());
        }
        let windows = self.windows(self.args.windows)?;
        let mut progress = Progress::new("comparing samplers", "windows");
        let mut report = |done, all| progress.set(done, all);
        evaluation.sampling = Some(sampling(&windows, &|| self.open(), &mut report)?);
        progress.finish();
        Ok(())
    }
}

/// What went in and what came out, by digest.
fn manifest(args: &EvaluateArgs, evaluation: &Evaluation, risk: &Path) -> Result<()> {
    let digest = |path: &Path| -> Result<String> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Digest::of(&bytes).to_string())
    };
    let mut outputs = serde_json::Map::new();
    for name in ["report.html", "metrics.json", "predictions.parquet"] {
        outputs.insert(name.to_owned(), digest(&args.out.join(name))?.into());
    }
    let told = json!({
        "nowcxr": env!("CARGO_PKG_VERSION"),
        "inputs": { "risk.jsonl": digest(risk)? },
        "outputs": outputs,
        "options": evaluation.options,
        "provenance": evaluation.provenance,
        "warnings": evaluation.warnings,
    });
    let text = serde_json::to_string_pretty(&told)?;
    write(&args.out.join("manifest.json"), text.as_bytes())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// A figure with its interval, for a terminal.
pub(super) fn told(figure: &Figure) -> String {
    match figure.known() {
        Some(estimate) => match estimate.interval {
            Some((low, high)) => format!("{:.3} ({low:.3} to {high:.3})", estimate.value),
            None => format!("{:.3}", estimate.value),
        },
        None => "n/a".to_owned(),
    }
}

/// Films and samplers, where they were looked at.
fn further(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    if let Some(films) = &evaluation.films {
        text += &format!("\n\ngenerated films: {} windows of {} stays", films.windows, films.stays);
        for one in &films.signatures {
            let verdict = match one.found {
                Some(true) => "FOUND",
                Some(false) => "not found",
                None => "unknown",
            };
            text += &format!("\n  {verdict:<10} {:<34}{}", one.name, told(&one.value));
        }
    }
    if let Some(study) = &evaluation.sampling {
        text += &format!("\n\nsamplers: {} windows against {}\n", study.windows, study.reference);
        text += "  sampler            evaluations   risk mean    risk 99 %    film\n";
        for point in &study.points {
            text += &format!(
                "  {:<18}{:>12}{:>12.5}{:>13.5}{:>9.4}{}\n",
                point.choice.sampler,
                point.choice.evaluations,
                point.risk_mean,
                point.risk_p99,
                point.film,
                if point.keeps_rule() { "  keeps the rule" } else { "" }
            );
        }
        text += &format!("  {}", study.verdict());
    }
    text
}

fn summary(evaluation: &Evaluation, out: &Path) -> String {
    let mut text = evaluation.warnings.join("\n");
    for set in &evaluation.sets {
        let f = &set.overall;
        text += &format!(
            "\n\n{}: {} windows, {} stays, {} deaths\n  AUROC {}\n  AUPRC {}",
            set.name,
            f.windows,
            f.stays,
            f.died,
            told(&f.auroc),
            told(&f.auprc)
        );
        if let Some(phenotypes) = &set.phenotypes {
            text += &format!("\n  phenotypes, macro AUROC {}", told(&phenotypes.macro_auroc));
            text += &format!("\n  phenotypes, macro AUPRC {}", told(&phenotypes.macro_auprc));
        }
        for twin in &f.twins {
            text += &format!("\n    {:<28}{}", twin.name, told(&twin.auprc));
        }
        for difference in &f.differences {
            text += &format!("\n    {:<28}{}", difference.name, told(&difference.auprc));
        }
    }
    text += &further(evaluation);
    text += &format!("\n\nreport: {}", out.join("report.html").display());
    text.trim_start().to_owned()
}
