//! What must hold of the figures whatever the input.

use proptest::prelude::*;

use super::*;

fn samples() -> impl Strategy<Value = (Vec<f64>, Vec<bool>)> {
    // Coarse scores, so that ties are common.
    prop::collection::vec((0u8..=20, any::<bool>()), 1..60)
        .prop_map(|v| v.into_iter().map(|(s, y)| (f64::from(s) / 20.0, y)).unzip())
}

fn ones(n: usize) -> Vec<f64> {
    vec![1.0; n]
}

/// By the definition: every pair.
fn auroc_of_pairs(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let (mut won, mut pairs) = (0.0, 0.0);
    for (i, _) in labels.iter().enumerate().filter(|(_, y)| **y) {
        for (j, _) in labels.iter().enumerate().filter(|(_, y)| !**y) {
            pairs += 1.0;
            won += match scores[i].total_cmp(&scores[j]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    (pairs > 0.0).then(|| won / pairs)
}

/// By the definition: every threshold.
fn auprc_of_thresholds(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let positives = labels.iter().filter(|y| **y).count() as f64;
    let mut thresholds = scores.to_vec();
    thresholds.sort_by(|a, b| b.total_cmp(a));
    thresholds.dedup();
    let (mut sum, mut recall) = (0.0, 0.0);
    for threshold in thresholds {
        let taken: Vec<bool> =
            scores.iter().zip(labels).filter(|(s, _)| **s >= threshold).map(|(_, y)| *y).collect();
        let hits = taken.iter().filter(|y| **y).count() as f64;
        sum += (hits / positives - recall) * hits / taken.len() as f64;
        recall = hits / positives;
    }
    (positives > 0.0).then_some(sum)
}

proptest! {
    #[test]
    fn ranking_equals_its_definition((scores, labels) in samples()) {
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a.is_none() && b.is_none(),
        };
        prop_assert!(close(auroc(&scores, &labels).ok(), auroc_of_pairs(&scores, &labels)));
        prop_assert!(close(auprc(&scores, &labels).ok(), auprc_of_thresholds(&scores, &labels)));
    }

    #[test]
    fn ranking_sees_only_the_order((scores, labels) in samples()) {
        let moved: Vec<f64> = scores.iter().map(|s| (3.0 * s).exp()).collect();
        prop_assert_eq!(auroc(&scores, &labels), auroc(&moved, &labels));
        prop_assert_eq!(auprc(&scores, &labels), auprc(&moved, &labels));
        let turned: Vec<f64> = scores.iter().map(|s| -s).collect();
        if let (Ok(a), Ok(b)) = (auroc(&scores, &labels), auroc(&turned, &labels)) {
            prop_assert!((a + b - 1.0).abs() < 1e-12);
        }
        let swapped: Vec<f64> = scores.iter().rev().copied().collect();
        let labels_swapped: Vec<bool> = labels.iter().rev().copied().collect();
        if let Ok(a) = auprc(&scores, &labels) {
            prop_assert!((a - auprc(&swapped, &labels_swapped).unwrap()).abs() < 1e-12);
        }
    }

    #[test]
    fn a_weight_of_two_is_a_sample_twice((scores, labels) in samples(), pick in 0usize..60) {
        let pick = pick % scores.len();
        let mut weights = ones(scores.len());
        weights[pick] = 2.0;
        let (mut more, mut truth) = (scores.clone(), labels.clone());
        more.push(scores[pick]);
        truth.push(labels[pick]);
        let ranked = Ranked::new(&scores, &labels).unwrap();
        let same = |a: Result<f64, Undefined>, b: Result<f64, Undefined>| match (a, b) {
            (Ok(a), Ok(b)) => (a - b).abs() < 1e-9,
            (a, b) => a == b,
        };
        prop_assert!(same(ranked.auroc(&weights), auroc(&more, &truth)));
        prop_assert!(same(ranked.auprc(&weights), auprc(&more, &truth)));
        prop_assert!(same(
            ranked.min_sensitivity_precision(&weights),
            min_sensitivity_precision(&more, &truth)
        ));
        prop_assert!(same(
            brier(&scores, &labels, &weights),
            brier(&more, &truth, &ones(more.len()))
        ));
        prop_assert!(same(
            scaled_brier(&scores, &labels, &weights),
            scaled_brier(&more, &truth, &ones(more.len()))
        ));
    }

    #[test]
    fn groups_hold_every_sample_once((p, labels) in samples(), bins in 1usize..12) {
        let groups = reliability(&p, &labels, &ones(p.len()), bins).unwrap();
        prop_assert_eq!(groups.iter().map(|bin| bin.n).sum::<usize>(), p.len());
        prop_assert!(groups.windows(2).all(|w| w[0].predicted < w[1].predicted));
        let ece = expected_calibration_error(&p, &labels, &ones(p.len()), bins).unwrap();
        prop_assert!((0.0..=1.0).contains(&ece));
        let reversed: Vec<f64> = p.iter().rev().copied().collect();
        let turned: Vec<bool> = labels.iter().rev().copied().collect();
        let again = expected_calibration_error(&reversed, &turned, &ones(p.len()), bins).unwrap();
        prop_assert!((ece - again).abs() < 1e-12);
    }

    #[test]
    fn distances_are_distances(
        a in prop::collection::vec(-3.0f64..3.0, 12..40),
        shift in 0.1f64..2.0,
    ) {
        let a = &a[..a.len() / 3 * 3];
        let b: Vec<f64> = a.iter().map(|x| x + shift).collect();
        let (fa, fb) = (Features::new(a, 3).unwrap(), Features::new(&b, 3).unwrap());
        prop_assert!(frechet_distance(fa, fa).unwrap() < 1e-6);
        prop_assert!(mean_wasserstein(fa, fa).unwrap() < 1e-12);
        // A shift leaves the covariance alone.
        prop_assert!((frechet_distance(fa, fb).unwrap() - 3.0 * shift * shift).abs() < 1e-5);
        prop_assert!((mean_wasserstein(fa, fb).unwrap() - shift).abs() < 1e-9);
        let (there, back) = (frechet_distance(fa, fb).unwrap(), frechet_distance(fb, fa).unwrap());
        prop_assert!((there - back).abs() < 1e-6);
    }
}

#[test]
fn what_does_not_exist_is_named() {
    let none: [f64; 0] = [];
    assert_eq!(auroc(&none, &[]), Err(Undefined::Empty));
    assert_eq!(auroc(&[0.5, 0.2], &[true, true]), Err(Undefined::OneClass));
    assert_eq!(auprc(&[0.5, 0.2], &[false, false]), Err(Undefined::OneClass));
    assert_eq!(auprc(&[0.5], &[false, true]), Err(Undefined::Lengths));
    assert_eq!(auroc(&[f64::NAN, 0.1], &[true, false]), Err(Undefined::NotFinite));
    assert_eq!(brier(&[1.5], &[true], &[1.0]), Err(Undefined::NotFinite));
    assert_eq!(brier(&[0.5], &[true], &[0.0]), Err(Undefined::Empty));
    assert_eq!(scaled_brier(&[0.5], &[true], &[1.0]), Err(Undefined::OneClass));
    let apart = calibration(&[0.1, 0.2, 0.8, 0.9], &[false, false, true, true], &[1.0; 4]);
    assert_eq!(apart, Err(Undefined::NotFinite));
    assert_eq!(Features::new(&[1.0, 2.0, 3.0], 2).unwrap_err(), Undefined::Lengths);
    let one = Features::new(&[1.0, 2.0], 2).unwrap();
    assert_eq!(frechet_distance(one, one), Err(Undefined::TooFew));
    assert!(Patients::new(&[], Vec::new(), 10, 1).is_err());
}

#[test]
fn calibration_finds_what_was_done_to_the_probabilities() {
    // Outcomes at σ(2x − 1), told as σ(x).
    let (mut p, mut labels) = (Vec::new(), Vec::new());
    for i in 0..80 {
        let x = f64::from(i) / 20.0 - 2.0;
        for k in 0..200 {
            p.push(1.0 / (1.0 + (-x).exp()));
            labels.push((f64::from(k) + 0.5) / 200.0 < 1.0 / (1.0 + (1.0 - 2.0 * x).exp()));
        }
    }
    let found = calibration(&p, &labels, &ones(p.len())).unwrap();
    assert!((found.slope - 2.0).abs() < 0.03, "{found:?}");
    assert!((found.intercept + 1.0).abs() < 0.03, "{found:?}");
    assert!(found.observed_to_expected < 1.0 && found.in_the_large < 0.0);
}

#[test]
fn the_interval_is_that_of_patients_and_repeats() {
    // A hundred patients with ten equal samples each know no more than a hundred samples.
    let patient: Vec<u64> = (0..1_000).map(|i| i / 10).collect();
    let value: Vec<f64> = patient.iter().map(|&id| (id % 7) as f64).collect();
    let mean = |weights: &[f64]| {
        let sum: f64 = weights.iter().sum();
        Ok(weights.iter().zip(&value).map(|(w, v)| w * v).sum::<f64>() / sum)
    };
    let of = |ids: &[u64], seed| {
        Patients::new(ids, vec![1.0; 1_000], 400, seed).unwrap().estimate(mean).unwrap()
    };
    let width = |e: Estimate| e.interval.map(|(low, high)| high - low).unwrap();
    let by_patient = of(&patient, 1);
    let alone: Vec<u64> = (0..1_000).collect();
    let ratio = width(by_patient) / width(of(&alone, 1));
    assert!((ratio - 10f64.sqrt()).abs() < 0.5, "{ratio}");
    assert_eq!(by_patient, of(&patient, 1));
    assert_ne!(by_patient, of(&patient, 2));
    let (low, high) = by_patient.interval.unwrap();
    assert!(low < by_patient.value && by_patient.value < high);
    let single = Patients::new(&[7; 1_000], vec![1.0; 1_000], 50, 1).unwrap();
    assert_eq!(single.estimate(mean).unwrap().interval, None);
}
