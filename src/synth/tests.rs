//! The ward as its readers find it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::dice::{Dice, Purpose};
use super::radiograph::{Anatomy, Devices, Picture, Severity, draw};
use super::*;
use crate::event::{Sex, ViewPosition};
use crate::ids::Digest;

fn digests(dir: &Path, root: &Path, into: &mut BTreeMap<String, Digest>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            digests(&path, root, into);
        } else {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            into.insert(name, Digest::of(&fs::read(&path).unwrap()));
        }
    }
}

fn rows(path: &Path) -> Vec<BTreeMap<String, String>> {
    let file = flate2::read::GzDecoder::new(fs::File::open(path).unwrap());
    csv::Reader::from_reader(file).deserialize().map(|row| row.unwrap()).collect()
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let options = WardOptions { patients: 2, seed: 3, ..WardOptions::default() };
    let ward = |seed: u64| {
        let dir = tempfile::tempdir().unwrap();
        let options = WardOptions { seed, ..options.clone() };
        write_ward(&options, dir.path(), &mut |_, _| {}).unwrap();
        let mut all = BTreeMap::new();
        digests(dir.path(), dir.path(), &mut all);
        all
    };
    let first = ward(3);
    assert!(first.len() > 15, "{first:?}");
    assert_eq!(first, ward(3));
    assert_ne!(first, ward(4));
}

#[test]
fn tables_parse_and_agree() {
    let dir = tempfile::tempdir().unwrap();
    let options = WardOptions { patients: 12, seed: 5, ..WardOptions::default() };
    let summary = write_ward(&options, dir.path(), &mut |_, _| {}).unwrap();
    let chart = rows(&dir.path().join("mimiciv/icu/chartevents.csv.gz"));
    assert_eq!(chart.len() as u64, summary.chart_rows);
    let sorted = chart.windows(2).all(|w| w[0]["charttime"] <= w[1]["charttime"]);
    assert!(!sorted, "rows must not come in order");
    assert!(chart.iter().any(|row| row["value"] == "Obeys Commands" && row["valuenum"] == "6"));
    let labs = rows(&dir.path().join("mimiciv/hosp/labevents.csv.gz"));
    assert!(labs.iter().any(|row| row["value"] == "___" && !row["valuenum"].is_empty()));
    assert!(labs.iter().any(|row| row["hadm_id"].is_empty()));
    let metadata = rows(&dir.path().join("mimic-cxr-jpg/mimic-cxr-2.0.0-metadata.csv.gz"));
    assert_eq!(metadata.len() as u64, summary.films);
    for row in &metadata {
        let subject = &row["subject_id"];
        let path = format!(
            "mimic-cxr-jpg/files/p{}/p{subject}/s{}/{}.jpg",
            &subject[..2],
            row["study_id"],
            row["dicom_id"]
        );
        let film = image::open(dir.path().join(path)).unwrap();
        assert_eq!(film.height().to_string(), row["Rows"]);
        assert!(film.width() >= 200 && film.height() >= 224);
        assert!(row["StudyTime"].parse::<f64>().is_ok());
    }
    let stays = rows(&dir.path().join("mimiciv/icu/icustays.csv.gz"));
    assert!(stays.iter().any(|row| row["los"].parse::<f64>().unwrap() > 2.0));
    assert!(rows(&dir.path().join("truth/truth.csv.gz")).len() > 12 * 24);
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    for options in [
        WardOptions { patients: 0, ..WardOptions::default() },
        WardOptions { beds: 0, ..WardOptions::default() },
        WardOptions { film_rows: 100, ..WardOptions::default() },
    ] {
        let answer = write_ward(&options, dir.path(), &mut |_, _| {});
        assert!(matches!(answer, Err(SynthError::Options(_))));
    }
}

fn film(severity: Severity) -> Picture {
    let mut dice = Dice::new(1, Purpose::Anatomy, 7);
    let anatomy = Anatomy::new(Sex::Male, 60.0, 1.0, &mut dice);
    let mut dice = Dice::new(1, Purpose::Film, 7);
    draw(&anatomy, &severity, &Devices::default(), ViewPosition::Ap, 256, &mut dice)
}

/// Mean grey of a box given in shares of the film's height, x from the midline.
fn mean(film: &Picture, x: (f64, f64), y: (f64, f64)) -> f64 {
    let place = |v: f64| (v * film.rows as f64) as usize;
    let middle = film.columns as f64 / film.rows as f64 / 2.0;
    let (mut sum, mut n) = (0.0, 0.0);
    for row in place(y.0)..place(y.1) {
        for column in place(middle + x.0)..place(middle + x.1) {
            sum += f64::from(film.pixels[row * film.columns + column]);
            n += 1.0;
        }
    }
    sum / n
}

#[test]
fn findings_show_where_they_belong() {
    let none = Severity::default();
    let clear = film(none);
    let base = ((-0.30, -0.12), (0.58, 0.70));
    let bases = |film: &Picture| mean(film, base.0, base.1) + mean(film, (0.14, 0.30), base.1);
    let mut last = bases(&clear);
    for effusion in [0.3, 0.6, 0.9] {
        let now = bases(&film(Severity { effusion, ..none }));
        assert!(now > last + 2.0, "effusion {effusion}: {last} then {now}");
        last = now;
    }
    let hila = |film: &Picture| mean(film, (-0.24, 0.24), (0.38, 0.55));
    assert!(hila(&film(Severity { oedema: 0.8, ..none })) > hila(&clear) + 12.0);
    let lungs = |film: &Picture| mean(film, (-0.32, 0.32), (0.25, 0.65));
    assert!(lungs(&film(Severity { consolidation: 0.8, ..none })) > lungs(&clear) + 4.0);
    let rims = |film: &Picture| {
        mean(film, (-0.34, -0.28), (0.30, 0.55)).min(mean(film, (0.28, 0.34), (0.30, 0.55)))
    };
    assert!(rims(&film(Severity { pneumothorax: 0.9, ..none })) < rims(&clear) - 4.0);
    let heart = |film: &Picture| mean(film, (-0.10, 0.26), (0.50, 0.62));
    assert!(heart(&film(Severity { cardiomegaly: 0.9, ..none })) > heart(&clear) + 8.0);
    assert!(bases(&film(Severity { low_volume: 0.9, ..none })) > bases(&clear) + 15.0);
}

#[test]
fn a_film_is_bright_bone_on_black_air() {
    let clear = film(Severity::default());
    let lung = mean(&clear, (-0.28, -0.14), (0.28, 0.50));
    let spine = mean(&clear, (-0.02, 0.02), (0.75, 0.95));
    let corner = f64::from(clear.pixels[0]);
    assert!(corner < 40.0 && lung < 130.0 && spine > 190.0, "{corner} {lung} {spine}");
}
