//! `nowcxr evaluate --physionet2012`: outcome models on stays that they have not seen.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::super::print;
use super::super::train::ehr::{report, summary};
use super::{EvaluateArgs, write};
use crate::evaluate::{EvaluateOptions, Scored, ScoredStays, evaluate_challenge};
use crate::event::dictionary::Dictionary;
use crate::ids::Digest;
use crate::train::challenge::{Stay, Trained, read};

pub fn run(args: &EvaluateArgs, data: &Path) -> Result<ExitCode> {
    let dict = Dictionary::physionet2012()?;
    let challenge = read(data, &dict)?;
    let stays: Vec<&Stay> = challenge.stays.iter().filter(|stay| stay.outcome.is_some()).collect();
    if stays.is_empty() {
        bail!("{} has no outcome of any record; put Outcomes-*.txt beside them", data.display());
    }
    let mut entries = Vec::new();
    let mut models = Vec::new();
    for dir in &args.model {
        let trained = Trained::load(dir)?;
        let name = format!("{} ({})", trained.about.recipe.encoder.name(), entries.len() + 1);
        models.push(json!({ "name": name, "about": trained.about }));
        entries.push(Scored { name, scores: trained.model.probabilities(&stays, &dict) });
    }
    let died = stays.iter().map(|stay| stay.outcome.is_some_and(|outcome| outcome.died));
    let scored = ScoredStays {
        ids: stays.iter().map(|stay| u64::from(stay.record.id)).collect(),
        died: died.collect(),
        fold: Vec::new(),
    };
    let how = format!(
        "{} records, {} of them with an outcome, scored by a model trained before; the figures \
         mean something only if it has not seen these stays.",
        challenge.stays.len(),
        stays.len()
    );
    let options = EvaluateOptions { replicates: args.replicates, seed: args.seed };
    let found = evaluate_challenge(&scored, &entries, how, options)?;
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    report(&args.out, &found, &scored, &entries)?;
    let mut outputs = serde_json::Map::new();
    for name in ["report.html", "metrics.json", "predictions.csv"] {
        let bytes = std::fs::read(args.out.join(name))
            .with_context(|| format!("cannot read {name} back"))?;
        outputs.insert(name.to_owned(), Digest::of(&bytes).to_string().into());
    }
    let told = json!({
        "nowcxr": env!("CARGO_PKG_VERSION"),
        "models": models,
        "rows": challenge.rows,
        "outputs": outputs,
        "options": options,
    });
    write(&args.out.join("manifest.json"), serde_json::to_string_pretty(&told)?.as_bytes())?;
    print(&if args.json { serde_json::to_string_pretty(&found)? } else { summary(&found) })?;
    eprintln!("report: {}", args.out.join("report.html").display());
    Ok(ExitCode::SUCCESS)
}
