//! Training as a whole: stopped and resumed it gives the same bits, by parts as at once, and from a
//! replayed recording through the command line.

use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::Device;
use nowcxr::model::Artifact;
use nowcxr::synth::{WardOptions, write_ward};
use nowcxr::train::sample::{Samples, Splits};
use nowcxr::train::{
    DataKind, DataNote, Hooks, Part, Recipe, TrainError, TrainOptions, TrainSummary, dataset,
    train_on,
};

/// Six steps a stage, with every mechanism that carries something from step to step.
const RECIPE: &str = "
[checkpoint]
steps = 2
[vae.course]
steps = 6
[vae.loss]
adversarial = 0.5
adversarial_from = 1
discriminator_width = 4
adaptive_every = 2
[ldm.course]
steps = 6
batch = 4
accumulate = 2
[fusion.course]
steps = 6
batch = 8
checks = 3
patience = 2
[fusion.optimiser]
average = 0.9
";

fn options(part: Part, resume: bool) -> TrainOptions {
    TrainOptions {
        name: "test".to_owned(),
        version: "0".to_owned(),
        recipe: Recipe::parse(RECIPE).expect("the recipe"),
        part,
        resume,
        seed: 4,
        autoencoder: None,
        vgg: None,
        data: DataNote { whose: "a test ward".to_owned(), kind: DataKind::Synthetic },
        command: "test".to_owned(),
    }
}

/// Runs, and stops after a step if one is named.
fn run(
    options: &TrainOptions,
    splits: &Splits,
    out: &Path,
    stop: Option<(&str, u64)>,
) -> Result<TrainSummary, TrainError> {
    let stops = |stage: &str, step: u64| stop == Some((stage, step));
    train_on(options, splits.clone(), out, &mut Hooks { report: &mut |_| {}, stop: &stops })
}

fn digest(out: &Path) -> String {
    Artifact::load(out, &Device::flex()).expect("a model").digest().to_string()
}

/// The first samples of a set, and the films that they need: enough to learn from and quickly done.
fn small(mut samples: Samples) -> Samples {
    samples.pairs.truncate(8);
    let died: Vec<usize> =
        (0..samples.windows.len()).filter(|&i| samples.windows[i].died).take(4).collect();
    let mut at = 0;
    samples.windows.retain(|_| {
        at += 1;
        at <= 8 || died.contains(&(at - 1))
    });
    let of_windows = samples.windows.iter().filter_map(|w| Some(w.film.as_ref()?.film));
    let last = samples.pairs.iter().map(|pair| pair.target).chain(of_windows).max().unwrap_or(0);
    samples.films.truncate(last + 1);
    samples
}

// One test, because the generator that dropout draws from belongs to the whole process.
#[test]
fn stopped_or_by_parts_a_run_gives_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let Splits { train, validate, test } = dataset::from_ward(4, 26, &mut |_, _| {}).unwrap();
    let [train, validate, test] = [train, validate, test].map(small);
    let splits = Splits { train, validate, test };
    let run = |options: &TrainOptions, out: &Path, stop| run(options, &splits, out, stop);
    let whole = dir.path().join("whole");
    let summary = run(&options(Part::All, false), &whole, None).unwrap();
    assert_eq!(summary.steps[..2], [6, 6]);
    assert!(summary.ldm.is_some());
    let wanted = digest(&whole);

    let torn = dir.path().join("torn");
    let stops = [("vae", 3), ("ldm", 3), ("fusion_mortality", 5)];
    for (n, stop) in stops.into_iter().enumerate() {
        let stopped = run(&options(Part::All, n > 0), &torn, Some(stop)).unwrap_err();
        assert!(
            matches!(&stopped, TrainError::Stopped(stage, step) if (stage.as_str(), *step) == stop)
        );
        assert!(!torn.join("manifest.json").exists());
    }
    run(&options(Part::All, true), &torn, None).unwrap();
    assert_eq!(digest(&torn), wanted, "stopped three times and resumed");

    let parts = dir.path().join("parts");
    let early = run(&options(Part::Fusion, false), &parts, None).unwrap_err();
    assert!(early.to_string().contains("nowcxr train vae"), "{early}");
    for part in [Part::Vae, Part::Ldm, Part::Fusion] {
        run(&options(part, false), &parts, None).unwrap();
    }
    assert_eq!(digest(&parts), wanted, "trained by parts");

    let mut other = options(Part::Ldm, false);
    other.seed = 5;
    let refused = run(&other, &parts, None).unwrap_err().to_string();
    assert!(refused.contains("other settings"), "{refused}");
    for picture in ["reconstructions.png", "generations.png", "curves-ldm.png"] {
        assert!(whole.join("training").join(picture).exists(), "{picture}");
    }
    let log = std::fs::read_to_string(whole.join("training/log.jsonl")).unwrap();
    for said in ["validation_auprc", "findings_weight", "discriminator", "adversarial_weight"] {
        assert!(log.contains(said), "{said}");
    }
}

fn nowcxr(args: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nowcxr"))
        .args(args)
        .current_dir(dir)
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("it runs")
}

#[test]
fn a_replayed_ward_becomes_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("ward");
    let ward = WardOptions { patients: 40, seed: 3, film_rows: 224, ..WardOptions::default() };
    write_ward(&ward, &data, &mut |_, _| {}).unwrap();
    let recipe = RECIPE.replace("steps = 6", "steps = 2") + "[data]\ncohort = \"all\"\n";
    std::fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    let args = ["train", "all", "--data", "ward", "--recipe", "recipe.toml", "--out", "model"];
    let out = nowcxr(&args, dir.path());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    let summary: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(summary["pairs"][0].as_u64().unwrap() > 10 && summary["steps"][3] == 2, "{summary}");
    let model = Artifact::load(&dir.path().join("model"), &Device::flex()).unwrap();
    assert!(model.card.contains("--data DIR") && model.card.contains("synthetic ward"));
    // The samples are there, so the calibration needs no second replay.
    let args = ["train", "calibrate", "--model", "model", "--data", "ward", "--recipe"];
    let out = nowcxr(&[&args[..], &["recipe.toml"]].concat(), dir.path());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("samples of an earlier run are used"), "{said}");
}

#[test]
fn the_default_recipe_is_printed_and_usage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let out = nowcxr(&["train", "--print-recipe"], dir.path());
    let printed = String::from_utf8(out.stdout).unwrap();
    assert_eq!(Recipe::parse(&printed).unwrap(), Recipe::parse("").unwrap());
    let out = nowcxr(&["train", "vae", "--data", "nowhere", "--out", "x"], dir.path());
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("nowhere"), "{said}");
    assert!(!nowcxr(&["train"], dir.path()).status.success());
}

#[test]
fn the_proof_compares_its_twins_and_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let short = RECIPE.replace("steps = 6", "steps = 2");
    let taught = "[reader.course]\nsteps = 2\nbatch = 4\n[reader.loss]\nlatent = 1.0\nfilm = 1.0\n";
    let recipe = format!("sizes = \"proof\"\n{short}{taught}[data]\nwindows_per_stay = 0\n");
    std::fs::write(dir.path().join("recipe.toml"), recipe).unwrap();
    let args =
        ["train", "proof", "--patients", "90", "--tested", "24", "--seeds", "7", "--out", "p"];
    let more = ["--recipe", "recipe.toml", "--replicates", "50", "--json"];
    let besides = ["--ablations", "--curve", "9"];
    let all = [&args[..], &more[..], &besides[..]].concat();
    let out = nowcxr(&all, dir.path());
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    let report: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&report["seeds"], &report["strata"][0]["stays"]), (&[7].into(), &24.into()));
    let twins = report["strata"][0]["mortality"]["twins"].as_array().unwrap();
    assert_eq!(twins.len(), 10);
    assert_eq!(report["curve"][0]["labelled"], 9);
    assert_eq!(report["curve"][0]["phenotypes"]["twins"].as_array().unwrap().len(), 3);
    for twin in twins {
        let auprc = twin["auprc"]["value"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auprc), "{twin}");
    }
    // A curve from more than there are would be the whole under another name.
    let more = nowcxr(&[&all[..all.len() - 1], &["19", "--resume"]].concat(), dir.path());
    let said = String::from_utf8_lossy(&more.stderr).into_owned();
    assert!(!more.status.success() && said.contains("there are 19; name fewer"), "{said}");
    // What was found is kept: nothing is drawn or trained again.
    let log = dir.path().join("p/seed-7/training/log.jsonl");
    let before = std::fs::read(&log).unwrap();
    let again = nowcxr(&[&all[..], &["--resume"]].concat(), dir.path());
    assert!(again.stdout == out.stdout, "another report");
    assert_eq!(std::fs::read(&log).unwrap(), before);
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!said.contains("ward"), "{said}");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("p/proof.json")).unwrap(),
        String::from_utf8(out.stdout).unwrap().trim_end()
    );
}
