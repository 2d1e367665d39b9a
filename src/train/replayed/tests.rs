//! Samples of a replayed ward: equal to what serving shows the model, and to what an independent
//! reading of the recording says was known.

use std::collections::{BTreeMap, BTreeSet};

use super::pass::Happening;
use super::*;
use crate::event::ViewPosition;
use crate::ids::{FactId, StayId, Topic};
use crate::model::artifact::tests::random;
use crate::ports::PredictionRequest;
use crate::predict::Pipeline;
use crate::replay::{Body, Clock, ReplayItem};
use crate::series::{GridSpan, Row, StaticFacts, hourly};
use crate::synth::{WardOptions, write_ward};
use crate::time::EventTime;
use crate::train::sample::{Samples, Series};

struct Ward {
    dir: tempfile::TempDir,
}

impl Ward {
    fn new(patients: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = WardOptions { patients, seed: 9, film_rows: 224, ..WardOptions::default() };
        write_ward(&options, dir.path(), &mut |_, _| {}).unwrap();
        Ward { dir }
    }

    fn recording(&self) -> Recording {
        let replay = ReplayConfig {
            mimic_iv: self.dir.path().join("mimiciv"),
            mimic_cxr: Some(self.dir.path().join("mimic-cxr-jpg")),
            ..ReplayConfig::default()
        };
        let data = DataConfig { cohort: CohortRule::All, ..DataConfig::default() };
        Recording { replay, profile: Profile::Clinical, data }
    }

    fn samples(&self, recording: &Recording, name: &str) -> (Splits, Origin) {
        samples(recording, &self.dir.path().join(name), &mut |_, _| {}).unwrap()
    }
}

/// One fact as the recording has it, with both its times.
struct Known {
    available_at: EventTime,
    row: Row,
    /// The engine's order among facts that become available together.
    rank: (Topic, FactId),
}

/// What was known of one stay and when, read from the recording without the engine.
#[derive(Default)]
struct Oracle {
    admitted: Option<(EventTime, StaticFacts)>,
    known: Vec<Known>,
    /// Times of AP films.
    films: Vec<EventTime>,
}

impl Oracle {
    fn read(recording: &Recording) -> BTreeMap<u64, Oracle> {
        let dictionary = Dictionary::builtin(recording.profile).unwrap();
        let items = ItemFilter::of(&dictionary);
        let mut source = ReplaySource::open(&recording.replay, &items, &mut |_| {}).unwrap();
        let mut stays: BTreeMap<u64, Oracle> = BTreeMap::new();
        while let Some(item) = source.next_item().unwrap() {
            let ReplayItem::Event(event) = item else { continue };
            let oracle = stays.entry(event.stay.0).or_default();
            match &event.body {
                Body::Admitted(admission) => {
                    let statics =
                        StaticFacts { age_years: admission.age_years, sex: admission.sex };
                    oracle.admitted = Some((event.observed_at, statics));
                }
                Body::Lab(measured) | Body::Chart(measured) => {
                    let unit = measured.unit.as_deref();
                    let seen = dictionary.observe_item(measured.item, &measured.value, unit);
                    let Ok(seen) = seen else { continue };
                    let row = Row {
                        at: event.observed_at,
                        variable: seen.variable(),
                        value: seen.value(),
                    };
                    let rank = (event.body.topic(), event.id);
                    let available_at = event.available_at;
                    oracle.known.push(Known { available_at, row, rank });
                }
                Body::Filmed(film) if film.view == ViewPosition::Ap => {
                    oracle.films.push(event.observed_at);
                }
                _ => {}
            }
        }
        for oracle in stays.values_mut() {
            oracle.known.sort_by_key(|known| (known.row.at, known.available_at, known.rank));
        }
        stays
    }

    /// The grid of a span from what was available by its end, charted copies of what the laboratory
    /// had reported by then left out.
    fn grid(&self, span: GridSpan, t: EventTime, dictionary: &Dictionary) -> Vec<u64> {
        let shadow = EngineConfig::default().shadow;
        let known = || self.known.iter().filter(|known| known.available_at <= t);
        let is_copy = |copy: &Known| {
            let signal = dictionary.variable(copy.row.variable).unwrap().signal;
            let Some(within) = signal.copied_within else { return false };
            let of = |lab: &Known| {
                let (row, behind) = (&lab.row, copy.row.at.since(lab.row.at));
                (lab.rank.0, row.variable) == (Topic::Lab, copy.row.variable)
                    && (Span::ZERO..=shadow).contains(&behind)
                    && (row.value - copy.row.value).abs() <= within
            };
            copy.rank.0 == Topic::Vital && known().any(of)
        };
        let rows: Vec<Row> = known().filter(|k| !is_copy(k)).map(|known| known.row).collect();
        let statics = self.admitted.unwrap().1;
        bits(&hourly(&rows, span, statics, dictionary).values)
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn raw(series: &Series) -> Vec<u64> {
    bits(&series.raw().unwrap())
}

fn parts(splits: &Splits) -> [&Samples; 3] {
    [&splits.train, &splits.validate, &splits.test]
}

/// Windows and pairs, and how many of each hold something else than what was available by their t.
fn leaks(splits: &Splits, stays: &BTreeMap<u64, Oracle>) -> [usize; 4] {
    let dictionary = Dictionary::builtin(Profile::Clinical).unwrap();
    let (mut windows, mut wrong_windows, mut pairs, mut wrong_pairs) = (0, 0, 0, 0);
    // A pair does not say whose it is: it must be one of all pairs that any stay can have.
    let mut possible: BTreeSet<Vec<u64>> = BTreeSet::new();
    for oracle in stays.values().filter(|oracle| oracle.admitted.is_some()) {
        for (i, &from) in oracle.films.iter().enumerate() {
            for &to in &oracle.films[i + 1..] {
                let gap = to.since(from).as_hours();
                if gap > 12.0 && gap <= 70.0 {
                    let span = GridSpan::generation(from, to);
                    possible.insert(oracle.grid(span, to, &dictionary));
                }
            }
        }
    }
    for samples in parts(splits) {
        for window in &samples.windows {
            let oracle = &stays[&window.stay];
            let admitted = oracle.admitted.unwrap().0;
            let t = admitted + Span::from_millis((window.t_h * 3_600_000.0).round() as i64);
            let span = GridSpan::prediction(admitted, t);
            windows += 1;
            wrong_windows += usize::from(raw(&window.ehr) != oracle.grid(span, t, &dictionary));
        }
        pairs += samples.pairs.len();
        wrong_pairs +=
            samples.pairs.iter().filter(|pair| !possible.contains(&raw(&pair.ehr))).count();
    }
    [windows, wrong_windows, pairs, wrong_pairs]
}

#[test]
fn a_sample_holds_what_was_available_and_a_planted_leak_is_caught() {
    let ward = Ward::new(10);
    let recording = ward.recording();
    let (splits, origin) = ward.samples(&recording, "samples.bin");
    assert_eq!(origin, Origin::Made);
    let stays = Oracle::read(&recording);
    let [windows, wrong_windows, pairs, wrong_pairs] = leaks(&splits, &stays);
    assert!(windows > 25 && pairs > 10, "{windows} windows, {pairs} pairs");
    assert_eq!((wrong_windows, wrong_pairs), (0, 0), "of {windows} windows and {pairs} pairs");
    // Samples made by a clock that lets results be known when they were drawn see the future.
    let mut leaking = recording.clone();
    leaking.replay.clock = Clock::Charttime;
    let (splits, _) = ward.samples(&leaking, "leaking.bin");
    let [windows, wrong_windows, pairs, wrong_pairs] = leaks(&splits, &stays);
    assert!(wrong_windows > windows / 10, "{wrong_windows} of {windows} windows were caught");
    assert!(wrong_pairs > pairs / 10, "{wrong_pairs} of {pairs} pairs were caught");
}

/// Everything that the engine asks under its default settings, the first revisions.
fn served(recording: &Recording) -> BTreeMap<(u64, i64), (PredictionRequest, Option<EventTime>)> {
    let dictionary = Dictionary::builtin(recording.profile).unwrap();
    let items = ItemFilter::of(&dictionary);
    let source = ReplaySource::open(&recording.replay, &items, &mut |_| {}).unwrap();
    let engine = EngineConfig::default();
    let mut all = BTreeMap::new();
    pass::drive(source, &recording.replay, &engine, &dictionary, &mut |happening| {
        if let Happening::Asked(asked) = happening {
            let ticket = asked.request.ticket;
            let key = (ticket.stay.0, ticket.t.as_millis());
            if ticket.revision == 0 {
                all.insert(key, (asked.request.clone(), asked.film_at));
            }
        }
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn a_sample_is_the_tensor_that_serving_gives_the_model() {
    let ward = Ward::new(6);
    let recording = ward.recording();
    let (mut splits, _) = ward.samples(&recording, "samples.bin");
    let model = random(3);
    let normalisers = model.normalisers.clone();
    let pipeline = Pipeline::new(model, burn::tensor::Device::flex(), 1 << 20).unwrap();
    let served = served(&recording);
    let narrow = |values: &[f64]| -> Vec<f32> { values.iter().map(|&x| x as f32).collect() };
    let (mut windows, mut filmed) = (0, 0);
    for samples in [&mut splits.train, &mut splits.validate, &mut splits.test] {
        samples.normalise(&normalisers.ldm, &normalisers.prediction);
        for window in &samples.windows {
            let of_stay = served.range((window.stay, i64::MIN)..=(window.stay, i64::MAX));
            let admitted = of_stay.clone().next().unwrap().1.0.admitted_at;
            let t = admitted + Span::from_millis((window.t_h * 3_600_000.0).round() as i64);
            let (request, film_at) = &served[&(window.stay, t.as_millis())];
            let [generation, prediction] = pipeline.hours(request);
            assert_eq!(window.ehr.values().unwrap(), narrow(&prediction.values));
            assert_eq!(window.film.is_some(), request.film.is_some());
            if let (Some(ours), Some(film)) = (&window.film, &request.film) {
                assert_eq!(ours.ehr.values().unwrap(), narrow(&generation.values));
                assert_eq!(samples.films[ours.film].film().unwrap(), *film);
                assert!((ours.age_h - t.since(film_at.unwrap()).as_hours()).abs() < 1e-9);
                filmed += 1;
            }
            windows += 1;
        }
    }
    assert!(windows > 15 && filmed > 8, "{windows} windows, {filmed} with a film");
}

#[test]
fn samples_are_used_again_until_something_differs() {
    let ward = Ward::new(6);
    let recording = ward.recording();
    let path = ward.dir.path().join("samples.bin");
    assert_eq!(ward.samples(&recording, "samples.bin").1, Origin::Made);
    let first = std::fs::read(&path).unwrap();
    assert_eq!(ward.samples(&recording, "samples.bin").1, Origin::Reused);
    let mut bad = first.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let (_, origin) = ward.samples(&recording, "samples.bin");
    assert!(matches!(origin, Origin::Remade(why) if why.contains("damaged")));
    assert!(std::fs::read(&path).unwrap() == first, "the same data give the same bytes");
    let mut other = recording.clone();
    other.data.windows_per_stay = 0;
    let (splits, origin) = ward.samples(&other, "samples.bin");
    assert!(matches!(origin, Origin::Remade(why) if why.contains("other data")));
    assert!(parts(&splits).iter().all(|part| part.windows.iter().all(|w| w.t_h == 48.0)));
    // A label that changes is noticed too.
    let table = ward.dir.path().join("mimiciv/hosp");
    let diagnoses = std::fs::read_dir(table).unwrap().map(|entry| entry.unwrap().path());
    let diagnoses = diagnoses.into_iter().find(|path| path.to_string_lossy().contains("diagnoses"));
    let before = key(&other).unwrap();
    std::fs::write(diagnoses.unwrap(), b"hadm_id,icd_code,icd_version\n").unwrap();
    assert_ne!(key(&other).unwrap(), before);
}

#[test]
fn a_list_of_splits_is_obeyed_and_a_torn_patient_refused() {
    let ward = Ward::new(6);
    let mut recording = ward.recording();
    let stays = Oracle::read(&recording);
    let list = ward.dir.path().join("splits.csv");
    let mut text = "stay_id,split\n".to_owned();
    for (i, stay) in stays.keys().enumerate().skip(1) {
        text += &format!("{stay},{}\n", ["train", "validate", "test"][i % 3]);
    }
    std::fs::write(&list, text).unwrap();
    recording.data.splits = Some(list.clone());
    let (splits, _) = ward.samples(&recording, "samples.bin");
    let left_out = stays.keys().next().unwrap();
    for (i, samples) in parts(&splits).into_iter().enumerate() {
        for window in &samples.windows {
            let place = stays.keys().position(|stay| *stay == window.stay).unwrap();
            assert_eq!(place % 3, i);
            assert_ne!(window.stay, *left_out);
        }
    }
    let stay = stays.keys().nth(1).unwrap();
    std::fs::write(&list, format!("stay_id,split\n{stay},train\n{stay},test\n")).unwrap();
    let error = samples(&recording, &ward.dir.path().join("b.bin"), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("a patient has one"), "{error}");
    assert!(StayId(*stay).0 > 0);
}
