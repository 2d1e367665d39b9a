//! The outcome model from files to probabilities.

use std::path::{Path, PathBuf};

use super::*;
use crate::event::Sex;
use crate::event::dictionary::Dictionary;
use crate::metrics::auroc;
use crate::series::Row;
use crate::time::EventTime;

fn dictionary() -> Dictionary {
    Dictionary::physionet2012().unwrap()
}

/// A stay whose lactate, at a time of its own, says whether it ends in death: high early and low
/// late for survivors, the other way round for the others. The mean says nothing.
fn planted(id: u32, dict: &Dictionary) -> Stay {
    let died = id.is_multiple_of(3);
    let lactate = dict.by_code("lactate").unwrap();
    let heart = dict.by_code("heart_rate").unwrap();
    let at = |minute: u32| EventTime::from_millis(i64::from(minute) * 60_000);
    let noise = |n: u32| f64::from((id * 7_919 + n * 104_729) % 1_000) / 1_000.0;
    let mut rows = Vec::new();
    for n in 0..12 {
        let minute = 60 + n * 230 + id % 50;
        let is_late = n >= 6;
        let high = is_late == died;
        let value = if high { 5.0 } else { 2.0 } + noise(n);
        rows.push(Row { at: at(minute), variable: lactate, value });
        rows.push(Row { at: at(minute), variable: heart, value: 60.0 + 60.0 * noise(n + 50) });
    }
    let record = Record { id, age_years: Some(60), sex: Some(Sex::Male), rows };
    let outcome = Outcome {
        died,
        saps: Some(10.0),
        sofa: None,
        length_of_stay_d: Some(5.0),
        survival_d: died.then_some(4.0),
    };
    Stay { record, outcome: Some(outcome) }
}

fn recipe(encoder: &str) -> EhrRecipe {
    let text = format!(
        "encoder = \"{encoder}\"\n[events]\nmembers = 2\npasses = 12\nbatch = 16\n\
         [events.optimiser]\nlearning_rate = 0.01\n[grid]\nmembers = 2\npasses = 12\nbatch = 16\n\
         [grid.optimiser]\nlearning_rate = 0.01"
    );
    EhrRecipe::parse(&text).unwrap()
}

/// That the same seed gives the same weights is tested in `tests/cli`, in a process of its own:
/// dropout draws from a generator that all threads share.
#[test]
fn both_encoders_learn_when_something_happened_and_not_only_what() {
    let dict = dictionary();
    let stays: Vec<Stay> = (0..240).map(|id| planted(id, &dict)).collect();
    let (train, test): (Vec<&Stay>, Vec<&Stay>) = stays.iter().partition(|s| s.record.id < 160);
    let died: Vec<bool> = test.iter().map(|stay| stay.outcome.unwrap().died).collect();
    for encoder in ["events", "grid"] {
        let recipe = recipe(encoder);
        let (mut last, mut all) = (0, 0);
        let model = OutcomeModel::train(&train, &dict, &recipe, 5, &mut |done, steps| {
            assert!(done > last && done <= steps);
            (last, all) = (done, steps);
        });
        let model = model.unwrap();
        assert_eq!(last, all);
        let scores = model.probabilities(&test, &dict);
        let found = auroc(&scores, &died).unwrap();
        assert!(found > 0.95, "{encoder}: AUROC {found}");
        survives_its_directory(model, &recipe, &test, &scores);
    }
}

fn survives_its_directory(model: OutcomeModel, recipe: &EhrRecipe, test: &[&Stay], scores: &[f64]) {
    let dir = tempfile::tempdir().unwrap();
    let trained = Trained::new(model, recipe, 5, (160, 54), "a test");
    trained.save(dir.path()).unwrap();
    let loaded = Trained::load(dir.path()).unwrap();
    assert_eq!(loaded.about, trained.about);
    assert_eq!(loaded.model.probabilities(test, &dictionary()), scores);
    let scaling = dir.path().join("scaling.json");
    let mut bytes = std::fs::read(&scaling).unwrap();
    bytes.push(b' ');
    std::fs::write(&scaling, bytes).unwrap();
    let refused = Trained::load(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("altered"), "{refused}");
}

#[test]
fn a_probability_does_not_depend_on_the_batch_or_on_the_order_of_rows() {
    let dict = dictionary();
    let stays: Vec<Stay> = (0..40).map(|id| planted(id, &dict)).collect();
    let all: Vec<&Stay> = stays.iter().collect();
    let mut recipe = recipe("events");
    recipe.events.passes = 1;
    let model = OutcomeModel::train(&all, &dict, &recipe, 1, &mut |_, _| {}).unwrap();
    let together = model.probabilities(&all, &dict);
    for (stay, together) in all.iter().zip(&together) {
        let mut turned = (*stay).clone();
        turned.record.rows.reverse();
        let alone = model.probabilities(&[&turned], &dict)[0];
        assert!((alone - together).abs() < 1e-6, "{alone} {together}");
    }
    let other: Vec<f64> = together.iter().skip(1).map(|p| (p - together[0]).abs()).collect();
    assert!(other.iter().any(|off| *off > 1e-4), "stays differ");
}

#[test]
fn every_stay_is_held_out_once_and_deaths_are_spread() {
    let dict = dictionary();
    let stays: Vec<Stay> = (0..103).map(|id| planted(id, &dict)).collect();
    let all: Vec<&Stay> = stays.iter().collect();
    let fold = folds(&all, 5, 9);
    assert_eq!(fold, folds(&all, 5, 9));
    assert_ne!(fold, folds(&all, 5, 10));
    for held in 0..5 {
        let inside: Vec<&Stay> =
            all.iter().zip(&fold).filter(|(_, own)| **own == held).map(|(stay, _)| *stay).collect();
        let died = inside.iter().filter(|stay| stay.outcome.unwrap().died).count();
        assert!((20..=22).contains(&inside.len()) && (7..=8).contains(&died), "{held}: {died}");
    }
}

#[test]
fn stays_that_all_ended_the_same_way_teach_nothing() {
    let dict = dictionary();
    let stays: Vec<Stay> = (1..3).map(|id| planted(id, &dict)).collect();
    let all: Vec<&Stay> = stays.iter().collect();
    let refused = OutcomeModel::train(&all, &dict, &recipe("events"), 1, &mut |_, _| {});
    assert!(matches!(refused, Err(crate::train::TrainError::TooFew(_))));
}

const RECORD: &str = "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:07,HR,73\n";
const TABLE: &str =
    "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n7,6,-1,5,-1,1\n";

fn archive(path: &Path, files: &[(&str, &str)]) {
    let file = std::fs::File::create(path).unwrap();
    let zip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut builder = tar::Builder::new(zip);
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
}

#[test]
fn archives_and_loose_files_read_alike_and_faults_are_told() {
    let dict = dictionary();
    let (packed, loose) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    archive(&packed.path().join("set-x.tar.gz"), &[("set-x/7.txt", RECORD)]);
    std::fs::write(packed.path().join("Outcomes-x.txt"), TABLE).unwrap();
    std::fs::write(loose.path().join("notes.txt"), "nothing of this").unwrap();
    std::fs::create_dir(loose.path().join("set-x")).unwrap();
    std::fs::write(loose.path().join("set-x/7.txt"), RECORD).unwrap();
    std::fs::write(loose.path().join("Outcomes-x.txt"), TABLE).unwrap();
    let (a, b) = (read(packed.path(), &dict).unwrap(), read(loose.path(), &dict).unwrap());
    assert_eq!((&a.stays, &a.rows), (&b.stays, &b.rows));
    let outcome = a.stays[0].outcome.unwrap();
    assert!(outcome.died && outcome.sofa.is_none() && outcome.saps == Some(6.0));
    let fault = |dir: &Path| read(dir, &dict).unwrap_err().to_string();
    std::fs::write(loose.path().join("again.txt"), RECORD).unwrap();
    assert!(fault(loose.path()).contains("occurs twice"));
    let empty = tempfile::tempdir().unwrap();
    assert!(fault(empty.path()).contains("set-a.tar.gz"));
    std::fs::write(empty.path().join("Outcomes.txt"), TABLE.replace("SOFA", "sofa")).unwrap();
    assert!(fault(empty.path()).contains("no column SOFA"));
}

/// The Challenge's own files, where the shared data are there.
#[test]
fn set_a_is_read_whole() {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("NOWCXR_SHARED").map_or_else(beside, PathBuf::from);
    let dir = shared.join("data/physionet2012");
    if !dir.is_dir() {
        println!("skipped: no data/physionet2012 under NOWCXR_SHARED or ../shared");
        return;
    }
    let set = read(&dir, &dictionary()).unwrap();
    let died = set.stays.iter().filter(|stay| stay.outcome.is_some_and(|o| o.died)).count();
    assert_eq!((set.stays.len(), died), (4_000, 554));
    let rejected: u64 = set.rows.rejected.values().sum();
    assert_eq!(set.rows.used + set.rows.missing + rejected, ROWS_OF_SET_A);
    let unknown: Vec<&&str> = set.rows.rejected.keys().filter(|r| **r != "implausible").collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(rejected < ROWS_OF_SET_A / 200, "{:?}", set.rows);
}

/// Rows of set-a's files but headers and record ids, counted with grep.
const ROWS_OF_SET_A: u64 = 1_753_980;
