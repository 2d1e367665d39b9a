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
        phenotypes: Some(Phenotyped {
            scores: std::array::from_fn(|k| (mortality as f32 + k as f32 / 50.0).min(1.0)),
            present: std::array::from_fn(|k| k < 24 && (stay + k as u64).is_multiple_of(3)),
        }),
        died,
        age_years: 50 + (stay % 40) as u8,
        sex: if stay.is_multiple_of(2) { Sex::Female } else { Sex::Male },
        unit: "MICU <1>".to_owned(),
    }
}

/// Forty stays with 1 to 60 windows each; every fourth stay dies, and mostly scores higher.
pub(super) fn run() -> Vec<Sample> {
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

pub(super) fn evaluated(samples: &[Sample]) -> Evaluation {
    evaluate(samples, Counts::default(), Provenance::default(), options()).unwrap()
}

/// The weighted share of (death, survival) pairs that are in order: by the definition.
fn auroc_by_pairs(samples: &[Sample]) -> f64 {
    let windows = |stay| samples.iter().filter(|s| s.stay == stay).count() as f64;
    let weighted: Vec<(f64, &Sample)> =
        samples.iter().map(|sample| (1.0 / windows(sample.stay), sample)).collect();
    let (mut won, mut pairs) = (0.0, 0.0);
    for (wd, dead) in weighted.iter().filter(|(_, s)| s.died) {
        for (wa, alive) in weighted.iter().filter(|(_, s)| !s.died) {
            pairs += wd * wa;
            if dead.mortality > alive.mortality {
                won += wd * wa;
            } else if dead.mortality == alive.mortality {
                won += wd * wa / 2.0;
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

/// Whether a figure of the page is no number. Names of diseases may begin with the same letters.
fn has_no_number(html: &str) -> bool {
    html.split(|c: char| !c.is_alphanumeric()).any(|word| word == "NaN" || word == "inf")
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
    assert!(!has_no_number(&html));
}

#[test]
fn phenotypes_are_ranked_each_and_on_average() {
    let evaluation = evaluated(&run());
    let told = evaluation.sets[1].phenotypes.as_ref().unwrap();
    assert_eq!(told.each.len(), 25);
    // The last one occurs in no stay.
    let known: Vec<f64> =
        told.each.iter().filter_map(|one| Some(one.auroc.known()?.value)).collect();
    assert_eq!((known.len(), told.each[24].auprc.known()), (24, None));
    let mean = known.iter().sum::<f64>() / 24.0;
    let average = told.macro_auroc.known().unwrap();
    assert!((average.value - mean).abs() < 1e-12 && average.interval.is_some());
    let mut samples = run();
    samples[0].phenotypes = None;
    assert_eq!(evaluated(&samples).sets[1].phenotypes, None, "some windows have none");
}

#[test]
fn films_and_samplers_have_their_pages() {
    let mut evaluation = evaluated(&run());
    let names = ["a model".to_owned(), "0123456789abcdef".to_owned()];
    let films = films::quality(&truth::tests::looks(), names, true, options()).unwrap();
    assert_eq!(films.sets.generated_frechet.map(|d| d > 0.0), Some(true));
    evaluation.add_films(films);
    let found = |name: &str| {
        let all = &evaluation.films.as_ref().unwrap().signatures;
        all.iter().find(|one| one.name == name).unwrap().found
    };
    assert_eq!(found("no change although the EHR moved"), Some(false));
    assert_eq!(found("no nearer than the last film"), Some(false));
    // The run's old film was told the opposite of the outcome.
    assert_eq!(found("no gain over carry-forward"), Some(false));
    let html = page(&evaluation, "x");
    for said in ["Known ways to fail", "Fréchet", "part of the oracle", "Phenotypes"] {
        assert!(html.contains(said), "{said}");
    }
    assert!(!has_no_number(&html));
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

/// Ends of the numbers that follow each other at the end of a column's page.
fn numbers(bytes: &[u8], n: usize) -> Vec<f64> {
    let tail = &bytes[bytes.len() - 8 * n..];
    tail.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

#[test]
fn the_table_holds_the_samples() {
    let mut samples = run();
    samples[1].carry_forward = None;
    let bytes = table::bytes_of(&samples);
    assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PAR1"[..], &b"PAR1"[..]));
    let length = u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize;
    let (body, footer) = bytes[..bytes.len() - 8].split_at(bytes.len() - 8 - length);
    let text = String::from_utf8_lossy(footer);
    for column in ["subject_id", "prediction_time", "predicted_boolean_probability"] {
        assert!(text.contains(column));
    }
    // The last column is the hours; it ends where the footer begins.
    let hours: Vec<f64> = samples.iter().map(|sample| sample.hours).collect();
    assert_eq!(numbers(body, samples.len()), hours);
}

/// The table of three rows whose bytes pyarrow has read: values, empty cells, types and times.
/// `tests/peers/read_predictions.py` reads such a file again; the test writes one where
/// `NOWCXR_WRITE_PREDICTIONS` says.
#[test]
fn the_bytes_are_those_that_pyarrow_has_read() {
    let mut samples = vec![
        sample(7, 6.0, 0.25, false),
        sample(7, 7.5, 0.5, false),
        sample(93_000_001, 48.0, 1.0, true),
    ];
    (samples[0].carry_forward, samples[2].film_age) = (None, None);
    let bytes = table::bytes_of(&samples);
    if let Some(path) = std::env::var_os("NOWCXR_WRITE_PREDICTIONS") {
        std::fs::write(path, &bytes).unwrap();
    }
    let digest = crate::ids::Digest::of(&bytes).to_string();
    assert_eq!(digest, "7dcc3d7614d9a90eaf321bffadb89ac7f6bd69e9251ceb028e5671f41a754269");
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
