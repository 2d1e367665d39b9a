//! `evaluate` over a demo's run: phenotypes, generated films against the ward's own truth, and the
//! samplers compared. Called by the demo's test, whose run it reads.

use std::path::Path;

use serde_json::Value;

use super::support::run;

/// The report over the run in `dir/out`, made with `set`.
pub fn the_evaluation_judges_films_and_samplers(dir: &Path, set: &[&str]) {
    let args = ["evaluate", "--run", "out", "--replicates", "20", "--films", "6", "--json"];
    let sampling = ["--sampling", "--windows", "1"];
    let told = run(dir, &[&args[..], &sampling[..], set].concat()).expect(0).json();
    let films = &told["films"];
    assert!(films["windows"].as_u64().is_some_and(|n| (2..=6).contains(&n)), "{films}");
    assert!(films["sets"]["extractor"].as_str().unwrap().contains("features"));
    let number = |value: &Value| value["value"].as_f64().unwrap_or(f64::NAN);
    assert!((0.0..=1.0).contains(&number(&films["lung_overlap"])), "{films}");
    assert!(number(&films["ehr_effect"]) > 0.0, "another stay's EHR changes nothing: {films}");
    let overall = &films["truth"]["distances"][0];
    assert!(number(&overall["generated"]) > 0.0 && number(&overall["carried"]) > 0.0, "{films}");
    assert_eq!(films["truth"]["severities"].as_array().map(Vec::len), Some(6));
    assert_eq!(films["signatures"].as_array().map(Vec::len), Some(6));
    let phenotypes = &told["sets"][0]["phenotypes"]["each"];
    assert_eq!(phenotypes.as_array().map(Vec::len), Some(25), "{told}");
    the_samplers_agree(&told["sampling"]);
    let html = std::fs::read_to_string(dir.join("nowcxr-evaluation/report.html")).unwrap();
    for said in ["Generated films", "How few network evaluations", "Phenotypes"] {
        assert!(html.contains(said), "{said}");
    }
    // The dashboard shows a report of its own run only.
    std::fs::create_dir(dir.join("other")).unwrap();
    std::fs::write(dir.join("other/manifest.json"), r#"{"inputs":{"risk.jsonl":"0"}}"#).unwrap();
    let serve = ["serve", "--out", "out", "--listen", "127.0.0.1:0", "--evaluation", "other"];
    let refused = run(dir, &serve).expect(1);
    assert!(refused.err.contains("is of another run"), "{}", refused.err);
    // Without the model that made the run nothing is judged, and that is said.
    let none = run(dir, &["evaluate", "--run", "out", "--replicates", "5", "--films", "2"]);
    assert!(none.err.contains("generated films are not judged"), "{}", none.err);
}

fn the_samplers_agree(study: &Value) {
    assert_eq!(study["windows"], 1);
    let points = study["points"].as_array().unwrap();
    let at = |sampler: &str, n: u64| {
        let same = |p: &&Value| p["sampler"] == sampler && p["evaluations"] == n;
        let point = points.iter().find(same).unwrap_or_else(|| panic!("{sampler} {n}: {study}"));
        point["latent"].as_f64().unwrap()
    };
    let (ddim, dpm) = ("DDIM", "DPM-Solver++ 2M");
    // One evaluation is the same step for both; more come nearer, and 200 nearly meet.
    assert!((at(ddim, 1) - at(dpm, 1)).abs() < 1e-4);
    for sampler in [ddim, dpm] {
        assert!(at(sampler, 20) < at(sampler, 4) && at(sampler, 4) < at(sampler, 1), "{study}");
    }
    assert!(at(dpm, 200) < 0.1 * at(ddim, 1), "{study}");
    assert_eq!(study["spread"]["seeds"], 4);
}
