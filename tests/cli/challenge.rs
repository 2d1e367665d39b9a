//! `train ehr` and `evaluate --physionet2012` on a few made-up records.

use std::path::Path;

use super::support::run;

/// Records whose lactate tells who dies, and their outcomes.
fn records(dir: &Path, ids: std::ops::Range<u32>) {
    std::fs::create_dir_all(dir).unwrap();
    let mut table = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n".to_owned();
    for id in ids {
        let died = u32::from(id.is_multiple_of(4));
        table += &format!("{id},10,5,6,{},{died}\n", if died == 1 { 6 } else { -1 });
        let mut text = format!(
            "Time,Parameter,Value\n00:00,RecordID,{id}\n00:00,Age,{}\n00:00,Gender,1\n",
            40 + id % 40
        );
        for hour in 0..20 {
            let lactate = 1.0 + f64::from(5 * died) + f64::from((id + hour) % 7) / 10.0;
            text += &format!("{:02}:{:02},Lactate,{lactate}\n", 2 * hour, id % 60);
        }
        std::fs::write(dir.join(format!("{id}.txt")), text).unwrap();
    }
    std::fs::write(dir.join("Outcomes-x.txt"), table).unwrap();
}

const RECIPE: &str = "[events]\nmembers = 1\npasses = 8\nbatch = 8\n[events.optimiser]\n\
    learning_rate = 0.01\n[grid]\nmembers = 1\npasses = 8\nbatch = 8\n[grid.optimiser]\n\
    learning_rate = 0.01\n";

#[test]
fn a_model_of_the_challenge_is_trained_compared_and_used_on_other_stays() {
    let dir = tempfile::tempdir().unwrap();
    records(&dir.path().join("a"), 1..81);
    records(&dir.path().join("b"), 101..141);
    std::fs::write(dir.path().join("recipe.toml"), RECIPE).unwrap();
    let train = ["train", "ehr", "--data", "a", "--recipe", "recipe.toml", "--json"];
    let compare = ["--folds", "2", "--encoder", "events", "--encoder", "grid", "--out", "folds"];
    let found = run(dir.path(), &[&train[..], &compare].concat()).expect(0).json();
    assert_eq!((&found["stays"], &found["died"]), (&80.into(), &20.into()));
    for entry in found["entries"].as_array().unwrap() {
        assert!(entry["auroc"]["value"].as_f64().unwrap() > 0.9, "{entry}");
        assert_eq!(entry["folds"].as_array().unwrap().len(), 2);
    }
    let report = std::fs::read_to_string(dir.path().join("folds/report.html")).unwrap();
    assert!(report.contains("Calibration: events") && report.contains("Calibration: grid"));
    let table = std::fs::read_to_string(dir.path().join("folds/predictions.csv")).unwrap();
    assert!(table.starts_with("record_id,fold,died,events,grid\n") && table.lines().count() == 81);

    for out in ["model", "again"] {
        run(dir.path(), &[&train[..], &["--out", out]].concat()).expect(0);
    }
    let weights =
        |out: &str| std::fs::read(dir.path().join(out).join("weights.safetensors")).unwrap();
    assert_eq!(weights("model"), weights("again"), "the same seed gives the same weights");
    let score = ["evaluate", "--physionet2012", "b", "--model", "model", "--out", "report"];
    let scored = run(dir.path(), &[&score[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(scored["stays"], 40);
    assert!(scored["entries"][0]["auroc"]["value"].as_f64().unwrap() > 0.9, "{scored}");
    let told = run(dir.path(), &score).expect(0);
    assert!(told.out.contains("min(sens, prec)"), "{}", told.out);
}

#[test]
fn what_cannot_be_learned_from_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("none")).unwrap();
    let empty = run(dir.path(), &["train", "ehr", "--data", "none", "--out", "m"]).expect(1);
    assert!(empty.err.contains("set-a.tar.gz"), "{}", empty.err);
    records(&dir.path().join("a"), 1..9);
    std::fs::remove_file(dir.path().join("a/Outcomes-x.txt")).unwrap();
    let bare = run(dir.path(), &["train", "ehr", "--data", "a", "--out", "m"]).expect(1);
    assert!(bare.err.contains("Outcomes-*.txt"), "{}", bare.err);
    let two = ["--encoder", "events", "--encoder", "grid", "--out", "m"];
    records(&dir.path().join("a"), 1..9);
    let two = run(dir.path(), &[&["train", "ehr", "--data", "a"][..], &two].concat()).expect(1);
    assert!(two.err.contains("--folds"), "{}", two.err);
    run(dir.path(), &["evaluate"]).expect(2);
    let recipe = run(dir.path(), &["train", "ehr", "--print-recipe"]).expect(0);
    assert!(recipe.out.contains("encoder = \"events\""));
}
