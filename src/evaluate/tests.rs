//! The figures of a small run against a computation that knows nothing of this module.

use proptest::prelude::*;

use super::*;
use crate::event::Sex;
use crate::ids::StayId;
use crate::time::EventTime;

fn sample(stay: u64, hours: f64, mortality: f64, died: bool) -> Sample {
    Sample {
        stay: StayId(stay),
        patient: stay,
        t: EventTime::from_millis((hours * 3_600_000.0) as i64),
        hours,
        los: 60.0,
        film_age: Some(hours % 40.0),
        mortality,
        carry_forward: Some(1.0 - mortality),
        ehr_only: Some(0.5),
        generated: true,
        died,
        age_years: 50 + (stay % 40) as u8,
        sex: if stay % 2 == 0 { Sex::Female } else { Sex::Male },
        unit: "MICU <1>".to_owned(),
    }
}

/// Forty stays with 1 to 60 windows each; every fourth stay dies, and mostly scores higher.
fn run() -> Vec<Sample> {
    let mut all = Vec::new();
    for stay in 0..40u64 {
        let died = stay % 4 == 0;
        for hour in 1..=(1 + stay * 3 % 60) {
            let noise = ((stay * 31 + hour * 17) % 29) as f64 / 58.0;
            let p = (if died { 0.42 } else { 0.2 }) + noise;
            all.push(sample(stay, hour as f64, p.min(0.99), died));
        }
    }
    all
}

fn options() -> EvaluateOptions {
    EvaluateOptions { replicates: 40, seed: 3 }
}

fn evaluated(samples: &[Sample]) -> Evaluation {
    evaluate(samples, Counts::default(), Provenance::default(), options()).unwrap()
}

/// The weighted share of (death, survival) pairs that are in order: by the definition.
fn auroc_by_pairs(samples: &[Sample]) -> f64 {
    let weight = |of: &Sample| 1.0 / samples.iter().filter(|s| s.stay == of.stay).count() as f64;
    let (mut won, mut pairs) = (0.0, 0.0);
    for dead in samples.iter().filter(|s| s.died) {
        for alive in samples.iter().filter(|s| !s.died) {
            let w = weight(dead) * weight(alive);
            pairs += w;
            if dead.mortality > alive.mortality {
                won += w;
            } else if dead.mortality == alive.mortality {
                won += w / 2.0;
            }
        }
    }
    won / pairs
}

#[test]
fn the_figures_are_those_of_a_naive_computation() {
    let samples = run();
    let evaluation = evaluated(&samples);
    let every = evaluation.sets.iter().find(|set| set.name == "every hour").unwrap();
    let auroc = every.overall.auroc.known().unwrap();
    assert!((auroc.value - auroc_by_pairs(&samples)).abs() < 1e-12);
    let (low, high) = auroc.interval.unwrap();
    assert!(low < auroc.value && auroc.value < high);
    // One score a stay, the one at 48 h.
    let at: Vec<Sample> = samples.iter().filter(|s| s.hours == 48.0).cloned().collect();
    let published = &evaluation.sets[0].overall;
    assert_eq!((published.windows, published.stays), (at.len(), at.len()));
    assert!((published.auroc.known().unwrap().value - auroc_by_pairs(&at)).abs() < 1e-12);
    let brier: f64 = at.iter().map(|s| (s.mortality - f64::from(u8::from(s.died))).powi(2)).sum();
    let brier = brier / at.len() as f64;
    assert!((published.brier.known().unwrap().value - brier).abs() < 1e-12);
    // The old film's twin was told the opposite, the one without a film nothing.
    let twins = &every.overall.twins;
    let twin = |i: usize| twins[i].auroc.known().unwrap().value;
    assert!((twin(0) + twin(1) - 1.0).abs() < 1e-12 && (twin(2) - 0.5).abs() < 1e-12);
    let difference = every.overall.differences[0].auroc.known().unwrap();
    assert!((difference.value - (twin(0) - twin(1))).abs() < 1e-12);
    let parts: usize = every
        .strata
        .iter()
        .filter(|stratum| stratum.by == "sex")
        .map(|stratum| stratum.figures.windows)
        .sum();
    assert_eq!(parts, samples.len());
}

#[test]
fn the_page_asks_for_nothing_and_says_what_it_is() {
    let provenance = Provenance { synthetic: true, simulated_pairing: true, ..Default::default() };
    let evaluation = evaluate(&run(), Counts::default(), provenance, options()).unwrap();
    let html = page(&evaluation, "a <run>");
    for outside in ["http:", "https:", "src=", "@import", "url(", "<script"] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(html.contains("a &lt;run&gt;") && html.contains("MICU &lt;1&gt;"));
    // Beside every section's figures, and at the top.
    let said = html.matches("SIMULATED").count();
    assert_eq!(said, 1 + html.matches("<section>").count());
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    assert!(!html.contains("NaN") && !html.contains("inf"));
}

#[test]
fn nothing_to_evaluate_is_said() {
    let none = evaluate(&[], Counts::default(), Provenance::default(), options());
    assert!(matches!(none, Err(EvaluateError::Nothing(_))));
    // One outcome only: figures are unknown, with the reason, and the page stands.
    let alive: Vec<Sample> = run().into_iter().filter(|s| !s.died).collect();
    let evaluation = evaluated(&alive);
    assert_eq!(evaluation.sets[1].overall.auroc.known(), None);
    assert!(evaluation.sets[1].overall.brier.known().is_some());
    assert!(page(&evaluation, "x").contains("n/a"));
}

#[test]
fn the_table_is_read_back() {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::RowAccessor as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("predictions.parquet");
    let mut samples = run();
    samples[1].carry_forward = None;
    write_parquet(&path, &samples).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&path).unwrap()).unwrap();
    let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
    assert_eq!(rows.len(), samples.len());
    for (row, sample) in rows.iter().zip(&samples) {
        assert_eq!(row.get_long(0).unwrap(), sample.stay.0 as i64);
        assert_eq!(row.get_bool(2).unwrap(), sample.died);
        assert_eq!(row.get_double(3).unwrap(), sample.mortality);
        assert_eq!(row.get_double(4).ok(), sample.carry_forward);
    }
}

proptest! {
    #[test]
    fn no_samples_break_it(
        rows in prop::collection::vec((0u64..12, 0u8..100, 0u8..=10, any::<bool>()), 1..60)
    ) {
        let mut samples: Vec<Sample> = rows
            .into_iter()
            .map(|(stay, hour, p, generated)| {
                let died = stay % 3 == 0;
                let p = f64::from(p) / 10.0;
                Sample { generated, ..sample(stay, f64::from(hour), p, died) }
            })
            .collect();
        samples.sort_by_key(|sample| (sample.stay, sample.t));
        let options = EvaluateOptions { replicates: 5, seed: 1 };
        let evaluation =
            evaluate(&samples, Counts::default(), Provenance::default(), options).unwrap();
        prop_assert!(!page(&evaluation, "p").contains("NaN"));
    }
}
