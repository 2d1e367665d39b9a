//! `nowcxr train ehr`: an outcome model of the EHR alone, on the PhysioNet Challenge 2012.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::json;

use super::super::evaluate::{told, write};
use super::super::print;
use super::super::progress::Progress as Meter;
use crate::evaluate::{
    ChallengeEvaluation, EvaluateOptions, Scored, ScoredStays, challenge_page, evaluate_challenge,
};
use crate::event::dictionary::Dictionary;
use crate::train::challenge::recipe::DEFAULT;
use crate::train::challenge::{
    Challenge, EhrRecipe, EncoderKind, OutcomeModel, Stay, Trained, cross_validate, folds, read,
};

/// Folds at most: each is a whole training.
const FOLDS_MAX: usize = 50;

/// Resamples of the stays for each interval of a cross-validation.
const REPLICATES: usize = 1_000;

/// Trains a model that predicts death in hospital from the first 48 hours of an ICU stay, and
/// writes its directory; `nowcxr evaluate --physionet2012` scores it on other stays.
///
/// With --folds K nothing is kept: every stay is scored by a model that has not seen it, and
/// report.html, metrics.json and predictions.csv say how well. Both encoders are compared on the
/// same folds by --encoder events --encoder grid.
///
/// The same data, recipe and seed give the same model on one CPU type.
#[derive(Args)]
pub struct EhrArgs {
    /// Directory in the format of the PhysioNet Challenge 2012: set-*.tar.gz or text files, with
    /// Outcomes-*.txt.
    #[arg(long, value_name = "DIR", required_unless_present = "print_recipe")]
    data: Option<PathBuf>,
    /// Where the model, or the report of a cross-validation, goes.
    #[arg(long, value_name = "DIR", required_unless_present = "print_recipe")]
    out: Option<PathBuf>,
    /// How the model learns; see --print-recipe.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Which encoder, instead of the recipe's; more than one only with --folds.
    #[arg(long, value_enum, value_name = "NAME")]
    encoder: Vec<Encoder>,
    /// Cross-validates in so many folds, instead of training one model.
    #[arg(long, value_name = "K")]
    folds: Option<usize>,
    /// Of the folds, first weights, the order of stays, and what is left out.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print what was measured as JSON instead of a summary.
    #[arg(long)]
    json: bool,
    /// Prints the default recipe with a word about each key, and does nothing else.
    #[arg(long, exclusive = true)]
    print_recipe: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Encoder {
    /// The irregular series itself.
    Events,
    /// The reference's hourly grid.
    Grid,
}

pub fn run(args: &EhrArgs) -> Result<ExitCode> {
    if args.print_recipe {
        print(DEFAULT.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let (Some(data), Some(out)) = (&args.data, &args.out) else {
        bail!("name --data DIR and --out DIR; see nowcxr train ehr --help");
    };
    let recipes = recipes(args)?;
    let dict = Dictionary::physionet2012()?;
    let challenge = read(data, &dict)?;
    let stays: Vec<&Stay> = challenge.stays.iter().filter(|stay| stay.outcome.is_some()).collect();
    if stays.is_empty() {
        bail!("{} has no outcome of any record; put Outcomes-*.txt beside them", data.display());
    }
    say_rows(&challenge, stays.len());
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    match (args.folds, recipes.as_slice()) {
        (Some(k), recipes) => validate(args, out, k, &stays, &dict, recipes),
        (None, [recipe]) => train(args, out, &stays, &dict, recipe),
        (None, _) => bail!("one model has one encoder; compare encoders with --folds K"),
    }
}

/// The recipe, once for each encoder that is asked for.
fn recipes(args: &EhrArgs) -> Result<Vec<EhrRecipe>> {
    let recipe = match &args.recipe {
        Some(path) => EhrRecipe::read(path)?,
        None => EhrRecipe::parse("")?,
    };
    if args.encoder.is_empty() {
        return Ok(vec![recipe]);
    }
    let kind = |encoder: &Encoder| match encoder {
        Encoder::Events => EncoderKind::Events,
        Encoder::Grid => EncoderKind::Grid,
    };
    let with = |encoder: &Encoder| EhrRecipe { encoder: kind(encoder), ..recipe.clone() };
    Ok(args.encoder.iter().map(with).collect())
}

/// What the files held, on stderr.
fn say_rows(challenge: &Challenge, labelled: usize) {
    let rows = &challenge.rows;
    let rejected: Vec<String> =
        rows.rejected.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    eprintln!(
        "{} stays, {labelled} with an outcome; rows: {} used, {} written as missing, rejected: {}",
        challenge.stays.len(),
        rows.used,
        rows.missing,
        if rejected.is_empty() { "none".to_owned() } else { rejected.join(", ") }
    );
}

fn died(stays: &[&Stay]) -> Vec<bool> {
    stays.iter().map(|stay| stay.outcome.is_some_and(|outcome| outcome.died)).collect()
}

fn train(
    args: &EhrArgs,
    out: &std::path::Path,
    stays: &[&Stay],
    dict: &Dictionary,
    recipe: &EhrRecipe,
) -> Result<ExitCode> {
    let mut meter = Meter::new("training", "steps");
    let model = OutcomeModel::train(stays, dict, recipe, args.seed, &mut |done, all| {
        meter.set(done, all);
    })?;
    meter.finish();
    let encoder = recipe.encoder.name();
    let file = if args.recipe.is_some() { " --recipe FILE" } else { "" };
    let command = format!(
        "nowcxr train ehr --data DIR --encoder {encoder} --seed {}{file} --out DIR",
        args.seed
    );
    let deaths = died(stays).into_iter().filter(|died| *died).count();
    let trained = Trained::new(model, recipe, args.seed, (stays.len(), deaths), &command);
    trained.save(out)?;
    let about = &trained.about;
    print(&if args.json {
        serde_json::to_string_pretty(about)?
    } else {
        format!(
            "{encoder}: {} networks trained on {} stays, {} of which ended in death (seed {})\n\
             model: {}",
            about.members,
            about.stays,
            about.died,
            args.seed,
            out.display()
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn validate(
    args: &EhrArgs,
    out: &std::path::Path,
    k: usize,
    stays: &[&Stay],
    dict: &Dictionary,
    recipes: &[EhrRecipe],
) -> Result<ExitCode> {
    if !(2..=FOLDS_MAX).contains(&k) {
        bail!("--folds must be in 2..={FOLDS_MAX}");
    }
    let fold = folds(stays, k, args.seed);
    let mut entries = Vec::new();
    for recipe in recipes {
        let mut meter = Meter::new("cross-validating", "steps");
        let scores = cross_validate(stays, &fold, dict, recipe, args.seed, &mut |done, all| {
            meter.set(done, all);
        })?;
        meter.finish();
        entries.push(Scored { name: recipe.encoder.name().to_owned(), scores });
    }
    let ids = stays.iter().map(|stay| u64::from(stay.record.id)).collect();
    let scored = ScoredStays { ids, died: died(stays), fold };
    let how = format!(
        "Cross-validation in {k} folds, seed {}: every stay was scored by a model that had not \
         seen it.",
        args.seed
    );
    let options = EvaluateOptions { replicates: REPLICATES, seed: args.seed };
    let found = evaluate_challenge(&scored, &entries, how, options)?;
    report(out, &found, &scored, &entries)?;
    let recipe = json!({ "seed": args.seed, "folds": k, "recipes": recipes });
    write(&out.join("recipe.json"), serde_json::to_string_pretty(&recipe)?.as_bytes())?;
    print(&if args.json { serde_json::to_string_pretty(&found)? } else { summary(&found) })?;
    eprintln!("report: {}", out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}

/// Writes report.html, metrics.json and predictions.csv.
pub fn report(
    out: &std::path::Path,
    found: &ChallengeEvaluation,
    stays: &ScoredStays,
    entries: &[Scored],
) -> Result<()> {
    write(&out.join("report.html"), challenge_page(found).as_bytes())?;
    write(&out.join("metrics.json"), serde_json::to_string_pretty(found)?.as_bytes())?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([&["record_id", "fold", "died"][..], &names].concat())?;
    for (i, (id, died)) in stays.ids.iter().zip(&stays.died).enumerate() {
        let fold = stays.fold.get(i).map(|fold| (fold + 1).to_string()).unwrap_or_default();
        let mut row = vec![id.to_string(), fold, u8::from(*died).to_string()];
        let scores = entries.iter().filter_map(|entry| entry.scores.get(i));
        row.extend(scores.map(|score| format!("{score:.6}")));
        table.write_record(&row)?;
    }
    write(&out.join("predictions.csv"), &table.into_inner()?)
}

/// The table of a terminal.
pub fn summary(found: &ChallengeEvaluation) -> String {
    let mut text = format!(
        "{}\n{} stays, {} deaths\n\n{:<18}{:<25}{:<25}{:<25}{}\n",
        found.how,
        found.stays,
        found.died,
        "encoder",
        "AUROC",
        "AUPRC",
        "min(sens, prec)",
        "calibration slope"
    );
    for entry in &found.entries {
        text += &format!(
            "{:<18}{:<25}{:<25}{:<25}{}\n",
            entry.name,
            told(&entry.auroc),
            told(&entry.auprc),
            told(&entry.min_sensitivity_precision),
            told(&entry.calibration_slope)
        );
        if let Some(mean) = entry.mean_of_folds {
            let figures = [mean.auroc, mean.auprc, mean.min_sensitivity_precision];
            let [auroc, auprc, min] = figures.map(|figure| format!("{figure:.3}"));
            text += &format!("{:<18}{auroc:<25}{auprc:<25}{min}\n", "  mean of folds");
        }
    }
    for difference in &found.differences {
        text += &format!(
            "{:<18}{:<25}{:<25}{}\n",
            difference.name,
            told(&difference.auroc),
            told(&difference.auprc),
            told(&difference.min_sensitivity_precision)
        );
    }
    text.trim_end().to_owned()
}
