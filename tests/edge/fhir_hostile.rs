//! Whatever is sent, nothing panics, and every item is answered with an OperationOutcome.

use nowcxr::edge::fhir::outcome::operation_outcome;
use nowcxr::edge::fhir::parcel::Target;
use nowcxr::edge::fhir::{Fate, Item, Kind, Parcel};
use nowcxr::edge::{self, Desk, Language, LocalSink};
use nowcxr::store::memory::MemoryStore;
use nowcxr::time::WallTime;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::fhir_resources::{MORNING, WORDS, bundle, encounter, observation, patient, with};
use super::fhir_site::issues;
use super::study_site::{available, study};
use super::world::{config, log, secret};

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let fields = prop::collection::vec((word(), inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Value::from),
            fields.prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

/// The `nth` value inside of another, counted through.
fn spoil(value: &mut Value, nth: &mut usize, by: &Value) {
    if *nth == 0 {
        *value = by.clone();
    }
    *nth = nth.wrapping_sub(1);
    match value {
        Value::Array(all) => all.iter_mut().for_each(|one| spoil(one, nth, by)),
        Value::Object(all) => all.values_mut().for_each(|one| spoil(one, nth, by)),
        _ => {}
    }
}

/// A desk over memory, and the directory of its log.
fn desk() -> (Desk<MemoryStore, LocalSink>, TempDir) {
    let (config, dir) = (config(&[]), tempfile::tempdir().unwrap());
    let sink = LocalSink::open(&log(dir.path()), None).unwrap();
    let store = MemoryStore::new();
    (edge::open(&[Language::Fhir], &config, secret(&config), store, sink).unwrap(), dir)
}

/// A Bundle of all kinds of resources, studies among them.
fn whole() -> Value {
    let mut bundle = bundle();
    let entry = |resource: Value| {
        let url = format!("ImagingStudy/{}", resource["id"].as_str().unwrap());
        json!({ "resource": resource, "request": { "method": "PUT", "url": url } })
    };
    let studies = [available(&["1.2.840.1"]), study("entered-in-error", &["1.2.840.1"], 2)];
    bundle["entry"].as_array_mut().unwrap().extend(studies.map(entry));
    bundle
}

/// What a desk answers to a body, wherever it is sent.
fn heard(body: &[u8]) {
    let (mut desk, _dir) = desk();
    let targets = [
        Target::Base,
        Target::Create(Kind::Patient),
        Target::Create(Kind::Encounter),
        Target::Update(Kind::Observation, "g"),
        Target::Create(Kind::ImagingStudy),
    ];
    let parcels = targets.map(|target| Parcel::open(target, body, String::new(), String::new()));
    for film in parcels.iter().flat_map(|parcel| &parcel.items).flat_map(Item::announced) {
        let mut address = [&film.study, &film.series, &film.instance].into_iter();
        let is_part = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        assert!(address.all(|uid| is_part(uid.as_str())), "{film:?}");
    }
    let answers = desk.take(&parcels, WallTime::from_millis(MORNING)).unwrap();
    for (parcel, told) in parcels.iter().zip(answers) {
        assert_eq!(parcel.items.len(), told.len());
        for told in told {
            let said = issues(&operation_outcome(&told.issues));
            let has_error = said.iter().any(|issue| issue.starts_with("error"));
            assert_eq!(has_error, told.fate == Fate::Refused, "{said:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_answered(value in any_json()) {
        heard(value.to_string().as_bytes());
    }

    #[test]
    fn a_bundle_with_one_wrong_value_is_answered(nth in 0usize..200, by in any_json()) {
        let (mut value, mut nth) = (whole(), nth);
        spoil(&mut value, &mut nth, &by);
        heard(value.to_string().as_bytes());
    }

    #[test]
    fn any_bytes_are_answered(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0usize..3_500,
    ) {
        heard(&bytes);
        let text = whole().to_string();
        heard(&text.as_bytes()[..cut.min(text.len())]);
    }
}

#[test]
fn what_was_refused_for_where_it_came_is_taken_where_it_belongs() {
    let (mut desk, _dir) = desk();
    let mut fates = |target: Target<'_>, body: &Value| {
        let body = body.to_string();
        let parcel = Parcel::open(target, body.as_bytes(), String::new(), String::new());
        let told = desk.take(&[parcel], WallTime::from_millis(MORNING)).unwrap().remove(0);
        told.into_iter().map(|told| told.fate).collect::<Vec<Fate>>()
    };
    let result = observation("g", 0, "2345-7", 104.0, "mg/dL");
    let elsewhere =
        [Target::Base, Target::Create(Kind::Patient), Target::Update(Kind::Observation, "h")];
    for _ in 0..2 {
        for target in elsewhere {
            assert_eq!(fates(target, &result), [Fate::Refused], "{target:?}");
        }
    }
    let right = Target::Update(Kind::Observation, "g");
    assert_eq!(fates(right, &result), [Fate::Taken]);
    assert_eq!(fates(right, &result), [Fate::Known]);
    assert_eq!(fates(Target::Base, &result), [Fate::Refused]);
    // An encounter beside a patient who cannot be read, and by itself.
    let entry = |resource: Value| {
        let url = resource["resourceType"].clone();
        json!({ "resource": resource, "request": { "method": "POST", "url": url } })
    };
    let broken = with(patient(), "gender", json!([1]));
    let entries = json!([entry(broken), entry(encounter("MICU"))]);
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    assert_eq!(fates(Target::Base, &batch), [Fate::Refused, Fate::Refused]);
    assert_eq!(fates(Target::Create(Kind::Encounter), &encounter("MICU")), [Fate::Taken]);
}
