//! Parity of the grid with the reference implementation's discretiser, on its own episodes, and of
//! the stream benchmarks with their published answers.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nowcxr::cli::bench::{self, BenchArgs, StoreChoice, WireChoice};
use nowcxr::event::Sex;
use nowcxr::event::dictionary::{Dictionary, GRID_COLUMNS, Kind, Profile};
use nowcxr::series::{GridSpan, Normaliser, Row, StaticFacts, hourly};
use nowcxr::time::EventTime;
use safetensors::SafeTensors;

/// The folder of shared material, or `None` with a message.
fn shared(part: &str) -> Option<PathBuf> {
    let base = std::env::var_os("NOWCXR_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let path = base.join(part);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {part} under NOWCXR_SHARED or ../shared");
    None
}

fn tensor(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let view = file.tensor(name).expect("the file names this tensor");
    view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The rows of an episode file, and the facts that it repeats in every row.
fn episode(path: PathBuf, dict: &Dictionary) -> (Vec<Row>, StaticFacts) {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let header = reader.headers().unwrap().clone();
    let mut rows = Vec::new();
    let mut statics = StaticFacts { age_years: 0, sex: Sex::Female };
    for record in reader.records().map(Result::unwrap) {
        let hours: f64 = record[0].parse().unwrap();
        let at = EventTime::from_millis((hours * 3_600_000.0).round() as i64);
        for (name, text) in header.iter().zip(record.iter()).skip(1) {
            match (name, text) {
                (_, "") => {}
                ("Gender", sex) => {
                    statics.sex = if sex == "1.0" { Sex::Male } else { Sex::Female };
                }
                ("Age", age) => statics.age_years = age.parse::<f64>().unwrap() as u8,
                _ => {
                    let variable = dict.variables().iter().find(|v| v.name == name).unwrap();
                    let value = match &variable.kind {
                        Kind::Numeric { .. } => text.parse().unwrap(),
                        Kind::Categorical { categories, .. } => {
                            categories.iter().position(|known| known == text).unwrap() as f64
                        }
                    };
                    rows.push(Row { at, variable: variable.id, value });
                }
            }
        }
    }
    (rows, statics)
}

fn assert_equal(got: &[f64], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let (bin, column) = (i / GRID_COLUMNS, i % GRID_COLUMNS);
        assert!((got - want).abs() < 1e-9, "{what}: bin {bin} column {column}: {got} not {want}");
    }
}

#[test]
fn the_grid_equals_the_reference_to_1e_9() {
    let Some(folder) = shared("parity/ehr_grid") else { return };
    let bytes = std::fs::read(folder.join("ehr_grid.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let dict = Dictionary::builtin(Profile::Reference).unwrap();
    let admitted = EventTime::from_millis(0);
    let t = EventTime::from_millis(48 * 3_600_000);
    for index in 0..4 {
        let name = format!("episode_{index}");
        let (rows, statics) = episode(folder.join(format!("{name}.csv")), &dict);
        let grid = hourly(&rows, GridSpan::prediction(admitted, t), statics, &dict);
        assert_eq!(grid.n_bins, 48);
        assert_equal(&grid.values, &tensor(&file, &format!("{name}.grid")), &name);
        for which in ["ldm", "prediction"] {
            let normaliser = Normaliser::new(
                &tensor(&file, &format!("normaliser.{which}.mean")),
                &tensor(&file, &format!("normaliser.{which}.std")),
            )
            .unwrap();
            let mut scaled = grid.clone();
            normaliser.apply(&mut scaled);
            let want = tensor(&file, &format!("{name}.normalised_{which}"));
            assert_equal(&scaled.values, &want, &format!("{name} {which}"));
        }
    }
}

#[test]
fn the_stream_benchmarks_give_the_published_answers() {
    let Some(folder) = shared("parity/stream") else { return };
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
    let ways = [
        (1, StoreChoice::Memory, WireChoice::None),
        (2, StoreChoice::Memory, WireChoice::Avro),
        (8, StoreChoice::Sled, WireChoice::None),
    ];
    for (shards, store, wire) in ways {
        let file = folder.join("events.csv");
        // With a store, the run forgets everything half-way and goes on from what was durable.
        let restore_after = (store == StoreChoice::Sled).then_some(9_999);
        let args = BenchArgs { file, store, wire, shards, flush_ms: 20, restore_after, dir: None };
        let results = [
            ("window_expected", bench::window(&args).unwrap()),
            ("series_expected", bench::series(&args).unwrap()),
        ];
        for (name, result) in results {
            let result = serde_json::to_value(result).unwrap();
            for (field, want) in expected[name].as_object().unwrap() {
                assert_eq!(&result[field], want, "{name} {field} {shards} {store:?} {wire:?}");
            }
        }
    }
}
