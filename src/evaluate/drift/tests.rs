//! The index by its own properties, and comparisons of wards that differ in a known way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::psi::{Distribution, PSI_MUCH, apart, bin, edges};
use super::*;
use crate::evaluate::{EvaluateOptions, Provenance};
use crate::event::risk::FilmAge;
use crate::ids::StayId;
use crate::metrics::Undefined;

/// Bins of so many stays with so many windows each.
fn stays() -> impl Strategy<Value = Vec<Vec<usize>>> {
    prop::collection::vec(prop::collection::vec(0usize..10, 1..12), 2..60)
}

fn distribution(stays: &[Vec<usize>]) -> Distribution {
    Distribution::of(stays, 10).unwrap()
}

proptest! {
    #[test]
    fn a_sample_does_not_differ_from_itself_and_order_changes_nothing(a in stays(), b in stays()) {
        let (a, b) = (distribution(&a), distribution(&b));
        prop_assert!(a.holds() && b.holds());
        prop_assert_eq!(apart(&a, &a).unwrap().psi, 0.0);
        let (one, other) = (apart(&a, &b).unwrap(), apart(&b, &a).unwrap());
        prop_assert!((one.psi - other.psi).abs() < 1e-12);
        prop_assert!(one.psi >= 0.0 && one.psi.is_finite() && one.by_chance.is_finite());
    }

    /// A part of the stays moves from the first bin to the last: the more, the larger the index.
    #[test]
    fn it_grows_with_the_shift(n in 20usize..200, steps in 2usize..10) {
        let moved = |k: usize| -> Vec<Vec<usize>> {
            (0..n).map(|stay| vec![if stay < n * k / (2 * steps) { 9 } else { stay % 5 }]).collect()
        };
        let before = distribution(&moved(0));
        let all: Vec<f64> =
            (0..=steps).map(|k| apart(&before, &distribution(&moved(k))).unwrap().psi).collect();
        prop_assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", all);
        prop_assert!(all[steps] > all[0]);
    }

    #[test]
    fn edges_ascend_and_every_number_has_a_bin(
        values in prop::collection::vec((-1e6f64..1e6, 0.01f64..1.0), 1..200)
    ) {
        let edges = edges(&values).unwrap();
        prop_assert!(edges.len() < psi::QUANTILES);
        prop_assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
        for (value, _) in &values {
            let bin = bin(&edges, *value).unwrap();
            prop_assert!(bin <= edges.len());
            prop_assert!(bin == 0 || edges[bin - 1] < *value);
            prop_assert!(bin == edges.len() || *value <= edges[bin]);
        }
    }
}

#[test]
fn it_is_the_sum_of_the_definition() {
    // 50 of 100 in each of two bins against 80 and 20.
    let of = |n: usize| {
        let stays: Vec<Vec<usize>> = (0..100).map(|stay| vec![usize::from(stay < n)]).collect();
        Distribution::of(&stays, 2).unwrap()
    };
    let expected = 0.3 * (0.8f64 / 0.5).ln() + (-0.3) * (0.2f64 / 0.5).ln();
    let found = apart(&of(50), &of(20)).unwrap();
    assert!((found.psi - expected).abs() < 1e-12, "{found:?}");
    // Variances between stays that are all one window: p (1 − p) / (n − 1).
    let by_chance = (0.25 / 99.0 + 0.16 / 99.0) * (1.0 / 0.65 + 1.0 / 0.35);
    assert!((found.by_chance - by_chance).abs() < 1e-12, "{found:?}");
    // With one degree of freedom the bound is the square of 3.29.
    assert!((found.bound / found.by_chance / 10.83 - 1.0).abs() < 0.05, "{found:?}");
}

#[test]
fn an_empty_bin_is_no_infinity_and_no_number_is_refused() {
    let full = distribution(&vec![(0..10).collect(); 30]);
    let one = distribution(&vec![vec![3]; 30]);
    let found = apart(&full, &one).unwrap();
    assert!(found.psi.is_finite() && found.psi > PSI_MUCH, "{found:?}");
    let mut broken = full.clone();
    broken.shares[0] = f64::NAN;
    assert_eq!(apart(&broken, &full).err(), Some(Undefined::NotFinite));
    assert!(!broken.holds());
    assert_eq!(edges(&[(1.0, 1.0), (f64::NAN, 1.0)]).err(), Some(Undefined::NotFinite));
    assert_eq!(bin(&[1.0], f64::INFINITY).err(), Some(Undefined::NotFinite));
    assert_eq!(edges(&[]).err(), Some(Undefined::Empty));
    assert_eq!(Distribution::of(&[vec![0]], 2).err(), Some(Undefined::TooFew));
    assert_eq!(Distribution::of(&[vec![0], vec![2]], 2).err(), Some(Undefined::Lengths));
    assert_eq!(Distribution::of(&[vec![0], vec![1]], 99).err(), Some(Undefined::Lengths));
}

/// Numbers that look random, from 0 to 1.
fn noise(a: u64, b: u64) -> f64 {
    let x = (a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ x >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) as f64 / u64::MAX as f64
}

/// A ward whose stays each have a level of their own, so that windows are not independent.
fn ward(seed: u64, stays: u64, higher: f64) -> Vec<Seen> {
    let mut all = Vec::new();
    for stay in 0..stays {
        let level = 70.0 + 30.0 * noise(seed, stay) + higher;
        for hour in 0..12 {
            let value = level + 10.0 * noise(seed * 1_000 + stay, hour);
            let observed = BTreeMap::from([("heart_rate".to_owned(), value)]);
            all.push(Seen {
                stay: StayId(stay),
                ages: BTreeMap::from([("heart_rate".to_owned(), hour as f64 % 3.0)]),
                values: Some(observed),
                film_age: (hour > 2).then_some(FilmAge::Under12h),
                facts: 20.0 + hour as f64,
                score: noise(seed, stay) / 2.0,
            });
        }
    }
    all
}

fn options() -> EvaluateOptions {
    EvaluateOptions { replicates: 20, seed: 1 }
}

fn made(windows: &[Seen]) -> Profile {
    let variables = ["heart_rate".to_owned(), "ph".to_owned()];
    profile(windows, &variables, &[], &Provenance::default(), options()).unwrap()
}

fn compared(reference: &[Seen], run: &[Seen]) -> Comparison {
    made(reference).compare(run, &[], &Provenance::default(), options()).unwrap()
}

#[test]
fn the_same_ward_does_not_drift_and_another_does() {
    let reference = ward(1, 60, 0.0);
    for seed in 2..12 {
        let same = compared(&reference, &ward(seed, 60, 0.0));
        assert!(!same.drifted, "seed {seed}: {:?}", same.found.first());
    }
    let other = compared(&reference, &ward(2, 60, 25.0));
    assert!(other.drifted);
    let first = &other.found[0];
    assert_eq!((first.kind, first.variable.as_deref()), (Kind::Value, Some("heart_rate")));
    assert_eq!(first.verdict, Verdict::Much);
    assert_eq!(other.verdict(), "DRIFTED");
    // What did not change is not said to have.
    assert!(other.found[1..].iter().all(|one| one.verdict < Verdict::Some), "{other:?}");
}

#[test]
fn few_stays_claim_nothing() {
    let other = compared(&ward(1, 12, 0.0), &ward(2, 60, 60.0));
    assert!(!other.drifted && !other.is_judged());
    assert_eq!(other.verdict(), "not judged: too few stays");
    assert!(other.found.iter().all(|one| one.verdict == Verdict::TooFew));
    assert!(other.found.iter().any(|one| one.psi.is_some_and(|psi| psi > PSI_MUCH)));
}

#[test]
fn a_variable_that_is_gone_is_missing() {
    let reference = ward(1, 40, 0.0);
    let mut run = reference.clone();
    for window in &mut run {
        window.ages.clear();
        window.values = Some(BTreeMap::new());
    }
    let found = compared(&reference, &run);
    assert_eq!((found.found[0].kind, found.found[0].verdict), (Kind::Missing, Verdict::Much));
    let value = found.found.iter().find(|one| one.kind == Kind::Value).unwrap();
    assert_eq!((value.psi, value.verdict), (None, Verdict::TooFew));
}

#[test]
fn what_cannot_be_compared_is_said() {
    let reference = made(&ward(1, 40, 0.0));
    let mut run = ward(2, 40, 0.0);
    run.iter_mut().for_each(|window| window.values = None);
    let other = Provenance { model_digest: "another".to_owned(), ..Provenance::default() };
    let found = reference.compare(&run, &[], &other, options()).unwrap();
    assert_eq!(found.left_out.len(), 2);
    assert!(found.found.iter().all(|one| !matches!(one.kind, Kind::Score | Kind::Value)));
    run[0].score = f64::NAN;
    let broken = reference.compare(&run, &[], &Provenance::default(), options());
    assert!(broken.is_err(), "a score that is no number was taken");
}

#[test]
fn a_profile_comes_back_as_it_was_and_a_broken_one_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("profile.json");
    let whole = made(&ward(1, 40, 0.0));
    let text = serde_json::to_string(&whole).unwrap();
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        Profile::read(&path)
    };
    let back = read(&text).unwrap();
    let edges = |profile: &Profile| -> Vec<Vec<f64>> {
        profile.measures.iter().map(|measure| measure.edges.clone()).collect()
    };
    assert_eq!(edges(&back), edges(&whole));
    let itself = back.compare(&ward(1, 40, 0.0), &[], &Provenance::default(), options()).unwrap();
    let psi = |one: &Found| one.psi.is_none_or(|psi| psi < 1e-12);
    assert!(itself.found.iter().all(psi), "{itself:?}");
    for (from, to) in [
        ("\"format\":1", "\"format\":2"),
        ("\"shares\":[", "\"shares\":[0.5,"),
        ("\"kind\":\"missing\"", "\"kind\":\"score\""),
        ("\"stays\":40", "\"stays\":1"),
        ("\"edges\":[", "\"edges\":[1e9,"),
        ("\"format\":1", "\"format\":1,\"more\":0"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = read(&text.replace(from, to)).err().map(|why| why.to_string());
        assert!(error.is_some_and(|why| why.contains("nowcxr drift profile")), "{to}");
    }
    assert!(Profile::read(&dir.path().join("none")).is_err());
}
