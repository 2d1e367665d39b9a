//! `nowcxr train proof`: whether generation is worth anything, on a ward whose truth is known.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Result};
use clap::Args;

use super::{STOPPED, reporter, stop_on_signal};
use crate::evaluate::proof::{Outcome, ProofReport, Stratum, judge};
use crate::metrics::Estimate;
use crate::train::recipe::PROOF;
use crate::train::{
    DataKind, DataNote, Hooks, Part, Recipe, SeedProof, TrainError, TrainOptions, Trial, Twin,
    prove,
};

/// Of the resamples of the patients.
const SEED: u64 = 1;

#[derive(Args)]
pub(super) struct ProofArgs {
    /// Where each seed's training and the report (proof.json) go.
    #[arg(long)]
    out: PathBuf,
    /// Seeds of the wards to learn from and of the networks, trained one behind the other.
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Stays of each ward to learn from; one in three has an outcome, all give film pairs.
    #[arg(long, default_value_t = 9_000)]
    patients: u64,
    /// Stays to predict, 48 h after their admission.
    #[arg(long, default_value_t = 5_000)]
    tested: usize,
    /// Seed of the ward that is predicted.
    #[arg(long, default_value_t = 1_001)]
    test_seed: u64,
    /// Trains the paper's ablations, too: four more diffusion models and ten more predictions.
    #[arg(long)]
    ablations: bool,
    /// The learning curve: the twins once more from each of these numbers of labelled stays.
    #[arg(long, value_delimiter = ',', value_name = "STAYS")]
    curve: Vec<usize>,
    /// How the stages are trained, instead of the proof's own recipe.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Goes on where an earlier run with the same --out was stopped.
    #[arg(long)]
    resume: bool,
    /// Resamples of the patients for each interval.
    #[arg(long, default_value_t = 1_000)]
    replicates: usize,
    /// Print proof.json instead of tables.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ProofArgs) -> Result<ExitCode> {
    let recipe = match &args.recipe {
        Some(path) => Recipe::read(path)?,
        None => Recipe::parse(PROOF)?,
    };
    let stop = stop_on_signal()?;
    let stops = |_: &str, _: u64| stop.load(Ordering::Acquire);
    let trial = Trial {
        patients: args.patients,
        test_seed: args.test_seed,
        tested: args.tested,
        ablations: args.ablations,
        curve: args.curve.clone(),
    };
    let mut proofs = Vec::with_capacity(args.seeds.len());
    for &seed in &args.seeds {
        let out = args.out.join(format!("seed-{seed}"));
        eprintln!("seed {seed}; log and pictures go to {}", out.join("training").display());
        let mut report = reporter();
        let mut hooks = Hooks { report: &mut report, stop: &stops };
        match prove(&options(args, recipe.clone(), seed), &trial, &out, &mut hooks) {
            Err(stopped @ TrainError::Stopped(..)) => {
                eprintln!("{stopped}");
                return Ok(ExitCode::from(STOPPED));
            }
            other => proofs.push(other?),
        }
    }
    let report = judge(&proofs, args.replicates, SEED)
        .context("the twins cannot be compared; predict more stays (--tested)")?;
    let text = serde_json::to_string_pretty(&report)?;
    let path = args.out.join("proof.json");
    std::fs::write(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
    crate::cli::print(&if args.json { text } else { tables(&report, &proofs) })?;
    Ok(ExitCode::SUCCESS)
}

fn options(args: &ProofArgs, recipe: Recipe, seed: u64) -> TrainOptions {
    let whose = format!("the proof's ward of {} stays (seed {seed})", args.patients);
    TrainOptions {
        name: "proof".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        recipe,
        part: Part::All,
        resume: args.resume,
        seed,
        autoencoder: None,
        vgg: None,
        data: DataNote { whose, kind: DataKind::Synthetic },
        command: "nowcxr train proof".to_owned(),
    }
}

fn tables(report: &ProofReport, proofs: &[SeedProof]) -> String {
    let mut lines = vec![format!(
        "synthetic ward; {} labelled stays and {} film pairs to learn from (seed {})",
        report.labelled,
        report.pairs,
        report.seeds.first().copied().unwrap_or_default()
    )];
    for proof in proofs {
        lines.push(format!(
            "seed {}: {:.0} s; films rebuilt to {:.4}; distance to the later film of a pair {:.3} \
             generated, {:.3} carried",
            proof.seed,
            proof.seconds,
            proof.vae.absolute_error,
            proof.ldm.generated_mse,
            proof.ldm.carried_mse
        ));
    }
    report.strata.iter().for_each(|stratum| of_stratum(stratum, &mut lines));
    for point in &report.curve {
        lines.push(format!("\nlearnt from {} labelled stays, judged on all", point.labelled));
        of_outcome("death", &point.mortality, &mut lines);
        of_outcome("phenotypes (macro)", &point.phenotypes, &mut lines);
    }
    lines.join("\n")
}

fn of_stratum(stratum: &Stratum, lines: &mut Vec<String>) {
    let Stratum { name, stays, deaths, nearer, .. } = stratum;
    lines.push(format!("\n{name}: {stays} stays, {deaths} deaths"));
    lines.push(format!(
        "  nearer to the film of now than the last film is: {} (1 - ratio of squared distances)",
        shown(nearer)
    ));
    of_outcome("death", &stratum.mortality, lines);
    of_outcome("phenotypes (macro)", &stratum.phenotypes, lines);
}

fn of_outcome(name: &str, outcome: &Outcome, lines: &mut Vec<String>) {
    lines.push(format!("  AUPRC of {name}, prevalence {:.3}", outcome.prevalence));
    for figure in &outcome.twins {
        let text = (figure.twin.name(), shown(&figure.auprc), seeds(&figure.by_seed));
        lines.push(format!("    {:<42} {} {}", text.0, text.1, text.2));
    }
    for difference in &outcome.differences {
        let name = format!("{} - {}", short(difference.better), short(difference.worse));
        let text = (shown(&difference.auprc), seeds(&difference.by_seed));
        lines.push(format!("    {name:<42} {} {}", text.0, text.1));
    }
    if let Some(gap) = outcome.gap_closed {
        lines.push(format!("    share of the oracle's gap that is closed: {:.0} %", 100.0 * gap));
    }
}

fn short(twin: Twin) -> &'static str {
    match twin {
        Twin::CarryForward => "carried",
        Twin::Swapped => "another's EHR",
        Twin::NoReference => "without last film",
        Twin::NoEhr => "without EHR",
        other => other.name(),
    }
}

fn shown(estimate: &Estimate) -> String {
    match estimate.interval {
        Some((low, high)) => format!("{:+.4} ({low:+.4} to {high:+.4})", estimate.value),
        None => format!("{:+.4} (no interval)", estimate.value),
    }
}

fn seeds(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("{value:+.4}")).collect();
    format!("by seed {}", values.join(", "))
}
