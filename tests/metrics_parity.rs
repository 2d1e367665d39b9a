//! Our figures against those that scikit-learn and SciPy give for the same numbers.

use std::path::PathBuf;

use nowcxr::metrics::{Features, auprc, auroc, brier, frechet_distance, mean_wasserstein};
use serde::Deserialize;

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct File {
    ranking: Vec<Ranking>,
    features: FeatureSets,
}

#[derive(Deserialize)]
struct Ranking {
    labels: Vec<u8>,
    scores: Vec<f64>,
    auroc: f64,
    average_precision: f64,
    brier: f64,
}

#[derive(Deserialize)]
struct FeatureSets {
    a: Vec<Vec<f64>>,
    b: Vec<Vec<f64>>,
    frechet_distance: f64,
    mean_wasserstein_1d: f64,
}

fn file() -> Option<File> {
    let shared = || std::env::var_os("NOWCXR_SHARED").map(|dir| PathBuf::from(dir).join("parity"));
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/parity");
    let named = std::env::var_os("NOWCXR_PARITY_DIR").map(PathBuf::from);
    let path = named.or_else(shared).unwrap_or_else(beside).join("metrics.json");
    if !path.is_file() {
        println!("skipped: no parity files; set NOWCXR_PARITY_DIR to check the metrics");
        return None;
    }
    let text = std::fs::read_to_string(path).expect("parity file");
    Some(serde_json::from_str(&text).expect("metrics.json"))
}

#[track_caller]
fn near(ours: f64, theirs: f64, what: &str) {
    let apart = (ours - theirs).abs() / theirs.abs();
    assert!(apart <= TOLERANCE, "{what}: {ours}, not {theirs}");
}

#[test]
fn ranking_figures_agree() {
    let Some(file) = file() else { return };
    assert!(!file.ranking.is_empty());
    for case in file.ranking {
        let labels: Vec<bool> = case.labels.iter().map(|&y| y == 1).collect();
        near(auroc(&case.scores, &labels).expect("auroc"), case.auroc, "auroc");
        near(auprc(&case.scores, &labels).expect("auprc"), case.average_precision, "auprc");
        let weights = vec![1.0; labels.len()];
        near(brier(&case.scores, &labels, &weights).expect("brier"), case.brier, "brier");
    }
}

#[test]
fn feature_distances_agree() {
    let Some(file) = file() else { return };
    let dimensions = file.features.a[0].len();
    let (a, b) = (file.features.a.concat(), file.features.b.concat());
    let a = Features::new(&a, dimensions).expect("features");
    let b = Features::new(&b, dimensions).expect("features");
    near(frechet_distance(a, b).expect("frechet"), file.features.frechet_distance, "frechet");
    near(mean_wasserstein(a, b).expect("mean"), file.features.mean_wasserstein_1d, "wasserstein");
}
