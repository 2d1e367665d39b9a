//! The EHR grid with a relative start, and the published defect B1 in it.

use nowcxr::event::Sex;
use nowcxr::event::dictionary::{Dictionary, GRID_COLUMNS, Profile};
use nowcxr::ids::VariableId;
use nowcxr::series::{GridSpan, LegacyDrop, Row, StaticFacts, hourly};
use nowcxr::time::EventTime;

use super::f64s;

const STATICS: StaticFacts = StaticFacts { age_years: 71, sex: Sex::Male };

fn same(case: usize, which: &str, got: &[f64]) {
    let (shape, want) = f64s(&format!("grid.{case}.{which}"));
    assert_eq!(got.len(), shape[0] * GRID_COLUMNS, "{case} {which}: hours");
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        let (bin, column) = (i / GRID_COLUMNS, i % GRID_COLUMNS);
        assert!((got - want).abs() < 1e-9, "{case} {which} {bin} {column}: {got} not {want}");
    }
}

#[test]
fn a_relative_start_counts_hours_as_the_rules_say() {
    let dictionary = Dictionary::builtin(Profile::Reference).expect("a dictionary");
    let mut differ = 0;
    for case in 0..4 {
        let (_, flat) = f64s(&format!("grid.{case}.rows"));
        let rows: Vec<Row> = flat
            .as_chunks::<3>()
            .0
            .iter()
            .map(|&[ms, channel, value]| Row {
                at: EventTime::from_millis(ms as i64),
                variable: VariableId(channel as u8),
                value,
            })
            .collect();
        let admitted_at = EventTime::from_millis(0);
        let end = EventTime::from_millis(60 * 3_600_000);
        let span = GridSpan::generation(admitted_at, end);
        let plain = hourly(&rows, span, STATICS, &dictionary);
        same(case, "plain", &plain.values);
        let legacy = span.with_legacy(LegacyDrop::On { admitted_at });
        let legacy = hourly(&rows, legacy, STATICS, &dictionary);
        same(case, "legacy", &legacy.values);
        differ += usize::from(legacy != plain);
    }
    assert!(differ >= 3, "defect B1 shows in {differ} of 4 cases");
}
