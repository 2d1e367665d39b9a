//! `nowcxr evaluate`: a replay's risk events against what became of the stays, or an outcome model
//! against a set of the PhysioNet Challenge 2012.

mod challenge;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::held::Held;
use super::print;
use crate::evaluate::{
    EvaluateOptions, Evaluation, Figure, Labels, evaluate, page, read_events, samples,
    write_parquet,
};
use crate::ids::Digest;
use crate::replay::Anchor;

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
    /// Print metrics.json instead of a summary.
    #[arg(long)]
    json: bool,
}

pub fn run(args: &EvaluateArgs) -> Result<ExitCode> {
    match (&args.physionet2012, &args.run) {
        (Some(data), _) => challenge::run(args, data),
        (None, Some(run)) => of_run(args, run),
        (None, None) => bail!("name --run DIR, or --physionet2012 DIR with --model DIR"),
    }
}

fn of_run(args: &EvaluateArgs, run: &Path) -> Result<ExitCode> {
    let held = Held::read(run)?;
    if held.as_ref().is_some_and(|held| held.anchor() != Anchor::Original) {
        bail!(
            "{} was replayed in shifted time; replay it without --anchor-now to evaluate it",
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
    let evaluation = evaluate(&found, counts, provenance, options)?;
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
        for twin in &f.twins {
            text += &format!("\n    {:<28}{}", twin.name, told(&twin.auprc));
        }
        for difference in &f.differences {
            text += &format!("\n    {:<28}{}", difference.name, told(&difference.auprc));
        }
    }
    text += &format!("\n\nreport: {}", out.join("report.html").display());
    text.trim_start().to_owned()
}
