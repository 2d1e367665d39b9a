//! `drift` over replays of synthetic wards: the same ward by another seed has not drifted, another
//! hospital has.

use std::path::Path;

use super::support::{model, run};

/// Stays of each ward; fewer than 20 claim nothing.
const STAYS: &str = "24";

/// A ward without films, so that a window is quick, replayed into `name`.
fn ward(dir: &Path, name: &str, seed: &str, shift: &str, model: &str) {
    let recording = format!("{name}-ward");
    let synth = ["synth", "--patients", STAYS, "--seed", seed, "--shift", shift];
    run(dir, &[&synth[..], &["--out", &recording]].concat()).expect(0);
    let tables = format!("{recording}/mimiciv");
    let sets = ["--set", model, "--set", "engine.every=12h", "--json"];
    run(dir, &[&["replay", "--mimic-iv", &tables, "--out", name][..], &sets[..]].concat())
        .expect(0);
}

#[test]
fn another_hospital_drifts_and_another_seed_does_not() {
    let (dir, Some(model)) = (tempfile::tempdir().unwrap(), model()) else { return };
    let dir = dir.path();
    ward(dir, "first", "1", "", &model);
    let profile = ["drift", "profile", "--run", "first", "--out", "profile.json"];
    let made = run(dir, &[&profile[..], &["--labels", "first-ward/mimiciv"]].concat()).expect(0);
    assert!(made.out.contains("Synthetic patients"), "{}", made.out);
    // Nothing of a single stay is in it.
    let text = std::fs::read_to_string(dir.join("profile.json")).unwrap();
    assert!(text.contains("\"heart_rate\"") && !text.contains("9300"), "{text}");

    let compare = |name: &str| {
        let labels = format!("{name}-ward/mimiciv");
        let args = ["drift", "compare", "--profile", "profile.json", "--run", name, "--json"];
        run(dir, &[&args[..], &["--labels", &labels]].concat())
    };
    let itself = compare("first").expect(0).json();
    for one in itself["found"].as_array().unwrap() {
        assert!(one["psi"].as_f64().unwrap_or(0.0) < 1e-9, "{one}");
    }
    ward(dir, "second", "2", "", &model);
    let same = compare("second").expect(0).json();
    assert_eq!(same["drifted"], false);
    ward(dir, "other", "3", "sicker=1.8,older=20,charting=4,noise=3", &model);
    let other = compare("other").expect(3).json();
    assert_eq!(other["drifted"], true);
    let much = |kind: &str| {
        let mut all = other["found"].as_array().unwrap().iter();
        all.any(|one| one["kind"] == kind && one["verdict"] == "much")
    };
    assert!(much("value") && much("missing") && much("age"), "{other}");

    let told = run(dir, &["drift", "compare", "--profile", "profile.json", "--run", "other"]);
    assert!(told.out.contains("MUCH DRIFT") && told.out.contains("DRIFTED"), "{}", told.out);
    the_committee_is_told(dir, &model);
    let none =
        run(dir, &["drift", "compare", "--profile", "none.json", "--run", "other"]).expect(1);
    assert!(none.err.contains("nowcxr drift profile"), "{}", none.err);
    std::fs::write(dir.join("profile.json"), "{}").unwrap();
    compare("other").expect(1);
}

/// `report` over the other hospital's run, with and without what is known of it.
fn the_committee_is_told(dir: &Path, model: &str) {
    let sets = ["--set", model, "--set", "engine.every=12h", "--replicates", "20"];
    let report = |more: &[&str]| {
        let args = ["report", "--silent-trial", "--run", "other", "--out", "trial.html"];
        let ran = run(dir, &[&args[..], &sets[..], more].concat()).expect(0);
        (ran, std::fs::read_to_string(dir.join("trial.html")).unwrap())
    };
    let known = ["--labels", "other-ward/mimiciv", "--profile", "profile.json", "--json"];
    let (ran, html) = report(&known);
    let told = ran.json();
    assert_eq!(told["ran"]["stays"], 24);
    assert_eq!(told["ran"]["by_mode"].as_object().map(|modes| modes.len()), Some(1));
    assert_eq!(told["drift"]["drifted"], true);
    assert!(told["evaluation"]["sets"][0]["overall"]["stays"].as_u64() > Some(5));
    assert!(html.contains("AUROC") && html.contains("Much drift") && !html.contains("http"));
    let (ran, html) = report(&[]);
    assert!(ran.out.contains("Synthetic patients"), "{}", ran.out);
    assert!(html.contains("Outcomes are not known") && !html.contains("AUROC"));
    // Under another configuration its budget would be another one.
    let args = ["report", "--silent-trial", "--run", "other", "--set", model];
    let other = run(dir, &args).expect(1);
    assert!(other.err.contains("--config"), "{}", other.err);
}
