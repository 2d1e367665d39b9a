//! FHIR over HTTP: an input is the bodies of a few requests, each behind the letter of its address,
//! parted by zeros.

use nowcxr::edge::fhir::outcome::operation_outcome;
use nowcxr::edge::fhir::parcel::{MAX_ENTRIES, Target};
use nowcxr::edge::fhir::{Fate, Kind, Parcel, Severity};
use serde_json::Value;

use crate::edge::heard;
use crate::json::{Dice, change};
use crate::memory::bounded;

#[path = "../../edge/fhir_resources.rs"]
pub mod resources;

use resources::WORDS;

/// Requests of one input that are heard.
const MAX_HEARD: usize = 8;
/// Bytes that one input may need.
const MEMORY: usize = 64 << 20;

/// Holds whatever is sent.
pub fn check(bytes: &[u8]) {
    bounded(MEMORY, || {
        let requests = bytes.split(|byte| *byte == 0).take(MAX_HEARD);
        let parcels: Vec<Parcel> = requests.enumerate().filter_map(opened).collect();
        let (answers, _) = heard(&parcels);
        for (parcel, told) in parcels.iter().zip(answers) {
            assert_eq!(parcel.items.len(), told.len());
            for told in told {
                let outcome = operation_outcome(&told.issues);
                let said = outcome["issue"].as_array().map_or(0, Vec::len);
                assert_eq!(said, told.issues.len().max(1));
                let is_error = told.issues.iter().any(|issue| issue.severity == Severity::Error);
                assert_eq!(is_error, told.fate == Fate::Refused, "{:?}", told.issues);
                assert_eq!(told.id.is_empty(), told.fate == Fate::Refused, "{told:?}");
            }
        }
    });
}

fn opened((n, request): (usize, &[u8])) -> Option<Parcel> {
    let (letter, body) = request.split_first()?;
    let target = match letter {
        b'P' => Target::Create(Kind::Patient),
        b'E' => Target::Create(Kind::Encounter),
        b'O' => Target::Create(Kind::Observation),
        b'I' => Target::Create(Kind::ImagingStudy),
        b'U' => Target::Update(Kind::Observation, "g"),
        _ => Target::Base,
    };
    let parcel = Parcel::open(target, body, "sender".into(), n.to_string());
    assert!(parcel.items.len() <= MAX_ENTRIES);
    Some(parcel)
}

/// An input with values of one body changed; `None` where it is no JSON, or would not fit. `edit`
/// changes the bytes of a text.
pub fn changed(
    bytes: &[u8],
    max_bytes: usize,
    seed: u32,
    edit: impl FnMut(Vec<u8>) -> Vec<u8>,
) -> Option<Vec<u8>> {
    let (mut dice, mut edit) = (Dice::new(seed), edit);
    let mut requests: Vec<Vec<u8>> = bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    let place = dice.below(requests.len());
    let request = requests.get_mut(place)?;
    let (letter, body) = request.split_first()?;
    let mut tree: Value = serde_json::from_slice(body).ok()?;
    for _ in 0..=dice.below(3) {
        change(&mut tree, &WORDS, &mut dice, |text| {
            String::from_utf8_lossy(&edit(text.into_bytes())).into_owned()
        });
    }
    *request = [&[*letter], tree.to_string().as_bytes()].concat();
    let changed = requests.join(&0);
    (changed.len() <= max_bytes).then_some(changed)
}

/// A bundle, and the requests of the ordinary tests one after the other.
pub fn seeds() -> Vec<Vec<u8>> {
    use resources::{bundle, encounter, observation, patient, with};
    let request = |letter: &str, body: &Value| format!("{letter}{body}");
    let glucose = |minute, value| observation("g", minute, "2345-7", value, "mg/dL");
    let stay = [request("P", &patient()), request("E", &encounter("MICU"))];
    let corrected = with(glucose(5, 130.0), "status", "corrected".into());
    let withdrawn = with(glucose(9, 130.0), "status", "entered-in-error".into());
    let over = with(encounter("MICU"), "status", "finished".into());
    let rate = observation("h", 1, "8867-4", 88.0, "/min");
    let all = |more: &[String]| [&stay[..], more].concat().join("\0").into_bytes();
    let mut entries = bundle();
    entries["type"] = "transaction".into();
    vec![
        request("B", &bundle()).into_bytes(),
        request("B", &entries).into_bytes(),
        all(&[]),
        all(&[request("O", &glucose(0, 104.0)), request("U", &corrected)]),
        all(&[request("O", &rate), request("U", &withdrawn), request("E", &over)]),
        [request("O", &rate), stay[1].clone(), stay[0].clone()].join("\0").into_bytes(),
    ]
}
